package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
)

// copyBuffers serve the bodies that pass through: 64 KiB keeps the number of
// reads and writes of a batch of several megabytes low.
type copyBuffers struct{ pool sync.Pool }

func (b *copyBuffers) Get() []byte  { return *b.pool.Get().(*[]byte) }
func (b *copyBuffers) Put(p []byte) { b.pool.Put(&p) }

func newProxy() *httputil.ReverseProxy {
	buffers := &copyBuffers{pool: sync.Pool{New: func() any {
		b := make([]byte, 64<<10)
		return &b
	}}}
	return &httputil.ReverseProxy{
		BufferPool: buffers,
		Transport:  transport{},
		Rewrite: func(r *httputil.ProxyRequest) {
			c := r.In.Context().Value(callKey{}).(*call)
			r.Out.URL.Scheme, r.Out.URL.Host = "http", c.replica.host()
			r.Out.URL.Path, r.Out.URL.RawPath = c.path, c.rawPath
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.SetXForwarded()
		},
		ErrorHandler: failedCall,
	}
}

type callKey struct{}

// call is what the proxy has to know of a call.
type call struct {
	function string
	replica  *replica
	path     string
	rawPath  string // as it was sent, with its escapes
}

// transport sends a call over the connections of the process it goes to.
type transport struct{}

func (transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return r.Context().Value(callKey{}).(*call).replica.transport.RoundTrip(r)
}

// failedCall answers 504 where the time was up and 502 where the process could
// not be reached or broke off. In both cases the call may have been carried out.
func failedCall(w http.ResponseWriter, r *http.Request, err error) {
	c := r.Context().Value(callKey{}).(*call)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		internal(w, http.StatusGatewayTimeout, fmt.Sprintf("function %s did not answer in time", c.function))
	case errors.As(err, &tooLarge):
		internal(w, http.StatusRequestEntityTooLarge, "the body is too large")
	default:
		internal(w, http.StatusBadGateway, fmt.Sprintf("function %s broke off the call: %v", c.function, err))
	}
}

// internal answers for the provider itself, which the header tells from a function's own answer.
func internal(w http.ResponseWriter, status int, text string) {
	w.Header().Set("X-OpenFaaS-Internal", "provider")
	http.Error(w, text, status)
}

// invoke carries a call of /function/NAME/PATH to the function.
func (p *Provider) invoke(proxy *httputil.ReverseProxy) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, rawPath, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/function/"), "/")
		name = plainName(name)
		path, err := url.PathUnescape(rawPath)
		if err != nil {
			refuse(w, r, http.StatusBadRequest, "the path has an escape that can't be read")
			return
		}
		f := p.function(name)
		if f == nil {
			refuse(w, r, http.StatusServiceUnavailable, fmt.Sprintf("function %s is not deployed", name))
			return
		}
		replica := f.pick()
		if replica == nil {
			w.Header().Set("Retry-After", "1")
			refuse(w, r, http.StatusBadGateway, fmt.Sprintf("function %s is down and is being started again", name))
			return
		}
		defer replica.end()
		f.calls.Add(1)
		ctx, cancel := context.WithTimeout(r.Context(), p.cfg.CallTimeout)
		defer cancel()
		ctx = context.WithValue(ctx, callKey{}, &call{function: name, replica: replica, path: "/" + path, rawPath: "/" + rawPath})
		proxy.ServeHTTP(w, r.WithContext(ctx))
	}
}

// refuse answers a call that reaches no function. It reads a little of the body
// first: a caller that is still sending might else miss the answer.
func refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	_, _ = io.CopyN(io.Discard, r.Body, 256<<10)
	internal(w, status, text)
}
