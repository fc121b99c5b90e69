package yahoo

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const chartBody = `{"chart":{"result":[{"meta":{"currency":"USD","symbol":"ACME","exchangeName":"NMS","exchangeTimezoneName":"America/New_York","dataGranularity":"1m","priceHint":2,"gmtoffset":-18000,"instrumentType":"EQUITY","shortName":"Acme Corporation"},
"timestamp":[1731594600,1731594660,1731594720],
"events":{"dividends":{"1731594600":{"amount":0.2054,"date":1731594600}},"splits":{"1731594660":{"date":1731594660,"numerator":4,"denominator":1,"splitRatio":"4:1"}}},
"indicators":{"quote":[{"open":[100.5,null,100.7300033569336],"high":[101,null,100.75],"low":[100.25,null,100.7],"close":[100.5,null,100.74],"volume":[1200,null,null]}]}}],"error":null}}`

func TestDecodeChart(t *testing.T) {
	c, err := DecodeChart([]byte(chartBody))
	if err != nil {
		t.Fatal(err)
	}
	want := &Chart{
		Symbol: "ACME", Name: "Acme Corporation", Type: "EQUITY", Currency: "USD", Exchange: "NMS",
		Timezone: "America/New_York", UTCOffset: -5 * time.Hour, PriceHint: 2, Interval: "1m",
		Bars: []Bar{
			{Start: 1731594600000, Open: price(t, "100.5"), High: price(t, "101"), Low: price(t, "100.25"), Close: price(t, "100.5"), Volume: 1200},
			{Start: 1731594720000, Open: price(t, "100.73"), High: price(t, "100.75"), Low: price(t, "100.7"), Close: price(t, "100.74")},
		},
		Dividends: []Dividend{{1731594600000, price(t, "0.2054")}},
		Splits:    []Split{{1731594660000, price(t, "4"), price(t, "1")}},
	}
	if d := cmp.Diff(want, c); d != "" {
		t.Errorf("chart (-want +got):\n%s", d)
	}
}

func TestAnswersThatAreNoChartsAreTypedErrors(t *testing.T) {
	meta := `"meta":{"symbol":"ACME"}`
	for _, c := range []struct {
		name, body string
		kind       Kind
		text       string
	}{
		{"no data is an empty chart", `{"chart":{"result":[{` + meta + `,"indicators":{"quote":[{}]}}],"error":null}}`, 0, ""},
		{"prices without times are no data", `{"chart":{"result":[{` + meta + `,"indicators":{"quote":[{"open":[1]}]}}],"error":null}}`, 0, ""},
		{"an unknown symbol", `{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}`, NotFound, "delisted"},
		{"a range that is not to be had", `{"chart":{"result":null,"error":{"code":"Unprocessable Entity","description":"1m data not available"}}}`, BadRequest, "1m data"},
		{"fewer prices than times", `{"chart":{"result":[{` + meta + `,"timestamp":[1,2],"indicators":{"quote":[{"open":[1],"high":[1],"low":[1],"close":[1],"volume":[1]}]}}]}}`, BadAnswer, "2 times"},
		{"times without prices", `{"chart":{"result":[{` + meta + `,"timestamp":[1],"indicators":{"quote":[{}]}}]}}`, BadAnswer, "1 times"},
		{"times without indicators", `{"chart":{"result":[{` + meta + `,"timestamp":[1]}]}}`, BadAnswer, "lists of prices"},
		{"no symbol", `{"chart":{"result":[{}]}}`, BadAnswer, "no symbol"},
		{"no result", `{"chart":{"result":[],"error":null}}`, BadAnswer, "0 results"},
		{"a quote", `{"quoteResponse":{}}`, BadAnswer, "no chart"},
		{"half", chartBody[:200], BadAnswer, "truncated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chart, err := DecodeChart([]byte(c.body))
			checkKind(t, err, c.kind, c.text)
			if c.kind == 0 && (chart == nil || len(chart.Bars) != 0) || c.kind != 0 && chart != nil {
				t.Errorf("chart %+v", chart)
			}
		})
	}
}

func TestBarsThatCantBeUsedAreLeftOutAndSpoilNoOther(t *testing.T) {
	c, err := DecodeChart([]byte(`{"chart":{"result":[{"meta":{"symbol":"ACME"},"timestamp":[300,120,180,"x",1e30,240,360,60,120,420],
		"events":{"dividends":{"a":{"amount":"much","date":1},"b":{"amount":-1,"date":2},"c":{"amount":1}},"splits":{"d":{"date":1,"numerator":3,"denominator":0}}},
		"indicators":{"quote":[{
			"open":[1,1,"1",1,1,1,NaN,1,7,1],"high":[2,2,2,2,2,1,2,2,7,2],"low":[1,1,1,1,1,2,1,1.5,7,0],
			"close":[1,1,1,1,1,1,1,2.5,7,1],"volume":[1,1,1,1,1,1,1,1,2,-1]}]}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Bar{
		{Start: 60_000, Open: price(t, "1"), High: price(t, "2.5"), Low: price(t, "1"), Close: price(t, "2.5"), Volume: 1},
		{Start: 120_000, Open: price(t, "7"), High: price(t, "7"), Low: price(t, "7"), Close: price(t, "7"), Volume: 2},
		{Start: 300_000, Open: price(t, "1"), High: price(t, "2"), Low: price(t, "1"), Close: price(t, "1"), Volume: 1},
	}
	if d := cmp.Diff(want, c.Bars); d != "" {
		t.Errorf("bars (-want +got):\n%s", d)
	}
	odd := []string{
		`dividend of "a" amount is text instead of a number`,
		`dividend of "b" amount is -1`,
		`dividend of "c" date is missing`,
		`split of "d" has no ratio`,
		"bar 2: its open is text instead of a number",
		"bar 3: its time is text instead of a number",
		"bar 4: its time is a number out of range: 1e30",
		"bar 5: its high 1 is below its low 2",
		"bar 6: its open is text instead of a number",
		"bar 9: its low is 0",
	}
	if !slices.Equal(c.Odd, odd) {
		t.Errorf("odd: %s", cmp.Diff(odd, c.Odd))
	}
}

func TestChartPricesWrittenAsFloatsAreReadAsTheDecimalsTheyWere(t *testing.T) {
	for text, want := range map[string]string{
		"75.0875015258789":       "75.0875", // more decimals than are shown, by a split
		"134.17999267578125":     "134.18",
		"73.79750061035156":      "73.7975",
		"97208.171875":           "97208.17",
		"612345.6875":            "612345.69", // of a float32's decimals one is sure, and two are shown
		"100.5":                  "100.5",
		"244.87":                 "244.87",
		"123456792":              "123456792",
		"1.0489877":              "1.0489877",
		"1.2340999883599579e-05": "0.00001234",
		"236.00001":              "236.00001",
		"-37.630001068115234":    "-37.63",
	} {
		if got, err := (scalar{number, text}).chartPrice(2); err != nil || got != price(t, want) {
			t.Errorf("%s is read as %s, %v; want %s", text, got, err, want)
		}
	}
}

func FuzzDecodeChart(f *testing.F) {
	f.Add([]byte(chartBody))
	f.Add([]byte(`{"chart":{"result":[{"meta":{"symbol":"A"},"indicators":{"quote":[{}]}}],"error":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := DecodeChart(body)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind == 0 || c != nil {
				t.Fatalf("error %v", err)
			}
			return
		}
		for _, b := range c.Bars {
			if b.Volume < 0 {
				t.Fatalf("bar %+v", b)
			}
		}
	})
}
