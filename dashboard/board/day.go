package board

import (
	"slices"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// Day is what the trades of a symbol come to on the exchange's local day of its
// latest trade. Its figures are summed from the windows that the topic still
// tells of and from those before, which FillDay brings.
type Day struct {
	// Start and End bound the day, in milliseconds since the Unix epoch.
	Start, End int64
	High, Low  tick.Price
	Turnover   window.Sum
	// From is the start of the first window that is in the figures of a day that
	// is not complete.
	From     int64
	Complete bool

	exchange string
	points   []Point
}

// Step is the distance of a day's points in milliseconds.
const Step = 5 * window.Length

// Point is the close of the trades in one step of a day.
type Point struct {
	// Step is how many steps after the day's start.
	Step  int
	Close tick.Price

	last int64 // start of the window that the close is of
}

// Points returns the points in the order of time. The slice is the board's own.
func (d *Day) Points() []Point { return d.points }

// Traded reports whether there is a trade in the figures.
func (d *Day) Traded() bool { return len(d.points) > 0 }

// enter makes the day of time t the symbol's, unless it has a later one.
func (s *Symbol) enter(t int64) {
	old, exchange := s.Day, s.Latest.Exchange
	if old.End != 0 && old.exchange == exchange && t < old.End {
		return
	}
	start, end := window.Day(exchange, t)
	s.Day = Day{Start: start, End: end, From: end, exchange: exchange}
	switch {
	case old.exchange != exchange:
		// Another exchange has other days: what is at hand is added up anew.
		for i := range s.windows {
			state := s.windows[i].State()
			s.Day.add(s.windows[i].Start, &state, window.Sum{})
		}
	case old.Traded():
		// Whoever has seen trades of the day before has seen this one from its start.
		s.Day.From, s.Day.Complete = start, true
	}
}

// add takes in a window's state, of which the turnover before is counted already.
// What comes late to a window that the day was filled with stays out.
func (d *Day) add(start int64, state *window.State, before window.Sum) {
	if start < d.Start || start >= d.End || d.Complete && start < d.From {
		return
	}
	if start < d.From {
		d.From = start
		d.Complete = start == d.Start
	}
	grown := state.Turnover
	grown.Sub(before)
	d.Turnover.Add(grown)
	d.price(start, tick.Price(state.High.Price), tick.Price(state.Low.Price), tick.Price(state.Close.Price))
}

func (d *Day) price(start int64, high, low, close tick.Price) {
	if !d.Traded() || high > d.High {
		d.High = high
	}
	if !d.Traded() || low < d.Low {
		d.Low = low
	}
	step := int((start - d.Start) / Step)
	i, found := slices.BinarySearchFunc(d.points, step, func(p Point, step int) int { return p.Step - step })
	if !found {
		d.points = slices.Insert(d.points, i, Point{Step: step})
	}
	if p := &d.points[i]; start >= p.last {
		p.last, p.Close = start, close
	}
}

// Minute is a stored window, as a day is filled with.
type Minute struct {
	Start            int64
	High, Low, Close tick.Price
	Turnover         window.Sum
}

// Gap is the part of a symbol's day that lies before what the board has seen:
// From ≤ start < To.
type Gap struct {
	Symbol   string
	From, To int64
}

// Gaps returns at most n gaps of days, of those after a symbol's name, in the
// order of names.
func (b *Board) Gaps(after string, n int) []Gap {
	var gaps []Gap
	for _, s := range b.sorted {
		if len(gaps) == n {
			break
		}
		if s.Name > after && s.Shown() && s.Day.End != 0 && !s.Day.Complete {
			gaps = append(gaps, Gap{s.Name, s.Day.Start, s.Day.From})
		}
	}
	return gaps
}

// Fill takes in the windows of a gap. It reports false, and does nothing, where
// the gap is not the present one any more.
func (b *Board) Fill(g Gap, minutes []Minute, rev uint64) bool {
	s := b.symbols[g.Symbol]
	if s == nil || s.Day.Complete || s.Day.Start != g.From || s.Day.From != g.To {
		return false
	}
	for _, m := range minutes {
		if m.Start < g.From || m.Start >= g.To {
			continue
		}
		s.Day.Turnover.Add(m.Turnover)
		s.Day.price(m.Start, m.High, m.Low, m.Close)
	}
	s.Day.Complete = true
	s.touch(rev)
	return true
}
