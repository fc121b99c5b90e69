package yahoo

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ticktape/internal/tick"
)

// Quote is the latest trade of one symbol, as Yahoo tells it. Times are
// milliseconds since the Unix epoch; Yahoo gives whole seconds.
type Quote struct {
	Symbol string
	// Name is what a person calls it: "Apple Inc.".
	Name string
	// Type is Yahoo's quoteType: EQUITY, ETF, INDEX, CURRENCY, FUTURE, CRYPTOCURRENCY, MUTUALFUND, OPTION, …
	Type string

	// Price and Time are those of the latest trade: before the opening that of the
	// pre-market and after the close that of the post-market, where one has traded,
	// else the regular one.
	Price tick.Price
	Time  int64
	// MarketState is PRE or POST for a trade of an extended session, however long
	// that is over, and else the exchange's when Yahoo answered.
	MarketState tick.MarketState
	// Regular is the last trade of the regular session before, where the latest is
	// one of an extended session; else nil.
	Regular *Quote

	// Volume is the cumulative volume of the regular session that the time
	// VolumeTime is in. HasVolume tells whether Yahoo said one.
	Volume     int64
	HasVolume  bool
	VolumeTime int64
	// VolumeRolling: Volume is that of the last 24 hours, as for crypto
	// currencies, and not a day's.
	VolumeRolling bool

	// PreviousClose is the close of the session before, or tick.Unknown. The
	// change of the day is the price less this; in the pre-market too.
	PreviousClose tick.Price
	Currency      string
	Exchange      string
	// Timezone is the exchange's IANA name and UTCOffset its distance from UTC at present.
	Timezone  string
	UTCOffset time.Duration
	// PriceHint is the number of decimals to show.
	PriceHint int
	// Delay is how far Yahoo's data of this exchange lag behind it.
	Delay time.Duration
	// Source is tick.SourceYahoo, or tick.SourceSimulated where a stand-in answered.
	Source tick.Source
}

type rawQuote struct {
	Symbol               scalar `json:"symbol"`
	ShortName            scalar `json:"shortName"`
	LongName             scalar `json:"longName"`
	QuoteType            scalar `json:"quoteType"`
	MarketState          scalar `json:"marketState"`
	Currency             scalar `json:"currency"`
	Exchange             scalar `json:"exchange"`
	TimezoneName         scalar `json:"exchangeTimezoneName"`
	UTCOffset            scalar `json:"gmtOffSetMilliseconds"`
	PriceHint            scalar `json:"priceHint"`
	DelayedBy            scalar `json:"exchangeDataDelayedBy"`
	RegularPrice         scalar `json:"regularMarketPrice"`
	RegularTime          scalar `json:"regularMarketTime"`
	RegularVolume        scalar `json:"regularMarketVolume"`
	RegularPreviousClose scalar `json:"regularMarketPreviousClose"`
	Volume24Hr           scalar `json:"volume24Hr"`
	PrePrice             scalar `json:"preMarketPrice"`
	PreTime              scalar `json:"preMarketTime"`
	PostPrice            scalar `json:"postMarketPrice"`
	PostTime             scalar `json:"postMarketTime"`
}

// apiError is the error object of Yahoo's answers.
type apiError struct {
	Code        scalar `json:"code"`
	Description scalar `json:"description"`
}

// DecodeQuotes reads the body of an answer of v7/finance/quote. A quote that
// can't be used is in failed with its reason and spoils no other. The error is
// an *Error: Yahoo's own, or BadAnswer.
func DecodeQuotes(body []byte) (quotes []Quote, failed []SymbolError, err error) {
	var doc struct {
		QuoteResponse *struct {
			Result []json.RawMessage `json:"result"`
			Error  *apiError         `json:"error"`
		} `json:"quoteResponse"`
		Finance *struct {
			Error *apiError `json:"error"`
		} `json:"finance"`
	}
	if err := decodeJSON(body, &doc); err != nil {
		return nil, nil, badJSON("quote", err)
	}
	switch {
	case doc.Finance != nil && doc.Finance.Error != nil:
		return nil, nil, doc.Finance.Error.asError("quote")
	case doc.QuoteResponse == nil:
		return nil, nil, &Error{Kind: BadAnswer, Call: "quote", Err: errors.New("the answer has no quoteResponse")}
	case doc.QuoteResponse.Error != nil:
		return nil, nil, doc.QuoteResponse.Error.asError("quote")
	}
	for _, m := range doc.QuoteResponse.Result {
		var raw rawQuote
		if err := json.Unmarshal(m, &raw); err != nil {
			failed = append(failed, SymbolError{"?", "an entry of the result is no object"})
			continue
		}
		q, err := raw.quote()
		if err != nil {
			failed = append(failed, SymbolError{q.Symbol, err.Error()})
			continue
		}
		quotes = append(quotes, q)
	}
	return quotes, failed, nil
}

// quote reads what a tick needs. Where it returns an error the quote still has
// its symbol.
func (r *rawQuote) quote() (q Quote, err error) {
	q = Quote{
		Symbol:      r.Symbol.string(),
		Name:        r.ShortName.string(),
		Type:        r.QuoteType.string(),
		MarketState: tick.ParseMarketState(r.MarketState.string()),
		Currency:    r.Currency.string(),
		Exchange:    r.Exchange.string(),
		Timezone:    r.TimezoneName.string(),
	}
	if q.Symbol == "" {
		q.Symbol = "?"
		return q, errors.New("the quote has no symbol")
	}
	if q.Name == "" {
		q.Name = r.LongName.string()
	}
	q.Price, q.Time, err = trade("regularMarket", r.RegularPrice, r.RegularTime)
	if err != nil && !errors.Is(err, errAbsent) {
		return q, err
	}
	regular := err == nil
	q.VolumeTime = q.Time
	if verr := r.volumes(&q, regular); verr != nil {
		return q, verr
	}
	// What follows is for showing: where it can't be read it is not known.
	if p, err := r.RegularPreviousClose.price(); err == nil {
		q.PreviousClose = p
	}
	q.UTCOffset, q.PriceHint = offset(r.UTCOffset, time.Millisecond), priceHint(r.PriceHint)
	if v, err := r.DelayedBy.int(); err == nil && v > 0 && v < 10_000 {
		q.Delay = time.Duration(v) * time.Minute
	}

	session, state, price, at := "postMarket", tick.MarketPost, r.PostPrice, r.PostTime
	switch q.MarketState {
	case tick.MarketPre:
		session, state, price, at = "preMarket", tick.MarketPre, r.PrePrice, r.PreTime
	case tick.MarketPost, tick.MarketClosed:
	default:
		return q, err
	}
	// The regular session's last trade stays the latest until the extended session
	// has one of its own. A price of 0 says that there is none.
	if zero, zerr := price.price(); price.kind == absent || at.kind == absent || zerr == nil && zero == 0 {
		return q, err
	}
	p, t, xerr := trade(session, price, at)
	if xerr != nil {
		return q, xerr
	}
	if regular && t <= q.Time {
		return q, nil
	}
	if regular {
		before := q
		before.MarketState = tick.MarketRegular
		q.Regular = &before
		if state == tick.MarketPre {
			// Before the opening the session before is the one that Yahoo still calls
			// the regular one.
			q.PreviousClose = q.Price
		}
	}
	q.Price, q.Time, q.MarketState = p, t, state
	return q, nil
}

// volumes reads the volume of the regular session; without a trade in that there
// is none to tell.
func (r *rawQuote) volumes(q *Quote, regular bool) error {
	v, err := r.RegularVolume.int()
	switch {
	case errors.Is(err, errAbsent):
		return nil
	case err != nil:
		return fmt.Errorf("regularMarketVolume %w", err)
	case v < 0:
		return fmt.Errorf("regularMarketVolume is negative: %d", v)
	case !regular:
		return nil
	}
	q.Volume, q.HasVolume = v, true
	if day, err := r.Volume24Hr.int(); err == nil {
		q.VolumeRolling = day == v
	}
	return nil
}

// offset reads a distance from UTC; 0 where there is none within a day.
func offset(s scalar, unit time.Duration) time.Duration {
	day := int64(24 * time.Hour / unit)
	if v, err := s.int(); err == nil && v > -day && v < day {
		return time.Duration(v) * unit
	}
	return 0
}

// priceHint reads the number of decimals to show, which is mostly 2.
func priceHint(s scalar) int {
	if v, err := s.int(); err == nil && v >= 0 && v <= tick.Decimals {
		return int(v)
	}
	return 2
}

// maxSeconds is about the year 2200: what is larger is not in seconds.
const maxSeconds = 7_258_118_400

// trade reads the price and the time of a trade. The error says which field is wrong.
func trade(session string, price, at scalar) (p tick.Price, ms int64, err error) {
	p, err = price.price()
	if err != nil {
		return 0, 0, fmt.Errorf("%sPrice %w", session, err)
	}
	if p == 0 {
		return 0, 0, fmt.Errorf("%sPrice is 0", session)
	}
	s, err := at.int()
	if err != nil {
		return 0, 0, fmt.Errorf("%sTime %w", session, err)
	}
	if s <= 0 || s > maxSeconds {
		return 0, 0, fmt.Errorf("%sTime is not in seconds since 1970: %d", session, s)
	}
	return p, s * 1000, nil
}

func (e *apiError) asError(call string) *Error {
	out := &Error{Kind: BadAnswer, Call: call, Code: clip(e.Code.string()), Description: clip(e.Description.string())}
	switch strings.ToLower(out.Code) {
	case "not found":
		out.Kind = NotFound
	case "unauthorized":
		out.Kind = Unauthorized
	case "bad request", "unprocessable entity", "argument-error", "invalid input":
		out.Kind = BadRequest
	case "too many requests":
		out.Kind = RateLimited
	}
	return out
}

// errBroken is the root of a BadAnswer whose body can't be read to its end, and
// errTruncated of one that ended too early.
var (
	errBroken    = errors.New("the body can't be read")
	errTruncated = fmt.Errorf("%w: it is truncated", errBroken)
)

func (e *Error) truncated() bool { return errors.Is(e.Err, errBroken) }

// errNoJSON is the root of a BadAnswer that is no JSON at all.
var errNoJSON = errors.New("the body is not JSON")

func badJSON(call string, err error) *Error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) && syntax.Error() == "unexpected end of JSON input":
		err = errTruncated
	case syntax != nil:
		err = fmt.Errorf("%w: %w", errNoJSON, err)
	default:
		err = fmt.Errorf("the body is not the JSON that was expected: %w", err)
	}
	return &Error{Kind: BadAnswer, Call: call, Err: err}
}

// clip bounds text of others that is shown, and keeps it on one line.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const limit = 200
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
