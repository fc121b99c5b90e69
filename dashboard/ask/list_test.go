package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/dashboard/board"
	"ticktape/internal/trigger"
)

func client(t *testing.T, h http.Handler) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"detail":%q}`, detail)
}

func TestTheWatchListIsFollowed(t *testing.T) {
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { http.NotFound(w, nil) }, // not deployed
		func(w http.ResponseWriter) {
			_, _ = fmt.Fprint(w, `{"symbols":[{"symbol":"AAPL","name":"Apple Inc.","exchange":"NMS","state":"active","reason":null,"added_at":"2026-11-24T11:00:00.000Z","checked_at":null,"streamed_by":null,"delayed_by":15},
				{"symbol":"NOPE","name":null,"exchange":null,"state":"unknown","reason":"Yahoo has no quote of it","added_at":"2026-11-24T11:00:00.000Z","checked_at":"2026-11-24T11:00:01.000Z","streamed_by":null,"delayed_by":null}],"limit":2000}`)
		},
		func(w http.ResponseWriter) { problem(w, 503, "The database does not answer.") },
	}
	asked := 0
	ctx, cancel := context.WithCancel(t.Context())
	var l *List
	var problems []string
	var got map[string]board.Facts
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/function/watchlist" {
			t.Errorf("asked for %s", r.URL)
		}
		_, p := l.Last()
		problems = append(problems, p)
		if asked == len(answers) {
			cancel()
			return
		}
		l.Refresh()
		answers[asked](w)
		asked++
	}))
	l = NewList(c, func(m map[string]board.Facts) { got = m })
	if err := l.Follow(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]board.Facts{"AAPL": {Name: "Apple Inc.", Delay: 15}, "NOPE": {Delay: -1}}, got); diff != "" {
		t.Error(diff)
	}
	list, _ := l.Last()
	if len(list) != 2 || list[1].State != "unknown" || list[1].Reason == "" || list[0].AddedAt != 1795518000000 || list[0].CheckedAt != 0 {
		t.Errorf("the list is %+v", list)
	}
	want := []string{
		"The watch list has not been read yet.",
		"The watch list can't be read: the watchlist function is not deployed: the gateway answers 404.",
		"",
		"The watch list can't be read: the watchlist function answers 503: The database does not answer.",
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
}

func TestChangesGoToTheFunctionWithTheToken(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SECRETS_DIR", dir)
	var token string
	l := NewList(client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get(trigger.HeaderToken)
		switch r.URL.Query().Get("symbol") {
		case "FULL":
			problem(w, 409, "The watch list is full.")
		case "TOKEN":
			problem(w, 401, "wrong token")
		default:
			w.WriteHeader(http.StatusCreated)
		}
	})), nil)
	change := func(symbol string) (Answer, error) {
		return l.Change(t.Context(), http.MethodPost, url.Values{"symbol": {symbol}}, nil)
	}
	if _, err := change("AAPL"); !errors.Is(err, ErrToken) {
		t.Errorf("without a secret: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := change("AAPL"); err != nil || a.Status != http.StatusCreated || token != "s3cret" {
		t.Errorf("%+v, %v, token %q", a, err, token)
	}
	if a, err := change("FULL"); err != nil || a.Status != http.StatusConflict || !strings.Contains(string(a.Body), "full") {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := change("TOKEN"); err == nil {
		t.Error("a wrong token of the dashboard's own is told to its users as theirs")
	}
}

// history answers as the candles function does from what is stored at some starts.
func history(starts ...int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var from, to int64
		_, _ = fmt.Sscan(r.URL.Query().Get("from"), &from)
		_, _ = fmt.Sscan(r.URL.Query().Get("to"), &to)
		unit := int64(60_000)
		if r.URL.Query().Get("interval") == "1d" {
			unit = dayLength
		}
		list := []map[string]any{}
		last := int64(-1)
		for _, s := range starts {
			if s = s / unit * unit; s >= from && s < to && s != last {
				list = append(list, map[string]any{"start": time.UnixMilli(s).UTC(), "open": 1.5, "high": 2, "low": 1, "close": 1.25, "volume": 3, "turnover": 4.5, "tick_count": 1, "source": "yahoo", "sealed": true})
				last = s
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"candles": list})
	})
}

func TestScrollingBackSkipsLongGapsAndFindsTheEnd(t *testing.T) {
	const old, recent = 1_700_000_040_000, 1_795_000_020_000
	h := NewHistory(client(t, history(old, old+60_000, recent)))
	p, err := h.Page(t.Context(), "A", "1m", recent+60_000, true)
	if err != nil || len(p.Candles) != 1 || p.Candles[0].Start != recent || !p.More || p.Candles[0].Turnover != "4.5" {
		t.Fatalf("%+v, %v", p, err)
	}
	p, err = h.Page(t.Context(), "A", "1m", recent, false)
	if err != nil || len(p.Candles) != 2 || p.Candles[0].Start != old || !p.More {
		t.Fatalf("across a gap of three years: %+v, %v", p, err)
	}
	p, err = h.Page(t.Context(), "A", "1m", old, false)
	if err != nil || len(p.Candles) != 0 || p.More {
		t.Fatalf("before the first: %+v, %v", p, err)
	}
}

func TestAPageIsAskedForOnceUntilSomethingIsSealed(t *testing.T) {
	asked := 0
	inner := history(1_795_000_020_000)
	h := NewHistory(client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		inner.ServeHTTP(w, r)
	})))
	ask := func() int {
		t.Helper()
		before := asked
		if _, err := h.Page(t.Context(), "A", "1d", 1_795_100_000_000, false); err != nil {
			t.Fatal(err)
		}
		return asked - before
	}
	first, second := ask(), ask()
	h.Changed()
	if third := ask(); first == 0 || second != 0 || third != first {
		t.Errorf("asked %d, %d, %d times", first, second, third)
	}
}

type days struct {
	gaps []board.Gap
	done chan []board.Minute
}

func (d *days) Gaps(after string, n int) []board.Gap {
	if after != "" {
		return nil
	}
	return d.gaps
}

func (d *days) Fill(_ board.Gap, minutes []board.Minute) bool {
	d.gaps = nil
	d.done <- minutes
	return true
}

func TestGapsOfDaysAreFilledOnceAllIsStored(t *testing.T) {
	const start = 1_795_000_020_000
	d := &days{[]board.Gap{{Symbol: "A", From: start, To: start + 120_000}}, make(chan []board.Minute, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	looks := 0
	c := client(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch looks++; looks {
		case 1, 2: // the history of a symbol that was added a moment ago
			history().ServeHTTP(w, r)
		case 3: // is being stored
			history(start).ServeHTTP(w, r)
		default:
			history(start-60_000, start, start+60_000, start+120_000).ServeHTTP(w, r)
		}
	}))
	c.retry = time.Millisecond
	go func() { ended <- c.FollowDays(ctx, d) }()
	minutes := <-d.done
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(minutes) != 2 || minutes[0].Start != start || minutes[0].High != 200_000_000 || minutes[0].Turnover.Lo != 450_000_000 {
		t.Errorf("filled with %+v", minutes)
	}
}

func TestWhatIsNoAddressIsRefused(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:8080", "ftp://a", "http://", ":"} {
		if _, err := New(address); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

func FuzzMoment(f *testing.F) {
	f.Add(`"2026-11-24T11:00:00Z"`)
	f.Add(`17`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		var m moment
		_ = json.Unmarshal([]byte(text), &m) // an error, or a number
		if _, err := json.Marshal(m); err != nil {
			t.Fatal(err)
		}
	})
}
