package query

import (
	"context"
	"errors"
	"slices"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// reader is the part of *store.Store that answers are made of. All of it only
// reads, so it may be done again after any error.
type reader interface {
	LatestQuotes(ctx context.Context, symbols []string) (map[string]tick.Tick, error)
	SymbolLogs(ctx context.Context, symbol string) ([]int32, error)
	ReadCandles(ctx context.Context, symbol string, interval store.Interval, from, to int64, limit int) ([]store.Candle, error)
	ReadWindow(ctx context.Context, w store.Window, symbols []string) (fence int64, states []store.SymbolState, err error)
	EachChunk(ctx context.Context, w store.Window, symbol string, f func(s *chunk.Summary, ticks []byte) error) error
	UnsealedWindows(ctx context.Context, logs []int32, from, to int64) ([]int64, error)
}

// stored is what the store knows of one symbol.
type stored struct {
	reader
	symbol string
	newest tick.Tick // its latest trade
	logs   []int32   // that its trades are in
	// unsealed lists in ascending order the windows of the request's range in
	// which a trade may not yet be in the candle; see load.
	unsealed []int64
}

// find looks a symbol up, which is a problem where no trade of it was ever stored.
func find(ctx context.Context, r reader, symbol string) (*stored, error) {
	latest, err := r.LatestQuotes(ctx, []string{symbol})
	if err != nil {
		return nil, err
	}
	newest, ok := latest[symbol]
	if !ok {
		return nil, unknownSymbol("symbol", symbol)
	}
	s := &stored{reader: r, symbol: symbol, newest: newest}
	s.logs, err = r.SymbolLogs(ctx, symbol)
	return s, err
}

// load looks up which windows of the range are not sealed.
func (k *stored) load(ctx context.Context, from, to int64) (err error) {
	k.unsealed, err = k.UnsealedWindows(ctx, k.logs, window.Start(from), to)
	return err
}

// end is the end of the newest window that can have trades. Live windows run
// ahead of the history, which tells the newest trade, by a minute at most.
func (k *stored) end() int64 {
	return window.Start(k.newest.EventTime) + 2*window.Length
}

// sealed tells whether nothing but a late trade can still change what the trades
// with from ≤ event time < to come to. The range is part of the one that was loaded.
func (k *stored) sealed(from, to int64) bool {
	i, _ := slices.BinarySearch(k.unsealed, window.Start(from))
	return to <= window.Start(k.newest.EventTime) && (i == len(k.unsealed) || k.unsealed[i] >= to)
}

// corrupt tells whether an error says that the store answered with nonsense, so
// that asking again is of no use.
func corrupt(err error) bool {
	return errors.Is(err, chunk.ErrChunk) || errors.Is(err, tick.ErrTick)
}
