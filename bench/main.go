// Bench measures Ticktape on this machine, with a Kafka and a Cassandra of its
// own, and checks that every result is exact: a fast wrong answer fails.
//
//	make bench          everything, about half an hour
//	make bench-quick    the main figures, under two minutes
//	go run ./bench capacity -ticks 5000000 -encoding json -symbols 10000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
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

func command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	ticks := flags.Int64("ticks", 5_000_000, "ticks of a backlog")
	symbols := flags.Int("symbols", 500, "symbols of the market")
	partitions := flags.Int("partitions", 4, "partitions of the topic")
	encoding := flags.String("encoding", "protobuf", "protobuf or json")
	history := flags.Bool("history", true, "store every tick, too")
	runs := flags.Int("runs", 3, "runs, of which the median is told")
	rate := flags.Float64("rate", 20_000, "ticks a second of paced")
	duration := flags.Duration("duration", time.Minute, "how long paced goes on")
	if len(args) == 0 || args[0] != "capacity" && args[0] != "paced" {
		return errors.New("say what to measure: capacity or paced")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	say := func(text string) { fmt.Fprintln(os.Stderr, "…", text) }
	r, err := newRig(ctx, say)
	if err != nil {
		return err
	}
	defer r.close()
	if args[0] == "paced" {
		p := paced{rate: *rate, duration: *duration, partitions: *partitions, symbols: *symbols}
		if p.encoding, err = tick.ParseEncoding(*encoding); err != nil {
			return err
		}
		res, err := p.run(ctx, r)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n  trade to window   %s\n  trade to browser  %s\n  lag %v, drained in %s\n", p, &res.window, &res.browser, res.lag, res.drained.Round(time.Millisecond))
		for name, cpu := range res.cpu {
			fmt.Printf("  %-20s %6.2f CPUs, peak %4d MiB\n", name, cpu, res.peak[name]>>20)
		}
		return nil
	}
	c := capacity{functions: []string{"process"}, partitions: *partitions, symbols: *symbols, ticks: *ticks}
	if c.encoding, err = tick.ParseEncoding(*encoding); err != nil {
		return err
	}
	if *history {
		c.functions = append(c.functions, "persist")
	}
	for range *runs {
		res, err := c.run(ctx, r)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %.0f ticks/s (published at %.0f/s, whole %s)\n", c, res.rate(), float64(c.ticks)/res.published.Seconds(), res.whole.Round(time.Millisecond))
		for name, cpu := range res.cpu {
			fmt.Printf("  %-20s %6.2f CPU s per million, peak %4d MiB\n", name, cpu, res.peak[name]>>20)
		}
	}
	return nil
}
