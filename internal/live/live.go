// Package live turns batches of a log's records into live windows: registers and
// counters in Cassandra, and an update of each window's state to topic "windows".
// Every record of the log counts once, however often and in whatever batches it
// is delivered. How that comes about, and why, is told in docs/exactly-once.md;
// who changes this package changes that page.
//
// It is not for trades that were published twice, which have two records and
// count twice here (package seal sorts them out), nor for candles.
package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/store"
	"ticktape/internal/trigger"
)

// Store is what a Processor asks of Cassandra. *store.Store says what each method
// guarantees.
type Store interface {
	Incarnation(ctx context.Context, topic string, topicID [16]byte) (int32, error)
	WriteRegisters(ctx context.Context, w store.Window, states []store.SymbolState) error
	WriteWhole(ctx context.Context, w store.Window, at int64, rows [][]*store.SymbolState) error
	Fence(ctx context.Context, w store.Window) (int64, error)
	QuietFences(ctx context.Context, windows []store.Window, quiet time.Duration) ([]int64, error)
	Count(ctx context.Context, w store.Window, from, to int64, states []store.SymbolState) error
	ReadWindow(ctx context.Context, w store.Window, symbols []string) (fence int64, states []store.SymbolState, err error)
}

// Publisher takes the updates. It returns when Kafka has them all.
type Publisher interface {
	Publish(ctx context.Context, msgs []kafka.Message) error
}

const (
	// Quiet is how long the fences of a resumed batch must have been answered
	// before they are believed: longer than counter_write_request_timeout (5 s),
	// which is how long after reading it a node may still apply an increment.
	Quiet = 6 * time.Second
	// LateLimit is how long after a window's end, in log time, its records are
	// still counted here. Counters are deleted after 25 h, and a deleted counter
	// that is incremented comes back with its old value. Later records are seal's.
	LateLimit = 23 * time.Hour
	// callLimit bounds a call that has no deadline of its own.
	callLimit = 30 * time.Second
	// answerTime is left of a call's time when the last increment may be sent.
	answerTime = 2 * time.Second
	// windowsAtOnce bounds the windows of one batch that are written side by side.
	windowsAtOnce = 16
	// retryAfter is what the caller is asked to wait when Cassandra or Kafka fails.
	retryAfter = time.Second
)

// Processor counts batches. It keeps nothing between them that it can't do
// without, and is safe for concurrent use; batches of one partition must come one
// after the other.
type Processor struct {
	Store   Store
	Windows Publisher
	// Quiet is the wait for a resumed batch, Quiet where it is zero.
	Quiet time.Duration

	memory memory
}

// Process counts the records of b, and publishes the state of each symbol and
// window that b has records of. Records that are no ticks are returned as
// failures and count nowhere. Process keeps nothing of b.
//
// An error is a trigger.RetryLater: the batch, or any batch that covers its
// records, is to be processed again. Its Doubt is set where an increment may
// still be under way, so that the next delivery must be marked as resumed.
func (p *Processor) Process(ctx context.Context, b *trigger.Batch) (trigger.Failures, error) {
	failures, err := p.process(ctx, b)
	if err != nil {
		return nil, putOff(b, err)
	}
	done.Inc()
	return failures, nil
}

// putOff asks for the batch again. A doubt that an earlier call left stays until
// a call has settled it.
func putOff(b *trigger.Batch, err error) error {
	e := trigger.RetryLater{After: retryAfter, Doubt: b.Resumed || errors.Is(err, errDoubt), Cause: err}
	if e.Doubt {
		doubt.Inc()
	} else {
		later.Inc()
	}
	return e
}

// errDoubt marks an increment of which it is not known whether it was, or will
// be, applied.
var errDoubt = errors.New("in doubt")

func (p *Processor) process(ctx context.Context, b *trigger.Batch) (trigger.Failures, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callLimit)
		defer cancel()
	}
	incarnation, err := p.Store.Incarnation(ctx, b.Topic, b.TopicID)
	if err != nil {
		return nil, err
	}
	g := groupings.Get()
	defer g.release()
	g.group(b.Records, store.Log(incarnation, b.Partition))

	var fences []int64
	if b.Resumed && len(g.windows) > 0 {
		names := make([]store.Window, len(g.windows))
		for i, w := range g.windows {
			names[i] = w.name
		}
		quiet := p.Quiet
		if quiet == 0 {
			quiet = Quiet
		}
		if fences, err = p.Store.QuietFences(ctx, names, quiet); err != nil {
			return nil, err
		}
	}

	// One window's failure doesn't end the others: an increment that is cut off
	// is an increment in doubt.
	var all errgroup.Group
	all.SetLimit(windowsAtOnce)
	errs := make([]error, len(g.windows))
	for i, w := range g.windows {
		all.Go(func() error {
			var fence int64 = unread
			if fences != nil {
				fence = fences[i]
			}
			errs[i] = p.window(ctx, g, w, fence)
			return nil
		})
	}
	_ = all.Wait() // no part returns an error there
	if err := worst(errs); err != nil {
		return nil, err
	}
	late.Add(float64(g.late))
	refused.Add(float64(len(g.failures)))
	return g.failures, nil
}

// worst tells of one of the windows' errors, of one in doubt where there is any,
// and how many failed: they mostly fail of one cause.
func worst(errs []error) error {
	var first error
	failed := 0
	for _, err := range errs {
		if err == nil {
			continue
		}
		failed++
		if first == nil || errors.Is(err, errDoubt) && !errors.Is(first, errDoubt) {
			first = err
		}
	}
	if failed > 1 {
		return fmt.Errorf("%d of %d windows failed, one of them: %w", failed, len(errs), first)
	}
	return first
}

const unread = -1

// window brings one window up to date with the batch. Its spans come one after
// the other, because each moves the fence to where the next begins.
func (p *Processor) window(ctx context.Context, g *grouping, w *windowRecords, fence int64) error {
	for _, s := range w.spans {
		var err error
		if fence, err = p.span(ctx, g, w, s, fence); err != nil {
			return err
		}
	}
	return nil
}

// span counts and publishes a run of a window's records, and returns the
// window's fence after it.
func (p *Processor) span(ctx context.Context, g *grouping, w *windowRecords, s *span, fence int64) (int64, error) {
	known := p.memory.take(w.name)
	if fence == unread {
		var err error
		if fence, err = p.Store.Fence(ctx, w.name); err != nil {
			return 0, err
		}
	}
	switch {
	case fence == 0:
		known = nothing(w.name)
	case known == nil || known.fence != fence:
		known = unknown(w.name, fence)
	}
	from := fence
	var fresh []store.SymbolState
	if from <= s.last {
		if fresh = s.states; from > s.first {
			fresh = g.recount(w, s, from)
		}
		fence = s.last + 1
		known.add(fence, fresh)
	}
	if err := p.registers(ctx, known, s.states, fresh); err != nil {
		return 0, err
	}
	if fence > from {
		for i := range fresh {
			total := known.states[fresh[i].Symbol]
			fresh[i].LowOnly = total != nil && total.Fits()
		}
		if err := p.count(ctx, w.name, from, fence, fresh); err != nil {
			return 0, err
		}
	}
	n := countOf(fresh)
	counted.Add(float64(n))
	again.Add(float64(countOf(s.states) - n))

	if err := p.complete(ctx, known, s.states, fresh); err != nil {
		return 0, err
	}
	if err := p.publish(ctx, g, s, known); err != nil {
		return 0, err
	}
	p.memory.put(known)
	return fence, nil
}

// registers writes the registers of the span's symbols, states: as a whole where
// it is known what all records of a symbol come to, for which only fresh ones
// matter, and else those of the span's records, each by itself.
func (p *Processor) registers(ctx context.Context, known *remembered, states, fresh []store.SymbolState) error {
	whole := known.rows(fresh)
	var each []store.SymbolState
	for i := range states {
		if known.states[states[i].Symbol] == nil {
			each = append(each, states[i])
		}
	}
	var writes errgroup.Group
	if len(whole) > 0 {
		writes.Go(func() error { return p.Store.WriteWhole(ctx, known.name, known.fence, whole) })
	}
	if len(each) > 0 {
		writes.Go(func() error { return p.Store.WriteRegisters(ctx, known.name, each) })
	}
	return writes.Wait()
}

func (p *Processor) count(ctx context.Context, w store.Window, from, to int64, states []store.SymbolState) error {
	// A call that was stopped for a while (a paused container, a suspended machine)
	// must not wake up and send what its successor has counted meanwhile. The clocks
	// are read here because a timer may fire late after a pause, and both of them
	// because one stands still while a machine is suspended and the other can be set.
	if deadline, ok := ctx.Deadline(); ok && min(time.Until(deadline), time.Until(deadline.Round(0))) < answerTime {
		return fmt.Errorf("count window %s: too late in the call to begin", w)
	}
	err := p.Store.Count(ctx, w, from, to, states)
	if err != nil && !errors.Is(err, store.ErrNotApplied) {
		return fmt.Errorf("%w: %w", errDoubt, err)
	}
	return err
}

// complete reads back what is not known of the symbols of states. It leaves out
// those that have no record below the fence: where two owners have moved that past
// the end of the log, all records of a symbol can lie below it and none be counted,
// until the audit finds them.
func (p *Processor) complete(ctx context.Context, known *remembered, states, fresh []store.SymbolState) error {
	var missing []string
	for i := range states {
		if symbol := states[i].Symbol; known.states[symbol] == nil {
			missing = append(missing, symbol)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fence, read, err := p.Store.ReadWindow(ctx, known.name, missing)
	if err != nil {
		return err
	}
	if fence != known.fence {
		// Somebody else counts this log. What was known is of another fence, and what
		// was read is of one before and one after, perhaps.
		clear(known.states)
		known.whole, known.fence = false, fence
		return p.complete(ctx, known, states, fresh)
	}
	for i := range read {
		if st := &read[i]; st.Open.Price == 0 || st.High.Price == 0 || st.Low.Price == 0 || st.Close.Price == 0 {
			return fmt.Errorf("window %s: read back %s without the registers that were written", known.name, st.Symbol)
		}
		known.set(&read[i])
	}
	for i := range fresh {
		if known.states[fresh[i].Symbol] == nil {
			return fmt.Errorf("read back window %s: %s was counted and is not there", known.name, fresh[i].Symbol)
		}
	}
	return nil
}

// publish publishes the state of the span's symbols. It does so for a batch that
// is delivered again too, since the call before may have ended between counting
// and publishing.
func (p *Processor) publish(ctx context.Context, g *grouping, s *span, known *remembered) error {
	msgs, err := g.updates(s, known)
	if err != nil {
		return err
	}
	if err := p.Windows.Publish(ctx, msgs); err != nil {
		return err
	}
	updatesTotal.Add(float64(len(msgs)))
	return nil
}
