package function

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/query"
	"ticktape/internal/query/querytest"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/trigger"
	"ticktape/internal/yahoo/yahootest"
)

func TestHandleBringsHistoryThatCandlesShow(t *testing.T) {
	cfg := testbed.Cassandra(t)
	first, err := store.Open(t.Context(), cfg) // it makes the tables, which takes its time
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
	market := yahootest.NewServer(yahootest.Options{Hours: yahootest.AlwaysOpen, Start: noon.Add(-time.Hour), Clock: func() time.Time { return noon }})
	web := httptest.NewServer(market)
	t.Cleanup(web.Close)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"CASSANDRA_KEYSPACE": cfg.Keyspace, "CASSANDRA_TIMEOUT": cfg.Timeout.String(), "SECRETS_DIR": dir, "YAHOO_URL": web.URL, "YAHOO_RATE": "100",
		"SYMBOLS": "KO", "BACKFILL_ADDED": "1d:5d", "YAHOO_TIMEOUT": "1m", "BACKFILL_TIME": "30s", // for a machine that is busy
	} {
		t.Setenv(name, value)
	}
	spec := querytest.Load(t)
	call := func(method, query, token string, status int, want string) {
		t.Helper()
		req := handler.Request{Method: method, QueryString: query, Header: http.Header{trigger.HeaderToken: {token}}}
		req.WithContext(t.Context())
		res, err := Handle(req)
		if err != nil || res.StatusCode != status || !strings.Contains(string(res.Body), want) {
			t.Errorf("%s %s: %d %s, error %v", method, query, res.StatusCode, res.Body, err)
		}
		spec.Check(t, req, "backfill", res)
	}
	const token = "a token"
	call("POST", "symbol=AAPL", "a guess", 401, "oken")
	call("POST", "symbol=AAPL&interval=7m", token, 400, "1m, 5m, 1h, 1d")
	call("POST", "symbol=AAPL&interval=1m&range=1y", token, 400, "last 30 days")
	call("POST", "symbol=AAPL&intervall=1m", token, 400, "intervall")
	call("POST", "symbol=NOSUCH&interval=1d", token, 502, "No data found, symbol may be delisted")
	call("POST", "symbol=aapl&interval=1h&range=1d", token, 200, `"symbol":"AAPL","interval":"1h","range":"1d","prepost":true,"state":"done"`)
	call("GET", "symbol=AAPL", "", 200, `"interval":"1d","range":"1d","prepost":true,"state":"done"`)
	call("GET", "", "", 200, `"symbol":"KO","interval":"1d","range":"5d","prepost":true,"state":"queued"`)
	call("POST", "", token, 200, `{"jobs":[]}`)
	call("GET", "symbol=KO", "", 200, `"state":"done"`)

	api := query.New(store.NewLazy(store.ConfigFromEnv))
	candles := func(req handler.Request) (handler.Response, error) { return api.Candles(req), nil }
	for _, query := range []string{"symbol=AAPL&interval=1h", "symbol=AAPL&interval=1d", "symbol=KO&interval=1d&events=dividends,splits"} {
		res := spec.Ask(t, candles, "candles", query, nil)
		if res.StatusCode != 200 || !strings.Contains(string(res.Body), `"turnover":null,"vwap":null,"tick_count":0,"source":"simulated-chart"`) {
			t.Errorf("%s: %d %.300s", query, res.StatusCode, res.Body)
		}
	}
}
