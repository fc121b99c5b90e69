// Package feedtest is a small market for the dashboard's tests: what the process
// function would publish of it, and what the candles function would answer.
package feedtest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

// Symbol is one symbol of the market.
type Symbol struct {
	// Name is what it is called on the exchange, as in AAPL.
	Name, Currency, Exchange string
	Start                    float64 // its price, about
	Decimals                 int
	State                    tick.MarketState
	NoVolume                 bool
}

// Symbols are shares, an ETF, an index, a currency pair, a future and a crypto pair.
var Symbols = []Symbol{
	{"AAPL", "USD", "NMS", 231.4, 2, tick.MarketRegular, false},
	{"AMD", "USD", "NMS", 158.1, 2, tick.MarketRegular, false},
	{"AMZN", "USD", "NMS", 223.9, 2, tick.MarketRegular, false},
	{"BRK-B", "USD", "NYQ", 489.2, 2, tick.MarketRegular, false},
	{"BTC-USD", "USD", "CCC", 104_318.55, 2, tick.MarketRegular, false},
	{"COST", "USD", "NMS", 981.7, 2, tick.MarketRegular, false},
	{"DIS", "USD", "NYQ", 112.6, 2, tick.MarketRegular, false},
	{"EURUSD=X", "USD", "CCY", 1.08231, 5, tick.MarketRegular, true},
	{"GC=F", "USD", "CMX", 2714.4, 1, tick.MarketRegular, false},
	{"GOOGL", "USD", "NMS", 176.3, 2, tick.MarketRegular, false},
	{"JPM", "USD", "NYQ", 244.7, 2, tick.MarketRegular, false},
	{"KO", "USD", "NYQ", 62.8, 2, tick.MarketRegular, false},
	{"META", "USD", "NMS", 612.5, 2, tick.MarketRegular, false},
	{"MSFT", "USD", "NMS", 428.8, 2, tick.MarketRegular, false},
	{"NFLX", "USD", "NMS", 897.1, 2, tick.MarketRegular, false},
	{"NVDA", "USD", "NMS", 141.9, 2, tick.MarketRegular, false},
	{"SPY", "USD", "PCX", 598.3, 2, tick.MarketRegular, false},
	{"TSLA", "USD", "NMS", 352.6, 2, tick.MarketRegular, false},
	{"XOM", "USD", "NYQ", 121.4, 2, tick.MarketPost, false},
	{"^GSPC", "USD", "SNP", 5987.4, 2, tick.MarketRegular, true},
}

// Many returns n symbols with made-up names.
func Many(n int) []Symbol {
	list := make([]Symbol, n)
	for i := range list {
		list[i] = Symbol{fmt.Sprintf("S%04d", i), "USD", "NMS", 20 + float64(i%400), 2, tick.MarketRegular, false}
	}
	return list
}

// Market makes trades of its symbols. It is safe for concurrent use.
type Market struct {
	Source tick.Source
	Log    int32
	// Delay is how far trades lie behind the time at which they come in, and State,
	// where it is not unknown, is that of all exchanges. They may be changed while
	// nothing else is called.
	Delay time.Duration
	State tick.MarketState

	mu      sync.Mutex
	rnd     *rand.Rand
	symbols []*state
	offset  int64
}

type state struct {
	Symbol
	price, previous tick.Price
	drift           float64
	dayVolume       int64
	windows         map[int64]*window.State
	versions        map[int64]int64
	rests           bool // does not trade
}

// New makes a market that is the same for the same seed.
func New(seed uint64, symbols []Symbol) *Market {
	m := &Market{Source: tick.SourceSimulated, Log: 1 << 16, rnd: rand.New(rand.NewPCG(seed, 1))}
	for _, s := range symbols {
		m.list(s)
	}
	return m
}

// list has a symbol trade from here on.
func (m *Market) list(s Symbol) {
	st := &state{Symbol: s, windows: map[int64]*window.State{}, versions: map[int64]int64{}}
	st.price = st.round(s.Start)
	st.previous = st.round(s.Start * (1 + m.rnd.NormFloat64()*0.012))
	m.symbols = append(m.symbols, st)
}

func (s *state) round(price float64) tick.Price {
	step := math.Pow10(s.Decimals)
	return tick.Price(math.Round(price*step)) * tick.Price(math.Round(float64(tick.Unit)/step))
}

// trade makes one trade at that time and returns the window's update.
func (m *Market) trade(s *state, at time.Time) *windowpb.Update {
	s.drift = s.drift*0.98 + m.rnd.NormFloat64()*0.000003
	price := float64(s.price) / float64(tick.Unit) * (1 + s.drift + m.rnd.NormFloat64()*0.00018)
	s.price = s.round(price)
	var size int64
	if !s.NoVolume {
		size = int64(math.Exp(m.rnd.NormFloat64()*1.1+4)) + 1
	}
	return m.add(s, at, s.price, size)
}

func (m *Market) add(s *state, at time.Time, price tick.Price, size int64) *windowpb.Update {
	ms := at.Add(-m.Delay).UnixMilli()
	start := window.Start(ms)
	w := s.windows[start]
	if w == nil {
		w = &window.State{}
		s.windows[start] = w
	}
	m.offset++
	w.Add(window.Point{EventTime: ms, Offset: m.offset, Price: int64(price)}, size)
	s.versions[start] = m.offset
	s.dayVolume += size
	u := Update(s.Name, start, m.Log, m.offset, *w)
	u.Latest = m.latest(s, ms, price)
	return u
}

func (m *Market) latest(s *state, ms int64, price tick.Price) *windowpb.Latest {
	volume, previous := s.dayVolume, int64(s.previous)
	if m.State != tick.MarketUnknown {
		s.State = m.State
	}
	l := &windowpb.Latest{
		EventTime: ms, ReceivedTime: time.Now().UnixMilli(), LogTime: time.Now().UnixMilli(),
		PreviousClose: &previous, Currency: s.Currency, Exchange: s.Exchange,
		MarketState: int32(s.State), Source: int32(m.Source), Price: int64(price),
	}
	if !s.NoVolume {
		l.DayVolume = &volume
	}
	return l
}

// Update makes the wire form of a window's state, without what the latest trade says.
func Update(symbol string, start int64, log int32, version int64, w window.State) *windowpb.Update {
	point := func(p window.Point) *windowpb.Point {
		return &windowpb.Point{EventTime: p.EventTime, Offset: p.Offset, Price: p.Price}
	}
	return &windowpb.Update{
		Symbol: symbol, Start: start, Length: window.Length, Log: log, Version: version,
		TickCount: w.Count, Volume: w.Volume,
		PriceSumHi: w.PriceSum.Hi, PriceSumLo: w.PriceSum.Lo, TurnoverHi: w.Turnover.Hi, TurnoverLo: w.Turnover.Lo,
		Open: point(w.Open), High: point(w.High), Low: point(w.Low), Close: point(w.Close),
	}
}

// Step makes n trades of symbols by chance, now.
func (m *Market) Step(n int) []*windowpb.Update {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.symbols) == 0 {
		return nil
	}
	updates := make([]*windowpb.Update, 0, n)
	for range n {
		if s := m.symbols[m.rnd.IntN(len(m.symbols))]; !s.rests {
			updates = append(updates, m.trade(s, time.Now()))
		}
	}
	return updates
}

// Past makes about perMinute trades of each symbol in each minute of the time
// before now, and returns the last update of each window.
func (m *Market) Past(length time.Duration, perMinute int) []*windowpb.Update {
	m.mu.Lock()
	defer m.mu.Unlock()
	var updates []*windowpb.Update
	now := time.Now()
	from := now.Add(-length).Truncate(time.Minute)
	for minute := from; minute.Before(now); minute = minute.Add(time.Minute) {
		for _, s := range m.symbols {
			var last *windowpb.Update
			for i := range perMinute {
				at := minute.Add(time.Duration(i) * time.Minute / time.Duration(perMinute))
				if at.Before(now) {
					last = m.trade(s, at)
				}
			}
			if last != nil {
				last.Latest.ReceivedTime = last.Latest.EventTime
				updates = append(updates, last)
			}
		}
	}
	return updates
}

// Offset is how many trades there have been.
func (m *Market) Offset() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.offset
}

// Window returns the true state of a window.
func (m *Market) Window(symbol string, start int64) window.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.symbols {
		if s.Name == symbol && s.windows[start] != nil {
			return *s.windows[start]
		}
	}
	return window.State{}
}

// Publish writes updates as process does.
func Publish(ctx context.Context, p *bus.Producer, updates []*windowpb.Update) error {
	messages := make([]kafka.Message, len(updates))
	for i, u := range updates {
		value, err := u.MarshalVT()
		if err != nil {
			return err
		}
		messages[i] = kafka.Message{Key: fmt.Appendf(nil, "%s|%d|%d", u.Symbol, u.Start, u.Log), Value: value}
	}
	return p.Publish(ctx, messages)
}
