// Package backfill brings history from Yahoo's charts into the candles, where
// there are no ticks of our own, and the dividends and splits that charts tell of.
//
// What is asked for stands in a table, with how far it has come, so that a call that
// is killed goes on where it was. One call at a time works, under a lease, whose terms
// make the versions of what it writes: candles made of ticks win over those of charts
// whichever come first, and of two charts the later wins, candle by candle.
package backfill

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ticktape/internal/store"
	"ticktape/internal/watchlist"
)

const (
	day = 24 * time.Hour
	// ever is how far back days are asked for: to the first times that queries take.
	ever = 50 * 365 * day
	// margin is kept from the limits, for clocks that differ.
	margin = time.Hour
)

// interval is a length of bars that is stored, and what Yahoo answers of it. Of the
// others, 2m to 90m go back no further than 5m, and can be summed from it.
type interval struct {
	name store.Interval
	// length is in milliseconds; request is the longest that is asked for at a time,
	// history how far back there is anything.
	length           int64
	request, history time.Duration
}

var intervals = []interval{
	{store.Minute, 60_000, 7 * day, 30 * day},
	{store.FiveMinutes, 300_000, 59 * day, 60 * day},
	{store.Hour, 3_600_000, 729 * day, 730 * day},
	{store.Day, 86_400_000, ever, ever},
}

func intervalOf(name string) (*interval, error) {
	if name == "60m" {
		name = "1h"
	}
	var names []string
	for i := range intervals {
		if string(intervals[i].name) == name {
			return &intervals[i], nil
		}
		names = append(names, string(intervals[i].name))
	}
	return nil, fmt.Errorf("interval is %.20q; it must be one of %s: those between are summed from them", name, strings.Join(names, ", "))
}

// span reads a range of Yahoo's: 1d, 5d, 1mo, 1y, ytd, max and the like. Up to 5d
// they are days of trading, which weekends must not shorten.
func span(text string, now time.Time) (time.Duration, error) {
	bad := fmt.Errorf("range is %.20q; write it like 5d, 3mo, 1y, ytd or max", text)
	switch text {
	case "max":
		return ever, nil
	case "ytd":
		return now.Sub(time.Date(now.Year(), 1, 1, 0, 0, 0, 0, time.UTC)), nil
	}
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"d", day}, {"wk", 7 * day}, {"mo", 31 * day}, {"y", 366 * day}} {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || digits[0] == '0' || digits[0] == '+' || n > int(ever/unit.length) {
			return 0, bad
		}
		if unit.length == day && n <= 5 {
			n += 2
		}
		return time.Duration(n) * unit.length, nil
	}
	return 0, bad
}

// request makes the backfill that is asked for at the given time. A range that
// begins before there is anything is an error, but for max and those that just
// reach beyond.
func request(symbol, intervalName, rangeText string, prePost, manual bool, now time.Time) (*store.Backfill, error) {
	symbol, err := watchlist.Parse(symbol)
	if err != nil {
		return nil, err
	}
	iv, err := intervalOf(intervalName)
	if err != nil {
		return nil, err
	}
	length, err := span(rangeText, now)
	if err != nil {
		return nil, err
	}
	const slack = 2 * day // 1mo is 31 days, which is more than 30
	if length > iv.history+slack && rangeText != "max" {
		return nil, fmt.Errorf("range is %s; Yahoo has bars of %s for the last %d days: ask for less, for longer ones, or for max", rangeText, iv.name, iv.history/day)
	}
	from := iv.oldest(now)
	if asked := fullHour(now.Add(-length)); asked.After(from) {
		from = asked
	}
	return &store.Backfill{
		BackfillKey: store.BackfillKey{Symbol: symbol, Interval: iv.name, Range: rangeText, PrePost: prePost},
		RequestedAt: now.UnixMilli(), Manual: manual, State: store.BackfillQueued,
		From: from.UnixMilli(), DoneTo: from.UnixMilli(), To: now.UnixMilli(),
	}, nil
}

// oldest is the first full hour that can be asked for, so that no longer candle is
// made of part of what it should have.
func (iv *interval) oldest(now time.Time) time.Time {
	return fullHour(now.Add(margin - iv.history))
}

// fullHour is the first at or after a time.
func fullHour(t time.Time) time.Time { return t.Add(time.Hour - 1).Truncate(time.Hour) }

// spec is what is brought of each symbol that is added to the watch list.
type spec struct{ interval, reach string }

// parseSpecs reads a list like 1d:5y,1m:5d.
func parseSpecs(text string) (specs []spec, err error) {
	if text == "none" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ",") {
		iv, reach, _ := strings.Cut(strings.TrimSpace(part), ":")
		if _, err := request("A", iv, reach, true, false, time.Now()); err != nil {
			return nil, fmt.Errorf("BACKFILL_ADDED=%.60q: %w; write it like 1d:5y,1m:5d, or none", text, err)
		}
		if s := (spec{iv, reach}); !slices.Contains(specs, s) {
			specs = append(specs, s)
		}
	}
	return specs, nil
}
