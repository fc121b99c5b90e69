package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/tick"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo"
)

// The parts of these tests are stand-ins that fail on demand, which real ones do
// not; what happens with real ones is in service_test.go.

type quoter func(symbols []string) (yahoo.Answer, error)

func (f quoter) Quotes(_ context.Context, symbols []string) (yahoo.Answer, error) { return f(symbols) }

type log struct {
	ticks []tick.Tick
	fail  func(i int) error // of message i of the next Publish
	block chan struct{}     // Publish waits for it where it is not nil
}

func (l *log) Publish(ctx context.Context, msgs []kafka.Message) error {
	if l.block != nil {
		<-l.block
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	pe := &bus.PublishError{Topic: "ticks"}
	var d tick.Decoder
	for i, m := range msgs {
		if l.fail != nil {
			if err := l.fail(i); err != nil {
				pe.Failed, pe.Cause = append(pe.Failed, i), err
				continue
			}
		}
		var t tick.Tick
		if err := d.Decode(string(m.Headers[0].Value), m.Value, &t); err != nil {
			return err
		}
		if string(m.Key) != t.Symbol || m.Headers[0].Key != "content-type" {
			return fmt.Errorf("message %+v", m)
		}
		l.ticks = append(l.ticks, t)
	}
	if pe.Cause != nil {
		return pe
	}
	return nil
}

// Published is the memory that a log is.
func (l *log) Published(context.Context, []string) ([]tick.Tick, error) {
	return slices.Clone(l.ticks), nil
}

// watched is a watch list that can be away.
type watched struct {
	symbols []watchlist.Symbol
	away    error
	said    []string // what it was told
}

func watch(symbols ...string) *watched {
	w := &watched{}
	for _, s := range symbols {
		w.symbols = append(w.symbols, watchlist.Symbol{Symbol: s, AddedAt: time.Now().UnixMilli()})
	}
	return w
}

func (w *watched) List(context.Context) ([]watchlist.Symbol, error) {
	return slices.Clone(w.symbols), w.away
}

func (w *watched) MarkUnknown(_ context.Context, symbol, reason string) error {
	w.tell(symbol, func(s *watchlist.Symbol) { s.Unknown, s.Reason, s.CheckedAt = true, reason, time.Now().UnixMilli() })
	return nil
}

func (w *watched) Name(_ context.Context, symbol, name, exchange string) error {
	w.tell(symbol, func(s *watchlist.Symbol) { s.Unknown, s.Name, s.Exchange = false, name, exchange })
	return nil
}

func (w *watched) Delay(context.Context, string, int) error { return nil }

func (w *watched) tell(symbol string, change func(*watchlist.Symbol)) {
	w.said = append(w.said, symbol)
	for i := range w.symbols {
		if w.symbols[i].Symbol == symbol {
			change(&w.symbols[i])
		}
	}
}

func named(symbol string, q *yahoo.Quote) yahoo.Quote {
	q.Symbol = symbol
	return *q
}

func TestEachSymbolIsCountedOnce(t *testing.T) {
	now := at(13, 10, 0, 0)
	l := &log{ticks: []tick.Tick{{Symbol: "OLD", EventTime: now, Price: 1, Seq: 10, DayVolume: 10, Source: tick.SourceYahoo}}}
	f := NewFetcher(watch("NEW", "OLD", "LAGGING", "NOSUCH", "BROKEN", "FUTURE", "LONG", "BAD,ONE"), quoter(func(symbols []string) (yahoo.Answer, error) {
		if slices.Contains(symbols, "BAD,ONE") {
			t.Error("a symbol that can't be one was asked for")
		}
		return yahoo.Answer{
			Quotes: []yahoo.Quote{
				named("NEW", share(now, 5)), named("OLD", share(now, 10)),
				named("LAGGING", share(now, 10)),
				named("FUTURE", share(time.Now().Add(time.Hour).UnixMilli(), 10)),
				named("LONG", with(share(now, 1), func(q *yahoo.Quote) { q.Exchange = strings.Repeat("X", 17) })),
			},
			Unknown: []string{"NOSUCH"},
			Failed:  []yahoo.SymbolError{{Symbol: "BROKEN", Reason: "regularMarketPrice is missing"}},
		}, nil
	}), l, l, tick.Protobuf)
	l.ticks = append(l.ticks, tick.Tick{Symbol: "LAGGING", EventTime: now + 1000, Price: 1, Seq: 12, DayVolume: 12, Source: tick.SourceYahoo})
	sum, err := f.Fetch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if sum.Asked != 7 || sum.Published != 1 || sum.Unchanged != 2 || !slices.Equal(sum.Unknown, []string{"NOSUCH"}) || len(sum.Failed) != 4 || sum.Source != "yahoo" {
		t.Errorf("summary %+v", sum)
	}
	if sum.Published+sum.Unchanged+len(sum.Unknown)+len(sum.Failed) != 8 {
		t.Errorf("summary %+v does not add up", sum)
	}
	var failed []string
	for _, e := range sum.Failed {
		failed = append(failed, e.Symbol)
	}
	if !slices.Equal(failed, []string{"BAD,ONE", "BROKEN", "FUTURE", "LONG"}) {
		t.Errorf("failed %v", sum.Failed)
	}
	if len(l.ticks) != 3 || l.ticks[2].Symbol != "NEW" || l.ticks[2].ReceivedTime == 0 {
		t.Errorf("published %+v", l.ticks)
	}
}

func TestOnlyWhatWasAcknowledgedIsRemembered(t *testing.T) {
	volume := int64(100)
	l := &log{}
	f := NewFetcher(watch("A", "B", "C"), quoter(func(symbols []string) (a yahoo.Answer, err error) {
		for _, s := range symbols {
			a.Quotes = append(a.Quotes, named(s, share(at(13, 10, 0, 0)+volume*1000, volume)))
		}
		return a, nil
	}), l, l, tick.JSON)
	fetch := func(published, failed int, ok bool) {
		t.Helper()
		sum, err := f.Fetch(t.Context())
		if sum.Published != published || len(sum.Failed) != failed || (err == nil) != ok {
			t.Errorf("summary %+v, error %v", sum, err)
		}
		var part *PartError
		if err != nil && (!errors.As(err, &part) || part.Part != PartKafka) {
			t.Errorf("error %#v", err)
		}
	}
	fetch(3, 0, true)
	volume = 150
	l.fail = func(i int) error {
		if i == 1 {
			return errors.New("not acknowledged")
		}
		return nil
	}
	fetch(2, 1, false)
	l.fail = nil
	fetch(1, 0, true) // B alone
	fetch(0, 0, true)
	volume = 155
	fetch(3, 0, true)
	sums := map[string]int64{}
	for _, tk := range l.ticks {
		sums[tk.Symbol] += tk.Size
	}
	if sums["A"] != 55 || sums["B"] != 55 || sums["C"] != 55 {
		t.Errorf("sizes add up to %v, want 55 each", sums)
	}

	volume = 160
	l.fail = func(int) error { return errors.New("no broker") }
	fetch(0, 3, false)
	// It was written all the same, as when only the acknowledgement was lost.
	for _, s := range []string{"A", "B", "C"} {
		l.ticks = append(l.ticks, tick.Tick{Symbol: s, EventTime: at(13, 10, 0, 0) + volume*1000, Price: 1, Seq: 160, DayVolume: 160, Size: 5, Source: tick.SourceYahoo})
	}
	l.fail = nil
	fetch(0, 0, true)
}

func TestACallerThatLeavesDoesNotEndThePublication(t *testing.T) {
	l := &log{block: make(chan struct{})}
	f := NewFetcher(watch("A"), quoter(func([]string) (yahoo.Answer, error) {
		return yahoo.Answer{Quotes: []yahoo.Quote{named("A", share(at(13, 10, 0, 0), 1))}}, nil
	}), l, l, tick.Protobuf)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.Fetch(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.Fetch(ctx); err == nil || !strings.Contains(err.Error(), "still publishing") {
		t.Errorf("error %v", err)
	}
	close(l.block)
	sum, err := f.Fetch(t.Context())
	if err != nil || sum.Published != 0 || sum.Unchanged != 1 || len(l.ticks) != 1 {
		t.Errorf("summary %+v, error %v, %d ticks", sum, err, len(l.ticks))
	}
}

func TestSourcesHaveOrdersOfTheirOwn(t *testing.T) {
	l := &log{}
	source := tick.SourceSimulated
	volume := int64(5_000_000)
	f := NewFetcher(watch("A"), quoter(func([]string) (yahoo.Answer, error) {
		q := share(at(13, 10, 0, 0)-volume, volume)
		q.Source = source
		return yahoo.Answer{Quotes: []yahoo.Quote{named("A", q)}}, nil
	}), l, l, tick.Protobuf)
	fetch := func(published int, name string) {
		t.Helper()
		if sum, err := f.Fetch(t.Context()); err != nil || sum.Published != published || sum.Source != name {
			t.Errorf("summary %+v, error %v", sum, err)
		}
	}
	fetch(1, "simulated")
	source, volume = tick.SourceYahoo, 7_000_000 // earlier, and far more volume
	fetch(1, "yahoo")
	fetch(0, "yahoo")
	source, volume = tick.SourceSimulated, 5_000_000
	fetch(0, "simulated")
	if l.ticks[1].Size != 0 {
		t.Errorf("the first tick of a source has size %d", l.ticks[1].Size)
	}
}

func TestWithoutYahooOrMemoryNothingIsPublished(t *testing.T) {
	l := &log{}
	refusal := &yahoo.Error{Kind: yahoo.RateLimited, Call: "quote", Status: 429, RetryAfter: time.Minute}
	broken := NewFetcher(watch("A"), quoter(func(s []string) (yahoo.Answer, error) {
		return yahoo.Answer{Failed: []yahoo.SymbolError{{Symbol: "A", Reason: "x"}}}, refusal
	}), l, l, tick.Protobuf)
	var part *PartError
	if _, err := broken.Fetch(t.Context()); !errors.As(err, &part) || part.Part != PartYahoo || !errors.Is(err, refusal) {
		t.Errorf("error %v", err)
	}
	forgetful := NewFetcher(watch("A"), quoter(func(s []string) (yahoo.Answer, error) {
		t.Error("Yahoo was asked although nothing could come of it")
		return yahoo.Answer{}, nil
	}), l, noMemory{}, tick.Protobuf)
	if _, err := forgetful.Fetch(t.Context()); !errors.As(err, &part) || part.Part != PartMemory {
		t.Errorf("error %v", err)
	}
	if len(l.ticks) > 0 {
		t.Errorf("published %v", l.ticks)
	}
}

type noMemory struct{}

func (noMemory) Published(context.Context, []string) ([]tick.Tick, error) {
	return nil, errors.New("no Cassandra")
}
