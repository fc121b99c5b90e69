package function

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/ingest"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/trigger"
	"ticktape/internal/yahoo/yahootest"
)

func TestHandleFetchesForWhoHasTheToken(t *testing.T) {
	cfg := testbed.Cassandra(t)
	first, err := store.Open(t.Context(), cfg) // it makes the tables, which takes its time
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	topic := testbed.Topic(t, "ticks", 2)
	web := httptest.NewServer(yahootest.NewServer(yahootest.Options{}))
	t.Cleanup(web.Close)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"CASSANDRA_KEYSPACE": cfg.Keyspace, "CASSANDRA_TIMEOUT": cfg.Timeout.String(), "FETCH_TIMEOUT": "60s",
		"TICKS_TOPIC": topic, "YAHOO_URL": web.URL, "SECRETS_DIR": dir, "SYMBOLS": "AAPL, NOSUCH ^GSPC",
	} {
		t.Setenv(name, value)
	}
	req := handler.Request{Method: http.MethodPost, Header: http.Header{}}
	if res, err := Handle(req); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: status %d, error %v", res.StatusCode, err)
	}
	req.Header.Set(trigger.HeaderToken, "a token")
	res, err := Handle(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("with it: status %d, body %s, error %v", res.StatusCode, res.Body, err)
	}
	var sum ingest.Summary
	if err := json.Unmarshal(res.Body, &sum); err != nil {
		t.Fatal(err)
	}
	if sum.Asked != 3 || sum.Published != 2 || len(sum.Unknown) != 1 || sum.Unknown[0] != "NOSUCH" || sum.Source != "simulated" {
		t.Errorf("summary %s", res.Body)
	}
}
