package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ticktape/dashboard/feedtest"
	"ticktape/internal/bus"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

// TestInABrowser runs web/test/browser.mjs: the real service, a real Kafka, a
// real Chromium. Its screenshots are in build/screenshots/dashboard.
func TestInABrowser(t *testing.T) {
	brokers := testbed.Kafka(t)
	node, chromium := tools(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	shots := filepath.Join(root, "build", "screenshots", "dashboard")
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, brokers: brokers, topic: testbed.Topic(t, "windows", 4), market: feedtest.New(7, feedtest.Symbols)}
	s.build()
	s.gateway = httptest.NewServer(s.history())
	defer s.gateway.Close()
	s.start()
	defer s.kill()
	defer s.stopMarket()
	control := httptest.NewServer(s.control())
	defer control.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join("web", "test", "browser.mjs"))
	cmd.Env = append(os.Environ(), "DASHBOARD_URL="+s.url(), "CONTROL_URL="+control.URL, "SHOTS="+shots, "CHROMIUM="+chromium)
	// Its own group: the browser is a child of node's.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the browser's test: %v; the dashboard said:\n%s", err, s.said())
	}
}

// tools finds what the browser's test needs, or skips it.
func tools(t *testing.T) (node, chromium string) {
	t.Helper()
	const hint = "; `make test` sees to it"
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs Node.js: node is not on PATH" + hint)
	}
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if chromium, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if chromium == "" {
		t.Skip("needs Chromium: it is neither on PATH nor named by CHROMIUM" + hint)
	}
	for path, how := range map[string]string{
		"web/node_modules/playwright-core": "run npm ci in dashboard/web",
		"web/node_modules/axe-core":        "run npm ci in dashboard/web",
		"web/dist/page/index.html":         "run npm run build in dashboard/web",
	} {
		if _, err := os.Stat(filepath.FromSlash(path)); err != nil {
			t.Skip("needs dashboard/" + path + ": " + how + hint)
		}
	}
	return node, chromium
}

// scene is what the browser's test looks at, and can change.
type scene struct {
	t       *testing.T
	brokers []string
	topic   string
	market  *feedtest.Market
	gateway *httptest.Server
	binary  string
	port    int

	away   atomic.Bool // history
	paused atomic.Bool
	real   atomic.Bool

	mu   sync.Mutex
	cmd  *exec.Cmd
	out  strings.Builder
	stop func()
}

func (s *scene) build() {
	s.binary = filepath.Join(s.t.TempDir(), "dashboard")
	if out, err := exec.CommandContext(s.t.Context(), "go", "build", "-o", s.binary, ".").CombinedOutput(); err != nil {
		s.t.Fatalf("build the dashboard: %v\n%s", err, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.port = ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
}

func (s *scene) url() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// start runs the dashboard and waits until it answers.
func (s *scene) start() {
	cmd := exec.Command(s.binary)
	cmd.Env = append(os.Environ(),
		fmt.Sprintf("DASHBOARD_ADDR=127.0.0.1:%d", s.port), "KAFKA_BROKERS="+strings.Join(s.brokers, ","), "WINDOWS_TOPIC="+s.topic, "GATEWAY_URL="+s.gateway.URL)
	cmd.Stdout, cmd.Stderr = s, s
	if err := cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	s.cmd = cmd
	s.mu.Unlock()
	testbed.Eventually(s.t, time.Minute, "the dashboard answers", func() bool {
		resp, err := http.Get(s.url() + "/healthz") //nolint:noctx // waited for with a limit
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// Write keeps what the dashboard says.
func (s *scene) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

func (s *scene) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func (s *scene) kill() {
	s.mu.Lock()
	cmd := s.cmd
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed, as it says
}

func (s *scene) history() http.Handler {
	market := s.market.Gateway()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		market.ServeHTTP(w, r)
	})
}

// startMarket publishes some hours of the past, then about 45 trades a second.
func (s *scene) startMarket() error {
	client := bus.New(bus.Config{Brokers: s.brokers})
	p := client.Producer(s.topic)
	if err := feedtest.Publish(s.t.Context(), p, s.market.Past(3*time.Hour, 40)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		defer func() { _ = p.Close() }()
		tick := time.NewTicker(66 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if s.paused.Load() {
				continue
			}
			updates := s.market.Step(3)
			if s.real.Load() {
				makeReal(updates)
			}
			if err := feedtest.Publish(ctx, p, updates); err != nil && ctx.Err() == nil {
				s.t.Error(err)
			}
		}
	}()
	s.stop = func() { cancel(); <-done }
	return nil
}

// makeReal gives a few symbols Yahoo as their source.
func makeReal(updates []*windowpb.Update) {
	for _, u := range updates {
		if u.Symbol < "C" {
			u.Latest.Source = int32(tick.SourceYahoo)
		}
	}
}

func (s *scene) stopMarket() {
	if s.stop != nil {
		s.stop()
	}
}

func (s *scene) control() http.Handler {
	do := map[string]func() error{
		"/market/start":    s.startMarket,
		"/market/pause":    func() error { s.paused.Store(true); return nil },
		"/market/resume":   func() error { s.paused.Store(false); return nil },
		"/market/real":     func() error { s.real.Store(true); return nil },
		"/history/off":     func() error { s.away.Store(true); return nil },
		"/history/on":      func() error { s.away.Store(false); return nil },
		"/dashboard/kill":  func() error { s.kill(); return nil },
		"/dashboard/start": func() error { s.start(); return nil },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := do[r.URL.Path]
		err := errors.New("there is no such order")
		if f != nil {
			err = f()
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, err.Error())
		}
	})
}
