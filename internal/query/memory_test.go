package query

import (
	"context"
	"sync"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// memory is a reader of what a test puts into it, all of one symbol.
type memory struct {
	newest  tick.Tick
	logs    []int32
	minutes []store.Candle
	fives   []store.Candle
	hours   []store.Candle
	days    []store.Candle
	actions []store.Action
	sealed  int64
	live    map[store.Window]window.State
	chunks  map[store.Window][][]chunk.Record

	mu    sync.Mutex
	reads int // of windows
}

func (m *memory) api() *API {
	return newAPI(func(context.Context) (reader, error) { return m, nil })
}

func (m *memory) LatestQuotes(context.Context, []string) (map[string]tick.Tick, error) {
	if m.newest.Symbol == "" {
		return nil, nil
	}
	return map[string]tick.Tick{m.newest.Symbol: m.newest}, nil
}

func (m *memory) SymbolLogs(context.Context, string) ([]int32, error) { return m.logs, nil }

func (m *memory) SealedUntil(context.Context) (int64, error) { return m.sealed, nil }

func (m *memory) ReadCandles(_ context.Context, _ string, interval store.Interval, from, to int64, limit int) ([]store.Candle, error) {
	var list []store.Candle
	for _, c := range m.stored(interval) {
		if c.Start >= from && c.Start < to && len(list) < limit {
			list = append(list, c)
		}
	}
	return list, nil
}

func (m *memory) stored(interval store.Interval) []store.Candle {
	return map[store.Interval][]store.Candle{store.Minute: m.minutes, store.FiveMinutes: m.fives, store.Hour: m.hours, store.Day: m.days}[interval]
}

func (m *memory) LatestCandle(_ context.Context, _ string, interval store.Interval, _ int) (c store.Candle, ok bool, err error) {
	if list := m.stored(interval); len(list) > 0 {
		return list[len(list)-1], true, nil
	}
	return c, false, nil
}

func (m *memory) ReadActions(_ context.Context, _ string, from, to int64) ([]store.Action, error) {
	var list []store.Action
	for _, a := range m.actions {
		if a.Time >= from && a.Time < to {
			list = append(list, a)
		}
	}
	return list, nil
}

func (m *memory) ReadWindow(_ context.Context, w store.Window, symbols []string) (int64, []store.SymbolState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	s, ok := m.live[w]
	if !ok || s.Count == 0 {
		return 0, nil, nil
	}
	return 0, []store.SymbolState{{Symbol: symbols[0], State: s}}, nil
}

func (m *memory) EachChunk(_ context.Context, w store.Window, _ string, f func(*chunk.Summary, []byte) error) error {
	m.mu.Lock()
	m.reads++
	m.mu.Unlock()
	for _, records := range m.chunks[w] {
		var b chunk.Builder
		b.Reset("AAPL")
		for i := range records {
			b.Add(&records[i])
		}
		s := b.Summary()
		if err := f(&s, b.Append(nil)); err != nil {
			return err
		}
	}
	return nil
}

// testStart is a minute of March 2026.
const testStart = 1772461800000

func testRecord(offset, at, seq int64) chunk.Record {
	return chunk.Record{Offset: offset, LogTime: at, Tick: tick.Tick{
		Symbol: "AAPL", EventTime: at, Seq: seq, Price: 1, Size: 1, Source: tick.SourceSimulated, Currency: "USD",
	}}
}
