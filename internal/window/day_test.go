package window

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestADayIsTheExchangesLocalDay(t *testing.T) {
	for _, c := range []struct {
		name, exchange, at, start string
		hours                     int
	}{
		{"New York in winter", "NMS", "2026-01-15T14:30:00Z", "2026-01-15T05:00:00Z", 24},
		{"New York in winter, its evening", "NYQ", "2026-01-16T04:59:59Z", "2026-01-15T05:00:00Z", 24},
		{"New York in summer", "PCX", "2026-07-15T14:30:00Z", "2026-07-15T04:00:00Z", 24},
		{"New York loses an hour", "SNP", "2026-03-08T17:00:00Z", "2026-03-08T05:00:00Z", 23},
		{"New York gains an hour", "CMX", "2026-11-01T17:00:00Z", "2026-11-01T04:00:00Z", 25},
		{"London in summer", "LSE", "2026-07-15T22:59:59Z", "2026-07-14T23:00:00Z", 24},
		{"Rome gains an hour", "MIL", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", 25},
		{"Tokyo is a day ahead", "JPX", "2025-12-31T15:00:00Z", "2025-12-31T15:00:00Z", 24},
		{"India is half an hour off", "NSI", "2026-01-15T18:30:00Z", "2026-01-15T18:30:00Z", 24},
		{"Santiago has a day without midnight", "SGO", "2026-09-06T12:00:00Z", "2026-09-06T04:00:00Z", 23},
		{"Cairo has one too", "CAI", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", 23},
		{"crypto currencies never close", "CCC", "2026-07-15T23:59:59Z", "2026-07-15T00:00:00Z", 24},
		{"currencies neither", "CCY", "2026-07-15T00:00:00Z", "2026-07-15T00:00:00Z", 24},
		{"an unknown code", "XYZ", "2026-07-15T12:00:00Z", "2026-07-15T00:00:00Z", 24},
		{"no code", "", "2026-07-15T12:00:00Z", "2026-07-15T00:00:00Z", 24},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			start, end := Day(c.exchange, at.UnixMilli())
			if got := time.UnixMilli(start).UTC().Format(time.RFC3339); got != c.start {
				t.Errorf("starts %s, want %s", got, c.start)
			}
			if got := time.Duration(end-start) * time.Millisecond; got != time.Duration(c.hours)*time.Hour {
				t.Errorf("lasts %s, want %d hours", got, c.hours)
			}
		})
	}
}

func TestDaysFollowEachOtherWithoutGapAndWindowsLieWithinOne(t *testing.T) {
	var codes []string
	for _, list := range zones {
		codes = append(codes, list...)
	}
	rapid.Check(t, func(t *rapid.T) {
		exchange := rapid.SampledFrom(codes).Draw(t, "exchange")
		at := rapid.Int64Range(time.Date(1973, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()).Draw(t, "at")
		start, end := Day(exchange, at)
		if start > at || at >= end {
			t.Fatalf("%d is not within its day, %d to %d", at, start, end)
		}
		if start%Length != 0 || end%Length != 0 {
			t.Fatalf("the day from %d to %d cuts a window", start, end)
		}
		if s, e := Day(exchange, start); s != start || e != end {
			t.Fatalf("its first instant is of the day from %d to %d", s, e)
		}
		if s, _ := Day(exchange, end); s != end {
			t.Fatalf("the next day starts at %d, not at %d", s, end)
		}
	})
}

func TestNoCodeIsOfTwoZones(t *testing.T) {
	seen := map[string]string{}
	for zone, codes := range zones {
		for _, code := range codes {
			if other, ok := seen[code]; ok {
				t.Errorf("%s is of %s and %s", code, other, zone)
			}
			seen[code] = zone
		}
	}
}
