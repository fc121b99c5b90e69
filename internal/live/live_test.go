package live_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/live"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

const minute = int64(1_700_000_040_000) // starts a window

// entry is a record of a log with what it is to come to.
type entry struct {
	record trigger.Record
	tick   tick.Tick
	bad    bool // no tick
	late   bool // left to seal
}

// tape is a log as the tests make it.
type tape struct {
	id      [16]byte
	entries []entry
}

var tapes struct {
	sync.Mutex
	n byte
}

func newTape() *tape {
	tapes.Lock()
	defer tapes.Unlock()
	tapes.n++
	return &tape{id: [16]byte{'t', tapes.n}}
}

// add appends a tick as the record that the topic would hold.
func (p *tape) add(t tick.Tick, e tick.Encoding) {
	value, err := e.Append(nil, &t)
	if err != nil {
		panic(err)
	}
	r := trigger.Record{Timestamp: t.EventTime + 50, Key: []byte(t.Symbol), Value: value}
	if e == tick.JSON {
		r.Headers = []trigger.Header{{Key: "trace", Value: []byte("1")}, {Key: "content-type", Value: []byte(tick.ContentJSON)}}
	}
	p.append(entry{record: r, tick: t})
}

func (p *tape) append(e entry) {
	e.record.Offset = int64(len(p.entries))
	p.entries = append(p.entries, e)
}

func trade(symbol string, at int64, price tick.Price, size int64) tick.Tick {
	return tick.Tick{
		Symbol: symbol, EventTime: at, Price: price, Size: size, Seq: at, Currency: "USD", Exchange: "NMS",
		MarketState: tick.MarketRegular, Source: tick.SourceSimulated, ReceivedTime: at + 7, DayVolume: 10 * size,
	}
}

// batch is the delivery of the entries from i up to, not including, j.
func (p *tape) batch(i, j int, resumed bool) *trigger.Batch {
	b := &trigger.Batch{Topic: "ticks", TopicID: p.id, Resumed: resumed}
	for _, e := range p.entries[i:j] {
		b.Records = append(b.Records, e.record)
	}
	return b
}

func (p *tape) all() *trigger.Batch { return p.batch(0, len(p.entries), false) }

// truth is what the log comes to, by window start and symbol.
func (p *tape) truth() map[int64]map[string]window.State {
	all := map[int64]map[string]window.State{}
	for _, e := range p.entries {
		if e.bad || e.late {
			continue
		}
		start := window.Start(e.tick.EventTime)
		if all[start] == nil {
			all[start] = map[string]window.State{}
		}
		st := all[start][e.tick.Symbol]
		st.Add(window.Point{EventTime: e.tick.EventTime, Offset: e.record.Offset, Price: int64(e.tick.Price)}, e.tick.Size)
		all[start][e.tick.Symbol] = st
	}
	return all
}

// topic is where updates go: it keeps the newest of each key, as compaction does.
type topic struct {
	mu   sync.Mutex
	last map[string]*windowpb.Update
	fail func() error
}

func (k *topic) Publish(_ context.Context, msgs []kafka.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil {
		k.last = map[string]*windowpb.Update{}
	}
	for _, m := range msgs {
		if k.fail != nil {
			if err := k.fail(); err != nil {
				return err
			}
		}
		u := &windowpb.Update{}
		if err := u.UnmarshalVT(m.Value); err != nil {
			return err
		}
		if old := k.last[string(m.Key)]; old == nil || old.Version <= u.Version {
			k.last[string(m.Key)] = u
		}
	}
	return nil
}

func newProcessor(s live.Store) (*live.Processor, *topic) {
	k := &topic{}
	return &live.Processor{Store: s, Windows: k, Quiet: time.Millisecond}, k
}

// process delivers as a connector does: on a busy machine Cassandra may not answer
// in time, and then the batch comes again, resumed where there is doubt.
func process(t *testing.T, p *live.Processor, b *trigger.Batch) trigger.Failures {
	t.Helper()
	for calls := 1; ; calls++ {
		failures, err := p.Process(t.Context(), b)
		var later trigger.RetryLater
		switch {
		case err == nil:
			return failures
		case calls == 5 || !errors.As(err, &later):
			t.Fatal(err)
		}
		t.Logf("delivered again: %v", err)
		if later.Doubt {
			again := *b
			again.Resumed = true
			b, p.Quiet = &again, live.Quiet
		}
	}
}

// samePoints replaces the points of highs and lows by their prices: of several
// records with one price, any may stand there.
func samePoints(st window.State) window.State {
	st.High = window.Point{Price: st.High.Price}
	st.Low = window.Point{Price: st.Low.Price}
	return st
}

// check compares what is stored and what was published with the truth.
func check(t *testing.T, s *store.Store, p *tape, k *topic) {
	t.Helper()
	incarnation, err := s.Incarnation(t.Context(), "ticks", p.id)
	if err != nil {
		t.Fatal(err)
	}
	checkLog(t, s, p, k, store.Log(incarnation, 0))
}

func checkLog(t *testing.T, s *store.Store, p *tape, k *topic, log int32) {
	t.Helper()
	for start, want := range p.truth() {
		w := store.Window{Start: start, Log: log}
		_, states, err := s.ReadWindow(t.Context(), w, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, updates := map[string]window.State{}, map[string]window.State{}
		for _, st := range states {
			got[st.Symbol] = samePoints(st.State)
			u := k.last[fmt.Sprintf("%s|%d|%d", st.Symbol, start, w.Log)]
			if u == nil {
				t.Errorf("window %s: no update of %s was published", w, st.Symbol)
				continue
			}
			updates[st.Symbol] = samePoints(window.State{
				Count: u.TickCount, Volume: u.Volume,
				PriceSum: window.Sum{Hi: u.PriceSumHi, Lo: u.PriceSumLo}, Turnover: window.Sum{Hi: u.TurnoverHi, Lo: u.TurnoverLo},
				Open: fromProto(u.Open), High: fromProto(u.High), Low: fromProto(u.Low), Close: fromProto(u.Close),
			})
		}
		for symbol, st := range want {
			want[symbol] = samePoints(st)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("window %s is not what its records come to (-want +got):\n%.3000s", w, diff)
		}
		if diff := cmp.Diff(want, updates); diff != "" {
			t.Errorf("window %s was published as something else (-want +got):\n%.3000s", w, diff)
		}
	}
}

func fromProto(p *windowpb.Point) window.Point {
	return window.Point{EventTime: p.EventTime, Offset: p.Offset, Price: p.Price}
}

// TestProcess runs its parts on one keyspace, since making one takes seconds;
// each part has a log of its own.
func TestProcess(t *testing.T) {
	s := testbed.Store(t)
	for name, part := range map[string]func(*testing.T, *store.Store){
		"one batch":                              testOneBatch,
		"records that are no ticks are reported": testNoTicks,
		"records that come 23 h after their window are left alone":  testLate,
		"the newest trade's details are published":                  testLatest,
		"ten thousand symbols":                                      testTenThousandSymbols,
		"more symbols than a mutation holds":                        testManySpans,
		"sums past 64 bits and negative prices":                     testSums,
		"sums that are known to fit change their low counters only": testLowCounters,
		"a batch again with other ends counts what is new":          testOtherEnds,
		"an update that could not be published comes with the next": testPublishFails,
		"doubt is told, and stays until it is settled":              testDoubt,
		"a call that is nearly over counts nothing":                 testTooLate,
		"a topic without an id":                                     testNoTopicID,
		"partitions side by side":                                   testPartitions,
		"what is known is not read back, nor written again":         testMemory,
		"a reading across another's count is made again":            testTornReading,
		"a fence past the log's end holds nobody up":                testFencePastTheEnd,
	} {
		t.Run(name, func(t *testing.T) { part(t, s) })
	}
}

func testOneBatch(t *testing.T, s *store.Store) {
	tp := newTape()
	tp.add(trade("AAPL", minute, 18744_000000, 100), tick.Protobuf)
	tp.add(trade("MSFT", minute+1, 41020_000000, 10), tick.JSON)
	tp.add(trade("AAPL", minute+2, 18745_000000, 50), tick.JSON)
	tp.add(trade("AAPL", minute+window.Length, 18746_000000, 0), tick.Protobuf)
	p, k := newProcessor(s)
	if f := process(t, p, tp.all()); f != nil {
		t.Errorf("failures %v", f)
	}
	check(t, s, tp, k)
	if f := process(t, p, tp.batch(0, 0, true)); f != nil {
		t.Errorf("failures %v of no records", f)
	}
}

func testNoTicks(t *testing.T, s *store.Store) {
	tp := newTape()
	bad := func(value string, headers ...trigger.Header) {
		tp.append(entry{record: trigger.Record{Value: []byte(value), Headers: headers}, bad: true})
	}
	tp.add(trade("AAPL", minute, 1, 1), tick.Protobuf)
	bad("hello")
	bad("")
	bad(`{"symbol":"AAPL"}`)
	bad(`{"symbol":"AAPL","price":1,"event_time":1}`, trigger.Header{Key: "content-type", Value: []byte("text/csv")})
	tp.append(entry{record: trigger.Record{}, bad: true})
	tp.add(trade("AAPL", minute+1, 3, 1), tick.Protobuf)
	p, k := newProcessor(s)
	failures := process(t, p, tp.all())
	check(t, s, tp, k)
	if len(failures) != 5 {
		t.Fatalf("failures %v", failures)
	}
	for i, f := range failures {
		if f.Offset != int64(i+1) || len(f.Reason) < 10 || len(f.Reason) > 300 {
			t.Errorf("failure %d: offset %d, reason %q", i, f.Offset, f.Reason)
		}
	}
	// A batch that has nothing else.
	if failures := process(t, p, tp.batch(1, 4, true)); len(failures) != 3 {
		t.Errorf("failures %v", failures)
	}
}

func testLate(t *testing.T, s *store.Store) {
	tp := newTape()
	limit := minute + window.Length + live.LateLimit.Milliseconds()
	for i, at := range []int64{minute + 10, limit, limit + 1, limit + 5_000_000} {
		tp.add(trade("AAPL", minute+int64(i), 100, 1), tick.Protobuf)
		e := &tp.entries[i]
		e.record.Timestamp, e.late = at, at > limit
	}
	p, k := newProcessor(s)
	process(t, p, tp.all())
	check(t, s, tp, k)
	// A window that has late records only is left as it is.
	tp = newTape()
	tp.add(trade("AAPL", minute, 100, 1), tick.Protobuf)
	tp.entries[0].record.Timestamp, tp.entries[0].late = limit+1, true
	process(t, p, tp.all())
	incarnation, _ := s.Incarnation(t.Context(), "ticks", tp.id)
	fence, states, err := s.ReadWindow(t.Context(), store.Window{Start: minute, Log: store.Log(incarnation, 0)}, nil)
	if err != nil || fence != 0 || len(states) != 0 {
		t.Errorf("fence %d, states %v, error %v", fence, states, err)
	}
}

func testLatest(t *testing.T, s *store.Store) {
	tp := newTape()
	newest := trade("AAPL", minute+500, 7, 3)
	newest.PreviousClose, newest.Currency, newest.MarketState = 6, "EUR", tick.MarketPost
	tp.add(trade("AAPL", minute+100, 5, 1), tick.Protobuf)
	tp.add(newest, tick.Protobuf)
	tp.add(trade("AAPL", minute+200, 6, 1), tick.Protobuf)
	p, k := newProcessor(s)
	process(t, p, tp.all())
	check(t, s, tp, k)
	for _, u := range k.last {
		want := &windowpb.Latest{
			EventTime: newest.EventTime, ReceivedTime: newest.ReceivedTime, LogTime: newest.EventTime + 50,
			DayVolume: &newest.DayVolume, PreviousClose: (*int64)(&newest.PreviousClose), Currency: "EUR", Exchange: "NMS",
			MarketState: int32(tick.MarketPost), Source: int32(tick.SourceSimulated), Price: 7,
		}
		a, _ := want.MarshalVT()
		b, _ := u.Latest.MarshalVT()
		if string(a) != string(b) {
			t.Errorf("latest is %v, want %v", u.Latest, want)
		}
		if u.Version != 3 || u.Length != window.Length {
			t.Errorf("version %d, length %d", u.Version, u.Length)
		}
	}
}

func testTenThousandSymbols(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 20_000 {
		tp.add(trade(fmt.Sprintf("S%04d", i%10_000), minute+int64(i), tick.Price(i+1), int64(i)), tick.Protobuf)
	}
	p, k := newProcessor(s)
	process(t, p, tp.batch(0, 9_000, false))
	process(t, p, tp.batch(9_000, 16_000, false))
	other := &live.Processor{Store: s, Windows: k} // knows nothing
	process(t, other, tp.batch(16_000, 18_000, false))
	process(t, p, tp.batch(18_000, 20_000, false))
	check(t, s, tp, k)
}

func testManySpans(t *testing.T, s *store.Store) {
	tp := newTape()
	n := store.MaxSymbols
	for i := range n + n/4 {
		tp.add(trade(fmt.Sprintf("S%05d", i), minute+1, tick.Price(i+1), 1), tick.Protobuf)
	}
	for i := range n / 4 {
		tp.add(trade(fmt.Sprintf("S%05d", i*4), minute+2, tick.Price(i+1), 1), tick.Protobuf)
	}
	p, k := newProcessor(s)
	process(t, p, tp.batch(0, n+10, false))
	process(t, p, tp.batch(0, len(tp.entries), true))
	check(t, s, tp, k)
}

func testSums(t *testing.T, s *store.Store) {
	tp := newTape()
	const size = 100_000
	for i := range 12 {
		at := minute + int64(i)
		tp.add(trade("UP", at, math.MaxInt64-tick.Price(i), size), tick.Protobuf)
		tp.add(trade("DOWN", at, -math.MaxInt64+tick.Price(i), size), tick.Protobuf)
		tp.add(trade("BOTH", at, math.MaxInt64*tick.Price(1-2*(i%2)), size), tick.Protobuf)
		// Each batch's sum fits a counter, and those of all don't.
		tp.add(trade("MANY", at, 1<<60, 1), tick.Protobuf)
	}
	p, k := newProcessor(s)
	for i := 0; i < len(tp.entries); i += 4 {
		process(t, p, tp.batch(i, min(i+4, len(tp.entries)), false))
	}
	check(t, s, tp, k)
}

// witness is a store that shows what is counted.
type witness struct {
	live.Store
	see func(states []store.SymbolState)
}

func (w *witness) Count(ctx context.Context, win store.Window, from, to int64, states []store.SymbolState) error {
	w.see(states)
	return w.Store.Count(ctx, win, from, to, states)
}

func testLowCounters(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 12 {
		tp.add(trade("AAPL", minute+int64(i), 223_00000000, 100), tick.Protobuf)
		tp.add(trade("LARGE", minute+int64(i), 1<<59, 1), tick.Protobuf)
		tp.add(trade("BELOW", minute+int64(i), tick.Price(1-2*(i%2)), 1), tick.Protobuf)
	}
	_, k := newProcessor(s)
	var got string
	w := &witness{s, func(states []store.SymbolState) {
		for i := range states {
			if states[i].LowOnly {
				got += states[i].Symbol + " "
			}
		}
	}}
	knows, other := &live.Processor{Store: w, Windows: k}, &live.Processor{Store: w, Windows: k}
	for _, d := range []struct {
		p    *live.Processor
		i, j int
		want string
	}{
		{knows, 0, 3, "AAPL BELOW LARGE "},
		{knows, 3, 9, "AAPL LARGE "}, // there was a price below 0
		{knows, 9, 12, "AAPL "},      // of LARGE all records are too much
		{other, 12, 15, ""},          // it knows nothing of the window
		{other, 15, 18, "AAPL "},     // but what it has read back
		{knows, 18, 24, ""},          // what it knows is of another fence
	} {
		got = ""
		process(t, d.p, tp.batch(d.i, d.j, false))
		symbols := strings.Fields(got)
		slices.Sort(symbols)
		if want := strings.Fields(d.want); !slices.Equal(symbols, want) {
			t.Errorf("records %d to %d: sums of %v go to the low counters alone, want %v", d.i, d.j, symbols, want)
		}
	}
	process(t, knows, tp.batch(24, len(tp.entries), false))
	check(t, s, tp, k)
}

func testOtherEnds(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 100 {
		// Two windows whose records alternate.
		tp.add(trade("AAPL", minute+int64(i)+int64(i%2)*window.Length, tick.Price(i+1), 1), tick.Protobuf)
	}
	p, k := newProcessor(s)
	for _, d := range []struct {
		i, j    int
		resumed bool
	}{
		{0, 40, false},
		{0, 40, true},
		{20, 30, true},
		{0, 60, true}, // the same, a part, more
		{59, 80, true},
		{80, 80, false},
		{80, 81, false},
		{30, 100, true},
	} {
		process(t, p, tp.batch(d.i, d.j, d.resumed))
	}
	check(t, s, tp, k)
}

func testPublishFails(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 10 {
		tp.add(trade("AAPL", minute+int64(i), tick.Price(i+1), 1), tick.Protobuf)
	}
	p, k := newProcessor(s)
	k.fail = func() error { return errors.New("no Kafka") }
	_, err := p.Process(t.Context(), tp.batch(0, 6, false))
	var later trigger.RetryLater
	if !errors.As(err, &later) || later.Doubt || later.After <= 0 || !strings.Contains(err.Error(), "no Kafka") {
		t.Fatalf("got %v", err)
	}
	k.fail = nil
	process(t, p, tp.batch(0, 6, false))
	process(t, p, tp.batch(6, 10, false))
	check(t, s, tp, k)
}

// unsure is a store whose Count does as told.
type unsure struct {
	live.Store
	count func(apply func() error) error
}

func (u *unsure) Count(ctx context.Context, w store.Window, from, to int64, states []store.SymbolState) error {
	return u.count(func() error { return u.Store.Count(ctx, w, from, to, states) })
}

func testDoubt(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 10 {
		tp.add(trade("AAPL", minute+int64(i), tick.Price(i+1), 1), tick.Protobuf)
	}
	u := &unsure{Store: s}
	p, k := newProcessor(u)
	var later trigger.RetryLater

	u.count = func(func() error) error { return fmt.Errorf("%w: no node", store.ErrNotApplied) }
	if _, err := p.Process(t.Context(), tp.all()); !errors.As(err, &later) || later.Doubt {
		t.Errorf("an increment that was not applied: %v, doubt %v", err, later.Doubt)
	}
	// The same of a batch in doubt settles nothing.
	if _, err := p.Process(t.Context(), tp.batch(0, 10, true)); !errors.As(err, &later) || !later.Doubt {
		t.Errorf("an increment of a resumed batch that was not applied: %v, doubt %v", err, later.Doubt)
	}
	u.count = func(apply func() error) error { return errors.Join(apply(), errors.New("connection lost")) }
	if _, err := p.Process(t.Context(), tp.all()); !errors.As(err, &later) || !later.Doubt {
		t.Errorf("an increment without an answer: %v, doubt %v", err, later.Doubt)
	}
	u.count = func(apply func() error) error { return apply() }
	process(t, p, tp.batch(0, 10, true))
	check(t, s, tp, k)
}

func testTooLate(t *testing.T, s *store.Store) {
	tp := newTape()
	tp.add(trade("AAPL", minute, 1, 1), tick.Protobuf)
	counted := false
	p, _ := newProcessor(&unsure{Store: s, count: func(apply func() error) error { counted = true; return apply() }})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var later trigger.RetryLater
	if _, err := p.Process(ctx, tp.all()); !errors.As(err, &later) || later.Doubt || counted {
		t.Errorf("got %v, doubt %v, counted %v", err, later.Doubt, counted)
	}
}

func testNoTopicID(t *testing.T, s *store.Store) {
	p, _ := newProcessor(s)
	b := &trigger.Batch{Topic: "ticks", Records: []trigger.Record{{}}}
	if _, err := p.Process(t.Context(), b); err == nil || !strings.Contains(err.Error(), "no id") {
		t.Errorf("got %v", err)
	}
}

func testPartitions(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 200 {
		tp.add(trade("AAPL", minute+int64(i)*500, tick.Price(i+1), 1), tick.Protobuf)
	}
	p, k := newProcessor(s)
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			for i := 0; i < 200; i += 40 {
				b := tp.batch(i, i+40, false)
				b.Partition = n
				if _, err := p.Process(t.Context(), b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	check(t, s, tp, k)
	if want := 12 * len(tp.truth()); len(k.last) != want {
		t.Errorf("%d windows were published, want %d", len(k.last), want)
	}
}

// watched counts what it is asked for.
type watched struct {
	live.Store
	// Symbols that were read back, and those whose registers were written as a
	// whole and one by one.
	readBack, whole, each int
}

func (s *watched) ReadWindow(ctx context.Context, w store.Window, symbols []string) (int64, []store.SymbolState, error) {
	s.readBack += len(symbols)
	return s.Store.ReadWindow(ctx, w, symbols)
}

func (s *watched) WriteRegisters(ctx context.Context, w store.Window, states []store.SymbolState) error {
	s.each += len(states)
	return s.Store.WriteRegisters(ctx, w, states)
}

func (s *watched) WriteWhole(ctx context.Context, w store.Window, at int64, rows [][]*store.SymbolState) error {
	s.whole += len(rows)
	return s.Store.WriteWhole(ctx, w, at, rows)
}

func testMemory(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 60 {
		tp.add(trade(fmt.Sprintf("S%d", i%3), minute+int64(i), tick.Price(1+i*7%11), 1), tick.Protobuf)
	}
	first := &watched{Store: s}
	p, k := newProcessor(first)
	process(t, p, tp.batch(0, 10, false))
	process(t, p, tp.batch(10, 20, false))
	process(t, p, tp.batch(10, 20, true))
	if first.readBack != 0 || first.each != 0 || first.whole != 6 {
		t.Errorf("the only processor read back %d symbols, and wrote the registers of %d one by one and of %d as a whole, want 0, 0 and twice 3", first.readBack, first.each, first.whole)
	}
	// A second one goes on, and the first comes back with what it knew before.
	second := &watched{Store: s}
	other := &live.Processor{Store: second, Windows: k}
	process(t, other, tp.batch(20, 22, false))
	process(t, other, tp.batch(22, 24, false))
	process(t, other, tp.batch(24, 30, false))
	if second.readBack != 3 || second.each != 3 {
		t.Errorf("the second processor read back %d symbols and wrote the registers of %d one by one, want each of 3 once", second.readBack, second.each)
	}
	process(t, p, tp.batch(30, 40, false))
	if first.readBack != 3 {
		t.Errorf("the first processor read back %d symbols after another had counted, want 3", first.readBack)
	}
	process(t, p, tp.batch(40, 60, false))
	if first.readBack != 3 || first.each != 3 {
		t.Errorf("the first processor read back %d symbols and wrote the registers of %d one by one in all, want 3", first.readBack, first.each)
	}
	check(t, s, tp, k)
}

// torn is a store whose first reading has registers of before something happened
// and counters of after.
type torn struct {
	live.Store
	between func()
}

func (s *torn) ReadWindow(ctx context.Context, w store.Window, symbols []string) (int64, []store.SymbolState, error) {
	fence, before, err := s.Store.ReadWindow(ctx, w, symbols)
	if err != nil || s.between == nil {
		return fence, before, err
	}
	between := s.between
	s.between = nil
	between()
	fence, after, err := s.Store.ReadWindow(ctx, w, symbols)
	for i := range after {
		st, old := &after[i], &before[i]
		st.Open, st.High, st.Low, st.Close = old.Open, old.High, old.Low, old.Close
	}
	return fence, after, err
}

func testTornReading(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 30 {
		price := tick.Price(100 + i%3)
		if i/10 == 1 { // highest and lowest come in between
			price = tick.Price(1 + 999*(i%2))
		}
		tp.add(trade("A", minute+int64(i), price, 1), tick.Protobuf)
	}
	other, k := newProcessor(s)
	process(t, other, tp.batch(0, 5, false))
	first := &torn{Store: s, between: func() { process(t, other, tp.batch(10, 20, false)) }}
	p := &live.Processor{Store: first, Windows: k}
	process(t, p, tp.batch(5, 10, false))
	if first.between != nil {
		t.Fatal("nothing was read back")
	}
	process(t, p, tp.batch(20, 30, false))
	check(t, s, tp, k)
}

func testFencePastTheEnd(t *testing.T, s *store.Store) {
	tp := newTape()
	for i := range 20 {
		tp.add(trade("A", minute+int64(i), 100, 1), tick.Protobuf)
	}
	incarnation, err := s.Incarnation(t.Context(), "ticks", tp.id)
	if err != nil {
		t.Fatal(err)
	}
	w := store.Window{Start: minute, Log: store.Log(incarnation, 0)}
	if err := s.Count(t.Context(), w, 0, 10, nil); err != nil { // two owners of an empty log's window did that
		t.Fatal(err)
	}
	p, k := newProcessor(s)
	process(t, p, tp.batch(0, 10, false))
	if len(k.last) != 0 {
		t.Errorf("published %v of what is not counted", k.last)
	}
	process(t, p, tp.batch(10, 20, false))
	_, states, err := s.ReadWindow(t.Context(), w, nil)
	if err != nil || len(states) != 1 || states[0].Count != 10 {
		t.Errorf("the window is %v, %v; want the 10 records from the fence on", states, err)
	}
}

// trouble is a store whose operations fail as a network's do. An increment that
// is under way may be applied at any time until the fences are quiet, or never.
type trouble struct {
	live.Store
	mu   sync.Mutex
	rng  *rand.Rand
	dead bool // the function was killed: nothing it does from here on happens
	way  []func()
}

var errTrouble = errors.New("connection lost")

// roll returns a number below 100, or an error where the caller is out of luck.
func (s *trouble) roll(percent int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rng.IntN(300) == 0 {
		s.dead = true
	}
	n := s.rng.IntN(100)
	if s.dead || n < percent {
		return n, errTrouble
	}
	return n, nil
}

// arrive lets increments under way happen, each with the given chance.
func (s *trouble) arrive(percent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.way = slices.DeleteFunc(s.way, func(apply func()) bool {
		if s.rng.IntN(100) >= percent {
			return false
		}
		apply()
		return true
	})
}

func (s *trouble) WriteRegisters(ctx context.Context, w store.Window, states []store.SymbolState) error {
	ctx = context.WithoutCancel(ctx) // it may be written after the call
	return inPart(s, keepAll(states), func(some []store.SymbolState) error { return s.Store.WriteRegisters(ctx, w, some) })
}

func (s *trouble) WriteWhole(ctx context.Context, w store.Window, at int64, rows [][]*store.SymbolState) error {
	ctx = context.WithoutCancel(ctx)
	kept := make([][]*store.SymbolState, len(rows))
	for i, row := range rows {
		for _, st := range row {
			st := keep(st)
			kept[i] = append(kept[i], &st)
		}
	}
	return inPart(s, kept, func(some [][]*store.SymbolState) error { return s.Store.WriteWhole(ctx, w, at, some) })
}

// inPart writes all rows, or fails: then half of them are written, or all of
// them later on, or none.
func inPart[T any](s *trouble, rows []T, write func([]T) error) error {
	n, err := s.roll(10)
	switch {
	case err == nil:
		return write(rows)
	case n%3 == 0:
		return errors.Join(err, write(rows[:len(rows)/2]))
	case n%3 == 1:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.way = append(s.way, func() { _ = write(rows) })
	}
	return err
}

// keep copies a state, which is the processor's memory: it will use it again.
func keep(st *store.SymbolState) store.SymbolState {
	kept := *st
	kept.Symbol = strings.Clone(st.Symbol)
	return kept
}

func keepAll(states []store.SymbolState) (kept []store.SymbolState) {
	for i := range states {
		kept = append(kept, keep(&states[i]))
	}
	return kept
}

func (s *trouble) Fence(ctx context.Context, w store.Window) (int64, error) {
	if _, err := s.roll(5); err != nil {
		return 0, err
	}
	fence, err := s.Store.Fence(ctx, w)
	s.arrive(50) // just after the read, which is the worst moment
	return fence, err
}

func (s *trouble) QuietFences(ctx context.Context, windows []store.Window, quiet time.Duration) ([]int64, error) {
	if _, err := s.roll(10); err != nil {
		return nil, err
	}
	s.arrive(80)
	s.mu.Lock()
	s.way = nil // the node has dropped them
	s.mu.Unlock()
	return s.Store.QuietFences(ctx, windows, quiet)
}

func (s *trouble) Count(ctx context.Context, w store.Window, from, to int64, states []store.SymbolState) error {
	switch n, err := s.roll(25); {
	case err == nil:
		return s.Store.Count(ctx, w, from, to, states)
	case n < 5:
		return fmt.Errorf("%w: %w", store.ErrNotApplied, err)
	case n < 15:
		return errors.Join(s.Store.Count(ctx, w, from, to, states), err)
	default:
		kept := keepAll(states)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.way = append(s.way, func() { _ = s.Store.Count(context.WithoutCancel(ctx), w, from, to, kept) })
		return err
	}
}

func (s *trouble) ReadWindow(ctx context.Context, w store.Window, symbols []string) (int64, []store.SymbolState, error) {
	if _, err := s.roll(5); err != nil {
		return 0, nil, err
	}
	return s.Store.ReadWindow(ctx, w, symbols)
}

// sameBucket makes names of symbols that share a bucket.
func sameBucket(n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprintf("S%d", i); store.Bucket(name) == 7 {
			names = append(names, name)
		}
	}
	return names
}

// randomTape is a log of a few minutes, with everything in it that can be.
func randomTape(rng *rand.Rand, n int) *tape {
	tp := newTape()
	symbols := append(sameBucket(4), "ANOTHER")
	for i := range n {
		at := minute + int64(i)*4*window.Length/int64(n) + rng.Int64N(window.Length) // out of order by up to a minute
		t := trade(symbols[rng.IntN(len(symbols))], at, tick.Price(rng.Int64N(2000)-1000), rng.Int64N(1000))
		if rng.IntN(10) == 0 {
			t.Price, t.Size = tick.Price(math.MaxInt64-rng.Int64N(9)), 100_000
		}
		switch {
		case t.Price == 0 || rng.IntN(50) == 0:
			tp.append(entry{record: trigger.Record{Timestamp: at, Value: []byte("no tick")}, bad: true})
		default:
			tp.add(t, tick.Encoding(rng.IntN(2)))
			if rng.IntN(30) == 0 {
				e := &tp.entries[i]
				e.late, e.record.Timestamp = true, at+live.LateLimit.Milliseconds()+2*window.Length
			}
		}
	}
	return tp
}

// Whatever the network does, and wherever functions and connectors are killed, the
// windows come to what their records come to. A seed that fails can be run by
// itself: its number is the name of the test.
func TestAnyDeliveryGivesTheSameWindows(t *testing.T) {
	s := testbed.Store(t)
	live.ShareRows(t, 2)
	for seed := range uint64(24) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 4))
			tp := randomTape(rng, 300)
			bad := &trouble{Store: s, rng: rand.New(rand.NewPCG(seed, 5))}
			p, k := newProcessor(bad)
			k.fail = func() error {
				_, err := bad.roll(2)
				return err
			}
			// Calls go to either of two functions, each with what it remembers.
			replicas := []*live.Processor{p, {Store: bad, Windows: k, Quiet: p.Quiet}}
			deliver(t, rng, tp, replicas, bad)
			bad.arrive(100) // what was forgotten shows here
			check(t, s, tp, k)
		})
	}
}

// deliver does as the connector does: in order, each batch until it is done, from
// the last commit on when it was killed, and with resumed as the contract says.
func deliver(t *testing.T, rng *rand.Rand, tp *tape, replicas []*live.Processor, bad *trouble) {
	failed := map[int64]bool{}
	// Deliveries are resumed until they have passed what a call in doubt held: a
	// shorter one that settles nothing, since it has bad or late records only, ends
	// no doubt.
	reach := 0
	for committed, calls := 0, 0; committed < len(tp.entries); calls++ {
		if calls > 2_000 {
			t.Fatalf("offset %d is not passed", committed)
		}
		end := min(committed+1+rng.IntN(60), len(tp.entries))
		if rng.IntN(10) == 0 { // mostly one of them for a while
			slices.Reverse(replicas)
		}
		failures, err := replicas[0].Process(t.Context(), tp.batch(committed, end, committed < reach))
		var later trigger.RetryLater
		switch {
		case err != nil && !errors.As(err, &later):
			t.Fatalf("got %v", err)
		case bad.dead:
			bad.dead, reach = false, max(reach, end) // no answer; another function takes over
		case err != nil && later.Doubt:
			reach = max(reach, end)
		case err != nil: // the same again
		case rng.IntN(8) == 0:
			reach = max(reach, end) // the connector was killed before it could commit
		default:
			for _, f := range failures {
				failed[f.Offset] = true
			}
			committed = end
		}
	}
	want := map[int64]bool{}
	for _, e := range tp.entries {
		if e.bad {
			want[e.record.Offset] = true
		}
	}
	if !maps.Equal(failed, want) {
		t.Errorf("offsets %v were reported as failures, want %v", failed, want)
	}
}
