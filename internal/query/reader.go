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
	LatestCandle(ctx context.Context, symbol string, interval store.Interval, thisYear int) (c store.Candle, ok bool, err error)
	ReadActions(ctx context.Context, symbol string, from, to int64) ([]store.Action, error)
}

// known is what the store knows of one symbol.
type known struct {
	reader
	symbol string
	newest tick.Tick // its latest trade
	logs   []int32   // that its trades are in
	sealed int64     // start of the first window that may have no candle yet
}

// look reads the symbol that is asked for and looks it up, which is a problem
// where no trade of it was ever stored, nor, if that counts too, a candle from a
// chart. Mistakes in the range are told before the store is asked.
func (a *API) look(ctx context.Context, f form, charts bool) (*known, error) {
	symbol, err := f.symbol()
	if err != nil {
		return nil, err
	}
	if _, err := f.spanOf(maxTime, 0); err != nil {
		return nil, err
	}
	r, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	latest, err := r.LatestQuotes(ctx, []string{symbol})
	if err != nil {
		return nil, err
	}
	newest, ok := latest[symbol]
	if !ok && charts {
		newest, ok, err = charted(ctx, r, symbol, a.now().UTC().Year())
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, unknownSymbol("symbol", symbol)
	}
	k := &known{reader: r, symbol: symbol, newest: newest}
	if k.logs, err = r.SymbolLogs(ctx, symbol); err != nil {
		return nil, err
	}
	k.sealed, err = r.SealedUntil(ctx)
	return k, err
}

// charted stands in for the newest trade of a symbol of which only charts are known.
func charted(ctx context.Context, r reader, symbol string, year int) (newest tick.Tick, ok bool, err error) {
	for _, interval := range []store.Interval{store.Minute, store.FiveMinutes, store.Hour, store.Day} {
		c, found, err := r.LatestCandle(ctx, symbol, interval, year)
		if err != nil {
			return newest, false, err
		}
		if found && c.Start > newest.EventTime {
			newest, ok = tick.Tick{Symbol: symbol, EventTime: c.Start, Exchange: c.Exchange}, true
		}
	}
	return newest, ok, nil
}

// end is the end of the newest window that can have trades. Live windows run
// ahead of the history, which tells the newest trade, by a minute at most.
func (k *known) end() int64 {
	return window.Start(k.newest.EventTime) + 2*window.Length
}

// corrupt tells whether an error says that the store answered with nonsense, so
// that asking again is of no use.
func corrupt(err error) bool {
	return errors.Is(err, chunk.ErrChunk) || errors.Is(err, tick.ErrTick)
}
