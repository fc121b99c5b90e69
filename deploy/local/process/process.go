// Package process runs child processes that never outlive their parent, keeps
// the end of what they say, and stops, kills, freezes and thaws them.
//
// It is not a supervisor: it starts a command once and says when it ended.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Spec says what to run. Its zero values are sensible but for Name and Path.
type Spec struct {
	Name string // what people call it; used in messages
	Path string // the program
	Args []string
	Env  []string // whole environment of the child
	Dir  string
	Log  *Log // gets stdout and stderr; nil discards them
	// StopTimeout is how long Stop waits after SIGTERM before it kills; 10 s where 0.
	StopTimeout time.Duration
}

// Process is a child that was started. Its methods are safe for concurrent use.
type Process struct {
	spec    Spec
	cmd     *exec.Cmd
	started time.Time
	done    chan struct{}
	err     error // why it ended; read only after done is closed
}

// Start runs the command in a process group of its own, so that a Ctrl-C at the
// terminal reaches only the parent, which then stops its children in order.
func Start(spec Spec) (*Process, error) {
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	if spec.Log != nil {
		cmd.Stdout, cmd.Stderr = spec.Log, spec.Log
	}
	cmd.SysProcAttr = sysProcAttr()
	// A grandchild that kept the pipe open must not hold up Wait for ever.
	cmd.WaitDelay = 2 * time.Second
	if err := onSpawner(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p := &Process{spec: spec, cmd: cmd, started: time.Now(), done: make(chan struct{})}
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	err := p.cmd.Wait()
	// What the leader left behind in its group goes with it.
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if p.spec.Log != nil {
		p.spec.Log.flush()
	}
	p.err = err
	close(p.done)
}

// PID is the child's process id, also of its process group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Name is the name from the Spec.
func (p *Process) Name() string { return p.spec.Name }

// Started is when the child was started.
func (p *Process) Started() time.Time { return p.started }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether the child has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Ending says in words how the child ended ("exit status 1", "signal: killed").
// It waits for the end.
func (p *Process) Ending() string {
	<-p.done
	if p.err == nil {
		return "exit status 0"
	}
	return p.err.Error()
}

// Signal sends sig to the child's whole process group.
func (p *Process) Signal(sig syscall.Signal) error {
	if !p.Running() {
		return nil
	}
	if err := syscall.Kill(-p.PID(), sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to %s (pid %d): %w", sig, p.spec.Name, p.PID(), err)
	}
	return nil
}

// ErrKilled is returned by Stop where the child did not end in time by itself.
var ErrKilled = errors.New("did not stop in time and was killed")

// Stop asks the child to end, waits for it, and kills it when StopTimeout has
// passed. It returns when the child is gone. Stopping twice is harmless.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	// A frozen child sees no signal until it is thawed.
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	limit := p.spec.StopTimeout
	if limit == 0 {
		limit = 10 * time.Second
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	if err := p.Kill(); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w after %s", p.spec.Name, ErrKilled, limit)
}

// Kill ends the child as kill -9 does and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// Freeze halts the child as a machine that hangs would; Thaw lets it go on.
func (p *Process) Freeze() error { return p.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen child go on.
func (p *Process) Thaw() error { return p.Signal(syscall.SIGCONT) }

var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		// Linux's parent-death signal comes when the THREAD that forked ends,
		// so all children are forked by one thread that lives as long as the process.
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

func onSpawner(start func() error) error {
	result := make(chan error, 1)
	spawner() <- func() { result <- start() }
	return <-result
}

// Environ is this process's environment with the settings of more in it, each "NAME=value".
func Environ(more ...string) []string {
	return append(os.Environ(), more...)
}
