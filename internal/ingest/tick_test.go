package ingest

import (
	"testing"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

const newYork = -5 * time.Hour

// at is a time of 2024-11-day in New York's winter.
func at(day, hour, minute, second int) int64 {
	return time.Date(2024, 11, day, hour, minute, second, 0, time.UTC).Add(-newYork).UnixMilli()
}

// share is a quote of a share in its regular session.
func share(time, volume int64) *yahoo.Quote {
	return &yahoo.Quote{
		Symbol: "ACME", Type: "EQUITY", Price: 100 * tick.Unit, Time: time, MarketState: tick.MarketRegular, UTCOffset: newYork,
		Volume: volume, HasVolume: true, VolumeTime: time, Source: tick.SourceYahoo,
	}
}

func with(q *yahoo.Quote, change func(*yahoo.Quote)) *yahoo.Quote {
	change(q)
	return q
}

// preMarket makes the quote one of the pre-market at t: its volume stays that of
// the session before.
func preMarket(t int64) func(*yahoo.Quote) {
	return func(q *yahoo.Quote) { q.Time, q.MarketState = t, tick.MarketPre }
}

func postMarket(t int64) func(*yahoo.Quote) {
	return func(q *yahoo.Quote) { q.Time, q.MarketState = t, tick.MarketPost }
}

func silent(q *yahoo.Quote) { q.Volume, q.HasVolume = 0, false }

func kind(name string) func(*yahoo.Quote) { return func(q *yahoo.Quote) { q.Type = name } }

func rolling(q *yahoo.Quote) { q.Type, q.VolumeRolling, q.UTCOffset = "CRYPTOCURRENCY", true, 0 }

func TestSizesOfTicksThatFollowOneAnother(t *testing.T) {
	for _, c := range []struct {
		name   string
		quotes []*yahoo.Quote
		sizes  []int64
	}{
		{"the first has none, the others what was added", []*yahoo.Quote{
			share(at(13, 10, 0, 0), 1000), share(at(13, 10, 0, 5), 1300), share(at(13, 10, 0, 9), 1301),
		}, []int64{0, 300, 1}},
		{"a new day begins with its volume so far", []*yahoo.Quote{
			share(at(13, 15, 59, 59), 9000), share(at(14, 9, 30, 2), 700), share(at(14, 9, 30, 7), 800),
		}, []int64{0, 700, 100}},
		{"a new day that has traded more than the day before", []*yahoo.Quote{
			share(at(13, 10, 0, 0), 500), share(at(14, 15, 0, 0), 9000),
		}, []int64{0, 9000}},
		{"after a weekend", []*yahoo.Quote{
			share(at(15, 15, 59, 0), 500), share(at(18, 9, 30, 0), 80),
		}, []int64{0, 80}},
		{"the pre-market tells the end of the session before, once", []*yahoo.Quote{
			share(at(13, 15, 0, 0), 1000),
			with(share(at(13, 15, 59, 59), 1100), preMarket(at(14, 8, 0, 0))),
			with(share(at(13, 15, 59, 59), 1100), preMarket(at(14, 8, 0, 5))),
			share(at(14, 9, 30, 1), 50),
			share(at(14, 9, 30, 6), 60),
		}, []int64{0, 100, 0, 50, 10}},
		{"the first of all comes in the pre-market", []*yahoo.Quote{
			with(share(at(13, 15, 59, 59), 1100), preMarket(at(14, 8, 0, 0))), share(at(14, 9, 30, 1), 5000),
		}, []int64{0, 5000}},
		{"trades after the close add no regular volume", []*yahoo.Quote{
			share(at(13, 15, 59, 0), 1000),
			with(share(at(13, 16, 0, 2), 1500), postMarket(at(13, 16, 5, 0))),
			with(share(at(13, 16, 0, 2), 1500), postMarket(at(13, 17, 5, 0))),
			share(at(14, 9, 30, 0), 30),
		}, []int64{0, 500, 0, 30}},
		{"a volume that is corrected downwards counts no trade twice", []*yahoo.Quote{
			share(at(13, 10, 0, 0), 1000), share(at(13, 10, 0, 5), 990), share(at(13, 10, 0, 9), 1010),
		}, []int64{0, 0, 10}},
		{"a session that begins within the day", []*yahoo.Quote{
			share(at(13, 10, 0, 0), 1000), share(at(13, 18, 0, 5), 20),
		}, []int64{0, 20}},
		{"symbols without volume", []*yahoo.Quote{
			with(share(at(13, 10, 0, 0), 0), silent), with(share(at(13, 10, 0, 5), 0), silent),
		}, []int64{0, 0}},
		{"symbols with volume 0", []*yahoo.Quote{
			share(at(13, 10, 0, 0), 0), share(at(13, 10, 0, 5), 0), share(at(14, 10, 0, 5), 0),
		}, []int64{0, 0, 0}},
		{"the first trade of a day that was watched from its beginning", []*yahoo.Quote{
			share(at(13, 10, 0, 0), 0), share(at(13, 10, 0, 5), 100),
		}, []int64{0, 100}},
		{"a volume that is missing once", []*yahoo.Quote{
			share(at(13, 10, 0, 0), 1000), with(share(at(13, 10, 0, 5), 0), silent), share(at(13, 10, 0, 9), 1200),
		}, []int64{0, 0, 200}},
		{"a volume that was not known before", []*yahoo.Quote{
			with(share(at(13, 10, 0, 0), 0), silent), share(at(13, 10, 0, 5), 40_000_000), share(at(13, 10, 0, 9), 40_000_100),
		}, []int64{0, 0, 100}},
		{"a future goes on over midnight", []*yahoo.Quote{
			with(share(at(13, 23, 59, 58), 54_000), kind("FUTURE")), with(share(at(14, 0, 0, 3), 54_010), kind("FUTURE")),
			with(share(at(14, 18, 0, 1), 12), kind("FUTURE")),
		}, []int64{0, 10, 12}},
		{"a future that was not seen for a day", []*yahoo.Quote{
			with(share(at(13, 12, 0, 0), 500), kind("FUTURE")), with(share(at(14, 12, 0, 0), 54_010), kind("FUTURE")),
		}, []int64{0, 54_010}},
		{"the volume of 24 hours grows and falls", []*yahoo.Quote{
			with(share(at(13, 12, 0, 0), 28_000), rolling), with(share(at(13, 12, 1, 0), 28_300), rolling),
			with(share(at(13, 12, 2, 0), 28_100), rolling), with(share(at(14, 12, 2, 0), 9_000), rolling), with(share(at(14, 12, 3, 0), 9_001), rolling),
		}, []int64{0, 300, 0, 0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, restarted := range []bool{false, true} {
				var before *Last
				for i, q := range c.quotes {
					next, order := Follow(q, before, 0)
					if order != 1 {
						t.Errorf("quote %d is no later trade: %d", i, order)
					}
					// After a restart a day volume of 0 is not known from none.
					lossy := restarted && before != nil && before.DayVolume == 0 && before.MarketState == tick.MarketRegular
					if next.Size != c.sizes[i] && !(lossy && next.Size == 0) {
						t.Errorf("restarted %v: size of tick %d is %d, want %d", restarted, i, next.Size, c.sizes[i])
					}
					if err := next.Validate(); err != nil {
						t.Error(err)
					}
					if restarted {
						next = Remembered(next.Tick)
					}
					before = &next
				}
			}
		})
	}
}

func TestWhichQuotesAreNewTrades(t *testing.T) {
	now := at(13, 10, 0, 5)
	for _, c := range []struct {
		name  string
		next  *yahoo.Quote
		order int
	}{
		{"the same trade", share(now, 1000), 0},
		{"a later trade", share(now+1000, 1001), 1},
		{"a later trade without volume", with(share(now+1000, 0), silent), 1},
		{"more volume in the same second", share(now, 1001), 1},
		{"less volume in the same second", share(now, 999), -1},
		{"an earlier trade", share(now-1000, 900), -1},
		{"the same trade, which the stream saw to the millisecond", share(now+734, 1000), 0},
		{"a later trade of the second, which the stream saw", share(now+734, 1001), 1},
		{"a trade of the second that the stream saw before it", share(now+734, 999), -1},
		{"a trade of the stream in the next second", share(now+1734, 1000), 1},
		{"another price of the same trade", with(share(now, 1000), func(q *yahoo.Quote) { q.Price++ }), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := Follow(share(now, 1000), nil, 0)
			if _, order := Follow(c.next, &before, 0); order != c.order {
				t.Errorf("order %d, want %d", order, c.order)
			}
		})
	}
}

func TestAPollTellsWhatTheStreamHasSeen(t *testing.T) {
	now := at(13, 10, 0, 5)
	for _, c := range []struct {
		name  string
		next  *yahoo.Quote
		order int
	}{
		{"the same trade", share(now, 1000), 0},
		{"a later trade of the second", share(now, 1200), 1},
		{"an earlier trade of the second", share(now, 900), -1},
		{"a trade of the second without volume", with(share(now, 0), silent), -1},
		{"a trade of the second before", share(now-1000, 900), -1},
		{"a trade of the next second", share(now+1000, 1000), 1},
		{"the same millisecond with more volume, streamed", share(now+734, 1001), 1},
		{"an earlier millisecond with more volume, streamed", share(now+733, 1001), -1},
		{"the same trade in the pre-market, where volumes are another day's", with(share(now, 9_000_000), preMarket(now)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := Follow(share(now+734, 1000), nil, 0)
			next, order := Follow(c.next, &before, 0)
			if order != c.order || order >= 0 && next.EventTime < before.EventTime {
				t.Errorf("order %d at %d, want %d at or after %d", order, next.EventTime, c.order, before.EventTime)
			}
		})
	}
}

func TestATickSaysWhatTheQuoteSaid(t *testing.T) {
	q := &yahoo.Quote{
		Symbol: "ACME", Name: "Acme", Type: "EQUITY", Price: 12345678900, Time: at(13, 10, 0, 0), MarketState: tick.MarketRegular,
		Volume: 77, HasVolume: true, VolumeTime: at(13, 10, 0, 0), PreviousClose: 12000000000, Currency: "USD", Exchange: "NMS",
		UTCOffset: newYork, Source: tick.SourceYahoo,
	}
	got, _ := Follow(q, nil, 1234)
	want := tick.Tick{
		Symbol: "ACME", EventTime: q.Time, Price: q.Price, Seq: 77, DayVolume: 77, PreviousClose: q.PreviousClose,
		Currency: "USD", Exchange: "NMS", MarketState: tick.MarketRegular, Source: tick.SourceYahoo, ReceivedTime: 1234,
	}
	if got.Tick != want {
		t.Errorf("got %+v\nwant %+v", got.Tick, want)
	}
}
