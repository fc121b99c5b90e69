package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/chunk"
	"ticktape/internal/replay"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// capacity is the job that other engines are measured by: a backlog of ticks
// becomes windows in Cassandra, and, with persist, history.
type capacity struct {
	functions  []string
	encoding   tick.Encoding
	partitions int
	symbols    int
	ticks      int64
}

func (c capacity) String() string {
	what := "windows"
	if slices.Contains(c.functions, "persist") {
		what = "windows and history"
	}
	return fmt.Sprintf("%s, %s, %d partitions, %d symbols, %d ticks", what, c.encoding.ContentType(), c.partitions, c.symbols, c.ticks)
}

// span is the event time of every backlog.
const span = 20 * time.Minute

// market begins with the present minute, so that no tick is late.
func (c capacity) market(now time.Time) replay.Market {
	return replay.Market{Seed: 1, Symbols: c.symbols, Ticks: c.ticks, Start: now.Truncate(time.Minute), Span: span}
}

// result is what one run came to.
type result struct {
	published time.Duration
	// ticks done from the first commit seen to the last, and the time between.
	ticks int64
	took  time.Duration
	// whole is the time from the start of the connector.
	whole time.Duration
	cpu   map[string]float64 // seconds per million ticks, from the start of the connector
	peak  map[string]int64   // bytes
}

func (r *result) rate() float64 { return float64(r.ticks) / r.took.Seconds() }

// limit bounds one run.
const limit = 10 * time.Minute

func (c capacity) run(ctx context.Context, r *rig) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	b, err := r.begin(ctx, c.partitions, c.functions...)
	if err != nil {
		return res, err
	}
	defer b.end()
	market := c.market(time.Now())
	if res.published, err = b.publish(ctx, market, replay.Options{Encoding: c.encoding}); err != nil {
		return res, err
	}

	profiler, err := b.profiler(ctx, "capacity")
	if err != nil {
		return res, err
	}
	before := usages(b.pids())
	begun := time.Now()
	if err := b.start("kafka-connector"); err != nil {
		return res, err
	}
	if err := b.findProfiles(ctx, profiler, "kafka-connector"); err != nil {
		return res, err
	}
	var first time.Time
	var firstTicks int64
	for done := int64(0); done < c.ticks; {
		select {
		case <-ctx.Done():
			return res, fmt.Errorf("%s: %d of %d ticks were done when the time was up: %w", c, done, c.ticks, ctx.Err())
		case <-b.programs["kafka-connector"].Done():
			return res, errors.New("the connector ended: " + b.programs["kafka-connector"].Ending())
		case <-time.After(20 * time.Millisecond):
		}
		// A function that is behind holds the whole back.
		if done, err = b.done(ctx, c.functions); err != nil {
			return res, err
		}
		if done > 0 && first.IsZero() {
			first, firstTicks = time.Now(), done
			profiler.begin(ctx)
		}
	}
	end := time.Now()
	profiler.end(ctx)
	res.ticks, res.took, res.whole = c.ticks-firstTicks, end.Sub(first), end.Sub(begun)
	res.cpu, res.peak = map[string]float64{}, map[string]int64{}
	for name, u := range usages(b.pids()) {
		res.cpu[name] = (u.cpu - before[name].cpu) / float64(c.ticks) * 1e6
		res.peak[name] = u.peak
	}
	if err := b.verify(ctx, market, slices.Contains(c.functions, "persist")); err != nil {
		return res, fmt.Errorf("%s: the result is WRONG: %w", c, err)
	}
	return res, profiler.report(ctx, os.Stdout)
}

// publish fills the topic.
func (b *bench) publish(ctx context.Context, market replay.Market, opt replay.Options) (time.Duration, error) {
	source, err := market.Open()
	if err != nil {
		return 0, err
	}
	producer := b.client.Producer(b.bus.TicksTopic)
	begun := time.Now()
	n, err := replay.Publish(ctx, producer, source, opt)
	took := time.Since(begun)
	if err := errors.Join(err, producer.Close()); err != nil {
		return took, err
	}
	if n != market.Ticks {
		return took, fmt.Errorf("published %d of %d ticks", n, market.Ticks)
	}
	return took, nil
}

// done is how many records the slowest of the functions has done.
func (b *bench) done(ctx context.Context, groups []string) (int64, error) {
	least := int64(-1)
	for _, group := range groups {
		offsets, err := b.client.Committed(ctx, group, b.bus.TicksTopic)
		if err != nil {
			return 0, err
		}
		var sum int64
		for _, o := range offsets {
			sum += o
		}
		if least < 0 || sum < least {
			least = sum
		}
	}
	return least, nil
}

type minute struct {
	symbol string
	start  int64
}

// verify makes the market again and holds every window, and every chunk, against it.
func (b *bench) verify(ctx context.Context, market replay.Market, history bool) error {
	source, err := market.Open()
	if err != nil {
		return err
	}
	truth := map[minute]*window.State{}
	starts := map[int64]bool{}
	var t tick.Tick
	for n := range market.Ticks {
		if err := source.Next(&t); err != nil {
			return err
		}
		m := minute{t.Symbol, window.Start(t.EventTime)}
		s := truth[m]
		if s == nil {
			s = &window.State{}
			truth[m] = s
			starts[m.start] = true
		}
		// n orders the trades of one millisecond as offsets do.
		s.Add(window.Point{EventTime: t.EventTime, Offset: n, Price: int64(t.Price)}, t.Size)
	}

	info, err := b.client.TopicInfo(ctx, b.bus.TicksTopic)
	if err != nil {
		return err
	}
	incarnation, err := b.store.Incarnation(ctx, b.bus.TicksTopic, info.ID)
	if err != nil {
		return err
	}
	counted, stored := map[minute]*window.State{}, map[minute]*window.State{}
	for start := range starts {
		for p := range info.Partitions {
			w := store.Window{Start: start, Log: store.Log(incarnation, p)}
			_, states, err := b.store.ReadWindow(ctx, w, nil)
			if err != nil {
				return err
			}
			symbols := make([]string, len(states))
			for i := range states {
				symbols[i] = states[i].Symbol
				counted[minute{states[i].Symbol, start}] = &states[i].State
			}
			if !history {
				continue
			}
			if err := b.readHistory(ctx, w, symbols, stored); err != nil {
				return err
			}
		}
	}
	if err := compare("live window", truth, counted); err != nil || !history {
		return err
	}
	return compare("history", truth, stored)
}

func compare(what string, want, got map[minute]*window.State) error {
	if len(want) != len(got) {
		return fmt.Errorf("%s: %d symbols and minutes, want %d", what, len(got), len(want))
	}
	for m, w := range want {
		if g := got[m]; g == nil || figures(g) != figures(w) {
			return fmt.Errorf("%s of %s at %s is %+v, want %+v", what, m.symbol, time.UnixMilli(m.start).UTC(), g, w)
		}
	}
	return nil
}

// figures are what a window says, without the places of its prices.
func figures(s *window.State) [10]int64 {
	return [10]int64{
		s.Count, s.Volume, s.PriceSum.Hi, int64(s.PriceSum.Lo), s.Turnover.Hi, int64(s.Turnover.Lo),
		s.Open.Price, s.High.Price, s.Low.Price, s.Close.Price,
	}
}

// readsAtOnce bounds the reads of a verification.
const readsAtOnce = 64

// readHistory adds up every stored tick of the window; symbols are those that it must have.
func (b *bench) readHistory(ctx context.Context, w store.Window, symbols []string, stored map[minute]*window.State) error {
	states := make([]window.State, len(symbols))
	var g errgroup.Group
	g.SetLimit(readsAtOnce)
	for i, symbol := range symbols {
		g.Go(func() error {
			rows, err := b.store.ReadChunks(ctx, w, symbol)
			if err != nil {
				return err
			}
			for _, record := range chunk.Ticks(rows) {
				states[i].Add(record.Point(), record.Size)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, symbol := range symbols {
		stored[minute{symbol, w.Start}] = &states[i]
	}
	return nil
}
