// Package tick holds the one thing that flows through Ticktape: a tick, which
// is one trade of one symbol, its exact price, and its two wire forms.
//
// It is not for windows (package window) nor for how ticks travel (package bus).
package tick

import (
	"errors"
	"fmt"
	"math"

	"ticktape/internal/tick/tickpb"
)

// MarketState says in which part of its exchange's day a trade happened.
type MarketState int32

// The states of a market; the numbers are those of the wire form.
const (
	MarketUnknown MarketState = iota
	MarketPre
	MarketRegular
	MarketPost
	MarketClosed
)

var marketNames = [...]string{"UNKNOWN", "PRE", "REGULAR", "POST", "CLOSED"}

// String is the state's name as Yahoo writes it: "REGULAR".
func (m MarketState) String() string {
	if m < 0 || int(m) >= len(marketNames) {
		return marketNames[MarketUnknown]
	}
	return marketNames[m]
}

// ParseMarketState reads Yahoo's names, PREPRE and POSTPOST included, which are
// times of a closed market. An unknown name is MarketUnknown.
func ParseMarketState(s string) MarketState {
	switch s {
	case "PREPRE", "POSTPOST":
		return MarketClosed
	}
	for i, name := range marketNames {
		if s == name {
			return MarketState(i)
		}
	}
	return MarketUnknown
}

// Source says who told us of a trade.
type Source int32

// The sources; the numbers are those of the wire form.
const (
	SourceUnknown Source = iota
	SourceYahoo
	SourceYahooStream
	SourceSimulated
	// The sources of candles that come from a chart rather than from ticks; no tick
	// has them, and their numbers are on no wire.
	SourceYahooChart
	SourceSimulatedChart
)

var sourceNames = [...]string{"unknown", "yahoo", "yahoo-stream", "simulated", "yahoo-chart", "simulated-chart"}

// String is the source's name: "yahoo", "yahoo-stream", "simulated".
func (s Source) String() string {
	if s < 0 || int(s) >= len(sourceNames) {
		return sourceNames[SourceUnknown]
	}
	return sourceNames[s]
}

// With is the source of what comes from two: SourceYahoo or SourceSimulated where
// both are of Yahoo or both are simulated, else SourceUnknown.
func (s Source) With(o Source) Source {
	simulated := func(s Source) bool { return s == SourceSimulated || s == SourceSimulatedChart }
	switch {
	case s == o:
		return s
	case s == SourceUnknown || o == SourceUnknown || simulated(s) != simulated(o):
		return SourceUnknown
	case simulated(s):
		return SourceSimulated
	}
	return SourceYahoo
}

// Chart tells whether the source is one of candles that come from a chart.
func (s Source) Chart() bool { return s == SourceYahooChart || s == SourceSimulatedChart }

// ParseSource reads what String writes; another name is SourceUnknown.
func ParseSource(name string) Source {
	for i, n := range sourceNames {
		if n == name {
			return Source(i)
		}
	}
	return SourceUnknown
}

// Unknown stands in Tick.DayVolume and Tick.PreviousClose where the source did
// not say. A symbol without volume (an index, a currency pair) has none to say.
const Unknown = 0

// Tick is one trade of one symbol, or one observation of its latest trade.
// All times are milliseconds since the Unix epoch.
type Tick struct {
	Symbol string
	// EventTime is the time of the trade.
	EventTime int64
	Price     Price
	// Size is the volume since the symbol's previous tick of the same source, in
	// the exchange's unit (shares, contracts).
	Size int64
	// Seq tells trades of one millisecond apart.
	Seq int64
	// DayVolume is the exchange day's cumulative volume, or Unknown.
	DayVolume int64
	// PreviousClose is the close of the session before, or Unknown.
	PreviousClose Price
	Currency      string
	Exchange      string
	MarketState   MarketState
	Source        Source
	// ReceivedTime is when Ticktape got the tick, or 0.
	ReceivedTime int64
}

// ID names a trade: two ticks with the same ID are the same trade, published
// twice.
type ID struct {
	Source    Source
	Symbol    string
	EventTime int64
	Seq       int64
}

// ID returns the identity of the tick's trade.
func (t *Tick) ID() ID {
	return ID{t.Source, t.Symbol, t.EventTime, t.Seq}
}

// ErrTick is the root of the errors of Validate and of the decoders.
var ErrTick = errors.New("not a tick")

const (
	maxSymbol = 64
	maxText   = 16
	// Times from 1973 to 2199; anything else is a unit mistaken, which is worth
	// refusing: it would make a window nobody ever looks at. As milliseconds, every
	// time that somebody gives in seconds is before 1973.
	minTime = 100_000_000_000
	maxTime = 7_258_118_400_000
	// maxSize is above any real trade, also of coins that count in small money, and
	// so that no sum of a window can wrap before it has thousands of ticks at the
	// bound: volumes have 63 bits, sums of prices 95 in their counters, turnovers 127.
	maxSize = 1_000_000_000_000_000
)

// Validate reports, as an error that wraps ErrTick, why a tick can't be counted:
// an empty or overlong symbol, text with characters that no symbol, currency or
// exchange has, a time or a size out of range, or a price of zero,
// which is what sources send when they have none. Negative prices are real
// (futures, spreads) and pass. Whatever passes can be stored.
func (t *Tick) Validate() error {
	if t.Symbol == "" || len(t.Symbol) > maxSymbol {
		return fmt.Errorf("%w: symbol %.70q must have 1 to %d bytes", ErrTick, t.Symbol, maxSymbol)
	}
	for i := 0; i < len(t.Symbol); i++ {
		if c := t.Symbol[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == '\\' {
			return fmt.Errorf("%w: symbol %.70q has a character that no symbol has", ErrTick, t.Symbol)
		}
	}
	if t.EventTime < minTime || t.EventTime > maxTime {
		return fmt.Errorf("%w: event time %d is not in milliseconds since 1970", ErrTick, t.EventTime)
	}
	if t.ReceivedTime != 0 && (t.ReceivedTime < minTime || t.ReceivedTime > maxTime) {
		return fmt.Errorf("%w: received time %d is not in milliseconds since 1970", ErrTick, t.ReceivedTime)
	}
	if t.Price == 0 {
		return fmt.Errorf("%w: no price", ErrTick)
	}
	// The smallest int64 has no negative, which windows need, and no decimal text
	// that reads back.
	if t.Price == math.MinInt64 || t.PreviousClose == math.MinInt64 {
		return fmt.Errorf("%w: price %s is out of range", ErrTick, min(t.Price, t.PreviousClose))
	}
	if t.Size < 0 || t.Size > maxSize {
		return fmt.Errorf("%w: size %d is out of range", ErrTick, t.Size)
	}
	if t.DayVolume < 0 {
		return fmt.Errorf("%w: day volume %d is out of range", ErrTick, t.DayVolume)
	}
	if !short(t.Currency) || !short(t.Exchange) {
		return fmt.Errorf("%w: currency %.20q and exchange %.20q must have at most %d letters, digits or signs", ErrTick, t.Currency, t.Exchange, maxText)
	}
	return nil
}

// short tells whether s is short printable ASCII.
func short(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) <= maxText
}

func (t *Tick) toProto(m *tickpb.Tick) {
	*m = tickpb.Tick{
		Symbol: t.Symbol, EventTime: t.EventTime, Price: int64(t.Price), Size: t.Size, Seq: t.Seq,
		Currency: t.Currency, Exchange: t.Exchange,
		MarketState: tickpb.MarketState(t.MarketState), Source: tickpb.Source(t.Source),
		ReceivedTime: t.ReceivedTime, DayVolume: t.DayVolume, PreviousClose: int64(t.PreviousClose),
	}
}
