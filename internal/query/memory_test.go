package query

import (
	"context"
	"slices"
	"sync"

	"ticktape/internal/chunk"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// memory is a Reader of what a test puts into it.
type memory struct {
	quotes []Record
	stored []Window // of interval 1m
	sealed int64
	live   map[place]window.State
	chunks map[place][][]chunk.Record

	mu    sync.Mutex
	reads int
}

type place struct {
	start int64
	log   int32
}

func (m *memory) open(context.Context) (Reader, error) { return m, nil }

func (m *memory) Quotes(_ context.Context, symbols []string) ([]Record, error) {
	var list []Record
	for _, r := range m.quotes {
		if symbols == nil || slices.Contains(symbols, r.Symbol) {
			list = append(list, r)
		}
	}
	return list, nil
}

func (m *memory) Candles(_ context.Context, _, name string, from, to int64, limit int) ([]Window, error) {
	var list []Window
	for _, w := range m.stored {
		if name == "1m" && w.Start >= from && w.Start < to && len(list) < limit {
			list = append(list, w)
		}
	}
	return list, nil
}

func (m *memory) SealedUntil(context.Context) (int64, error) { return m.sealed, nil }

func (m *memory) Live(_ context.Context, start int64, log int32, _ string) (window.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	return m.live[place{start, log}], nil
}

func (m *memory) Trades(_ context.Context, start int64, log int32, _ string, each func(Chunk) error) error {
	m.mu.Lock()
	m.reads++
	m.mu.Unlock()
	for _, records := range m.chunks[place{start, log}] {
		c := Chunk{First: records[0].EventTime, Last: records[0].EventTime}
		for i := range records {
			c.First, c.Last = min(c.First, records[i].EventTime), max(c.Last, records[i].EventTime)
		}
		c.Decode = func(dst []chunk.Record) ([]chunk.Record, error) { return append(dst, records...), nil }
		if err := each(c); err != nil {
			return err
		}
	}
	return nil
}

func record(offset, at, seq int64, p tick.Price, size int64) chunk.Record {
	return chunk.Record{Offset: offset, LogTime: at, Tick: tick.Tick{
		Symbol: "AAPL", EventTime: at, Seq: seq, Price: p, Size: size, Source: tick.SourceSimulated, Currency: "USD",
	}}
}
