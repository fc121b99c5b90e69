package yahootest

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ticktape/internal/tick"
)

// noon is a Wednesday, 12:00 in New York.
var noon = time.Date(2026, 3, 4, 17, 0, 0, 0, time.UTC)

func TestAMarketIsTheSameHoweverItIsAsked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Seed: rapid.Uint64().Draw(t, "seed"), Symbols: 25, Hours: Hours(rapid.IntRange(0, 1).Draw(t, "hours"))}
		a, b := NewMarket(o), NewMarket(o)
		symbol := rapid.SampledFrom(a.Symbols()).Draw(t, "symbol")
		from := noon.Add(time.Duration(rapid.Int64Range(-7*dayMs, 7*dayMs).Draw(t, "from")) * time.Millisecond)
		mid := from.Add(time.Duration(rapid.Int64Range(0, 5*minuteMs).Draw(t, "first")) * time.Millisecond)
		to := mid.Add(time.Duration(rapid.Int64Range(0, 5*minuteMs).Draw(t, "second")) * time.Millisecond)

		b.At(symbol, to)
		second := b.TradesBetween(symbol, mid, to)
		parts := append(b.TradesBetween(symbol, from, mid), second...)
		if whole := a.TradesBetween(symbol, from, to); !slices.Equal(whole, parts) {
			t.Fatalf("%d trades at once, %d in parts", len(whole), len(parts))
		}
	})
}

func TestSeedsMakeDifferentMarkets(t *testing.T) {
	a, b := NewMarket(Options{Seed: 1}), NewMarket(Options{Seed: 2})
	x, _ := a.At("AAPL", noon)
	y, _ := b.At("AAPL", noon)
	if x.Regular == y.Regular {
		t.Errorf("both have %+v", x.Regular)
	}
}

func TestDayVolumeIsTheSumOfTheDaysRegularTrades(t *testing.T) {
	for _, hours := range []Hours{AlwaysOpen, ExchangeHours} {
		m := NewMarket(Options{Seed: 5, Hours: hours})
		for _, symbol := range []string{"SAP.DE", "BRK-B", "^GSPC"} {
			for _, at := range []time.Time{noon, noon.Add(-13 * time.Hour), noon.Add(6*time.Hour + 59*time.Minute), noon.Add(72 * time.Hour)} {
				zone := m.all[symbol].zone
				y, mo, d := at.In(zone).Date()
				sum := int64(0)
				for _, tr := range m.TradesBetween(symbol, time.Date(y, mo, d, 0, 0, 0, 0, zone), at.Add(time.Millisecond)) {
					if !tr.Extended {
						sum += tr.Size
					}
				}
				if got := m.DayVolume(symbol, at); got != sum {
					t.Errorf("volume of %s up to %s is %d, its trades have %d", symbol, at, got, sum)
				}
			}
		}
	}
}

func TestASnapshotShowsTheLastTrades(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMarket(Options{Seed: 9, Hours: ExchangeHours})
		symbol := rapid.SampledFrom([]string{"BRK-B", "SAP.DE", "EURUSD=X"}).Draw(t, "symbol")
		at := noon.Add(time.Duration(rapid.Int64Range(-3*dayMs, 3*dayMs).Draw(t, "at")) * time.Millisecond)
		snap, ok := m.At(symbol, at)
		if !ok {
			t.Fatal("never traded")
		}
		last, _ := m.LastTrade(symbol, at)
		isNext := func(shown Trade, kind string) {
			later := m.TradesBetween(symbol, time.UnixMilli(shown.Time), at.Add(time.Millisecond))
			later = slices.DeleteFunc(later, func(tr Trade) bool { return tr.Extended != shown.Extended })
			if len(later) == 0 || later[len(later)-1] != shown {
				t.Fatalf("%s trade %+v is not the last of its kind", kind, shown)
			}
		}
		isNext(snap.Regular, "regular")
		if snap.Extended != nil {
			isNext(*snap.Extended, "extended")
			if snap.Extended.Time <= snap.Regular.Time || last != *snap.Extended {
				t.Fatalf("extended trade %+v, regular %+v, last %+v", *snap.Extended, snap.Regular, last)
			}
		} else if last != snap.Regular {
			t.Fatalf("regular trade %+v, last %+v in state %s", snap.Regular, last, snap.State)
		}
	})
}

func TestExchangesKeepTheirHours(t *testing.T) {
	m := NewMarket(Options{Hours: ExchangeHours})
	newYork := m.all["AAPL"].zone
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, newYork) }
	for _, c := range []struct {
		symbol string
		at     time.Time
		want   State
	}{
		{"AAPL", at(4, 3, 59), PrePre},
		{"AAPL", at(4, 4, 0), Pre},
		{"AAPL", at(4, 9, 29), Pre},
		{"AAPL", at(4, 9, 30), Regular},
		{"AAPL", at(4, 15, 59), Regular},
		{"AAPL", at(4, 16, 0), Post},
		{"AAPL", at(4, 20, 0), PostPost},
		{"AAPL", at(7, 12, 0), Closed}, // a Saturday
		{"SAP.DE", at(4, 4, 0), Regular},
		{"SAP.DE", at(4, 12, 0), PostPost},
		{"BTC-USD", at(7, 12, 0), Regular},
		{"EURUSD=X", at(7, 12, 0), Closed},
		{"GC=F", at(4, 17, 30), Closed}, // the daily pause
		{"EURUSD=X", at(4, 2, 0), Regular},
		{"NOSUCH", at(4, 12, 0), Closed},
	} {
		if got := m.StateAt(c.symbol, c.at); got != c.want {
			t.Errorf("%s at %s is %s, want %s", c.symbol, c.at, got, c.want)
		}
	}
	if n := len(m.TradesBetween("AAPL", at(7, 0, 0), at(8, 0, 0))); n > 0 {
		t.Errorf("%d trades on a Saturday", n)
	}
	for _, tr := range m.TradesBetween("AAPL", at(4, 8, 0), at(4, 9, 30)) {
		if !tr.Extended {
			t.Fatal("a regular trade before the opening")
		}
	}
	goodFriday := time.Date(2026, 4, 3, 0, 0, 0, 0, newYork)
	if n := len(m.TradesBetween("AAPL", goodFriday, goodFriday.AddDate(0, 0, 1))); n > 0 {
		t.Errorf("%d trades on a holiday", n)
	}
	afterThanksgiving := time.Date(2026, 11, 27, 12, 59, 0, 0, newYork)
	for _, tr := range m.TradesBetween("AAPL", afterThanksgiving, afterThanksgiving.Add(10*time.Minute)) {
		if early := tr.Time < afterThanksgiving.Add(time.Minute).UnixMilli(); early == tr.Extended {
			t.Fatalf("a trade of a half day %+v", tr)
		}
	}
	if got := NewMarket(Options{}).StateAt("AAPL", at(7, 3, 0)); got != Regular {
		t.Errorf("a market that is always open is %s", got)
	}
}

func TestTheMarketsClockRunsAtItsSpeed(t *testing.T) {
	wall := noon
	m := NewMarket(Options{Speed: 60, Start: noon.Add(-time.Hour), Clock: func() time.Time { return wall }})
	wall = wall.Add(time.Second)
	if want := noon.Add(-59 * time.Minute); !m.Now().Equal(want) {
		t.Errorf("market time is %s, want %s", m.Now(), want)
	}
}

func TestPricesLookLikeAMarkets(t *testing.T) {
	m := NewMarket(Options{Seed: 1})
	for _, symbol := range m.Symbols() {
		in, _ := m.Instrument(symbol)
		moved, last := 0, tick.Price(0)
		const polls = 200
		for i := range polls {
			tr, ok := m.LastTrade(symbol, noon.Add(time.Duration(i)*5*time.Second))
			if !ok {
				t.Fatalf("%s never traded", symbol)
			}
			if tr.Price != last {
				moved++
			}
			last = tr.Price
		}
		if moved < polls/3 {
			t.Errorf("%s moved in %d of %d polls", symbol, moved, polls)
		}
		if p := float64(last) / float64(tick.Unit); p < in.base*0.6 || p > in.base*1.6 {
			t.Errorf("%s trades at %.4f, far from %.4f", symbol, p, in.base)
		}
		snap, _ := m.At(symbol, noon)
		if change := math.Abs(float64(snap.Regular.Price)/float64(snap.PreviousClose) - 1); change > 0.15 {
			t.Errorf("%s changed by %.0f %% in a day", symbol, change*100)
		}
	}
	index, _ := m.At("^GSPC", noon)
	fund, _ := m.At("SPY", noon)
	change := func(s Snapshot) float64 { return float64(s.Regular.Price)/float64(s.PreviousClose) - 1 }
	if math.Abs(change(index)-change(fund)) > 0.001 {
		t.Errorf("the index changed by %f, the fund that follows it by %f", change(index), change(fund))
	}
	if n := len(m.TradesBetween("AAPL", noon, noon.Add(time.Minute))); n < 100 {
		t.Errorf("AAPL traded %d times in a minute, want several a second", n)
	}
}

func TestAWalkGrowsWithTheSquareRootOfTime(t *testing.T) {
	w := newWalk(42)
	for _, lag := range []int64{5_000, 60_000, 3_600_000, session} {
		sum, n := 0.0, 2_000
		for i := range n {
			at := int64(1.7e12) + int64(i)*7_777_777
			d := w.at(at+lag) - w.at(at)
			sum += d * d
		}
		got, want := math.Sqrt(sum/float64(n)), math.Sqrt(float64(lag)/session)
		if got < 0.8*want || got > 1.2*want {
			t.Errorf("over %d ms it moves by %f, want about %f", lag, got, want)
		}
	}
}

func TestAnyNumberOfSymbols(t *testing.T) {
	m := NewMarket(Options{Symbols: 1_000})
	names := m.Symbols()
	if len(names) != 1_000 || names[0] != "AAPL" || names[999] != "SIM1000" {
		t.Fatalf("%d symbols from %s to %s", len(names), names[0], names[len(names)-1])
	}
	for _, symbol := range names[980:] {
		if snap, ok := m.At(symbol, noon); !ok || snap.Regular.Price <= 0 || snap.DayVolume <= 0 {
			t.Errorf("%s: %+v", symbol, snap)
		}
	}
	if n := len(NewMarket(Options{Symbols: 3}).Symbols()); n != 3 {
		t.Errorf("%d symbols, want 3", n)
	}
}
