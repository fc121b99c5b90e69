package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openfaas/faas-provider/types"
	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/process"
	"ticktape/deploy/local/servers"
)

const (
	startLimit  = 30 * time.Second // from a process's start until it listens
	backoffMin  = 100 * time.Millisecond
	backoffMax  = 10 * time.Second
	healthyLife = 30 * time.Second // a process that lived this long starts the back-off anew
)

// function is one deployment: its processes all run the same command.
type function struct {
	provider   *Provider
	deployment types.FunctionDeployment
	command    []string
	secrets    string // folder
	log        *process.Log
	created    time.Time
	calls      *atomic.Int64
	next       atomic.Uint64 // whose turn it is

	mu       sync.Mutex
	replicas []*replica
	ready    atomic.Pointer[[]*replica] // those that listen; read by every call
}

// newFunction makes a function without processes. From the one it is to replace,
// where there is one, it takes over log, count of calls and time of creation.
func newFunction(p *Provider, d types.FunctionDeployment, command []string, secrets string, old *function) (*function, error) {
	f := &function{provider: p, deployment: d, command: command, secrets: secrets}
	f.ready.Store(&[]*replica{})
	if old != nil {
		f.log, f.calls, f.created = old.log, old.calls, old.created
		return f, nil
	}
	log, err := process.OpenLog(filepath.Join(p.cfg.Dir, "logs", d.Service+".log"))
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", d.Service, err)
	}
	f.log, f.calls, f.created = log, new(atomic.Int64), time.Now()
	return f, nil
}

func (f *function) foreign() bool { return len(f.command) > 1 }

func (f *function) desired() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.replicas)
}

func (f *function) available() int { return len(*f.ready.Load()) }

// pick gives the process whose turn it is, nil where none listens.
func (f *function) pick() *replica {
	ready := *f.ready.Load()
	switch len(ready) {
	case 0:
		return nil
	case 1:
		return ready[0]
	}
	return ready[f.next.Add(1)%uint64(len(ready))]
}

// refresh works out anew which processes listen.
func (f *function) refresh() {
	f.mu.Lock()
	ready := make([]*replica, 0, len(f.replicas))
	for _, r := range f.replicas {
		if r.listening() {
			ready = append(ready, r)
		}
	}
	f.ready.Store(&ready)
	f.mu.Unlock()
	f.provider.cfg.Changed()
}

// scale starts or stops processes until there are n. Where a new one does not
// get to listen, none of the new ones stay.
func (f *function) scale(ctx context.Context, n int) error {
	f.mu.Lock()
	var added, gone []*replica
	for len(f.replicas) < n {
		r := f.newReplica()
		f.replicas = append(f.replicas, r)
		added = append(added, r)
	}
	if len(f.replicas) > n {
		gone = append(gone, f.replicas[n:]...)
		f.replicas = f.replicas[:n:n]
	}
	f.mu.Unlock()
	f.refresh()
	err := stopAll(gone)

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, r := range added {
		if first := r.awaitFirst(ctx); first != nil && err == nil {
			err = fmt.Errorf("function %s: %w", f.deployment.Service, first)
		}
	}
	if err != nil && len(added) > 0 {
		f.mu.Lock()
		f.replicas = f.replicas[:len(f.replicas)-len(added)]
		f.mu.Unlock()
		f.refresh()
		err = errors.Join(err, stopAll(added))
	}
	return err
}

func (f *function) stop() error {
	f.mu.Lock()
	gone := f.replicas
	f.replicas = nil
	f.mu.Unlock()
	f.refresh()
	return stopAll(gone)
}

func stopAll(replicas []*replica) error {
	var g errgroup.Group
	for _, r := range replicas {
		g.Go(r.stop)
	}
	return g.Wait()
}

func (f *function) instances() []Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Instance
	for _, r := range f.replicas {
		i := r.instance()
		i.Function, i.Log = f.deployment.Service, f.log.Path()
		all = append(all, i)
	}
	return all
}

func (f *function) env(port int) []string {
	cfg := f.provider.cfg
	env := append([]string(nil), cfg.Env...)
	env = append(env, goLimits(f.deployment.Limits)...)
	for k, v := range f.deployment.EnvVars {
		env = append(env, k+"="+v)
	}
	env = append(env, cfg.Force...)
	p := strconv.Itoa(port)
	return append(env, "port="+p, "PORT="+p, "SECRETS_DIR="+f.secrets)
}

// goLimits tells Go's runtime what the limits of the deployment say: without a
// container nothing else would.
func goLimits(limits *types.FunctionResources) []string {
	env := []string{fmt.Sprintf("GOMAXPROCS=%d", min(runtime.NumCPU(), 4))}
	if limits == nil {
		return env
	}
	if n := quantity(limits.Memory); n > 0 {
		// A tenth is left for what is not Go's heap.
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%d", n/10*9))
	}
	return env
}

// quantity reads Kubernetes' sizes: 128Mi, 1Gi, 500M. It is 0 where it can't.
func quantity(s string) int64 {
	units := []struct {
		suffix string
		factor int64
	}{{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"k", 1e3}, {"m", 1e6}, {"M", 1e6}, {"g", 1e9}, {"G", 1e9}, {"", 1}}
	for _, u := range units {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil || n < 0 || n > 1<<53/u.factor {
				return 0
			}
			return n * u.factor
		}
	}
	return 0
}

// replica keeps one process of a function running until it is stopped.
type replica struct {
	f         *function
	transport *http.Transport
	cancel    context.CancelFunc
	done      chan struct{}
	stopped   error         // from the end of the process; read after done
	first     chan struct{} // closed when the first process listens or failed to

	mu       sync.Mutex
	firstErr error
	proc     *process.Process
	port     int
	up       bool
	restarts int
	ending   string
}

func (f *function) newReplica() *replica {
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{f: f, cancel: cancel, done: make(chan struct{}), first: make(chan struct{}), transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		// All connections go to one process, and its callers are few and steady.
		MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second,
		WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		DisableCompression: true,
	}}
	go r.keep(ctx)
	return r
}

func (r *replica) keep(ctx context.Context) {
	defer close(r.done)
	name := r.f.deployment.Service
	wait := backoffMin
	for {
		begun := time.Now()
		err := r.live(ctx)
		if ctx.Err() != nil {
			r.stopped = err
			return
		}
		if time.Since(begun) > healthyLife {
			wait = backoffMin
		}
		r.mu.Lock()
		r.restarts++
		r.ending = err.Error()
		r.mu.Unlock()
		r.settleFirst(fmt.Errorf("%w; the end of its log:\n%s", err, logEnd(r.f.log)))
		r.f.refresh()
		slog.Error("a function's process ended and is started again", "function", name, "ending", err, "in", wait, "log", "\n"+logEnd(r.f.log))
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
func (r *replica) live(ctx context.Context) error {
	port, err := servers.FreePort()
	if err != nil {
		return err
	}
	f := r.f
	proc, err := process.Start(process.Spec{
		Name: f.deployment.Service, Path: f.command[0], Args: f.command[1:], Env: f.env(port), Dir: f.provider.cfg.WorkDir, Log: f.log,
		StopTimeout: 20 * time.Second,
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.proc, r.port = proc, port
	r.mu.Unlock()
	f.provider.cfg.Changed()
	defer func() {
		r.mu.Lock()
		r.up = false
		r.mu.Unlock()
		f.refresh()
		r.transport.CloseIdleConnections()
	}()
	if err := awaitPort(ctx, port, proc); err != nil {
		if ctx.Err() == nil && proc.Running() {
			err = errors.Join(fmt.Errorf("it does not listen on the port in the variable port after %s", startLimit), proc.Kill())
		}
	} else {
		r.mu.Lock()
		r.up = true
		r.mu.Unlock()
		f.refresh()
		r.settleFirst(nil)
	}
	select {
	case <-proc.Done():
		if err == nil {
			err = errors.New(proc.Ending())
		}
		return err
	case <-ctx.Done():
		// No new calls from here on; the process finishes those it has.
		r.mu.Lock()
		r.up = false
		r.mu.Unlock()
		f.refresh()
		return proc.Stop()
	}
}

func awaitPort(ctx context.Context, port int, proc *process.Process) error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-proc.Done():
			return errors.New(proc.Ending())
		case <-limit.C:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func logEnd(log *process.Log) string {
	var b strings.Builder
	for _, line := range log.Tail(15) {
		b.WriteString("    " + line.Text + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

func (r *replica) settleFirst(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.first:
	default:
		r.firstErr = err
		close(r.first)
	}
}

func (r *replica) awaitFirst(ctx context.Context) error {
	select {
	case <-r.first:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.firstErr
	case <-ctx.Done():
		return fmt.Errorf("wait until it listens: %w", ctx.Err())
	}
}

func (r *replica) stop() error {
	r.cancel()
	<-r.done
	return r.stopped
}

func (r *replica) listening() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up
}

func (r *replica) instance() Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := Instance{Port: r.port, Ready: r.up, Restarts: r.restarts, Ending: r.ending}
	if r.proc != nil && r.proc.Running() {
		i.PID, i.Started = r.proc.PID(), r.proc.Started()
	}
	return i
}

func (r *replica) rss() int64 {
	if pid := r.instance().PID; pid != 0 {
		return process.RSS(pid)
	}
	return 0
}

func (r *replica) host() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port))
}

// hostname is the instance that faas-cli's logs name.
func (f *function) instanceName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return f.deployment.Service + "@" + name
}
