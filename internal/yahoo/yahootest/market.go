// Package yahootest is a stand-in for Yahoo Finance: a server that speaks its
// REST interface over a market that it makes up. Tests use it and know the truth
// afterwards; `make run` uses it where Yahoo can't be reached.
//
// The market is a function of its seed and of time: what has traded between two
// moments can be asked at any later one and is always the same. It keeps no
// state but caches. Every answer of the server says that it is simulated
// (yahoo.SimulatedHeader).
package yahootest

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo/hours"
)

// State is Yahoo's marketState.
type State = hours.State

// The states of a market.
const (
	PrePre   = hours.PrePre
	Pre      = hours.Pre
	Regular  = hours.Regular
	Post     = hours.Post
	PostPost = hours.PostPost
	Closed   = hours.Closed
)

// Hours says when the market is open.
type Hours int

// The hours to choose from.
const (
	// AlwaysOpen is the default: every exchange trades around the clock, and its
	// day ends at its local midnight. So there is something to see at night.
	AlwaysOpen Hours = iota
	// ExchangeHours keeps to those of the real exchanges (package hours): extended
	// sessions, weekends, holidays and half days, by local time.
	ExchangeHours
)

// Options describes a market. The zero value is twenty symbols in real time.
type Options struct {
	Seed uint64
	// Symbols is how many there are; 0 means 20.
	Symbols int
	// Speed is how many times faster than the clock on the wall the market's
	// runs; 0 means 1.
	Speed float64
	// Start is where the market's clock begins; zero means now.
	Start time.Time
	Hours Hours
	// Clock is the clock on the wall; nil means time.Now.
	Clock func() time.Time
}

// Market is a made-up market. It is safe for concurrent use.
type Market struct {
	opts  Options
	wall  time.Time // when the market's clock began
	mood  *walk     // what all symbols share
	names []string
	all   map[string]*series
}

// Trade is one trade of the market.
type Trade struct {
	// Time is in milliseconds since the Unix epoch.
	Time  int64
	Price tick.Price
	Size  int64
	// Extended: it belongs to the pre- or post-market, and its size does not
	// count to the day's volume.
	Extended bool
}

// series is one symbol with caches of what was last computed of it.
type series struct {
	Instrument
	market *Market
	own    *walk
	busy   wave

	mu      sync.Mutex
	minutes [2]minute
	day     day
	shut    closing
}

// minute holds the trades of one minute.
type minute struct {
	start  int64
	trades []Trade
}

// day holds the volume traded before each minute of one local day.
type day struct {
	start, end int64
	before     []int64
}

// NewMarket makes a market.
func NewMarket(o Options) *Market {
	if o.Symbols <= 0 {
		o.Symbols = len(wellKnown())
	}
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	// Without the monotonic reading, which stands still while a laptop sleeps.
	m := &Market{opts: o, wall: o.Clock().Round(0), mood: newWalk(hash(o.Seed, 4)), all: map[string]*series{}}
	if m.opts.Start.IsZero() {
		m.opts.Start = m.wall
	}
	for _, in := range instruments(o.Seed, o.Symbols) {
		m.names = append(m.names, in.Symbol)
		m.all[in.Symbol] = &series{Instrument: in, market: m, own: newWalk(in.seed), busy: newWave(hash(in.seed, 5), 900_000)}
	}
	return m
}

// Now is the market's time.
func (m *Market) Now() time.Time {
	passed := m.opts.Clock().Sub(m.wall)
	return m.opts.Start.Add(time.Duration(float64(passed) * m.opts.Speed))
}

// Symbols lists the symbols, the well-known ones first.
func (m *Market) Symbols() []string { return slices.Clone(m.names) }

// Instrument describes a symbol; ok is false where there is none of that name.
func (m *Market) Instrument(symbol string) (in Instrument, ok bool) {
	s, ok := m.all[symbol]
	if !ok {
		return in, false
	}
	return s.Instrument, true
}

// TradesBetween returns the trades of a symbol with from ≤ time < to, in order.
func (m *Market) TradesBetween(symbol string, from, to time.Time) []Trade {
	s, ok := m.all[symbol]
	if !ok {
		return nil
	}
	var out []Trade
	lo, hi := from.UnixMilli(), to.UnixMilli()
	for start := floorDiv(lo, minuteMs) * minuteMs; start < hi; start += minuteMs {
		for _, t := range s.trades(start) {
			if t.Time >= lo && t.Time < hi {
				out = append(out, t)
			}
		}
	}
	return out
}

// LastTrade returns the last trade at or before t. It looks back ten days; ok is
// false where there was none.
func (m *Market) LastTrade(symbol string, t time.Time) (last Trade, ok bool) {
	s, found := m.all[symbol]
	if !found {
		return last, false
	}
	return s.last(t.UnixMilli())
}

// DayVolume returns what the symbol has traded in regular sessions of its local
// day up to and including t.
func (m *Market) DayVolume(symbol string, t time.Time) int64 {
	s, ok := m.all[symbol]
	if !ok {
		return 0
	}
	return s.volume(t.UnixMilli())
}

// StateAt returns in which state the symbol's exchange is at t.
func (m *Market) StateAt(symbol string, t time.Time) State {
	s, ok := m.all[symbol]
	if !ok {
		return Closed
	}
	return s.state(t.UnixMilli())
}

const minuteMs = 60_000

func (s *series) state(t int64) State {
	if s.market.opts.Hours == AlwaysOpen {
		return Regular
	}
	return s.calendar.At(time.UnixMilli(t))
}

// activity is how busy the minute is, about 1 on average while it is open.
func (s *series) activity(start int64, state State) float64 {
	a := math.Exp(0.4*s.busy.at(start) + 0.25*normal(hash(s.seed, 6, uint64(start))) - 0.085)
	switch state {
	case Regular:
	case Pre, Post:
		return 0.05 * a
	default:
		return 0
	}
	if open, shut := s.calendar.Session(); s.market.opts.Hours == ExchangeHours && shut-open < 24*60 {
		// Busy after the opening and before the close.
		local := time.UnixMilli(start).In(s.zone)
		x := float64(local.Hour()*60+local.Minute()-open)/float64(shut-open)*2 - 1
		a *= 0.6 + 1.2*x*x
	}
	return a
}

// plan says how many trades the minute has, and how much they trade together.
func (s *series) plan(start int64) (n int, volume int64, state State) {
	state = s.state(start)
	a := s.activity(start, state)
	if a == 0 {
		return 0, 0, state
	}
	expected := s.rate * 60 * a
	h := hash(s.seed, 7, uint64(start))
	if expected > 12 {
		n = max(0, int(expected+math.Sqrt(expected)*normal(h)))
	} else {
		n = int(expected + uniform(h))
	}
	if n == 0 || s.dayVolume == 0 {
		return n, 0, state
	}
	open := 24 * 60
	if s.market.opts.Hours == ExchangeHours {
		from, to := s.calendar.Session()
		open = to - from
	}
	spread := math.Exp(0.3*normal(hash(s.seed, 8, uint64(start))) - 0.045)
	volume = int64(s.dayVolume / float64(open) * a * spread)
	return n, max(volume, int64(n)), state
}

// trades returns the trades of the minute that begins at start. The caller must
// not change them.
func (s *series) trades(start int64) []Trade {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.minutes {
		if c := &s.minutes[i]; c.start == start && c.trades != nil {
			return c.trades
		}
	}
	slot := &s.minutes[floorDiv(start, minuteMs)&1]
	*slot = minute{start, s.makeTrades(start)}
	return slot.trades
}

func (s *series) makeTrades(start int64) []Trade {
	n, volume, state := s.plan(start)
	out := make([]Trade, n)
	if n == 0 {
		return out
	}
	for i := range out {
		out[i].Time = start + int64(hash(s.seed, 9, uint64(start), uint64(i))%minuteMs)
	}
	slices.SortFunc(out, func(a, b Trade) int { return cmp.Compare(a.Time, b.Time) })
	// Many small trades and a few large ones share the minute's volume.
	weights, sum := make([]float64, n), 0.0
	for i := range weights {
		weights[i] = math.Pow(uniform(hash(s.seed, 10, uint64(start), uint64(i)))+1e-9, 4)
		sum += weights[i]
	}
	left, largest := volume, 0
	for i := range out {
		t := &out[i]
		t.Extended = state != Regular
		t.Price = s.price(t.Time, hash(s.seed, 11, uint64(start), uint64(i)))
		if volume == 0 {
			continue
		}
		t.Size = 1 + int64(float64(volume-int64(n))*weights[i]/sum)
		left -= t.Size
		if weights[i] > weights[largest] {
			largest = i
		}
	}
	out[largest].Size += left
	return out
}

// price is that of a trade at time t, at the bid or the ask by the hash h.
func (s *series) price(t int64, h uint64) tick.Price {
	p := s.mid(t)
	if s.Type != "INDEX" {
		half := max(0.5*math.Pow10(-s.Decimals), p*0.00002)
		if h&1 == 0 {
			half = -half
		}
		p += half
	}
	unit := math.Pow10(s.Decimals)
	step := int64(tick.Unit) / int64(unit)
	return tick.Price(max(1, int64(math.Round(p*unit))) * step)
}

// mid is the price that buyers and sellers are about at time t.
func (s *series) mid(t int64) float64 {
	moves := s.beta * marketVolatility * s.market.mood.at(t)
	if own := s.volatility*s.volatility - s.beta*s.beta*marketVolatility*marketVolatility; own > 0 {
		moves += math.Sqrt(own) * s.own.at(t)
	}
	return s.base * math.Exp(moves)
}

// dayOf returns the local day that t is in, by milliseconds since the Unix epoch.
func (s *series) dayOf(t int64) (start, end int64) {
	y, m, d := time.UnixMilli(t).In(s.zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, s.zone).UnixMilli(), time.Date(y, m, d+1, 0, 0, 0, 0, s.zone).UnixMilli()
}

// volume is the regular volume of t's day up to and including t.
func (s *series) volume(t int64) int64 {
	s.mu.Lock()
	if t < s.day.start || t >= s.day.end {
		d := day{}
		d.start, d.end = s.dayOf(t)
		sum := int64(0)
		for start := d.start; start < d.end; start += minuteMs {
			d.before = append(d.before, sum)
			if _, v, state := s.plan(start); state == Regular {
				sum += v
			}
		}
		s.day = d
	}
	start := floorDiv(t, minuteMs) * minuteMs
	sum := s.day.before[(start-s.day.start)/minuteMs]
	s.mu.Unlock()
	for _, tr := range s.trades(start) {
		if tr.Time <= t && !tr.Extended {
			sum += tr.Size
		}
	}
	return sum
}

// closing is the last regular price before a day.
type closing struct {
	day   int64
	price tick.Price
}

// previousClose is the last regular price before the day of t, or tick.Unknown.
func (s *series) previousClose(t int64) tick.Price {
	start, _ := s.dayOf(t)
	s.mu.Lock()
	known := s.shut
	s.mu.Unlock()
	if known.day == start {
		return known.price
	}
	known = closing{day: start, price: tick.Unknown}
	if t, ok := s.last(start-1, Regular); ok {
		known.price = t.Price
	}
	s.mu.Lock()
	s.shut = known
	s.mu.Unlock()
	return known.price
}

const lookBack = 10 * 24 * 60 // minutes

// last finds the last trade at or before t that was made while the exchange was
// in one of the states; without any, it may have been in all.
func (s *series) last(t int64, states ...State) (Trade, bool) {
	first := floorDiv(t, minuteMs) * minuteMs
	for i := range int64(lookBack) {
		start := first - i*minuteMs
		if state := s.state(start); len(states) > 0 && !slices.Contains(states, state) {
			continue
		}
		if n, _, _ := s.plan(start); n == 0 {
			continue
		}
		trades := s.trades(start)
		if j := sort.Search(len(trades), func(k int) bool { return trades[k].Time > t }) - 1; j >= 0 {
			return trades[j], true
		}
	}
	return Trade{}, false
}

// Snapshot is what Yahoo would say of a symbol at one moment.
type Snapshot struct {
	Instrument    Instrument
	State         State
	Regular       Trade
	Extended      *Trade // of the pre- or post-market under way or last ended, where one traded
	DayVolume     int64
	PreviousClose tick.Price
	Offset        time.Duration // of the exchange from UTC
	Zone          string        // its abbreviation
}

// At returns what Yahoo would say of a symbol at t. ok is false where there is no
// such symbol or it has not traded.
func (m *Market) At(symbol string, t time.Time) (snap Snapshot, ok bool) {
	s, ok := m.all[symbol]
	if !ok {
		return snap, false
	}
	ms := t.UnixMilli()
	snap = Snapshot{Instrument: s.Instrument, State: s.state(ms)}
	if snap.Regular, ok = s.last(ms, Regular); !ok {
		return snap, false
	}
	zone, offset := t.In(s.zone).Zone()
	snap.Zone, snap.Offset = zone, time.Duration(offset)*time.Second
	snap.DayVolume = s.volume(snap.Regular.Time)
	snap.PreviousClose = s.previousClose(snap.Regular.Time)
	if snap.State != Regular && s.calendar.Extends() {
		if x, ok := s.last(ms, Pre, Post); ok && x.Time > snap.Regular.Time {
			snap.Extended = &x
		}
	}
	return snap, true
}
