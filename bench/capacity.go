package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/replay"
	"ticktape/internal/tick"
)

// capacity is the job that other engines are measured by: a backlog of ticks
// becomes windows in Cassandra, and, with history, every tick is stored.
type capacity struct {
	history    bool
	encoding   tick.Encoding
	partitions int
	symbols    int
	ticks      int64
}

func (c capacity) functions() []string {
	if c.history {
		return []string{"process", "persist"}
	}
	return []string{"process"}
}

func (c capacity) String() string {
	what := "windows"
	if c.history {
		what = "windows and history"
	}
	return fmt.Sprintf("%s, %s, %d partitions, %s symbols, %s ticks", what, encodingName(c.encoding), c.partitions, thousands(c.symbols), thousands(c.ticks))
}

// span is the event time of so many ticks: a larger backlog is one of a longer
// time, not of a busier market.
func span(ticks int64) time.Duration {
	return time.Duration(float64(20*time.Minute) * float64(ticks) / standardTicks)
}

// market begins with the present minute, so that no tick is late, unless it would
// then reach further ahead than ticks may.
func (c capacity) market(now time.Time) replay.Market {
	const ahead = 40 * time.Minute
	length := span(c.ticks)
	return replay.Market{
		Seed: 1, Symbols: c.symbols, Ticks: c.ticks,
		Start: now.Add(-max(length-ahead, 0)).Truncate(time.Minute), Span: length,
	}
}

// limit bounds one run of the largest backlog that the figures here are of.
func (c capacity) limit() time.Duration {
	const slowest = 20_000 // ticks a second; less is a failure
	return 5*time.Minute + time.Duration(c.ticks/slowest)*time.Second
}

// result is what one run came to.
type result struct {
	published time.Duration
	bytes     float64 // of a tick on the wire, on average
	// ticks done from the first commit seen to the last, and the time between. Where
	// the first holds more than a tenth of all it is all of them and whole.
	ticks int64
	took  time.Duration
	// whole is the time from the start of the connector.
	whole time.Duration
	cpu   costs // seconds per million ticks, from the start of the connector
	peak  peaks
}

func (r *result) rate() float64 { return float64(r.ticks) / r.took.Seconds() }

func (c capacity) run(ctx context.Context, r *rig) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit())
	defer cancel()
	b, err := r.begin(ctx, c.partitions, c.functions()...)
	if err != nil {
		return res, err
	}
	defer b.end()
	market := c.market(time.Now())
	source, err := market.Open()
	if err != nil {
		return res, err
	}
	if res.published, res.bytes, err = b.publish(ctx, source, c.ticks, replay.Options{Encoding: c.encoding}, nil); err != nil {
		return res, err
	}

	profiler, err := b.profiler(ctx, "capacity")
	if err != nil {
		return res, err
	}
	meter := b.meter()
	begun := time.Now()
	if err := b.start("kafka-connector", nil); err != nil {
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
			return res, fmt.Errorf("%d of %d ticks were done when the time was up: %w", done, c.ticks, ctx.Err())
		case <-b.programs["kafka-connector"].Done():
			return res, errors.New("the connector ended: " + b.programs["kafka-connector"].Ending())
		case <-time.After(20 * time.Millisecond):
		}
		// A function that is behind holds the whole back.
		if done, err = b.done(ctx, c.functions()); err != nil {
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
	if firstTicks > c.ticks/10 {
		res.ticks, res.took = c.ticks, res.whole
	}
	if res.cpu, res.peak, err = meter.read(b, float64(c.ticks)/1e6); err != nil {
		return res, err
	}
	if source, err = market.Open(); err != nil {
		return res, err
	}
	if err := b.verify(ctx, source, c.history); err != nil {
		return res, wrong{err}
	}
	return res, profiler.report(ctx, os.Stdout)
}

// wrong is a result that is not exact.
type wrong struct{ error }

func (w wrong) Error() string { return "the result is WRONG: " + w.error.Error() }
func (w wrong) Unwrap() error { return w.error }

// publisher counts bytes on their way to Kafka, and tells of what Kafka has acknowledged.
type publisher struct {
	replay.Publisher
	bytes, records int64
	acked          func(n int)
}

func (p *publisher) Publish(ctx context.Context, msgs []kafka.Message) error {
	if err := p.Publisher.Publish(ctx, msgs); err != nil {
		return err
	}
	for i := range msgs {
		p.bytes += int64(len(msgs[i].Value))
	}
	p.records += int64(len(msgs))
	if p.acked != nil {
		p.acked(len(msgs))
	}
	return nil
}

// publish brings n ticks into the topic. acked, if not nil, is called as Kafka acknowledges them.
func (b *bench) publish(ctx context.Context, source replay.Source, n int64, opt replay.Options, acked func(n int)) (took time.Duration, bytes float64, err error) {
	to := &publisher{Publisher: b.client.Producer(b.bus.TicksTopic), acked: acked}
	begun := time.Now()
	published, err := replay.Publish(ctx, to, source, opt)
	took = time.Since(begun)
	if err != nil {
		return took, 0, fmt.Errorf("publish: %w", err)
	}
	if published != n {
		return took, 0, fmt.Errorf("published %d of %d ticks", published, n)
	}
	return took, float64(to.bytes) / float64(max(to.records, 1)), nil
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
