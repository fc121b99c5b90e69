// Package board keeps what the dashboard shows: the latest quote and the recent
// windows of each symbol, in bounded memory. It is pure state without I/O or
// locks; package hub owns one and guards it.
//
// Updates may come in any order and any number of times: of the updates of one
// (symbol, window, log) the one with the highest version wins, and logs are
// added up, so a reader that has read everything twice shows the same.
package board

import (
	"errors"
	"fmt"
	"slices"

	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

// Limits bound the memory of a board, which is about 200 bytes a window.
type Limits struct {
	// Symbols is the number of symbols kept; updates of further ones are refused.
	Symbols int
	// Windows is how many windows all symbols share.
	Windows int
	// MinPerSymbol and MaxPerSymbol bound a symbol's share of them.
	MinPerSymbol, MaxPerSymbol int
}

// DefaultLimits are enough for a session's minutes of 600 symbols, and less
// history for more.
var DefaultLimits = Limits{Symbols: 10_000, Windows: 300_000, MinPerSymbol: 30, MaxPerSymbol: 480}

// Board is the state of all symbols.
type Board struct {
	limits  Limits
	symbols map[string]*Symbol
	sorted  []*Symbol
	list    map[string]Facts // the watch list, nil where it is not known
	listed  int64            // when the list was told
	ticks   int64
	windows int
}

// Symbol is the state of one symbol. Revisions are the hub's: the number of the
// flush at which something last changed.
type Symbol struct {
	Name    string
	Latest  Latest
	Day     Day
	Rev     uint64 // of anything
	InfoRev uint64 // of what rarely changes in Latest, and of Facts
	// PrevRev is what Rev was before: whoever has that lacks what changed at Rev.
	PrevRev uint64
	// Text is what the hub has written of that, nil after a change.
	Text []byte
	// ShownRev is when the symbol was last shown or hidden, 0 where it has been
	// shown from its first trade on.
	ShownRev uint64

	facts   Facts
	known   bool // Latest has been told
	hidden  bool
	mute    int64 // records logged up to then don't show it again; 0 where it was never taken off the list
	windows []Window
}

// Latest is what the newest trade said. Times are milliseconds since the Unix epoch.
type Latest struct {
	Price        tick.Price
	EventTime    int64
	ReceivedTime int64
	LogTime      int64
	// DayVolume and PreviousClose are nil where nobody has told.
	DayVolume *int64
	Info

	log int32
}

// Info is what rarely changes from trade to trade.
type Info struct {
	PreviousClose *tick.Price
	Currency      string
	Exchange      string
	MarketState   tick.MarketState
	Source        tick.Source
}

func (i Info) equal(o Info) bool {
	same := i.PreviousClose == o.PreviousClose ||
		i.PreviousClose != nil && o.PreviousClose != nil && *i.PreviousClose == *o.PreviousClose
	i.PreviousClose, o.PreviousClose = nil, nil
	return same && i == o
}

// Window is one window of one symbol.
type Window struct {
	Start int64 // milliseconds since the Unix epoch
	Rev   uint64

	// A symbol has its ticks in one log, but for partitions added and topics remade.
	// Parts are in the order of their logs, so that trades of one time and offset in
	// two logs are always added up the same way.
	first part
	more  []part
}

type part struct {
	log     int32
	version int64
	state   window.State
}

// State is the sum over the window's logs.
func (w *Window) State() window.State {
	s := w.first.state
	for i := range w.more {
		s.Merge(&w.more[i].state)
	}
	return s
}

// Change tells what an update did.
type Change struct {
	Symbol *Symbol
	// Changed is whether anything is different from before.
	Changed bool
	// Ticks is the number of ticks that came in with it.
	Ticks int64
}

// Errors of Apply.
var (
	ErrUpdate = errors.New("not a window update")
	ErrFull   = errors.New("too many symbols")
)

// New makes an empty board.
func New(l Limits) *Board {
	return &Board{limits: l, symbols: map[string]*Symbol{}}
}

// Apply takes an update in, and marks what it changes with rev. What can't be
// an update is an error that wraps ErrUpdate; a symbol beyond the limit one that
// wraps ErrFull. Nothing of u is kept.
func (b *Board) Apply(u *windowpb.Update, rev uint64) (Change, error) {
	if err := validate(u); err != nil {
		return Change{}, err
	}
	s, err := b.symbol(u.Symbol)
	if err != nil {
		return Change{}, err
	}
	c := Change{Symbol: s}
	if u.Latest != nil && b.applyLatest(s, u.Log, u.Latest, rev) {
		c.Changed = true
	}
	ticks, changed := b.applyWindow(s, u, rev)
	c.Ticks, c.Changed = ticks, c.Changed || changed
	if c.Changed {
		s.touch(rev)
	}
	b.ticks += c.Ticks
	return c, nil
}

// Quote is the latest trade of a symbol as the store knows it.
type Quote struct {
	Symbol string
	Latest *windowpb.Latest
}

// noLog is before all logs, so that whatever the topic tells of the same
// millisecond goes over a quote.
const noLog = -1

// ApplyQuote takes a latest trade in that no window tells of, because it is
// older than those that are live. Errors are those of Apply.
func (b *Board) ApplyQuote(q Quote, rev uint64) (Change, error) {
	probe := tick.Tick{
		Symbol: q.Symbol, EventTime: q.Latest.EventTime, Price: tick.Price(q.Latest.Price),
		Currency: q.Latest.Currency, Exchange: q.Latest.Exchange,
	}
	if err := probe.Validate(); err != nil {
		return Change{}, fmt.Errorf("%w: %w", ErrUpdate, err)
	}
	s, err := b.symbol(q.Symbol)
	if err != nil {
		return Change{}, err
	}
	c := Change{Symbol: s, Changed: b.applyLatest(s, noLog, q.Latest, rev)}
	if c.Changed {
		s.touch(rev)
	}
	return c, nil
}

// symbol returns the symbol's state, made where it is absent.
func (b *Board) symbol(name string) (*Symbol, error) {
	if s := b.symbols[name]; s != nil {
		return s, nil
	}
	if len(b.symbols) >= b.limits.Symbols {
		return nil, fmt.Errorf("%w: %s is beyond the %d that are shown", ErrFull, name, b.limits.Symbols)
	}
	s := &Symbol{Name: string([]byte(name)), facts: Facts{Delay: -1}}
	if facts, listed := b.list[name]; listed {
		s.facts = facts
	}
	b.symbols[s.Name] = s
	at, _ := slices.BinarySearchFunc(b.sorted, s, func(a, x *Symbol) int { return compare(a.Name, x.Name) })
	b.sorted = slices.Insert(b.sorted, at, s)
	return s, nil
}

// touch marks that something has changed.
func (s *Symbol) touch(rev uint64) {
	if s.Rev != rev {
		s.PrevRev, s.Rev = s.Rev, rev
	}
	s.Text = nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func validate(u *windowpb.Update) error {
	if u.Length != window.Length || u.Start != window.Start(u.Start) || u.Start < 0 {
		return fmt.Errorf("%w: window of %d ms from %d", ErrUpdate, u.Length, u.Start)
	}
	if u.TickCount <= 0 || u.Volume < 0 || u.Open == nil || u.High == nil || u.Low == nil || u.Close == nil {
		return fmt.Errorf("%w: window of %.70q lacks ticks or prices", ErrUpdate, u.Symbol)
	}
	probe := tick.Tick{Symbol: u.Symbol, EventTime: u.Start + 1, Price: tick.Price(u.Close.Price)}
	if l := u.Latest; l != nil {
		probe.EventTime, probe.Price, probe.Currency, probe.Exchange = l.EventTime, tick.Price(l.Price), l.Currency, l.Exchange
	}
	if err := probe.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrUpdate, err)
	}
	return nil
}

func (b *Board) applyWindow(s *Symbol, u *windowpb.Update, rev uint64) (ticks int64, changed bool) {
	// The newest windows are the ones that change.
	i := len(s.windows)
	for i > 0 && s.windows[i-1].Start > u.Start {
		i--
	}
	if i == 0 || s.windows[i-1].Start != u.Start {
		keep := b.perSymbol()
		if i == 0 && len(s.windows) >= keep {
			return 0, false // older than all that is kept
		}
		s.windows = slices.Insert(s.windows, i, Window{Start: u.Start, first: part{log: u.Log, version: -1}})
		b.windows++
		i++
		if drop := len(s.windows) - keep; drop > 0 {
			s.windows = slices.Delete(s.windows, 0, drop)
			b.windows -= drop
			i -= drop
		}
	}
	w := &s.windows[i-1]
	p := w.part(u.Log)
	if u.Version < p.version {
		return 0, false
	}
	before := w.State().Turnover
	state := window.State{
		Count: u.TickCount, Volume: u.Volume,
		PriceSum: window.Sum{Hi: u.PriceSumHi, Lo: u.PriceSumLo},
		Turnover: window.Sum{Hi: u.TurnoverHi, Lo: u.TurnoverLo},
		Open:     point(u.Open), High: point(u.High), Low: point(u.Low), Close: point(u.Close),
	}
	changed = p.state != state
	ticks = state.Count - p.state.Count
	p.version, p.state = u.Version, state
	if changed {
		w.Rev = rev
		whole := w.State()
		s.enter(u.Start)
		s.Day.add(u.Start, &whole, before)
	}
	return ticks, changed
}

// part returns the log's part of the window, made where it is absent.
func (w *Window) part(log int32) *part {
	switch {
	case w.first.log == log:
		return &w.first
	case log < w.first.log:
		w.more = slices.Insert(w.more, 0, w.first)
		w.first = part{log: log, version: -1}
		return &w.first
	}
	i, found := slices.BinarySearchFunc(w.more, log, func(p part, log int32) int { return int(p.log) - int(log) })
	if !found {
		w.more = slices.Insert(w.more, i, part{log: log, version: -1})
	}
	return &w.more[i]
}

func point(p *windowpb.Point) window.Point {
	return window.Point{EventTime: p.EventTime, Offset: p.Offset, Price: p.Price}
}

// perSymbol is the number of windows that a symbol may have.
func (b *Board) perSymbol() int {
	return min(max(b.limits.Windows/max(len(b.symbols), 1), b.limits.MinPerSymbol), b.limits.MaxPerSymbol)
}

// dayMillis is how long a day volume and a previous close are believed after
// the last trade that told them.
const dayMillis = 24 * 60 * 60 * 1000

func (b *Board) applyLatest(s *Symbol, log int32, l *windowpb.Latest, rev uint64) bool {
	old := s.Latest
	// Which of two trades of one millisecond is newer only their log knows, and
	// within a log updates come in its order.
	if s.known && (l.EventTime < old.EventTime || l.EventTime == old.EventTime && log < old.log) {
		return false
	}
	next := Latest{
		Price: tick.Price(l.Price), EventTime: l.EventTime, ReceivedTime: l.ReceivedTime, LogTime: l.LogTime,
		DayVolume: clone(l.DayVolume),
		Info: Info{
			PreviousClose: (*tick.Price)(clone(l.PreviousClose)),
			Currency:      string([]byte(l.Currency)), Exchange: string([]byte(l.Exchange)),
			MarketState: tick.MarketState(l.MarketState), Source: tick.Source(l.Source),
		},
		log: log,
	}
	// A stream does not repeat with each trade what its poll has told.
	if l.EventTime-old.EventTime < dayMillis {
		if next.DayVolume == nil {
			next.DayVolume = old.DayVolume
		}
		if next.PreviousClose == nil {
			next.PreviousClose = old.PreviousClose
		}
	}
	if s.known && next.EventTime == old.EventTime && next.Price == old.Price && next.Info.equal(old.Info) &&
		next.LogTime == old.LogTime {
		return false
	}
	first := !s.known
	if first || !next.Info.equal(old.Info) {
		s.InfoRev = rev
	}
	s.Latest, s.known = next, true
	s.enter(next.EventTime)
	if s.hidden || first {
		b.judge(s, rev)
	}
	return true
}

func clone(v *int64) *int64 {
	if v == nil {
		return nil
	}
	c := *v
	return &c
}

// Symbol returns the symbol's state, or nil where nothing has come of it.
func (b *Board) Symbol(name string) *Symbol { return b.symbols[name] }

// All returns the symbols in the order of their names. The slice is the board's own.
func (b *Board) All() []*Symbol { return b.sorted }

// Ticks is the number of ticks that have been counted into windows so far.
func (b *Board) Ticks() int64 { return b.ticks }

// Windows is the number of windows that are kept.
func (b *Board) Windows() int { return b.windows }

// Known reports whether a latest trade has been told.
func (s *Symbol) Known() bool { return s.known }

// Windows returns the windows in the order of their start. The slice is the board's own.
func (s *Symbol) Windows() []Window { return s.windows }

// Change returns how far the price is from the previous close, and that in
// percent with two decimals (rounded half to even), as exact decimal text;
// empty where it can't be told.
func (l *Latest) Change() (change, percent string) {
	if l.PreviousClose == nil {
		return "", ""
	}
	prev := *l.PreviousClose
	d := l.Price - prev
	// A difference that wraps has the sign that its operands exclude.
	if (l.Price >= prev) != (d >= 0) {
		return "", ""
	}
	return d.String(), Percent(int64(d), int64(prev))
}
