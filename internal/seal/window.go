package seal

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/window"
)

// window seals one window: candles first, then what has to follow from them, and
// the marks last, so that whatever cuts it off, the window stays on the list until
// all is done.
func (r *run) window(ctx context.Context, w windowMarks, dirty bool) error {
	version := r.version()
	audits, err := r.readLive(ctx, w.start)
	if err != nil {
		return err
	}
	// A range that is to be rebuilt has its ticks, and perhaps candles that are wrong.
	rebuilt := slices.ContainsFunc(w.marks, func(m store.Mark) bool { return m.Log == 0 })
	task := symbolTask{run: r, start: w.start, version: version, guarded: dirty && !rebuilt}
	if err := r.symbols(ctx, task, audits); err != nil {
		return err
	}
	again := false
	for _, a := range audits {
		if err := a.correct(ctx); err != nil {
			return err
		}
		again = again || a != nil && (a.postponed || len(a.counters) > 0)
	}
	var counted []store.Window
	for i, m := range w.marks {
		// Marks come by log; those of a rebuild are of none.
		if m.Log != 0 && (i == 0 || m.Log != w.marks[i-1].Log) {
			counted = append(counted, m.Window)
		}
	}
	if len(counted) > 0 {
		if err := r.store.WriteCounted(ctx, counted, version); err != nil {
			return err
		}
	}
	if again {
		// The next call looks whether the correction has had the effect it should.
		return nil
	}
	// The clock is read because a timer may fire late after a pause.
	if time.Until(r.lease.Until) < 0 {
		return context.DeadlineExceeded
	}
	return r.store.DeleteMarks(ctx, w.marks)
}

// symbols goes through all symbols of a window, the logs side by side, and does
// the task, completed for each, which audits and seals it.
func (r *run) symbols(ctx context.Context, task symbolTask, audits []*audit) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(symbolsAtOnce)
	var opening errgroup.Group
	opening.SetLimit(logsAtOnce)
	streams := make([]*stream, len(r.logs))
	for i, log := range r.logs {
		streams[i] = &stream{audit: audits[i]}
		opening.Go(func() error {
			streams[i].rows = r.store.Summaries(ctx, store.Window{Start: task.start, Log: log})
			streams[i].next()
			return nil
		})
	}
	_ = opening.Wait() // a stream keeps its error
	var broken error
	for broken == nil && ctx.Err() == nil {
		symbol, found := "", false
		for _, s := range streams {
			if name, ok := s.symbol(); ok && (!found || name < symbol) {
				symbol, found = name, true
			}
		}
		task := task
		task.symbol = symbol
		for _, s := range streams {
			if part, ok := s.take(symbol); ok && found {
				task.parts = append(task.parts, part)
			}
			broken = errors.Join(broken, s.err)
		}
		if !found {
			break
		}
		// A stream that broke off ends like one that is read: what it gave may be
		// part of a symbol.
		if broken == nil {
			work.Go(func() error { return task.do(ctx) })
		}
	}
	stopped := ctx.Err()
	failed := work.Wait()
	for _, s := range streams {
		s.close()
	}
	return cmp.Or(failed, broken, stopped)
}

// stream is one log's chunks and live states of a window, in the order of
// symbols.
type stream struct {
	rows  *store.Summaries
	head  *chunk.Row // nil at the end
	err   error      // that ended it
	audit *audit     // nil where there is none
	live  int        // index of the next of audit.states
}

func (s *stream) next() {
	if s.head = s.rows.Next(); s.head == nil {
		s.close()
	}
}

func (s *stream) close() {
	if s.rows != nil {
		s.err = s.rows.Close()
		s.rows = nil
	}
}

// symbol is the first that has not been taken.
func (s *stream) symbol() (name string, ok bool) {
	if s.head != nil {
		name, ok = s.head.Symbol, true
	}
	if s.audit != nil && s.live < len(s.audit.states) {
		if live := s.audit.states[s.live].Symbol; !ok || live < name {
			return live, true
		}
	}
	return name, ok
}

// take returns the symbol's part if it is the stream's next symbol.
func (s *stream) take(symbol string) (part logPart, ok bool) {
	if name, any := s.symbol(); !any || name != symbol {
		return part, false
	}
	part.audit = s.audit
	for s.head != nil && s.head.Symbol == symbol {
		part.rows = append(part.rows, s.head)
		s.next()
	}
	if s.audit != nil && s.live < len(s.audit.states) && s.audit.states[s.live].Symbol == symbol {
		part.live = s.audit.states[s.live].State
		s.live++
	}
	return part, true
}

// logPart is what one log has of a symbol in a window.
type logPart struct {
	rows  []*chunk.Row
	live  window.State
	audit *audit
}

// symbolTask seals one symbol in one window.
type symbolTask struct {
	*run
	start, version int64
	// guarded: the candle may be there, made of ticks that have expired since. Ticks
	// are only ever added, so one that would shrink has lost some.
	guarded bool
	symbol  string
	parts   []logPart
}

func (t *symbolTask) do(ctx context.Context) error {
	load := func(row *chunk.Row) ([]chunk.Record, error) { return t.store.ReadChunk(ctx, t.start, row) }
	var rows []*chunk.Row
	for _, p := range t.parts {
		rows = append(rows, p.rows...)
		if err := p.audit.compare(t.symbol, p.live, p.rows, load); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return nil
	}
	latest := rows[0]
	for _, row := range rows {
		// Of several of one millisecond that of the newest topic's log stays.
		if row.Close.EventTime >= latest.Close.EventTime {
			latest = row
		}
	}
	c := store.Candle{Symbol: t.symbol, Start: t.start, Exchange: latest.Exchange, Source: latest.Source, SealedAt: t.now().UnixMilli()}
	var repeats int64
	var err error
	if c.State, repeats, err = chunk.Trades(rows, load); err != nil {
		return err
	}
	t.add(func(r *Report) { r.Repeats += repeats })
	return t.write(ctx, &c)
}

// write stores the candle of a minute and marks its day.
func (t *symbolTask) write(ctx context.Context, c *store.Candle) error {
	if err := t.pace.Wait(ctx); err != nil {
		return err
	}
	if t.guarded {
		old, err := t.store.ReadCandles(ctx, c.Symbol, store.Minute, c.Start, c.Start+1, 1)
		if err != nil {
			return err
		}
		if len(old) > 0 && lost(&old[0].State, &c.State) {
			t.add(func(r *Report) { r.Expired++ })
			return nil
		}
	}
	if err := t.store.WriteCandle(ctx, store.Minute, c, t.version); err != nil {
		return err
	}
	t.add(func(r *Report) { r.Candles++ })
	start, end := window.Day(c.Exchange, c.Start)
	return t.markDay(ctx, store.DayMark{Symbol: c.Symbol, Start: start, End: end}, t.version)
}

// lost tells whether trades that were in old are missing in now, which has all that
// are stored.
func lost(old, now *window.State) bool {
	return old.Count > now.Count ||
		old.Count == now.Count && (old.Volume != now.Volume || old.PriceSum != now.PriceSum || old.Turnover != now.Turnover)
}
