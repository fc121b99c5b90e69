package provider

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"ticktape/deploy/local/process"
)

// The test binary is also the function that the tests deploy: a real process.
func TestMain(m *testing.M) {
	if os.Getenv("BE_A_FUNCTION") != "" {
		beFunction()
		return
	}
	os.Exit(m.Run())
}

func beFunction() {
	if text := os.Getenv("die_with"); text != "" {
		fmt.Println(text)
		os.Exit(3)
	}
	fmt.Println("listening, pid", os.Getpid())
	m := http.NewServeMux()
	m.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	m.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.URL.Query().Get("name"))) })
	m.HandleFunc("/secret", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(filepath.Join(os.Getenv("SECRETS_DIR"), r.URL.Query().Get("name")))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		_, _ = w.Write(b)
	})
	m.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		fmt.Fprint(w, n, r.ContentLength, hex.EncodeToString(sum.Sum(nil)))
	})
	m.HandleFunc("/say", func(_ http.ResponseWriter, r *http.Request) { fmt.Println(r.URL.Query().Get("text")) })
	m.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) {
		fmt.Println("goodbye, cruel world")
		os.Exit(7)
	})
	m.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	m.HandleFunc("/small", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000)); err != nil {
			http.Error(w, "too much", http.StatusRequestEntityTooLarge)
		}
	})
	m.HandleFunc("/code", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(code)
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("port"), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("uri") {
			fmt.Fprint(w, r.RequestURI)
			return
		}
		m.ServeHTTP(w, r)
	})}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
	}()
	_ = server.ListenAndServe()
	<-ctx.Done()
	time.Sleep(10 * time.Millisecond) // as a function that still has something to do
}

type bed struct {
	*Provider
	t   *testing.T
	url string

	mu     sync.Mutex
	deaths []process.Death
}

func newBed(t *testing.T, change ...func(*Config)) *bed {
	t.Helper()
	b := &bed{t: t}
	cfg := Config{
		Dir: t.TempDir(), WorkDir: t.TempDir(), Env: process.Environ(),
		Force: []string{"KAFKA_BROKERS=here:1"},
		Binary: func(_ context.Context, image string) (string, bool, error) {
			return os.Args[0], image == "own", nil
		},
		Watcher: process.Watcher{Died: func(d process.Death) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.deaths = append(b.deaths, d)
		}},
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if b.Provider, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(b.Handler())
	b.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// do sends a request and gives status and body.
func (b *bed) do(method, path string, body any) (int, string) {
	b.t.Helper()
	var r io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(body)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, r)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (b *bed) want(status int, method, path string, body any) string {
	b.t.Helper()
	got, text := b.do(method, path, body)
	if got != status {
		b.t.Fatalf("%s %s answered %d, want %d: %s", method, path, got, status, text)
	}
	return text
}

func wait(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !met(); {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond) // between two looks at the condition
	}
}

func foreign(name string, env map[string]string) types.FunctionDeployment {
	vars := map[string]string{"BE_A_FUNCTION": "1"}
	for k, v := range env {
		vars[k] = v
	}
	return types.FunctionDeployment{Service: name, Image: "none", EnvProcess: os.Args[0], EnvVars: vars}
}

func (b *bed) deploy(d types.FunctionDeployment) {
	b.t.Helper()
	b.want(http.StatusAccepted, http.MethodPost, "/system/functions", d)
}

func TestAFunctionIsDeployedCalledDescribedAndRemoved(t *testing.T) {
	b := newBed(t)
	b.want(http.StatusServiceUnavailable, http.MethodPost, "/function/f", "x")
	b.want(http.StatusNotFound, http.MethodPut, "/system/functions", foreign("f", nil))
	d := foreign("f", map[string]string{"greeting": "hello", "KAFKA_BROKERS": "cluster:9092"})
	d.Annotations = &map[string]string{"topic": "ticks"}
	b.deploy(d)

	if got := b.want(http.StatusOK, http.MethodGet, "/function/f/env?name=greeting", nil); got != "hello" {
		t.Errorf("the function's environment has greeting=%q", got)
	}
	if got := b.want(http.StatusOK, http.MethodGet, "/function/f.openfaas-fn/env?name=KAFKA_BROKERS", nil); got != "here:1" {
		t.Errorf("the cluster's address won: %q", got)
	}
	var list []types.FunctionStatus
	if err := json.Unmarshal([]byte(b.want(http.StatusOK, http.MethodGet, "/system/functions?namespace=openfaas-fn", nil)), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Name != "f" || list[0].AvailableReplicas != 1 || list[0].InvocationCount != 2 || (*list[0].Annotations)["topic"] != "ticks" {
		t.Errorf("list: %+v", list)
	}
	b.want(http.StatusOK, http.MethodGet, "/system/function/f", nil)
	b.want(http.StatusOK, http.MethodGet, "/system/function/f.openfaas-fn", nil)
	b.want(http.StatusNotFound, http.MethodGet, "/system/function/g", nil)
	b.want(http.StatusBadRequest, http.MethodGet, "/system/function/f?namespace=other", nil)
	b.want(http.StatusOK, http.MethodGet, "/healthz", nil)
	b.want(http.StatusOK, http.MethodGet, "/system/info", nil)
	b.want(http.StatusNotImplemented, http.MethodPost, "/async-function/f", "x")

	pid := b.Instances()[0].PID
	b.want(http.StatusAccepted, http.MethodDelete, "/system/functions", types.DeleteFunctionRequest{FunctionName: "f"})
	b.want(http.StatusNotFound, http.MethodDelete, "/system/functions", types.DeleteFunctionRequest{FunctionName: "f"})
	if process.Birth(pid) != "" {
		t.Error("its process outlived the function")
	}
}

func TestWhatCanNotBeDeployedIsRefusedInOneSentence(t *testing.T) {
	b := newBed(t)
	for name, c := range map[string]struct {
		change func(*types.FunctionDeployment)
		want   string
	}{
		"an image that is not of this checkout": {func(d *types.FunctionDeployment) { d.EnvProcess = "" }, "fprocess"},
		"a name with capitals":                  {func(d *types.FunctionDeployment) { d.Service = "Up" }, "small letters"},
		"a name that leaves the folder":         {func(d *types.FunctionDeployment) { d.Service = "../up" }, "small letters"},
		"another namespace":                     {func(d *types.FunctionDeployment) { d.Namespace = "staging" }, "namespace staging"},
		"a secret that is not there":            {func(d *types.FunctionDeployment) { d.Secrets = []string{"key"} }, "faas-cli secret create key"},
	} {
		t.Run(name, func(t *testing.T) {
			d := foreign("f", nil)
			c.change(&d)
			if got := b.want(http.StatusBadRequest, http.MethodPost, "/system/functions", d); !strings.Contains(got, c.want) {
				t.Errorf("refused with %q, want something of %q", got, c.want)
			}
		})
	}
	b.want(http.StatusBadRequest, http.MethodPost, "/system/functions", "{")
}

func TestAFunctionOfTheCheckoutNeedsNoCommandLine(t *testing.T) {
	b := newBed(t)
	d := foreign("f", nil)
	d.Image, d.EnvProcess = "own", "/function"
	b.deploy(d)
	b.want(http.StatusOK, http.MethodGet, "/function/f/pid", nil)
}

func TestAFunctionThatDiesAtOnceIsToldWithTheEndOfItsLogAndReplacesNothing(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	pid := b.want(http.StatusOK, http.MethodGet, "/function/f/pid", nil)
	bad := foreign("f", map[string]string{"die_with": "no such luck"})
	if got := b.want(http.StatusInternalServerError, http.MethodPut, "/system/functions", bad); !strings.Contains(got, "no such luck") || !strings.Contains(got, "exit status 3") {
		t.Errorf("told with %q", got)
	}
	if got := b.want(http.StatusOK, http.MethodGet, "/function/f/pid", nil); got != pid {
		t.Error("the process that worked is gone")
	}
}

func TestAProcessThatDiesIsStartedAgain(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	before := b.Instances()[0].PID
	b.want(http.StatusBadGateway, http.MethodPost, "/function/f/exit", "x")
	wait(t, "the function answers again", func() bool {
		status, body := b.do(http.MethodGet, "/function/f/pid", nil)
		if status != http.StatusOK && status != http.StatusBadGateway {
			t.Fatalf("a function that is down answered %d: %s", status, body)
		}
		return status == http.StatusOK
	})
	i := b.Instances()[0]
	if i.PID == before || i.Restarts != 1 || !strings.Contains(i.Ending, "exit status 7") {
		t.Errorf("instance: %+v", i)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.deaths) != 1 || !strings.Contains(b.deaths[0].Log, "goodbye, cruel world") {
		t.Errorf("deaths: %+v", b.deaths)
	}
}

func TestReplicasTakeTurns(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	b.want(http.StatusAccepted, http.MethodPost, "/system/scale-function/f", types.ScaleServiceRequest{ServiceName: "f", Replicas: 3})
	pids := map[string]bool{}
	for range 9 {
		pids[b.want(http.StatusOK, http.MethodGet, "/function/f/pid", nil)] = true
	}
	if len(pids) != 3 {
		t.Errorf("%d processes answered, want 3", len(pids))
	}
	b.want(http.StatusAccepted, http.MethodPost, "/system/scale-function/f", types.ScaleServiceRequest{ServiceName: "f", Replicas: 1})
	if n := len(b.Instances()); n != 1 {
		t.Errorf("%d processes are left, want 1", n)
	}
	b.want(http.StatusOK, http.MethodGet, "/function/f/pid", nil)
	b.want(http.StatusBadRequest, http.MethodPost, "/system/scale-function/f", types.ScaleServiceRequest{ServiceName: "f", Replicas: 0})
	b.want(http.StatusNotFound, http.MethodPost, "/system/scale-function/g", types.ScaleServiceRequest{ServiceName: "g", Replicas: 1})
}

func TestNoCallFailsWhileAFunctionIsReplaced(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	stop := make(chan struct{})
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, body := b.do(http.MethodPost, "/function/f/sum", "x"); status != http.StatusOK {
					t.Errorf("a call answered %d: %s", status, body)
					return
				}
			}
		})
	}
	for range 3 {
		b.want(http.StatusAccepted, http.MethodPut, "/system/functions", foreign("f", nil))
	}
	close(stop)
	calls.Wait()
}

func TestPathQueryAndStatusPassUnchanged(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	for sent, want := range map[string]string{
		"/function/f?uri":                    "/?uri",
		"/function/f/?uri":                   "/?uri",
		"/function/f/a//b%2Fc/../d%20e?uri&": "/a//b%2Fc/../d%20e?uri&",
		"/function/f/a?uri&x=a;b&y=%41":      "/a?uri&x=a;b&y=%41",
	} {
		if got := b.want(http.StatusOK, http.MethodGet, sent, nil); got != want {
			t.Errorf("%s reached the function as %s, want %s", sent, got, want)
		}
	}
	for _, code := range []int{200, 204, 302, 400, 401, 404, 413, 429, 500, 502, 503, 504} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprint(b.url, "/function/f/code?code=", code), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != code || resp.Header.Get("Retry-After") != "3" || resp.Header.Get("X-OpenFaaS-Internal") != "" {
			t.Errorf("the function's %d came as %d with %v", code, resp.StatusCode, resp.Header)
		}
	}
}

func TestLargeBodiesPassWholeWithTheirLength(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	body := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	sum := sha256.Sum256(body)
	want := fmt.Sprint(len(body), len(body), hex.EncodeToString(sum[:]))
	if got := b.want(http.StatusOK, http.MethodPost, "/function/f/sum", string(body)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestARefusalOfALargeBodyReachesTheCaller(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	for range 20 {
		b.want(http.StatusRequestEntityTooLarge, http.MethodPost, "/function/f/small", strings.Repeat("x", 10<<20))
	}
}

func TestACallThatTakesTooLongIsEnded(t *testing.T) {
	b := newBed(t, func(c *Config) { c.CallTimeout = 50 * time.Millisecond })
	b.deploy(foreign("f", nil))
	b.want(http.StatusGatewayTimeout, http.MethodPost, "/function/f/hang", "x")
}

func TestSecretsAreFilesThatOnlyThoseWhoListThemSee(t *testing.T) {
	b := newBed(t)
	b.want(http.StatusCreated, http.MethodPost, "/system/secrets", types.Secret{Name: "key", Value: "one"})
	b.want(http.StatusConflict, http.MethodPost, "/system/secrets", types.Secret{Name: "key", Value: "two"})
	b.want(http.StatusCreated, http.MethodPost, "/system/secrets", types.Secret{Name: "raw", RawValue: []byte{0, 1}})
	b.want(http.StatusBadRequest, http.MethodPost, "/system/secrets", types.Secret{Name: "../key", Value: "x"})
	b.want(http.StatusNotFound, http.MethodPut, "/system/secrets", types.Secret{Name: "other", Value: "x"})
	if got := b.want(http.StatusOK, http.MethodGet, "/system/secrets", nil); strings.Contains(got, "one") || !strings.Contains(got, "raw") {
		t.Errorf("listed: %s", got)
	}
	info, err := os.Stat(filepath.Join(b.secretsDir(), "key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}

	d := foreign("f", nil)
	d.Secrets = []string{"key"}
	b.deploy(d)
	if got := b.want(http.StatusOK, http.MethodGet, "/function/f/secret?name=key", nil); got != "one" {
		t.Errorf("the function read %q", got)
	}
	b.want(http.StatusNotFound, http.MethodGet, "/function/f/secret?name=raw", nil)
	b.want(http.StatusAccepted, http.MethodPut, "/system/secrets", types.Secret{Name: "key", Value: "two"})
	if got := b.want(http.StatusOK, http.MethodGet, "/function/f/secret?name=key", nil); got != "two" {
		t.Errorf("the function read %q after the change", got)
	}
	b.want(http.StatusConflict, http.MethodDelete, "/system/secrets", types.Secret{Name: "key"})
	b.want(http.StatusAccepted, http.MethodDelete, "/system/secrets", types.Secret{Name: "raw"})
	b.want(http.StatusNotFound, http.MethodDelete, "/system/secrets", types.Secret{Name: "raw"})
}

func TestLogsAreServedAndFollowed(t *testing.T) {
	b := newBed(t)
	b.deploy(foreign("f", nil))
	b.want(http.StatusNotFound, http.MethodGet, "/system/logs?name=g", nil)
	b.want(http.StatusOK, http.MethodGet, "/function/f/say?text=first", nil)
	wait(t, "the line is in the log", func() bool {
		return strings.Contains(b.want(http.StatusOK, http.MethodGet, "/system/logs?name=f", nil), "first")
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/system/logs?name=f.openfaas-fn&follow=true&tail=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for _, want := range []string{"first", "second"} {
		if want == "second" {
			b.want(http.StatusOK, http.MethodGet, "/function/f/say?text=second", nil)
		}
		if !lines.Scan() {
			t.Fatalf("the log ended: %v", lines.Err())
		}
		var m logs.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if m.Text != want || m.Name != "f" || m.Namespace != Namespace || m.Timestamp.IsZero() {
			t.Errorf("line %+v, want %q", m, want)
		}
	}
}

func TestWhatWasDeployedThroughTheAPIComesBack(t *testing.T) {
	dir := t.TempDir()
	in := func(c *Config) { c.Dir = dir }
	first := newBed(t, in)
	own := foreign("own", nil)
	own.Image = "own"
	first.deploy(foreign("f", map[string]string{"greeting": "hello"}))
	first.deploy(own)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	first.want(http.StatusConflict, http.MethodPost, "/system/functions", foreign("late", nil))

	second := newBed(t, in)
	if err := second.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := second.want(http.StatusOK, http.MethodGet, "/function/f/env?name=greeting", nil); got != "hello" {
		t.Errorf("came back with greeting=%q", got)
	}
	// A function of the checkout comes from stack.yml, not from here.
	second.want(http.StatusServiceUnavailable, http.MethodGet, "/function/own/pid", nil)
}

func TestAPasswordIsAskedOfThoseWhoDeployAndNotOfThoseWhoCall(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Credentials = &auth.BasicAuthCredentials{User: "admin", Password: "sesame"} })
	b.want(http.StatusUnauthorized, http.MethodPost, "/system/functions", foreign("f", nil))
	b.want(http.StatusUnauthorized, http.MethodGet, "/system/secrets", nil)
	if err := b.Deploy(t.Context(), foreign("f", nil)); err != nil {
		t.Fatal(err)
	}
	b.want(http.StatusOK, http.MethodGet, "/function/f/pid", nil)
	b.url = strings.Replace(b.url, "http://", "http://admin:sesame@", 1)
	b.want(http.StatusOK, http.MethodGet, "/system/functions", nil)
}

func TestSizesOfLimits(t *testing.T) {
	for text, want := range map[string]int64{"128Mi": 128 << 20, "1Gi": 1 << 30, "500M": 5e8, "40m": 4e7, "100": 100, "": 0, "x": 0, "-1Mi": 0, "9999999999Gi": 0} {
		if got := quantity(text); got != want {
			t.Errorf("%q is read as %d, want %d", text, got, want)
		}
	}
}

// BenchmarkCall is a call of 1 MiB through the provider and straight to the function.
func BenchmarkCall(b *testing.B) {
	p, err := New(Config{
		Dir: b.TempDir(), WorkDir: b.TempDir(), Env: process.Environ(),
		Binary: func(context.Context, string) (string, bool, error) { return "", false, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	if err := p.Deploy(b.Context(), foreign("f", nil)); err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	defer server.Close()
	body := bytes.Repeat([]byte("x"), 1<<20)
	for name, url := range map[string]string{
		"through":  server.URL + "/function/f/sum",
		"straight": fmt.Sprintf("http://127.0.0.1:%d/sum", p.Instances()[0].Port),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				resp, err := http.Post(url, "", bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
