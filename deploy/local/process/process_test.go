package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be a parent, to see what becomes of its children.
func TestMain(m *testing.M) {
	if os.Getenv("BE_A_PARENT") != "" {
		child, err := Start(Spec{Name: "child", Path: "/bin/sleep", Args: []string{"1000"}, Env: os.Environ()})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(child.PID())
		select {}
	}
	os.Exit(m.Run())
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

func shell(t *testing.T, script string) (*Process, *Log) {
	t.Helper()
	log, err := OpenLog("")
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Spec{Name: "child", Path: "/bin/sh", Args: []string{"-c", script}, Env: os.Environ(), Log: log, StopTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p, log
}

func TestAChildDiesWithAParentThatIsKilled(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux tells a child that its parent died; elsewhere the next start ends what is left")
	}
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), "BE_A_PARENT=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscanln(out, &pid); err != nil {
		t.Fatal(err)
	}
	birth := Birth(pid)
	if birth == "" {
		t.Fatal("the child does not run")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	wait(t, "the child is gone", func() bool { return Birth(pid) != birth })
}

func TestStopAsksAndThenKills(t *testing.T) {
	polite, log := shell(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done`)
	wait(t, "it is up", func() bool { return len(log.Tail(1)) == 1 })
	if err := polite.Stop(); err != nil {
		t.Error(err)
	}
	if polite.Running() || log.Tail(1)[0].Text != "bye" || polite.Ending() != "exit status 0" {
		t.Errorf("ended with %q, said %v", polite.Ending(), log.Tail(9))
	}
	if err := polite.Stop(); err != nil {
		t.Error("the second stop:", err)
	}

	deaf, log := shell(t, `trap '' TERM; echo up; while :; do sleep 0.01; done`)
	wait(t, "it is up", func() bool { return len(log.Tail(1)) == 1 })
	if err := deaf.Stop(); !errors.Is(err, ErrKilled) {
		t.Errorf("stop of a deaf child: %v", err)
	}
	if deaf.Running() || !strings.Contains(deaf.Ending(), "killed") {
		t.Errorf("ended with %q", deaf.Ending())
	}
}

func TestAFrozenChildCanBeStopped(t *testing.T) {
	p, log := shell(t, `trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done`)
	wait(t, "it is up", func() bool { return len(log.Tail(1)) == 1 })
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	wait(t, "it is frozen", func() bool { return Frozen(p.PID()) })
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestGrandchildrenGoWithTheChild(t *testing.T) {
	p, log := shell(t, `sleep 1000 & echo $!; wait`)
	wait(t, "the grandchild runs", func() bool { return len(log.Tail(1)) == 1 })
	pid, err := strconv.Atoi(log.Tail(1)[0].Text)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil { // the child alone
		t.Fatal(err)
	}
	<-p.Done()
	wait(t, "the grandchild is gone", func() bool { return Birth(pid) == "" })
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	if _, err := Start(Spec{Name: "child", Path: "/no/such/program"}); err == nil || !strings.Contains(err.Error(), "child") {
		t.Errorf("error: %v", err)
	}
}

func TestALogKeepsLinesWholeAndItsFileBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "x.log")
	l, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(l, "one\ntw")
	past, next, cancel := l.Follow(10)
	if len(past) != 1 || past[0].Text != "one" {
		t.Errorf("past: %v", past)
	}
	fmt.Fprint(l, "o\r\nthree")
	if line := <-next; line.Text != "two" {
		t.Errorf("next: %q", line.Text)
	}
	l.flush()
	if line := <-next; line.Text != "three" {
		t.Errorf("next: %q", line.Text)
	}
	cancel()
	if _, open := <-next; open {
		t.Error("the follower goes on after it was cancelled")
	}
	line := strings.Repeat("x", 1023) + "\n"
	for range 3 * logFileLimit / len(line) {
		fmt.Fprint(l, line)
	}
	for _, p := range []string{path, path + ".1"} {
		info, err := os.Stat(p)
		if err != nil || info.Size() > logFileLimit+2048 {
			t.Errorf("%s: %v, %v", p, info, err)
		}
	}
	if n := len(l.Tail(1 << 30)); n < logTail || n > 2*logTail {
		t.Errorf("%d lines are in memory", n)
	}
	_, next, cancel = l.Follow(0)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, open := <-next; open {
		t.Error("the follower goes on after the log was closed")
	}
	cancel()
}

// watched collects what a Keeper tells.
type watched struct {
	mu     sync.Mutex
	deaths []Death
}

func (w *watched) watcher() Watcher {
	return Watcher{Changed: func() {}, Died: func(d Death) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.deaths = append(w.deaths, d)
	}}
}

func (w *watched) all() []Death {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Death(nil), w.deaths...)
}

func planOf(t *testing.T, script string, ready func(context.Context) error) func(context.Context) (Plan, error) {
	t.Helper()
	log, err := OpenLog("")
	if err != nil {
		t.Fatal(err)
	}
	return func(context.Context) (Plan, error) {
		return Plan{
			Spec:  Spec{Name: "child", Path: "/bin/sh", Args: []string{"-c", script}, Env: os.Environ(), Log: log},
			Ready: ready,
		}, nil
	}
}

func atOnce(context.Context) error { return nil }

func never(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAKeptChildIsStartedAgainUntilItIsStopped(t *testing.T) {
	var w watched
	k := Keep("child", planOf(t, "exec sleep 1000", atOnce), w.watcher())
	defer k.Stop()
	if err := k.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := k.Status()
	for kills := 1; kills <= 2; kills++ {
		before := k.Status().PID
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		wait(t, "it runs again", func() bool {
			s := k.Status()
			return s.State == Ready && s.PID != 0 && s.PID != before && s.Restarts == kills
		})
	}
	d := w.all()
	if len(d) != 2 || !strings.Contains(d[0].Ending, "killed") || d[1].Wait <= d[0].Wait {
		t.Errorf("deaths: %+v", d)
	}
	if err := k.Stop(); err != nil {
		t.Error(err)
	}
	if s := k.Status(); s.State != Stopped || s.PID != 0 || s.PID == first.PID {
		t.Errorf("after the stop: %+v", s)
	}
	if len(w.all()) != 2 {
		t.Error("a stop was told as a death")
	}
}

func TestAChildThatNeverGetsReadyIsToldWithTheEndOfItsLog(t *testing.T) {
	var w watched
	k := Keep("child", planOf(t, "echo out of luck; exit 4", never), w.watcher())
	defer k.Stop()
	err := k.Await(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("error: %v", err)
	}
	if len(w.all()) != 0 {
		t.Error("it was told twice")
	}
}

func TestAPlanThatCanNotBeMadeIsToldAsItIs(t *testing.T) {
	want := errors.New("no jars")
	k := Keep("child", func(context.Context) (Plan, error) { return Plan{}, want }, (&watched{}).watcher())
	defer k.Stop()
	if err := k.Await(t.Context()); err != want {
		t.Errorf("error: %v", err)
	}
}

func TestAChildThatTakesTooLongToGetReadyIsKilled(t *testing.T) {
	var w watched
	plan := planOf(t, "exec sleep 1000", never)
	k := Keep("child", func(ctx context.Context) (Plan, error) {
		p, err := plan(ctx)
		p.ReadyTimeout = 20 * time.Millisecond
		return p, err
	}, w.watcher())
	defer k.Stop()
	if err := k.Await(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
}

func TestAKeeperCanBeStoppedWhileItsChildStartsOrIsDown(t *testing.T) {
	for name, k := range map[string]*Keeper{
		"starting": Keep("child", planOf(t, "exec sleep 1000", never), (&watched{}).watcher()),
		"down":     Keep("child", planOf(t, "exit 1", atOnce), (&watched{}).watcher()),
		"no plan":  Keep("child", func(context.Context) (Plan, error) { return Plan{}, errors.New("no jars") }, (&watched{}).watcher()),
	} {
		t.Run(name, func(t *testing.T) {
			if err := k.Stop(); err != nil {
				t.Error(err)
			}
			if s := k.Status(); s.State != Stopped {
				t.Errorf("state: %s", s.State)
			}
		})
	}
}

func TestRunLeavesNothingRunningWhereTheChildDoesNotGetReady(t *testing.T) {
	plan, err := planOf(t, "echo $$; exec sleep 1000", never)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plan.ReadyTimeout = 500 * time.Millisecond
	if _, err := plan.Run(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error: %v", err)
	}
	pid, err := strconv.Atoi(plan.Spec.Log.Tail(1)[0].Text)
	if err != nil {
		t.Fatal(err)
	}
	if Birth(pid) != "" {
		t.Error("the child still runs")
	}
}

func TestTheEndOfALogHasTheComplaintThatCameBeforeTheGoodbyes(t *testing.T) {
	var none *Log
	if none.End() != "" {
		t.Error("no log has an end")
	}
	l, err := OpenLog("")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(l, "starting")
	fmt.Fprintln(l, "ERROR the port is taken")
	for i := range 40 {
		fmt.Fprintln(l, "closing", i)
	}
	fmt.Fprintln(l, strings.Repeat("x", 1000))
	lines := strings.Split(l.End(), "\n")
	if len(lines) != endOfLog+2 || lines[0] != "    ERROR the port is taken" || lines[2] != "    closing 31" || len(lines[endOfLog+1]) != 244 {
		t.Errorf("end:\n%s", l.End())
	}
}
