package yahoo

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/internal/tick"
)

func price(t *testing.T, s string) tick.Price {
	t.Helper()
	p, err := tick.ParsePrice(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDecodeQuotes(t *testing.T) {
	body, err := os.ReadFile("testdata/quotes.json")
	if err != nil {
		t.Fatal(err)
	}
	quotes, failed, err := DecodeQuotes(body)
	if err != nil {
		t.Fatal(err)
	}
	p := func(s string) tick.Price { return price(t, s) }
	const newYork = -5 * time.Hour
	want := []Quote{
		{
			Symbol: "ACME", Name: "Acme Corporation", Type: "EQUITY", Price: p("101.2345"), Time: 1731600002000, MarketState: tick.MarketRegular,
			Volume: 1234567, HasVolume: true, VolumeTime: 1731600002000, PreviousClose: p("100.3812"), Currency: "USD", Exchange: "NMS",
			Timezone: "America/New_York", UTCOffset: newYork, PriceHint: 2,
		},
		{
			Symbol: "EARLY", Name: "Early Bird Co", Type: "EQUITY", Price: p("56.01"), Time: 1731583000000, MarketState: tick.MarketPre,
			Volume: 900100, HasVolume: true, VolumeTime: 1731531602000, PreviousClose: p("55.5"), Currency: "USD", Exchange: "NYQ",
			Timezone: "America/New_York", UTCOffset: newYork, PriceHint: 2,
		},
		{
			Symbol: "LATE", Name: "Late Riser Co", Type: "EQUITY", Price: p("12.5"), Time: 1731531602000, MarketState: tick.MarketPre,
			Volume: 10, HasVolume: true, VolumeTime: 1731531602000, PreviousClose: p("12.25"), Currency: "USD", Exchange: "NYQ",
			UTCOffset: newYork, PriceHint: 2,
		},
		{
			Symbol: "OWL", Name: "Owl Inc", Type: "EQUITY", Price: p("78.05"), Time: 1731621123000, MarketState: tick.MarketPost,
			Volume: 5000, HasVolume: true, VolumeTime: 1731618000000, PreviousClose: p("77"), Currency: "USD", Exchange: "NMS",
			UTCOffset: newYork, PriceHint: 2,
		},
		{
			Symbol: "SLEEP", Name: "Sleeper Inc", Type: "EQUITY", Price: p("20.5"), Time: 1731632399000, MarketState: tick.MarketPost,
			Volume: 5000, HasVolume: true, VolumeTime: 1731618000000, PreviousClose: p("19"), Currency: "USD", Exchange: "NMS",
			UTCOffset: newYork, PriceHint: 2,
		},
		{
			Symbol: "PNCE.L", Name: "PENCE PLC ORD 2P", Type: "EQUITY", Price: p("2808"), Time: 1731602101000, MarketState: tick.MarketClosed,
			Volume: 796463, HasVolume: true, VolumeTime: 1731602101000, PreviousClose: p("2821"), Currency: "GBp", Exchange: "LSE",
			Timezone: "Europe/London", PriceHint: 2, Delay: 20 * time.Minute,
		},
		{
			Symbol: "COIN-USD", Name: "Coin USD", Type: "CRYPTOCURRENCY", Price: p("0.00001234"), Time: 1731600000000, MarketState: tick.MarketRegular,
			Volume: 28000000512, HasVolume: true, VolumeTime: 1731600000000, VolumeRolling: true, PreviousClose: p("0.000013"), Currency: "USD", Exchange: "CCC",
			Timezone: "UTC", PriceHint: 8,
		},
		{
			Symbol: "EURUSD=X", Name: "EUR/USD", Type: "CURRENCY", Price: p("1.0489877"), Time: 1731600001000, MarketState: tick.MarketRegular,
			HasVolume: true, VolumeTime: 1731600001000, PreviousClose: p("1.0495383"), Currency: "USD", Exchange: "CCY",
			Timezone: "Europe/London", PriceHint: 4,
		},
		{
			Symbol: "FUNDX", Name: "Some Index Fund", Type: "MUTUALFUND", Price: p("512.03"), Time: 1731632461000, MarketState: tick.MarketClosed,
			VolumeTime: 1731632461000, PreviousClose: p("510.1"), Currency: "USD", Exchange: "NAS", UTCOffset: newYork, PriceHint: 2,
		},
		{
			Symbol: "NEG=F", Name: "Below Zero Futures", Type: "FUTURE", Price: p("-37.63"), Time: 1731600000000, MarketState: tick.MarketRegular,
			Volume: 54706, HasVolume: true, VolumeTime: 1731600000000, Currency: "USX", Exchange: "CBT", UTCOffset: newYork, PriceHint: 2, Delay: 10 * time.Minute,
		},
		{
			Symbol: "ODD", Type: "ECNQUOTE", Price: p("12.5"), Time: 1731600000000,
			Volume: 1500, HasVolume: true, VolumeTime: 1731600000000, PriceHint: 2,
		},
	}
	for i, price := range map[int]string{1: "55.5", 3: "77.7", 4: "20"} {
		before := want[i]
		before.Price, before.Time, before.MarketState = p(price), before.VolumeTime, tick.MarketRegular
		want[i].Regular = &before
	}
	want[1].Regular.PreviousClose = p("54.25")
	if d := cmp.Diff(want, quotes); d != "" {
		t.Errorf("quotes (-want +got):\n%s", d)
	}
	wantFailed := []SymbolError{
		{"GONE", "regularMarketPrice is missing"},
		{"TEXT", "regularMarketPrice is text instead of a number"},
		{"ACME241220C00100000", "regularMarketPrice is 0"},
		{"TIMELESS", "regularMarketTime is missing"},
		{"MILLI", "regularMarketTime is not in seconds since 1970: 1731600000123"},
		{"HUGE", `regularMarketPrice not a price: "123456789012.5" is out of range`},
		{"LIST", "regularMarketVolume is an object or list instead of a number"},
		{"MINUS", "regularMarketVolume is negative: -5"},
		{"TRUTH", "postMarketPrice is true or false instead of a number"},
		{"?", "the quote has no symbol"},
		{"?", "an entry of the result is no object"},
		{"?", "the quote has no symbol"},
		{"?", "an entry of the result is no object"},
	}
	if d := cmp.Diff(wantFailed, failed); d != "" {
		t.Errorf("failed (-want +got):\n%s", d)
	}
}

func TestAnswersThatAreNoQuotesAreTypedErrors(t *testing.T) {
	for _, c := range []struct {
		name, body string
		kind       Kind
		text       string
	}{
		{"no symbols at all is no error of ours", `{"quoteResponse":{"result":[],"error":null}}`, 0, ""},
		{"a null result is none", `{"quoteResponse":{"result":null,"error":null}}`, 0, ""},
		{"an error under finance", `{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}`, Unauthorized, "Unauthorized: Invalid Crumb"},
		{"an error under quoteResponse", `{"quoteResponse":{"result":null,"error":{"code":"argument-error","description":"Missing value"}}}`, BadRequest, "Missing value"},
		{"an error of an odd type", `{"quoteResponse":{"result":null,"error":{"code":17}}}`, BadAnswer, "bad answer"},
		{"an error that is text", `{"quoteResponse":{"result":null,"error":"no"}}`, BadAnswer, "not the JSON"},
		{"another document", `{"chart":{}}`, BadAnswer, "no quoteResponse"},
		{"a list", `[]`, BadAnswer, "not the JSON"},
		{"nothing", ``, BadAnswer, "truncated"},
		{"half", `{"quoteResponse":{"result":[{"symbol":"AC`, BadAnswer, "truncated"},
		{"a result that is an object", `{"quoteResponse":{"result":{"symbol":"ACME"}}}`, BadAnswer, "not the JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			quotes, failed, err := DecodeQuotes([]byte(c.body))
			if len(quotes)+len(failed) > 0 {
				t.Errorf("got quotes %v, failed %v", quotes, failed)
			}
			checkKind(t, err, c.kind, c.text)
		})
	}
}

func checkKind(t *testing.T, err error, kind Kind, text string) {
	t.Helper()
	if kind == 0 {
		if err != nil {
			t.Errorf("error %v", err)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Error(), text) {
		t.Errorf("got %v, want kind %v with %q", err, kind, text)
	}
	if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("error has several lines: %q", err)
	}
}

func TestTheLatestTradeMayBeOneOfAnExtendedSession(t *testing.T) {
	for _, c := range []struct{ name, fields, price, at string }{
		{"pre-market", `"marketState":"PRE","preMarketPrice":2,"preMarketTime":2000`, "2", "2000"},
		{"pre-market trade left over from before the regular one", `"marketState":"PRE","preMarketPrice":2,"preMarketTime":500`, "1", "1000"},
		{"pre-market price without a time", `"marketState":"PRE","preMarketPrice":2`, "1", "1000"},
		{"pre-market time without a price", `"marketState":"PRE","preMarketTime":2000`, "1", "1000"},
		{"pre-market with empty formatted values", `"marketState":"PRE","preMarketPrice":{},"preMarketTime":{}`, "1", "1000"},
		{"pre-market with formatted values", `"marketState":"PRE","preMarketPrice":{"raw":2,"fmt":"2.00"},"preMarketTime":{"raw":2000,"fmt":"x"}`, "2", "2000"},
		{"regular hours with a pre-market trade", `"marketState":"REGULAR","preMarketPrice":2,"preMarketTime":2000`, "1", "1000"},
		{"post-market", `"marketState":"POST","postMarketPrice":3,"postMarketTime":3000`, "3", "3000"},
		{"post-market with a pre-market trade only", `"marketState":"POST","preMarketPrice":2,"preMarketTime":2000`, "1", "1000"},
		{"after the post-market", `"marketState":"POSTPOST","postMarketPrice":3,"postMarketTime":3000`, "3", "3000"},
		{"closed", `"marketState":"CLOSED","postMarketPrice":3,"postMarketTime":3000`, "3", "3000"},
		{"before the pre-market of the next day", `"marketState":"PREPRE","postMarketPrice":3,"postMarketTime":3000`, "3", "3000"},
		{"closed, with a post-market trade left over from the day before", `"marketState":"CLOSED","postMarketPrice":3,"postMarketTime":900`, "1", "1000"},
		{"post-market price of 0", `"marketState":"POST","postMarketPrice":0,"postMarketTime":0`, "1", "1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := `{"quoteResponse":{"result":[{"symbol":"A","regularMarketPrice":1,"regularMarketTime":1000,"regularMarketVolume":7,` + c.fields + `}]}}`
			quotes, failed, err := DecodeQuotes([]byte(body))
			if err != nil || len(failed) > 0 || len(quotes) != 1 {
				t.Fatalf("quotes %v, failed %v, error %v", quotes, failed, err)
			}
			q := quotes[0]
			if q.Price != price(t, c.price) || q.Time != int64(price(t, c.at)/tick.Unit)*1000 || q.VolumeTime != 1_000_000 || q.Volume != 7 {
				t.Errorf("price %v at %d, volume %d of %d", q.Price, q.Time, q.Volume, q.VolumeTime)
			}
			extended := q.MarketState == tick.MarketPre || q.MarketState == tick.MarketPost
			if r := q.Regular; (c.price == "1") != (r == nil) || r != nil && (!extended || r.Price != price(t, "1") || r.Time != 1_000_000 || r.MarketState != tick.MarketRegular) {
				t.Errorf("the regular trade is %+v, of a quote %+v", r, q)
			}
		})
	}
}

func TestPreMarketTradeOfASymbolThatNeverTradedRegularly(t *testing.T) {
	quotes, failed, err := DecodeQuotes([]byte(`{"quoteResponse":{"result":[{"symbol":"IPO","marketState":"PRE","preMarketPrice":31,"preMarketTime":2000,"regularMarketVolume":5}]}}`))
	if err != nil || len(failed) > 0 || len(quotes) != 1 {
		t.Fatalf("quotes %v, failed %v, error %v", quotes, failed, err)
	}
	if q := quotes[0]; q.Price != price(t, "31") || q.HasVolume || q.PreviousClose != tick.Unknown {
		t.Errorf("got %+v", q)
	}
}

func TestScalarsOfWholeNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-7": -7, "9223372036854775807": 1<<63 - 1, "2.1228961792E10": 21228961792, "40896227.9": 40896227, "1e3": 1000, "-1.5": -1,
		`{"raw":12,"fmt":"12"}`: 12, `{"raw":1.2e1,"fmt":"12","longFmt":"12"}`: 12,
	} {
		var s scalar
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got, err := s.int(); err != nil || got != want {
			t.Errorf("%s is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"9223372036854775808", "1e30", "1e999999999", "1e-999999999", "12345678901234567890123456789012345", `"12"`, "true", "[1]", `{"raw":"1"}`, `{"raw":{"raw":1}}`, `{"fmt":"1"}`, "null", "{}",
	} {
		var s scalar
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got, err := s.int(); err == nil {
			t.Errorf("%s is %d, want an error", text, got)
		}
	}
}

func TestDecodeCrumb(t *testing.T) {
	for _, good := range []string{"abcDEF12.gh", "a1b2/c3d4.5", "Zz9-_~=+@x1", " 0a1b2c3d4e5\n"} {
		if got, err := DecodeCrumb([]byte(good)); err != nil || got != strings.TrimSpace(good) {
			t.Errorf("crumb %q: %q, %v", good, got, err)
		}
	}
	for body, kind := range map[string]Kind{
		"Too Many Requests\r\n":         RateLimited,
		`{"error":"Too Many Requests"}`: RateLimited,
		"":                              BadAnswer,
		"short":                         BadAnswer,
		"two words.x":                   BadAnswer,
		"<html></html>":                 BadAnswer,
		`{"finance":{}}`:                BadAnswer,
		"Unauthorized":                  BadAnswer,
		"InvalidCookie":                 BadAnswer,
		"é1234567890":                   BadAnswer,
		strings.Repeat("a", 33):         BadAnswer,
		"Edge: Too Many Requests, please wait a bit": RateLimited,
	} {
		_, err := DecodeCrumb([]byte(body))
		checkKind(t, err, kind, "crumb")
	}
}

func FuzzDecodeQuotes(f *testing.F) {
	body, err := os.ReadFile("testdata/quotes.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"quoteResponse":{"result":[{"symbol":"A","regularMarketPrice":{"raw":1},"regularMarketTime":1}]}}`))
	f.Add([]byte(`{"finance":{"error":{"code":"Unauthorized"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		quotes, failed, err := DecodeQuotes(body)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind == 0 || len(quotes)+len(failed) > 0 {
				t.Fatalf("error %v beside %d quotes", err, len(quotes)+len(failed))
			}
		}
		for _, q := range quotes {
			if q.Symbol == "" || q.Price == 0 || q.Time <= 0 || q.Volume < 0 || q.PriceHint < 0 || q.PriceHint > tick.Decimals || !q.HasVolume && q.Volume != 0 {
				t.Fatalf("quote %+v", q)
			}
		}
	})
}

func FuzzDecodeCrumb(f *testing.F) {
	f.Add([]byte("abcDEF12.gh"))
	f.Add([]byte("Too Many Requests"))
	f.Fuzz(func(t *testing.T, body []byte) {
		crumb, err := DecodeCrumb(body)
		if err == nil && (len(crumb) < 6 || strings.ContainsAny(crumb, " \r\n<>\"")) {
			t.Fatalf("crumb %q", crumb)
		}
		if err != nil && (crumb != "" || strings.Contains(err.Error(), "\n")) {
			t.Fatalf("crumb %q, error %q", crumb, err)
		}
	})
}
