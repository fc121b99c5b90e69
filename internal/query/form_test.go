package query

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTimesAreReadAsMilliseconds(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       int64
	}{
		{"milliseconds", "1772461800000", 1772461800000},
		{"UTC", "2026-03-02T14:30:00Z", 1772461800000},
		{"an offset", "2026-03-02T15:30:00%2B01:00", 1772461800000},
		{"an offset whose plus sign became a space", "2026-03-02T15:30:00+01:00", 1772461800000},
		{"an offset to the west", "2026-03-02T09:30:00-05:00", 1772461800000},
		{"a date", "2026-03-02", 1772409600000},
		{"milliseconds within a second", "2026-03-02T14:30:00.125Z", 1772461800125},
		{"a time between two milliseconds", "2026-03-02T14:30:00.1250001Z", 1772461800126},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := parseForm("from="+c.text, "from")
			if err != nil {
				t.Fatal(err)
			}
			if got, given, err := f.time("from"); got != c.want || !given || err != nil {
				t.Errorf("got %d, %t, %v, want %d", got, given, err, c.want)
			}
		})
	}
}

func TestWhatIsNoTimeIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"seconds":            "1772461800",
		"a word":             "yesterday",
		"a time of day":      "14:30",
		"no time zone":       "2026-03-02T14:30:00",
		"microseconds":       "1772461800000000",
		"a negative number":  "-1",
		"past 64 bits":       "99999999999999999999",
		"the 13th month":     "2026-13-02",
		"a year before 1973": "1970-01-01",
		"the year 2201":      "2201-01-01",
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := form{"to": text}.time("to")
			var p *Problem
			if !errors.As(err, &p) || p.Status != 400 || p.Parameter != "to" || !strings.Contains(p.Detail, text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAcceptChoosesTheForm(t *testing.T) {
	const csv, json = true, false
	for _, c := range []struct {
		name   string
		format string
		accept []string
		want   bool
	}{
		{"nothing is said", "", nil, json},
		{"a browser", "", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, json},
		{"curl", "", []string{"*/*"}, json},
		{"CSV", "", []string{"text/csv"}, csv},
		{"CSV with parameters", "", []string{"text/csv; header=present; charset=utf-8"}, csv},
		{"any text", "", []string{"text/*"}, csv},
		{"CSV rather than JSON", "", []string{"application/json;q=0.5, text/csv"}, csv},
		{"JSON rather than CSV", "", []string{"application/json, text/csv;q=0.5"}, json},
		{"both alike", "", []string{"application/json, text/csv"}, json},
		{"anything but JSON", "", []string{"*/*, application/json;q=0"}, csv},
		{"two headers", "", []string{"application/json;q=0.1", "text/csv"}, csv},
		{"nonsense", "", []string{";;,text/csv;q=much,/"}, json},
		{"the parameter against the header", "csv", []string{"application/json"}, csv},
		{"the parameter json against the header", "json", []string{"text/csv"}, json},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := form{}
			if c.format != "" {
				f["format"] = c.format
			}
			if got, err := f.csv(c.accept); got != c.want || err != nil {
				t.Errorf("CSV is %t, %v", got, err)
			}
		})
	}
}

func TestACursorIsReadBackForItsQueryOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := position{
			From: rapid.Int64().Draw(t, "from"), To: rapid.Int64().Draw(t, "to"),
			At:     rapid.SliceOfN(rapid.Int64(), 0, maxAt).Draw(t, "at"),
			Symbol: rapid.StringMatching(`[A-Z^.=-]{0,64}`).Draw(t, "symbol"),
		}
		query := rapid.String().Draw(t, "query")
		text := p.encode(query)
		got, ok := decodeCursor(text, query)
		if !ok || got.From != p.From || got.To != p.To || got.Symbol != p.Symbol || !slices.Equal(got.At, p.At) {
			t.Fatalf("%q: got %+v, %t, want %+v", text, got, ok, p)
		}
		if len(text) > maxCursor || url.QueryEscape(text) != text {
			t.Fatalf("%q is long or needs escaping", text)
		}
		if _, ok := decodeCursor(text, query+"x"); ok {
			t.Fatal("it was taken by another query")
		}
		i := rapid.IntRange(0, len(text)-1).Draw(t, "i")
		damaged := []byte(text)
		damaged[i] ^= 1
		if _, ok := decodeCursor(string(damaged), query); ok {
			t.Fatalf("%q was taken for %q", damaged, text)
		}
	})
}

func FuzzDecodeCursor(f *testing.F) {
	f.Add((&position{From: 1, To: 2, At: []int64{3}, Symbol: "AAPL"}).encode("q"), "q")
	f.Add("", "")
	f.Add("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "")
	f.Fuzz(func(t *testing.T, text, query string) {
		p, ok := decodeCursor(text, query)
		if ok && p.encode(query) != text {
			// Varints have longer forms, which are as good.
			if q, again := decodeCursor(p.encode(query), query); !again || q.Symbol != p.Symbol || !slices.Equal(q.At, p.At) {
				t.Errorf("%q reads as %+v, which writes as another position", text, p)
			}
		}
	})
}

// FuzzForm holds that any query string either reads as values within their
// limits or is refused with a problem that is fit to be shown.
func FuzzForm(f *testing.F) {
	for _, s := range []string{
		"symbol=AAPL&interval=5m&from=2026-03-02&to=1772461800000&limit=10", "symbols=AAPL,MSFT,%5EGSPC", "symbol=%00", "limit=1000000",
		"symbol=A&symbol=B", "cursor=AQ", "a;b", "%zz", "symbol=\xff", "from=2026-03-02T14:30:00+01:00&format=csv", "=", "&&&",
	} {
		f.Add(s)
	}
	parameters := []string{"symbol", "symbols", "interval", "from", "to", "limit", "cursor", "format"}
	f.Fuzz(func(t *testing.T, raw string) {
		check := func(err error) bool {
			if err == nil {
				return true
			}
			var p *Problem
			if !errors.As(err, &p) {
				t.Fatalf("%q: %v is no problem", raw, err)
			}
			if p.Status != 400 || p.Detail == "" || len(p.Detail) > 700 || !utf8.ValidString(p.Parameter) {
				t.Fatalf("%q: %+v", raw, p)
			}
			return false
		}
		form, err := parseForm(raw, parameters...)
		if !check(err) {
			return
		}
		if s, err := form.symbol(); check(err) && (s == "" || len(s) > maxSymbolLength) {
			t.Errorf("%q: symbol %q", raw, s)
		}
		if list, err := form.symbols(); check(err) && len(list) > maxSymbols {
			t.Errorf("%q: %d symbols", raw, len(list))
		}
		if n, err := form.limit(); check(err) && (n < 1 || n > maxLimit) {
			t.Errorf("%q: limit %d", raw, n)
		}
		if s, err := form.spanOf(1772461800000, minuteLength); check(err) && s.from > s.to {
			t.Errorf("%q: span %+v", raw, s)
		}
		_, err = form.interval()
		check(err)
		_, err = form.csv([]string{raw})
		check(err)
	})
}
