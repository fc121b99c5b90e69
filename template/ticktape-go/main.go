// Command ticktape-go is the process around a function's handler: one HTTP
// server, without a watchdog in front, that OpenFaaS takes for a function
// because it answers /_/health and /_/ready and stops as OpenFaaS expects.
// README.md beside this file lists its settings.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	// The image has no time zone database, and exchanges keep local time.
	_ "time/tzdata"

	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ticktape/internal/handling"
	"ticktape/internal/service"
	"ticktape/template/ticktape-go/function"
)

func main() {
	service.Main(cmp.Or(os.Getenv("OPENFAAS_NAME"), "function"), run)
}

// settings carry the names that OpenFaaS gives them.
type settings struct {
	Host string `env:"host"`
	Port uint16 `env:"port" envDefault:"8080"`

	ReadTimeout  seconds `env:"read_timeout" envDefault:"30s"`
	WriteTimeout seconds `env:"write_timeout" envDefault:"35s"`
	ExecTimeout  seconds `env:"exec_timeout"`
	// HealthcheckInterval is how long whoever sends calls may take to notice
	// that this process wants no more of them.
	HealthcheckInterval seconds `env:"healthcheck_interval" envDefault:"5s"`

	MaxBody     service.Bytes `env:"max_body" envDefault:"32MiB"`
	MaxInflight int           `env:"max_inflight" envDefault:"100"`
}

// seconds is a duration as OpenFaaS writes it: "10s", or "10" for the same.
type seconds time.Duration

func (s *seconds) UnmarshalText(text []byte) error {
	if n, err := strconv.ParseUint(string(text), 10, 31); err == nil {
		*s = seconds(time.Duration(n) * time.Second)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return errors.New("not a time: write it like 10s, or 10 for seconds")
	}
	*s = seconds(d)
	return nil
}

func loadSettings() (settings, error) {
	cfg, err := service.Load[settings]()
	if err != nil {
		return cfg, err
	}
	if cfg.WriteTimeout <= 0 || cfg.ReadTimeout <= 0 {
		return cfg, service.Settingf("read_timeout and write_timeout must be above 0: a call without an end holds its caller for ever")
	}
	if cfg.ExecTimeout == 0 {
		cfg.ExecTimeout = cfg.WriteTimeout - min(seconds(time.Second), cfg.WriteTimeout/10)
	}
	if cfg.ExecTimeout >= cfg.WriteTimeout {
		return cfg, service.Settingf("exec_timeout %v is not below write_timeout %v, so that a late call would be cut off without an answer: raise write_timeout",
			time.Duration(cfg.ExecTimeout), time.Duration(cfg.WriteTimeout))
	}
	if cfg.MaxBody < 1 || cfg.MaxInflight < 1 {
		return cfg, service.Settingf("max_body and max_inflight must be above 0: their product is the memory that bodies can take")
	}
	return cfg, nil
}

func run(ctx context.Context) error {
	cfg, err := loadSettings()
	if err != nil {
		return err
	}
	ln, err := service.Listen(ctx, "port", net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))))
	if err != nil {
		return err
	}
	return serve(ctx, ln, cfg, newServer(cfg, function.Handle, prometheus.DefaultRegisterer))
}

// serve answers on ln until ctx is done, and then, in this order: tells the
// health checks no, waits until callers have noticed, finishes the calls in
// flight, and returns. A call that keeps its deadline is never abandoned: what it
// has done would be unknown to its caller.
func serve(ctx context.Context, ln net.Listener, cfg settings, s *server) error {
	srv := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: time.Duration(cfg.ReadTimeout),
		ReadTimeout:       time.Duration(cfg.ReadTimeout),
		WriteTimeout:      time.Duration(cfg.WriteTimeout),
		// Longer than any caller keeps a connection, so that it is never this
		// side that closes one while a call is on its way over it.
		IdleTimeout: 5 * time.Minute,
		ErrorLog:    slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	slog.Info("function listens", "address", ln.Addr().String(), "revision", service.Revision(),
		"exec_timeout", time.Duration(cfg.ExecTimeout), "max_body", cfg.MaxBody, "max_inflight", cfg.MaxInflight)
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}

	s.draining.Store(true)
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-s.after(time.Duration(cfg.HealthcheckInterval)):
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(cfg.WriteTimeout))
	defer cancel()
	err := srv.Shutdown(limit)
	<-ended
	if err != nil {
		return fmt.Errorf("%d calls did not end within write_timeout %v: %w", len(s.inflight), time.Duration(cfg.WriteTimeout), err)
	}
	slog.Info("drained")
	return nil
}

type server struct {
	cfg      settings
	handle   handling.Handler
	inflight chan struct{} // holds one element a call, cfg.MaxInflight at most
	draining atomic.Bool
	after    func(time.Duration) <-chan time.Time // the clock
	usual    atomic.Int64                         // size in bytes that a body of undeclared length tends to have

	panics   prometheus.Counter
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	running  prometheus.Gauge
	received prometheus.Counter
}

func newServer(cfg settings, handle handling.Handler, reg prometheus.Registerer) *server {
	f := promauto.With(reg)
	return &server{
		cfg:      cfg,
		handle:   handle,
		inflight: make(chan struct{}, cfg.MaxInflight),
		after:    time.After,
		// The first three have the names that of-watchdog gives them, so that
		// dashboards for OpenFaaS functions work.
		requests: f.NewCounterVec(prometheus.CounterOpts{Name: "http_requests_total", Help: "Calls answered."}, []string{"code", "method"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time from a call's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"code", "method"}),
		running:  f.NewGauge(prometheus.GaugeOpts{Name: "http_requests_in_flight", Help: "Calls under way."}),
		received: f.NewCounter(prometheus.CounterOpts{Name: "function_received_bytes_total", Help: "Bytes of the bodies read."}),
		panics:   f.NewCounter(prometheus.CounterOpts{Name: "function_panics_total", Help: "Calls whose handler panicked."}),
	}
}

// routes gives the handler every path but the few that are the process's own.
// It is no ServeMux, which would answer some paths with a redirect of its own.
func (s *server) routes() http.Handler {
	metrics := promhttp.Handler()
	calls := promhttp.InstrumentHandlerInFlight(s.running,
		promhttp.InstrumentHandlerDuration(s.duration,
			promhttp.InstrumentHandlerCounter(s.requests, http.HandlerFunc(s.call))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/_/health", "/_/ready":
			s.health(w, r)
		case "/metrics":
			metrics.ServeHTTP(w, r)
		default:
			calls.ServeHTTP(w, r)
		}
	})
}

// health depends on nothing but this process: OpenFaaS kills what is unhealthy,
// and that would not bring Kafka or Cassandra back.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	if s.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (s *server) call(w http.ResponseWriter, r *http.Request) {
	select {
	case s.inflight <- struct{}{}:
		defer func() { <-s.inflight }()
	default:
		w.Header().Set("Retry-After", "1")
		s.refuse(w, r, newProblem(http.StatusTooManyRequests,
			fmt.Sprintf("%d calls are under way, which is the limit. Call again in a second.", s.cfg.MaxInflight)))
		return
	}
	if s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	// The body's arrival is part of the time, as it is of the caller's.
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(s.cfg.ExecTimeout))
	defer cancel()
	body, err := s.read(r)
	if err != nil {
		s.refuse(w, r, s.unreadable(err))
		return
	}
	s.received.Add(float64(len(body)))
	req := handler.Request{Body: body, Header: r.Header, QueryString: r.URL.RawQuery, Method: r.Method, Host: r.Host}
	req.WithContext(ctx)
	res, panicked := handling.Call(s.handle, req)
	if panicked {
		s.panics.Inc()
	}
	maps.Copy(w.Header(), res.Header)
	write(w, res.StatusCode, res.Body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that has gone can't be told
}

var errTooLarge = errors.New("body too large")

// read returns the whole body in memory of its own, which the handler may keep
// and alias for ever: decoders such as Protobuf's unsafe ones point into it, so
// that a pool would one day change a symbol under somebody's map key. Where the
// length is declared that memory has just the size; OpenFaaS's proxies declare
// none, so for them it starts as large as such bodies have lately been.
func (s *server) read(r *http.Request) ([]byte, error) {
	limit := int64(s.cfg.MaxBody)
	switch n := r.ContentLength; {
	case n > limit:
		return nil, errTooLarge
	case n == 0:
		return nil, nil
	case n > 0:
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	usual := s.usual.Load()
	body := make([]byte, 0, usual+512)
	for {
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if int64(len(body)) > limit {
			return nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			// A small body among large ones makes little difference.
			s.usual.Store(max(int64(len(body)), usual-usual/8))
			return body, nil
		}
		if err != nil {
			return nil, err
		}
		if len(body) == cap(body) {
			body = slices.Grow(body, len(body))
		}
	}
}

func (s *server) unreadable(err error) problem {
	var timeout net.Error
	switch {
	case errors.Is(err, errTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("The body is larger than %v. Send less at once, or raise max_body of this function.", s.cfg.MaxBody))
	case errors.As(err, &timeout) && timeout.Timeout():
		return newProblem(http.StatusRequestTimeout,
			fmt.Sprintf("The body did not arrive within %v. Send it faster, or raise read_timeout of this function.", time.Duration(s.cfg.ReadTimeout)))
	default:
		return newProblem(http.StatusBadRequest, "The body ended before its declared length.")
	}
}

// refused is how much of a body is read to no other end than that its sender,
// which may be a proxy that knows only to report a broken pipe, comes to read
// the answer.
const refused = 64 << 20

func (s *server) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	// Who asks whether to send the body at all gets the answer to just that.
	if r.Header.Get("Expect") == "" {
		_, _ = io.CopyN(io.Discard, r.Body, refused)
	}
	p.write(w)
}

// problem is the body of every refusal that is not the handler's own, as
// RFC 9457 has it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

func newProblem(status int, detail string) problem {
	return problem{"about:blank", http.StatusText(status), status, detail}
}

func (p problem) write(w http.ResponseWriter) {
	body, _ := json.Marshal(p) // strings and numbers can't fail
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, p.Status, append(body, '\n'))
}
