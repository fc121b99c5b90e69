package gateway_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/internal/gateway"
	"ticktape/internal/gateway/gatewaytest"
	"ticktape/internal/testbed"
)

func nothing(http.ResponseWriter, *http.Request) {}

func client(t *testing.T, cfg gateway.Config) *gateway.Client {
	t.Helper()
	c, err := gateway.New(cfg, "test-connector")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func names(fs []gateway.Function) (n []string) {
	for _, f := range fs {
		n = append(n, f.String())
	}
	return n
}

func TestFunctionsAreListedByNamespace(t *testing.T) {
	gw := gatewaytest.New(t)
	gw.Deploy("b", map[string]string{"topic": "x"}, nothing)
	gw.Deploy("a", nil, nothing)
	gw.Deploy("a.other", nil, nothing)
	for _, c := range []struct {
		namespaces []string
		want       []string
	}{
		{nil, []string{"a", "b"}},
		{[]string{"other"}, []string{"a.other"}},
		{[]string{"openfaas-fn", "other"}, []string{"a", "a.other", "b"}},
		{[]string{"*"}, []string{"a", "a.other", "b"}},
	} {
		cfg := gw.Config(t)
		cfg.Namespaces = c.namespaces
		got, err := client(t, cfg).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, names(got)); diff != "" {
			t.Errorf("namespaces %v: %s", c.namespaces, diff)
		}
	}
}

func TestAListingThatFailsTellsWhatToDo(t *testing.T) {
	gw := gatewaytest.New(t)
	gw.Login("admin", "right")
	cfg := gw.Config(t)
	if _, err := client(t, cfg).List(t.Context()); err == nil || !strings.Contains(err.Error(), "put the secrets basic-auth-user and basic-auth-password into "+cfg.SecretsDir) {
		t.Errorf("without a login: %v", err)
	}
	for name, text := range map[string]string{"basic-auth-user": "admin\n", "basic-auth-password": "right\n"} {
		if err := os.WriteFile(filepath.Join(cfg.SecretsDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client(t, cfg).List(t.Context()); err != nil {
		t.Errorf("with the login: %v", err)
	}
	gw.FailListing(500)
	if _, err := client(t, cfg).List(t.Context()); err == nil || !strings.Contains(err.Error(), "no listing") {
		t.Errorf("status 500: %v", err)
	}
	cfg.URL = gatewaytest.Refusing(t)
	if _, err := client(t, cfg).List(t.Context()); err == nil || !strings.Contains(err.Error(), "GATEWAY_URL") {
		t.Errorf("nobody there: %v", err)
	}
	for _, bad := range []string{"", "gateway:8080", "ftp://gateway", "http://"} {
		cfg.URL = bad
		if _, err := gateway.New(cfg, "x"); err == nil || !strings.Contains(err.Error(), "GATEWAY_URL=") {
			t.Errorf("%q is taken for an address: %v", bad, err)
		}
	}
}

func TestWatchKeepsWhatItKnowsWhileListingsFail(t *testing.T) {
	gw := gatewaytest.New(t)
	gw.Deploy("a", nil, nothing)
	ctx, cancel := context.WithCancel(t.Context())
	listings := make(chan []string, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client(t, gw.Config(t)).Watch(ctx, func(fs []gateway.Function) { listings <- names(fs) })
	}()
	if got := <-listings; len(got) != 1 {
		t.Errorf("first listing %v", got)
	}
	gw.FailListing(503)
	gw.FailListing(0)
	gw.Deploy("b", nil, nothing)
	testbed.Eventually(t, 10*time.Second, "b is listed", func() bool { return len(<-listings) == 2 })
	cancel()
	<-ended
}

func TestACallCarriesItsPartsAndHeaders(t *testing.T) {
	gw := gatewaytest.New(t)
	gw.Deploy("echo", nil, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.ContentLength != int64(len(body)) || r.Header.Get("X-Connector") != "test-connector" || r.Header.Get("X-Trigger-Token") != "t0ken" {
			t.Errorf("%s of %d bytes, %v", r.Method, r.ContentLength, r.Header)
		}
		w.Header().Set("X-Mine", r.Header.Get("X-Mine"))
		w.WriteHeader(202)
		_, _ = w.Write(body)
	})
	cfg := gw.Config(t)
	if err := os.WriteFile(filepath.Join(cfg.SecretsDir, "trigger-token"), []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := client(t, cfg)
	for want, parts := range map[string][][]byte{"abc": {[]byte("a"), nil, []byte("bc")}, "": nil} {
		got, err := c.Call(t.Context(), gateway.Function{Name: "echo"}, http.Header{"X-Mine": {"1"}}, parts...)
		if err != nil || got.Status != 202 || string(got.Body) != want || got.Header.Get("X-Mine") != "1" {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestNothingReadsTheBodyWhenACallHasEnded(t *testing.T) {
	gw := gatewaytest.New(t)
	release := make(chan struct{})
	gw.Deploy("early", nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(413) })
	gw.Deploy("hangs", nil, func(_ http.ResponseWriter, _ *http.Request) { <-release })
	defer close(release)
	c := client(t, gw.Config(t))
	body := make([]byte, 8<<20)
	for _, name := range []string{"early", "hangs"} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, _ = c.Call(ctx, gateway.Function{Name: name}, nil, body) // how it ends is not the point
		cancel()
		for i := range body { // the race detector sees who still reads
			body[i]++
		}
	}
}
