// Replay publishes ticks from a CSV file or a seeded market to Kafka, at a given
// rate or as fast as it can, keyed and encoded as the function fetch does it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"ticktape/internal/bus"
	"ticktape/internal/replay"
	"ticktape/internal/service"
	"ticktape/internal/tick"
)

func main() {
	service.Main("replay", run)
}

func run(ctx context.Context) error {
	var market replay.Market
	path := flag.String("csv", "", "replay this CSV `file` (- is standard input) rather than a market")
	symbol := flag.String("symbol", "", "the `symbol` of all rows of a CSV file without a column symbol")
	flag.Uint64Var(&market.Seed, "seed", 1, "the market's seed")
	flag.IntVar(&market.Symbols, "symbols", 500, "how many symbols the market has")
	flag.Int64Var(&market.Ticks, "ticks", 1_000_000, "how many ticks the market has")
	flag.DurationVar(&market.Span, "span", 20*time.Minute, "the event time that the market takes")
	start := flag.String("start", "", "the event time of the market's first tick, RFC 3339 (default: so that it ends now)")
	perSecond := flag.Float64("rate", 0, "ticks a second (default: as fast as it can)")
	live := flag.Bool("live", false, "give each tick the time of its publication as event time")
	encoding := flag.String("encoding", os.Getenv("TICK_ENCODING"), "protobuf or json")
	flag.Parse()
	if flag.NArg() > 0 {
		return service.Settingf("unexpected argument %q; -h lists the flags", flag.Arg(0))
	}

	cfg, err := bus.ConfigFromEnv()
	if err != nil {
		return err
	}
	opt := replay.Options{Rate: *perSecond, Live: *live, Progress: func(n int64) {
		fmt.Fprintf(os.Stderr, "published %d ticks\n", n)
	}}
	if opt.Encoding, err = tick.ParseEncoding(*encoding); err != nil {
		return service.Settingf("-encoding: %v", err)
	}
	market.Start = time.Now().Add(-market.Span)
	if *start != "" {
		if market.Start, err = time.Parse(time.RFC3339, *start); err != nil {
			return service.Settingf("-start: %v", err)
		}
	}
	source, closeFile, err := open(*path, *symbol, market)
	if err != nil {
		return err
	}
	defer closeFile()

	client := bus.New(cfg)
	defer client.Close()
	if err := client.EnsureTopics(ctx, bus.StandardTopics(cfg)...); err != nil {
		return err
	}
	producer := client.Producer(cfg.TicksTopic)
	began := time.Now()
	n, err := replay.Publish(ctx, producer, source, opt)
	took := time.Since(began)
	fmt.Printf("published %d ticks to topic %s in %s, %.0f a second\n", n, cfg.TicksTopic, took.Round(time.Millisecond), float64(n)/took.Seconds())
	return err
}

func open(path, symbol string, market replay.Market) (replay.Source, func(), error) {
	nothing := func() {}
	switch path {
	case "":
		source, err := market.Open()
		return source, nothing, err
	case "-":
		source, err := replay.OpenCSV(io.Reader(os.Stdin), symbol)
		return source, nothing, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nothing, err
	}
	source, err := replay.OpenCSV(file, symbol)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return source, func() { file.Close() }, err
}
