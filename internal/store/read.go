package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ticktape/internal/chunk"
)

// chunkPage is how many chunks are fetched at a time: of MaxRecords each they
// come to a few megabytes.
const chunkPage = 50

// EachChunk calls f with each chunk of one symbol in a window, its summary and
// the stored form of its ticks, in the order of offsets, until f returns an
// error, which it returns. Unlike ReadChunks it holds few chunks at a time. Both
// arguments are valid during the call only. Idempotent.
func (s *Store) EachChunk(ctx context.Context, w Window, symbol string, f func(s *chunk.Summary, ticks []byte) error) error {
	it := s.session.Query("SELECT summary, chunk FROM ticks WHERE window_start = ? AND log = ? AND symbol = ?", w.Start, w.Log, symbol).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).PageSize(chunkPage).Prefetch(0).Iter()
	var err error
	var blob, ticks []byte
	for err == nil && it.Scan(&blob, &ticks) {
		var summary chunk.Summary
		if summary, err = chunk.DecodeSummary(blob); err == nil {
			err = f(&summary, ticks)
		}
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("read the ticks of %s in window %s: %w", symbol, w, err)
	}
	return nil
}

// UnsealedWindows lists, in ascending order, the starts of the windows that start
// in from ≤ start < to (milliseconds since the Unix epoch) and of which seal has
// something to do for one of the logs: their candles are absent, or lack a late
// trade. Idempotent.
func (s *Store) UnsealedWindows(ctx context.Context, logs []int32, from, to int64) ([]int64, error) {
	var shards []int
	it := s.session.Query("SELECT DISTINCT shard FROM unsealed_windows").WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	for shard := 0; it.Scan(&shard); {
		shards = append(shards, shard)
	}
	if err := it.Close(); err != nil || len(shards) == 0 {
		return nil, wrapIf(err, "list unsealed windows")
	}
	it = s.session.Query("SELECT window_start, log FROM unsealed_windows WHERE shard IN ? AND window_start >= ? AND window_start < ?", shards, from, to).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	found := map[int64]struct{}{}
	var start int64
	for log := int32(0); it.Scan(&start, &log); {
		if slices.Contains(logs, log) {
			found[start] = struct{}{}
		}
	}
	if err := it.Close(); err != nil {
		return nil, wrapIf(err, "list unsealed windows")
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func wrapIf(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
