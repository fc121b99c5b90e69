package function

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/query/querytest"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/trigger"
)

func TestHandleShowsAndEditsTheList(t *testing.T) {
	cfg := testbed.Cassandra(t)
	first, err := store.Open(t.Context(), cfg) // it makes the tables, which takes its time
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"CASSANDRA_KEYSPACE": cfg.Keyspace, "CASSANDRA_TIMEOUT": cfg.Timeout.String(), "SECRETS_DIR": dir, "SYMBOLS": "MSFT,AAPL", "WATCHLIST_LIMIT": "3",
	} {
		t.Setenv(name, value)
	}
	spec := querytest.Load(t)
	token := http.Header{trigger.HeaderToken: {"a token"}}
	for _, c := range []struct {
		name, method, query, body string
		header                    http.Header
		status                    int
		want                      string
	}{
		{"the list has what SYMBOLS says", "GET", "format=csv", "", nil, 200, "symbol,name,exchange,state,reason,added_at,checked_at,streamed_by,delayed_by\r\nAAPL,,,active,,2"},
		{"a symbol is added with the token only", "POST", "symbol=ko", "", nil, 401, "Token is missing"},
		{"and removed with it only", "DELETE", "symbol=AAPL", "", http.Header{trigger.HeaderToken: {"a guess"}}, 401, "oken"},
		{"a symbol is added", "POST", "symbol=ko", "", token, 201, `{"added":true,"symbol":"KO"}`},
		{"a second time changes nothing", "POST", "", `{"symbol":"KO"}`, token, 200, `{"added":false,"symbol":"KO"}`},
		{"a full list takes no more", "POST", "", `{"symbol":"BRK-B"}`, token, 409, "WATCHLIST_LIMIT"},
		{"a symbol is removed", "DELETE", "symbol=AAPL", "", token, 200, `{"removed":true,"symbol":"AAPL"}`},
		{"a second time does no harm", "DELETE", "", `{"symbol":"aapl"}`, token, 200, `{"removed":false,"symbol":"AAPL"}`},
		{"what is left is shown", "GET", "", "", nil, 200, `{"symbols":[{"symbol":"KO","name":null,"exchange":null,"state":"active","reason":null,"added_at":"2`},
		{"no symbol", "POST", "", "", token, 400, "symbol=AAPL"},
		{"two symbols", "POST", "symbol=A&symbol=B", "", token, 400, "once"},
		{"something else", "POST", "", `{"symbol":"A","list":"mine"}`, token, 400, "symbol=AAPL"},
		{"what can't be a symbol", "POST", "symbol=A%20B", "", token, 400, "no symbol has"},
		{"a misspelt parameter", "GET", "formatt=csv", "", nil, 400, `"parameter":"formatt"`},
		{"another method", "PUT", "symbol=A", "", token, 405, "DELETE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := handler.Request{Method: c.method, QueryString: c.query, Body: []byte(c.body), Header: c.header}
			req.WithContext(t.Context())
			res, err := Handle(req)
			if err != nil || res.StatusCode != c.status || !strings.Contains(string(res.Body), c.want) {
				t.Errorf("%d %s, error %v", res.StatusCode, res.Body, err)
			}
			if problem := res.Header.Get("Content-Type") == "application/problem+json"; problem != (c.status >= 400) {
				t.Errorf("header %v", res.Header)
			}
			if c.method != http.MethodPut {
				spec.Check(t, req, "watchlist", res)
			}
		})
	}
}
