package query

import (
	"context"
	"errors"

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
	SealedUntil(ctx context.Context) (int64, error)
}

// stored is what the store knows of one symbol.
type stored struct {
	reader
	symbol string
	newest tick.Tick // its latest trade
	logs   []int32   // that its trades are in
	sealed int64     // start of the first window that may have no candle yet
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
	if s.logs, err = r.SymbolLogs(ctx, symbol); err != nil {
		return nil, err
	}
	s.sealed, err = r.SealedUntil(ctx)
	return s, err
}

// end is the end of the newest window that can have trades. Live windows run
// ahead of the history, which tells the newest trade, by a minute at most.
func (k *stored) end() int64 {
	return window.Start(k.newest.EventTime) + 2*window.Length
}

// corrupt tells whether an error says that the store answered with nonsense, so
// that asking again is of no use.
func corrupt(err error) bool {
	return errors.Is(err, chunk.ErrChunk) || errors.Is(err, tick.ErrTick)
}
