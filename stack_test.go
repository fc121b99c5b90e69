package ticktape_test

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/go-sdk/builder"
	"github.com/openfaas/go-sdk/stack"
	"github.com/robfig/cron/v3"

	"ticktape/connectors/kafka/delivery"
	"ticktape/connectors/kafka/subscription"
	"ticktape/internal/gateway"
	"ticktape/internal/service"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

func readStack(t *testing.T) *stack.Services {
	t.Helper()
	s, err := stack.ParseYAMLFile("stack.yml", "", "", true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(s *stack.Services) []string { return slices.Sorted(maps.Keys(s.Functions)) }

func annotations(f stack.Function) map[string]string {
	if f.Annotations == nil {
		return nil
	}
	return *f.Annotations
}

func TestStackNamesTheFunctionsThereAre(t *testing.T) {
	s := readStack(t)
	var folders []string
	entries, err := os.ReadDir("functions")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, e.Name())
		}
	}
	if got := names(s); !slices.Equal(got, folders) {
		t.Errorf("stack.yml has %v, functions/ has %v", got, folders)
	}
	for name, f := range s.Functions {
		if f.Handler != "./functions/"+name || f.Language != "ticktape-go" || f.Image != "k3d-registry.localhost:5000/ticktape-"+name+":latest" {
			t.Errorf("%s: handler %s, lang %s, image %s", name, f.Handler, f.Language, f.Image)
		}
		// faas-cli lays only the files of this folder over the template's
		// sample, and -overlay does the same for one machine.
		entries, err := os.ReadDir(f.Handler)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, e := range entries {
			if e.IsDir() {
				t.Errorf("%s has the folder %s: functions have no sub-packages, shared code is in internal/", f.Handler, e.Name())
			}
		}
		if _, err := os.Stat(path.Join(f.Handler, "handler.go")); err != nil {
			t.Errorf("%v: it has to replace the template's handler.go", err)
		}
	}
}

func TestImagesAreTaggedFromTheEnvironment(t *testing.T) {
	t.Setenv("TAG", "v7")
	t.Setenv("GIT_REVISION", "abc")
	for name, f := range readStack(t).Functions {
		if !strings.HasSuffix(f.Image, ":v7") || f.BuildArgs["VERSION"] != "v7" || f.BuildArgs["GIT_REVISION"] != "abc" {
			t.Errorf("%s: image %s, build args %v", name, f.Image, f.BuildArgs)
		}
	}
}

func TestTimeLimitsGrowFromTheInsideOut(t *testing.T) {
	cassandra, err := store.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	connector, err := service.Load[delivery.Config]()
	if err != nil {
		t.Fatal(err)
	}
	const gateway = time.Minute
	for name, f := range readStack(t).Functions {
		duration := func(key string) time.Duration {
			d, err := time.ParseDuration(f.Environment[key])
			if err != nil {
				t.Errorf("%s: %s: %v", name, key, err)
			}
			return d
		}
		exec, write := duration("exec_timeout"), duration("write_timeout")
		if !(cassandra.Timeout < exec && exec < write && write < gateway) {
			t.Errorf("%s: CASSANDRA_TIMEOUT %v < exec_timeout %v < write_timeout %v < the gateway's %v does not hold", name, cassandra.Timeout, exec, write, gateway)
		}
		if annotations(f)["kafka.batch"] != "" && !(write < connector.CallTimeout && connector.CallTimeout < min(gateway, connector.SessionTimeout)) {
			t.Errorf("%s: write_timeout %v < CALL_TIMEOUT %v < SESSION_TIMEOUT %v does not hold", name, write, connector.CallTimeout, connector.SessionTimeout)
		}
	}
}

func TestMemoryLimitsHoldWhatIsPromised(t *testing.T) {
	for name, f := range readStack(t).Functions {
		size := func(what, text string) service.Bytes {
			b, err := service.ParseBytes(text)
			if err != nil {
				t.Errorf("%s: %s=%q: %v", name, what, text, err)
			}
			return b
		}
		if f.Limits == nil || f.Requests == nil || !f.ReadOnlyRootFilesystem {
			t.Errorf("%s lacks limits, requests or readonly_root_filesystem", name)
			continue
		}
		limit, soft := size("limits.memory", f.Limits.Memory+"B"), size("GOMEMLIMIT", f.Environment["GOMEMLIMIT"])
		if soft < limit*8/10 || soft > limit*95/100 {
			t.Errorf("%s: GOMEMLIMIT %v is not within 80 and 95 %% of limits.memory %v", name, soft, limit)
		}
		if batch := annotations(f)["kafka.batch.max-bytes"]; batch != "" {
			if most, body := size("kafka.batch.max-bytes", batch), size("max_body", f.Environment["max_body"]); body < 2*most {
				t.Errorf("%s: max_body %v has no room for kafka.batch.max-bytes %v and what frames it", name, body, most)
			}
		}
	}
}

func TestFunctionsThatChangeSomethingAndOnlyTheyHaveTheToken(t *testing.T) {
	for name, f := range readStack(t).Functions {
		a := annotations(f)
		if token := slices.Contains(f.Secrets, trigger.TokenSecret); token != (a["topic"] != "" || name == "watchlist") {
			t.Errorf("%s: topic %q, secrets %v", name, a["topic"], f.Secrets)
		}
		if a["topic"] == trigger.CronTopic {
			if _, err := cron.ParseStandard(a["schedule"]); err != nil {
				t.Errorf("%s: schedule: %v", name, err)
			}
		}
	}
}

func TestEachFunctionHasAnExampleRequest(t *testing.T) {
	for name, f := range readStack(t).Functions {
		b, err := os.ReadFile(path.Join(f.Handler, "example.curl"))
		if err != nil {
			t.Error(err)
			continue
		}
		text := string(b)
		if !regexp.MustCompile(`(?m)^url = "http://127\.0\.0\.1:8080/function/` + name + `[?"]`).MatchString(text) {
			t.Errorf("%s/example.curl does not call %s", f.Handler, name)
		}
		if token := strings.Contains(text, "Needs the token"); token != slices.Contains(f.Secrets, trigger.TokenSecret) {
			t.Errorf("%s/example.curl says that it needs the token: %v", f.Handler, token)
		}
		if annotations(f)["kafka.batch"] == "" {
			continue
		}
		b, err = os.ReadFile(path.Join(f.Handler, "event.json"))
		if err != nil {
			t.Error(err)
			continue
		}
		var batch trigger.Batch
		if err := trigger.Decode(&batch, trigger.TypeJSON, b); err != nil || len(batch.Records) != 1 || batch.TopicID == ([16]byte{}) {
			t.Errorf("%s/event.json is %+v, %v; want a batch of one record with a topic id", f.Handler, batch, err)
		}
	}
}

// TestFullBatchesOfTicksEndWhereWindowsDo reads the time of a tick as the connector
// does for the functions that keep something for each window.
func TestFullBatchesOfTicksEndWhereWindowsDo(t *testing.T) {
	trade := tick.Tick{Symbol: "AAPL", EventTime: 1_790_000_000_000, Price: 1, Size: 2, Seq: 3, ReceivedTime: 1_790_000_000_001, Source: tick.SourceSimulated}
	s := readStack(t)
	for _, name := range []string{"process", "persist"} {
		sub, err := subscription.Parse(gateway.Function{Name: name, Annotations: annotations(s.Functions[name])})
		if err != nil {
			t.Fatal(err)
		}
		if sub.Align.Milliseconds() != window.Length {
			t.Errorf("%s: batches end with spans of %s, not of a window", name, sub.Align)
		}
		for _, e := range []tick.Encoding{tick.Protobuf, tick.JSON} {
			value, err := e.Append(nil, &trade)
			if err != nil {
				t.Fatal(err)
			}
			if ms, ok := sub.AlignBy.Time(&trigger.Record{Value: value}); !ok || ms != trade.EventTime {
				t.Errorf("%s takes a tick to be of %d, %v, want %d", name, ms, ok, trade.EventTime)
			}
		}
	}
}

// instruction is a line of a Dockerfile with its continuations joined.
type instruction struct{ word, args string }

// buildStage returns the instructions of the Dockerfile's first stage.
func buildStage(t *testing.T, file string) []instruction {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`\\\n`).ReplaceAllString(string(b), " ")
	var stage []instruction
	froms := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, args, _ := strings.Cut(line, " ")
		if word == "FROM" {
			froms++
		}
		if froms == 2 {
			return stage
		}
		stage = append(stage, instruction{word, strings.TrimSpace(args)})
	}
	t.Fatalf("%s has no second stage", file)
	return nil
}

// dockerBuild does with a build context what docker build does with it: copies
// what the Dockerfile copies, where it copies it to, and runs its last command
// there. It returns the binary that ends up as /function. Only downloading is
// left out.
func dockerBuild(t *testing.T, buildContext string) string {
	t.Helper()
	root := t.TempDir()
	binary := filepath.Join(t.TempDir(), "function")
	workdir, last := "/", ""
	environ := append(os.Environ(), "GOWORK=off", "VERSION=v1.2.3", "GIT_REVISION=0123abc")
	for _, in := range buildStage(t, filepath.Join(buildContext, "Dockerfile")) {
		switch in.word {
		case "WORKDIR":
			workdir = path.Join(workdir, in.args)
		case "ENV":
			environ = append(environ, in.args)
		case "RUN":
			last = in.args
		case "COPY":
			words := strings.Fields(in.args)
			to := filepath.Join(root, words[len(words)-1])
			if !path.IsAbs(words[len(words)-1]) {
				to = filepath.Join(root, workdir, words[len(words)-1])
			}
			for _, pattern := range words[:len(words)-1] {
				found, err := filepath.Glob(filepath.Join(buildContext, pattern))
				if err != nil || len(found) == 0 {
					t.Fatalf("COPY %s: %s is not in the build context (%v)", in.args, pattern, err)
				}
				for _, from := range found {
					copyTo(t, from, to, strings.HasSuffix(in.args, "/"))
				}
			}
		}
	}
	cmd := exec.Command("sh", "-c", strings.Replace(last, "-o /function", "-o "+binary, 1))
	cmd.Dir, cmd.Env = filepath.Join(root, workdir), environ
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", last, err, out)
	}
	return binary
}

// copyTo is COPY of one source: a folder's content goes into the target, a file
// becomes the target or, where that is a folder, goes into it.
func copyTo(t *testing.T, from, to string, folder bool) {
	t.Helper()
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return
	}
	if folder {
		to = filepath.Join(to, filepath.Base(from))
	}
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// build assembles the context that faas-cli build sends to docker, and builds
// from it.
func build(t *testing.T, name, handler string) (binary string) {
	t.Helper()
	s := readStack(t)
	buildContext, err := builder.CreateBuildContext(name, handler, "ticktape-go", s.StackConfiguration.CopyExtraPaths, builder.WithBuildDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	return dockerBuild(t, buildContext)
}

func TestEachFunctionBuildsFromWhatItsDockerfileCopies(t *testing.T) {
	s := readStack(t)
	for _, name := range names(s) {
		t.Run(name, func(t *testing.T) {
			binary := build(t, name, s.Functions[name].Handler)
			f, err := elf.Open(binary)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP {
					t.Error("the binary asks for a dynamic linker, which an image from scratch does not have")
				}
			}
			p := launch(t, binary)
			if code, body := p.get(t, "/_/health"); code != http.StatusOK {
				t.Errorf("health without Kafka and Cassandra: %d %s", code, body)
			}
			p.stop(t)
		})
	}
}

func TestTheDockerfilesGoIsTheModules(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	for _, in := range buildStage(t, "template/ticktape-go/Dockerfile") {
		if v, ok := strings.CutPrefix(in.args, "GO_VERSION="); ok && in.word == "ARG" {
			if len(version) != 2 || v != string(version[1]) {
				t.Errorf("Dockerfile has Go %s, go.mod has %s", v, version)
			}
			return
		}
	}
	t.Error("the Dockerfile has no ARG GO_VERSION")
}

// process is a function's process that a test started.
type process struct {
	cmd    *exec.Cmd
	url    string
	ended  chan struct{} // closed when err is set
	err    error
	stderr *bytes.Buffer // to be read after ended
}

// launch starts a function's binary on a free port with none of the settings of
// this process, as in a container that has only those of env.
func launch(t *testing.T, binary string, env ...string) *process {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Env = append([]string{"host=127.0.0.1", "port=0", "healthcheck_interval=0", "LOG_FORMAT=json"}, env...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{}), stderr: &bytes.Buffer{}}
	address := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(io.TeeReader(pipe, p.stderr))
		for lines.Scan() {
			var record struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &record) == nil && record.Msg == "function listens" {
				address <- record.Address
			}
		}
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("the function's log:\n%s", p.stderr)
		}
	})
	select {
	case a := <-address:
		p.url = "http://" + a
	case <-p.ended:
		t.Fatalf("the function ended at once: %v\n%s", p.err, p.stderr)
	}
	return p
}

func (p *process) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return p.do(t, http.MethodGet, path, nil)
}

func (p *process) do(t *testing.T, method, path string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, p.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, string(b)
}

// stop sends SIGTERM and wants exit code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if p.err != nil {
		t.Errorf("after SIGTERM the function ends with %v, want exit code 0", p.err)
	}
}

// trier is a handler that does what the query string tells it to.
const trier = `package function

import (
	"net/http"
	"os"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
)

func Handle(req handler.Request) (handler.Response, error) {
	switch req.QueryString {
	case "panic":
		panic("tried")
	case "wait":
		for {
			if _, err := os.Stat(os.Getenv("RELEASE")); err == nil {
				break
			}
			select {
			case <-req.Context().Done():
				return handler.Response{}, req.Context().Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	case "zone":
		zone, err := time.LoadLocation("America/New_York")
		if err != nil {
			return handler.Response{}, err
		}
		return handler.Response{Body: []byte(zone.String())}, nil
	}
	return handler.Response{StatusCode: http.StatusAccepted, Body: req.Body}, nil
}
`

func TestAFunctionsProcess(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "handler.go"), []byte(trier), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := build(t, "trier", folder)

	t.Run("answers calls, refuses what is too large, outlives a panic", func(t *testing.T) {
		p := launch(t, binary, "max_body=1MiB", "ZONEINFO=/nonexistent")
		body := strings.Repeat("x", 1<<20)
		if code, got := p.do(t, http.MethodPost, "/", strings.NewReader(body)); code != 202 || got != body {
			t.Errorf("a call of 1 MiB: %d with %d bytes back", code, len(got))
		}
		code, got := p.do(t, http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 10<<20)))
		if code != 413 || !strings.Contains(got, `"detail":"The body is larger than 1MiB.`) {
			t.Errorf("a call of 10 MiB: %d %s", code, got)
		}
		if code, got := p.get(t, "/?panic"); code != 500 || !strings.Contains(got, `"detail":"The function failed.`) {
			t.Errorf("a panic: %d %s", code, got)
		}
		if code, got := p.get(t, "/?zone"); code != 200 || got != "America/New_York" {
			t.Errorf("a time zone without a database of the system: %d %s", code, got)
		}
		code, got = p.get(t, "/metrics")
		for _, want := range []string{
			"function_panics_total 1\n", `http_requests_total{code="413",method="post"} 1`, "http_requests_in_flight 0",
			`ticktape_build_info{revision="0123abc",service="function",version="v1.2.3"} 1`,
		} {
			if code != 200 || !strings.Contains(got, want) {
				t.Errorf("metrics: %d without %s", code, want)
			}
		}
		p.stop(t)
		if !strings.Contains(p.stderr.String(), "handler.go") {
			t.Error("the log has no stack of the panic")
		}
	})

	t.Run("tells callers above the limit to come back, and drains on SIGTERM", func(t *testing.T) {
		release := filepath.Join(t.TempDir(), "release")
		p := launch(t, binary, "max_inflight=1", "RELEASE="+release, "healthcheck_interval=3s")
		waited := make(chan int, 1)
		go func() {
			code, _ := p.get(t, "/?wait")
			waited <- code
		}()
		until(t, "the call is in flight", func() bool {
			_, metrics := p.get(t, "/metrics")
			return strings.Contains(metrics, "http_requests_in_flight 1")
		})
		if code, got := p.get(t, "/"); code != 429 || !strings.Contains(got, `"detail":"1 calls are under way`) {
			t.Errorf("a second call: %d %s", code, got)
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		until(t, "health says 503", func() bool {
			code, _ := p.get(t, "/_/health")
			return code == http.StatusServiceUnavailable
		})
		if code, _ := p.get(t, "/_/ready"); code != http.StatusServiceUnavailable {
			t.Errorf("ready while draining: %d", code)
		}
		if err := os.WriteFile(release, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if code := <-waited; code != 202 {
			t.Errorf("the call in flight: %d", code)
		}
		<-p.ended
		if p.err != nil {
			t.Errorf("ended with %v, want exit code 0", p.err)
		}
	})

	t.Run("ends a call at exec_timeout, and leaves at once on a second signal", func(t *testing.T) {
		p := launch(t, binary, "exec_timeout=200ms", "write_timeout=30s", "healthcheck_interval=1h")
		if code, got := p.get(t, "/?wait"); code != 504 {
			t.Errorf("a call beyond exec_timeout: %d %s", code, got)
		}
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		until(t, "health says 503", func() bool {
			code, _ := p.get(t, "/_/health")
			return code == http.StatusServiceUnavailable
		})
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.ended
		var exit *exec.ExitError
		if !errors.As(p.err, &exit) || exit.ExitCode() != service.ExitFailed {
			t.Errorf("ended with %v, want exit code %d", p.err, service.ExitFailed)
		}
	})

	t.Run("says in one line which setting it can't use", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary)
		cmd.Env = []string{"write_timeout=soon"}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		// Before it comes the line that says which version starts.
		_, said, _ := strings.Cut(string(out), "\n")
		if !errors.As(err, &exit) || exit.ExitCode() != service.ExitSettings || strings.Count(said, "\n") != 1 || !strings.Contains(said, "write_timeout=") {
			t.Errorf("ended with %v and said %q", err, out)
		}
	})
}

// until waits for a condition, and fails the test where a minute is not enough.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-limit:
			t.Fatalf("waited a minute in vain until %s", what)
		case <-tick.C:
		}
	}
}
