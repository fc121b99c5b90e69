package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gocql/gocql"
)

// Watched is a symbol of a watch list. Times are milliseconds since the Unix
// epoch, 0 where they are not known.
type Watched struct {
	Symbol  string
	AddedAt int64
	// Unknown says that the source does not know the symbol, Reason how it said so.
	Unknown bool
	Reason  string
	// CheckedAt is when the source was last heard about it.
	CheckedAt int64
	// Name and Exchange are the source's, empty until it has told them.
	Name, Exchange string
	// Delay is how many minutes the source's data of it lag behind the exchange, nil
	// until it has told.
	Delay *int
	// StreamedBy is the owner of a live claim, empty where there is none.
	StreamedBy string
}

const (
	watchActive  = "active"
	watchUnknown = "unknown"
	// seedTime is before every other write, so that a list that is seeded by two at a
	// time brings back nothing that was removed in between.
	seedTime = 1
	// watchChunk bounds a batch.
	watchChunk = 500
)

// ReadWatched returns the symbols of a list, by name, and whether it was ever
// seeded. Idempotent.
func (s *Store) ReadWatched(ctx context.Context, list string) (watched []Watched, seeded bool, err error) {
	it := s.session.Query("SELECT symbol, seeded_at, added_at, state, reason, checked_at, name, exchange, delayed_by, streamed_by FROM watchlist WHERE list = ?", list).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	for {
		var w Watched
		var symbol, state *string
		var seededAt, added *time.Time
		if !it.Scan(&symbol, &seededAt, &added, &state, &w.Reason, &w.CheckedAt, &w.Name, &w.Exchange, &w.Delay, &w.StreamedBy) {
			break
		}
		seeded = seeded || seededAt != nil
		if symbol == nil || added == nil {
			continue
		}
		w.Symbol, w.AddedAt = *symbol, added.UnixMilli()
		w.Unknown = state != nil && *state == watchUnknown
		watched = append(watched, w)
	}
	if err := it.Close(); err != nil {
		return nil, false, fmt.Errorf("read the watch list: %w", err)
	}
	return watched, seeded, nil
}

// SeedWatched gives a list its first symbols. Whatever else is ever written of
// them wins, a removal too, whichever comes first. Idempotent.
func (s *Store) SeedWatched(ctx context.Context, list string, symbols []string, at int64) error {
	for part := range slices.Chunk(symbols, watchChunk) {
		b := s.batch(ctx, gocql.UnloggedBatch, len(part))
		for _, symbol := range part {
			b.Query("INSERT INTO watchlist (list, symbol, added_at, state) VALUES (?, ?, ?, ?) USING TIMESTAMP ?", list, symbol, at, watchActive, seedTime)
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			return fmt.Errorf("seed the watch list: %w", err)
		}
	}
	// Last, so that whoever is cut off before does it all again.
	err := s.session.Query("INSERT INTO watchlist (list, seeded_at) VALUES (?, ?)", list, at).
		WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err != nil {
		return fmt.Errorf("remember that the watch list is seeded: %w", err)
	}
	return nil
}

// WriteWatched puts a symbol on a list, as one of which nothing is known but what
// was known before. Idempotent.
func (s *Store) WriteWatched(ctx context.Context, list, symbol string, at int64) error {
	return s.watch(ctx, "add", symbol, "UPDATE watchlist SET added_at = ?, state = ?, reason = null, checked_at = null WHERE list = ? AND symbol = ?",
		at, watchActive, list, symbol)
}

// DeleteWatched takes a symbol off a list with all that is known of it. A claim
// lives on to its end: where the symbol comes back before that, whoever streamed
// it may still do so. Idempotent.
func (s *Store) DeleteWatched(ctx context.Context, list, symbol string) error {
	return s.watch(ctx, "remove", symbol, "DELETE added_at, state, reason, checked_at, name, exchange, delayed_by FROM watchlist WHERE list = ? AND symbol = ?", list, symbol)
}

// MarkWatchedUnknown says that the source does not know a symbol. Idempotent. It
// does not put the symbol on the list, nor do the following methods.
func (s *Store) MarkWatchedUnknown(ctx context.Context, list, symbol, reason string, at int64) error {
	return s.watch(ctx, "mark", symbol, "UPDATE watchlist SET state = ?, reason = ?, checked_at = ? WHERE list = ? AND symbol = ?",
		watchUnknown, reason, at, list, symbol)
}

// NameWatched says what the source knows of a symbol. Idempotent.
func (s *Store) NameWatched(ctx context.Context, list, symbol, name, exchange string, at int64) error {
	return s.watch(ctx, "name", symbol, "UPDATE watchlist SET state = ?, reason = null, checked_at = ?, name = ?, exchange = ? WHERE list = ? AND symbol = ?",
		watchActive, at, name, exchange, list, symbol)
}

// DelayWatched says how many minutes the source's data of a symbol lag behind its
// exchange. Idempotent.
func (s *Store) DelayWatched(ctx context.Context, list, symbol string, minutes int) error {
	return s.watch(ctx, "tell the delay of", symbol, "UPDATE watchlist SET delayed_by = ? WHERE list = ? AND symbol = ?", minutes, list, symbol)
}

func (s *Store) watch(ctx context.Context, what, symbol, stmt string, args ...any) error {
	if err := s.session.Query(stmt, args...).WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec(); err != nil {
		return fmt.Errorf("%s %s on the watch list: %w", what, symbol, err)
	}
	return nil
}

// ClaimWatched says for the given time, in whole seconds, that an owner streams
// the symbols, whoever may have said so before. Idempotent.
func (s *Store) ClaimWatched(ctx context.Context, list string, symbols []string, owner string, ttl time.Duration) error {
	return s.claims(ctx, symbols, "claim", func(b *gocql.Batch, symbol string) {
		b.Query("UPDATE watchlist USING TTL ? SET streamed_by = ? WHERE list = ? AND symbol = ?", int(ttl/time.Second), owner, list, symbol)
	})
}

// ReleaseWatched ends claims, whosever they are. Idempotent.
func (s *Store) ReleaseWatched(ctx context.Context, list string, symbols []string) error {
	return s.claims(ctx, symbols, "release", func(b *gocql.Batch, symbol string) {
		b.Query("DELETE streamed_by FROM watchlist WHERE list = ? AND symbol = ?", list, symbol)
	})
}

func (s *Store) claims(ctx context.Context, symbols []string, what string, add func(*gocql.Batch, string)) error {
	var failed []error
	for part := range slices.Chunk(symbols, watchChunk) {
		b := s.batch(ctx, gocql.UnloggedBatch, len(part))
		for _, symbol := range part {
			add(b, symbol)
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			failed = append(failed, fmt.Errorf("%s %d symbols of the watch list: %w", what, len(part), err))
		}
	}
	return errors.Join(failed...)
}
