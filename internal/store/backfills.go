package store

import (
	"context"
	"fmt"
)

// BackfillKey names a backfill: what history of which symbol is asked for.
type BackfillKey struct {
	Symbol   string
	Interval Interval
	Range    string // as asked for: "5d"
	// PrePost says that the extended sessions belong to it.
	PrePost bool
}

// Backfill is history that is asked for, and how far it has come. Times are
// milliseconds since the Unix epoch, 0 where there is none.
type Backfill struct {
	BackfillKey
	RequestedAt int64
	// Manual says that somebody waits for it.
	Manual bool
	// From ≤ start < To are the candles that are asked for; those that start before
	// DoneTo are stored.
	From, To, DoneTo int64
	State            BackfillState
	// Reason says what is in the way, or was.
	Reason string
	// Tries counts the failures since it last went on, and RetryAt is when it goes on.
	Tries   int
	RetryAt int64
	// Candles is how many were written, Kept how many were not, because ticks of our
	// own have made them, and Events how many dividends and splits were written.
	Candles, Kept, Events int64
}

// BackfillState is whether a backfill goes on.
type BackfillState string

// The states of a backfill.
const (
	BackfillQueued BackfillState = "queued"
	BackfillDone   BackfillState = "done"
	BackfillFailed BackfillState = "failed"
)

const backfillQueue = "default"

// ReadBackfills returns all backfills, or those of a symbol where it is not empty,
// by symbol, interval and range. Idempotent.
func (s *Store) ReadBackfills(ctx context.Context, symbol string) ([]Backfill, error) {
	stmt, args := "SELECT symbol, interval, range, pre_post, requested_at, manual, from_time, to_time, done_to, state, reason, tries, retry_at, candles, kept, events "+
		"FROM backfills WHERE queue = ?", []any{backfillQueue}
	if symbol != "" {
		stmt, args = stmt+" AND symbol = ?", append(args, symbol)
	}
	it := s.session.Query(stmt, args...).WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	var list []Backfill
	for {
		var b Backfill
		if !it.Scan(&b.Symbol, (*string)(&b.Interval), &b.Range, &b.PrePost, &b.RequestedAt, &b.Manual, &b.From, &b.To, &b.DoneTo,
			(*string)(&b.State), &b.Reason, &b.Tries, &b.RetryAt, &b.Candles, &b.Kept, &b.Events) {
			break
		}
		if b.RequestedAt != 0 {
			list = append(list, b)
		}
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("read the backfills: %w", err)
	}
	return list, nil
}

// WriteBackfill stores all of a backfill. Idempotent.
func (s *Store) WriteBackfill(ctx context.Context, b *Backfill) error {
	err := s.session.Query("INSERT INTO backfills (queue, symbol, interval, range, pre_post, requested_at, manual, from_time, to_time, done_to, state, reason, tries, retry_at, "+
		"candles, kept, events) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		backfillQueue, b.Symbol, string(b.Interval), b.Range, b.PrePost, b.RequestedAt, b.Manual, b.From, b.To, b.DoneTo, string(b.State), b.Reason, b.Tries, b.RetryAt,
		b.Candles, b.Kept, b.Events).WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err != nil {
		return fmt.Errorf("write how far the backfill of %s has come: %w", b.Symbol, err)
	}
	return nil
}
