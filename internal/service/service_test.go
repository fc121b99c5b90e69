package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMainEndsWithACodeThatSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(context.Context) error
		code int
		log  string
	}{
		{"run that returns nil has stopped", func(context.Context) error { return nil }, ExitStopped, ""},
		{"an error is a failure, told in one line", func(context.Context) error { return errors.Join(errors.New("a"), errors.New("b")) }, ExitFailed, `error="a; b"`},
		{"a setting that can't be used is no reason to start again", func(context.Context) error { return fmt.Errorf("x: %w", Settingf("PORT=no")) }, ExitSettings, "PORT=no"},
		{"context.Canceled without a signal is a failure", func(context.Context) error { return context.Canceled }, ExitFailed, "context canceled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer slog.SetDefault(slog.Default())
			var out bytes.Buffer
			code := execute("test", c.run, make(chan os.Signal), &out, func(int) { t.Error("exit called") })
			started, rest, _ := strings.Cut(out.String(), "\n")
			if !strings.Contains(started, "msg=starting") || !strings.Contains(started, "revision="+Revision()) {
				t.Errorf("the log begins with %q, which does not tell what starts", started)
			}
			if code != c.code || !strings.Contains(rest, c.log) {
				t.Errorf("code %d, log %q; want code %d, log with %q", code, rest, c.code, c.log)
			}
			if c.log != "" && strings.Count(rest, "\n") != 1 {
				t.Errorf("log has not one line: %q", rest)
			}
		})
	}
}

func TestASignalCancelsAndASecondOneExits(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	signals := make(chan os.Signal, 2)
	exited := make(chan int, 1)
	code := execute("test", func(ctx context.Context) error {
		signals <- syscall.SIGTERM
		<-ctx.Done()
		signals <- syscall.SIGTERM
		if got := <-exited; got != ExitFailed {
			t.Errorf("second signal exits with %d, want %d", got, ExitFailed)
		}
		return ctx.Err()
	}, signals, io.Discard, func(code int) { exited <- code })
	if code != ExitStopped {
		t.Errorf("code %d after a signal, want %d", code, ExitStopped)
	}
}

func TestABadLogSettingIsToldInOneLine(t *testing.T) {
	for _, kv := range [][2]string{{"LOG_LEVEL", "loud"}, {"LOG_FORMAT", "xml"}} {
		t.Run(kv[0], func(t *testing.T) {
			t.Setenv(kv[0], kv[1])
			var out bytes.Buffer
			code := execute("test", func(context.Context) error { t.Error("run called"); return nil }, make(chan os.Signal), &out, nil)
			if code != ExitSettings || !strings.HasPrefix(out.String(), "test: "+kv[0]+`="`+kv[1]) || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("code %d, output %q", code, out.String())
			}
		})
	}
}

func TestLogFormatJSON(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	t.Setenv("LOG_FORMAT", "json")
	t.Setenv("LOG_LEVEL", "debug")
	var out bytes.Buffer
	execute("test", func(context.Context) error { slog.Debug("hello"); return nil }, make(chan os.Signal), &out, nil)
	if !strings.Contains(out.String(), `"level":"DEBUG","msg":"hello","service":"test"`) {
		t.Errorf("log is %q", out.String())
	}
}

func TestLoadNamesTheVariableAndTheRemedy(t *testing.T) {
	type inner struct {
		Max Bytes `env:"MAX" envDefault:"1MiB"`
	}
	type cfg struct {
		Wait  time.Duration `env:"WAIT" envDefault:"10s"`
		Count int           `env:"COUNT"`
		On    bool          `env:"ON"`
		Must  string        `env:"MUST,required"`
		Ports []int         `env:"PORTS"`
		In    inner         `envPrefix:"IN_"`
	}
	t.Setenv("MUST", "x")
	got, err := Load[cfg]()
	if err != nil || got.Wait != 10*time.Second || got.In.Max != 1<<20 {
		t.Fatalf("Load: %+v, %v", got, err)
	}
	for _, c := range []struct{ key, value, want string }{
		{"WAIT", "soon", `WAIT="soon" is not a duration: write it like 500ms, 10s or 24h`},
		{"COUNT", "many", `COUNT="many" is not a whole number in range: write digits only`},
		{"ON", "maybe", `ON="maybe" is neither true nor false: write 1 or 0`},
		{"PORTS", "1,x", `PORTS="1,x" is not a whole number in range: write digits only`},
		{"IN_MAX", "4MB", `IN_MAX="4MB" can't be used: not a number of bytes: write it like 65536, 512KiB or 4MiB`},
	} {
		t.Run(c.key, func(t *testing.T) {
			t.Setenv(c.key, c.value)
			_, err := Load[cfg]()
			var settings *SettingsError
			if !errors.As(err, &settings) || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	t.Run("every variable in question is told at once", func(t *testing.T) {
		os.Unsetenv("MUST")
		t.Setenv("COUNT", "many")
		_, err := Load[cfg]()
		if err == nil || !strings.Contains(err.Error(), "COUNT=") || !strings.Contains(err.Error(), "MUST is not set: set it") {
			t.Errorf("got %v", err)
		}
	})
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "65536": 65536, "512KiB": 512 << 10, "4 MiB": 4 << 20, "2GiB": 2 << 30} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "4MB", "4m", "1.5MiB", "9999999999GiB", "99999999999999999999"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", text, got)
		}
	}
	for b, want := range map[Bytes]string{0: "0", 1000: "1000", 4 << 20: "4MiB", 1<<20 + 1<<10: "1025KiB"} {
		if got := b.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(b), got, want)
		}
	}
}

func FuzzParseBytesReadsWhatStringWrites(f *testing.F) {
	f.Add("4MiB")
	f.Add("65536")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := ParseBytes(s)
		if err != nil {
			return
		}
		if again, err := ParseBytes(b.String()); err != nil || again != b || b < 0 {
			t.Fatalf("%q is %d, which reads back as %d, %v", s, int64(b), int64(again), err)
		}
	})
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SECRETS_DIR", dir)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("token", "s3cret\n")
	write("blank", " \n")
	if got, err := Secret("token"); err != nil || got != "s3cret" {
		t.Errorf("Secret = %q, %v", got, err)
	}
	for name, want := range map[string]string{"absent": "is missing: put it into " + dir, "blank": "is empty", "../token": "is a path", "": "is a path"} {
		if got, err := Secret(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Secret(%q) = %q, %v; want an error with %q", name, got, err, want)
		}
	}
}

func TestListenTellsWhatToDo(t *testing.T) {
	ctx := context.Background()
	ln, err := Listen(ctx, "ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	if _, err := Listen(ctx, "ADDR", addr); err == nil || err.Error() != addr+" is taken by another program: stop that, or set ADDR to a free address" {
		t.Errorf("taken port: %v", err)
	}
	if _, err := Listen(ctx, "ADDR", "8090"); err == nil || !strings.Contains(err.Error(), `ADDR="8090" can't be listened on`) {
		t.Errorf("address without a port: %v", err)
	}
}

func TestAdminAnswersAndEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ln, err := Listen(ctx, "METRICS_ADDR", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var health Health
	kafka, web := health.Flag("kafka"), health.Flag("web")
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, health.Handler()) }()

	get := func(path string) (int, string) {
		t.Helper()
		res, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	web.Ready()
	if code, body := get("/readyz"); code != 503 || body != "kafka: starting\n" {
		t.Errorf("not ready: %d %q", code, body)
	}
	kafka.NotReady("no broker answers at 127.0.0.1:9092")
	if code, body := get("/readyz"); code != 503 || body != "kafka: no broker answers at 127.0.0.1:9092\n" {
		t.Errorf("not ready: %d %q", code, body)
	}
	kafka.Ready()
	if code, body := get("/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	if code, _ := get("/healthz"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "go_goroutines") || !strings.Contains(body, `ticktape_ready{condition="kafka"} 1`) {
		t.Errorf("metrics: %d %s", code, body)
	}
	if code, _ := get("/debug/pprof/"); code != 404 {
		t.Errorf("pprof on the admin listener: %d, want 404", code)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestPprofIsOnLoopbackAndOnlyWhenAsked(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	var out bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	url, stop, err := StartPprof()
	if err != nil || url != "" || out.Len() > 0 {
		t.Fatalf("without PPROF: url %q, log %q, %v", url, out.String(), err)
	}
	stop()

	t.Setenv("PPROF", "1")
	url, stop, err = StartPprof()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if !strings.HasPrefix(url, "http://127.0.0.1:") || !strings.Contains(out.String(), "url="+url+" ") {
		t.Fatalf("url %q, log %q", url, out.String())
	}
	res, err := http.Get(url + "goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("%s answers %d", url, res.StatusCode)
	}

	t.Run("processes that are given one address do not collide", func(t *testing.T) {
		addr := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/debug/pprof/")
		t.Setenv("PPROF_ADDR", addr)
		second, stop, err := StartPprof()
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if second == url || !strings.HasPrefix(second, "http://127.0.0.1:") {
			t.Errorf("the second listens at %s, the first at %s", second, url)
		}
	})
	for _, addr := range []string{"0.0.0.0:0", ":6060", "[::]:0", "192.0.2.1:6060", "6060", "example.com:6060"} {
		t.Run("it is refused on "+addr, func(t *testing.T) {
			t.Setenv("PPROF_ADDR", addr)
			_, _, err := StartPprof()
			var settings *SettingsError
			if !errors.As(err, &settings) || !strings.Contains(err.Error(), "loopback") {
				t.Errorf("PPROF_ADDR=%s: %v", addr, err)
			}
		})
	}
}

func TestALogTellsWhereProfilesAre(t *testing.T) {
	t.Setenv("PPROF", "1")
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		t.Run("as "+name, func(t *testing.T) {
			var out bytes.Buffer
			defer slog.SetDefault(slog.Default())
			slog.SetDefault(slog.New(handler(&out)))
			url, stop, err := StartPprof()
			if err != nil {
				t.Fatal(err)
			}
			stop()
			slog.Info(pprofListens, "url", "http://127.0.0.1:1/debug/pprof/", "pid", fmt.Sprintf("%d1", os.Getpid()))
			if got := PprofURL(out.Bytes(), os.Getpid()); got != url {
				t.Errorf("found %q, want %q in\n%s", got, url, out.String())
			}
			if got := PprofURL(out.Bytes(), 1); got != "" {
				t.Errorf("found %q of a process that serves none", got)
			}
		})
	}
}

func TestAProgramSaysWhatItIsAndWhetherAProcessIsWell(t *testing.T) {
	var health Health
	server := httptest.NewServer(health.Handler())
	defer server.Close()
	away := httptest.NewServer(nil)
	away.Close()
	flag := health.Flag("kafka")
	flag.NotReady("no broker answers")
	for _, c := range []struct {
		name string
		args []string
		done bool
		code int
		says string
	}{
		{"-version names version, revision and what it was built for", []string{"-version"}, true, ExitStopped, "test " + Version() + " (revision " + Revision() + ", go"},
		{"a process that lives is healthy", []string{"-check", server.URL + "/healthz"}, true, ExitStopped, "ok\n"},
		{"one that is not ready fails and says why", []string{"-check", server.URL + "/readyz"}, true, ExitFailed, "kafka: no broker answers\n"},
		{"one that is not there fails", []string{"-check", away.URL}, true, ExitFailed, "connection refused\n"},
		{"what can't be asked fails", []string{"-check", ":"}, true, ExitFailed, "test: "},
		{"other arguments are the program's own", []string{"-symbols", "3"}, false, 0, ""},
		{"none is work", nil, false, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			done, code := Answer("test", c.args, &out)
			if done != c.done || code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("done %v, code %d, %q; want %v, %d, %q", done, code, out.String(), c.done, c.code, c.says)
			}
		})
	}
}

func TestAnEnvFileAddsWhatTheEnvironmentLacks(t *testing.T) {
	defer slog.SetDefault(slog.Default())
	path := filepath.Join(t.TempDir(), "settings.env")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ENV_FILE", path)
	t.Setenv("TEST_ADDED", "")
	t.Setenv("TEST_KEPT", "environment")
	if err := os.Unsetenv("TEST_ADDED"); err != nil {
		t.Fatal(err)
	}
	write("# chosen at the start\n\nTEST_ADDED=ws://market:8085/?version=2\r\nTEST_KEPT=file\n")
	var added, kept string
	if code := execute("test", func(context.Context) error {
		added, kept = os.Getenv("TEST_ADDED"), os.Getenv("TEST_KEPT")
		return nil
	}, make(chan os.Signal), io.Discard, nil); code != ExitStopped || added != "ws://market:8085/?version=2" || kept != "environment" {
		t.Errorf("code %d, added %q, kept %q", code, added, kept)
	}
	for text, says := range map[string]string{"A=1\nnonsense\n": "line 2 is not NAME=value", "two words=1": "line 1", "=1": "line 1"} {
		write(text)
		var out bytes.Buffer
		code := execute("test", func(context.Context) error { t.Error("run called"); return nil }, make(chan os.Signal), &out, nil)
		if code != ExitSettings || !strings.Contains(out.String(), says) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%q: code %d, %q", text, code, out.String())
		}
	}
	t.Setenv("ENV_FILE", path+".none")
	var out bytes.Buffer
	if code := execute("test", nil, make(chan os.Signal), &out, nil); code != ExitSettings || !strings.Contains(out.String(), "no such file") {
		t.Errorf("a file that is not there: code %d, %q", code, out.String())
	}
}
