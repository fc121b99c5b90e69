package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ticktape/dashboard/ask"
	"ticktape/dashboard/feedtest"
	"ticktape/dashboard/hub"
	"ticktape/dashboard/pulse"
	"ticktape/dashboard/push"
	"ticktape/internal/service"
	"ticktape/internal/window"
)

type bench struct {
	market *feedtest.Market
	hub    *hub.Hub
	http   *httptest.Server
}

// start serves the API with a gateway that answers by gateway, or as the market does where nil.
func start(t *testing.T, gateway http.Handler) *bench {
	t.Helper()
	b := &bench{market: feedtest.New(1, feedtest.Symbols), hub: hub.New(hub.Config{})}
	if gateway == nil {
		gateway = b.market.Gateway()
	}
	g := httptest.NewServer(gateway)
	t.Cleanup(g.Close)
	ctx, cancel := context.WithCancel(context.Background())
	streams := push.New(ctx, b.hub, nil)
	functions, err := ask.New(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	var health service.Health
	health.Flag("windows").NotReady("reading what is in the topic")
	b.http = httptest.NewServer(Handler(Config{
		Hub: b.hub, Push: streams, Health: &health, History: ask.NewHistory(functions),
		List: ask.NewList(functions, b.hub.SetList), Letters: pulse.NewLetters(),
		Page: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the page") }),
	}))
	t.Cleanup(func() {
		cancel()
		streams.Wait()
		b.http.Close()
	})
	return b
}

func (b *bench) get(t *testing.T, path string, into any) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.http.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s: %v: %.200s", path, err, body)
		}
	}
	return resp
}

func TestStatusTellsWhetherTheFirstTickHasArrived(t *testing.T) {
	b := start(t, nil)
	var s hub.Status
	b.get(t, "/api/status", &s)
	if s.Ticks != 0 || s.Simulated || s.Connected || s.Problem == "" {
		t.Errorf("before the first tick: %+v", s)
	}
	b.hub.Apply(b.market.Past(time.Minute, 2))
	b.get(t, "/api/status", &s)
	if s.Ticks == 0 || !s.Simulated || s.Symbols != len(feedtest.Symbols) {
		t.Errorf("after it: %+v", s)
	}
}

func TestSnapshotHasTheSymbolsAskedFor(t *testing.T) {
	b := start(t, nil)
	b.hub.Apply(b.market.Past(time.Minute, 2))
	var s struct{ Quotes []struct{ Symbol string } }
	b.get(t, "/api/snapshot?symbols=MSFT,AAPL,NONE", &s)
	if len(s.Quotes) != 2 {
		t.Errorf("got %+v", s)
	}
	b.get(t, "/api/snapshot", &s)
	if len(s.Quotes) != len(feedtest.Symbols) {
		t.Errorf("got %d quotes", len(s.Quotes))
	}
	var p problem
	if resp := b.get(t, "/api/snapshot?symbols=a%20b", &p); resp.StatusCode != http.StatusBadRequest || p.Parameter != "symbols" {
		t.Errorf("%s %+v", resp.Status, p)
	}
}

func TestCandlesJoinHistoryAndLiveWindowsExactly(t *testing.T) {
	b := start(t, nil)
	b.hub.Apply(b.market.Past(10*time.Minute, 5))
	var a struct {
		Candles []ask.Candle
		Windows []struct {
			Start                          int64
			Open, High, Low, Close, Volume string
			Ticks                          int64
		}
		Epoch, Problem string
		Seq            uint64
	}
	resp := b.get(t, "/api/candles?symbol=BTC-USD&interval=1m", &a)
	if resp.StatusCode != http.StatusOK || len(a.Candles) < 400 || a.Problem != "" || a.Epoch != b.hub.Epoch() || a.Seq == 0 {
		t.Fatalf("%s: %d candles, %q", resp.Status, len(a.Candles), a.Problem)
	}
	if len(a.Windows) < 10 {
		t.Fatalf("%d windows", len(a.Windows))
	}
	last := a.Windows[len(a.Windows)-1]
	truth := b.market.Window("BTC-USD", last.Start)
	want := feedtest.Update("BTC-USD", last.Start, 0, 0, truth)
	if last.Ticks != want.TickCount || last.Start%window.Length != 0 {
		t.Errorf("window is %+v, want %+v", last, want)
	}
	c := a.Candles[len(a.Candles)-1]
	if c.Start != last.Start || c.Open != last.Open || c.High != last.High || c.Low != last.Low || c.Close != last.Close || c.Volume != last.Volume {
		t.Errorf("history ends with %+v, the windows with %+v", c, last)
	}
	older := a.Candles[0].Start
	b.get(t, "/api/candles?symbol=BTC-USD&interval=1m&before="+strconv.FormatInt(older, 10), &a)
	if len(a.Candles) == 0 || a.Candles[len(a.Candles)-1].Start > older || len(a.Windows) != 0 {
		t.Errorf("before %d: %d candles, %d windows", older, len(a.Candles), len(a.Windows))
	}
}

func TestCandlesAreShownAsFarAsTheyGoWhenHistoryIsAway(t *testing.T) {
	for name, gateway := range map[string]http.HandlerFunc{
		"answers 503":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"answers nothing": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"answers HTML":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"answers too much": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", 5<<20))
		},
		"has a problem": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"detail":"Cassandra does not answer."}`)
		},
	} {
		b := start(t, gateway)
		b.hub.Apply(b.market.Past(3*time.Minute, 2))
		var a candlesAnswer
		resp := b.get(t, "/api/candles?symbol=AAPL&interval=5m", &a)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(a.Problem, "History can't be shown: ") || len(a.Windows) < 10 {
			t.Errorf("%s: %s, %q, windows %.60s", name, resp.Status, a.Problem, a.Windows)
		}
	}
}

// After a weekend the newest 500 minutes hold a few candles only.
func TestAQuietTimeIsBridged(t *testing.T) {
	var spans []int64
	b := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseInt(r.URL.Query().Get("from"), 10, 64)
		if err != nil {
			t.Error(err)
		}
		to, err := strconv.ParseInt(r.URL.Query().Get("to"), 10, 64)
		if err != nil {
			t.Error(err)
		}
		spans = append(spans, (to-from)/60_000)
		var list []map[string]any
		for m := min((to-from)/60_000, 8000); m > 2; m-- {
			if m > 5 && m < 4000 {
				continue
			}
			at := time.UnixMilli(to - m*60_000).UTC()
			list = append(list, map[string]any{"start": at, "open": 1, "high": 1, "low": 1, "close": 1.5, "volume": 1, "tick_count": 1})
		}
		writeJSON(w, r, http.StatusOK, map[string]any{"candles": list})
	}))
	b.hub.Apply(b.market.Past(time.Minute, 2))
	var a candlesAnswer
	b.get(t, "/api/candles?symbol=AAPL&interval=1m", &a)
	if len(a.Candles) != ask.MostCandles || a.Candles[ask.MostCandles-1].Close != "1.5" || !slices.Equal(spans, []int64{500, 8000}) {
		t.Errorf("%d candles after questions of %v minutes", len(a.Candles), spans)
	}
	spans = nil
	b.get(t, "/api/candles?symbol=AAPL&interval=1d", &a)
	if len(spans) != 1 || a.Day == nil || a.Day.End-a.Day.Start < 23*3_600_000 {
		t.Errorf("days were asked for %d times, the newest is %v", len(spans), a.Day)
	}
}

func TestBadQuestionsAreAnsweredInPlainWords(t *testing.T) {
	b := start(t, nil)
	for path, c := range map[string]struct {
		status    int
		parameter string
	}{
		"/api/candles?interval=1m":                                        {400, "symbol"},
		"/api/candles?symbol=a%20b&interval=1m":                           {400, "symbol"},
		"/api/candles?symbol=AAPL&interval=7m":                            {400, "interval"},
		"/api/candles?symbol=AAPL&interval=1m&before=x":                   {400, "before"},
		"/api/candles?symbol=AAPL&interval=1m&before=-9":                  {400, "before"},
		"/api/candles?symbol=NOPE&interval=1m":                            {404, "symbol"},
		"/api/candles?symbol=" + strings.Repeat("A", 70) + "&interval=1m": {400, "symbol"},
		"/api/nothing": {404, ""},
	} {
		var p problem
		resp := b.get(t, path, &p)
		if resp.StatusCode != c.status || p.Parameter != c.parameter || p.Detail == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %+v", path, resp.Status, p)
		}
	}
	resp, err := http.Post(b.http.URL+"/api/status", "application/json", nil) //nolint:noctx // ends with the test
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("POST: %s", resp.Status)
	}
}

func TestHealthMetricsAndSafetyHeaders(t *testing.T) {
	b := start(t, nil)
	for path, status := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 200, "/": 200} {
		resp := b.get(t, path, nil)
		if resp.StatusCode != status {
			t.Errorf("%s: %s", path, resp.Status)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}
