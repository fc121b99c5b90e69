package provider

import (
	"context"
	"errors"
	"fmt"
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
	startLimit = 30 * time.Second // from a process's start until it listens
	drainLimit = 60 * time.Second // from the last call sent to a process until it is told to stop
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

// pick gives the process whose turn it is, with a call begun on it, or nil
// where none listens.
func (f *function) pick() *replica {
	for {
		ready := *f.ready.Load()
		if len(ready) == 0 {
			return nil
		}
		r := ready[f.next.Add(1)%uint64(len(ready))]
		// One that is being stopped has just been taken out of the list.
		if r.begin() {
			return r
		}
	}
}

// refresh works out anew which processes listen.
func (f *function) refresh() {
	f.mu.Lock()
	ready := make([]*replica, 0, len(f.replicas))
	for _, r := range f.replicas {
		if !r.isLeaving() && r.keeper.Status().State == process.Ready {
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
		if first := r.keeper.Await(ctx); first != nil && err == nil {
			err = first
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
		all = append(all, Instance{Function: f.deployment.Service, Log: f.log.Path(), Status: r.keeper.Status()})
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
	return append(env, "port="+p, "PORT="+p, "OPENFAAS_NAME="+f.deployment.Service, "SECRETS_DIR="+f.secrets)
}

// GoMaxProcs is for children on a machine with many cores: a dozen processes
// that each think they have all of them to themselves cost memory for nothing.
func GoMaxProcs() string { return fmt.Sprintf("GOMAXPROCS=%d", min(runtime.NumCPU(), 4)) }

// goLimits tells Go's runtime what the limits of the deployment say: without a
// container nothing else would.
func goLimits(limits *types.FunctionResources) []string {
	env := []string{GoMaxProcs()}
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

// replica is one process of a function, kept running.
type replica struct {
	function  *function
	keeper    *process.Keeper
	transport *http.Transport

	mu      sync.Mutex
	calls   int
	leaving chan struct{} // not nil once it gets no more calls; closed when it has none
}

// begin counts a call that is about to be sent; it is false where the process
// gets no more of them.
func (r *replica) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaving != nil {
		return false
	}
	r.calls++
	return true
}

func (r *replica) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls--
	if r.leaving != nil && r.calls == 0 {
		close(r.leaving)
	}
}

func (r *replica) isLeaving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaving != nil
}

// leave lets the calls that were begun come to their end, in so far as they do in time.
func (r *replica) leave() {
	r.mu.Lock()
	idle := r.leaving
	if idle == nil {
		idle = make(chan struct{})
		r.leaving = idle
		if r.calls == 0 {
			close(idle)
		}
	}
	r.mu.Unlock()
	r.function.refresh()
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-idle:
	case <-limit.C:
	}
}

func (f *function) newReplica() *replica {
	r := &replica{function: f, transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		// All connections go to one process, and its callers are few and steady.
		MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second,
		WriteBufferSize: 64 << 10, ReadBufferSize: 64 << 10,
		DisableCompression: true,
	}}
	r.keeper = process.Keep("function "+f.deployment.Service, f.plan, process.Watcher{Changed: f.refresh, Died: func(d process.Death) {
		r.transport.CloseIdleConnections()
		f.provider.cfg.Died(d)
	}})
	return r
}

func (f *function) plan(context.Context) (process.Plan, error) {
	port, err := servers.FreePort()
	if err != nil {
		return process.Plan{}, err
	}
	return process.Plan{
		Spec: process.Spec{
			Name: "function " + f.deployment.Service, Path: f.command[0], Args: f.command[1:], Env: f.env(port), Dir: f.provider.cfg.WorkDir, Log: f.log,
			StopTimeout: 20 * time.Second,
		},
		Port:         port,
		ReadyTimeout: startLimit,
		Ready:        func(ctx context.Context) error { return awaitPort(ctx, port) },
	}, nil
}

func awaitPort(ctx context.Context, port int) error {
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
		case <-ctx.Done():
			return fmt.Errorf("it does not listen on the port in the variable port: %w", ctx.Err())
		}
	}
}

func (r *replica) stop() error {
	r.leave()
	err := r.keeper.Stop()
	r.transport.CloseIdleConnections()
	return err
}

func (r *replica) rss() int64 {
	if pid := r.keeper.Status().PID; pid != 0 {
		return process.RSS(pid)
	}
	return 0
}

func (r *replica) host() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.keeper.Status().Port))
}

// instanceName is the instance that faas-cli's logs name.
func (f *function) instanceName() string {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return f.deployment.Service + "@" + name
}
