package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/chunk"
	"ticktape/internal/replay"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// minute is one window of one symbol.
type minute struct {
	symbol string
	start  int64 // milliseconds since the Unix epoch
}

// truth is what must come out of a market, computed from its ticks alone.
type truth struct {
	ticks   int64
	windows map[minute]*window.State
	starts  map[int64]bool
	latest  map[string]tick.Tick
}

// truthOf adds up all ticks of a source.
func truthOf(source replay.Source) (*truth, error) {
	tr := &truth{windows: map[minute]*window.State{}, starts: map[int64]bool{}, latest: map[string]tick.Tick{}}
	var t tick.Tick
	for ; ; tr.ticks++ {
		if err := source.Next(&t); errors.Is(err, io.EOF) {
			return tr, nil
		} else if err != nil {
			return nil, err
		}
		m := minute{t.Symbol, window.Start(t.EventTime)}
		s := tr.windows[m]
		if s == nil {
			s = &window.State{}
			tr.windows[m] = s
			tr.starts[m.start] = true
		}
		// The number orders the trades of one millisecond as offsets do.
		s.Add(window.Point{EventTime: t.EventTime, Offset: tr.ticks, Price: int64(t.Price)}, t.Size)
		tr.latest[t.Symbol] = t
	}
}

// verify holds every window in Cassandra, counters and registers, against the
// source's own ticks, and with history the sum of every stored tick and each
// symbol's latest trade, too.
func (b *bench) verify(ctx context.Context, source replay.Source, history bool) error {
	tr, err := truthOf(source)
	if err != nil {
		return err
	}
	info, err := b.client.TopicInfo(ctx, b.bus.TicksTopic)
	if err != nil {
		return err
	}
	incarnation, err := b.store.Incarnation(ctx, b.bus.TicksTopic, info.ID)
	if err != nil {
		return err
	}
	counted, stored := map[minute]*window.State{}, map[minute]*window.State{}
	for start := range tr.starts {
		for p := range info.Partitions {
			w := store.Window{Start: start, Log: store.Log(incarnation, p)}
			_, states, err := b.store.ReadWindow(ctx, w, nil)
			if err != nil {
				return err
			}
			symbols := make([]string, len(states))
			for i := range states {
				symbols[i] = states[i].Symbol
				counted[minute{states[i].Symbol, start}] = &states[i].State
			}
			if !history {
				continue
			}
			if err := b.readHistory(ctx, w, symbols, stored); err != nil {
				return err
			}
		}
	}
	if err := compare("live window", tr.windows, counted); err != nil || !history {
		return err
	}
	if err := compare("history", tr.windows, stored); err != nil {
		return err
	}
	quotes, err := b.store.LatestQuotes(ctx, nil)
	if err != nil {
		return err
	}
	if len(quotes) != len(tr.latest) {
		return fmt.Errorf("latest trades of %d symbols, want %d", len(quotes), len(tr.latest))
	}
	for symbol, want := range tr.latest {
		if got := quotes[symbol]; got != want {
			return fmt.Errorf("the latest trade of %s is %+v, want %+v", symbol, got, want)
		}
	}
	return nil
}

func compare(what string, want, got map[minute]*window.State) error {
	if len(want) != len(got) {
		return fmt.Errorf("%s: %d symbols and minutes, want %d", what, len(got), len(want))
	}
	for m, w := range want {
		if g := got[m]; g == nil || figures(g) != figures(w) {
			return fmt.Errorf("%s of %s at %s is %+v, want %+v", what, m.symbol, time.UnixMilli(m.start).UTC(), g, w)
		}
	}
	return nil
}

// figures are what a window says, without the places of its prices.
func figures(s *window.State) [10]int64 {
	return [10]int64{
		s.Count, s.Volume, s.PriceSum.Hi, int64(s.PriceSum.Lo), s.Turnover.Hi, int64(s.Turnover.Lo),
		s.Open.Price, s.High.Price, s.Low.Price, s.Close.Price,
	}
}

// readsAtOnce bounds the reads of a verification.
const readsAtOnce = 64

// readHistory adds up every stored tick of the window; symbols are those that it must have.
func (b *bench) readHistory(ctx context.Context, w store.Window, symbols []string, stored map[minute]*window.State) error {
	states := make([]window.State, len(symbols))
	var g errgroup.Group
	g.SetLimit(readsAtOnce)
	for i, symbol := range symbols {
		g.Go(func() error {
			rows, err := b.store.ReadChunks(ctx, w, symbol)
			if err != nil {
				return err
			}
			for _, record := range chunk.Ticks(rows) {
				states[i].Add(record.Point(), record.Size)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, symbol := range symbols {
		stored[minute{symbol, w.Start}] = &states[i]
	}
	return nil
}
