package session

import (
	"testing"
	"time"
)

func TestWhereAnExchangeStands(t *testing.T) {
	for _, c := range []struct {
		name, exchange, at  string
		state               State
		nextOpen, nextClose string
	}{
		{"New York in its session", "NMS", "2026-11-24T15:00:00Z", Open, "2026-11-25T14:30:00Z", "2026-11-24T21:00:00Z"},
		{"New York before it", "NYQ", "2026-11-24T09:00:00Z", Pre, "2026-11-24T14:30:00Z", "2026-11-24T21:00:00Z"},
		{"New York after it", "NYQ", "2026-11-24T21:00:00Z", Post, "2026-11-25T14:30:00Z", "2026-11-25T21:00:00Z"},
		{"New York at night", "NYQ", "2026-11-25T01:00:00Z", Closed, "2026-11-25T14:30:00Z", "2026-11-25T21:00:00Z"},
		{"Thanksgiving, with a short day after it", "NMS", "2026-11-26T15:00:00Z", Closed, "2026-11-27T14:30:00Z", "2026-11-27T18:00:00Z"},
		{"the short day is over at one", "NMS", "2026-11-27T18:00:00Z", Closed, "2026-11-30T14:30:00Z", "2026-11-30T21:00:00Z"},
		{"a weekend", "NMS", "2026-07-11T15:00:00Z", Closed, "2026-07-13T13:30:00Z", "2026-07-13T20:00:00Z"},
		{"Independence Day on a Saturday is kept on Friday", "NMS", "2026-07-03T15:00:00Z", Closed, "2026-07-06T13:30:00Z", "2026-07-06T20:00:00Z"},
		{"Good Friday", "NMS", "2026-04-03T15:00:00Z", Closed, "2026-04-06T13:30:00Z", "2026-04-06T20:00:00Z"},
		{"New Year's Day on a Saturday is not kept", "NMS", "2027-12-31T15:00:00Z", Open, "2028-01-03T14:30:00Z", "2027-12-31T21:00:00Z"},
		{"over the counter there is nothing before the opening", "PNK", "2026-11-24T09:00:00Z", Closed, "2026-11-24T14:30:00Z", "2026-11-24T21:00:00Z"},
		{"London in summer", "LSE", "2026-07-01T07:00:00Z", Open, "2026-07-02T07:00:00Z", "2026-07-01T15:30:00Z"},
		{"Tokyo at lunch", "JPX", "2026-11-24T03:00:00Z", Closed, "2026-11-24T03:30:00Z", "2026-11-24T06:30:00Z"},
		{"gold on Sunday evening", "CMX", "2026-11-22T23:00:00Z", Open, "2026-11-23T23:00:00Z", "2026-11-23T22:00:00Z"},
		{"gold in its hour of rest", "CMX", "2026-11-24T22:30:00Z", Closed, "2026-11-24T23:00:00Z", "2026-11-25T22:00:00Z"},
		{"currencies trade through the week", "CCY", "2026-11-24T22:30:00Z", Open, "2026-11-29T22:00:00Z", "2026-11-27T22:00:00Z"},
		{"currencies on Saturday", "CCY", "2026-11-28T12:00:00Z", Closed, "2026-11-29T22:00:00Z", "2026-12-04T22:00:00Z"},
		{"crypto currencies never close", "CCC", "2026-11-28T12:00:00Z", Open, "", ""},
		{"an unknown exchange", "XYZ", "2026-11-24T15:00:00Z", Unknown, "", ""},
		{"no exchange", "", "2026-11-24T15:00:00Z", Unknown, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			when, err := time.Parse(time.RFC3339, c.at)
			if err != nil {
				t.Fatal(err)
			}
			n := At(c.exchange, when)
			text := func(t time.Time) string {
				if t.IsZero() {
					return ""
				}
				return t.UTC().Format(time.RFC3339)
			}
			if n.State != c.state || text(n.NextOpen) != c.nextOpen || text(n.NextClose) != c.nextClose {
				t.Errorf("%s, opens %s, closes %s; want %s, %s, %s", n.State, text(n.NextOpen), text(n.NextClose), c.state, c.nextOpen, c.nextClose)
			}
		})
	}
}

// The holidays that the exchange has announced.
func TestNewYorksHolidays(t *testing.T) {
	shut := map[string]bool{}
	for _, d := range []string{
		"2025-01-01", "2025-01-20", "2025-02-17", "2025-04-18", "2025-05-26", "2025-06-19", "2025-07-04", "2025-09-01", "2025-11-27", "2025-12-25",
		"2026-01-01", "2026-01-19", "2026-02-16", "2026-04-03", "2026-05-25", "2026-06-19", "2026-07-03", "2026-09-07", "2026-11-26", "2026-12-25",
		"2027-01-01", "2027-01-18", "2027-02-15", "2027-03-26", "2027-05-31", "2027-06-18", "2027-07-05", "2027-09-06", "2027-11-25", "2027-12-24",
	} {
		shut[d] = true
	}
	early := map[string]bool{"2025-07-03": true, "2025-11-28": true, "2025-12-24": true, "2026-11-27": true, "2026-12-24": true, "2027-11-26": true}
	for d := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2028; d = d.AddDate(0, 0, 1) {
		if d.Weekday() == time.Saturday || d.Weekday() == time.Sunday {
			continue
		}
		is, name := newYorkHolidays(d.Date()), d.Format(time.DateOnly)
		if is.shut != shut[name] || (is.early != 0) != early[name] {
			t.Errorf("%s: shut %t, early %d", name, is.shut, is.early)
		}
	}
}

func TestEveryExchangeHasATimeZone(t *testing.T) {
	for code := range exchanges {
		if _, ok := For(code); !ok {
			t.Errorf("%s has hours and no time zone", code)
		}
		if n := At(code, time.Now()); n.State == Unknown || !exchanges[code].Always && (n.NextOpen.IsZero() || n.NextClose.IsZero()) {
			t.Errorf("%s: %+v", code, n)
		}
	}
}
