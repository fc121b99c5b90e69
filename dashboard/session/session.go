// Package session knows when exchanges are open: their regular hours, weekends,
// and the holidays of New York's. It knows nothing of what is traded at present.
//
// Hours are what the exchanges publish for their continuous trading, auctions
// included. Whatever is not here is not known, rather than guessed.
package session

import (
	"time"

	"ticktape/internal/window"
)

// State is a part of an exchange's day.
type State string

// The states.
const (
	Open    State = "open"
	Pre     State = "pre"
	Post    State = "post"
	Closed  State = "closed"
	Unknown State = "unknown"
)

// Hours are an exchange's regular hours.
type Hours struct {
	// Name is what people call the exchange.
	Name string
	// Always: the market never closes.
	Always bool

	zone     string // where it is not window.Zone's
	days     []time.Weekday
	sessions []span
	pre      int // start of trading before the opening, 0 where there is none
	post     int // end of trading after the close, likewise
	holidays func(y int, m time.Month, d int) day
}

// span is a time of the local day in minutes; an end above 24 hours is on the next day.
type span struct{ open, shut int }

// day says how a date differs from others.
type day struct {
	shut bool
	// early is when the exchange closes that day, in minutes, 0 for as usual.
	early int
}

func at(hour, minute int) int { return hour*60 + minute }

var (
	weekdays = []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	evenings = []time.Weekday{time.Sunday, time.Monday, time.Tuesday, time.Wednesday, time.Thursday}
)

func regular(name string, spans ...span) Hours {
	return Hours{Name: name, days: weekdays, sessions: spans}
}

func newYork(name string, extended bool) Hours {
	h := regular(name, span{at(9, 30), at(16, 0)})
	h.holidays = newYorkHolidays
	if extended {
		h.pre, h.post = at(4, 0), at(20, 0)
	}
	return h
}

// futures trade around the clock but for an hour in the evening of New York.
func futures(name string) Hours {
	return Hours{Name: name, zone: "America/New_York", days: evenings, sessions: []span{{at(18, 0), at(24+17, 0)}}}
}

func europe(name string) Hours { return regular(name, span{at(9, 0), at(17, 30)}) }

var exchanges = map[string]Hours{
	"NMS": newYork("Nasdaq", true), "NGM": newYork("Nasdaq", true), "NCM": newYork("Nasdaq", true), "NAS": newYork("Nasdaq", true),
	"NYQ": newYork("New York", true), "NYS": newYork("New York", true), "ASE": newYork("NYSE American", true),
	"PCX": newYork("NYSE Arca", true), "BTS": newYork("Cboe BZX", true), "BATS": newYork("Cboe BZX", true), "IEX": newYork("IEX", false),
	"PNK": newYork("OTC", false), "OTC": newYork("OTC", false), "OQB": newYork("OTCQB", false), "OQX": newYork("OTCQX", false), "OEM": newYork("OTC", false),
	"SNP": newYork("S&P indices", false), "DJI": newYork("Dow Jones indices", false), "NIM": newYork("Nasdaq indices", false), "NYA": newYork("NYSE indices", false),

	"CME": futures("CME"), "CBT": futures("CBOT"), "NYM": futures("NYMEX"), "CMX": futures("COMEX"),
	"CCY": {Name: "Currencies", zone: "America/New_York", days: evenings, sessions: []span{{at(17, 0), at(24+17, 0)}}},
	"CCC": {Name: "Crypto currencies", Always: true},

	"TOR": regular("Toronto", span{at(9, 30), at(16, 0)}), "VAN": regular("TSX Venture", span{at(9, 30), at(16, 0)}), "NEO": regular("Cboe Canada", span{at(9, 30), at(16, 0)}),
	"LSE": regular("London", span{at(8, 0), at(16, 30)}), "ISE": regular("Dublin", span{at(8, 0), at(16, 30)}), "LIS": regular("Lisbon", span{at(8, 0), at(16, 30)}),
	"GER": europe("Xetra"), "PAR": europe("Paris"), "AMS": europe("Amsterdam"), "BRU": europe("Brussels"), "MIL": europe("Milan"), "MCE": europe("Madrid"),
	"EBS": europe("Swiss Exchange"), "VIE": europe("Vienna"), "STO": europe("Stockholm"), "CPH": regular("Copenhagen", span{at(9, 0), at(17, 0)}),
	"OSL": regular("Oslo", span{at(9, 0), at(16, 25)}), "HEL": regular("Helsinki", span{at(10, 0), at(18, 30)}), "ICE": regular("Iceland", span{at(9, 30), at(15, 30)}),
	"WSE": regular("Warsaw", span{at(9, 0), at(17, 5)}), "IST": regular("Istanbul", span{at(10, 0), at(18, 10)}), "JNB": regular("Johannesburg", span{at(9, 0), at(17, 0)}),
	"FRA": regular("Frankfurt", span{at(8, 0), at(22, 0)}),

	"NSI": regular("NSE India", span{at(9, 15), at(15, 30)}), "BSE": regular("BSE India", span{at(9, 15), at(15, 30)}),
	"SES": regular("Singapore", span{at(9, 0), at(12, 0)}, span{at(13, 0), at(17, 16)}), "KLS": regular("Malaysia", span{at(9, 0), at(12, 30)}, span{at(14, 30), at(17, 0)}),
	"HKG": regular("Hong Kong", span{at(9, 30), at(12, 0)}, span{at(13, 0), at(16, 10)}),
	"SHH": regular("Shanghai", span{at(9, 30), at(11, 30)}, span{at(13, 0), at(15, 0)}), "SHZ": regular("Shenzhen", span{at(9, 30), at(11, 30)}, span{at(13, 0), at(15, 0)}),
	"TAI": regular("Taiwan", span{at(9, 0), at(13, 30)}), "TWO": regular("Taipei Exchange", span{at(9, 0), at(13, 30)}),
	"KSC": regular("Korea", span{at(9, 0), at(15, 30)}), "KOE": regular("KOSDAQ", span{at(9, 0), at(15, 30)}),
	"JPX": regular("Tokyo", span{at(9, 0), at(11, 30)}, span{at(12, 30), at(15, 30)}),
	"ASX": regular("Australia", span{at(10, 0), at(16, 12)}), "NZE": regular("New Zealand", span{at(10, 0), at(16, 45)}),
}

// For returns an exchange's hours by Yahoo's code ("NMS", "LSE").
func For(exchange string) (Hours, bool) {
	h, ok := exchanges[exchange]
	if ok && h.zone == "" && !h.Always && window.Zone(exchange) == nil {
		return h, false
	}
	return h, ok
}

// Now is where an exchange stands at a time.
type Now struct {
	State State
	// NextOpen and NextClose are the next regular opening and close, zero where
	// there is none.
	NextOpen, NextClose time.Time
}

// period is a time of one state other than Closed.
type period struct {
	state      State
	start, end time.Time
}

// lookAhead is the longest time without an opening, in days: holidays beside a weekend.
const lookAhead = 10

// At tells where the exchange stands at t.
func At(exchange string, t time.Time) Now {
	h, ok := For(exchange)
	switch {
	case !ok:
		return Now{State: Unknown}
	case h.Always:
		return Now{State: Open}
	}
	n := Now{State: Closed}
	for _, p := range h.periods(exchange, t) {
		if !t.Before(p.start) && t.Before(p.end) {
			n.State = p.state
		}
		if p.state != Open {
			continue
		}
		if n.NextOpen.IsZero() && p.start.After(t) {
			n.NextOpen = p.start
		}
		if n.NextClose.IsZero() && p.end.After(t) {
			n.NextClose = p.end
		}
	}
	return n
}

// periods lists what happens around t, in order. What goes on without a break is one.
func (h *Hours) periods(exchange string, t time.Time) []period {
	zone := window.Zone(exchange)
	if h.zone != "" {
		var err error
		if zone, err = time.LoadLocation(h.zone); err != nil {
			return nil // the binary carries the zones
		}
	}
	var list []period
	y, m, d := t.In(zone).Date()
	for i := -2; i <= lookAhead; i++ {
		clock := func(minutes int) time.Time { return time.Date(y, m, d+i, 0, minutes, 0, 0, zone) }
		noon := clock(at(12, 0))
		var special day
		if h.holidays != nil {
			special = h.holidays(noon.Date())
		}
		if special.shut || !h.trades(noon.Weekday()) {
			continue
		}
		sessions, post := h.sessions, h.post
		if special.early != 0 {
			sessions, post = []span{{sessions[0].open, special.early}}, 0
		}
		if h.pre != 0 {
			list = append(list, period{Pre, clock(h.pre), clock(sessions[0].open)})
		}
		for _, s := range sessions {
			if n := len(list); n > 0 && list[n-1].state == Open && list[n-1].end.Equal(clock(s.open)) {
				list[n-1].end = clock(s.shut)
				continue
			}
			list = append(list, period{Open, clock(s.open), clock(s.shut)})
		}
		if post != 0 {
			list = append(list, period{Post, clock(sessions[len(sessions)-1].shut), clock(post)})
		}
	}
	return list
}

func (h *Hours) trades(d time.Weekday) bool {
	for _, w := range h.days {
		if w == d {
			return true
		}
	}
	return false
}

// newYorkHolidays are those of the New York Stock Exchange (its rule 7.2), which
// the other American exchanges keep too.
func newYorkHolidays(y int, m time.Month, d int) day {
	date := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	// A holiday on a Sunday is kept on Monday, one on a Saturday on Friday, but
	// for New Year's, since the year's last trading day is kept.
	kept := func(m time.Month, d int) bool {
		h := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
		switch h.Weekday() {
		case time.Sunday:
			h = h.AddDate(0, 0, 1)
		case time.Saturday:
			if m == time.January {
				return false
			}
			h = h.AddDate(0, 0, -1)
		}
		return h.Equal(date)
	}
	nth := func(m time.Month, w time.Weekday, n int) bool {
		return date.Month() == m && date.Weekday() == w && (d-1)/7 == n-1
	}
	thanksgiving := nth(time.November, time.Thursday, 4)
	switch {
	case kept(time.January, 1), nth(time.January, time.Monday, 3), nth(time.February, time.Monday, 3),
		date.Equal(easter(y).AddDate(0, 0, -2)), m == time.May && date.Weekday() == time.Monday && d > 24,
		kept(time.June, 19), kept(time.July, 4), nth(time.September, time.Monday, 1), thanksgiving, kept(time.December, 25):
		return day{shut: true}
	}
	yesterday := date.AddDate(0, 0, -1)
	afterThanksgiving := m == time.November && date.Weekday() == time.Friday && (yesterday.Day()-1)/7 == 3
	if afterThanksgiving || m == time.July && d == 3 && date.Weekday() != time.Friday || m == time.December && d == 24 {
		return day{early: at(13, 0)}
	}
	return day{}
}

// easter is Easter Sunday in the Gregorian calendar (Meeus, Astronomical
// Algorithms, chapter 8).
func easter(y int) time.Time {
	a, b, c := y%19, y/100, y%100
	d, e := b/4, b%4
	g := (8*b + 13) / 25
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 19*l) / 433
	n := (h + l - 7*m + 90) / 25
	p := (h + l - 7*m + 33*n + 19) % 32
	return time.Date(y, time.Month(n), p, 0, 0, 0, 0, time.UTC)
}
