package store_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

const aMinute = 1_763_000_040_000 // a window's start

// Chunks of symbols that share a bucket are written in rows of their own and in
// shared ones, which overlap: whoever reads finds each of them, in order.
func TestChunksAreReadBackWithTheirSummaries(t *testing.T) {
	s := testbed.Store(t)
	w := store.Window{Start: aMinute, Log: 1<<16 + 3}
	symbols := []string{"AAPL", "MSFT"}
	for i := 0; len(symbols) < 5; i++ {
		if name := fmt.Sprint("B", i); store.Bucket(name) == store.Bucket("AAPL") {
			symbols = append(symbols, name)
		}
	}
	var want []*chunk.Row
	var quotes []store.Quote
	shared := map[*chunk.Row][2]int64{}
	cut := func(symbol string, offsets ...int64) store.Chunk {
		var b chunk.Builder
		b.Reset(symbol)
		row := &chunk.Row{Log: w.Log, Symbol: symbol}
		for _, o := range offsets {
			r := chunk.Record{Offset: o, LogTime: aMinute + o, Tick: tick.Tick{Symbol: symbol, EventTime: aMinute + o, Price: tick.Price(-o), Size: o, Exchange: "NMS"}}
			row.Records = append(row.Records, r)
			b.Add(&r)
		}
		row.First, row.Last = b.Offsets()
		row.Summary = b.Summary()
		want = append(want, row)
		quotes = append(quotes, store.Quote{Offset: row.Last, Tick: row.Records[0].Tick})
		return store.Chunk{Symbol: symbol, First: row.First, Last: row.Last, Summary: row.Summary.Append(nil), Ticks: b.Append(nil)}
	}
	rows := [][]store.Chunk{
		{cut("AAPL", 11, 12, 20)},
		{cut("MSFT", 13, 14)},
		{cut("AAPL", 30, 41), cut(symbols[2], 31, 32), cut(symbols[3], 33, 50)},
		{cut("AAPL", 41, 51), cut(symbols[2], 52)},
		{cut("AAPL", 61)},
		{cut(symbols[3], 62)},
	}
	for _, row := range want {
		switch {
		case row.First >= 30 && row.First <= 33:
			shared[row] = [2]int64{30, 50}
		case row.First == 41 || row.First == 52:
			shared[row] = [2]int64{41, 52}
		}
	}
	slices.SortFunc(want, func(a, b *chunk.Row) int {
		return cmp.Or(strings.Compare(a.Symbol, b.Symbol), int(a.First-b.First))
	})
	for range 2 { // the second changes nothing
		if err := s.WriteChunks(t.Context(), w, rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteQuotes(t.Context(), w.Log, quotes); err != nil {
		t.Fatal(err)
	}
	t.Run("without their ticks, and those one by one", func(t *testing.T) {
		var got []*chunk.Row
		read := s.Summaries(t.Context(), w)
		for r := read.Next(); r != nil; r = read.Next() {
			var err error
			if r.Records, err = s.ReadChunk(t.Context(), aMinute, r); err != nil {
				t.Fatal(err)
			}
			if i := len(got); i < len(want) && r.Shared != shared[want[i]] {
				t.Errorf("%s at %d is in the row %v, want %v", r.Symbol, r.First, r.Shared, shared[want[i]])
			}
			r.Shared = [2]int64{}
			got = append(got, r)
		}
		if err := read.Close(); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, row := range []*chunk.Row{{First: 30, Last: 42}, {First: 30, Last: 41, Shared: [2]int64{30, 51}}} {
			row.Log, row.Symbol = w.Log, "AAPL"
			if _, err := s.ReadChunk(t.Context(), aMinute, row); err == nil {
				t.Errorf("a chunk that is not there was read: %+v", row)
			}
		}
	})
	for _, symbol := range symbols {
		t.Run(symbol, func(t *testing.T) {
			own := slices.DeleteFunc(slices.Clone(want), func(r *chunk.Row) bool { return r.Symbol != symbol })
			got, err := s.ReadChunks(t.Context(), w, symbol)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(own, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			var records []chunk.Record
			if err := s.EachChunk(t.Context(), w, symbol, func(_ *chunk.Summary, ticks []byte) (err error) {
				records, err = new(chunk.Decoder).Decode(records, ticks)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			var all []chunk.Record
			for _, r := range own {
				all = append(all, r.Records...)
			}
			if diff := gocmp.Diff(all, records); diff != "" {
				t.Errorf("each chunk: %s", diff)
			}
			have, err := s.HaveTicks(t.Context(), symbol, []int64{aMinute, aMinute + window.Length})
			if err != nil || have[aMinute] != (len(own) > 0) || have[aMinute+window.Length] {
				t.Errorf("there are ticks: %v, error %v", have, err)
			}
		})
	}
}

// A reading that breaks off gives nothing that stands behind the break: seal would
// take what is missing for nothing.
func TestSummariesEndWhereReadingBreaksOff(t *testing.T) {
	s := testbed.Store(t)
	const rows = 1_500 // more than a page
	symbols := []string{"Z0"}
	for i := 1; len(symbols) < 2; i++ {
		if name := fmt.Sprint("Z", i); store.Bucket(name) == store.Bucket("Z0") {
			symbols = append(symbols, name)
		}
	}
	var b chunk.Builder
	cut := func(symbol string, offset int64) store.Chunk {
		b.Reset(symbol)
		b.Add(&chunk.Record{Offset: offset, LogTime: aMinute, Tick: tick.Tick{Symbol: symbol, EventTime: aMinute, Price: 1}})
		summary := b.Summary()
		return store.Chunk{Symbol: symbol, First: offset, Last: offset, Summary: summary.Append(nil), Ticks: b.Append(nil)}
	}
	for name, c := range map[string]struct {
		own, shared int
		first       int // how many are read before it breaks
	}{
		"in rows of their own": {rows, 1, 1},
		"in shared rows":       {1, rows, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := store.Window{Start: aMinute, Log: int32(c.own)}
			var all [][]store.Chunk
			for i := range c.own {
				all = append(all, []store.Chunk{cut(fmt.Sprintf("A%05d", i), int64(i))})
			}
			for i := range c.shared {
				all = append(all, []store.Chunk{cut(symbols[0], int64(2*i)), cut(symbols[1], int64(2*i+1))})
			}
			if err := s.WriteChunks(t.Context(), w, all); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			read := s.Summaries(ctx, w)
			n := 0
			for n < c.first && read.Next() != nil {
				n++
			}
			cancel()
			for r := read.Next(); r != nil; r = read.Next() {
				if n++; r.Symbol[0] == 'Z' {
					t.Fatalf("%s was read behind the break", r.Symbol)
				}
			}
			if err := read.Close(); err == nil || n < c.first || n >= rows {
				t.Errorf("%d were read, error %v", n, err)
			}
		})
	}
}

func TestTicksAreKeptForTicksTTLAlsoAfterItChanged(t *testing.T) {
	cfg := testbed.Cassandra(t)
	for _, ttl := range []time.Duration{48 * time.Hour, 72 * time.Hour, 72 * time.Hour} {
		cfg.TicksTTL = ttl
		s, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.KeepTicks(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := s.TicksTTL(t.Context()); got != ttl || err != nil {
			t.Errorf("ticks are kept for %s, want %s, error %v", got, ttl, err)
		}
		s.Close()
	}
}

func TestTheLatestQuoteIsThatOfTheLatestTradeInAnyOrderOfWriting(t *testing.T) {
	s := testbed.Store(t)
	quote := func(offset, at int64, price tick.Price) []store.Quote {
		return []store.Quote{{Offset: offset, Tick: tick.Tick{Symbol: "AAPL", EventTime: at, Price: price, Exchange: "NMS"}}}
	}
	const log, newer = 1<<16 + 3, 2 << 16
	for _, w := range []struct {
		log          int32
		offset, time int64
		price        tick.Price
		want         tick.Price
	}{
		{log, 7, aMinute + 7, 70, 70},
		{log, 8, aMinute + 6, 80, 70},    // an older trade behind a newer one
		{log, 5, aMinute + 7, 50, 70},    // of the same millisecond, before it
		{log, 9, aMinute + 7, 90, 90},    // of the same millisecond, behind it
		{log, 7, aMinute + 7, 70, 90},    // a redelivery
		{newer, 0, aMinute + 7, 1, 1},    // of the same millisecond, in a newer log
		{newer, 1, aMinute + 5, 2, 1},    // an older trade in a newer log
		{log, 3, aMinute + 60_000, 3, 3}, // a newer trade in an older log
	} {
		if err := s.WriteQuotes(t.Context(), w.log, quote(w.offset, w.time, w.price)); err != nil {
			t.Fatal(err)
		}
		for _, symbols := range [][]string{nil, {"AAPL", "NONE"}} {
			got, err := s.LatestQuotes(t.Context(), symbols)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got["AAPL"].Price != w.want || got["AAPL"].Exchange != "NMS" {
				t.Errorf("after offset %d of log %d: %v, want the price %d", w.offset, w.log, got, w.want)
			}
		}
	}
	logs, err := s.SymbolLogs(t.Context(), "AAPL")
	if diff := gocmp.Diff([]int32{log, newer}, logs); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if logs, err := s.SymbolLogs(t.Context(), "NONE"); len(logs) != 0 || err != nil {
		t.Error(logs, err)
	}
}

func TestCandlesAreReadBackInOrderAcrossYears(t *testing.T) {
	s := testbed.Store(t)
	const newYear = 1_767_225_600_000 // 2026-01-01T00:00Z
	var want []store.Candle
	for i := int64(-2); i < 2; i++ {
		at := newYear + i*window.Length
		c := store.Candle{
			Symbol: "AAPL", Start: at, Exchange: "NMS", Source: tick.SourceYahoo, SealedAt: at + 90_000,
			State: window.State{
				Count: 3, Volume: math.MaxInt64, PriceSum: window.Sum{Hi: i, Lo: 7}, Turnover: window.Sum{Hi: math.MinInt64, Lo: math.MaxUint64},
				Open: window.Point{EventTime: at + 1, Price: 10}, High: window.Point{Price: 30}, Low: window.Point{Price: -5}, Close: window.Point{EventTime: at + 9, Price: 20},
			},
		}
		if err := s.WriteCandle(t.Context(), store.Minute, &c, 100); err != nil {
			t.Fatal(err)
		}
		want = append(want, c)
	}
	older := want[0]
	older.Count = 99
	if err := s.WriteCandle(t.Context(), store.Minute, &older, 99); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		from, to int64
		limit    int
		want     []store.Candle
	}{
		{"all", 0, newYear * 2, 10, want},
		{"from is in, to is out", newYear - window.Length, newYear + window.Length, 10, want[1:3]},
		{"a limit", 0, newYear * 2, 3, want[:3]},
		{"an empty range", newYear, newYear, 10, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.ReadCandles(t.Context(), "AAPL", store.Minute, c.from, c.to, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
