package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

// memory stands in for Cassandra where a test needs thousands of batches; what
// Cassandra does with them is tested on the real one.
type memory struct {
	mu     sync.Mutex
	rows   map[place][]*chunk.Row
	quotes map[string]store.Quote
	marks  []store.Mark
	fail   error // of the next WriteChunks
}

// place is the key of a row.
type place struct {
	window      store.Window
	symbol      string // or " " and a bucket
	first, last int64
}

func newMemory() *memory {
	return &memory{rows: map[place][]*chunk.Row{}, quotes: map[string]store.Quote{}}
}

func (m *memory) Incarnation(context.Context, string, [16]byte) (int32, error) { return 1, nil }

func (m *memory) WriteChunks(_ context.Context, w store.Window, rows [][]store.Chunk) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fail; err != nil {
		m.fail = nil
		return err
	}
	for _, row := range rows {
		at := place{w, strings.Clone(row[0].Symbol), row[0].First, row[0].Last}
		if len(row) > 1 {
			at.symbol = fmt.Sprint(" ", store.Bucket(row[0].Symbol))
		}
		var chunks []*chunk.Row
		for _, c := range row {
			at.first, at.last = min(at.first, c.First), max(at.last, c.Last)
			summary, err := chunk.DecodeSummary(c.Summary)
			if err != nil {
				return err
			}
			records, err := new(chunk.Decoder).Decode(nil, c.Ticks)
			if err != nil {
				return err
			}
			chunks = append(chunks, &chunk.Row{Log: w.Log, Symbol: strings.Clone(c.Symbol), First: c.First, Last: c.Last, Summary: summary, Records: records})
		}
		if before, ok := m.rows[at]; ok && !cmp.Equal(before, chunks) {
			return fmt.Errorf("other ticks at the same place: %s", cmp.Diff(before, chunks))
		}
		m.rows[at] = chunks
	}
	return nil
}

func (m *memory) WriteQuotes(_ context.Context, _ int32, quotes []store.Quote) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range quotes {
		old, ok := m.quotes[q.Symbol]
		if !ok || q.EventTime > old.EventTime || q.EventTime == old.EventTime && q.Offset > old.Offset {
			q.Symbol, q.Exchange, q.Currency = string([]byte(q.Symbol)), string([]byte(q.Exchange)), string([]byte(q.Currency))
			m.quotes[q.Symbol] = q
		}
	}
	return nil
}

func (m *memory) WriteMarks(_ context.Context, marks []store.Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marks = append(m.marks, marks...)
	return nil
}

// trades adds up what is stored of a symbol in a window.
func (m *memory) trades(t interface{ Fatal(...any) }, w store.Window, symbol string) window.State {
	var rows []*chunk.Row
	records := map[*chunk.Row][]chunk.Record{}
	for at, chunks := range m.rows {
		for _, r := range chunks {
			if at.window == w && r.Symbol == symbol {
				lean := *r
				lean.Records = nil
				rows = append(rows, &lean)
				records[&lean] = r.Records
			}
		}
	}
	state, _, err := chunk.Trades(rows, func(r *chunk.Row) ([]chunk.Record, error) { return records[r], nil })
	if err != nil {
		t.Fatal(err)
	}
	return state
}

const start = 1_763_000_040_000 // a window's start

// record makes a record of topic "ticks" of a tick.
func record(t interface{ Fatal(...any) }, e tick.Encoding, offset, logTime int64, tk tick.Tick) trigger.Record {
	value, err := e.Append(nil, &tk)
	if err != nil {
		t.Fatal(err)
	}
	return trigger.Record{
		Offset: offset, Timestamp: logTime, Key: []byte(tk.Symbol), Value: value,
		Headers: []trigger.Header{{Key: "content-type", Value: []byte(e.ContentType())}},
	}
}

// sameBucket makes names of symbols that share a bucket.
func sameBucket(n int) (names []string) {
	for i := 0; len(names) < n; i++ {
		if name := fmt.Sprint("S", i); store.Bucket(name) == 7 {
			names = append(names, name)
		}
	}
	return names
}

func TestAnyBatchesOfALogStoreTheSameTrades(t *testing.T) {
	symbols := append(sameBucket(3), "ANOTHER")
	defer func(n int) { fewestShared = n }(fewestShared)
	defer func(n int) { mostShared = n }(mostShared)
	fewestShared, mostShared = 3, 8 // some batches of a window share rows and some do not
	rapid.Check(t, func(t *rapid.T) {
		// A log with trades that repeat, in any order of event times.
		var log []trigger.Record
		type key struct {
			w      store.Window
			symbol string
		}
		truth := map[key]window.State{}
		seen := map[tick.ID]bool{}
		offset := int64(100)
		newest := map[string]store.Quote{}
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			tk := tick.Tick{
				Symbol:    rapid.SampledFrom(symbols).Draw(t, "symbol"),
				EventTime: start + rapid.Int64Range(0, 6).Draw(t, "time")*window.Length/4,
				Price:     tick.Price(rapid.Int64Range(-3, 3).Filter(func(p int64) bool { return p != 0 }).Draw(t, "price")),
				Size:      rapid.Int64Range(0, 5).Draw(t, "size"), Seq: rapid.Int64Range(0, 3).Draw(t, "seq"),
				Source: tick.Source(rapid.Int32Range(1, 2).Draw(t, "source")),
			}
			log = append(log, record(t, tick.Encoding(offset%2), offset, start+offset, tk))
			k := key{store.Window{Start: window.Start(tk.EventTime), Log: store.Log(1, 3)}, tk.Symbol}
			if !seen[tk.ID()] {
				seen[tk.ID()] = true
				state := truth[k]
				state.Add(window.Point{EventTime: tk.EventTime, Offset: offset, Price: int64(tk.Price)}, tk.Size)
				truth[k] = state
			}
			if q, ok := newest[tk.Symbol]; !ok || tk.EventTime >= q.EventTime {
				newest[tk.Symbol] = store.Quote{Offset: offset, Tick: tk}
			}
			offset += rapid.Int64Range(1, 3).Draw(t, "gap")
		}
		m := newMemory()
		w := New(m)
		for range 2 { // delivered, then delivered again with other ends
			for at := 0; at < len(log); {
				from := max(0, at-rapid.IntRange(0, 10).Draw(t, "back"))
				to := min(len(log), at+rapid.IntRange(1, 20).Draw(t, "length"))
				if _, err := w.Persist(context.Background(), &trigger.Batch{Topic: "ticks", Partition: 3, Records: log[from:to]}); err != nil {
					t.Fatal(err)
				}
				at = to
			}
		}
		for k, want := range truth {
			if diff := cmp.Diff(want, m.trades(t, k.w, k.symbol)); diff != "" {
				t.Fatalf("%s in %s: %s", k.symbol, k.w, diff)
			}
		}
		if diff := cmp.Diff(newest, m.quotes); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRecordsThatAreNoTicksFailAndTheRestIsStored(t *testing.T) {
	good := tick.Tick{Symbol: "A", EventTime: start, Price: 1, Exchange: "NMS"}
	b := &trigger.Batch{Topic: "ticks", Records: []trigger.Record{
		record(t, tick.JSON, 1, start, good),
		{Offset: 2},
		{Offset: 3, Value: []byte{}},
		{Offset: 4, Value: []byte("no tick")},
		{Offset: 5, Value: []byte("{}")},
		{Offset: 6, Value: []byte("{}"), Headers: []trigger.Header{{Key: "content-type", Value: []byte("text/plain")}}},
		record(t, tick.Protobuf, 7, start, good),
	}}
	m := newMemory()
	failures, err := New(m).Persist(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	var offsets []int64
	for _, f := range failures {
		offsets = append(offsets, f.Offset)
		if f.Reason == "" {
			t.Errorf("offset %d fails without a reason", f.Offset)
		}
	}
	if !slices.Equal(offsets, []int64{2, 3, 4, 5, 6}) {
		t.Errorf("failed: %v", offsets)
	}
	row := m.rows[place{store.Window{Start: start, Log: store.Log(1, 0)}, "A", 1, 7}]
	if len(row) != 1 || row[0].Count != 2 || row[0].Repeats != 1 {
		t.Errorf("stored: %+v", m.rows)
	}
}

func TestAWindowIsMarkedWhenItIsMetAndAgainByEachBatchThatCameAfterItsEnd(t *testing.T) {
	const end = start + window.Length
	m := newMemory()
	w := New(m)
	offset := int64(0)
	persist := func(partition int, logTime int64, times ...int64) []store.Mark {
		m.marks = nil
		b := &trigger.Batch{Topic: "ticks", Partition: partition}
		for _, at := range times {
			b.Records = append(b.Records, record(t, tick.Protobuf, offset, logTime, tick.Tick{Symbol: "A", EventTime: at, Price: 1}))
			offset++
		}
		if _, err := w.Persist(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		return m.marks
	}
	mark := func(partition int, start, upTo int64, late bool) store.Mark {
		return store.Mark{Window: store.Window{Start: start, Log: store.Log(1, partition)}, UpTo: upTo, Late: late}
	}
	for _, c := range []struct {
		name      string
		partition int
		logTime   int64
		times     []int64
		want      []store.Mark
	}{
		{"the first batch", 0, start, []int64{start, start + 1}, []store.Mark{mark(0, start, 1, false)}},
		{"another before the end", 0, end - 1, []int64{start + 2}, nil},
		{"the first of another log", 1, end - 1, []int64{start}, []store.Mark{mark(1, start, 3, false)}},
		{"one at the end", 0, end, []int64{end - 1}, []store.Mark{mark(0, start, 4, true)}},
		{"two windows, one of them over", 0, end + 1, []int64{end, start, end}, []store.Mark{mark(0, end, 7, false), mark(0, start, 6, true)}},
		{"log time that steps back", 0, end - 1, []int64{start}, []store.Mark{mark(0, start, 8, true)}},
		{"log time that steps back, of another log", 1, end - 1, []int64{start}, nil},
	} {
		if diff := cmp.Diff(c.want, persist(c.partition, c.logTime, c.times...), cmp.AllowUnexported(store.Mark{})); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestABatchThatFailedIsToBeStoredAgain(t *testing.T) {
	m := newMemory()
	m.fail = errors.New("no answer")
	w := New(m)
	b := &trigger.Batch{Topic: "ticks", Records: []trigger.Record{record(t, tick.Protobuf, 1, start, tick.Tick{Symbol: "A", EventTime: start, Price: 1})}}
	_, err := w.Persist(t.Context(), b)
	var later trigger.RetryLater
	if !errors.As(err, &later) || later.After <= 0 {
		t.Fatalf("error %v, want a RetryLater", err)
	}
	if len(m.marks) != 0 {
		t.Errorf("%v is marked before its chunk is stored", m.marks)
	}
	if _, err := w.Persist(t.Context(), b); err != nil || len(m.marks) != 1 {
		t.Errorf("the second time: error %v, marks %v", err, m.marks)
	}
}

func TestAGroupWithMoreRecordsThanAChunkHoldsBecomesSeveral(t *testing.T) {
	defer func(n int) { fewestShared = n }(fewestShared)
	for _, fewestShared = range []int{2, 100} {
		b := &trigger.Batch{Topic: "ticks"}
		names := sameBucket(2)
		const n = 2*chunk.MaxRecords + 1
		for i := range int64(n) {
			b.Records = append(b.Records, record(t, tick.Protobuf, i, start, tick.Tick{Symbol: names[0], EventTime: start + i, Price: 1, Seq: i}))
		}
		b.Records = append(b.Records, record(t, tick.Protobuf, n, start, tick.Tick{Symbol: names[1], EventTime: start, Price: 1}))
		m := newMemory()
		if _, err := New(m).Persist(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w := store.Window{Start: start, Log: store.Log(1, 0)}
		if got := m.trades(t, w, names[0]).Count; got != n || len(m.rows) != 4 {
			t.Errorf("%d trades, %d rows", got, len(m.rows))
		}
		if got := m.trades(t, w, names[1]).Count; got != 1 {
			t.Errorf("%d trades of the other symbol", got)
		}
	}
}

// discard is a store that is never the slow part.
type discard struct{}

func (discard) Incarnation(context.Context, string, [16]byte) (int32, error)     { return 1, nil }
func (discard) WriteChunks(context.Context, store.Window, [][]store.Chunk) error { return nil }
func (discard) WriteQuotes(context.Context, int32, []store.Quote) error          { return nil }
func (discard) WriteMarks(context.Context, []store.Mark) error                   { return nil }

func benchmarkBatch(t testing.TB, e tick.Encoding, n, symbols int) *trigger.Batch {
	b := &trigger.Batch{Topic: "ticks"}
	for i := range int64(n) {
		tk := tick.Tick{
			Symbol: fmt.Sprintf("SYM%04d", i*7919%int64(symbols)), EventTime: start + i, Price: tick.Price(18_000_000_000 + i*i%997*1_000_000), Size: i % 300, Seq: i,
			DayVolume: 1_000_000 + i*40, PreviousClose: 18_100_000_000, Currency: "USD", Exchange: "NMS", MarketState: tick.MarketRegular, Source: tick.SourceSimulated, ReceivedTime: start + i + 3,
		}
		b.Records = append(b.Records, record(t, e, i, start+i/10, tk))
	}
	return b
}

func BenchmarkPersist(b *testing.B) {
	for _, e := range []tick.Encoding{tick.Protobuf, tick.JSON} {
		for _, symbols := range []int{20, 500, 10_000} {
			b.Run(fmt.Sprintf("%s/%d symbols", []string{"protobuf", "json"}[e], symbols), func(b *testing.B) {
				batch := benchmarkBatch(b, e, 20_000, symbols)
				w := New(discard{})
				b.ReportAllocs()
				for b.Loop() {
					if _, err := w.Persist(context.Background(), batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Records)), "ns/tick")
			})
		}
	}
}
