package query

import (
	"context"

	"ticktape/internal/chunk"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// Reader is what answers are made of. Its methods only read, so they may be
// called again after any error; an error means that the store did not answer,
// unless it wraps ErrCorrupt. The adapter to Cassandra is Cassandra.
type Reader interface {
	// Quotes returns the latest trade of each of the symbols in every log that
	// has one, in any order; of all symbols where symbols is nil.
	Quotes(ctx context.Context, symbols []string) ([]Record, error)
	// Candles returns the symbol's stored candles of the interval ("1m" or "1d")
	// that start in from ≤ start < to, by start, the first limit of them.
	Candles(ctx context.Context, symbol, interval string, from, to int64, limit int) ([]Window, error)
	// SealedUntil returns the start of the first window that is not sealed, and
	// 0 while none is.
	SealedUntil(ctx context.Context) (int64, error)
	// Live returns what the trades of the symbol in the window that starts at
	// start come to, as far as the log has fed it. Without trades the state is zero.
	Live(ctx context.Context, start int64, log int32, symbol string) (window.State, error)
	// Trades calls each for the stored chunks of the symbol's trades in the window
	// that starts at start, one after the other. A record may be in several chunks.
	Trades(ctx context.Context, start int64, log int32, symbol string, each func(Chunk) error) error
}

// Record is a record with the log that it is in.
type Record struct {
	Log int32
	chunk.Record
}

// Window is what the trades of a symbol in one window come to.
type Window struct {
	Start  int64
	State  window.State
	Source tick.Source
	// Sealed says that the window is stored as a candle.
	Sealed bool
}

// Chunk is a run of records of one symbol in one window, not decoded yet.
type Chunk struct {
	// First and Last bound the records' event times.
	First, Last int64
	// Decode appends the records to dst.
	Decode func(dst []chunk.Record) ([]chunk.Record, error)
}
