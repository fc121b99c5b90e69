package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gocql/gocql"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/chunk"
	"ticktape/internal/window"
)

// Mark says that a window has ticks of a log that seal has to add up.
type Mark struct {
	Window
	// UpTo is the offset up to which the window's records of the log are stored.
	UpTo int64
	// Late says that they came after the window's end, in log time.
	Late bool

	written int64 // microseconds since the Unix epoch
}

const (
	// markShards and their hours spread the marks, so that none of their
	// partitions gathers more tombstones than a node reads gladly, even when months
	// are sealed in one go.
	markShards = 16
	markHour   = 3_600_000
	// marksRead is how many marks of a shard are read at a time.
	marksRead = 1_000
	// atOnce bounds the requests of one call that are under way.
	atOnce = 16
)

func shard(at int64) int { return int(at / markHour % markShards) }

// WriteMarks marks windows as unsealed. It must come after the chunks that the
// marks tell of: whoever reads a mark finds them. Idempotent.
func (s *Store) WriteMarks(ctx context.Context, marks []Mark) error {
	shards := map[int][]Mark{}
	for _, m := range marks {
		shards[shard(m.Start)] = append(shards[shard(m.Start)], m)
	}
	if len(marks) == 0 {
		return nil
	}
	return s.eachShard(ctx, func(ctx context.Context, n int) error {
		for part := range slices.Chunk(shards[n], marksRead) {
			b := s.batch(ctx, gocql.UnloggedBatch, len(part))
			for _, m := range part {
				b.Query("INSERT INTO unsealed_windows (shard, window_start, log, upto, late) VALUES (?, ?, ?, ?, ?)", n, m.Start, m.Log, m.UpTo, m.Late)
			}
			if err := s.session.ExecuteBatch(b); err != nil {
				return fmt.Errorf("mark %d windows as unsealed: %w", len(part), err)
			}
		}
		return nil
	})
}

// eachShard calls f for all shards, some at a time.
func (s *Store) eachShard(ctx context.Context, f func(ctx context.Context, shard int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for n := range markShards {
		g.Go(func() error { return f(ctx, n) })
	}
	return g.Wait()
}

// ReadMarks returns marks of unsealed windows, in the order of their starts:
// all that start before the returned horizon, and perhaps not all of those that
// start later. Idempotent.
func (s *Store) ReadMarks(ctx context.Context) (marks []Mark, horizon int64, err error) {
	var shards [markShards][]Mark
	err = s.eachShard(ctx, func(ctx context.Context, n int) error {
		it := s.session.Query("SELECT window_start, log, upto, late, WRITETIME(late) FROM unsealed_windows WHERE shard = ? LIMIT ?", n, marksRead).
			WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
		for m := (Mark{}); it.Scan(&m.Start, &m.Log, &m.UpTo, &m.Late, &m.written); {
			shards[n] = append(shards[n], m)
		}
		return it.Close()
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read which windows are unsealed: %w", err)
	}
	horizon = 1<<63 - 1
	for _, list := range shards {
		marks = append(marks, list...)
		if len(list) == marksRead {
			horizon = min(horizon, list[len(list)-1].Start)
		}
	}
	slices.SortStableFunc(marks, func(a, b Mark) int { return int(a.Start - b.Start) })
	return marks, horizon, nil
}

// DeleteMarks deletes marks that ReadMarks returned. A mark that was written
// since, with the same key or another, stays. Idempotent.
func (s *Store) DeleteMarks(ctx context.Context, marks []Mark) error {
	for part := range slices.Chunk(marks, marksRead) {
		b := s.batch(ctx, gocql.UnloggedBatch, len(part))
		for _, m := range part {
			b.Query("DELETE FROM unsealed_windows USING TIMESTAMP ? WHERE shard = ? AND window_start = ? AND log = ? AND upto = ?",
				m.written, shard(m.Start), m.Start, m.Log, m.UpTo)
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			return fmt.Errorf("delete the marks of a sealed window: %w", err)
		}
	}
	return nil
}

// DayMark says that the day candle of a symbol has to be added up.
type DayMark struct {
	Symbol     string
	Start, End int64 // of the exchange's day, milliseconds since the Unix epoch
}

// WriteDayMark marks a day as of a version (see WriteCandle). Idempotent.
func (s *Store) WriteDayMark(ctx context.Context, d DayMark, version int64) error {
	err := s.session.Query("INSERT INTO unsealed_days (shard, day_start, symbol, day_end) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
		shard(d.Start), d.Start, d.Symbol, d.End, version).WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err != nil {
		return fmt.Errorf("mark a day of %s as unsealed: %w", d.Symbol, err)
	}
	return nil
}

// ReadDayMarks returns marks of days that ended by the given time, not
// necessarily all. Idempotent.
func (s *Store) ReadDayMarks(ctx context.Context, by int64) ([]DayMark, error) {
	var shards [markShards][]DayMark
	err := s.eachShard(ctx, func(ctx context.Context, n int) error {
		it := s.session.Query("SELECT day_start, symbol, day_end FROM unsealed_days WHERE shard = ? LIMIT ?", n, marksRead).
			WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
		for d := (DayMark{}); it.Scan(&d.Start, &d.Symbol, &d.End); {
			if d.End <= by {
				shards[n] = append(shards[n], d)
			}
		}
		return it.Close()
	})
	if err != nil {
		return nil, fmt.Errorf("read which days are unsealed: %w", err)
	}
	return slices.Concat(shards[:]...), nil
}

// DeleteDayMark deletes a mark unless it was written as of a higher version.
// Idempotent.
func (s *Store) DeleteDayMark(ctx context.Context, d DayMark, version int64) error {
	err := s.session.Query("DELETE FROM unsealed_days USING TIMESTAMP ? WHERE shard = ? AND day_start = ? AND symbol = ?",
		version, shard(d.Start), d.Start, d.Symbol).WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err != nil {
		return fmt.Errorf("delete the mark of a sealed day of %s: %w", d.Symbol, err)
	}
	return nil
}

// WriteCounted remembers, as of a version, that windows have counters.
// Idempotent. All must start at the same time.
func (s *Store) WriteCounted(ctx context.Context, windows []Window, version int64) error {
	b := s.batch(ctx, gocql.UnloggedBatch, len(windows))
	for _, w := range windows {
		b.Query("INSERT INTO counted_windows (shard, window_start, log) VALUES (?, ?, ?) USING TIMESTAMP ?", shard(w.Start), w.Start, w.Log, version)
	}
	if err := s.session.ExecuteBatch(b); err != nil {
		return fmt.Errorf("remember %d windows with counters: %w", len(windows), err)
	}
	return nil
}

// ReadCounted returns windows with counters that start before the given time,
// by their starts, not necessarily all. Idempotent.
func (s *Store) ReadCounted(ctx context.Context, before int64) ([]Window, error) {
	var shards [markShards][]Window
	err := s.eachShard(ctx, func(ctx context.Context, n int) error {
		it := s.session.Query("SELECT window_start, log FROM counted_windows WHERE shard = ? AND window_start < ? LIMIT ?", n, before, marksRead).
			WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
		for w := (Window{}); it.Scan(&w.Start, &w.Log); {
			shards[n] = append(shards[n], w)
		}
		return it.Close()
	})
	if err != nil {
		return nil, fmt.Errorf("read which windows have counters: %w", err)
	}
	windows := slices.Concat(shards[:]...)
	slices.SortStableFunc(windows, func(a, b Window) int { return int(a.Start - b.Start) })
	return windows, nil
}

// DeleteCounters deletes the counters of a window, then, as of a version, what
// WriteCounted remembered of it. Counters that are incremented after that come
// back with their old values: nobody may. Idempotent.
func (s *Store) DeleteCounters(ctx context.Context, w Window, version int64) error {
	err := s.session.Query("DELETE FROM window_counters WHERE window_start = ? AND log = ?", w.Start, w.Log).
		WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err == nil {
		err = s.session.Query("DELETE FROM counted_windows USING TIMESTAMP ? WHERE shard = ? AND window_start = ? AND log = ?",
			version, shard(w.Start), w.Start, w.Log).WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	}
	if err != nil {
		return fmt.Errorf("delete the counters of window %s: %w", w, err)
	}
	return nil
}

// Summaries reads the chunks of one window, without their records, in the order
// of their symbols' bytes and their offsets.
type Summaries struct {
	w    Window
	it   *gocql.Iter
	blob []byte
	err  error

	begun   bool
	shared  []sharedSummary // of rows of buckets, which come first and are held
	own     *chunk.Row      // the next that has a row of its own, nil after the last
	symbols map[string]string
}

// sharedSummary is a chunk of a shared row, undecoded: a window may have a million.
type sharedSummary struct {
	symbol      string
	first, last int64
	row         [2]int64
	summary     []byte
}

// Summaries starts to read. The caller must Close it.
func (s *Store) Summaries(ctx context.Context, w Window) *Summaries {
	return &Summaries{w: w, symbols: map[string]string{}, it: s.session.Query("SELECT symbol, first_offset, last_offset, summary FROM ticks WHERE window_start = ? AND log = ?", w.Start, w.Log).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).PageSize(summaryPage).Iter()}
}

// summaryPage bounds a page; a shared row has ten chunks or more.
const summaryPage = 1_000

// Next returns the next chunk, or nil after the last one or an error: nothing is
// returned that stands behind a place where reading broke off.
func (r *Summaries) Next() *chunk.Row {
	if !r.begun {
		r.begun = true
		r.own = r.read()
		r.symbols = nil
		slices.SortFunc(r.shared, func(a, b sharedSummary) int {
			return cmp.Or(strings.Compare(a.symbol, b.symbol), cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last))
		})
	}
	if r.err != nil {
		return nil
	}
	row := r.own
	if len(r.shared) > 0 {
		c := &r.shared[0]
		if row == nil || cmp.Or(strings.Compare(c.symbol, row.Symbol), cmp.Compare(c.first, row.First), cmp.Compare(c.last, row.Last)) < 0 {
			row = &chunk.Row{Log: r.w.Log, Symbol: c.symbol, First: c.first, Last: c.last, Shared: c.row}
			if row.Summary, r.err = chunk.DecodeSummary(c.summary); r.err != nil {
				return nil
			}
			*c = sharedSummary{}
			r.shared = r.shared[1:]
			return row
		}
	}
	if row != nil {
		r.own = r.read()
	}
	return row
}

// read returns the next chunk that has a row of its own, and puts those of rows
// that it meets before into shared.
func (r *Summaries) read() *chunk.Row {
	row := &chunk.Row{Log: r.w.Log}
	for r.err == nil && r.it.Scan(&row.Symbol, &row.First, &row.Last, &r.blob) {
		if !strings.HasPrefix(row.Symbol, " ") {
			if row.Summary, r.err = chunk.DecodeSummary(r.blob); r.err != nil {
				return nil
			}
			return row
		}
		place := [2]int64{row.First, row.Last}
		r.err = eachShared(row.First, bytes.Clone(r.blob), nil, func(c *sharedChunk) bool {
			symbol, ok := r.symbols[string(c.Symbol)]
			if !ok {
				symbol = string(c.Symbol)
				r.symbols[symbol] = symbol
			}
			r.shared = append(r.shared, sharedSummary{symbol, c.First, c.Last, place, c.Summary})
			return true
		})
	}
	r.err = cmp.Or(r.err, r.it.Close()) // also where a page could not be read
	return nil
}

// Close ends the reading and returns the error that ended it early.
func (r *Summaries) Close() error {
	closed := r.it.Close()
	if err := cmp.Or(r.err, closed); err != nil {
		return fmt.Errorf("read the chunks of window %s: %w", r.w, err)
	}
	return nil
}

// WriteSealedUntil says that every window that starts earlier has been sealed at
// least once. Of several values the highest stays. Idempotent.
func (s *Store) WriteSealedUntil(ctx context.Context, start int64) error {
	err := s.session.Query("UPDATE seal_progress USING TIMESTAMP ? SET sealed_until = ? WHERE name = 'seal'", start, start).
		WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err != nil {
		return fmt.Errorf("write how far windows are sealed: %w", err)
	}
	return nil
}

// SealedUntil returns the start of the first window that was perhaps never
// sealed, and 0 where none was. Windows before it have their candles, where they
// have trades; a late trade that was stored a moment ago may be missing. Idempotent.
func (s *Store) SealedUntil(ctx context.Context) (int64, error) {
	var start int64
	err := s.session.Query("SELECT sealed_until FROM seal_progress WHERE name = 'seal'").WithContext(ctx).Consistency(s.cfg.ReadConsistency).Scan(&start)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return 0, fmt.Errorf("read how far windows are sealed: %w", err)
	}
	return start, nil
}

// Lease is the right to do alone what its name stands for.
type Lease struct {
	name, holder string
	// Term grows from lease to lease of the name; Previous is that of the one before.
	Term, Previous int64
	// Until is when the lease ends at the latest, by this process's clock, with
	// its monotonic part.
	Until time.Time
}

// termSteps is how many versions a lease has.
const termSteps = 1 << 20

// Version returns a number that is higher than those of lower steps and of all
// leases before. It is near the microseconds since the Unix epoch at which the lease
// was taken, so that what somebody deletes by hand can be written again. Steps go
// from 0 to about a million.
func (l Lease) Version(step int64) int64 {
	return l.Term*termSteps + min(step, termSteps-1)
}

// ErrHeld is wrapped by the error of TakeLease where somebody else has the lease.
var ErrHeld = errors.New("somebody else is at it")

// TakeLease takes the lease of the name for the given time, as the holder. A
// holder that lost touch with its lease may take it again, if nothing that it did
// under it goes on. The error wraps ErrHeld where another has it. After another
// error the lease may be held by this holder.
func (s *Store) TakeLease(ctx context.Context, name, holder string, d time.Duration) (Lease, error) {
	l := Lease{name: name, holder: holder, Until: time.Now().Add(d)}
	fail := func(err error) (Lease, error) { return Lease{}, fmt.Errorf("take the lease of %s: %w", name, err) }
	lwt := func(stmt string, args ...any) (bool, map[string]any, error) {
		row := map[string]any{}
		applied, err := s.session.Query(stmt, args...).WithContext(ctx).Consistency(s.cfg.WriteConsistency).
			SerialConsistency(gocql.LocalSerial).RetryPolicy(nil).MapScanCAS(row)
		return applied, row, err
	}
	const take = "UPDATE leases USING TTL ? SET holder = ? WHERE name = ? IF holder = ?"
	applied, row, err := lwt(take, int(d/time.Second), holder, name, nil)
	if err == nil && !applied && row["holder"] == holder {
		applied, row, err = lwt(take, int(d/time.Second), holder, name, holder)
	}
	if err == nil && !applied {
		err = fmt.Errorf("%w (%v)", ErrHeld, row["holder"])
	}
	if err != nil {
		return fail(err)
	}
	var term *int64
	err = s.session.Query("SELECT term FROM leases WHERE name = ?", name).WithContext(ctx).Consistency(gocql.Consistency(gocql.LocalSerial)).Scan(&term)
	if err != nil {
		return fail(err)
	}
	if term != nil {
		l.Previous = *term
	}
	l.Term = max(l.Previous+1, time.Now().UnixMicro()/termSteps)
	// Only the holder gets a new term, so that terms grow with time even where a
	// holder was stopped here for longer than its lease.
	applied, row, err = lwt("UPDATE leases SET term = ? WHERE name = ? IF term = ? AND holder = ?", l.Term, name, term, holder)
	if err == nil && !applied {
		err = fmt.Errorf("%w (%v)", ErrHeld, row["holder"])
	}
	if err != nil {
		return fail(err)
	}
	return l, nil
}

// EndLease gives the lease back, unless it has passed to somebody else. Idempotent.
func (s *Store) EndLease(ctx context.Context, l Lease) error {
	_, err := s.session.Query("UPDATE leases SET holder = null WHERE name = ? IF holder = ?", l.name, l.holder).WithContext(ctx).
		Consistency(s.cfg.WriteConsistency).SerialConsistency(gocql.LocalSerial).RetryPolicy(nil).MapScanCAS(map[string]any{})
	if err != nil {
		return fmt.Errorf("give back the lease of %s: %w", l.name, err)
	}
	return nil
}

// MarkRange marks all windows in from ≤ start < to, whose limits are windows'
// starts, as unsealed, whether or not they have ticks. upTo tells these marks
// from others of the same windows. Idempotent.
func (s *Store) MarkRange(ctx context.Context, from, to, upTo int64) error {
	marks := make([]Mark, 0, (to-from)/window.Length)
	for start := from; start < to; start += window.Length {
		marks = append(marks, Mark{Window: Window{Start: start}, UpTo: upTo, Late: true})
	}
	return s.WriteMarks(ctx, marks)
}
