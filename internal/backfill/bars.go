package backfill

import (
	"time"

	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/yahoo"
)

// settled is how long after its end a bar counts as complete though no later one
// says so; exchanges whose data are delayed lag by less.
const settled = time.Hour

// candles turns a chart's bars into candles, oldest first. Bars that are not over,
// or perhaps not yet complete, are left out, and so is the separate bar with which
// Yahoo tells the latest trade of an open market. The open and the close of a bar
// count as traded at its limits.
func candles(c *yahoo.Chart, iv *interval, now time.Time) []store.Candle {
	source := source(c)
	zone := zoneOf(c)
	var list []store.Candle
	for i := range c.Bars {
		b := &c.Bars[i]
		start, end := b.Start, b.Start+iv.length
		switch iv.name {
		case store.Day:
			start, end = window.Date(c.Exchange, time.UnixMilli(b.Start).In(zone))
		case store.Hour:
			// At their exchange's opening, which is at a multiple of five minutes.
			if start%300_000 != 0 {
				continue
			}
		default:
			if start%iv.length != 0 {
				continue
			}
		}
		// Two of a day are the day's and the latest trade's.
		if n := len(list); n > 0 && list[n-1].Start == start {
			continue
		}
		last := c.Bars[len(c.Bars)-1].Start
		if end > now.UnixMilli() || last < end && time.UnixMilli(end).Add(settled).After(now) {
			continue
		}
		list = append(list, store.Candle{
			Symbol: c.Symbol, Start: start, Exchange: c.Exchange, Source: source, SealedAt: now.UnixMilli(),
			State: window.State{
				Volume: b.Volume,
				Open:   window.Point{EventTime: start, Price: int64(b.Open)}, Close: window.Point{EventTime: end - 1, Price: int64(b.Close)},
				High: window.Point{Price: int64(b.High)}, Low: window.Point{Price: int64(b.Low)},
			},
		})
	}
	return list
}

// zoneOf is where a chart's exchange is, whose dates its days have.
func zoneOf(c *yahoo.Chart) *time.Location {
	if zone, err := time.LoadLocation(c.Timezone); err == nil && c.Timezone != "" {
		return zone
	}
	return time.FixedZone("", int(c.UTCOffset/time.Second))
}

func source(c *yahoo.Chart) tick.Source {
	if c.Source == tick.SourceSimulated {
		return tick.SourceSimulatedChart
	}
	return tick.SourceYahooChart
}

// actions returns a chart's dividends and splits.
func actions(c *yahoo.Chart) (list []store.Action) {
	for _, d := range c.Dividends {
		list = append(list, store.Action{Symbol: c.Symbol, Time: d.Time, Kind: store.Dividend, Amount: d.Amount, Currency: c.Currency, Source: source(c)})
	}
	for _, s := range c.Splits {
		list = append(list, store.Action{Symbol: c.Symbol, Time: s.Time, Kind: store.Split, Numerator: s.Numerator, Denominator: s.Denominator, Source: source(c)})
	}
	return list
}
