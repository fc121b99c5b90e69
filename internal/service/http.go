package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Listen opens a TCP listener on addr ("127.0.0.1:8090", ":8090"), which the
// environment variable named variable decides. Its errors tell what to do.
func Listen(ctx context.Context, variable, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is taken by another program: stop that, or set %s to a free address", addr, variable)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s may not be listened on by this user: set %s to a port above 1023", addr, variable)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return nil, Settingf("%s=%q can't be listened on (%v): write it like 127.0.0.1:8090", variable, addr, err)
}

// shutdownGrace is how long Serve lets answers under way finish.
const shutdownGrace = 10 * time.Second

// Serve answers HTTP on ln until ctx is done, lets answers under way finish
// within 10 seconds, and returns nil; or the error that ended it before.
// It does not wait for hijacked connections such as WebSockets.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		// A query may name 500 symbols of 64 bytes.
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close() // what is left has had its time
	}
	<-ended
	return nil
}

// Health is what a process says of itself on its admin listener. The zero value
// is ready.
type Health struct {
	mu    sync.Mutex
	flags []*Flag
}

// Flag is one thing that has to be so before the process is ready.
type Flag struct {
	health *Health
	name   string
	reason string // why not; empty when ready
}

// Flag adds a condition that is not met yet. Its name is shown on /readyz.
func (h *Health) Flag(name string) *Flag {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &Flag{health: h, name: name, reason: "starting"}
	h.flags = append(h.flags, f)
	return f
}

// Ready says that the condition is met.
func (f *Flag) Ready() { f.set("") }

// NotReady says that the condition is not met, and why.
func (f *Flag) NotReady(reason string) {
	if reason == "" {
		reason = "not ready"
	}
	f.set(reason)
}

func (f *Flag) set(reason string) {
	f.health.mu.Lock()
	defer f.health.mu.Unlock()
	f.reason = reason
}

// Ready reports whether all conditions are met, and else names those that are
// not with their reasons.
func (h *Health) Ready() (ok bool, missing []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.flags {
		if f.reason != "" {
			missing = append(missing, f.name+": "+f.reason)
		}
	}
	slices.Sort(missing)
	return len(missing) == 0, missing
}

var readyDesc = prometheus.NewDesc("ticktape_ready", "1 where a condition of /readyz is met, 0 where it is not.", []string{"condition"}, nil)

// readiness tells Prometheus what /readyz tells others.
type readiness struct{ health *Health }

func (readiness) Describe(ch chan<- *prometheus.Desc) { ch <- readyDesc }

func (r readiness) Collect(ch chan<- prometheus.Metric) {
	r.health.mu.Lock()
	defer r.health.mu.Unlock()
	for _, f := range r.health.flags {
		met := 0.0
		if f.reason == "" {
			met = 1
		}
		ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, met, f.name)
	}
}

// Handler is the admin listener's: /healthz answers 200 while the process
// lives, /readyz 200 or 503 with what is missing, /metrics Prometheus' metrics.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		ok, missing := h.Ready()
		if ok {
			fmt.Fprintln(w, "ready")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		for _, m := range missing {
			fmt.Fprintln(w, m)
		}
	})
	// What is ready belongs to this Health and not to the process, of which there
	// is one registry.
	own := prometheus.NewRegistry()
	own.MustRegister(readiness{h})
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{prometheus.DefaultGatherer, own}, promhttp.HandlerOpts{}))
	return mux
}
