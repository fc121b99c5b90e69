package query

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a request may ask for.
const (
	defaultLimit = 1_000
	maxLimit     = 10_000
	maxSymbols   = 500

	maxSymbolLength = 64
)

// Times outside of these are taken for a mistake of unit: 10^11 ms is in 1973,
// while 10^11 s is past the year 5000, so no time that anybody means in seconds
// passes for one in milliseconds.
const (
	minTime = 100_000_000_000
	maxTime = 7_258_118_400_000 // 2200-01-01, as for ticks
)

// form is a request's query string: known parameters only, each with one value
// that is not empty.
type form map[string]string

// parseForm reads a query string. Anything that would otherwise be ignored in
// silence is refused: unknown names, which are mostly misspelt, repeated ones,
// and those without a value.
func parseForm(raw string, allowed ...string) (form, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, problem(http.StatusBadRequest, "The query string can't be read: write name=value, joined by &, with other characters as %%XX.")
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that the same mistake gets the same answer
	f := form{}
	for _, name := range names {
		switch v := values[name]; {
		case !slices.Contains(allowed, name):
			p := badParameter(clip(name), "There is no parameter %.40q.", name)
			p.Allowed = allowed
			return nil, p
		case len(v) > 1:
			return nil, badParameter(name, "%s is given %d times: give it once.", name, len(v))
		case v[0] == "":
			return nil, badParameter(name, "%s has no value: give one or leave it out.", name)
		default:
			f[name] = v[0]
		}
	}
	return f, nil
}

// clip keeps what a client wrote from making an answer long.
func clip(s string) string {
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func (f form) symbol() (string, error) {
	s, ok := f["symbol"]
	if !ok {
		return "", badParameter("symbol", "symbol is missing: say which, as in symbol=AAPL.")
	}
	return s, checkSymbol("symbol", s)
}

// symbols returns the symbols asked for, sorted and each once; nil means all.
func (f form) symbols() ([]string, error) {
	text, ok := f["symbols"]
	if !ok {
		return nil, nil
	}
	symbols := strings.Split(text, ",")
	if len(symbols) > maxSymbols {
		return nil, badParameter("symbols", "symbols lists %d symbols; at most %d are answered at a time.", len(symbols), maxSymbols)
	}
	for _, s := range symbols {
		if err := checkSymbol("symbols", s); err != nil {
			return nil, err
		}
	}
	slices.Sort(symbols)
	return slices.Compact(symbols), nil
}

// checkSymbol refuses what no tick can have as its symbol, so that Cassandra is
// asked for sound text only.
func checkSymbol(parameter, s string) error {
	if s == "" || len(s) > maxSymbolLength {
		return badParameter(parameter, "Symbol %.70q must have 1 to %d characters.", s, maxSymbolLength)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return badParameter(parameter, "Symbol %.70q has a character that no symbol has.", s)
		}
	}
	return nil
}

func (f form) limit() (int, error) {
	text, ok := f["limit"]
	if !ok {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, badParameter("limit", "limit is %.40q; it must be a whole number from 1 to %d. Use the cursor for more.", text, maxLimit)
	}
	return n, nil
}

// time reads a parameter as milliseconds since the Unix epoch.
func (f form) time(name string) (t int64, given bool, err error) {
	text, ok := f[name]
	if !ok {
		return 0, false, nil
	}
	t, ok = parseTime(text)
	if !ok || t < minTime || t > maxTime {
		return 0, true, badParameter(name, "%s is %.40q; write RFC 3339 (2026-03-02T14:30:00Z), a date (2026-03-02, midnight UTC) or milliseconds since 1970 (1772461800000), from 1973 to 2199.", name, text)
	}
	return t, true, nil
}

// parseTime reads milliseconds since 1970, RFC 3339 or a date. A time between
// two milliseconds counts as the later one, so that the range that begins or ends
// there holds the same trades, whose times are whole milliseconds.
func parseTime(text string) (int64, bool) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, true
	}
	// A plus sign that was not written as %2B arrives as a space.
	text = strings.Replace(text, " ", "+", 1)
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Add(time.Millisecond - 1).UnixMilli(), true
		}
	}
	return 0, false
}

// csv tells whether the answer shall be CSV: by the parameter format, else by
// which of the two forms the Accept headers like better; JSON where they don't say.
func (f form) csv(accept []string) (bool, error) {
	switch text, ok := f["format"]; {
	case text == "csv":
		return true, nil
	case text == "json":
		return false, nil
	case ok:
		p := badParameter("format", "format is %.40q; it must be json or csv.", text)
		p.Allowed = []string{"json", "csv"}
		return false, p
	}
	return quality(accept, "text", "csv") > quality(accept, "application", "json"), nil
}

// quality is the weight that Accept headers give to a media type, by the most
// specific range that matches it (RFC 9110, 12.5.1); malformed ranges count for nothing.
func quality(accept []string, major, minor string) float64 {
	best, found := 0.0, -1
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		specific := slices.Index([]string{"*/*", major + "/*", major + "/" + minor}, name)
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		if specific > found {
			best, found = q, specific
		}
	}
	return best
}
