package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/process"
	"ticktape/deploy/local/provider"
	"ticktape/internal/service"
)

// runtime is one run. Parts are added to it as they start and are stopped in
// the opposite order.
type runtime struct {
	cfg     Config
	say     *Progress
	build   *builder
	watch   process.Watcher
	changed chan struct{} // one is waiting: state.json is to be written
	source  source        // chosen before anything is started
	// oomKills is how often the kernel had killed a process for want of memory when we last looked.
	oomKills atomic.Int64

	mu       sync.Mutex
	state    State
	parts    []*part
	provider *provider.Provider
	stops    []stop
}

type part struct {
	name, kind string
	keeper     *process.Keeper
	log        *process.Log
}

// stop ends a stage of the pipeline. Those of a stage end at once, the stages one after another.
type stop struct {
	what string
	do   func() error
}

// Run starts everything, says when it is ready, and returns when ctx is done
// and all that it started has ended. An error means that it could not start;
// then nothing is left running either.
func Run(ctx context.Context, cfg Config, say *Progress) error {
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("make the folder for data: %w", err)
	}
	unlock, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if old, ok, err := ReadState(cfg.Dir); err != nil {
		return err
	} else if ok {
		for _, name := range old.killLeftovers() {
			say.Say("an earlier run left %s behind: ended", name)
		}
	}
	if err := cfg.choosePorts(); err != nil {
		return err
	}
	if err := errors.Join(cfg.checkPorts(), cfg.checkDisk()); err != nil {
		return err
	}
	warning, err := cfg.checkMemory()
	if err != nil {
		return err
	}
	if warning != "" {
		say.Say("%s", warning)
	}

	// What it starts shares its settings: PPROF_ADDR is the runtime's, the rest take free ports.
	profiles, stopProfiles, err := service.StartPprof()
	if err != nil {
		return err
	}
	defer stopProfiles()
	r := &runtime{cfg: cfg, say: say, changed: make(chan struct{}, 1)}
	r.oomKills.Store(stat("/proc/vmstat", "oom_kill"))
	r.watch = process.Watcher{Changed: r.noteChange, Died: r.noteDeath}
	r.state = State{
		PID: os.Getpid(), Birth: process.Birth(os.Getpid()), Started: time.Now(),
		Functions: cfg.gatewayURL(), Dashboard: "http://" + local(cfg.DashboardPort),
		Kafka: cfg.brokers(), Cassandra: cfg.hosts(), Secrets: cfg.secretsDir(), Profiles: profiles,
	}
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watchers sync.WaitGroup
	watchers.Go(func() { r.keepState(watching) })
	watchers.Go(func() { r.watchDisk(watching) })

	err = r.start(ctx)
	if err == nil {
		<-ctx.Done()
	} else if ctx.Err() != nil {
		err = nil // told to stop while it started
	}
	say.Say("stopping; the data stay (Ctrl-C once more ends it at once)")
	err = errors.Join(err, r.stopAll())
	stopWatching()
	watchers.Wait()
	return errors.Join(err, forget(cfg.Dir))
}

// lockDir holds the folder for this run; the kernel lets go of it when we end.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("hold the folder for data: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("already running on %s: `make status` shows it, `make stop` stops it", dir)
		}
		return nil, fmt.Errorf("hold the folder for data: %w", err)
	}
	return func() { f.Close() }, nil
}

func (r *runtime) start(ctx context.Context) error {
	if r.cfg.alone {
		return r.startAlone(ctx)
	}
	services, err := r.cfg.stackFile()
	if err != nil {
		return err
	}
	r.build = &builder{cfg: &r.cfg, functions: services.Functions}
	// Stopped last, so it is noted first: functions must outlive the connectors
	// that call them, and the servers must outlive the functions.
	r.onStop("Kafka and Cassandra", func() error { return r.stopParts("server") })
	r.onStop("the simulated market", func() error { return r.stopParts("market") })

	r.source = r.chooseSource(ctx)
	r.update(func(s *State) { s.Simulated = r.source.simulated })
	var g errgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stage := func(f func(context.Context) error) {
		g.Go(func() error {
			err := f(ctx)
			if err != nil {
				cancel() // the others need not go on
			}
			return err
		})
	}
	built := make(chan struct{})
	stage(r.startKafka)
	stage(r.startCassandra)
	stage(func(ctx context.Context) error {
		step := r.say.Begin("building the programs")
		defer close(built)
		if err := r.build.all(ctx, step.Detail); err != nil {
			step.End("")
			return err
		}
		step.End("the programs are built")
		return nil
	})
	stage(func(ctx context.Context) error { return r.startMarket(ctx, built) })
	stage(func(context.Context) error { return r.makeSecrets() })
	if err := g.Wait(); err != nil { // the first, so the cause and not what was cancelled because of it
		return err
	}

	if err := r.startFunctions(ctx); err != nil {
		return err
	}
	r.onStop("the dashboard", func() error { return r.stopParts("dashboard") })
	r.onStop("the Kafka connector, which finishes its calls and commits", func() error { return r.stopParts("kafka-connector") })
	if r.streams() {
		r.onStop("the streamer, which hands its symbols back", func() error { return r.stopParts("yahoo-connector") })
	}
	r.onStop("the cron connector", func() error { return r.stopParts("cron-connector") })
	if err := r.startRest(ctx); err != nil {
		return err
	}
	return r.awaitTick(ctx)
}

func (r *runtime) onStop(what string, do func() error) { r.stops = append(r.stops, stop{what, do}) }

// stopAll ends the stages, the last first.
func (r *runtime) stopAll() error {
	var all []error
	for _, s := range slices.Backward(r.stops) {
		step := r.say.Begin("stopping " + s.what)
		err := s.do()
		step.End("")
		switch {
		case errors.Is(err, process.ErrKilled): // it is gone, which is what was wanted
			r.say.Say("%v", err)
		case err != nil:
			all = append(all, fmt.Errorf("stop %s: %w", s.what, err))
		}
	}
	return errors.Join(all...)
}

// keep starts a part and waits until it is ready.
func (r *runtime) keep(ctx context.Context, kind, name string, log *process.Log, plan func(context.Context) (process.Plan, error)) error {
	p := &part{name: name, kind: kind, log: log, keeper: process.Keep(name, plan, r.watch)}
	r.mu.Lock()
	r.parts = append(r.parts, p)
	r.mu.Unlock()
	r.noteChange()
	return p.keeper.Await(ctx)
}

func (r *runtime) stopParts(kind string) error {
	r.mu.Lock()
	var g errgroup.Group
	for _, p := range r.parts {
		if p.kind == kind {
			g.Go(p.keeper.Stop)
		}
	}
	r.mu.Unlock()
	return g.Wait()
}

func (r *runtime) openLog(name string) (*process.Log, error) {
	return process.OpenLog(filepath.Join(r.cfg.Dir, "logs", name+".log"))
}

const tickPatience = 90 * time.Second

// awaitTick waits until a tick has come all the way to the dashboard.
func (r *runtime) awaitTick(ctx context.Context) error {
	step := r.say.Begin("waiting for the first tick to reach the dashboard")
	defer step.End("")
	patience := time.NewTimer(tickPatience)
	defer patience.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if r.tickArrived(ctx) {
			break
		}
		select {
		case <-tick.C:
		case <-patience.C:
			r.say.Say("no tick has come within %s: `make status` shows which part is in trouble, the logs are in %s", tickPatience, filepath.Join(r.cfg.Dir, "logs"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	step.End("the first tick has reached the dashboard")
	r.update(func(s *State) { s.Ready = true })
	r.welcome()
	return nil
}

// tickArrived asks the dashboard. Where a real market is closed nothing new
// comes, and what came before the last stop is all there is to see.
func (r *runtime) tickArrived(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.state.Dashboard+"/api/status", nil)
	if err != nil {
		return false
	}
	if token := os.Getenv("DASHBOARD_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var status struct {
		LiveTicks int64 `json:"live_ticks"`
		Symbols   int   `json:"symbols"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&status); err != nil {
		return false
	}
	return status.LiveTicks > 0 || status.Symbols > 0 && !r.state.Simulated
}

func (r *runtime) welcome() {
	prices := "The prices are Yahoo's."
	if r.state.Simulated {
		prices = "The prices are SIMULATED: no real market moved."
	}
	lines := []string{
		"",
		"Ticktape is ready. " + prices,
		"",
		"  the market, live      " + r.state.Dashboard,
		"  ask it                curl '" + r.state.Functions + "/function/quotes?symbols=AAPL,MSFT'",
		"  the functions' API    " + r.state.Functions + "  (faas-cli list)",
		"  Kafka, Cassandra      " + r.cfg.brokers() + ", " + r.cfg.hosts(),
		"  logs                  " + filepath.Join(r.cfg.Dir, "logs") + ", functions' in " + filepath.Join(r.cfg.Dir, "functions", "logs"),
		"",
	}
	if r.cfg.BasicAuth {
		lines = append(lines, "  log in                cat "+filepath.Join(r.cfg.secretsDir(), "basic-auth-password")+" | faas-cli login --password-stdin", "")
	}
	lines = append(lines, "Ctrl-C, or make stop in another terminal, stops it. What it stored stays.", "")
	r.say.Text(strings.Join(lines, "\n"))
}

func (r *runtime) noteDeath(d process.Death) {
	text := fmt.Sprintf("%s died (%s) and is started again in %s", d.Name, d.Ending, d.Wait)
	if n := stat("/proc/vmstat", "oom_kill"); n > r.oomKills.Swap(n) {
		text = fmt.Sprintf("the kernel killed %s because memory ran out: %s. It is started again in %s", d.Name, lessMemory, d.Wait)
	}
	if d.Log != "" {
		text += "; the end of its log:\n" + d.Log
	}
	r.say.Say("%s", text)
}

func (r *runtime) noteChange() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *runtime) update(change func(*State)) {
	r.mu.Lock()
	change(&r.state)
	r.mu.Unlock()
	r.noteChange()
}

// keepState writes state.json whenever something has changed.
func (r *runtime) keepState(ctx context.Context) {
	for {
		s := r.snapshot()
		if err := s.write(r.cfg.Dir); err != nil {
			r.say.Say("%v", err)
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return
		}
	}
}

func (r *runtime) snapshot() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	s.Parts = nil
	for _, p := range r.parts {
		s.Parts = append(s.Parts, newPart(p.kind, p.name, p.log.Path(), p.keeper.Status()))
	}
	if r.provider != nil {
		for _, i := range r.provider.Instances() {
			s.Parts = append(s.Parts, newPart("function", i.Function, i.Log, i.Status))
		}
	}
	return s
}

func newPart(kind, name, log string, s process.Status) Part {
	p := Part{Kind: kind, Name: name, Log: log, State: s.State, PID: s.PID, Port: s.Port, Restarts: s.Restarts, Ending: s.Ending, Started: s.Started}
	if s.PID != 0 {
		p.Birth = process.Birth(s.PID)
	}
	return p
}

// watchDisk warns once each time that the disk gets nearly full.
func (r *runtime) watchDisk(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	low := false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		free := freeDisk(r.cfg.Dir)
		if now := free >= 0 && free < diskLow; now != low {
			low = now
			if low {
				r.say.Say("the disk is nearly full: %d MiB are left at %s. Make room, or Kafka and Cassandra will stop", free/mib, r.cfg.Dir)
			}
		}
	}
}
