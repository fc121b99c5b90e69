// Package e2e runs the whole pipeline as `make run` does, breaks its parts while
// ticks flow, and holds what is stored against what was published.
package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/openfaas/faas-provider/types"
	sdk "github.com/openfaas/go-sdk"

	"ticktape/deploy/local/run"
	"ticktape/internal/bus"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
)

// pipeline is a running `local run` on free ports with a folder of its own.
type pipeline struct {
	dir string
	cmd *exec.Cmd
	end chan struct{} // closed when the runtime has ended
	bus *bus.Client
}

const runtimeEnd = 90 * time.Second

// start builds the runtime and waits until the first tick has reached the dashboard.
func start(t *testing.T, env ...string) *pipeline {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: after a failure the logs are what one wants to read.
	p := &pipeline{dir: filepath.Join(root, "build", "e2e"), end: make(chan struct{})}
	if err := os.RemoveAll(p.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(p.dir, "local")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../deploy/local").CombinedOutput(); err != nil {
		t.Fatalf("build the runtime: %v\n%s", err, out)
	}
	p.cmd = exec.Command(program, "run")
	p.cmd.Dir = root
	p.cmd.Env = append(environment(), "TICKTAPE_DIR="+p.dir, "SOURCE=simulated",
		"FUNCTIONS_PORT=0", "DASHBOARD_PORT=0", "KAFKA_PORT=0", "CASSANDRA_PORT=0")
	// The truth of these tests is the log: what charts tell would be beside it.
	p.cmd.Env = append(append(p.cmd.Env, "BACKFILL_ADDED=none"), env...)
	p.cmd.Stdout, p.cmd.Stderr = os.Stderr, os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.end)
		if err := p.cmd.Wait(); err != nil {
			fmt.Fprintln(os.Stderr, "the runtime ended:", err)
		}
	}()
	t.Cleanup(func() { p.stop(t) })
	testbed.Eventually(t, 5*time.Minute, "the pipeline is ready", func() bool {
		select {
		case <-p.end:
			t.Fatal("the runtime ended before it was ready; its output is above")
		default:
		}
		s, ok, err := run.ReadState(p.dir)
		return err == nil && ok && s.Ready
	})
	p.bus = bus.New(bus.Config{Brokers: strings.Split(p.state(t).Kafka, ",")})
	t.Cleanup(p.bus.Close)
	return p
}

// environment is that of the test without the addresses of the servers that
// other tests use.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KAFKA_BROKERS=") && !strings.HasPrefix(v, "CASSANDRA_HOSTS=") {
			env = append(env, v)
		}
	}
	return env
}

func (p *pipeline) stop(t *testing.T) {
	select {
	case <-p.end:
		return
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop the runtime: %v", err)
	}
	select {
	case <-p.end:
	case <-time.After(runtimeEnd):
		t.Errorf("the runtime did not stop within %s", runtimeEnd)
		_ = p.cmd.Process.Kill()
		<-p.end
	}
}

func (p *pipeline) state(t *testing.T) run.State {
	t.Helper()
	s, ok, err := run.ReadState(p.dir)
	if err != nil || !ok {
		t.Fatalf("read what runs: %t, %v", ok, err)
	}
	return s
}

func (p *pipeline) part(t *testing.T, name string) run.Part {
	t.Helper()
	s := p.state(t)
	for _, part := range s.Parts {
		if part.Name == name {
			return part
		}
	}
	t.Fatalf("no part is called %q in %+v", name, s.Parts)
	return run.Part{}
}

// kill ends a part as a crash would and waits until another process has taken
// its place.
func (p *pipeline) kill(t *testing.T, name string) {
	t.Helper()
	before := p.part(t, name)
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %s: %v", name, err)
	}
	t.Logf("killed %s", name)
	testbed.Eventually(t, time.Minute, name+" runs again", func() bool {
		after := p.part(t, name)
		return after.PID != 0 && after.PID != before.PID && after.Restarts > before.Restarts
	})
	t.Logf("%s runs again", name)
}

// freeze stops a part for a while, as a machine does that is out of memory.
func (p *pipeline) freeze(t *testing.T, name string, d time.Duration) {
	t.Helper()
	pid := p.part(t, name).PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatalf("freeze %s: %v", name, err)
	}
	t.Logf("froze %s for %s", name, d)
	wait(t, d)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatalf("thaw %s: %v", name, err)
	}
}

// wait lets the market pass; it is the one thing here whose end no condition tells.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(context.Cause(t.Context()))
	}
}

func (p *pipeline) gateway(t *testing.T) *sdk.Client {
	t.Helper()
	u, err := url.Parse(p.state(t).Functions)
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewClient(u, nil, http.DefaultClient)
}

// reschedule deploys the function again with another schedule, as a user does
// who wants ticks more often.
func (p *pipeline) reschedule(t *testing.T, name, schedule string) {
	t.Helper()
	gateway := p.gateway(t)
	f, err := gateway.GetFunction(t.Context(), name, "")
	if err != nil {
		t.Fatal(err)
	}
	annotations := map[string]string{}
	if f.Annotations != nil {
		annotations = *f.Annotations
	}
	annotations["schedule"] = schedule
	status, err := gateway.Update(t.Context(), types.FunctionDeployment{
		Service: name, Image: f.Image, EnvProcess: f.EnvProcess, EnvVars: f.EnvVars, Constraints: f.Constraints,
		Secrets: f.Secrets, Labels: f.Labels, Annotations: &annotations, Limits: f.Limits, Requests: f.Requests,
		ReadOnlyRootFilesystem: f.ReadOnlyRootFilesystem,
	})
	if err != nil || status/100 != 2 {
		t.Fatalf("deploy %s with schedule %q: %d, %v", name, schedule, status, err)
	}
}

func (p *pipeline) store(t *testing.T) *store.Store {
	t.Helper()
	cfg, err := store.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Hosts = strings.Split(p.state(t).Cassandra, ",")
	cfg.Timeout = 20 * time.Second
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestEveryTickIsStoredOnceThroughCrashes lets half a minute of market pass,
// beside a replay of 2,000 ticks a second, and meanwhile kills the process
// function, the Kafka connector and Cassandra, and freezes Cassandra.
func TestEveryTickIsStoredOnceThroughCrashes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes three minutes: run it without -short")
	}
	p := start(t)
	p.reschedule(t, "fetch", "@every 1s")
	begun := time.Now()
	replayed := p.replay(t, 60_000, 2_000)

	wait(t, 4*time.Second)
	p.kill(t, "process")
	wait(t, 3*time.Second)
	p.kill(t, "kafka-connector")
	wait(t, 3*time.Second)
	p.kill(t, "cassandra")
	wait(t, 3*time.Second)
	p.freeze(t, "cassandra", 8*time.Second)
	if rest := 30*time.Second - time.Since(begun); rest > 0 {
		wait(t, rest)
	}
	replayed()
	if err := p.gateway(t).DeleteFunction(t.Context(), "fetch", ""); err != nil {
		t.Fatal(err)
	}

	p.settle(t)
	truth := p.readLog(t)
	t.Logf("%d records in the log, %d trades of %d symbols in %d windows", len(truth.records), truth.trades, len(truth.symbols), len(truth.windows))
	if truth.trades < 60_000+200 {
		t.Fatalf("only %d trades were published: the test shows nothing", truth.trades)
	}
	st := p.store(t)
	t.Run("counters equal the records of the log", func(t *testing.T) { truth.checkCounters(t, st) })
	t.Run("history has every trade once", func(t *testing.T) { truth.checkTicks(t, p.state(t).Functions) })
	t.Run("quotes are the latest trades", func(t *testing.T) { truth.checkQuotes(t, p.state(t).Functions) })
	t.Run("candles equal the truth to the last digit", func(t *testing.T) { truth.checkCandles(t, st, p.state(t).Functions) })
	t.Run("live windows equal the truth", func(t *testing.T) { truth.checkWindows(t, p) })
	t.Run("nothing is in the dead-letter topic", func(t *testing.T) {
		if n := len(p.readTopic(t, "ticks.dead")); n != 0 {
			t.Errorf("%d dead letters", n)
		}
	})
}
