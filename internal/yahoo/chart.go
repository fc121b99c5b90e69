package yahoo

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ticktape/internal/tick"
)

// Chart is the history of one symbol in bars. Times are milliseconds since the
// Unix epoch; Yahoo gives whole seconds.
type Chart struct {
	Symbol string
	// Name is what a person calls it: "Apple Inc.".
	Name string
	// Type is Yahoo's instrumentType, as a Quote's Type.
	Type     string
	Currency string
	Exchange string
	// Timezone is the exchange's IANA name and UTCOffset its distance from UTC at present.
	Timezone  string
	UTCOffset time.Duration
	// PriceHint is the number of decimals to show.
	PriceHint int
	Interval  string
	// Bars are in order of time, one a Start.
	Bars []Bar
	// Dividends and Splits are in order of time.
	Dividends []Dividend
	Splits    []Split
	// Odd says of each bar and event that is left out because it can't be used
	// which and why. Bars that are null have not traded and are not odd.
	Odd []string
	// Source is tick.SourceYahoo, or tick.SourceSimulated where a stand-in answered.
	Source tick.Source
}

// Bar is one interval of a chart that has traded. The last one may begin off the
// interval's grid and be of an interval that is not over.
//
// Yahoo keeps chart prices as 32-bit floats and writes some in full length: what
// was 75.0875 comes as 75.0875015258789. Such a text is read as the decimal
// that it was; any other as it stands.
type Bar struct {
	Start                  int64
	Open, High, Low, Close tick.Price
	// Volume is 0 where Yahoo gives none.
	Volume int64
}

// Dividend is money paid for each share, in the chart's currency.
type Dividend struct {
	Time   int64
	Amount tick.Price
}

// Split says that Denominator shares became Numerator ones. They are numbers in
// units of 1e-8, as prices are, because some have a fraction. Yahoo's bars and
// dividends before it are already divided by it.
type Split struct {
	Time                   int64
	Numerator, Denominator tick.Price
}

type rawChart struct {
	Meta struct {
		Symbol       scalar `json:"symbol"`
		ShortName    scalar `json:"shortName"`
		LongName     scalar `json:"longName"`
		Type         scalar `json:"instrumentType"`
		Currency     scalar `json:"currency"`
		ExchangeName scalar `json:"exchangeName"`
		TimezoneName scalar `json:"exchangeTimezoneName"`
		UTCOffset    scalar `json:"gmtoffset"`
		PriceHint    scalar `json:"priceHint"`
		Granularity  scalar `json:"dataGranularity"`
	} `json:"meta"`
	Timestamp []scalar `json:"timestamp"`
	Events    struct {
		Dividends map[string]rawEvent `json:"dividends"`
		Splits    map[string]rawEvent `json:"splits"`
	} `json:"events"`
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

type rawEvent struct {
	Date        scalar `json:"date"`
	Amount      scalar `json:"amount"`
	Numerator   scalar `json:"numerator"`
	Denominator scalar `json:"denominator"`
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
	if err := decodeJSON(body, &doc); err != nil {
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
		Symbol:    raw.Meta.Symbol.string(),
		Name:      cmp.Or(raw.Meta.ShortName.string(), raw.Meta.LongName.string()),
		Type:      raw.Meta.Type.string(),
		Currency:  raw.Meta.Currency.string(),
		Exchange:  raw.Meta.ExchangeName.string(),
		Timezone:  raw.Meta.TimezoneName.string(),
		UTCOffset: offset(raw.Meta.UTCOffset, time.Second),
		PriceHint: priceHint(raw.Meta.PriceHint),
		Interval:  raw.Meta.Granularity.string(),
	}
	if c.Symbol == "" {
		return bad("the chart has no symbol")
	}
	c.events(raw)
	n := len(raw.Timestamp)
	if n == 0 {
		return c, nil
	}
	if len(raw.Indicators.Quote) != 1 {
		return bad("the chart has %d lists of prices instead of one", len(raw.Indicators.Quote))
	}
	q := &raw.Indicators.Quote[0]
	if len(q.Volume) == 0 {
		q.Volume = make([]scalar, n)
	}
	if len(q.Open) != n || len(q.High) != n || len(q.Low) != n || len(q.Close) != n || len(q.Volume) != n {
		return bad("the chart has %d times, but %d, %d, %d, %d prices and %d volumes",
			n, len(q.Open), len(q.High), len(q.Low), len(q.Close), len(q.Volume))
	}
	for i := range n {
		if q.Open[i].kind == absent || q.High[i].kind == absent || q.Low[i].kind == absent || q.Close[i].kind == absent {
			continue
		}
		b, err := bar(raw.Timestamp[i], q.Open[i], q.High[i], q.Low[i], q.Close[i], q.Volume[i], c.PriceHint)
		if err != nil {
			c.Odd = append(c.Odd, fmt.Sprintf("bar %d: %v", i, err))
			continue
		}
		c.Bars = append(c.Bars, b)
	}
	slices.SortStableFunc(c.Bars, func(a, b Bar) int { return cmp.Compare(a.Start, b.Start) })
	// Of two bars of one time the later in the list is the newer.
	slices.Reverse(c.Bars)
	c.Bars = slices.CompactFunc(c.Bars, func(a, b Bar) bool { return a.Start == b.Start })
	slices.Reverse(c.Bars)
	return c, nil
}

func bar(start, open, high, low, shut, volume scalar, decimals int) (b Bar, err error) {
	if b.Start, err = moment(start); err != nil {
		return b, fmt.Errorf("its time %w", err)
	}
	for _, f := range []struct {
		name string
		from scalar
		to   *tick.Price
	}{{"open", open, &b.Open}, {"high", high, &b.High}, {"low", low, &b.Low}, {"close", shut, &b.Close}} {
		if *f.to, err = f.from.chartPrice(decimals); err != nil {
			return b, fmt.Errorf("its %s %w", f.name, err)
		}
		if *f.to == 0 {
			return b, fmt.Errorf("its %s is 0", f.name)
		}
	}
	if b.High < b.Low {
		return b, fmt.Errorf("its high %s is below its low %s", b.High, b.Low)
	}
	// Opening and closing prices were traded, so high and low contain them, which
	// some of Yahoo's bars, adjusted each by itself, do not.
	b.High, b.Low = max(b.High, b.Open, b.Close), min(b.Low, b.Open, b.Close)
	b.Volume, err = volume.int()
	if err != nil && !errors.Is(err, errAbsent) {
		return b, fmt.Errorf("its volume %w", err)
	}
	if b.Volume < 0 {
		return b, fmt.Errorf("its volume is negative: %d", b.Volume)
	}
	return b, nil
}

// events reads dividends and splits.
func (c *Chart) events(raw *rawChart) {
	odd := func(what, key string, err error) {
		c.Odd = append(c.Odd, fmt.Sprintf("%s of %.20q %v", what, key, err))
	}
	for key, e := range raw.Events.Dividends {
		at, err := moment(e.Date)
		if err != nil {
			odd("dividend", key, fmt.Errorf("date %w", err))
			continue
		}
		amount, err := e.Amount.chartPrice(c.PriceHint)
		if err == nil && amount <= 0 {
			err = fmt.Errorf("is %s", amount)
		}
		if err != nil {
			odd("dividend", key, fmt.Errorf("amount %w", err))
			continue
		}
		c.Dividends = append(c.Dividends, Dividend{at, amount})
	}
	for key, e := range raw.Events.Splits {
		at, err := moment(e.Date)
		if err != nil {
			odd("split", key, fmt.Errorf("date %w", err))
			continue
		}
		numerator, err1 := e.Numerator.price()
		denominator, err2 := e.Denominator.price()
		if err := errors.Join(err1, err2); err != nil || numerator <= 0 || denominator <= 0 {
			odd("split", key, errors.New("has no ratio"))
			continue
		}
		c.Splits = append(c.Splits, Split{at, numerator, denominator})
	}
	slices.SortFunc(c.Dividends, func(a, b Dividend) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Amount, b.Amount))
	})
	slices.SortFunc(c.Splits, func(a, b Split) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Numerator, b.Numerator))
	})
	slices.Sort(c.Odd)
}

// moment reads a time in seconds and returns it in milliseconds. Charts reach
// back before 1970.
func moment(s scalar) (ms int64, err error) {
	v, err := s.int()
	if err != nil {
		return 0, err
	}
	if v < -maxSeconds || v > maxSeconds {
		return 0, fmt.Errorf("is not in seconds since 1970: %d", v)
	}
	return v * 1000, nil
}

// chartPrice is price, but for a text that is a 32-bit float written in full
// length. That is read as the decimal that it was: with the decimals that are
// shown, if that is the same float, else the shortest that is. The floats serve
// to recognise it; the price is read from decimal text.
func (s scalar) chartPrice(decimals int) (tick.Price, error) {
	// Seven digits and a point are no more than a 32-bit float holds.
	if s.kind != number || len(s.text) <= 8 || !strings.Contains(s.text, ".") {
		return s.price()
	}
	long, err := strconv.ParseFloat(s.text, 64)
	short := float32(long)
	if err != nil || float64(short) != long {
		return s.price()
	}
	shown := strconv.FormatFloat(long, 'f', decimals, 64)
	if again, err := strconv.ParseFloat(shown, 32); err == nil && float32(again) == short {
		return tick.ParsePrice(shown)
	}
	return tick.ParsePrice(strconv.FormatFloat(long, 'f', -1, 32))
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
