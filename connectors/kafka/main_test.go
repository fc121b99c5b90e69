package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/gateway/gatewaytest"
	"ticktape/internal/testbed"
	"ticktape/internal/trigger"
)

// The test binary is the connector where this is set, so that it can be killed.
const beConnector = "TEST_BE_CONNECTOR"

func TestMain(m *testing.M) {
	if os.Getenv(beConnector) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is a connector of its own.
type process struct {
	*exec.Cmd
	out    lockedBuffer
	exited chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, env ...string) *process {
	t.Helper()
	secrets := t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, trigger.TokenSecret), []byte("t0ken"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(os.Args[0]), exited: make(chan struct{})}
	p.Env = append(append(os.Environ(), beConnector+"=1", "METRICS_ADDR=127.0.0.1:0", "SECRETS_DIR="+secrets, "REFRESH_INTERVAL=200ms", "WATCH_INTERVAL=200ms"), env...)
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.Wait() // its code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("the connector said:\n%s", p.out.String())
		}
	})
	return p
}

func (p *process) end(t *testing.T, sig os.Signal) int {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(30 * time.Second):
		t.Fatal("the connector does not stop")
	}
	return p.ProcessState.ExitCode()
}

// ledger is what a function was given, call by call.
type ledger struct {
	mu      sync.Mutex
	batches []trigger.Batch
}

func (l *ledger) add(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	b := gatewaytest.Batch(r, body)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches = append(l.batches, *b)
}

func (l *ledger) snapshot() []trigger.Batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]trigger.Batch{}, l.batches...)
}

func (l *ledger) offsets() map[int64]int {
	seen := map[int64]int{}
	for _, b := range l.snapshot() {
		for _, r := range b.Records {
			seen[r.Offset]++
		}
	}
	return seen
}

func publish(t *testing.T, topic string, n int) {
	t.Helper()
	c := bus.New(bus.Config{Brokers: testbed.Kafka(t)})
	defer c.Close()
	p := c.Producer(topic)
	var msgs []kafka.Message
	for i := range n {
		msgs = append(msgs, kafka.Message{Key: []byte("k"), Value: fmt.Appendf(nil, "%d", i)})
	}
	if err := p.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
}

func TestAConnectorKilledBetweenCallAndCommitLosesNothing(t *testing.T) {
	for name, instance := range map[string]string{"a named instance goes on at once": "test", "a nameless one goes on after the session": ""} {
		t.Run(name, func(t *testing.T) {
			topic := testbed.Topic(t, "kill", 1)
			gw := gatewaytest.New(t)
			publish(t, topic, 100)
			var got ledger
			arrived, release := make(chan struct{}), make(chan struct{})
			var once sync.Once
			gw.Deploy("f", map[string]string{"topic": topic, "kafka.group": topic + ".g", "kafka.batch": "protobuf", "kafka.batch.max-records": "10"}, func(w http.ResponseWriter, r *http.Request) {
				got.add(w, r)
				if len(got.snapshot()) == 3 {
					once.Do(func() { close(arrived) })
					<-release
				}
			})
			env := []string{"GATEWAY_URL=" + gw.URL, "KAFKA_INSTANCE=" + instance, "CALL_TIMEOUT=5s", "SESSION_TIMEOUT=6s"}
			first := start(t, env...)
			<-arrived
			first.end(t, syscall.SIGKILL)
			close(release)
			second := start(t, env...)
			testbed.Eventually(t, 40*time.Second, "every record has been delivered", func() bool { return len(got.offsets()) == 100 })
			batches := got.snapshot()
			redelivered := batches[3]
			if !redelivered.Resumed || redelivered.Records[0].Offset > 20 {
				t.Errorf("after the kill the first batch is from offset %d, resumed %v", redelivered.Records[0].Offset, redelivered.Resumed)
			}
			for _, b := range batches[4:] {
				if b.Records[0].Offset >= 30 && b.Resumed {
					t.Errorf("the batch from offset %d, which nobody had before, is resumed", b.Records[0].Offset)
				}
			}
			if code := second.end(t, syscall.SIGTERM); code != 0 {
				t.Errorf("after SIGTERM the code is %d, want 0", code)
			}
			c := bus.New(bus.Config{Brokers: testbed.Kafka(t)})
			defer c.Close()
			if marks, err := c.Committed(t.Context(), topic+".g", topic); err != nil || marks[0] != 100 {
				t.Errorf("committed %v, %v; want 100", marks, err)
			}
		})
	}
}

func TestSettingsThatCantBeUsedAreToldInOneLine(t *testing.T) {
	for env, want := range map[string]string{
		"CALL_TIMEOUT=50s":       "SESSION_TIMEOUT=45s must be at least 1s above CALL_TIMEOUT=50s",
		"GATEWAY_URL=gateway":    `GATEWAY_URL=\"gateway\" is no address`,
		"FETCH_BYTES=1":          "FETCH_BYTES=1 must be between",
		"KAFKA_USER=somebody":    "secret kafka-password is missing",
		"REFRESH_INTERVAL=often": "REFRESH_INTERVAL=",
		"METRICS_ADDR=nowhere":   "METRICS_ADDR=",
	} {
		t.Run(env, func(t *testing.T) {
			p := start(t, env)
			<-p.exited
			if code := p.ProcessState.ExitCode(); code != 2 || !strings.Contains(p.out.String(), want) || strings.Count(p.out.String(), "\n") != 2 { // the first line says which version starts
				t.Errorf("code %d, %s", code, p.out.String())
			}
		})
	}
}
