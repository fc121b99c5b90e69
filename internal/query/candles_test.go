package query

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

type candlePage struct {
	From, To string
	Candles  []struct {
		Start                                    string
		Open, High, Low, Close, Volume, Turnover json.Number
		VWAP                                     *json.Number
		TickCount                                int64 `json:"tick_count"`
		Source                                   string
		Sealed                                   bool
	}
	Next string
}

func TestPagesOfCandlesSumUpEveryMinuteOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const first = int64(testStart - testStart%hourLength)
		m := &memory{live: map[store.Window]window.State{}, logs: []int32{65536, 65541}}
		minutes := rapid.SliceOfNDistinct(rapid.Int64Range(0, 300), 1, 120, rapid.ID[int64]).Draw(t, "minutes")
		slices.Sort(minutes)
		m.sealed = first + rapid.Int64Range(-10, 310).Draw(t, "sealed")*minuteLength
		iv := intervals[rapid.IntRange(0, 3).Draw(t, "interval")]
		from := first + rapid.Int64Range(0, 200*minuteLength).Draw(t, "from")
		to := from + rapid.Int64Range(1, 200*minuteLength).Draw(t, "length")

		var want []string
		sums := map[int64]*window.State{}
		var offset int64
		for _, minute := range minutes {
			start := first + minute*minuteLength
			var whole window.State
			for _, log := range m.logs {
				var s window.State
				for range rapid.IntRange(0, 3).Draw(t, "trades") {
					offset++
					s.Add(window.Point{EventTime: start + offset%minuteLength, Offset: offset, Price: rapid.Int64Range(-5, 5).Draw(t, "price")}, rapid.Int64Range(0, 9).Draw(t, "size"))
				}
				if start >= m.sealed {
					m.live[store.Window{Start: start, Log: log}] = s
				}
				whole.Merge(&s)
			}
			if whole.Count == 0 {
				continue
			}
			m.newest = testRecord(0, start, 0).Tick
			if start < m.sealed {
				m.minutes = append(m.minutes, store.Candle{Start: start, State: whole, Source: tick.SourceSimulated, SealedAt: 1})
			}
			if at := start - start%iv.length; at >= from-from%iv.length && at < to {
				if sums[at] == nil {
					sums[at] = &window.State{}
				}
				sums[at].Merge(&whole)
			}
		}
		if m.newest.Symbol == "" {
			t.Skip("no trade was drawn")
		}
		for at := first; at < to; at += iv.length {
			if s := sums[at]; s != nil {
				want = append(want, candleText(at, s, at+iv.length <= m.sealed))
			}
		}

		limit := rapid.IntRange(1, 30).Draw(t, "limit")
		checkPages(t, m.api(), fmt.Sprintf("symbol=AAPL&interval=%s&from=%d&to=%d", iv.name, from, to), limit, want)
	})
}

func candleText(start int64, s *window.State, sealed bool) string {
	p := func(v int64) json.Number { return json.Number(tick.Price(v).String()) }
	return fmt.Sprintln(stamp(start), p(s.Open.Price), p(s.High.Price), p(s.Low.Price), p(s.Close.Price),
		s.Volume, sumDecimal(s.Turnover), s.Count, sealed)
}

// The days are those around the night in which New York puts its clocks forward.
func TestPagesOfDaysHoldEveryMinuteOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const exchange = "NMS"
		first, _ := window.Day(exchange, 1772758800000) // 2026-03-06
		m := &memory{live: map[store.Window]window.State{}, logs: []int32{65536}}
		minutes := rapid.SliceOfNDistinct(rapid.Int64Range(0, 7*24*60), 1, 60, rapid.ID[int64]).Draw(t, "minutes")
		slices.Sort(minutes)
		m.newest = testRecord(0, first+minutes[len(minutes)-1]*minuteLength, 0).Tick
		m.newest.Exchange = exchange
		// Within two days of the newest trade, which is how far live windows are looked for.
		m.sealed = window.Start(m.newest.EventTime) - rapid.Int64Range(-1, 2000).Draw(t, "unsealed")*minuteLength
		daysStored := rapid.IntRange(0, 7).Draw(t, "days stored")
		from := first + rapid.Int64Range(0, 5*dayLength).Draw(t, "from")
		to := from + rapid.Int64Range(1, 5*dayLength).Draw(t, "length")

		sums := map[int64]*window.State{}
		var starts []int64
		for offset, minute := range minutes {
			at := first + minute*minuteLength
			var s window.State
			s.Add(window.Point{EventTime: at, Offset: int64(offset), Price: int64(offset%7 + 1)}, int64(offset))
			if at < m.sealed {
				m.minutes = append(m.minutes, store.Candle{Start: at, State: s, Source: tick.SourceSimulated, SealedAt: 1})
			} else {
				m.live[store.Window{Start: at, Log: 65536}] = s
			}
			start, _ := window.Day(exchange, at)
			if sums[start] == nil {
				sums[start] = &window.State{}
				starts = append(starts, start)
			}
			sums[start].Merge(&s)
		}
		var want []string
		for i, start := range starts {
			_, end := window.Day(exchange, start)
			stored := i < daysStored && end <= window.Start(m.newest.EventTime)
			if stored {
				m.days = append(m.days, store.Candle{Start: start, State: *sums[start], Exchange: exchange, Source: tick.SourceSimulated, SealedAt: 1})
			}
			if end > from && start < to {
				want = append(want, candleText(start, sums[start], stored || end <= m.sealed))
			}
		}
		checkPages(t, m.api(), fmt.Sprintf("symbol=AAPL&interval=1d&from=%d&to=%d", from, to), rapid.IntRange(1, 4).Draw(t, "limit"), want)
	})
}

// checkPages asks for one page after the other and compares what they hold.
func checkPages(t failer, api *API, query string, limit int, want []string) {
	t.Helper()
	var got []string
	for cursor := ""; ; {
		page := get[candlePage](t, api.Candles, fmt.Sprintf("%s&limit=%d%s", query, limit, cursor))
		if len(page.Candles) > limit {
			t.Fatalf("a page has %d candles, more than %d", len(page.Candles), limit)
		}
		for _, c := range page.Candles {
			got = append(got, fmt.Sprintln(c.Start, c.Open, c.High, c.Low, c.Close, c.Volume, c.Turnover, c.TickCount, c.Sealed))
		}
		if page.Next == "" || len(got) > len(want) {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	if !slices.Equal(got, want) {
		t.Fatalf("pages have\n%q, want\n%q", got, want)
	}
}
