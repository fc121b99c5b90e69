package live

import (
	"slices"

	"ticktape/internal/intake"
	"ticktape/internal/reuse"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

// grouping is a batch sorted by window and symbol. Its memory is used again for
// other batches, so that a tick costs no allocation; its strings point into the
// batch.
type grouping struct {
	log      int32
	records  []trigger.Record
	windows  []*windowRecords
	failures trigger.Failures
	late     int // records left to seal

	reader  intake.Reader
	tick    tick.Tick
	byStart map[int64]*windowRecords
	spare   []*span
	idle    []*windowRecords
}

// windowRecords are the records of one window, in one span unless they have more
// symbols than one mutation holds.
type windowRecords struct {
	name  store.Window
	spans []*span
}

// span is what a run of a window's records comes to.
type span struct {
	// The offsets of the first and the last record.
	first, last int64
	states      []store.SymbolState
	// newest is, for each state, the index of the record with the latest trade.
	newest []int32
	index  map[string]int32 // of states
}

// groupings keeps what a few batches side by side take.
var groupings = reuse.New(4, func() *grouping { return &grouping{byStart: map[int64]*windowRecords{}} })

// keptWindows is of how many windows memory is kept for other batches.
const keptWindows = 64

// release gives the memory back for other batches.
func (g *grouping) release() {
	for _, w := range g.windows {
		for _, s := range w.spans {
			clear(s.index) // its keys would keep the batch's memory
			clear(s.states)
			s.states, s.newest = s.states[:0], s.newest[:0]
		}
		g.spare = append(g.spare, w.spans...)
		w.spans = w.spans[:0]
	}
	g.idle = append(g.idle, g.windows...)
	if len(g.idle) > keptWindows { // of a batch with hardly two records of one window
		g.idle, g.spare = nil, nil
	}
	clear(g.byStart)
	clear(g.windows)
	g.windows = g.windows[:0]
	g.records, g.failures, g.late, g.tick, g.reader = nil, nil, 0, tick.Tick{}, intake.Reader{}
	groupings.Put(g)
}

// group sorts the records, which must not change until release.
func (g *grouping) group(records []trigger.Record, log int32) {
	g.log, g.records = log, records
	var w *windowRecords
	for i := range records {
		r := &records[i]
		start, ok, err := g.read(r)
		if err != nil {
			g.failures = append(g.failures, trigger.Failure{Offset: r.Offset, Reason: err.Error()})
			continue
		}
		if !ok {
			g.late++
			continue
		}
		if w == nil || w.name.Start != start {
			w = g.window(start)
		}
		s := w.spans[len(w.spans)-1]
		n, found := s.index[g.tick.Symbol]
		if !found {
			if len(s.states) == store.MaxSymbols {
				s = g.span()
				w.spans = append(w.spans, s)
			}
			n = s.symbol(g.tick.Symbol, int32(i))
		}
		if len(s.states) == 1 && s.states[0].Count == 0 {
			s.first = r.Offset
		}
		s.last = r.Offset
		st := &s.states[n]
		// The latest trade is the window's close, so this asks the state rather
		// than the record again.
		if g.tick.EventTime >= st.Close.EventTime {
			s.newest[n] = int32(i)
		}
		st.Add(window.Point{EventTime: g.tick.EventTime, Offset: r.Offset, Price: int64(g.tick.Price)}, g.tick.Size)
	}
}

// read decodes a record into g.tick. It returns ok where the record is to be
// counted here, and an error where it is no tick.
func (g *grouping) read(r *trigger.Record) (start int64, ok bool, err error) {
	if err := g.reader.Read(r, &g.tick); err != nil {
		return 0, false, err
	}
	start = window.Start(g.tick.EventTime)
	return start, r.Timestamp <= start+window.Length+LateLimit.Milliseconds(), nil
}

func (g *grouping) window(start int64) *windowRecords {
	if w, ok := g.byStart[start]; ok {
		return w
	}
	var w *windowRecords
	if n := len(g.idle); n > 0 {
		w, g.idle = g.idle[n-1], g.idle[:n-1]
	} else {
		w = &windowRecords{}
	}
	w.name = store.Window{Start: start, Log: g.log}
	w.spans = append(w.spans, g.span())
	g.byStart[start] = w
	g.windows = append(g.windows, w)
	return w
}

func (g *grouping) span() *span {
	if n := len(g.spare); n > 0 {
		s := g.spare[n-1]
		g.spare = g.spare[:n-1]
		return s
	}
	return &span{index: map[string]int32{}}
}

func (s *span) symbol(name string, record int32) int32 {
	n := int32(len(s.states))
	if int(n) < cap(s.states) { // states are large: no zero value is copied in
		s.states = s.states[:n+1]
		s.states[n].Symbol = name
	} else {
		s.states = append(s.states, store.SymbolState{Symbol: name})
	}
	s.newest = append(s.newest, record)
	s.index[name] = n
	return n
}

// recount adds up the span's records from the offset fence on. It reads the
// records once more, which only a batch costs that is delivered again with other
// ends.
func (g *grouping) recount(w *windowRecords, s *span, fence int64) []store.SymbolState {
	// A decoder of its own: the windows of a batch are counted side by side.
	again := grouping{byStart: map[int64]*windowRecords{}}
	from, _ := slices.BinarySearchFunc(g.records, fence, func(r trigger.Record, o int64) int { return int(r.Offset - o) })
	to, _ := slices.BinarySearchFunc(g.records, s.last+1, func(r trigger.Record, o int64) int { return int(r.Offset - o) })
	again.group(g.records[from:to], g.log)
	for _, other := range again.windows {
		if other.name == w.name {
			return other.spans[0].states
		}
	}
	return nil
}
