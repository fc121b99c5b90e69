package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gocql/gocql"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/window"
)

// Window names the live state of one window as far as one log has fed it: one
// Cassandra partition of counters and one of registers.
type Window struct {
	Start int64 // milliseconds since the Unix epoch
	Log   int32
}

// String is for logs and errors.
func (w Window) String() string {
	return fmt.Sprintf("%s of log %d", time.UnixMilli(w.Start).UTC().Format("2006-01-02T15:04Z"), w.Log)
}

// SymbolState is what one symbol's records come to in a window.
type SymbolState struct {
	Symbol string
	window.State
	// LowOnly is for Count: each sum may go into its lowest counter, since State.Fits
	// is true of what the symbol comes to in the window with these records.
	LowOnly bool
}

// MaxSymbols is how many symbols one Count can take: its mutation can't be
// split. A node refuses one above half a commit log segment (16 MiB), and one
// that it has not applied in 5 s (counter_write_request_timeout) is in doubt,
// while a busy small machine takes a tenth of a millisecond for each symbol.
const MaxSymbols = 10_000

// ErrNotApplied is wrapped by an error of Count after which the increment has
// not been applied and never will be.
var ErrNotApplied = errors.New("not applied")

const (
	// registerOffsets is the number of offsets that a register's timestamp tells apart.
	registerOffsets = 1 << 40
	// registerChunk and readChunk bound a request's size. Neither splits
	// anything that has to stay whole.
	registerChunk = 2_000
	wholeChunk    = 5_000
	readChunk     = 5_000
)

// WriteRegisters brings records into the open, high, low and close of a window.
// Each register is one cell whose write timestamp is made from its value, so that
// of all values ever written, in whatever order and however often, the right one
// stays: idempotent and commutative. Of points with equal prices, any may stay as
// high or low.
func (s *Store) WriteRegisters(ctx context.Context, w Window, states []SymbolState) error {
	for rows := range slices.Chunk(rowOrder(states), registerChunk) {
		if err := s.writeRegisters(ctx, w, states, rows); err != nil {
			return fmt.Errorf("write registers of window %s: %w", w, err)
		}
	}
	return nil
}

// WriteWhole does in one cell for each row what WriteRegisters does in four for
// each symbol. A row is one symbol, or all those of a bucket (see Bucket) that have a
// record in the window below the offset at. It asks for more: the states must be
// what the symbols come to in the window with all records below that offset, and
// nothing else. The offset is the write's timestamp, so that of all such states the
// one of the most records stays, in whatever order and however often they are written.
func (s *Store) WriteWhole(ctx context.Context, w Window, at int64, rows [][]*SymbolState) error {
	slices.SortFunc(rows, func(a, b []*SymbolState) int { return strings.Compare(rowName(a), rowName(b)) })
	for len(rows) > 0 {
		n, symbols := 0, 0
		for n < len(rows) && (n == 0 || symbols+len(rows[n]) <= wholeChunk) {
			symbols += len(rows[n])
			n++
		}
		if err := s.writeWhole(ctx, w, at, rows[:n], symbols); err != nil {
			return fmt.Errorf("write registers of window %s at offset %d: %w", w, at, err)
		}
		rows = rows[n:]
	}
	return nil
}

func (s *Store) writeWhole(ctx context.Context, w Window, at int64, rows [][]*SymbolState, symbols int) error {
	b := s.batch(ctx, gocql.UnloggedBatch, len(rows))
	values := newValues(3+2*len(rows), 20+16*len(rows)+120*symbols)
	start, log, timestamp := values.bigint(w.Start), values.int(w.Log), values.bigint(at)
	for _, row := range rows {
		from := len(values.bytes)
		for _, st := range row {
			if len(row) > 1 {
				values.bytes = append(append(values.bytes, byte(len(st.Symbol))), st.Symbol...)
			}
			for _, p := range [...]window.Point{st.Open, st.High, st.Low, st.Close} {
				values.bytes = appendPoint(values.bytes, p)
			}
		}
		whole := values.end(from)
		b.Entries = append(b.Entries, gocql.BatchEntry{Stmt: wholeStmt, Args: values.args(timestamp, whole, start, log, values.text(rowName(row)))})
	}
	return s.session.ExecuteBatch(b)
}

// Buckets is the number of buckets. With 2,500 symbols in a log a row for some ten
// of them costs a node little more than one for each, while who wants one symbol reads
// no more than ten times as much.
const Buckets = 256

// Bucket is that of a symbol: symbols share one by a hash of their names (FNV-1a).
func Bucket(symbol string) int {
	h := uint32(2166136261)
	for i := 0; i < len(symbol); i++ {
		h = (h ^ uint32(symbol[i])) * 16777619
	}
	return int((h ^ h>>16) % Buckets)
}

// bucketNames are what stands in the place of a symbol in the row of a bucket. No
// symbol has a space.
var bucketNames = func() (names [Buckets]string) {
	for i := range names {
		names[i] = fmt.Sprintf(" %02x", i)
	}
	return names
}()

func rowName(row []*SymbolState) string {
	if len(row) == 1 {
		return row[0].Symbol
	}
	return bucketNames[Bucket(row[0].Symbol)]
}

const wholeStmt = "UPDATE window_registers USING TIMESTAMP ? SET whole = ? WHERE window_start = ? AND log = ? AND symbol = ?"

// rowOrder lists the states in the order of their rows. A node takes less time
// for a batch that it need not sort.
func rowOrder(states []SymbolState) []int32 {
	rows := make([]int32, len(states))
	for i := range rows {
		rows[i] = int32(i)
	}
	slices.SortFunc(rows, func(i, j int32) int { return strings.Compare(states[i].Symbol, states[j].Symbol) })
	return rows
}

var registerStmts = [4]string{
	"UPDATE window_registers USING TIMESTAMP ? SET open = ? WHERE window_start = ? AND log = ? AND symbol = ?",
	"UPDATE window_registers USING TIMESTAMP ? SET high = ? WHERE window_start = ? AND log = ? AND symbol = ?",
	"UPDATE window_registers USING TIMESTAMP ? SET low = ? WHERE window_start = ? AND log = ? AND symbol = ?",
	"UPDATE window_registers USING TIMESTAMP ? SET close = ? WHERE window_start = ? AND log = ? AND symbol = ?",
}

func (s *Store) writeRegisters(ctx context.Context, w Window, states []SymbolState, rows []int32) error {
	b := s.batch(ctx, gocql.UnloggedBatch, len(rows)*len(registerStmts))
	values := newValues(2+9*len(rows), 200*len(rows))
	start, log := values.bigint(w.Start), values.int(w.Log)
	place := func(p window.Point) int64 { return (p.EventTime-w.Start)<<40 | p.Offset }
	for _, i := range rows {
		st := &states[i]
		for _, p := range []window.Point{st.Open, st.Close} {
			if in := p.EventTime - w.Start; in < 0 || in >= window.Length || p.Offset < 0 || p.Offset >= registerOffsets {
				return fmt.Errorf("%s at offset %d and event time %d has no place in it", st.Symbol, p.Offset, p.EventTime)
			}
		}
		symbol := values.text(st.Symbol)
		timestamps := [len(registerStmts)]int64{-place(st.Open), st.High.Price, -st.Low.Price, place(st.Close)}
		for j, p := range [len(registerStmts)]window.Point{st.Open, st.High, st.Low, st.Close} {
			b.Entries = append(b.Entries, gocql.BatchEntry{
				Stmt: registerStmts[j],
				Args: values.args(values.bigint(timestamps[j]), values.point(p), start, log, symbol),
			})
		}
	}
	return s.session.ExecuteBatch(b)
}

// Fence returns the offset below which every record of the log that belongs to
// the window has been counted; 0 where none has. It is a plain read at the read
// consistency: whether an increment is still under way it can't tell, QuietFences can.
func (s *Store) Fence(ctx context.Context, w Window) (int64, error) {
	return s.fence(ctx, w, s.cfg.ReadConsistency)
}

func (s *Store) fence(ctx context.Context, w Window, level gocql.Consistency) (int64, error) {
	var next int64
	err := s.session.Query("SELECT next_offset FROM window_counters WHERE window_start = ? AND log = ? LIMIT 1", w.Start, w.Log).
		WithContext(ctx).Consistency(level).RetryPolicy(nil).Scan(&next)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return 0, fmt.Errorf("read fence of window %s at %s: %w", w, level, err)
	}
	return next, nil
}

const (
	// quietProbe is the pause between two reads of QuietFences; an answer that
	// takes longer than quietAnswer says that a node had stopped meanwhile.
	quietProbe  = 500 * time.Millisecond
	quietAnswer = time.Second
)

// QuietFences returns the fence of each window once no increment that was sent
// before the call can change it any more. It reads at FenceConsistency until all
// answer, goes on reading for the duration quiet, and returns the last answers if
// each came promptly; a node that did not answer, or only late, had perhaps stopped
// with an increment unread in its socket, so the time starts again. quiet must
// exceed Cassandra's counter_write_request_timeout (5 s), after which a node drops
// an increment that it has read from a socket and not applied. It ends early only
// with ctx, in the error that kept it from an answer. Idempotent.
func (s *Store) QuietFences(ctx context.Context, windows []Window, quiet time.Duration) ([]int64, error) {
	fences := make([]int64, len(windows))
	var since time.Time // of the quiet so far
	for {
		asked := time.Now()
		slowest, err := s.fencesOf(ctx, windows, fences)
		switch {
		case err != nil:
			since = time.Time{}
		case since.IsZero(), slowest > quietAnswer:
			since = time.Now()
		case asked.Sub(since) >= quiet:
			return fences, nil
		}
		wait := quietProbe
		if !since.IsZero() {
			wait = min(wait, max(quiet-time.Since(since), 0))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return nil, fmt.Errorf("wait until the fences of %d windows are quiet: %w", len(windows), err)
		}
	}
}

// fencesOf reads all fences at FenceConsistency and returns the longest time that
// one of them took.
func (s *Store) fencesOf(ctx context.Context, windows []Window, fences []int64) (slowest time.Duration, err error) {
	var mu sync.Mutex
	reads, ctx := errgroup.WithContext(ctx)
	reads.SetLimit(16)
	for i, w := range windows {
		reads.Go(func() (err error) {
			asked := time.Now()
			fences[i], err = s.fence(ctx, w, s.cfg.FenceConsistency)
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, time.Since(asked))
			return err
		})
	}
	err = reads.Wait()
	return slowest, err
}

const fenceStmt = "UPDATE window_counters SET next_offset = next_offset + ? WHERE window_start = ? AND log = ?"

// countStmts add to a symbol's counters. The higher parts of sums are left out
// where they are 0: a counter costs the node a lock, a read and a write. The index
// has a bit for each of them that is there.
var countStmts = func() (stmts [1 << len(highCounters)]string) {
	for mask := range stmts {
		set := "tick_count = tick_count + ?, volume = volume + ?, price_sum_lo = price_sum_lo + ?, turnover_lo = turnover_lo + ?"
		for bit, name := range highCounters {
			if mask&(1<<bit) != 0 {
				set += ", " + name + " = " + name + " + ?"
			}
		}
		stmts[mask] = "UPDATE window_counters SET " + set + " WHERE window_start = ? AND log = ? AND symbol = ?"
	}
	return stmts
}()

var highCounters = [...]string{"price_sum_hi", "turnover_mid", "turnover_hi"}

// Count moves the window's fence, which was read as from, to the offset to, and
// adds the states to the window's counters, all in one mutation that is applied
// whole or not at all. It takes at most MaxSymbols states.
//
// It is NOT idempotent and never tried again by itself. After an error the
// mutation may have been applied or be applied later, unless the error wraps
// ErrNotApplied.
func (s *Store) Count(ctx context.Context, w Window, from, to int64, states []SymbolState) error {
	fail := func(err error) error { return fmt.Errorf("count %d symbols in window %s: %w", len(states), w, err) }
	if len(states) > MaxSymbols {
		return fail(fmt.Errorf("%w: more than %d", ErrNotApplied, MaxSymbols))
	}
	b := s.batch(ctx, gocql.CounterBatch, 1+len(states))
	values := newValues(4+11*len(states), 140*len(states))
	start, log := values.bigint(w.Start), values.int(w.Log)
	args := make([]*encoded, 0, 10)
	b.Entries = append(b.Entries, gocql.BatchEntry{Stmt: fenceStmt, Args: values.args(values.bigint(to-from), start, log)})
	for _, i := range rowOrder(states) {
		st := &states[i]
		priceHi, priceLo, ok := st.PriceSum.Parts(st.LowOnly)
		if !ok {
			return fail(fmt.Errorf("%w: the sum of prices of %s is out of range", ErrNotApplied, st.Symbol))
		}
		hi, mid, lo := st.Turnover.Digits(st.LowOnly)
		args := append(args[:0], values.bigint(st.Count), values.bigint(st.Volume), values.bigint(priceLo), values.bigint(lo))
		mask := 0
		for bit, v := range [len(highCounters)]int64{priceHi, mid, hi} {
			if v != 0 {
				mask |= 1 << bit
				args = append(args, values.bigint(v))
			}
		}
		args = append(args, start, log, values.text(st.Symbol))
		b.Entries = append(b.Entries, gocql.BatchEntry{Stmt: countStmts[mask], Args: values.args(args...)})
	}
	err := s.session.ExecuteBatch(b)
	var unavailable *gocql.RequestErrUnavailable
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gocql.ErrNoConnections), errors.Is(err, gocql.ErrNoStreams), errors.Is(err, gocql.ErrSessionClosed),
		errors.As(err, &unavailable): // the node counts its live peers before it applies anything
		return fail(fmt.Errorf("%w: %w", ErrNotApplied, err))
	}
	return fail(err)
}

// ReadWindow returns the window's fence and the state of the given symbols,
// or of all where symbols is nil, in the order of their bytes; symbols without a
// record are absent. A state's points are zero where its registers have expired.
// Each state is one that the window really had at the returned fence if nobody
// counts meanwhile. Idempotent.
func (s *Store) ReadWindow(ctx context.Context, w Window, symbols []string) (fence int64, states []SymbolState, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read window %s: %w", w, err)
		}
	}()
	if symbols == nil {
		return s.readWindow(ctx, w, nil)
	}
	for len(symbols) > 0 {
		n := min(len(symbols), readChunk)
		f, part, err := s.readWindow(ctx, w, symbols[:n])
		if err != nil {
			return 0, nil, err
		}
		fence = max(fence, f)
		states = append(states, part...)
		symbols = symbols[n:]
	}
	return fence, states, nil
}

func (s *Store) readWindow(ctx context.Context, w Window, symbols []string) (fence int64, states []SymbolState, err error) {
	failed := make(chan error, 1)
	var registers map[string]*registers
	go func() {
		var err error
		registers, err = s.readRegisters(ctx, w, symbols)
		failed <- err
	}()
	fence, states, err = s.readCounters(ctx, w, symbols)
	if err := errors.Join(err, <-failed); err != nil {
		return 0, nil, err
	}
	for i := range states {
		if r := registers[states[i].Symbol]; r != nil {
			p := r.joined()
			states[i].Open, states[i].High, states[i].Low, states[i].Close = p.Open, p.High, p.Low, p.Close
		}
	}
	return fence, states, nil
}

func (s *Store) readCounters(ctx context.Context, w Window, symbols []string) (fence int64, states []SymbolState, err error) {
	states = make([]SymbolState, 0, len(symbols))
	it := s.selectSymbols(ctx, "SELECT symbol, next_offset, tick_count, volume, price_sum_hi, price_sum_lo, turnover_hi, turnover_mid, turnover_lo "+
		"FROM window_counters WHERE window_start = ? AND log = ?", w, symbols)
	var st SymbolState
	var priceHi, priceLo, hi, mid, lo int64
	for it.Scan(&st.Symbol, &fence, &st.Count, &st.Volume, &priceHi, &priceLo, &hi, &mid, &lo) {
		if st.Symbol == "" { // a row of static columns only
			continue
		}
		st.PriceSum, st.Turnover = window.FromParts(priceHi, priceLo), window.FromDigits(hi, mid, lo)
		states = append(states, st)
	}
	return fence, states, it.Close()
}

// registers are those of one symbol as they are stored: one by one, and as a whole.
type registers struct {
	each, whole points
}

// addWhole brings in a state that was written as a whole.
func (r *registers) addWhole(p *points) {
	if r.whole == (points{}) {
		r.whole = *p
		return
	}
	st, other := r.whole.state(), p.state()
	st.Merge(&other)
	r.whole = points{point(st.Open), point(st.High), point(st.Low), point(st.Close)}
}

// joined is what all of them come to.
func (r *registers) joined() window.State {
	switch {
	case r.whole == points{}:
		return r.each.state()
	case slices.Contains(r.each[:], point{}):
		return r.whole.state() // there are none of the others, or they have begun to expire
	}
	st, whole := r.each.state(), r.whole.state()
	st.Merge(&whole)
	return st
}

// state is one of no sums. Its count is that of a state that may be merged.
func (p *points) state() window.State {
	return window.State{Count: 1, Open: window.Point(p[0]), High: window.Point(p[1]), Low: window.Point(p[2]), Close: window.Point(p[3])}
}

// readRegisters returns the registers of the symbols, and of some that are not asked for.
func (s *Store) readRegisters(ctx context.Context, w Window, symbols []string) (map[string]*registers, error) {
	found := make(map[string]*registers, len(symbols))
	of := func(symbol string) *registers {
		r := found[symbol]
		if r == nil {
			r = &registers{}
			found[symbol] = r
		}
		return r
	}
	it := s.selectSymbols(ctx, "SELECT symbol, open, high, low, close, whole FROM window_registers WHERE window_start = ? AND log = ?", w, withBuckets(symbols))
	var symbol string
	var each points
	var cell []byte
	var err error
	for err == nil && it.Scan(&symbol, &each[0], &each[1], &each[2], &each[3], &cell) {
		if strings.HasPrefix(symbol, " ") {
			err = eachOfBucket(cell, func(symbol []byte, p *points) { of(string(symbol)).addWhole(p) })
			continue
		}
		r := of(symbol)
		r.each = each
		var whole points
		if len(cell) > 0 {
			if err = whole.read(cell); err == nil {
				r.addWhole(&whole)
			}
		}
	}
	return found, errors.Join(err, it.Close())
}

// withBuckets adds to the symbols the names of their buckets.
func withBuckets(symbols []string) []string {
	if symbols == nil {
		return nil
	}
	var with [Buckets]bool
	names := slices.Clone(symbols)
	for _, symbol := range symbols {
		if b := Bucket(symbol); !with[b] {
			with[b] = true
			names = append(names, bucketNames[b])
		}
	}
	return names
}

// eachOfBucket calls f with the symbols of a bucket's cell and their points.
func eachOfBucket(cell []byte, f func(symbol []byte, p *points)) error {
	var p points
	for len(cell) > 0 {
		n := 1 + int(cell[0])
		if len(cell) < n+pointsSize {
			return fmt.Errorf("the registers of a bucket end after %d of %d bytes", len(cell), n+pointsSize)
		}
		if err := p.read(cell[n : n+pointsSize]); err != nil {
			return err
		}
		f(cell[1:n], &p)
		cell = cell[n+pointsSize:]
	}
	return nil
}

func (s *Store) selectSymbols(ctx context.Context, stmt string, w Window, symbols []string) *gocql.Iter {
	q := s.session.Query(stmt, w.Start, w.Log)
	if symbols != nil {
		q = s.session.Query(stmt+" AND symbol IN ?", w.Start, w.Log, textList(symbols)).PageSize(len(symbols) + 1)
	}
	return q.WithContext(ctx).Consistency(s.cfg.ReadConsistency).RetryPolicy(nil).Iter()
}

// batch starts a batch of n statements that is sent once and never again by itself.
func (s *Store) batch(ctx context.Context, kind gocql.BatchType, n int) *gocql.Batch {
	b := s.session.NewBatch(kind).WithContext(ctx).RetryPolicy(nil)
	b.Cons = s.cfg.WriteConsistency
	b.Entries = make([]gocql.BatchEntry, 0, n)
	return b
}

// values encodes the bound values of a batch into a few large allocations: by
// itself gocql makes three for each value.
type values struct {
	bytes   []byte
	encoded []encoded
	all     []any
}

// encoded is a value as the protocol carries it.
type encoded []byte

// MarshalCQL returns the bytes as they are.
func (e *encoded) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return *e, nil }

// newValues makes room for n values of so many bytes; either may be too small.
func newValues(n, bytes int) *values {
	return &values{make([]byte, 0, bytes), make([]encoded, 0, n), make([]any, 0, n)}
}

// end keeps what was appended to v.bytes since the length was from. Where that
// outgrew the room, earlier values stay where they are.
func (v *values) end(from int) *encoded {
	v.encoded = append(v.encoded, v.bytes[from:len(v.bytes):len(v.bytes)])
	return &v.encoded[len(v.encoded)-1]
}

func (v *values) bigint(x int64) *encoded {
	v.bytes = binary.BigEndian.AppendUint64(v.bytes, uint64(x))
	return v.end(len(v.bytes) - 8)
}

func (v *values) int(x int32) *encoded {
	v.bytes = binary.BigEndian.AppendUint32(v.bytes, uint32(x))
	return v.end(len(v.bytes) - 4)
}

func (v *values) text(x string) *encoded {
	v.bytes = append(v.bytes, x...)
	return v.end(len(v.bytes) - len(x))
}

func (v *values) point(p window.Point) *encoded {
	v.bytes = appendPoint(v.bytes, p)
	return v.end(len(v.bytes) - pointSize)
}

// blob takes b as it is: it must not change until the batch is done.
func (v *values) blob(b []byte) *encoded {
	v.encoded = append(v.encoded, b)
	return &v.encoded[len(v.encoded)-1]
}

func (v *values) args(list ...*encoded) []any {
	from := len(v.all)
	for _, e := range list {
		v.all = append(v.all, e)
	}
	return v.all[from:len(v.all):len(v.all)]
}

// textList is a list<text> as the protocol carries it.
func textList(list []string) *encoded {
	size := 4
	for _, s := range list {
		size += 4 + len(s)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(len(list)))
	for _, s := range list {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	e := encoded(b)
	return &e
}

// A point is stored as one blob, so that one cell carries all of it: event
// time, offset, price, eight bytes each, big-endian.
const pointSize = 24

type point window.Point

func appendPoint(dst []byte, p window.Point) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.EventTime))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Offset))
	return binary.BigEndian.AppendUint64(dst, uint64(p.Price))
}

// points are those of a symbol: open, high, low, close.
type points [4]point

const pointsSize = len(points{}) * pointSize

// read reads points that are stored in one cell.
func (p *points) read(b []byte) error {
	if len(b) != pointsSize {
		return fmt.Errorf("stored points have %d bytes, not %d", len(b), pointsSize)
	}
	for i := range p {
		if err := p[i].UnmarshalCQL(nil, b[i*pointSize:(i+1)*pointSize]); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalCQL reads a stored point; a cell that is absent is the zero point.
func (p *point) UnmarshalCQL(_ gocql.TypeInfo, b []byte) error {
	switch len(b) {
	case 0:
		*p = point{}
		return nil
	case pointSize:
		*p = point{
			EventTime: int64(binary.BigEndian.Uint64(b)),
			Offset:    int64(binary.BigEndian.Uint64(b[8:])),
			Price:     int64(binary.BigEndian.Uint64(b[16:])),
		}
		return nil
	}
	return fmt.Errorf("a stored point has %d bytes, not %d", len(b), pointSize)
}
