// Package provider is an OpenFaaS provider for one machine: it runs functions
// as local processes behind the API that faas-cli speaks.
//
// It takes types, logs and auth from github.com/openfaas/faas-provider but
// neither its server, which listens on every interface and ends the process on
// an error, nor its proxy, which answers 500 where a function can't be reached
// and so hides from a caller that the call may have been carried out.
//
// What it is not: there are no containers, so a function sees this machine's
// files, and limits are hints to Go's runtime.
package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/types"
	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/process"
)

// Namespace is the only one there is.
const Namespace = "openfaas-fn"

// Config says how functions are run.
type Config struct {
	// Dir keeps secrets, logs and what was deployed through the API.
	Dir string
	// WorkDir is where functions run.
	WorkDir string
	// Binary gives the program of a function of this checkout by its image, and
	// false for an image it does not know. It may build the program first.
	Binary func(ctx context.Context, image string) (path string, known bool, err error)
	// Env is the environment of every function; what a deployment sets goes over it.
	Env []string
	// Force goes over both: addresses on this machine, which a stack file made
	// for a cluster does not know.
	Force []string
	// CallTimeout is the longest a call may take; 60 s where 0. It must be above
	// the functions' own limits, or a caller gets 504 in place of their answer.
	CallTimeout time.Duration
	// Credentials are asked of those who deploy and list, not of those who call. Nil asks nothing.
	Credentials *auth.BasicAuthCredentials
	// Version is told to faas-cli.
	Version string
	// Watcher hears of changes of functions and of processes that died; its functions may be nil.
	process.Watcher
}

// Provider holds the deployed functions. It is safe for concurrent use.
type Provider struct {
	cfg Config

	mu        sync.RWMutex
	functions map[string]*function
	closed    bool
	// deploying lets one deployment, removal or scaling go on at a time for each function.
	deploying map[string]*sync.Mutex
}

// New makes a provider without functions. Restore brings back what was deployed through the API.
func New(cfg Config) (*Provider, error) {
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = time.Minute
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Died == nil {
		cfg.Died = func(process.Death) {}
	}
	p := &Provider{cfg: cfg, functions: map[string]*function{}, deploying: map[string]*sync.Mutex{}}
	for _, dir := range []string{p.secretsDir(), p.mountsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of secrets: %w", err)
		}
	}
	return p, nil
}

func (p *Provider) secretsDir() string { return filepath.Join(p.cfg.Dir, "secrets") }
func (p *Provider) mountsDir() string  { return filepath.Join(p.cfg.Dir, "function-secrets") }
func (p *Provider) savedFile() string  { return filepath.Join(p.cfg.Dir, "functions.json") }

// Close stops every function: each drains the calls it has, all at once.
func (p *Provider) Close() error {
	p.mu.Lock()
	p.closed = true
	all := make([]*function, 0, len(p.functions))
	for _, f := range p.functions {
		all = append(all, f)
	}
	p.mu.Unlock()
	var g errgroup.Group
	for _, f := range all {
		g.Go(f.stop)
	}
	return g.Wait()
}

// clientError is an answer with a status below 500: the caller can put it right.
type clientError struct {
	status int
	text   string
}

func (e *clientError) Error() string { return e.text }

func clientErrorf(status int, format string, args ...any) error {
	return &clientError{status, fmt.Sprintf(format, args...)}
}

var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// plainName takes ".openfaas-fn" from the end of a function's name.
func plainName(name string) string { return strings.TrimSuffix(name, "."+Namespace) }

func checkNamespace(ns string) error {
	if ns != "" && ns != Namespace {
		return clientErrorf(http.StatusBadRequest, "namespace %s does not exist: on one machine there is only %s", ns, Namespace)
	}
	return nil
}

// Deploy makes the function what d says: it starts it, or replaces what runs
// under its name once the new processes listen, so that calls go on meanwhile.
// It returns when the function listens, or with an error that tells how its
// process ended. Deploying the same thing twice restarts it.
func (p *Provider) Deploy(ctx context.Context, d types.FunctionDeployment) error {
	d.Service = plainName(d.Service)
	if !validName.MatchString(d.Service) {
		return clientErrorf(http.StatusBadRequest, "function name %q can't be used: small letters, digits and dashes only", d.Service)
	}
	if err := checkNamespace(d.Namespace); err != nil {
		return err
	}
	defer p.exclusive(d.Service)()

	command, err := p.command(ctx, d)
	if err != nil {
		return err
	}
	mount, err := p.mountSecrets(d.Service, d.Secrets)
	if err != nil {
		return err
	}
	old := p.function(d.Service)
	replicas := 1
	if old != nil {
		replicas = old.desired()
	}
	f, err := newFunction(p, d, command, mount, old)
	if err != nil {
		return err
	}
	if err := f.scale(ctx, replicas); err != nil {
		return errors.Join(err, f.stop())
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errors.Join(clientErrorf(http.StatusConflict, "the functions are being stopped"), f.stop())
	}
	p.functions[d.Service] = f
	p.mu.Unlock()
	p.cfg.Changed()
	if err := p.save(); err != nil {
		return err
	}
	if old != nil {
		if err := old.stop(); err != nil {
			slog.Warn("the replaced function did not stop in time", "function", d.Service, "error", err)
		}
	}
	return nil
}

// Remove stops the function after the calls it has.
func (p *Provider) Remove(name string) error {
	name = plainName(name)
	defer p.exclusive(name)()
	p.mu.Lock()
	f := p.functions[name]
	delete(p.functions, name)
	p.mu.Unlock()
	if f == nil {
		return notFound(name)
	}
	p.cfg.Changed()
	return errors.Join(f.stop(), f.log.Close(), p.save())
}

// Scale sets the number of the function's processes, at least 1.
func (p *Provider) Scale(ctx context.Context, name string, replicas int) error {
	name = plainName(name)
	defer p.exclusive(name)()
	f := p.function(name)
	if f == nil {
		return notFound(name)
	}
	const most = 64
	if replicas < 1 || replicas > most {
		return clientErrorf(http.StatusBadRequest, "%d replicas: a function here has 1 to %d processes", replicas, most)
	}
	return f.scale(ctx, replicas)
}

func notFound(name string) error {
	return clientErrorf(http.StatusNotFound, "function %s is not deployed", name)
}

func (p *Provider) function(name string) *function {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.functions[name]
}

func (p *Provider) exclusive(name string) (release func()) {
	p.mu.Lock()
	m := p.deploying[name]
	if m == nil {
		m = new(sync.Mutex)
		p.deploying[name] = m
	}
	p.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// command is what to run for d: a program of this checkout, or the command line
// in fprocess.
func (p *Provider) command(ctx context.Context, d types.FunctionDeployment) ([]string, error) {
	path, known, err := p.cfg.Binary(ctx, d.Image)
	if err != nil {
		return nil, err
	}
	if known {
		return []string{path}, nil
	}
	if d.EnvProcess != "" {
		return []string{"/bin/sh", "-c", d.EnvProcess}, nil
	}
	return nil, clientErrorf(http.StatusBadRequest, "image %s is not a function of this checkout, and there are no containers on one machine: "+
		"give the command line that starts it (fprocess in the stack file, --fprocess of faas-cli); it must listen on the port in the variable port", d.Image)
}

// Restore deploys again what was deployed through the API and is not of this
// checkout. What fails is told and does not hold up the rest.
func (p *Provider) Restore(ctx context.Context) error {
	text, err := os.ReadFile(p.savedFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was deployed: %w", err)
	}
	var saved []types.FunctionDeployment
	if err := json.Unmarshal(text, &saved); err != nil {
		return fmt.Errorf("read what was deployed from %s: %w; remove the file to go without", p.savedFile(), err)
	}
	for _, d := range saved {
		if p.function(d.Service) != nil {
			continue
		}
		if err := p.Deploy(ctx, d); err != nil {
			slog.Error("a function deployed earlier does not start", "function", d.Service, "error", err)
		}
	}
	return nil
}

func (p *Provider) save() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	saved := []types.FunctionDeployment{}
	for _, f := range p.functions {
		if f.foreign() {
			saved = append(saved, f.deployment)
		}
	}
	slices.SortFunc(saved, func(a, b types.FunctionDeployment) int { return strings.Compare(a.Service, b.Service) })
	text, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return fmt.Errorf("save what is deployed: %w", err)
	}
	return writeFile(p.savedFile(), text, 0o600)
}

// writeFile puts the file in place whole or not at all.
func writeFile(path string, text []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Instance is one process of a function.
type Instance struct {
	Function string
	Log      string // path of the function's log
	process.Status
}

// Instances lists the processes of all functions, by name.
func (p *Provider) Instances() []Instance {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var all []Instance
	for _, f := range p.functions {
		all = append(all, f.instances()...)
	}
	slices.SortStableFunc(all, func(a, b Instance) int { return strings.Compare(a.Function, b.Function) })
	return all
}
