// Package chunk is the form in which tick history is stored: one symbol's ticks
// of one batch within one window, by column and delta-coded, with a summary of
// what they add up to beside it; and the arithmetic that makes exact trades of any
// heap of chunks, overlapping ones and repeated trades included.
//
// It is pure, without I/O: package store keeps chunks, package history makes
// them of batches, package seal adds them up.
package chunk

import (
	"errors"
	"fmt"
	"slices"

	"ticktape/internal/chunk/chunkpb"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// MaxRecords is how many records a chunk holds at most, so that a row and what
// its decoding takes are bounded.
const MaxRecords = 1 << 14

// ErrChunk is the root of the decoders' errors.
var ErrChunk = errors.New("not a chunk")

// Record is a tick with its place in its log: its offset and the time of the
// log's append in milliseconds since the Unix epoch.
type Record struct {
	Offset  int64
	LogTime int64
	tick.Tick
}

// Point is the record's price and place.
func (r *Record) Point() window.Point {
	return window.Point{EventTime: r.EventTime, Offset: r.Offset, Price: int64(r.Price)}
}

// Builder makes a chunk. The zero Builder is not ready: call Reset. One that is
// reused allocates nothing per record. It is not safe for concurrent use.
type Builder struct {
	m       chunkpb.Chunk // columns hold values, not differences, until Append
	state   window.State
	logTime int64 // the latest
	last    int   // index of the record with the highest (event time, seq)
	first   int   // and of the one with the lowest
	sorted  bool  // (event time, seq) grows from record to record
	source  int64 // of the last record
}

// Reset empties the builder for ticks of the symbol.
func (b *Builder) Reset(symbol string) {
	clear(b.m.Text) // which would keep a batch's memory
	b.m.ResetVT()
	b.m.Symbol = symbol
	b.state = window.State{}
	b.logTime, b.first, b.last, b.sorted, b.source = 0, 0, 0, true, 0
}

// Len is the number of records added since Reset.
func (b *Builder) Len() int { return len(b.m.Offset) }

// Offsets returns the first and the last offset added; there must be one.
func (b *Builder) Offsets() (first, last int64) {
	return b.m.Offset[0], b.m.Offset[b.Len()-1]
}

// Add adds a record of the builder's symbol. Offsets must grow from call to
// call, and no more than MaxRecords may be added.
func (b *Builder) Add(r *Record) {
	b.m.Offset, b.m.Seq = append(b.m.Offset, r.Offset), append(b.m.Seq, r.Seq)
	b.add(r)
}

// near is how many records stay in a core's nearest cache.
const near = 64

// AddAll adds those of the records that order lists, as Add does. A symbol's records
// lie far apart in a batch, and waiting for the memory of each takes longer than
// what is done with it. So two columns of some records are filled first, one field
// from either end of a record: loads that depend on nothing are waited for together.
func (b *Builder) AddAll(records []Record, order []int32) {
	m := &b.m
	for part := range slices.Chunk(order, near) {
		for _, i := range part {
			m.Offset = append(m.Offset, records[i].Offset)
		}
		for _, i := range part {
			m.Seq = append(m.Seq, records[i].Seq)
		}
		for _, i := range part {
			b.add(&records[i])
		}
	}
}

// add adds a record of which offset and seq are there.
func (b *Builder) add(r *Record) {
	m, i := &b.m, len(b.m.EventTime)
	m.LogTime = append(m.LogTime, r.LogTime)
	m.EventTime = append(m.EventTime, r.EventTime)
	m.Price = append(m.Price, int64(r.Price))
	m.Size = append(m.Size, r.Size)
	m.DayVolume = append(m.DayVolume, r.DayVolume)
	m.PreviousClose = append(m.PreviousClose, int64(r.PreviousClose))
	m.ReceivedTime = append(m.ReceivedTime, r.ReceivedTime)
	m.MarketState = append(m.MarketState, int64(r.MarketState))
	m.Source = append(m.Source, int64(r.Source))
	m.Currency = append(m.Currency, b.text(r.Currency, m.Currency))
	m.Exchange = append(m.Exchange, b.text(r.Exchange, m.Exchange))

	b.state.Add(r.Point(), r.Size)
	b.logTime = max(b.logTime, r.LogTime)
	b.source = int64(r.Source)
	if i == 0 {
		return
	}
	b.sorted = b.sorted && b.before(i-1, i)
	if b.before(i, b.first) {
		b.first = i
	}
	if b.before(b.last, i) {
		b.last = i
	}
}

// before orders records by event time, then seq.
func (b *Builder) before(i, j int) bool {
	return Key{b.m.EventTime[i], b.m.Seq[i]}.compare(Key{b.m.EventTime[j], b.m.Seq[j]}) < 0
}

// text returns the index of s among the chunk's texts. Mostly it is that of the
// record before, the last of the column so far.
func (b *Builder) text(s string, column []int64) int64 {
	if n := len(column); n > 0 && b.m.Text[column[n-1]] == s {
		return column[n-1]
	}
	if i := slices.Index(b.m.Text, s); i >= 0 {
		return int64(i)
	}
	b.m.Text = append(b.m.Text, s)
	return int64(len(b.m.Text) - 1)
}

// Summary returns what the records add up to. It must be asked before Append.
func (b *Builder) Summary() Summary {
	s := Summary{State: b.state, LastLogTime: b.logTime, Source: tick.Source(b.source)}
	if n := b.Len(); n > 0 {
		s.FirstSeq, s.LastSeq = b.m.Seq[b.first], b.m.Seq[b.last]
		s.Exchange = b.m.Text[b.m.Exchange[n-1]]
	}
	if !b.sorted {
		type id struct{ time, seq, source int64 }
		seen := make(map[id]struct{}, b.Len())
		for i := range b.m.Offset {
			seen[id{b.m.EventTime[i], b.m.Seq[i], b.m.Source[i]}] = struct{}{}
		}
		s.Repeats = int64(b.Len() - len(seen))
	}
	return s
}

// Append appends the chunk's stored form to dst. It uses the builder up: Reset
// comes next.
func (b *Builder) Append(dst []byte) []byte {
	for _, c := range columns(&b.m) {
		differences(*c)
		*c = cut(*c)
	}
	differences(b.m.Offset)
	n := b.m.SizeVT()
	dst = slices.Grow(dst, n)[:len(dst)+n]
	if _, err := b.m.MarshalToSizedBufferVT(dst[len(dst)-n:]); err != nil {
		panic(fmt.Sprintf("encode chunk of %d bytes: %v", n, err)) // the size was wrong: a bug
	}
	return dst
}

// columns lists all columns but offset, which tells how many records there are.
func columns(m *chunkpb.Chunk) [12]*[]int64 {
	return [...]*[]int64{
		&m.LogTime, &m.EventTime, &m.Price, &m.Size, &m.Seq, &m.DayVolume, &m.PreviousClose,
		&m.ReceivedTime, &m.MarketState, &m.Source, &m.Currency, &m.Exchange,
	}
}

// differences replaces each value but the first by its difference to the one before.
func differences(c []int64) {
	for i := len(c) - 1; i > 0; i-- {
		c[i] -= c[i-1]
	}
}

// cut leaves out the differences at the end that are 0.
func cut(c []int64) []int64 {
	n := len(c)
	for n > 0 && c[n-1] == 0 {
		n--
	}
	return c[:n]
}

// values undoes differences and cut for n records, n at least len(c).
func values(c []int64, n int) []int64 {
	var v int64
	for i := range c {
		v += c[i]
		c[i] = v
	}
	for len(c) < n {
		c = append(c, v)
	}
	return c
}

// Decoder reads chunks. It keeps scratch space between calls. It is not safe
// for concurrent use.
type Decoder struct {
	m chunkpb.Chunk
}

// Decode appends the records of the chunk b to dst, in the order of their
// offsets. Errors wrap ErrChunk; dst is then returned as it was. Nothing of the
// result aliases b.
func (d *Decoder) Decode(dst []Record, b []byte) ([]Record, error) {
	m := &d.m
	m.ResetVT()
	if err := m.UnmarshalVT(b); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrChunk, err)
	}
	n := len(m.Offset)
	if n > MaxRecords {
		return dst, fmt.Errorf("%w: it has %d records, more than %d", ErrChunk, n, MaxRecords)
	}
	m.Offset = values(m.Offset, n)
	for i := 1; i < n; i++ {
		if m.Offset[i] <= m.Offset[i-1] {
			return dst, fmt.Errorf("%w: offset %d follows %d", ErrChunk, m.Offset[i], m.Offset[i-1])
		}
	}
	for _, c := range columns(m) {
		if len(*c) > n {
			return dst, fmt.Errorf("%w: a column has %d values for %d records", ErrChunk, len(*c), n)
		}
		*c = values(*c, n)
	}
	for _, c := range [][]int64{m.Currency, m.Exchange} {
		for _, v := range c {
			if v < 0 || v >= int64(len(m.Text)) {
				return dst, fmt.Errorf("%w: text %d is not among its %d", ErrChunk, v, len(m.Text))
			}
		}
	}
	for _, c := range [][]int64{m.MarketState, m.Source} {
		for _, v := range c {
			if v != int64(int32(v)) {
				return dst, fmt.Errorf("%w: %d is neither market state nor source", ErrChunk, v)
			}
		}
	}
	dst = slices.Grow(dst, n)
	for i := range n {
		dst = append(dst, Record{
			Offset: m.Offset[i], LogTime: m.LogTime[i],
			Tick: tick.Tick{
				Symbol: m.Symbol, EventTime: m.EventTime[i], Price: tick.Price(m.Price[i]), Size: m.Size[i], Seq: m.Seq[i],
				DayVolume: m.DayVolume[i], PreviousClose: tick.Price(m.PreviousClose[i]),
				Currency: m.Text[m.Currency[i]], Exchange: m.Text[m.Exchange[i]],
				MarketState: tick.MarketState(m.MarketState[i]), Source: tick.Source(m.Source[i]), ReceivedTime: m.ReceivedTime[i],
			},
		})
	}
	return dst, nil
}
