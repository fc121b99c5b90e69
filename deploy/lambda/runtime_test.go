package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// environment is a function's execution environment: a process with a Runtime API
// of its own, as AWS Lambda documents it.
type environment struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   bytes.Buffer // to be read after ended
	ended chan struct{}
	next  chan *invocation

	mu   sync.Mutex
	open map[string]*invocation // by request id
}

// invocation is an event on its way through an environment.
type invocation struct {
	payload []byte
	begun   chan struct{} // closed when the process has it
	done    chan struct{} // closed when it is answered
	answer  []byte
	failed  bool
}

const lambdaTimeout = time.Minute

// start starts a bootstrap with nothing in its environment but what AWS puts
// there and env.
func start(t testing.TB, bootstrap string, env ...string) *environment {
	t.Helper()
	e := &environment{t: t, ended: make(chan struct{}), next: make(chan *invocation), open: map[string]*invocation{}}
	api := httptest.NewServer(e)
	e.cmd = exec.Command(bootstrap)
	e.cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(api.URL, "http://"), "AWS_LAMBDA_FUNCTION_NAME=ticktape", "TMPDIR=" + t.TempDir()}, env...)
	e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = e.cmd.Wait()
		close(e.ended)
	}()
	t.Cleanup(func() {
		e.kill()
		api.Close()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", bootstrap, &e.log)
		}
	})
	return e
}

func (e *environment) kill() {
	_ = e.cmd.Process.Kill()
	<-e.ended
}

func (e *environment) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/2018-06-01/runtime/invocation/")
	id, verb, _ := strings.Cut(path, "/")
	switch {
	case ok && r.Method == http.MethodGet && path == "next":
		e.hand(r.Context(), w)
	case ok && r.Method == http.MethodPost && (verb == "response" || verb == "error"):
		body, err := io.ReadAll(r.Body)
		e.mu.Lock()
		in := e.open[id]
		delete(e.open, id)
		e.mu.Unlock()
		if err != nil || in == nil {
			http.Error(w, "no such invocation", http.StatusBadRequest)
			return
		}
		in.answer, in.failed = body, verb == "error"
		w.WriteHeader(http.StatusAccepted)
		close(in.done)
	default:
		http.NotFound(w, r)
	}
}

// hand gives the process its next event.
func (e *environment) hand(ctx context.Context, w http.ResponseWriter) {
	select {
	case <-ctx.Done():
	case in := <-e.next:
		id := fmt.Sprintf("%p", in)
		e.mu.Lock()
		e.open[id] = in
		e.mu.Unlock()
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(lambdaTimeout).UnixMilli()))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:111122223333:function:ticktape")
		w.Header().Set("Lambda-Runtime-Trace-Id", "Root=1-65e33c1a-0123456789abcdef01234567")
		_, _ = w.Write(in.payload)
		close(in.begun)
	}
}

// begin hands the process an event and returns when it has it.
func (e *environment) begin(payload []byte) *invocation {
	e.t.Helper()
	in := &invocation{payload: payload, begun: make(chan struct{}), done: make(chan struct{})}
	select {
	case e.next <- in:
		<-in.begun
	case <-e.ended:
		e.t.Fatalf("the function ended before it was invoked:\n%s", &e.log)
	case <-time.After(lambdaTimeout):
		e.t.Fatal("the function did not ask for an event")
	}
	return in
}

// invoke hands the process an event and returns its answer.
func (e *environment) invoke(payload []byte) (answer string, failed bool) {
	e.t.Helper()
	in := e.begin(payload)
	select {
	case <-in.done:
	case <-e.ended:
		e.t.Fatalf("the function ended in the middle of an invocation:\n%s", &e.log)
	case <-time.After(lambdaTimeout):
		e.t.Fatal("the function did not answer in time")
	}
	return string(in.answer), in.failed
}

// recorded is an event of the folder events.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("events/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}
