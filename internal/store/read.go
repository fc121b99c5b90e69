package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"ticktape/internal/chunk"
)

// chunkPage is how many chunks are fetched at a time: of MaxRecords each they
// come to a few megabytes.
const chunkPage = 50

// EachChunk calls f with each chunk of one symbol in a window, its summary and
// the stored form of its ticks, in the order of first offsets, until f returns an
// error, which it returns. Unlike ReadChunks it holds few chunks at a time. Both
// arguments are valid during the call only. Idempotent.
func (s *Store) EachChunk(ctx context.Context, w Window, symbol string, f func(s *chunk.Summary, ticks []byte) error) error {
	return s.eachChunk(ctx, w, symbol, func(c *sharedChunk) error {
		summary, err := chunk.DecodeSummary(c.Summary)
		if err != nil {
			return err
		}
		return f(&summary, c.Ticks)
	})
}

// eachChunk calls f with each chunk of one symbol in a window, in the order of
// first offsets, until f returns an error.
func (s *Store) eachChunk(ctx context.Context, w Window, symbol string, f func(c *sharedChunk) error) (err error) {
	it := s.session.Query("SELECT symbol, first_offset, last_offset, summary, chunk FROM ticks WHERE window_start = ? AND log = ? AND symbol IN ?",
		w.Start, w.Log, textList([]string{bucketNames[Bucket(symbol)], symbol})).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).PageSize(chunkPage).Prefetch(0).Iter()
	defer func() {
		if err = errors.Join(err, it.Close()); err != nil {
			err = fmt.Errorf("read the ticks of %s in window %s: %w", symbol, w, err)
		}
	}()
	// The rows of the bucket come first. What they have of the symbol is held: it is
	// little, since a shared row has few ticks.
	var shared []*sharedChunk
	before := func(first int64) error {
		for len(shared) > 0 && shared[0].First <= first {
			if err := f(shared[0]); err != nil {
				return err
			}
			shared = shared[1:]
		}
		return nil
	}
	var name string
	var c sharedChunk
	for err == nil && it.Scan(&name, &c.First, &c.Last, &c.Summary, &c.Ticks) {
		if name != symbol {
			err = eachShared(c.First, c.Summary, &c.Ticks, func(c *sharedChunk) bool {
				if string(c.Symbol) != symbol {
					return true
				}
				c.Summary, c.Ticks = bytes.Clone(c.Summary), bytes.Clone(c.Ticks)
				shared = append(shared, c)
				return false
			})
			continue
		}
		if err = before(c.First); err == nil {
			err = f(&c)
		}
	}
	if err != nil {
		return err
	}
	return before(math.MaxInt64)
}
