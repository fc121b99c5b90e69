package backfill

import (
	"strings"
	"testing"
	"time"

	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

var now = time.Date(2026, 3, 4, 19, 30, 20, 0, time.UTC) // a Wednesday, 14:30 in New York

func at(text string) int64 {
	t, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

func TestRequestsKeepToWhatYahooHas(t *testing.T) {
	for _, c := range []struct{ interval, reach, from, wrong string }{
		{"1m", "5d", "2026-02-25T20:00:00", ""}, // with the weekend
		{"1m", "1d", "2026-03-01T20:00:00", ""},
		{"1m", "1mo", "2026-02-02T21:00:00", ""}, // 30 days, an hour from the limit and at a full one
		{"1m", "max", "2026-02-02T21:00:00", ""},
		{"1m", "3mo", "", "last 30 days"},
		{"5m", "60d", "2026-01-03T21:00:00", ""},
		{"5m", "1y", "", "last 60 days"},
		{"1h", "2y", "2024-03-04T21:00:00", ""},
		{"60m", "1wk", "2026-02-25T20:00:00", ""},
		{"1d", "ytd", "2026-01-01T00:00:00", ""},
		{"1d", "max", "1976-03-16T21:00:00", ""},
		{"15m", "5d", "", "summed"},
		{"", "5d", "", "interval"},
		{"1d", "0d", "", "range"},
		{"1d", "-1d", "", "range"},
		{"1d", "5", "", "range"},
		{"1d", "999999999999y", "", "range"},
		{"1d", "", "", "range"},
	} {
		b, err := request("aapl", c.interval, c.reach, true, true, now)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s %s: %+v, error %v", c.interval, c.reach, b, err)
			}
			continue
		}
		if err != nil || b.From != at(c.from) || b.DoneTo != b.From || b.To != now.UnixMilli() || b.Symbol != "AAPL" {
			t.Errorf("%s %s: %+v from %s, error %v", c.interval, c.reach, b, stamp(b.From), err)
		}
	}
	if _, err := request("no symbol", "1m", "5d", true, true, now); err == nil {
		t.Error("a symbol with a space is taken")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("1m", "5d")
	f.Add("1d", "max")
	f.Fuzz(func(t *testing.T, interval, reach string) {
		b, err := request("A", interval, reach, true, true, now)
		if err != nil {
			return
		}
		iv, err := intervalOf(string(b.Interval))
		if err != nil || b.From >= b.To || b.From%3_600_000 != 0 || b.From < now.Add(-iv.history).UnixMilli() || b.From < 100_000_000_000 {
			t.Errorf("%s %s: %+v", interval, reach, b)
		}
	})
}

func TestSpecsOfWhatIsAdded(t *testing.T) {
	if specs, err := parseSpecs("1d:5y, 1m:5d,1d:5y"); err != nil || len(specs) != 2 || specs[1] != (spec{"1m", "5d"}) {
		t.Errorf("%v %v", specs, err)
	}
	if specs, err := parseSpecs("none"); err != nil || len(specs) != 0 {
		t.Errorf("%v %v", specs, err)
	}
	for _, text := range []string{"", "1m", "1m:9y", "2m:1d", "1m:5d,"} {
		if _, err := parseSpecs(text); err == nil || !strings.Contains(err.Error(), "BACKFILL_ADDED") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBarsThatAreOverBecomeCandles(t *testing.T) {
	for _, c := range []struct {
		name, interval, exchange, zone string
		now                            string
		bars, want                     string
	}{
		{
			"a minute is over when a later bar follows it", "1m", "NMS", "America/New_York", "2026-03-04T19:30:20",
			"2026-03-04T19:28:00 2026-03-04T19:29:00 2026-03-04T19:30:00", "2026-03-04T19:28:00 2026-03-04T19:29:00",
		},
		{
			"the latest trade's bar stands apart and counts for nothing", "1m", "NMS", "America/New_York", "2026-03-04T19:30:20",
			"2026-03-04T19:29:00 2026-03-04T19:30:00 2026-03-04T19:30:17", "2026-03-04T19:29:00",
		},
		{
			"of data that lag the last bar may be half a one", "1m", "LSE", "Europe/London", "2026-03-04T15:30:00",
			"2026-03-04T15:13:00 2026-03-04T15:14:00", "2026-03-04T15:13:00",
		},
		{
			"an hour after the close the last bar is whole", "1m", "LSE", "Europe/London", "2026-03-04T18:00:00",
			"2026-03-04T16:28:00 2026-03-04T16:29:00", "2026-03-04T16:28:00 2026-03-04T16:29:00",
		},
		{
			"hours start at half past, but not anywhere", "1h", "NMS", "America/New_York", "2026-03-04T23:59:00",
			"2026-03-04T14:30:00 2026-03-04T15:30:00 2026-03-04T21:00:02", "2026-03-04T14:30:00 2026-03-04T15:30:00",
		},
		{
			"a day is the exchange's, and today's is not over", "1d", "NMS", "America/New_York", "2026-03-04T23:00:00",
			"2026-03-02T14:30:00 2026-03-03T14:30:00 2026-03-04T14:30:00", "2026-03-02T05:00:00 2026-03-03T05:00:00",
		},
		{
			"nor is it when two bars are of it", "1d", "NMS", "America/New_York", "2026-03-04T23:00:00",
			"2026-03-03T14:30:00 2026-03-04T14:30:00 2026-03-04T20:59:58", "2026-03-03T05:00:00",
		},
		{
			"a currency's day has London's date, also in summer", "1d", "CCY", "Europe/London", "2026-07-09T12:00:00",
			"2026-07-06T23:00:00 2026-07-07T23:00:00 2026-07-08T23:00:00", "2026-07-07T00:00:00 2026-07-08T00:00:00",
		},
		{
			"in Tokyo the day begins the evening before", "1d", "JPX", "Asia/Tokyo", "2026-03-04T23:00:00",
			"2026-03-03T00:00:00 2026-03-04T00:00:00", "2026-03-02T15:00:00 2026-03-03T15:00:00",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			iv, err := intervalOf(c.interval)
			if err != nil {
				t.Fatal(err)
			}
			chart := &yahoo.Chart{Symbol: "A", Exchange: c.exchange, Timezone: c.zone, Source: tick.SourceYahoo}
			for i, text := range strings.Fields(c.bars) {
				p := tick.Price(10 * (i + 1))
				chart.Bars = append(chart.Bars, yahoo.Bar{Start: at(text), Open: p, High: p + 5, Low: p - 5, Close: p + 1, Volume: 7})
			}
			var got []string
			for i, c := range candles(chart, iv, time.UnixMilli(at(c.now))) {
				got = append(got, strings.TrimSuffix(stamp(c.Start), ".000Z"))
				p := int64(10 * (i + 1))
				if c.Open.Price != p || c.High.Price != p+5 || c.Low.Price != p-5 || c.Close.Price != p+1 || c.Volume != 7 || !c.Charted() ||
					c.Source != tick.SourceYahooChart || c.Open.EventTime != c.Start || c.Close.EventTime <= c.Start || c.SealedAt == 0 {
					t.Errorf("candle %+v", c)
				}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("candles of %s", text)
			}
		})
	}
	chart := &yahoo.Chart{Symbol: "A", Currency: "USD", Source: tick.SourceSimulated, Dividends: []yahoo.Dividend{{Time: 5, Amount: 6}}, Splits: []yahoo.Split{{Time: 7, Numerator: 8, Denominator: 9}}}
	if list := actions(chart); len(list) != 2 || list[0] != (store.Action{Symbol: "A", Time: 5, Kind: "dividend", Amount: 6, Currency: "USD", Source: tick.SourceSimulatedChart}) ||
		list[1] != (store.Action{Symbol: "A", Time: 7, Kind: "split", Numerator: 8, Denominator: 9, Source: tick.SourceSimulatedChart}) {
		t.Errorf("actions %+v", list)
	}
}
