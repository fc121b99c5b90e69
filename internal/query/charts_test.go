package query

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// bar is a candle of a chart whose price rises by 1 from the given one.
func bar(start, length, price int64) store.Candle {
	return store.Candle{
		Symbol: "AAPL", Start: start, Exchange: "NMS", Source: tick.SourceYahooChart, SealedAt: 1,
		State: window.State{
			Volume: 100, Open: window.Point{EventTime: start, Price: price}, Close: window.Point{EventTime: start + length - 1, Price: price + int64(tick.Unit)},
			High: window.Point{Price: price + int64(tick.Unit)}, Low: window.Point{Price: price},
		},
	}
}

// traded is a candle of one trade.
func traded(start, price int64) store.Candle {
	c := store.Candle{Symbol: "AAPL", Start: start, Exchange: "NMS", Source: tick.SourceYahoo, SealedAt: 1}
	c.Add(window.Point{EventTime: start + 1, Price: price}, 10)
	return c
}

// ask returns the candles of all pages, a line each, and how many pages they took.
func ask(t *testing.T, m *memory, interval string, from, to int64, limit int) (lines []string, pages int) {
	t.Helper()
	query := fmt.Sprintf("symbol=AAPL&interval=%s&from=%d&to=%d&limit=%d", interval, from, to, limit)
	cursor := ""
	for {
		res := m.api().Candles(handler.Request{Method: http.MethodGet, QueryString: query + cursor})
		var page candlePage
		if err := json.Unmarshal(res.Body, &page); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, res.Body)
		}
		for _, c := range page.Candles {
			exact := "exact"
			if c.VWAP == nil && c.Turnover == "" && c.TickCount == 0 {
				exact = "charted"
			}
			lines = append(lines, fmt.Sprint(c.Start[5:16], " ", c.Open, " ", c.High, " ", c.Low, " ", c.Close, " ", c.Volume, " ", c.Source, " ", exact))
		}
		pages++
		if page.Next == "" {
			return lines, pages
		}
		cursor = "&cursor=" + page.Next
	}
}

func TestLongerCandlesStandInWhereThereAreNoMinutes(t *testing.T) {
	const unit = int64(tick.Unit)
	const hour = int64(testStart - testStart%hourLength) // 14:00
	minute := func(n int64) int64 { return hour + n*minuteLength }
	// A chart's hours start at half past; five-minute bars go on from 15:30, minutes
	// from 16:00, and ticks of our own from 16:07.
	m := &memory{newest: testRecord(0, minute(131), 0).Tick, logs: []int32{65536}, sealed: minute(129), live: map[store.Window]window.State{}}
	for i := range int64(3) {
		m.hours = append(m.hours, bar(minute(-30+60*i), hourLength, (10+i)*unit)) // 13:30, 14:30, 15:30
	}
	for i := range int64(12) {
		m.fives = append(m.fives, bar(minute(90+5*i), 5*minuteLength, (20+i)*unit)) // 15:30 to 16:25
	}
	for i := range int64(7) {
		m.minutes = append(m.minutes, bar(minute(120+i), minuteLength, (40+i)*unit)) // 16:00 to 16:06
	}
	m.minutes = append(m.minutes, traded(minute(127), 50*unit), traded(minute(128), 51*unit), bar(minute(129), minuteLength, 99*unit))
	live := traded(minute(129), 52*unit) // in a window that a chart has filled meanwhile
	m.live[store.Window{Start: minute(129), Log: 65536}] = live.State

	for interval, want := range map[string]string{
		"1m": `03-02T16:00 40 41 40 41 100 yahoo-chart charted
03-02T16:01 41 42 41 42 100 yahoo-chart charted
03-02T16:02 42 43 42 43 100 yahoo-chart charted
03-02T16:03 43 44 43 44 100 yahoo-chart charted
03-02T16:04 44 45 44 45 100 yahoo-chart charted
03-02T16:05 45 46 45 46 100 yahoo-chart charted
03-02T16:06 46 47 46 47 100 yahoo-chart charted
03-02T16:07 50 50 50 50 10 yahoo exact
03-02T16:08 51 51 51 51 10 yahoo exact
03-02T16:09 52 52 52 52 10 simulated exact`,
		"15m": `03-02T15:30 20 23 20 23 300 yahoo-chart charted
03-02T15:45 23 26 23 26 300 yahoo-chart charted
03-02T16:00 40 52 28 29 830 unknown charted
03-02T16:15 29 32 29 32 300 yahoo-chart charted`,
		// The bar of 15:30 is left out, because five-minute bars say the same.
		"1h": `03-02T13:30 10 11 10 11 100 yahoo-chart charted
03-02T14:30 11 12 11 12 100 yahoo-chart charted
03-02T15:00 20 26 20 26 600 yahoo-chart charted
03-02T16:00 40 52 28 32 1130 unknown charted`,
		"1d": `03-02T00:00 10 52 10 32 1930 unknown charted`,
	} {
		want := strings.Split(want, "\n")
		all, pages := ask(t, m, interval, minute(-60), minute(200), 1000)
		if !slices.Equal(all, want) || pages != 1 {
			t.Errorf("%s in %d pages:\n%s", interval, pages, strings.Join(all, "\n"))
		}
		for limit := 1; limit < 4; limit++ {
			if paged, _ := ask(t, m, interval, minute(-60), minute(200), limit); !slices.Equal(paged, want) {
				t.Errorf("%s by pages of %d:\n%s", interval, limit, strings.Join(paged, "\n"))
			}
		}
	}
	// What is behind the end of the range covers a bar within it all the same.
	if got, _ := ask(t, m, "1h", minute(-60), minute(92), 1000); !slices.Equal(got, []string{
		"03-02T13:30 10 11 10 11 100 yahoo-chart charted", "03-02T14:30 11 12 11 12 100 yahoo-chart charted", "03-02T15:00 20 26 20 26 600 yahoo-chart charted",
	}) {
		t.Errorf("to 15:32:\n%s", strings.Join(got, "\n"))
	}
}

func TestASymbolThatNeverTradedHereHasItsCharts(t *testing.T) {
	m := &memory{sealed: testStart + 100*dayLength}
	day, _ := window.Day("NMS", testStart)
	m.days = []store.Candle{bar(day-dayLength, dayLength, 1_00000000), bar(day, dayLength, 2_00000000)}
	m.actions = []store.Action{
		{Symbol: "AAPL", Time: day - 200*dayLength, Kind: store.Dividend, Amount: 1},
		{Symbol: "AAPL", Time: day - dayLength, Kind: store.Dividend, Amount: 25000000, Currency: "USD", Source: tick.SourceYahooChart},
		{Symbol: "AAPL", Time: day, Kind: store.Split, Numerator: 4 * tick.Unit, Denominator: tick.Unit, Source: tick.SourceYahooChart},
	}
	get := func(query string, status int, want string) {
		t.Helper()
		res := m.api().Candles(handler.Request{Method: http.MethodGet, QueryString: query})
		if res.StatusCode != status || !strings.Contains(string(res.Body), want) {
			t.Errorf("%s: %d %s", query, res.StatusCode, res.Body)
		}
	}
	dividend := `{"time":"2026-03-01T05:00:00.000Z","kind":"dividend","amount":0.25,"currency":"USD","source":"yahoo-chart"}`
	split := `{"time":"2026-03-02T05:00:00.000Z","kind":"split","numerator":4,"denominator":1,"source":"yahoo-chart"}`
	query := "symbol=AAPL&interval=1d&from=2026-02-20&events="
	get(query+"dividends,splits", 200, `"events":[`+dividend+","+split+`]`)
	get(query+"splits", 200, `"events":[`+split+`]`)
	get(query+"splits", 200, `{"start":"2026-03-02T05:00:00.000Z","open":2,"high":3,"low":2,"close":3,"volume":100,"turnover":null,"vwap":null,"tick_count":0,"source":"yahoo-chart","sealed":true}`)
	get(query+"births", 400, `"parameter":"events","allowed":["dividends","splits"]`)
	get(query+"splits&format=csv", 400, `"parameter":"events"`)
	m.days = nil
	get("symbol=AAPL&interval=1d", 404, "No trade of symbol")
}
