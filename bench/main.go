// Bench measures Ticktape on this machine, with a Kafka and a Cassandra of its
// own, and checks that every result is exact: a fast wrong answer fails.
//
//	go run ./bench all      the whole table, about a quarter of an hour
//	go run ./bench quick    the main figures, under two minutes once all is built
//	go run ./bench capacity -ticks 5000000 -encoding json -symbols 10000 -history=false
//	go run ./bench paced -rate 20000 -duration 60s
//	go run ./bench profile -encoding json    profiles of every process while it works through a backlog
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"ticktape/internal/tick"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

var (
	windowsOnly = []string{"process"}
	withHistory = []string{"process", "persist"}
)

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say what to measure: all, quick, capacity, paced or profile")
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	ticks := flags.Int64("ticks", 5_000_000, "ticks of a backlog")
	symbols := flags.Int("symbols", 500, "symbols of the market")
	partitions := flags.Int("partitions", 4, "partitions of the topic")
	encoding := flags.String("encoding", "protobuf", "protobuf or json")
	history := flags.Bool("history", true, "store every tick, too")
	runs := flags.Int("runs", 3, "runs of a backlog, of which the median is told, after one that warms up")
	rate := flags.Float64("rate", 20_000, "ticks a second of a paced stream")
	duration := flags.Duration("duration", time.Minute, "how long a paced stream goes on")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	wire, err := tick.ParseEncoding(*encoding)
	if err != nil {
		return err
	}
	backlog := capacity{functions: withHistory, encoding: wire, partitions: *partitions, symbols: *symbols, ticks: *ticks}
	if !*history {
		backlog.functions = windowsOnly
	}
	stream := paced{rate: *rate, duration: *duration, encoding: wire, partitions: *partitions, symbols: *symbols}

	var backlogs []capacity
	var streams []paced
	switch args[0] {
	case "capacity":
		backlogs = []capacity{backlog}
	case "paced":
		streams = []paced{stream}
	case "profile":
		backlogs, *runs = []capacity{backlog}, 1
	case "quick":
		backlog.ticks, *runs, stream.duration = 2_000_000, 1, 15*time.Second
		backlogs, streams = []capacity{backlog}, []paced{stream}
	case "all":
		for _, change := range []func(c *capacity){
			func(*capacity) {},
			func(c *capacity) { c.functions = windowsOnly },
			func(c *capacity) { c.encoding = tick.JSON },
			func(c *capacity) { c.functions, c.encoding = windowsOnly, tick.JSON },
			func(c *capacity) { c.partitions = 12 },
			func(c *capacity) { c.symbols = 20 },
			func(c *capacity) { c.symbols = 10_000 },
			func(c *capacity) { c.ticks *= 4 },
		} {
			c := backlog
			change(&c)
			backlogs = append(backlogs, c)
		}
		for _, rate := range []float64{1, 10_000, 20_000, 50_000, 100_000, 200_000} {
			s := stream
			s.rate = rate
			streams = append(streams, s)
		}
	default:
		return fmt.Errorf("%q can't be measured: say all, quick, capacity, paced or profile", args[0])
	}

	r, err := newRig(ctx, func(text string) { fmt.Fprintln(os.Stderr, "…", text) })
	if err != nil {
		return err
	}
	defer r.close()
	if len(backlogs) > 0 {
		// The servers' code is compiled while it runs.
		fmt.Fprintln(os.Stderr, "… warming up:", backlogs[0])
		if _, err := backlogs[0].run(ctx, r); err != nil {
			return err
		}
	}
	if args[0] == "profile" {
		stop, err := r.profileFrom(filepath.Join("build", "profiles"))
		if err != nil {
			return err
		}
		defer stop()
	}
	for _, c := range backlogs {
		if err := c.report(ctx, r, *runs); err != nil {
			return err
		}
	}
	for _, p := range streams {
		res, err := p.run(ctx, r)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n  trade to window   %s\n  trade to browser  %s\n  most records behind %d, drained in %s\n",
			p, &res.window, &res.browser, slices.Max(append(res.lag, 0)), res.drained.Round(time.Millisecond))
		table(res.cpu, res.peak, "CPUs")
	}
	return nil
}

// report runs a backlog several times and tells the median and the spread.
func (c capacity) report(ctx context.Context, r *rig, runs int) error {
	var all []result
	for range runs {
		res, err := c.run(ctx, r)
		if err != nil {
			return err
		}
		all = append(all, res)
	}
	slices.SortFunc(all, func(a, b result) int { return cmp.Compare(a.rate(), b.rate()) })
	m := all[len(all)/2]
	fmt.Printf("%s, verified exact\n  %.0f ticks/s (%.0f to %.0f in %d runs), from the connector's start %.0f, published at %.0f\n",
		c, m.rate(), all[0].rate(), all[len(all)-1].rate(), runs,
		float64(c.ticks)/m.whole.Seconds(), float64(c.ticks)/m.published.Seconds())
	table(m.cpu, m.peak, "CPU s per million")
	return nil
}

func table(cpu map[string]float64, peak map[string]int64, unit string) {
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(cpu)) {
		sum += cpu[name]
		fmt.Printf("  %-18s %6.2f %s, peak %4d MiB\n", name, cpu[name], unit, peak[name]>>20)
	}
	fmt.Printf("  %-18s %6.2f %s\n", "together", sum, unit)
}
