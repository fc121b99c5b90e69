package yahoo

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const chartBody = `{"chart":{"result":[{"meta":{"currency":"USD","symbol":"ACME","exchangeName":"NMS","exchangeTimezoneName":"America/New_York","dataGranularity":"1m","priceHint":2},
"timestamp":[1731594600,1731594660,1731594720],
"indicators":{"quote":[{"open":[100.5,null,100.7300033569336],"high":[101,null,100.75],"low":[100.25,null,100.7],"close":[100.5,null,100.74],"volume":[1200,null,null]}]}}],"error":null}}`

func TestDecodeChart(t *testing.T) {
	c, err := DecodeChart([]byte(chartBody))
	if err != nil {
		t.Fatal(err)
	}
	want := &Chart{
		Symbol: "ACME", Currency: "USD", Exchange: "NMS", Timezone: "America/New_York", Interval: "1m",
		Bars: []Bar{
			{Start: 1731594600000, Open: price(t, "100.5"), High: price(t, "101"), Low: price(t, "100.25"), Close: price(t, "100.5"), Volume: 1200},
			{Start: 1731594720000, Open: price(t, "100.73000336"), High: price(t, "100.75"), Low: price(t, "100.7"), Close: price(t, "100.74")},
		},
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
		{"a price that is text", `{"chart":{"result":[{` + meta + `,"timestamp":[1],"indicators":{"quote":[{"open":["1"],"high":[1],"low":[1],"close":[1],"volume":[1]}]}}]}}`, BadAnswer, "its open is text"},
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
