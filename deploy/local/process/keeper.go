package process

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	backoffMin  = 200 * time.Millisecond
	backoffMax  = 10 * time.Second
	healthyLife = 30 * time.Second // a child that lived this long starts the back-off anew
	endOfLog    = 10               // lines shown of a child that died
	complaints  = 5                // and of what it complained about before
)

// Plan is a child that is ready to be started.
type Plan struct {
	Spec Spec
	Port int
	// Ready waits until the child does its work or ctx is over.
	Ready func(ctx context.Context) error
	// ReadyTimeout is how long the child has to get ready before it is killed; 30 s where 0.
	ReadyTimeout time.Duration
}

// State is where a kept child stands.
type State string

const (
	Starting State = "starting" // it runs and is not ready yet
	Ready    State = "ready"
	Down     State = "down" // it died and is about to be started again
	Stopping State = "stopping"
	Stopped  State = "stopped"
)

// Status is what a Keeper knows of its child.
type Status struct {
	State    State
	PID      int // 0 while there is no process
	Port     int
	Restarts int
	Ending   string // how the process before this one ended; empty where there was none
	Started  time.Time
}

// Death tells of a child that ended without being asked to.
type Death struct {
	Name   string
	Ending string
	Log    string // the end of its log, indented
	Wait   time.Duration
}

// Keeper keeps a child running: when it dies it is started again, after a pause
// that grows while it keeps dying. Its methods are safe for concurrent use.
type Keeper struct {
	name  string
	plan  func(context.Context) (Plan, error)
	watch Watcher

	cancel  context.CancelFunc
	done    chan struct{}
	stopErr error         // read after done
	first   chan struct{} // closed when the first process got ready or failed to
	firstOf error         // read after first

	mu     sync.Mutex
	status Status
	proc   *Process
}

// Watcher hears of what happens to children. Its functions must not block.
type Watcher struct {
	Changed func()
	Died    func(Death)
}

// Keep starts the child, which people call name. plan is asked before every
// start, so that a port which has been taken meanwhile can be another one. Stop
// ends it. A child that never got ready is Await's to tell of, and not the watcher's.
func Keep(name string, plan func(context.Context) (Plan, error), watch Watcher) *Keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Keeper{name: name, plan: plan, watch: watch, cancel: cancel, done: make(chan struct{}), first: make(chan struct{})}
	k.status.State = Starting
	go k.keep(ctx)
	return k
}

func (k *Keeper) keep(ctx context.Context) {
	defer close(k.done)
	defer k.update(func(s *Status) { s.State, s.PID = Stopped, 0 })
	wait := backoffMin
	for {
		begun := time.Now()
		plan, err := k.plan(ctx)
		started := err == nil
		if started {
			err = k.live(ctx, plan)
		}
		if ctx.Err() != nil {
			k.settle(ctx.Err())
			return
		}
		if time.Since(begun) > healthyLife {
			wait = backoffMin
		}
		death := Death{Name: k.name, Ending: err.Error(), Log: plan.Spec.Log.End(), Wait: wait}
		k.update(func(s *Status) {
			s.State, s.PID, s.Ending = Down, 0, death.Ending
			s.Restarts++
		})
		if started {
			err = fmt.Errorf("%s ended while it started (%w); the end of its log:\n%s", k.name, err, death.Log)
		}
		if k.settle(err) == nil {
			k.watch.Died(death)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		wait = min(2*wait, backoffMax)
	}
}

// live runs one process to its end. Its error tells how that was, where it was
// not asked for; else it tells of a process that had to be killed.
func (k *Keeper) live(ctx context.Context, plan Plan) error {
	proc, err := Start(plan.Spec)
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.proc = proc
	k.mu.Unlock()
	k.update(func(s *Status) {
		s.State, s.PID, s.Port, s.Started = Starting, proc.PID(), plan.Port, proc.Started()
	})
	err = plan.await(ctx, proc)
	switch {
	case err == nil:
		k.update(func(s *Status) { s.State = Ready })
		k.settle(nil)
	case ctx.Err() == nil:
		if proc.Running() {
			err = errors.Join(err, proc.Kill())
		}
		return err
	}
	select {
	case <-proc.Done():
		return errors.New(proc.Ending())
	case <-ctx.Done():
		// Whoever sends it work hears of the state first and stops to.
		k.update(func(s *Status) { s.State = Stopping })
		k.stopErr = proc.Stop()
		return k.stopErr
	}
}

// await waits until the process is ready, or has ended, or has had its time.
func (p Plan) await(ctx context.Context, proc *Process) error {
	limit := p.ReadyTimeout
	if limit == 0 {
		limit = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- p.Ready(ctx) }()
	select {
	case err := <-ready:
		if err != nil && !proc.Running() {
			return errors.New(proc.Ending())
		}
		return err
	case <-proc.Done():
		cancel()
		<-ready
		return errors.New(proc.Ending())
	}
}

// Run starts what p says and returns when it is ready. Where it does not get
// ready nothing is left running, and the error has the end of its log.
func (p Plan) Run(ctx context.Context) (*Process, error) {
	proc, err := Start(p.Spec)
	if err != nil {
		return nil, err
	}
	err = p.await(ctx, proc)
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), proc.Kill())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start (%w); the end of its log:\n%s", p.Spec.Name, err, p.Spec.Log.End()), proc.Kill())
	}
	return proc, nil
}

func (k *Keeper) update(change func(*Status)) {
	k.mu.Lock()
	change(&k.status)
	k.mu.Unlock()
	k.watch.Changed()
}

// settle says how the first start went where that is not known yet, and gives
// what is known.
func (k *Keeper) settle(err error) error {
	select {
	case <-k.first:
	default:
		k.firstOf = err
		close(k.first)
	}
	return k.firstOf
}

// Await waits until the child has got ready for the first time. Where its first
// process ended before, the error tells how, with the end of its log.
func (k *Keeper) Await(ctx context.Context) error {
	select {
	case <-k.first:
		return k.firstOf
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends the child and waits until it is gone. Stopping twice is harmless.
func (k *Keeper) Stop() error {
	k.cancel()
	<-k.done
	return k.stopErr
}

// Status says where the child stands.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.status
	if k.proc == nil || !k.proc.Running() {
		s.PID = 0
	}
	return s
}

// End gives the last lines as one text, each indented and cut to what can be
// read, without a line end after the last. Complaints that stand further up,
// before all that a server says while it goes down, come first. It is empty where
// the log is nil.
func (l *Log) End() string {
	if l == nil {
		return ""
	}
	lines := l.Tail(endOfLog * 20)
	cut := max(0, len(lines)-endOfLog)
	var shown []string
	for _, line := range lines[:cut] {
		if complains(line.Text) {
			shown = append(shown, line.Text)
		}
	}
	if n := len(shown); n > 0 {
		shown = append(shown[max(0, n-complaints):], "…")
	}
	for _, line := range lines[cut:] {
		shown = append(shown, line.Text)
	}
	for i, text := range shown {
		shown[i] = fmt.Sprintf("    %.240s", text)
	}
	return strings.Join(shown, "\n")
}

func complains(line string) bool {
	for _, word := range []string{"ERROR", "FATAL", "Caused by:", "panic:", "fatal error:"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}
