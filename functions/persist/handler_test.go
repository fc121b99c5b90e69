package function

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/testbed"
	"ticktape/internal/trigger"
)

func TestHandleStoresABatchForWhoHasTheToken(t *testing.T) {
	cfg := testbed.Cassandra(t)
	t.Setenv("CASSANDRA_KEYSPACE", cfg.Keyspace)
	t.Setenv("CASSANDRA_TIMEOUT", cfg.Timeout.String())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRETS_DIR", dir)
	event, err := os.ReadFile("event.json")
	if err != nil {
		t.Fatal(err)
	}
	req := handler.Request{Method: http.MethodPost, Body: event, Header: http.Header{"Content-Type": {"application/json"}}}
	if res, err := Handle(req); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: status %d, error %v", res.StatusCode, err)
	}
	req.Header.Set(trigger.HeaderToken, "a token")
	res, err := Handle(req)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get(trigger.HeaderFailures) != "17" {
		t.Errorf("with it: status %d, failures %q, body %s, error %v", res.StatusCode, res.Header.Get(trigger.HeaderFailures), res.Body, err)
	}
}
