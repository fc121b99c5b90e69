package yahoo

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ticktape/internal/tick"
)

// Chart is the history of one symbol in bars.
type Chart struct {
	Symbol   string
	Currency string
	Exchange string
	Timezone string
	Interval string
	Bars     []Bar
	// Source is tick.SourceYahoo, or tick.SourceSimulated where a stand-in answered.
	Source tick.Source
}

// Bar is one interval of a chart that has traded. Yahoo writes chart prices as
// 32-bit floats in full length (75.0875015258789 is 75.0875); they are read as
// they stand, and left to the caller to round.
type Bar struct {
	// Start is in milliseconds since the Unix epoch.
	Start                  int64
	Open, High, Low, Close tick.Price
	Volume                 int64
}

type rawChart struct {
	Meta struct {
		Symbol       scalar `json:"symbol"`
		Currency     scalar `json:"currency"`
		ExchangeName scalar `json:"exchangeName"`
		TimezoneName scalar `json:"exchangeTimezoneName"`
		Granularity  scalar `json:"dataGranularity"`
	} `json:"meta"`
	Timestamp  []scalar `json:"timestamp"`
	Indicators struct {
		Quote []struct {
			Open   []scalar `json:"open"`
			High   []scalar `json:"high"`
			Low    []scalar `json:"low"`
			Close  []scalar `json:"close"`
			Volume []scalar `json:"volume"`
		} `json:"quote"`
	} `json:"indicators"`
}

// DecodeChart reads the body of an answer of v8/finance/chart. Bars with a null
// among their prices have not traded and are left out; no data is a chart
// without bars. The error is an *Error: Yahoo's own, or BadAnswer, as where
// there are not as many prices as times.
func DecodeChart(body []byte) (*Chart, error) {
	var doc struct {
		Chart *struct {
			Result []rawChart `json:"result"`
			Error  *apiError  `json:"error"`
		} `json:"chart"`
		Finance *struct {
			Error *apiError `json:"error"`
		} `json:"finance"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, badJSON("chart", err)
	}
	bad := func(format string, args ...any) (*Chart, error) {
		return nil, &Error{Kind: BadAnswer, Call: "chart", Err: fmt.Errorf(format, args...)}
	}
	switch {
	case doc.Finance != nil && doc.Finance.Error != nil:
		return nil, doc.Finance.Error.asError("chart")
	case doc.Chart == nil:
		return bad("the answer has no chart")
	case doc.Chart.Error != nil:
		return nil, doc.Chart.Error.asError("chart")
	case len(doc.Chart.Result) != 1:
		return bad("the chart has %d results instead of one", len(doc.Chart.Result))
	}
	raw := &doc.Chart.Result[0]
	c := &Chart{
		Symbol:   raw.Meta.Symbol.string(),
		Currency: raw.Meta.Currency.string(),
		Exchange: raw.Meta.ExchangeName.string(),
		Timezone: raw.Meta.TimezoneName.string(),
		Interval: raw.Meta.Granularity.string(),
	}
	if c.Symbol == "" {
		return bad("the chart has no symbol")
	}
	n := len(raw.Timestamp)
	if n == 0 {
		return c, nil
	}
	if len(raw.Indicators.Quote) != 1 {
		return bad("the chart has %d lists of prices instead of one", len(raw.Indicators.Quote))
	}
	q := &raw.Indicators.Quote[0]
	if len(q.Open) != n || len(q.High) != n || len(q.Low) != n || len(q.Close) != n || len(q.Volume) != n {
		return bad("the chart has %d times, but %d, %d, %d, %d prices and %d volumes",
			n, len(q.Open), len(q.High), len(q.Low), len(q.Close), len(q.Volume))
	}
	for i := range n {
		if q.Open[i].kind == absent || q.High[i].kind == absent || q.Low[i].kind == absent || q.Close[i].kind == absent {
			continue
		}
		b, err := bar(raw.Timestamp[i], q.Open[i], q.High[i], q.Low[i], q.Close[i], q.Volume[i])
		if err != nil {
			return bad("bar %d: %w", i, err)
		}
		c.Bars = append(c.Bars, b)
	}
	return c, nil
}

func bar(start, open, high, low, shut, volume scalar) (b Bar, err error) {
	s, err := start.int()
	if err != nil {
		return b, fmt.Errorf("its time %w", err)
	}
	if s < -maxSeconds || s > maxSeconds {
		return b, fmt.Errorf("its time is not in seconds since 1970: %d", s)
	}
	b.Start = s * 1000
	for _, f := range []struct {
		name string
		from scalar
		to   *tick.Price
	}{{"open", open, &b.Open}, {"high", high, &b.High}, {"low", low, &b.Low}, {"close", shut, &b.Close}} {
		if *f.to, err = f.from.price(); err != nil {
			return b, fmt.Errorf("its %s %w", f.name, err)
		}
	}
	b.Volume, err = volume.int()
	if err != nil && !errors.Is(err, errAbsent) {
		return b, fmt.Errorf("its volume %w", err)
	}
	if b.Volume < 0 {
		return b, fmt.Errorf("its volume is negative: %d", b.Volume)
	}
	return b, nil
}

// ChartQuery says which history to ask for.
type ChartQuery struct {
	// Interval is 1m, 2m, 5m, 15m, 30m, 60m, 90m, 1h, 1d, 5d, 1wk, 1mo or 3mo.
	Interval string
	// Range is 1d, 5d, 1mo, …; or From and To are given.
	Range    string
	From, To time.Time
	// PrePost asks for the extended sessions too.
	PrePost bool
}
