// Bench measures Ticktape on this machine, with a Kafka and a Cassandra of its
// own, and checks that every result is exact: a fast wrong answer fails.
//
//	go run ./bench all        everything; it says how long it takes
//	go run ./bench all -ticks 100000 -duration 6s -runs 1 -clients 200     a rehearsal of that
//	go run ./bench quick      the main figures, under two minutes once all is built
//	go run ./bench capacity -ticks 5000000 -encoding json -symbols 10000 -history=false
//	go run ./bench paced -rate 20000 -duration 60s
//	go run ./bench ingest     ticks into Kafka: connectors/replay, and function fetch over yahootest
//	go run ./bench query      the query functions under load from wrk, while ticks flow
//	go run ./bench clients -clients 10000     WebSocket clients on one dashboard
//	go run ./bench profile -encoding json     profiles of every process while it works through a backlog
//	go run ./bench paced -profile             and while ticks flow
//
// Progress goes to standard error, the tables, which are Markdown, to standard
// output and to build/bench.md. A measurement that fails is told and the others
// go on; the exit code is then 1. A target that is missed is told and is no failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ticktape/internal/tick"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal has its usual effect: we die at once, and all children with us.
	context.AfterFunc(ctx, stop)
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// step is one measurement.
type step struct {
	what string
	// takes is about how long it takes on two cores.
	takes time.Duration
	do    func(ctx context.Context, r *rig, rs *results) (string, error)
}

const commands = "all, quick, capacity, paced, ingest, query, clients or profile"

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to measure: " + commands)
	}
	flags := flag.NewFlagSet("bench "+args[0], flag.ContinueOnError)
	ticks := flags.Int64("ticks", standardTicks, "ticks of a backlog")
	symbols := flags.Int("symbols", 500, "symbols of the market")
	partitions := flags.Int("partitions", 4, "partitions of the topic")
	encoding := flags.String("encoding", "protobuf", "protobuf or json")
	history := flags.Bool("history", true, "store every tick, too")
	runs := flags.Int("runs", 3, "runs of a backlog, of which the median is told")
	warm := flags.Int("warm", map[bool]int{false: 1, true: 4}[args[0] == "all"], "runs before, for the servers' code to be compiled in")
	rate := flags.Float64("rate", 20_000, "ticks a second of a paced stream")
	duration := flags.Duration("duration", time.Minute, "how long a paced stream goes on, after 10 s that warm up")
	clients := flags.Int("clients", 10_000, "WebSocket clients of the dashboard")
	profile := flags.Bool("profile", args[0] == "profile", "leave profiles of backlogs and streams in build/profiles")
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	wire, err := tick.ParseEncoding(*encoding)
	if err != nil {
		return err
	}
	if flags.NArg() > 0 || *ticks < 1 || *symbols < 1 || *partitions < 1 || *runs < 1 || *warm < 0 || !(*rate > 0) || *duration < time.Second || *clients < 1 {
		return errors.New("numbers must be above 0, a duration 1s or more, and there are no arguments beside flags")
	}
	backlog := capacity{history: *history, encoding: wire, partitions: *partitions, symbols: *symbols, ticks: *ticks}
	stream := paced{rate: *rate, duration: *duration, encoding: wire, partitions: *partitions, symbols: *symbols}

	var steps []step
	switch args[0] {
	case "capacity":
		steps = capacitySteps(*runs, backlog)
	case "paced":
		steps = []step{stream.step()}
	case "ingest":
		steps = ingestSteps(*ticks)
	case "query":
		steps = []step{querySteps(*duration / 6)}
	case "clients":
		steps = clientSteps(*clients, *duration/2)
	case "profile":
		steps = capacitySteps(1, backlog)
	case "quick":
		steps = quickSteps()
		backlog.ticks = quickTicks
	case "all":
		steps = allSteps(*runs, *ticks, *duration, *clients)
	default:
		return fmt.Errorf("%q can't be measured: say %s", args[0], commands)
	}
	for range *warm {
		steps = append([]step{backlog.warmUp()}, steps...)
	}
	return measure(ctx, "go run ./bench "+strings.Join(args, " "), steps, *warm, *profile)
}

// measure goes through the steps, of which the first so many warm up, and prints what came of them.
func measure(ctx context.Context, name string, steps []step, warm int, profile bool) (err error) {
	begun := time.Now()
	say := func(text string) {
		fmt.Fprintf(os.Stderr, "%s … %s\n", clock(time.Since(begun)), text)
	}
	takes := setUp
	for _, s := range steps {
		takes += s.takes
	}
	say(fmt.Sprintf("%d measurements, about %s; Ctrl-C ends it and prints what there is", len(steps), takes.Round(time.Minute/2)))
	head := machine(ctx, name)
	r, err := newRig(ctx, say)
	if err != nil {
		return err
	}
	defer r.close()
	if profile {
		stop, err := r.profileFrom(ctx, filepath.Join("build", "profiles"))
		if err != nil {
			return err
		}
		defer stop()
	}
	rs := &results{}
	for i, s := range steps {
		say(fmt.Sprintf("%d of %d: %s", i+1, len(steps), s.what))
		r.profiling = profile && i >= warm
		came, err := s.do(ctx, r, rs)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			rs.failures = append(rs.failures, told[string, error]{s.what, err})
			say("FAILED: " + oneLine(err))
			continue
		}
		say(came)
	}
	if err := tell(r, head, rs, time.Since(begun)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if n := len(rs.failures); n > 0 {
		return fmt.Errorf("%d of %d measurements failed", n, len(steps))
	}
	return nil
}

// tell prints the tables, and keeps them in a file.
func tell(r *rig, head string, rs *results, took time.Duration) error {
	var text strings.Builder
	rs.write(&text)
	if text.Len() == 0 {
		return nil
	}
	path := filepath.Join(r.cfg.Cache, "bench.md")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.MultiWriter(os.Stdout, f), "%s%s", head, text.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s … done; the tables are in %s, too\n", clock(took), path)
	return nil
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%2d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
