package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/process"
	"ticktape/deploy/local/run"
	"ticktape/deploy/local/servers"
)

// raced are the packages in which many goroutines meet; the rest is tested
// without the race detector, which takes five times as long and makes programs
// so large and slow that their bounds on memory and time say nothing.
var raced = []string{
	"./connectors/kafka/delivery", "./connectors/kafka/subscription", "./connectors/cron/schedule",
	"./dashboard/api", "./dashboard/board", "./dashboard/hub", "./dashboard/push", "./dashboard/tail",
	"./deploy/local/process", "./deploy/local/provider",
	"./internal/bus", "./internal/service", "./internal/trigger", "./internal/yahoo",
}

// longest are the packages that begin first, so that none of them is left to run
// alone at the end.
var longest = []string{"./internal/live", "./dashboard", "./deploy/local/servers", "./connectors/yahoo", "./functions/process"}

// fuzzed are the decoders that meet other people's bytes first.
var fuzzed = [][2]string{
	{"./internal/tick", "FuzzDecode"},
	{"./internal/tick", "FuzzQuickJSON"},
	{"./internal/tick", "FuzzParsePrice"},
	{"./internal/yahoo", "FuzzDecodeQuotes"},
	{"./internal/yahoo", "FuzzDecodeChart"},
	{"./internal/yahoo", "FuzzDecodeConsent"},
	{"./internal/yahoo/stream", "FuzzFrame"},
	{"./internal/trigger", "FuzzDecodeProtobuf"},
	{"./internal/bus", "FuzzFetchResponse"},
	{"./internal/query", "FuzzForm"},
	{"./internal/lambda", "FuzzInvoke"},
	{"./dashboard/hub", "FuzzParseRequest"},
}

// runTests is `make test`: one Kafka and one Cassandra for all tests, on free
// ports and with data of their own, then the Go tests, the web page's and the
// end-to-end test. All of them run even where one fails.
func runTests(ctx context.Context, cfg run.Config, say *run.Progress) (err error) {
	dir := filepath.Join(cfg.Root, "build", "test")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the data of an earlier test: %w", err)
	}
	var g errgroup.Group
	var env []string
	stopServers := func() error { return nil }
	g.Go(func() (err error) {
		stopServers, env, err = testServers(ctx, dir, cfg, say)
		return err
	})
	g.Go(func() error {
		step := say.Begin("building")
		defer step.End("")
		return run.Build(ctx, cfg, step.Detail)
	})
	err = g.Wait()
	defer func() { err = errors.Join(err, stopServers()) }()
	if err != nil {
		return err
	}
	packages, err := goPackages(ctx, cfg.Root)
	if err != nil {
		return err
	}
	show := &shower{say: say, out: &stamped{to: os.Stdout, last: time.Now()}}
	var failed []string
	stage := func(name string, test func() error) {
		if ctx.Err() != nil {
			return
		}
		say.Say("%s", name)
		if err := test(); err != nil {
			failed = append(failed, name)
		}
	}
	race, plain := split(packages.all, raced)
	if !raceWorks(ctx) {
		say.Say("without the race detector, which needs a C compiler (apt-get install gcc libc6-dev)")
		race, plain = nil, packages.all
	}
	if len(race) > 0 {
		stage("tests under the race detector", func() error {
			return show.goTest(ctx, env, cfg.Root, append([]string{"-race", "-timeout=20m"}, race...)...)
		})
	}
	first, rest := split(plain, longest)
	plain = append(first, rest...)
	stage("tests", func() error {
		// One more at a time than there are cores: the longest ones wait for servers that they killed.
		return show.goTest(ctx, env, cfg.Root, append([]string{"-timeout=20m", fmt.Sprint("-p=", runtime.NumCPU()+1)}, plain...)...)
	})
	stage("fuzz, some inputs each (make fuzz takes all, and longer)", func() error {
		for _, target := range fuzzed {
			// By number: go test sometimes takes the end of a time limit for a failure.
			if err := show.run(ctx, show.out, env, cfg.Root, "go", "test", target[0], "-run=^$", "-fuzz=^"+target[1]+"$", "-fuzztime=500x"); err != nil {
				return err
			}
		}
		return nil
	})
	if web := filepath.Join(cfg.Root, "dashboard", "web"); exists(filepath.Join(web, "package.json")) {
		stage("tests of the web page", func() error { return show.run(ctx, show.out, env, web, "npm", "test", "--silent") })
	}
	if len(packages.e2e) > 0 {
		// It starts servers of its own, which it kills and freezes.
		stage("end to end", func() error {
			return show.run(ctx, show.out, process.Environ("TICKTAPE_CACHE="+cfg.Cache), cfg.Root, "go", append([]string{"test", "-v", "-count=1", "-timeout=20m"}, packages.e2e...)...)
		})
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
// What has started is stopped by stop, even where there is an error.
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
		return stop, nil, err
	}
	return stop, process.Environ("KAFKA_BROKERS="+kafka.Addr(), "CASSANDRA_HOSTS="+cassandra.Addr(), "TICKTAPE_CACHE="+cfg.Cache), nil
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

// split parts the packages into those that are named and the rest.
func split(packages, named []string) (in, out []string) {
	for _, p := range packages {
		if slices.Contains(named, p) {
			in = append(in, p)
		} else {
			out = append(out, p)
		}
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

// shower runs tools whose lines people see; where one says nothing for a while,
// it says that it goes on, and with what.
type shower struct {
	say  *run.Progress
	out  *stamped
	what func() string // what is under way; nil where that is not known
}

// run runs a tool to its end. What it writes goes to stdout, its complaints to the terminal.
func (s *shower) run(ctx context.Context, stdout io.Writer, env []string, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = env, dir
	cmd.Stdout, cmd.Stderr = stdout, s.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	s.out.touch()
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
			case <-done:
				return
			}
			if s.out.silent() < 10*time.Second {
				continue
			}
			what := "still at it"
			if s.what != nil {
				what = s.what()
			}
			s.say.Say("… %s", what)
			s.out.touch()
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
