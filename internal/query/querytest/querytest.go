// Package querytest holds tests of the query functions to their description,
// docs/openapi.yaml, and gives them a small market to ask about.
package querytest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
)

// Spec is the description of the query functions.
type Spec struct {
	router routers.Router
}

// Load reads docs/openapi.yaml, and fails the test where it is not sound, its
// examples included.
func Load(t testing.TB) *Spec {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(find(t, "docs/openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // any address will do
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &Spec{router}
}

// find returns the path of a file of the module, which the test runs somewhere in.
func find(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, name)
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("%s: there is no go.mod above", name)
		}
		dir = filepath.Dir(dir)
	}
}

// Function asks a query function, whose handler reads its settings from the
// environment as it does when deployed, about a market of the test's own, and
// returns the body of its answer.
func Function(t *testing.T, handle func(handler.Request) (handler.Response, error), function, query string) []byte {
	t.Helper()
	cfg := testbed.Cassandra(t)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	Fill(t, s)
	t.Setenv("CASSANDRA_KEYSPACE", cfg.Keyspace)
	t.Setenv("CASSANDRA_TIMEOUT", cfg.Timeout.String())
	res := Load(t).Ask(t, handle, function, query, nil)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s?%s: %d %s", function, query, res.StatusCode, res.Body)
	}
	return res.Body
}

// Ask sends GET function?query to the handler and fails the test where the
// answer is not as described, or a success to a request that is not.
func (s *Spec) Ask(t testing.TB, handle func(handler.Request) (handler.Response, error), function, query string, header http.Header) handler.Response {
	t.Helper()
	req := handler.Request{Method: http.MethodGet, QueryString: query, Header: header}
	req.WithContext(t.Context())
	res, err := handle(req)
	if err != nil {
		t.Fatalf("%s?%s: %v", function, query, err)
	}
	s.Check(t, req, function, res)
	return res
}

// Check fails the test where the answer to a request is not as described, or a
// success to a request that is not.
func (s *Spec) Check(t testing.TB, req handler.Request, function string, res handler.Response) {
	t.Helper()
	query := req.QueryString
	asked, err := http.NewRequestWithContext(t.Context(), req.Method, "/function/"+function, bytes.NewReader(req.Body))
	if err != nil {
		t.Fatal(err)
	}
	asked.URL.RawQuery = query
	if req.Header != nil {
		asked.Header = req.Header.Clone()
	}
	if len(req.Body) > 0 {
		asked.Header.Set("Content-Type", "application/json")
	}
	route, params, err := s.router.FindRoute(asked)
	if err != nil {
		t.Fatalf("%s is not described: %v", function, err)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil && res.StatusCode < 300 {
		t.Errorf("%s?%s: a request that is not as described was answered: %v", function, query, err)
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Body: io.NopCloser(bytes.NewReader(res.Body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		t.Errorf("%s?%s: the answer is not as described: %v\n%s", function, query, err, res.Body)
	}
}
