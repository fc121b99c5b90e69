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
		sealed := first + rapid.Int64Range(-10, 310).Draw(t, "sealed")*minuteLength
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
				if start >= sealed {
					m.live[store.Window{Start: start, Log: log}] = s
				}
				whole.Merge(&s)
			}
			if whole.Count == 0 {
				continue
			}
			m.newest = testRecord(0, start, 0).Tick
			if start < sealed {
				m.minutes = append(m.minutes, store.Candle{Start: start, State: whole, Source: tick.SourceSimulated})
			} else {
				m.unsealed = append(m.unsealed, start)
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
		// The newest window is open, whatever seal says.
		closed := func(from, to int64) bool {
			return to <= m.newest.EventTime && !slices.ContainsFunc(m.unsealed, func(start int64) bool { return start >= from && start < to })
		}
		for at := first; at < to; at += iv.length {
			if s := sums[at]; s != nil {
				want = append(want, candleText(at, s, closed(at, at+iv.length)))
			}
		}

		api := m.api()
		limit := rapid.IntRange(1, 30).Draw(t, "limit")
		query := fmt.Sprintf("symbol=AAPL&interval=%s&from=%d&to=%d&limit=%d", iv.name, from, to, limit)
		var got []string
		for cursor := ""; ; {
			page := get[candlePage](t, api.Candles, query+cursor)
			if len(page.Candles) > limit {
				t.Fatalf("a page has %d candles, more than %d", len(page.Candles), limit)
			}
			for _, c := range page.Candles {
				got = append(got, fmt.Sprintln(c.Start, c.Open, c.High, c.Low, c.Close, c.Volume, c.Turnover, c.TickCount, c.Sealed))
			}
			if page.Next == "" {
				break
			}
			cursor = "&cursor=" + page.Next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("pages have\n%q, want\n%q", got, want)
		}
	})
}

func candleText(start int64, s *window.State, sealed bool) string {
	p := func(v int64) json.Number { return json.Number(tick.Price(v).String()) }
	return fmt.Sprintln(stamp(start), p(s.Open.Price), p(s.High.Price), p(s.Low.Price), p(s.Close.Price),
		s.Volume, sumDecimal(s.Turnover), s.Count, sealed)
}
