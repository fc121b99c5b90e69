// Package hours tells when exchanges trade: their sessions by local time, with
// weekends, holidays and the days on which they close early. The stand-in trades
// by it, and the streamer knows by it when silence is odd.
//
// It is not for the day that a candle belongs to (window.Day), and knows only
// what recurs by rule of the Gregorian calendar: a day of mourning, a storm or a
// feast of the moon is in none, so what Yahoo itself says of a market is to be
// preferred where it is known.
package hours

import (
	"sync"
	"time"
	_ "time/tzdata" // exchanges have their hours in places that a bare container does not know
)

// State is Yahoo's marketState.
type State string

// The states of a market.
const (
	PrePre   State = "PREPRE"
	Pre      State = "PRE"
	Regular  State = "REGULAR"
	Post     State = "POST"
	PostPost State = "POSTPOST"
	Closed   State = "CLOSED"
)

// Trades tells whether there is a session, regular or extended.
func (s State) Trades() bool { return s == Pre || s == Regular || s == Post }

// Calendar is when one exchange trades. It is safe for concurrent use.
type Calendar struct {
	zone *time.Location
	// Minutes of the local day. Without extended sessions pre is open and post is shut.
	pre, open, shut, post int
	// early and earlyPost end the sessions of a half day.
	early, earlyPost int
	// From noon to afternoon there is a pause, where they are set.
	noon, afternoon int
	// week, where it is set, replaces the days: the market is open from one moment
	// of the week to another.
	week *week
	// dates lists the days of a year on which the exchange is shut or closes early.
	dates func(year int) (shut, half []time.Time)
	// uncertain: it has holidays that are not known.
	uncertain bool

	years sync.Map // int → *[366]day
}

// week is that of a market which is open around the clock: opened on Sunday and
// closed on Friday at minutes of the local day, with a pause before each opening.
type week struct {
	opens, closes int
	never         bool // it never closes
}

// day is what kind of day one is.
type day byte

const (
	tradingDay day = iota
	halfDay
	holiday
)

// At returns the state of the market at a moment. A day without any session is
// CLOSED from midnight to midnight, and so is the pause that some make at noon.
func (c *Calendar) At(t time.Time) State {
	local := t.In(c.zone)
	m := local.Hour()*60 + local.Minute()
	kind := c.kind(local)
	if c.week != nil {
		if c.week.open(local.Weekday(), m) && kind != holiday {
			return Regular
		}
		return Closed
	}
	if wd := local.Weekday(); wd == time.Saturday || wd == time.Sunday || kind == holiday {
		return Closed
	}
	shut, post := c.shut, c.post
	if kind == halfDay {
		shut, post = c.early, c.earlyPost
	}
	switch {
	case m < c.pre:
		return PrePre
	case m < c.open:
		return Pre
	case m >= c.noon && m < c.afternoon:
		return Closed
	case m < shut:
		return Regular
	case m < post:
		return Post
	}
	return PostPost
}

func (w *week) open(d time.Weekday, m int) bool {
	switch {
	case w.never:
		return true
	case d == time.Saturday:
		return false
	case d == time.Sunday:
		return m >= w.opens
	case d == time.Friday:
		return m < w.closes
	}
	return m < w.closes || m >= w.opens
}

// Session returns the regular session's minutes of the local day on an ordinary
// trading day, with the pause at noon; those of a market that trades around the clock are the whole day.
func (c *Calendar) Session() (open, shut int) {
	if c.week != nil {
		return 0, 24 * 60
	}
	return c.open, c.shut
}

// Extends tells whether there are sessions before or after the regular one.
func (c *Calendar) Extends() bool { return c.week == nil && (c.pre < c.open || c.shut < c.post) }

// HolidaysKnown tells whether At knows the holidays. Where it does not, a market
// that At says is open may keep one.
func (c *Calendar) HolidaysKnown() bool { return !c.uncertain }

// Zone is where the exchange is.
func (c *Calendar) Zone() *time.Location { return c.zone }

// Next returns when the state changes next after t, to the minute; at most ten
// days on, which no holiday lasts. A market that never closes changes never,
// and that is told by the zero time.
func (c *Calendar) Next(t time.Time) time.Time {
	if c.week != nil && c.week.never {
		return time.Time{}
	}
	state := c.At(t)
	at := t.Truncate(time.Minute)
	for range 10 * 24 * 60 {
		if at = at.Add(time.Minute); c.At(at) != state {
			return at
		}
	}
	return time.Time{}
}

func (c *Calendar) kind(local time.Time) day {
	if c.dates == nil {
		return tradingDay
	}
	year := local.Year()
	days, ok := c.years.Load(year)
	if !ok {
		made := new([366]day)
		shut, half := c.dates(year)
		for _, d := range half {
			made[d.YearDay()-1] = halfDay
		}
		for _, d := range shut {
			if d.Year() == year {
				made[d.YearDay()-1] = holiday
			}
		}
		days, _ = c.years.LoadOrStore(year, made)
	}
	return days.(*[366]day)[local.YearDay()-1]
}
