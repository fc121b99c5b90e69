package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ticktape/dashboard/ask"
	"ticktape/dashboard/feedtest"
	"ticktape/dashboard/hub"
	"ticktape/dashboard/pulse"
	"ticktape/dashboard/push"
	"ticktape/internal/service"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

func TestSparklinesAreTheDaySoFar(t *testing.T) {
	b := start(t, nil)
	b.hub.Apply(b.market.Past(20*time.Minute, 2))
	var a struct {
		Step       int64
		Sparklines []struct {
			Symbol     string
			Start, End int64
			Points     [][2]any
		}
	}
	b.get(t, "/api/sparklines?symbols=BTC-USD,NONE", &a)
	if a.Step != 300_000 || len(a.Sparklines) != 1 || len(a.Sparklines[0].Points) == 0 || a.Sparklines[0].Start > time.Now().UnixMilli() {
		t.Errorf("got %+v", a)
	}
	b.get(t, "/api/sparklines", &a)
	if len(a.Sparklines) != len(feedtest.Symbols) {
		t.Errorf("%d sparklines", len(a.Sparklines))
	}
	if resp := b.get(t, "/api/sparklines?symbols="+strings.Repeat("A,", 600)+"A", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("601 symbols: %s", resp.Status)
	}
}

func TestMarketsTellWhenTheyOpen(t *testing.T) {
	at := time.Date(2026, 11, 27, 22, 0, 0, 0, time.UTC) // a Friday evening
	opens := time.Date(2026, 11, 30, 14, 30, 0, 0, time.UTC).UnixMilli()
	for _, c := range []struct {
		name string
		m    hub.Market
		want market
	}{
		{"the last trade was of the session", hub.Market{Exchange: "NMS", Symbols: 2, State: tick.MarketRegular, Received: at.UnixMilli() - 3_600_000}, market{Session: "closed", KnownBy: "hours", NextOpen: opens, TimeZone: "America/New_York"}},
		{"a trade of this minute says that it is open", hub.Market{Exchange: "NMS", State: tick.MarketRegular, Received: at.UnixMilli() - 60_000}, market{Session: "open", KnownBy: "trades", NextOpen: opens, TimeZone: "America/New_York"}},
		{"a market that never closes", hub.Market{Exchange: "CCC"}, market{Session: "open", KnownBy: "hours", Always: true, TimeZone: "UTC"}},
		{"an exchange whose hours are not known", hub.Market{Exchange: "SET"}, market{Session: "unknown", KnownBy: "nothing", TimeZone: "Asia/Bangkok"}},
		{"no exchange", hub.Market{}, market{Session: "unknown", KnownBy: "nothing"}},
	} {
		got := describe(c.m, at)
		if got.Session != c.want.Session || got.KnownBy != c.want.KnownBy || got.NextOpen != c.want.NextOpen || got.TimeZone != c.want.TimeZone || got.Always != c.want.Always {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	noon := time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)
	if got := describe(hub.Market{Exchange: "HKG"}, noon); got.Session != "unknown" || got.KnownBy != "nothing" {
		t.Errorf("a market that may keep a holiday which is not known: %+v", got)
	}
}

func TestOlderCandlesNeedNotBeSentAgain(t *testing.T) {
	b := start(t, nil)
	b.hub.Apply(b.market.Past(10*time.Minute, 2))
	path := "/api/candles?symbol=AAPL&interval=1h&before=1790000000000"
	tag := b.get(t, path, nil).Header.Get("ETag")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-None-Match", tag)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if tag == "" || resp.StatusCode != http.StatusNotModified {
		t.Errorf("with tag %q: %s", tag, resp.Status)
	}
}

func TestATokenIsAskedForEverywhereButNeverTakenFromAnAddress(t *testing.T) {
	const token = "open-sesame-0815"
	h := hub.New(hub.Config{})
	functions, err := ask.New("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	handler := Handler(Config{
		Hub: h, Push: push.New(t.Context(), h, nil), History: ask.NewHistory(functions), List: ask.NewList(functions, h.SetList),
		Letters: pulse.NewLetters(), Health: &service.Health{}, Page: http.NotFoundHandler(), Token: token,
	})
	do := func(method, path, body string, header ...string) *http.Response {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Result()
	}
	for _, path := range []string{"/api/status", "/api/ws", "/api/stream", "/api/snapshot", "/api/candles", "/api/watchlist", "/api/pipeline", "/api/dead-letters", "/api/nothing", "/api/status?token=" + token} {
		if resp := do(http.MethodGet, path, ""); resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if resp := do(http.MethodGet, "/healthz", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("health: %s", resp.Status)
	}
	if resp := do(http.MethodGet, "/api/status", "", "Authorization", "Bearer "+token); resp.StatusCode != http.StatusOK {
		t.Errorf("with the token: %s", resp.Status)
	}
	if resp := do(http.MethodPost, "/api/login", `{"token":"`+token+`"}`, "Origin", "https://evil.example"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %s", resp.Status)
	}
	resp := do(http.MethodPost, "/api/login", `{"token":"`+token+`"}`, "X-Forwarded-Proto", "https")
	cookies := resp.Cookies()
	if resp.StatusCode != http.StatusNoContent || len(cookies) != 1 {
		t.Fatalf("signing in: %s, %v", resp.Status, cookies)
	}
	if c := cookies[0]; !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || strings.Contains(c.Value, token) {
		t.Errorf("cookie %+v", c)
	}
	if resp := do(http.MethodGet, "/api/status", "", "Cookie", cookies[0].Name+"="+cookies[0].Value); resp.StatusCode != http.StatusOK {
		t.Errorf("with the cookie: %s", resp.Status)
	}
	statuses := map[int]int{}
	for range 30 {
		statuses[do(http.MethodPost, "/api/login", `{"token":"guess"}`).StatusCode]++
	}
	if statuses[http.StatusUnauthorized] == 0 || statuses[http.StatusTooManyRequests] == 0 || len(statuses) != 2 {
		t.Errorf("thirty guesses: %v", statuses)
	}
}

func TestTheWatchListIsChangedThroughTheDashboard(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SECRETS_DIR", dir)
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	functions := feedtest.NewFunctions(feedtest.New(1, feedtest.Symbols))
	b := start(t, functions)
	do := func(method, path, body, origin string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, b.http.URL+path, bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, c := range []struct {
		name, method, path, body, origin string
		status                           int
	}{
		{"added", "POST", "/api/watchlist", `{"symbol":"NEW"}`, "", 200},
		{"added by the page", "POST", "/api/watchlist", `{"symbol":"NEW2"}`, b.http.URL, 200},
		{"from another site", "POST", "/api/watchlist", `{"symbol":"NEW"}`, "https://evil.example", 403},
		{"no symbol", "POST", "/api/watchlist", `{"symbol":"a b"}`, "", 400},
		{"a huge body", "POST", "/api/watchlist", strings.Repeat("x", 100_000), "", 400},
		{"removed", "DELETE", "/api/watchlist?symbol=AAPL", "", "", 200},
		{"another method", "PUT", "/api/watchlist", "", "", 404},
	} {
		if got := do(c.method, c.path, c.body, c.origin); got != c.status {
			t.Errorf("%s: %d, want %d", c.name, got, c.status)
		}
	}
	if got := do("GET", "/api/watchlist", "", ""); got != 200 {
		t.Errorf("the list: %d", got)
	}
}

func TestDeadLettersAndThePipelineAreServed(t *testing.T) {
	b := start(t, nil)
	if resp := b.get(t, "/api/pipeline", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before it is measured: %s", resp.Status)
	}
	b.hub.SetPipeline([]byte(`{"type":"pipeline"}`))
	var p struct{ Type string }
	if b.get(t, "/api/pipeline", &p); p.Type != "pipeline" || b.hub.Watchers() != 1 {
		t.Errorf("%+v, %d watch", p, b.hub.Watchers())
	}
	var l pulse.LettersReport
	if b.get(t, "/api/dead-letters?limit=5", &l); l.Problem == "" {
		t.Errorf("%+v", l)
	}
	if resp := b.get(t, "/api/dead-letters?limit=x", nil); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a bad limit: %s", resp.Status)
	}
	if _, err := json.Marshal(l); err != nil {
		t.Error(err)
	}
}
