package stream

import (
	"errors"
	"fmt"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/stream/streampb"
)

// Yahoo's quote types, as far as they matter here.
const (
	typeHeartbeat = 7
	typeFuture    = 18
	typeCurrency  = 14
	typeCrypto    = 41
)

// types are the names that Yahoo's REST interface gives to quote types. Those of
// unknown ones are empty.
var types = map[int32]string{
	5: "ALTSYMBOL", 8: "EQUITY", 9: "INDEX", 11: "MUTUALFUND", 12: "MONEYMARKET", 13: "OPTION", typeCurrency: "CURRENCY",
	15: "WARRANT", 17: "BOND", typeFuture: "FUTURE", 20: "ETF", 23: "COMMODITY", 28: "ECNQUOTE", typeCrypto: "CRYPTOCURRENCY", 42: "INDICATOR",
}

// belowZero tells of which types a price can be negative: futures have been,
// and indices of yields are.
func belowZero(quoteType int32) bool {
	switch quoteType {
	case 9, 13, 17, typeFuture, 23, 42:
		return true
	}
	return false
}

// minTime is 1973: what is before it is no time in milliseconds.
const minTime = 100_000_000_000

// Quote makes of a message what a poll would have brought, so that both become
// ticks in one way. Prices are rounded by price_hint. What the message does not
// say is left empty: frames of shares carry no currency and no volume where it is
// 0. The error is an *Error. Heartbeats are no quotes: see Heartbeat.
func Quote(p *streampb.PricingData, source tick.Source) (yahoo.Quote, error) {
	fail := func(reason Reason, err error) (yahoo.Quote, error) {
		return yahoo.Quote{}, &Error{Reason: reason, Symbol: p.Id, Err: err}
	}
	switch {
	case p.Id == "":
		return fail(BadTrade, errors.New("it has no symbol"))
	case p.Time < minTime:
		return fail(BadTrade, fmt.Errorf("its time is no time in milliseconds: %d", p.Time))
	case p.DayVolume < 0:
		return fail(BadTrade, fmt.Errorf("its volume is below 0: %d", p.DayVolume))
	}
	price, err := fixed(p.Price, p.PriceHint)
	switch {
	case err != nil:
		return fail(BadPrice, err)
	case price == 0:
		return fail(BadPrice, fmt.Errorf("%w: it is 0", tick.ErrPrice))
	case price < 0 && !belowZero(p.QuoteType):
		return fail(BadPrice, fmt.Errorf("%w: %s is below 0", tick.ErrPrice, price))
	}
	session := state(p)
	q := yahoo.Quote{
		Symbol: p.Id, Name: p.ShortName, Type: types[p.QuoteType],
		Price: price, Time: p.Time, MarketState: session,
		// Before the opening a volume of 0 is one, and looks like none.
		Volume: p.DayVolume, HasVolume: p.DayVolume > 0 || session == tick.MarketPre, VolumeTime: p.Time,
		VolumeRolling: p.QuoteType == typeCrypto && p.DayVolume > 0 && p.DayVolume == p.Vol_24Hr,
		Currency:      p.Currency, Exchange: p.Exchange, UTCOffset: offset(p.Exchange, p.Time),
		PriceHint: int(min(max(p.PriceHint, 0), tick.Decimals)), Source: source,
	}
	// Which close the change is from is known for the regular session and before
	// it; after it, it may be the day's own.
	if close, err := fixed(p.PreviousClose, p.PriceHint); err == nil && p.PreviousClose != 0 {
		q.PreviousClose = close
	} else if change, err := fixed(p.Change, p.PriceHint); err == nil && p.Change != 0 && (q.MarketState == tick.MarketRegular || q.MarketState == tick.MarketPre) {
		if close := price - change; (close < price) == (change > 0) { // it did not wrap round
			q.PreviousClose = close
		}
	}
	return q, nil
}

// Heartbeat tells whether the message is one, which says no more than that the
// connection lives.
func Heartbeat(p *streampb.PricingData) bool { return p.QuoteType == typeHeartbeat }

// state reads market_hours. On the wire 0 is the same as nothing, so it means the
// pre-market only of what has one.
func state(p *streampb.PricingData) tick.MarketState {
	switch p.MarketHours {
	case 1:
		return tick.MarketRegular
	case 2:
		return tick.MarketPost
	case 3: // extended, before or after
		local := time.UnixMilli(p.Time).UTC().Add(offset(p.Exchange, p.Time))
		if local.Hour() < 12 {
			return tick.MarketPre
		}
		return tick.MarketPost
	case 0:
		switch p.QuoteType {
		case 8, 15, 20:
			return tick.MarketPre
		case typeCurrency, typeCrypto:
			return tick.MarketRegular
		}
	}
	return tick.MarketUnknown
}

const day = 24 * time.Hour

// offset is the distance of the exchange's day from that of UTC.
func offset(exchange string, at int64) time.Duration {
	start, _ := window.Day(exchange, at)
	behind := time.Duration(start) * time.Millisecond % day
	if behind > day/2 {
		return day - behind
	}
	return -behind
}
