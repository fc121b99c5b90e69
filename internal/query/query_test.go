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
