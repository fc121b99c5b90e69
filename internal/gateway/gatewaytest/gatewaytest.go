// Package gatewaytest is a gateway for tests: it lists functions and routes
// calls to them by OpenFaaS's API, and its functions are handlers of the test.
package gatewaytest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/openfaas/faas-provider/types"

	"ticktape/internal/gateway"
	"ticktape/internal/trigger"
)

// Server is a gateway with functions. It is safe for concurrent use.
type Server struct {
	*httptest.Server

	mu        sync.Mutex
	functions map[string]function
	asked     int
	listError int
	user      string
	password  string
}

type function struct {
	annotations map[string]string
	handler     http.Handler
}

// New starts a gateway that has no functions. It ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{functions: map[string]function{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /system/functions", s.list)
	mux.HandleFunc("GET /system/namespaces", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode([]string{"openfaas-fn", "other"})
	})
	mux.HandleFunc("/function/{name}", s.call)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections() // functions that hang
		s.Close()
	})
	return s
}

// Config is how a connector finds the gateway. The listing is refreshed often.
func (s *Server) Config(t testing.TB) gateway.Config {
	return gateway.Config{URL: s.URL, Refresh: 50_000_000, SecretsDir: t.TempDir()}
}

// Deploy adds a function or replaces it. A name with a dot is one of another
// namespace.
func (s *Server) Deploy(name string, annotations map[string]string, handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.functions[name] = function{annotations, handler}
}

// Remove takes a function away: it is no longer listed, and calls answer 404.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.functions, name)
}

// FailListing makes listings answer with the status, or well again when it is 0.
func (s *Server) FailListing(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listError = status
}

// Login makes listings ask for basic authentication.
func (s *Server) Login(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user, s.password = user, password
}

// Asked is how often somebody wanted a listing.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.listError != 0 {
		http.Error(w, "no listing", s.listError)
		return
	}
	if u, p, _ := r.BasicAuth(); u != s.user || p != s.password {
		http.Error(w, "log in", http.StatusUnauthorized)
		return
	}
	namespace := r.URL.Query().Get("namespace")
	if namespace == "" {
		namespace = "openfaas-fn"
	}
	list := []types.FunctionStatus{}
	for name, f := range s.functions {
		short, ns, other := strings.Cut(name, ".")
		if !other {
			ns = "openfaas-fn"
		}
		if ns == namespace {
			list = append(list, types.FunctionStatus{Name: short, Namespace: ns, Annotations: &f.annotations})
		}
	}
	_ = json.NewEncoder(w).Encode(list)
}

func (s *Server) call(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	f, ok := s.functions[strings.TrimSuffix(r.PathValue("name"), ".openfaas-fn")]
	s.mu.Unlock()
	if !ok {
		http.Error(w, "no such function", http.StatusNotFound)
		return
	}
	f.handler.ServeHTTP(w, r)
}

// Batch reads the batch of a call, or panics, which the caller sees as a broken
// connection.
func Batch(r *http.Request, body []byte) *trigger.Batch {
	b := new(trigger.Batch)
	if err := trigger.Decode(b, r.Header.Get("Content-Type"), body); err != nil {
		panic(err)
	}
	return b
}

// Refusing is the address of a gateway that refuses connections.
func Refusing(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}
