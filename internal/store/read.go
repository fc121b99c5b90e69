package store

import (
	"context"
	"errors"
	"fmt"

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
