// Package window is the arithmetic of price windows: what one minute of one
// symbol's trades comes to. It is pure, without I/O, and exact: sums are
// integers wide enough for everything that validated ticks can add up to, and
// open and close are decided by event time and offset, never by the order in which
// records happen to be added. So any split, order or repetition of batches that
// a fence lets through gives the same windows.
package window

import "math/bits"

// Length is the length of a base window in milliseconds of event time. Every
// longer candle is summed from these.
const Length = 60_000

// Start returns the start of the window that the event time t (milliseconds
// since the Unix epoch, not negative) falls into.
func Start(t int64) int64 {
	return t - t%Length
}

// Sum is a signed 128-bit integer, Hi × 2^64 + Lo.
type Sum struct {
	Hi int64
	Lo uint64
}

// AddInt adds v.
func (s *Sum) AddInt(v int64) {
	s.Add(Sum{v >> 63, uint64(v)})
}

// AddProduct adds a × b, which is computed in full width.
func (s *Sum) AddProduct(a, b int64) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	// The product of the two's complement bit patterns is corrected to that of
	// the signed numbers (Warren, Hacker's Delight, 8-3).
	s.Add(Sum{int64(hi) - (a>>63)&b - (b>>63)&a, lo})
}

// Add adds o.
func (s *Sum) Add(o Sum) {
	var carry uint64
	s.Lo, carry = bits.Add64(s.Lo, o.Lo, 0)
	s.Hi += o.Hi + int64(carry)
}

// Sub subtracts o.
func (s *Sum) Sub(o Sum) {
	var borrow uint64
	s.Lo, borrow = bits.Sub64(s.Lo, o.Lo, 0)
	s.Hi -= o.Hi + int64(borrow)
}

// roomy is a quarter of what a counter can hold.
const roomy = 1 << 61

// fits says that the sum leaves most of a counter empty.
func (s Sum) fits() bool { return s.Hi == 0 && s.Lo < roomy }

// Parts splits the sum into the two numbers that go into a pair of counters,
// hi × 2^32 + lo, where 0 ≤ lo < 2^32. With lowOnly, for which see State.Fits, hi is
// 0 if the sum is below 2^61. ok is false where hi does not fit 64 bits. Adding up the
// parts of many sums, each part by itself, and joining them with FromParts gives the
// sum of the sums.
func (s Sum) Parts(lowOnly bool) (hi, lo int64, ok bool) {
	if lowOnly && s.fits() {
		return 0, int64(s.Lo), true
	}
	hi = s.Hi<<32 | int64(s.Lo>>32)
	lo = int64(s.Lo & 0xffffffff)
	return hi, lo, s.Hi == int64(int32(s.Hi))
}

// FromParts joins hi × 2^32 + lo, where lo is a sum of low parts (not negative).
func FromParts(hi, lo int64) Sum {
	s := Sum{hi >> 32, uint64(hi) << 32}
	s.AddInt(lo)
	return s
}

// Digits splits the sum into the three numbers that go into three counters,
// hi × 2^64 + mid × 2^32 + lo, where 0 ≤ mid, lo < 2^32. With lowOnly, hi and mid are
// 0 if the sum is below 2^61. Unlike the two of Parts, they hold every sum. They add
// up each by itself, as the two do.
func (s Sum) Digits(lowOnly bool) (hi, mid, lo int64) {
	if lowOnly && s.fits() {
		return 0, 0, int64(s.Lo)
	}
	return s.Hi, int64(s.Lo >> 32), int64(s.Lo & 0xffffffff)
}

// FromDigits joins hi × 2^64 + mid × 2^32 + lo, where mid and lo are sums of
// such digits (not negative).
func FromDigits(hi, mid, lo int64) Sum {
	s := FromParts(mid, lo)
	s.Hi += hi
	return s
}

// Point is a price, in units of 1e-8, with the place of the record that brought
// it: its event time in milliseconds since the Unix epoch and its offset in its
// log.
type Point struct {
	EventTime int64
	Offset    int64
	Price     int64
}

// before orders points by event time, then offset. Points of two logs may share
// both; their prices decide then, so that the order of merging never does.
func (p Point) before(o Point) bool {
	if p.EventTime != o.EventTime {
		return p.EventTime < o.EventTime
	}
	if p.Offset != o.Offset {
		return p.Offset < o.Offset
	}
	return p.Price < o.Price
}

// State is what the trades of one symbol in one window come to, as far as one
// log has fed it. The zero State has no trades.
type State struct {
	Count    int64
	Volume   int64
	PriceSum Sum // of prices
	Turnover Sum // of price × size

	Open, High, Low, Close Point
}

// Add adds one trade of the given size at p. It does what Merge would do with a
// State of that trade, several times as fast.
func (s *State) Add(p Point, size int64) {
	if s.Count == 0 {
		*s = State{Open: p, High: p, Low: p, Close: p}
	}
	s.Count++
	s.Volume += size
	s.PriceSum.AddInt(p.Price)
	s.Turnover.AddProduct(p.Price, size)
	if p.before(s.Open) {
		s.Open = p
	}
	if s.Close.before(p) {
		s.Close = p
	}
	if p.Price > s.High.Price || p.Price == s.High.Price && p.before(s.High) {
		s.High = p
	}
	if p.Price < s.Low.Price || p.Price == s.Low.Price && p.before(s.Low) {
		s.Low = p
	}
}

// Merge adds the trades that o stands for, none of which s has seen. The order
// of merging does not matter. Where prices are equal, high and low keep the
// earlier point.
func (s *State) Merge(o *State) {
	if o.Count == 0 {
		return
	}
	if s.Count == 0 {
		*s = *o
		return
	}
	s.Count += o.Count
	s.Volume += o.Volume
	s.PriceSum.Add(o.PriceSum)
	s.Turnover.Add(o.Turnover)
	if o.Open.before(s.Open) {
		s.Open = o.Open
	}
	if s.Close.before(o.Close) {
		s.Close = o.Close
	}
	if o.High.Price > s.High.Price || o.High.Price == s.High.Price && o.High.before(s.High) {
		s.High = o.High
	}
	if o.Low.Price < s.Low.Price || o.Low.Price == s.Low.Price && o.Low.before(s.Low) {
		s.Low = o.Low
	}
}

// Fits says that a counter of 64 bits has room for each sum of s three times over,
// and for what sums of some of its trades come to: none has a negative price. So the
// sums of trades that s is made of may go into their low counters whole.
func (s *State) Fits() bool {
	return s.Low.Price >= 0 && s.PriceSum.fits() && s.Turnover.fits()
}
