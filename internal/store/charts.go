package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gocql/gocql"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/tick"
)

// chartChunk bounds a batch of candles.
const chartChunk = 200

// ChartVersion returns the version of what is written to candles from charts in
// the given step of a lease. It is higher than those of lower steps and of all
// leases of the name before, and lower than any of seal's: a candle made of ticks
// is never replaced by one of a chart, whichever comes first. Steps go from 0 to
// about a thousand.
func (l Lease) ChartVersion(step int64) int64 {
	const steps = 1 << 10
	return l.Term*steps + min(step, steps-1)
}

// WriteChart stores candles that come from a chart, as of a version that
// ChartVersion gave, those of a year in a few batches. Idempotent.
func (s *Store) WriteChart(ctx context.Context, interval Interval, candles []Candle, version int64) error {
	for len(candles) > 0 {
		n := 1
		for n < min(len(candles), chartChunk) && year(candles[n].Start) == year(candles[0].Start) {
			n++
		}
		b := s.batch(ctx, gocql.UnloggedBatch, n)
		for i := range candles[:n] {
			b.Query(candleStmt, candleValues(interval, &candles[i], version)...)
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			return fmt.Errorf("write %d %s candles of %s: %w", n, interval, candles[0].Symbol, err)
		}
		candles = candles[n:]
	}
	return nil
}

// LatestCandle returns the newest stored candle of an interval of a symbol that
// starts in the given year or the one before; ok is false where there is none.
// Only its Start and Exchange are filled. Idempotent.
func (s *Store) LatestCandle(ctx context.Context, symbol string, interval Interval, thisYear int) (c Candle, ok bool, err error) {
	for y := thisYear; y >= thisYear-1 && !ok; y-- {
		c = Candle{Symbol: symbol}
		err := s.session.Query("SELECT window_start, exchange FROM candles WHERE symbol = ? AND interval = ? AND year = ? ORDER BY window_start DESC LIMIT 1",
			symbol, string(interval), y).WithContext(ctx).Consistency(s.cfg.ReadConsistency).Scan(&c.Start, &c.Exchange)
		if err != nil && !errors.Is(err, gocql.ErrNotFound) {
			return c, false, fmt.Errorf("read the newest %s candle of %s: %w", interval, symbol, err)
		}
		ok = err == nil
	}
	return c, ok, nil
}

// HaveTicks returns those of the windows, given by their starts, that ticks of the
// symbol are stored of. Idempotent.
func (s *Store) HaveTicks(ctx context.Context, symbol string, starts []int64) (map[int64]bool, error) {
	have := map[int64]bool{}
	logs, err := s.SymbolLogs(ctx, symbol)
	if err != nil || len(logs) == 0 {
		return have, err
	}
	found := make([]bool, len(starts)*len(logs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range found {
		g.Go(func() error {
			w := Window{starts[i/len(logs)], logs[i%len(logs)]}
			var first int64
			err := s.session.Query("SELECT first_offset FROM ticks WHERE window_start = ? AND log = ? AND symbol = ? LIMIT 1", w.Start, w.Log, symbol).
				WithContext(gctx).Consistency(s.cfg.ReadConsistency).Scan(&first)
			found[i] = err == nil
			if errors.Is(err, gocql.ErrNotFound) {
				found[i], err = s.haveShared(gctx, w, symbol)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("look for ticks of %s: %w", symbol, err)
	}
	for i, yes := range found {
		if yes {
			have[starts[i/len(logs)]] = true
		}
	}
	return have, nil
}

// haveShared tells whether a row of the symbol's bucket has ticks of it.
func (s *Store) haveShared(ctx context.Context, w Window, symbol string) (found bool, err error) {
	it := s.session.Query("SELECT summary FROM ticks WHERE window_start = ? AND log = ? AND symbol = ?", w.Start, w.Log, bucketNames[Bucket(symbol)]).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).PageSize(chunkPage).Iter()
	var summary []byte
	for err == nil && !found && it.Scan(&summary) {
		err = eachShared(0, summary, nil, func(c *sharedChunk) bool {
			found = string(c.Symbol) == symbol
			return !found
		})
	}
	return found, errors.Join(err, it.Close())
}

// MarkDays has seal add up days again whose minutes were written before the call,
// whatever run of it is under way. Idempotent.
func (s *Store) MarkDays(ctx context.Context, days []DayMark) error {
	if len(days) == 0 {
		return nil
	}
	// The run that is under way, which may have read the minutes before they were
	// written, deletes nothing that is newer than its term; a later one reads them.
	var term int64
	err := s.session.Query("SELECT term FROM leases WHERE name = 'seal'").WithContext(ctx).Consistency(gocql.Consistency(gocql.LocalSerial)).Scan(&term)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return fmt.Errorf("read the term of seal: %w", err)
	}
	version := Lease{Term: term + 1}.Version(0)
	for _, d := range days {
		if err := s.WriteDayMark(ctx, d, version); err != nil {
			return err
		}
	}
	return nil
}

// Action is what a company did to its shares: it paid a dividend or split them.
type Action struct {
	Symbol string
	Time   int64 // milliseconds since the Unix epoch: the opening of the first day without or after it
	Kind   string
	// Amount is a dividend's for each share, in Currency.
	Amount   tick.Price
	Currency string
	// Of a split, Denominator shares became Numerator ones, in units of 1e-8.
	Numerator, Denominator tick.Price
	Source                 tick.Source
}

// The kinds of actions.
const (
	Dividend = "dividend"
	Split    = "split"
)

// WriteActions stores actions as of a version (see WriteChart). Idempotent.
func (s *Store) WriteActions(ctx context.Context, actions []Action, version int64) error {
	for part := range slices.Chunk(actions, chartChunk) {
		b := s.batch(ctx, gocql.UnloggedBatch, len(part))
		for _, a := range part {
			b.Query("UPDATE corporate_actions USING TIMESTAMP ? SET amount = ?, currency = ?, numerator = ?, denominator = ?, source = ? WHERE symbol = ? AND time = ? AND kind = ?",
				version, int64(a.Amount), a.Currency, int64(a.Numerator), int64(a.Denominator), a.Source.String(), a.Symbol, a.Time, a.Kind)
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			return fmt.Errorf("write %d dividends and splits: %w", len(part), err)
		}
	}
	return nil
}

// ReadActions returns the actions of a symbol in from ≤ time < to, oldest first.
// Idempotent.
func (s *Store) ReadActions(ctx context.Context, symbol string, from, to int64) ([]Action, error) {
	it := s.session.Query("SELECT time, kind, amount, currency, numerator, denominator, source FROM corporate_actions WHERE symbol = ? AND time >= ? AND time < ?", symbol, from, to).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	var list []Action
	var source string
	for a := (Action{Symbol: symbol}); it.Scan(&a.Time, &a.Kind, (*int64)(&a.Amount), &a.Currency, (*int64)(&a.Numerator), (*int64)(&a.Denominator), &source); {
		a.Source = tick.ParseSource(source)
		list = append(list, a)
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read dividends and splits of %s: %w", symbol, err)
	}
	return list, nil
}
