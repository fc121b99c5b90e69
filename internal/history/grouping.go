package history

import (
	"slices"
	"strings"

	"ticktape/internal/chunk"
	"ticktape/internal/intake"
	"ticktape/internal/reuse"
	"ticktape/internal/store"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

// grouping is a batch sorted by window and symbol. Its memory is used again for
// other batches, so that a tick costs no allocation; its strings point into the
// batch.
type grouping struct {
	records  []chunk.Record
	groupOf  []int32 // of each record
	groups   []group
	windows  []*windowGroups
	failures trigger.Failures

	byStart map[int64]*windowGroups
	idle    []*windowGroups
	order   []int32          // indexes of records, group by group
	latest  map[string]int32 // group with the latest trade, by symbol
	reader  intake.Reader
	builder chunk.Builder
	texts   []string // currencies and exchanges that were met
}

// windowGroups are the groups of one window.
type windowGroups struct {
	start int64
	// last is the offset of the last record, time the latest log time.
	last, time int64
	groups     []int32
	index      map[string]int32 // of grouping.groups, by symbol
}

// group is one symbol's records in one window.
type group struct {
	symbol string
	count  int32
	from   int32 // in order
	// newest is the index of the record with the latest trade, time its event time.
	newest int32
	time   int64
}

// groupings keeps what a few batches side by side take.
var groupings = reuse.New(4, func() *grouping {
	return &grouping{byStart: map[int64]*windowGroups{}, latest: map[string]int32{}}
})

// keptWindows is of how many windows memory is kept for other batches.
const keptWindows = 64

// release gives the memory back for other batches.
func (g *grouping) release() {
	for _, w := range g.windows {
		clear(w.index)
		w.groups = w.groups[:0]
	}
	if g.idle = append(g.idle, g.windows...); len(g.idle) > keptWindows { // of a batch with hardly two records of one window
		g.idle = nil
	}
	clear(g.windows)
	g.windows = g.windows[:0]
	clear(g.byStart)
	clear(g.latest)
	clear(g.groups)
	clear(g.records) // their strings would keep the batch's memory
	clear(g.texts)
	g.reader = intake.Reader{}
	g.builder.Reset("")
	g.records, g.groupOf, g.groups, g.order = g.records[:0], g.groupOf[:0], g.groups[:0], g.order[:0]
	g.texts = g.texts[:0]
	g.failures = nil
	groupings.Put(g)
}

// group sorts the records, which must not change until release.
func (g *grouping) group(records []trigger.Record) {
	var w *windowGroups
	for i := range records {
		r := &records[i]
		g.records = append(g.records, chunk.Record{})
		rec := &g.records[len(g.records)-1]
		if err := g.decode(r, rec); err != nil {
			g.records = g.records[:len(g.records)-1]
			g.failures = append(g.failures, trigger.Failure{Offset: r.Offset, Reason: err.Error()})
			continue
		}
		start := window.Start(rec.EventTime)
		if w == nil || w.start != start {
			w = g.window(start)
		}
		w.last, w.time = r.Offset, max(w.time, r.Timestamp)
		n, ok := w.index[rec.Symbol]
		if !ok {
			n = int32(len(g.groups))
			g.groups = append(g.groups, group{symbol: rec.Symbol})
			w.index[rec.Symbol] = n
			w.groups = append(w.groups, n)
		}
		gr := &g.groups[n]
		gr.count++
		if rec.EventTime >= gr.time {
			gr.newest, gr.time = int32(len(g.records)-1), rec.EventTime
		}
		g.groupOf = append(g.groupOf, n)
	}
	g.sort()
}

func (g *grouping) decode(r *trigger.Record, into *chunk.Record) error {
	into.Offset, into.LogTime = r.Offset, r.Timestamp
	if err := g.reader.Read(r, &into.Tick); err != nil {
		return err
	}
	into.Currency, into.Exchange = g.intern(into.Currency), g.intern(into.Exchange)
	return nil
}

// intern returns one string for equal ones. So the builder, which goes through
// the records in another order, sees that they are equal without going to the memory
// of each.
func (g *grouping) intern(s string) string {
	for _, t := range g.texts {
		if s == t {
			return t
		}
	}
	if len(g.texts) < maxTexts {
		g.texts = append(g.texts, s)
	}
	return s
}

const maxTexts = 16

// sort orders the records by group, keeping the order of their offsets.
func (g *grouping) sort() {
	from := int32(0)
	for i := range g.groups {
		g.groups[i].from = from
		from += g.groups[i].count
		g.groups[i].count = 0
	}
	g.order = append(g.order, make([]int32, len(g.records))...)
	for i, n := range g.groupOf {
		gr := &g.groups[n]
		g.order[gr.from+gr.count] = int32(i)
		gr.count++
	}
}

func (g *grouping) window(start int64) *windowGroups {
	if w, ok := g.byStart[start]; ok {
		return w
	}
	var w *windowGroups
	if n := len(g.idle); n > 0 {
		w, g.idle = g.idle[n-1], g.idle[:n-1]
	} else {
		w = &windowGroups{index: map[string]int32{}}
	}
	w.start, w.last, w.time = start, 0, 0
	g.byStart[start] = w
	g.windows = append(g.windows, w)
	return w
}

// chunks makes the batch's chunks and calls emit with rows of those of one window,
// some at a time. What emit gets stays untouched.
func (g *grouping) chunks(emit func(start int64, rows [][]store.Chunk)) {
	for _, w := range g.windows {
		// In the order of Cassandra's rows: a node takes less time for a batch that it
		// need not sort.
		shared := len(w.groups) >= fewestShared
		slices.SortFunc(w.groups, func(i, j int32) int {
			a, b := g.groups[i].symbol, g.groups[j].symbol
			if shared {
				if d := store.Bucket(a) - store.Bucket(b); d != 0 {
					return d
				}
			}
			return strings.Compare(a, b)
		})
		for groups := w.groups; len(groups) > 0; {
			n, size := 0, 0
			for n < len(groups) && (n < chunksAWrite || shared && g.bucketGoesOn(groups, n)) {
				size += chunkSize + recordSize*int(g.groups[groups[n]].count)
				n++
			}
			emit(w.start, g.rows(groups[:n], shared, make([]byte, 0, size)))
			groups = groups[n:]
		}
	}
}

// bucketGoesOn tells whether the group n is in the bucket of the one before.
func (g *grouping) bucketGoesOn(groups []int32, n int) bool {
	return store.Bucket(g.groups[groups[n-1]].symbol) == store.Bucket(g.groups[groups[n]].symbol)
}

// rows makes rows of the groups: where they are shared, one of each bucket that has
// no more than mostShared records, and else one of each chunk. So what a row holds
// follows from its bucket or symbol and its offsets. Their bytes are appended to bytes.
func (g *grouping) rows(groups []int32, shared bool, bytes []byte) [][]store.Chunk {
	list, rows := make([]store.Chunk, 0, len(groups)), make([][]store.Chunk, 0, len(groups))
	for len(groups) > 0 {
		n, records := 1, int(g.groups[groups[0]].count)
		for shared && n < len(groups) && g.bucketGoesOn(groups, n) {
			records += int(g.groups[groups[n]].count)
			n++
		}
		from := len(list)
		for _, i := range groups[:n] {
			gr := &g.groups[i]
			for part := range slices.Chunk(g.order[gr.from:gr.from+gr.count], chunk.MaxRecords) {
				var c store.Chunk
				c, bytes = g.chunk(gr.symbol, part, bytes)
				list = append(list, c)
			}
		}
		if records <= mostShared {
			rows = append(rows, list[from:len(list):len(list)])
		} else {
			for i := from; i < len(list); i++ {
				rows = append(rows, list[i:i+1:i+1])
			}
		}
		groups = groups[n:]
	}
	return rows
}

// What a chunk and a record in it usually take, so that one allocation does.
const (
	chunkSize  = 256
	recordSize = 24
)

// chunk makes a chunk of records of one symbol. Its bytes are appended to bytes.
func (g *grouping) chunk(symbol string, part []int32, bytes []byte) (store.Chunk, []byte) {
	g.builder.Reset(symbol)
	g.builder.AddAll(g.records, part)
	c := store.Chunk{Symbol: symbol}
	c.First, c.Last = g.builder.Offsets()
	summary := g.builder.Summary()
	from := len(bytes)
	bytes = summary.Append(bytes)
	to := len(bytes)
	c.Summary = bytes[from:to:to]
	bytes = g.builder.Append(bytes)
	c.Ticks = bytes[to:len(bytes):len(bytes)]
	return c, bytes
}

// quotes lists the latest trade of each symbol of the batch.
func (g *grouping) quotes() []store.Quote {
	for i := range g.groups {
		gr := &g.groups[i]
		n, ok := g.latest[gr.symbol]
		if !ok || gr.time > g.groups[n].time { // groups of one symbol are of different windows
			g.latest[gr.symbol] = int32(i)
		}
	}
	list := make([]store.Quote, 0, len(g.latest))
	for _, n := range g.latest {
		r := &g.records[g.groups[n].newest]
		list = append(list, store.Quote{Offset: r.Offset, Tick: r.Tick})
	}
	return list
}
