package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/chunk"
	"ticktape/internal/query/querytest"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

func failing(err error) *API {
	return newAPI(func(context.Context) (reader, error) { return nil, err })
}

func TestTheDescriptionIsSound(t *testing.T) {
	querytest.Load(t)
}

func TestWithoutADatabaseEveryFunctionAsksToBeAskedAgain(t *testing.T) {
	spec := querytest.Load(t)
	cfg := store.Config{Hosts: []string{"127.0.0.1:1"}, Keyspace: "absent"}
	api := New(store.NewLazy(func() (store.Config, error) { return cfg, nil }))
	for function, query := range map[string]string{"quotes": "", "candles": "symbol=AAPL&interval=1m", "ticks": "symbol=AAPL"} {
		t.Run(function, func(t *testing.T) {
			res := spec.Ask(t, handleOf(api, function), function, query, nil)
			var p Problem
			if err := json.Unmarshal(res.Body, &p); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != http.StatusServiceUnavailable || p.Status != res.StatusCode || res.Header.Get("Retry-After") != "2" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v %s", res.StatusCode, res.Header, res.Body)
			}
			if strings.Contains(string(res.Body), "127.0.0.1") {
				t.Errorf("the answer tells where the database is: %s", res.Body)
			}
		})
	}
}

func TestAMistakeIsToldEvenWithoutADatabase(t *testing.T) {
	api := failing(errors.New("away"))
	for function, queries := range map[string][]string{
		"quotes":  {"limit=-1", "symbols=A%20B", "symbol=AAPL", "cursor=x"},
		"candles": {"symbol=AAPL&interval=2m", "symbol=AAPL&interval=1m&from=x", "symbol=AAPL&interval=1m&limit=1e3", "symbol=AAPL&interval=1m&cursor=x"},
		"ticks":   {"", "symbol=AAPL&to=0", "symbol=AAPL&from=2026-01-01&to=2025-01-01", "symbol=AAPL&interval=1m", "symbol=AAPL&cursor=x"},
	} {
		for _, query := range queries {
			res, _ := handleOf(api, function)(handler.Request{Method: http.MethodGet, QueryString: query})
			var p Problem
			if err := json.Unmarshal(res.Body, &p); err != nil || res.StatusCode != http.StatusBadRequest || p.Parameter == "" {
				t.Errorf("%s?%s: %d %s (%v)", function, query, res.StatusCode, res.Body, err)
			}
		}
	}
}

func TestDamagedDataIsNoReasonToAskAgain(t *testing.T) {
	res := failing(fmt.Errorf("read ticks: %w", chunk.ErrChunk)).Ticks(handler.Request{Method: http.MethodGet, QueryString: "symbol=AAPL"})
	if res.StatusCode != http.StatusInternalServerError || res.Header.Get("Retry-After") != "" {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, res.Body)
	}
}

func TestOnlyReadingMethodsAreAnswered(t *testing.T) {
	m := &memory{newest: testRecord(1, testStart, 0).Tick, logs: []int32{65536}}
	ask := func(method string) handler.Response {
		return m.api().Quotes(handler.Request{Method: method, Body: bytes.Repeat([]byte("x"), 10<<20)})
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodTrace, ""} {
		if res := ask(method); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s: %d %v", method, res.StatusCode, res.Header)
		}
	}
	if res := ask(http.MethodOptions); res.StatusCode != http.StatusNoContent || len(res.Body) != 0 ||
		res.Header.Get("Allow") == "" || res.Header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("OPTIONS: %d %v", res.StatusCode, res.Header)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if res := ask(method); res.StatusCode != http.StatusOK || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %d %v", method, res.StatusCode, res.Header)
		}
	}
}

func TestARequestThatWaitsTooLongForItsTurnIsToldToComeAgain(t *testing.T) {
	m := &memory{newest: testRecord(1, testStart, 0).Tick, logs: []int32{65536}}
	api := m.api()
	for range inFlight {
		api.turns <- struct{}{}
	}
	req := handler.Request{Method: http.MethodGet}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req.WithContext(ctx)
	if res := api.Quotes(req); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", res.StatusCode, res.Body)
	}
	<-api.turns
	if res := api.Quotes(handler.Request{Method: http.MethodGet}); res.StatusCode != http.StatusOK {
		t.Errorf("%d %s", res.StatusCode, res.Body)
	}
}

// faulty answers like memory until the read of the given number.
type faulty struct {
	*memory
	left int
}

func (f *faulty) LatestQuotes(ctx context.Context, symbols []string) (map[string]tick.Tick, error) {
	if err := f.next(); err != nil {
		return nil, err
	}
	return f.memory.LatestQuotes(ctx, symbols)
}

func (f *faulty) SymbolLogs(ctx context.Context, symbol string) ([]int32, error) {
	if err := f.next(); err != nil {
		return nil, err
	}
	return f.memory.SymbolLogs(ctx, symbol)
}

func (f *faulty) SealedUntil(ctx context.Context) (int64, error) {
	if err := f.next(); err != nil {
		return 0, err
	}
	return f.memory.SealedUntil(ctx)
}

func (f *faulty) ReadCandles(ctx context.Context, symbol string, interval store.Interval, from, to int64, limit int) ([]store.Candle, error) {
	if err := f.next(); err != nil {
		return nil, err
	}
	return f.memory.ReadCandles(ctx, symbol, interval, from, to, limit)
}

func (f *faulty) ReadWindow(ctx context.Context, w store.Window, symbols []string) (int64, []store.SymbolState, error) {
	if err := f.next(); err != nil {
		return 0, nil, err
	}
	return f.memory.ReadWindow(ctx, w, symbols)
}

func (f *faulty) EachChunk(ctx context.Context, w store.Window, symbol string, each func(*chunk.Summary, []byte) error) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.memory.EachChunk(ctx, w, symbol, each)
}

func (f *faulty) next() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left < 0 {
		return errors.New("no answer in time")
	}
	return nil
}

func TestAnAnswerIsWholeOrNone(t *testing.T) {
	at := store.Window{Start: testStart, Log: 65536}
	r := testRecord(1, testStart, 0)
	var s window.State
	s.Add(r.Point(), r.Size)
	m := &memory{
		newest: r.Tick, logs: []int32{65536}, live: map[store.Window]window.State{at: s},
		chunks: map[store.Window][][]chunk.Record{at: {{r}}},
	}
	for _, c := range []struct{ function, query, row string }{
		{"quotes", "symbols=AAPL", `"last":0.00000001`},
		{"candles", "symbol=AAPL&interval=1m&from=1772461800000", `"tick_count":1`},
		{"candles", "symbol=AAPL&interval=1d&from=1772461800000", `"tick_count":1`},
		{"ticks", "symbol=AAPL&from=1772461800000", `"offset":1`},
	} {
		failures := 0
		for reads := 0; ; reads++ {
			api := newAPI(func(context.Context) (reader, error) { return &faulty{memory: m, left: reads}, nil })
			res, _ := handleOf(api, c.function)(handler.Request{Method: http.MethodGet, QueryString: c.query})
			if res.StatusCode == http.StatusOK {
				if !strings.Contains(string(res.Body), c.row) {
					t.Errorf("%s?%s after %d reads: %s lacks %s", c.function, c.query, reads, res.Body, c.row)
				}
				break
			}
			if res.StatusCode != http.StatusServiceUnavailable {
				t.Fatalf("%s?%s after %d reads: %d %s", c.function, c.query, reads, res.StatusCode, res.Body)
			}
			failures++
		}
		if failures == 0 {
			t.Errorf("%s?%s reads nothing", c.function, c.query)
		}
	}
}
