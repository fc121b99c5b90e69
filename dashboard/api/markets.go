package api

import (
	"net/http"
	"time"

	"ticktape/dashboard/hub"
	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/yahoo/hours"
)

// fresh is how long the state of a market is believed that came with a trade.
const fresh = 2 * time.Minute

// market is an exchange in the answer of /api/markets.
type market struct {
	Exchange string `json:"exchange"`
	TimeZone string `json:"time_zone,omitempty"`
	Symbols  int    `json:"symbols"`
	// Session is open, pre, post, closed or unknown.
	Session string `json:"session"`
	// KnownBy is trades, hours or nothing.
	KnownBy    string `json:"known_by"`
	Always     bool   `json:"always,omitempty"`
	NextOpen   int64  `json:"next_open,omitempty"`
	NextClose  int64  `json:"next_close,omitempty"`
	Reported   string `json:"reported"`
	ReportedAt int64  `json:"reported_at,omitempty"`
}

type marketsAnswer struct {
	Now     int64    `json:"now"`
	Markets []market `json:"markets"`
}

func (c Config) markets(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	a := marketsAnswer{Now: now.UnixMilli(), Markets: []market{}}
	for _, m := range c.Hub.Markets() {
		a.Markets = append(a.Markets, describe(m, now))
	}
	writeJSON(w, r, http.StatusOK, a)
}

func describe(m hub.Market, now time.Time) market {
	a := market{
		Exchange: m.Exchange, Symbols: m.Symbols, Session: "unknown", KnownBy: "nothing",
		Reported: m.State.String(), ReportedAt: m.Received,
	}
	if zone := window.Zone(m.Exchange); zone != nil {
		a.TimeZone = zone.String()
	}
	if calendar, known := hours.Of(m.Exchange); known {
		a.Session, a.KnownBy, a.TimeZone = session(calendar.At(now)), "hours", calendar.Zone().String()
		a.Always = calendar.Next(now).IsZero()
		a.NextOpen, a.NextClose = turns(calendar, now)
		if a.Session != "closed" && !calendar.HolidaysKnown() {
			a.Session, a.KnownBy = "unknown", "nothing"
		}
	}
	if m.State != tick.MarketUnknown && now.Sub(time.UnixMilli(m.Received)) < fresh {
		a.Session, a.KnownBy = session(hours.State(m.State.String())), "trades"
	}
	return a
}

func session(s hours.State) string {
	switch s {
	case hours.Regular:
		return "open"
	case hours.Pre:
		return "pre"
	case hours.Post:
		return "post"
	}
	return "closed"
}

// turns returns when the regular session next begins and ends after t, 0 where it
// is not known to.
func turns(c *hours.Calendar, t time.Time) (opens, closes int64) {
	regular := c.At(t) == hours.Regular
	// Ten changes of state are more than lie between two openings.
	for range 10 {
		t = c.Next(t)
		if t.IsZero() || opens != 0 && closes != 0 {
			break
		}
		was := regular
		regular = c.At(t) == hours.Regular
		if regular && !was && opens == 0 {
			opens = t.UnixMilli()
		}
		if was && !regular && closes == 0 {
			closes = t.UnixMilli()
		}
	}
	return opens, closes
}
