package querytest

import (
	"slices"
	"testing"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// Start is the first minute of the market: 2026-03-02 14:30 UTC, a Monday.
const Start = 1772461800000

// The market's logs, of one topic and of the one that was made after it.
const (
	firstLog  = 1<<16 + 3
	secondLog = 2<<16 + 3
)

// Fill writes a market of a few minutes as process, persist and seal would have:
// AAPL has a day before and trades in minutes 0 to 6, each but the last two of them sealed, first in
// one log and from minute 4 on in another, and has records that are stored twice
// and a trade that was published twice; ^GSPC has no volume; BRK-B says little.
func Fill(t testing.TB, s *store.Store) {
	t.Helper()
	f := filler{t, s}
	var apple []chunk.Record
	for minute := range int64(7) {
		for i := range int64(3) {
			n := minute*3 + i
			apple = append(apple, chunk.Record{Offset: 100 + 10*n, Tick: tick.Tick{
				Symbol: "AAPL", EventTime: Start + minute*window.Length + 1_250 + 20_000*i,
				Price: 187_44000000 + tick.Price((n*7919)%13-6)*1_000000, Size: 100 + n, Seq: 51_000_000 + n, DayVolume: 51_000_000 + 100*n,
				PreviousClose: 185_00000000, Currency: "USD", Exchange: "NMS", MarketState: tick.MarketRegular, Source: tick.SourceSimulated,
				ReceivedTime: Start + minute*window.Length + 1_400 + 20_000*i,
			}})
		}
	}
	twice := apple[4]
	twice.Offset++
	apple = slices.Insert(apple, 5, twice)
	f.feed(firstLog, apple[:13], 5)
	f.feed(secondLog, apple[13:], 5)
	// Delivered again with other boundaries.
	f.store(firstLog, apple[3:9])
	f.quote(firstLog, apple[12])
	f.quote(secondLog, apple[21])

	index := chunk.Record{Offset: 7, Tick: tick.Tick{
		Symbol: "^GSPC", EventTime: Start + 5*window.Length + 30_000, Price: 6_123_45678901, PreviousClose: 6_200_00000000,
		Currency: "USD", Exchange: "SNP", MarketState: tick.MarketRegular, Source: tick.SourceSimulated,
	}}
	f.feed(firstLog, []chunk.Record{index}, 5)
	f.quote(firstLog, index)

	bare := chunk.Record{Offset: 8, Tick: tick.Tick{Symbol: "BRK-B", EventTime: Start + 2_000, Price: 500_00000000, Size: 1, MarketState: tick.MarketClosed}}
	f.feed(firstLog, []chunk.Record{bare}, 5)
	f.quote(firstLog, bare)

	friday, _ := window.Day("NMS", Start-3*24*60*window.Length)
	f.must(s.WriteCandle(t.Context(), store.Day, &store.Candle{
		Symbol: "AAPL", Start: friday, Exchange: "NMS", Source: tick.SourceSimulated, SealedAt: Start,
		State: window.State{
			Count: 3, Volume: 1_000_000, PriceSum: window.Sum{Lo: 555_00000000}, Turnover: window.Sum{Lo: 18_500_000_000_000_000},
			Open: window.Point{EventTime: friday + 1, Price: 184_00000000}, High: window.Point{Price: 186_00000000},
			Low: window.Point{Price: 183_00000000}, Close: window.Point{EventTime: friday + 3, Price: 185_00000000},
		},
	}, 1))
	f.must(s.WriteSealedUntil(t.Context(), Start+5*window.Length))
}

type filler struct {
	t testing.TB
	s *store.Store
}

func (f filler) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// feed writes chunks and live windows of the records of a symbol, and the
// candles of the minutes before the one of the given number.
func (f filler) feed(log int32, records []chunk.Record, sealed int64) {
	for len(records) > 0 {
		start := window.Start(records[0].EventTime)
		n := 1
		for n < len(records) && window.Start(records[n].EventTime) == start {
			n++
		}
		f.store(log, records[:n])
		f.window(log, start, records[:n], start >= Start+sealed*window.Length)
		records = records[n:]
	}
}

func (f filler) window(log int32, start int64, records []chunk.Record, live bool) {
	ctx, symbol := f.t.Context(), records[0].Symbol
	var counted, traded window.State
	seen := map[tick.ID]bool{}
	for i := range records {
		counted.Add(records[i].Point(), records[i].Size)
		if !seen[records[i].ID()] {
			traded.Add(records[i].Point(), records[i].Size)
		}
		seen[records[i].ID()] = true
	}
	if !live {
		c := &store.Candle{Symbol: symbol, Start: start, State: traded, Exchange: records[0].Exchange, Source: records[0].Source, SealedAt: start + 70_000}
		f.must(f.s.WriteCandle(ctx, store.Minute, c, 1))
		return
	}
	w := store.Window{Start: start, Log: log}
	states := []store.SymbolState{{Symbol: symbol, State: counted}}
	f.must(f.s.WriteRegisters(ctx, w, states))
	f.must(f.s.Count(ctx, w, 0, records[len(records)-1].Offset+1, states))
}

// store writes the records as chunks, one a window.
func (f filler) store(log int32, records []chunk.Record) {
	for len(records) > 0 {
		start := window.Start(records[0].EventTime)
		var b chunk.Builder
		b.Reset(records[0].Symbol)
		n := 0
		for n < len(records) && window.Start(records[n].EventTime) == start {
			b.Add(&records[n])
			n++
		}
		summary := b.Summary()
		c := store.Chunk{Symbol: records[0].Symbol, First: records[0].Offset, Last: records[n-1].Offset, Summary: summary.Append(nil), Ticks: b.Append(nil)}
		f.must(f.s.WriteChunks(f.t.Context(), store.Window{Start: start, Log: log}, [][]store.Chunk{{c}}))
		records = records[n:]
	}
}

func (f filler) quote(log int32, r chunk.Record) {
	f.must(f.s.WriteQuotes(f.t.Context(), log, []store.Quote{{Offset: r.Offset, Tick: r.Tick}}))
}
