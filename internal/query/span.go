package query

import (
	"fmt"
	"strings"
	"time"
)

const (
	minuteLength = 60_000
	hourLength   = 60 * minuteLength
	dayLength    = 24 * hourLength
)

// span is the range that a request is about, from ≤ t < to.
type span struct {
	from, to int64
	fixed    bool    // to does not move with the newest trade
	at       []int64 // the cursor's, nil on the first page
}

// spanOf reads the range: what the cursor froze, else from and to. A bound that
// is left out follows from the other, or from end, where the data end, and
// usual, how long a range is by default.
func (f form) spanOf(end, usual int64) (span, error) {
	from, hasFrom, err := f.time("from")
	if err != nil {
		return span{}, err
	}
	to, hasTo, err := f.time("to")
	if err != nil {
		return span{}, err
	}
	if hasFrom && hasTo && from >= to {
		return span{}, badParameter("from", "from (%s) must be before to (%s).", stamp(from), stamp(to))
	}
	if pos, given, err := f.cursor(); given || err != nil {
		if err == nil && (len(pos.At) == 0 || pos.From < 0 || pos.To > 2*maxTime || pos.From >= pos.To) {
			err = badCursor()
		}
		return span{pos.From, pos.To, true, pos.At}, err
	}
	if !hasTo {
		to = max(end, from)
	}
	if !hasFrom {
		from = to - usual
	}
	return span{from: from, to: to, fixed: hasTo}, nil
}

// narrow refuses a span that is wider than widest milliseconds.
func (s span) narrow(widest int64, what string) error {
	if s.to-s.from <= widest {
		return nil
	}
	return badParameter("from", "The range from %s to %s is too wide for %s: at most %d days are answered.", stamp(s.from), stamp(s.to), what, widest/dayLength)
}

// cursor reads where the page before ended.
func (f form) cursor() (pos position, given bool, err error) {
	text, given := f["cursor"]
	if !given {
		return pos, false, nil
	}
	pos, ok := decodeCursor(text, f.identity())
	if !ok {
		err = badCursor()
	}
	return pos, true, err
}

// identity is the text of the parameters that a cursor is bound to: all but
// those that may differ from page to page.
func (f form) identity() string {
	var b strings.Builder
	for _, name := range []string{"symbol", "symbols", "interval", "from", "to"} {
		fmt.Fprintf(&b, "%s=%s&", name, f[name])
	}
	return b.String()
}

func badCursor() *Problem {
	return badParameter("cursor", "cursor is not one that this query gave: send it unchanged with the same parameters, or leave it out to start at the first page.")
}

// Time is an instant in milliseconds since the Unix epoch. It marshals as RFC
// 3339 in UTC with milliseconds.
type Time int64

// MarshalJSON writes the time in quotes.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + stamp(int64(t)) + `"`), nil }

func stamp(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
