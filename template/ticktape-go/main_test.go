package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/prometheus/client_golang/prometheus"

	"ticktape/internal/handling"
	"ticktape/internal/service"
)

func defaults(t testing.TB) settings {
	t.Helper()
	cfg, err := loadSettings()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func start(t testing.TB, cfg settings, h handling.Handler) (*server, string) {
	t.Helper()
	s := newServer(cfg, h, prometheus.NewRegistry())
	srv := httptest.NewServer(s.routes())
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// undeclared hides a reader's length, so that the client sends chunks as
// OpenFaaS's proxies do.
func undeclared(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b)) }

func post(t testing.TB, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.Post(url, "application/octet-stream", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func wantProblem(t *testing.T, res *http.Response, body string, status int, detail string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if res.StatusCode != status || p.Status != status || p.Detail != detail || p.Title == "" || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer %d %q %+v\nwant %d with detail %q", res.StatusCode, res.Header.Get("Content-Type"), p, status, detail)
	}
}

func counted(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func quiet(t testing.TB) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}

func TestTheHandlerGetsTheRequestAndItsAnswerIsGivenAsItIs(t *testing.T) {
	cfg := defaults(t)
	var got handler.Request
	_, url := start(t, cfg, func(req handler.Request) (handler.Response, error) {
		got = req
		deadline, ok := req.Context().Deadline()
		if left := time.Until(deadline); !ok || left > time.Duration(cfg.ExecTimeout) {
			t.Errorf("deadline in %v, want one within exec_timeout %v", left, time.Duration(cfg.ExecTimeout))
		}
		return handler.Response{StatusCode: http.StatusTeapot, Header: http.Header{"X-A": {"1", "2"}, "Content-Type": {"text/tea"}}, Body: []byte("short and stout")}, nil
	})
	req, err := http.NewRequest(http.MethodPut, url+"/some/path?a=1&b=%20", strings.NewReader("leaves"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Trigger-Token", "t")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if got.Method != "PUT" || got.QueryString != "a=1&b=%20" || string(got.Body) != "leaves" || got.Header.Get("X-Trigger-Token") != "t" || got.Host != req.URL.Host {
		t.Errorf("handler got %+v", got)
	}
	if res.StatusCode != http.StatusTeapot || fmt.Sprint(res.Header["X-A"]) != "[1 2]" || res.Header.Get("Content-Type") != "text/tea" || string(body) != "short and stout" || res.ContentLength != 15 {
		t.Errorf("answer %d %v %q", res.StatusCode, res.Header, body)
	}
}

func TestAnswersOfEveryKind(t *testing.T) {
	quiet(t)
	for _, c := range []struct {
		name   string
		res    handler.Response
		err    error
		status int
		body   string
	}{
		{"no status is 200", handler.Response{Body: []byte("x")}, nil, 200, "x"},
		{"no body is an empty one", handler.Response{StatusCode: 201}, nil, 201, ""},
		{"204 has no body", handler.Response{StatusCode: 204, Body: []byte("x")}, nil, 204, ""},
		{"a status that HTTP does not have is a failure", handler.Response{StatusCode: 7}, nil, 500, ""},
		{"100 is no answer", handler.Response{StatusCode: 100}, nil, 500, ""},
		{"an error is 500", handler.Response{}, errors.New("secret detail"), 500, ""},
		{"an error's own body is kept", handler.Response{Body: []byte("why")}, errors.New("x"), 500, "why"},
		{"an error of a deadline is 504", handler.Response{}, fmt.Errorf("read: %w", context.DeadlineExceeded), 504, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, url := start(t, defaults(t), func(handler.Request) (handler.Response, error) { return c.res, c.err })
			res, body := post(t, url, nil)
			if c.body == "" && c.status >= 500 {
				wantProblem(t, res, body, c.status, "The function failed. Its log says why.")
				return
			}
			if res.StatusCode != c.status || body != c.body {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, body, c.status, c.body)
			}
		})
	}
}

func TestAPanicIs500AndTheProcessLives(t *testing.T) {
	var log bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	calls := 0
	s, url := start(t, defaults(t), func(handler.Request) (handler.Response, error) {
		calls++
		if calls == 1 {
			panic("boom")
		}
		return handler.Response{Body: []byte("alive")}, nil
	})
	res, body := post(t, url, nil)
	wantProblem(t, res, body, 500, "The function failed. Its log says why.")
	if !strings.Contains(log.String(), "panic=boom") || !strings.Contains(log.String(), "main_test.go") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("log is %q", log.String())
	}
	if res, body := post(t, url, nil); res.StatusCode != 200 || body != "alive" {
		t.Errorf("after the panic: %d %q", res.StatusCode, body)
	}
	if n := counted(t, s.panics); n != 1 {
		t.Errorf("function_panics_total is %v, want 1", n)
	}
}

func TestBodiesUpToTheLimitArriveWholeAndLargerOnesAreRefused(t *testing.T) {
	cfg := defaults(t)
	cfg.MaxBody = 100_000
	_, url := start(t, cfg, func(req handler.Request) (handler.Response, error) {
		return handler.Response{Body: req.Body}, nil
	})
	const detail = "The body is larger than 100000. Send less at once, or raise max_body of this function."
	for _, size := range []int{0, 1, 511, 512, 513, 4096, 99_999, 100_000, 100_001, 5_000_000} {
		body := bytes.Repeat([]byte("ab\x00"), size/3+1)[:size]
		for name, r := range map[string]io.Reader{"declared": bytes.NewReader(body), "undeclared": undeclared(body)} {
			t.Run(fmt.Sprintf("%d bytes, length %s", size, name), func(t *testing.T) {
				res, got := post(t, url, r)
				if size > 100_000 {
					wantProblem(t, res, got, 413, detail)
				} else if res.StatusCode != 200 || got != string(body) {
					t.Errorf("answer %d with %d bytes, want 200 with the same %d", res.StatusCode, len(got), size)
				}
			})
		}
	}
}

func TestABodyIsTheHandlersToKeep(t *testing.T) {
	var kept [][]byte
	_, url := start(t, defaults(t), func(req handler.Request) (handler.Response, error) {
		kept = append(kept, req.Body)
		return handler.Response{}, nil
	})
	for i := range 20 {
		body := bytes.Repeat([]byte{byte(i)}, 10_000)
		post(t, url, undeclared(body))
		post(t, url, bytes.NewReader(body))
	}
	for i, b := range kept {
		if want := bytes.Repeat([]byte{byte(i / 2)}, 10_000); !bytes.Equal(b, want) {
			t.Fatalf("body %d was changed after its call", i)
		}
	}
}

func TestABodyThatEndsEarlyIs400(t *testing.T) {
	_, url := start(t, defaults(t), func(handler.Request) (handler.Response, error) {
		t.Error("handler called with half a body")
		return handler.Response{}, nil
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 10\r\n\r\nhalf")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestABodyThatDoesNotArriveIs408(t *testing.T) {
	quiet(t)
	cfg := defaults(t)
	cfg.ReadTimeout = seconds(50 * time.Millisecond)
	cfg.HealthcheckInterval = 0
	s := newServer(cfg, func(handler.Request) (handler.Response, error) {
		t.Error("handler called with half a body")
		return handler.Response{}, nil
	}, prometheus.NewRegistry())
	ctx, stop := context.WithCancel(context.Background())
	ln, err := service.Listen(ctx, "port", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln, cfg, s) }()
	defer func() { stop(); <-served }()

	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: f\r\nContent-Length: 10\r\n\r\nhalf")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestWhoAsksFirstIsRefusedBeforeSending(t *testing.T) {
	cfg := defaults(t)
	cfg.MaxBody = 10
	_, url := start(t, cfg, func(handler.Request) (handler.Response, error) { return handler.Response{}, nil })
	body := strings.NewReader("more than ten bytes")
	req, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 413 || body.Len() != int(body.Size()) {
		t.Errorf("answer %d after %d bytes of the body, want 413 after none", res.StatusCode, int(body.Size())-body.Len())
	}
}

func TestMoreCallsThanTheLimitAreToldToComeBack(t *testing.T) {
	cfg := defaults(t)
	cfg.MaxInflight = 2
	entered, release := make(chan struct{}), make(chan struct{})
	_, url := start(t, cfg, func(handler.Request) (handler.Response, error) {
		entered <- struct{}{}
		<-release
		return handler.Response{}, nil
	})
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if res, _ := post(t, url, nil); res.StatusCode != 200 {
				t.Errorf("call within the limit: %d", res.StatusCode)
			}
		})
		<-entered
	}
	res, body := post(t, url, undeclared(make([]byte, 1<<20)))
	wantProblem(t, res, body, 429, "2 calls are under way, which is the limit. Call again in a second.")
	if res.Header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After is %q", res.Header.Get("Retry-After"))
	}
	if res, _ := http.Get(url + "/_/health"); res.StatusCode != 200 {
		t.Errorf("health at the limit: %d", res.StatusCode)
	}
	close(release)
	calls.Wait()
}

func TestOnlyTheProcessesOwnPathsAreNotTheHandlers(t *testing.T) {
	_, url := start(t, defaults(t), func(handler.Request) (handler.Response, error) {
		return handler.Response{StatusCode: http.StatusTeapot}, nil
	})
	for path, want := range map[string]int{"/_/health": 200, "/_/ready": 200, "/metrics": 200, "/": 418, "/_/": 418, "/debug/pprof/": 418, "/a//b": 418} {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestDrainSaysNoThenFinishesWhatIsInFlight(t *testing.T) {
	quiet(t)
	cfg := defaults(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s := newServer(cfg, func(req handler.Request) (handler.Response, error) {
		if string(req.Body) == "slow" {
			close(entered)
			<-release
		}
		return handler.Response{Body: []byte("done")}, nil
	}, prometheus.NewRegistry())
	waiting, noticed := make(chan time.Duration, 1), make(chan time.Time)
	s.after = func(d time.Duration) <-chan time.Time { waiting <- d; return noticed }
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ln, err := service.Listen(ctx, "port", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ln, cfg, s) }()

	slow := make(chan string, 1)
	go func() {
		_, body := post(t, url, strings.NewReader("slow"))
		slow <- body
	}()
	<-entered
	stop()
	if d := <-waiting; d != time.Duration(cfg.HealthcheckInterval) {
		t.Errorf("waits %v, want healthcheck_interval", d)
	}
	if res, err := http.Get(url + "/_/health"); err != nil || res.StatusCode != 503 {
		t.Errorf("health while draining: %v, %v", res, err)
	}
	if res, body := post(t, url, nil); body != "done" || !res.Close {
		t.Errorf("a call while draining: %q, connection closed %v; want an answer and a closed connection", body, res.Close)
	}
	close(noticed)
	select {
	case err := <-served:
		t.Fatalf("serve returned %v with a call in flight", err)
	default:
	}
	close(release)
	if body := <-slow; body != "done" {
		t.Errorf("call in flight: %q", body)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func TestSettings(t *testing.T) {
	cfg := defaults(t)
	if cfg.Port != 8080 || cfg.ExecTimeout >= cfg.WriteTimeout || cfg.MaxBody != 32<<20 {
		t.Errorf("defaults: %+v", cfg)
	}
	t.Run("seconds are durations or whole numbers", func(t *testing.T) {
		t.Setenv("write_timeout", "20")
		t.Setenv("healthcheck_interval", "0")
		t.Setenv("exec_timeout", "1500ms")
		cfg := defaults(t)
		if time.Duration(cfg.WriteTimeout) != 20*time.Second || time.Duration(cfg.ExecTimeout) != 1500*time.Millisecond || cfg.HealthcheckInterval != 0 {
			t.Errorf("%+v", cfg)
		}
	})
	for _, c := range []struct{ key, value, want string }{
		{"write_timeout", "soon", `write_timeout="soon" can't be used: not a time: write it like 10s, or 10 for seconds`},
		{"read_timeout", "-1s", `read_timeout="-1s" can't be used: not a time`},
		{"write_timeout", "0", "must be above 0"},
		{"exec_timeout", "35s", "exec_timeout 35s is not below write_timeout 35s"},
		{"port", "99999", `port="99999" is not a whole number in range`},
		{"max_inflight", "0", "max_body and max_inflight must be above 0"},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			t.Setenv(c.key, c.value)
			_, err := loadSettings()
			var settings *service.SettingsError
			if !errors.As(err, &settings) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

func BenchmarkBodyOf4MiB(b *testing.B) {
	_, url := start(b, defaults(b), func(handler.Request) (handler.Response, error) { return handler.Response{}, nil })
	body := make([]byte, 4<<20)
	for name, r := range map[string]func() io.Reader{
		"declared":   func() io.Reader { return bytes.NewReader(body) },
		"undeclared": func() io.Reader { return undeclared(body) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				post(b, url, r())
			}
		})
	}
}
