package function

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/trigger"
)

func TestHandleSealsForWhoHasTheToken(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRETS_DIR", dir)
	req := handler.Request{Method: http.MethodPost, QueryString: "from=2026-03-02", Header: http.Header{}}
	if res, err := Handle(req); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: status %d, error %v", res.StatusCode, err)
	}
	req.Header.Set(trigger.HeaderToken, "a token")
	if res, err := Handle(req); err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(string(res.Body), "give both") {
		t.Errorf("with it and half a range: status %d, body %s, error %v", res.StatusCode, res.Body, err)
	}
}
