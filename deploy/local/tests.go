package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/run"
	"ticktape/deploy/local/servers"
)

// raced are the packages in which many goroutines meet; the rest is tested
// without the race detector, which takes five times as long.
var raced = []string{
	"./connectors/...", "./dashboard/...", "./deploy/local/process/...", "./deploy/local/provider/...",
	"./internal/bus/...", "./internal/service/...", "./internal/trigger/...",
}

// runTests is `make test`: one Kafka and one Cassandra for all tests, on free
// ports and with data of their own, then the Go tests, the web page's and the
// end-to-end test. All of them run even where one fails.
func runTests(ctx context.Context, cfg run.Config, say *run.Progress) (err error) {
	dir := filepath.Join(cfg.Root, "build", "test")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the data of an earlier test: %w", err)
	}
	stopServers, env, err := testServers(ctx, dir, cfg, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopServers()) }()

	step := say.Begin("building")
	err = run.Build(ctx, cfg, step.Detail)
	step.End("")
	if err != nil {
		return err
	}
	packages, err := goPackages(ctx, cfg.Root)
	if err != nil {
		return err
	}
	var failed []string
	stage := func(name string, env []string, dir, program string, args ...string) {
		if ctx.Err() != nil {
			return
		}
		say.Say("%s", name)
		if err := shown(ctx, say, env, dir, program, args...); err != nil {
			failed = append(failed, fmt.Sprintf("%s (%v)", name, err))
		}
	}
	race, plain := packages.split(raced)
	if raceWorks(ctx) {
		stage("tests under the race detector", env, cfg.Root, "go", append([]string{"test", "-race", "-timeout=8m"}, race...)...)
	} else {
		say.Say("without the race detector, which needs a C compiler (apt-get install gcc libc6-dev)")
		plain = append(plain, race...)
	}
	stage("tests", env, cfg.Root, "go", append([]string{"test", "-timeout=8m"}, plain...)...)
	if web := filepath.Join(cfg.Root, "dashboard", "web"); exists(filepath.Join(web, "package.json")) {
		stage("tests of the web page", env, web, "npm", "test", "--silent")
	}
	// The end-to-end test starts servers of its own, which it kills and freezes.
	if exists(filepath.Join(cfg.Root, "e2e")) && len(packages.e2e) > 0 {
		stage("end to end", os.Environ(), cfg.Root, "go", append([]string{"test", "-v", "-count=1", "-timeout=8m"}, packages.e2e...)...)
	}
	if ctx.Err() != nil {
		return errors.New("the tests were interrupted")
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, "; "))
	}
	say.Say("all tests passed")
	return nil
}

// testServers starts both servers and gives the environment that names them.
func testServers(ctx context.Context, dir string, cfg run.Config, say *run.Progress) (stop func() error, env []string, err error) {
	var kafka, cassandra *servers.Server
	var g errgroup.Group
	for name, start := range map[string]func(context.Context, servers.Options) error{
		"Kafka": func(ctx context.Context, o servers.Options) (err error) {
			o.HeapMB = int(cfg.KafkaHeap)
			kafka, err = servers.StartKafka(ctx, o)
			return err
		},
		"Cassandra": func(ctx context.Context, o servers.Options) (err error) {
			o.HeapMB = int(cfg.CassandraHeap)
			cassandra, err = servers.StartCassandra(ctx, o)
			return err
		},
	} {
		g.Go(func() error {
			step := say.Begin("starting " + name)
			defer step.End("")
			port, err := servers.FreePort()
			if err != nil {
				return err
			}
			return start(ctx, servers.Options{Dir: filepath.Join(dir, strings.ToLower(name)), Port: port, Cache: cfg.Cache, Say: step.Detail})
		})
	}
	err = g.Wait()
	stop = func() error {
		var g errgroup.Group
		if kafka != nil {
			g.Go(kafka.Kill) // the data are thrown away
		}
		if cassandra != nil {
			g.Go(cassandra.Kill)
		}
		return g.Wait()
	}
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return stop, append(os.Environ(), "KAFKA_BROKERS="+kafka.Addr(), "CASSANDRA_HOSTS="+cassandra.Addr()), nil
}

type packageList struct{ all, e2e []string }

func goPackages(ctx context.Context, root string) (packageList, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "./...")
	cmd.Dir = root
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return packageList{}, fmt.Errorf("list the packages: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	var l packageList
	for _, p := range strings.Fields(string(out)) {
		p = "." + strings.TrimPrefix(p, "ticktape")
		if p == "./e2e" || strings.HasPrefix(p, "./e2e/") {
			l.e2e = append(l.e2e, p)
		} else {
			l.all = append(l.all, p)
		}
	}
	return l, nil
}

// split parts the packages into those that the patterns name and the rest.
func (l packageList) split(patterns []string) (in, out []string) {
next:
	for _, p := range l.all {
		for _, pattern := range patterns {
			base := strings.TrimSuffix(pattern, "/...")
			if p == base || strings.HasPrefix(p, base+"/") {
				in = append(in, p)
				continue next
			}
		}
		out = append(out, p)
	}
	return in, out
}

func raceWorks(ctx context.Context) bool {
	out, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	if err != nil {
		return false
	}
	_, err = exec.LookPath(strings.TrimSpace(string(out)))
	return err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// shown runs a tool whose lines go straight to the terminal; where it says
// nothing for a while, we say that it goes on.
func shown(ctx context.Context, say *run.Progress, env []string, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = env, dir
	out := &stamped{to: os.Stdout, last: time.Now()}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		return err
	}
	// Whatever the tests left running goes with them.
	defer func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }()
	done := make(chan struct{})
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if out.silent() > 15*time.Second {
					say.Say("… still at it")
					out.touch()
				}
			case <-done:
				return
			}
		}
	})
	err := cmd.Wait()
	close(done)
	telling.Wait()
	return err
}

// stamped remembers when it was last written to.
type stamped struct {
	to io.Writer

	mu   sync.Mutex
	last time.Time
}

func (s *stamped) Write(b []byte) (int, error) {
	s.touch()
	return s.to.Write(b)
}

func (s *stamped) touch() {
	s.mu.Lock()
	s.last = time.Now()
	s.mu.Unlock()
}

func (s *stamped) silent() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.last)
}
