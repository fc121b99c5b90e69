package query

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

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
		m := &memory{live: map[place]window.State{}}
		logs := []int32{65536, 65541}
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
			for _, log := range logs {
				var s window.State
				for range rapid.IntRange(0, 3).Draw(t, "trades") {
					offset++
					s.Add(window.Point{EventTime: start + offset%minuteLength, Offset: offset, Price: rapid.Int64Range(-5, 5).Draw(t, "price")}, rapid.Int64Range(0, 9).Draw(t, "size"))
				}
				if start >= m.sealed {
					m.live[place{start, log}] = s
				}
				whole.Merge(&s)
			}
			if whole.Count == 0 {
				continue
			}
			if start < m.sealed {
				m.stored = append(m.stored, Window{Start: start, State: whole, Source: tick.SourceSimulated, Sealed: true})
			}
			if at := start - start%iv.length; at >= from-from%iv.length && at < to {
				if sums[at] == nil {
					sums[at] = &window.State{}
				}
				sums[at].Merge(&whole)
			}
		}
		for _, log := range logs {
			m.quotes = append(m.quotes, Record{log, record(offset, first+300*minuteLength, 0, 1, 1)})
		}
		for at := first; at < to; at += iv.length {
			if s := sums[at]; s != nil {
				want = append(want, candleText(at, s, at+iv.length <= m.sealed))
			}
		}

		api := New(m.open)
		limit := rapid.IntRange(1, 30).Draw(t, "limit")
		query := fmt.Sprintf("symbol=AAPL&interval=%s&from=%d&to=%d&limit=%d", iv.name, from, to, limit)
		var got []string
		for cursor := ""; ; {
			page := get[candlePage](t, api.Candles, query+cursor)
			if len(page.Candles) > limit {
				t.Fatalf("a page has %d candles, more than %d", len(page.Candles), limit)
			}
			for _, c := range page.Candles {
				got = append(got, fmt.Sprint(c.Start, c.Open, c.High, c.Low, c.Close, c.Volume, c.Turnover, c.TickCount, c.Sealed))
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
	p := func(v int64) string { return tick.Price(v).String() }
	return fmt.Sprint(stamp(start), json.Number(p(s.Open.Price)), json.Number(p(s.High.Price)), json.Number(p(s.Low.Price)), json.Number(p(s.Close.Price)),
		json.Number(fmt.Sprint(s.Volume)), json.Number(sumDecimal(s.Turnover).String()), s.Count, sealed)
}
