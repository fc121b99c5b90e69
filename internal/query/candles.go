package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// interval is a length of candles.
type interval struct {
	name   string
	length int64
	// usual and widest are the default and the largest length of a range.
	usual, widest int64
}

var intervals = []interval{
	{"1m", minuteLength, 500 * minuteLength, 31 * dayLength},
	{"5m", 5 * minuteLength, 500 * 5 * minuteLength, 155 * dayLength},
	{"15m", 15 * minuteLength, 500 * 15 * minuteLength, 465 * dayLength},
	{"1h", hourLength, 500 * hourLength, 1860 * dayLength},
	{"1d", dayLength, 500 * dayLength, 36_600 * dayLength},
}

func (f form) interval() (interval, error) {
	names := make([]string, len(intervals))
	for i, iv := range intervals {
		if iv.name == f["interval"] {
			return iv, nil
		}
		names[i] = iv.name
	}
	p := badParameter("interval", "interval is missing: say which, as in interval=5m.")
	if text, ok := f["interval"]; ok {
		p = badParameter("interval", "There are no candles of interval %.40q.", text)
	}
	p.Allowed = names
	return interval{}, p
}

const (
	// maxMinutes bounds the minutes that one page sums up.
	maxMinutes = 50_000
	// maxLive bounds how far back from the newest trade windows are looked for
	// that are not sealed: registers are kept for two days.
	maxLive = 2 * dayLength
)

// candle is a row of the answer of candles.
type candle struct {
	Start     Time     `json:"start"`
	Open      *Decimal `json:"open"`
	High      *Decimal `json:"high"`
	Low       *Decimal `json:"low"`
	Close     *Decimal `json:"close"`
	Volume    int64    `json:"volume"`
	Turnover  *Decimal `json:"turnover"`
	VWAP      *Decimal `json:"vwap"`
	TickCount int64    `json:"tick_count"`
	Source    string   `json:"source"`
	Sealed    bool     `json:"sealed"`
}

type candlesBody struct {
	Symbol   string   `json:"symbol"`
	Interval string   `json:"interval"`
	From     Time     `json:"from"`
	To       Time     `json:"to"`
	Candles  []candle `json:"candles"`
	Next     string   `json:"next,omitempty"`
}

func (a *API) candles(ctx context.Context, f form) (*answer, error) {
	symbol, err := f.symbol()
	if err != nil {
		return nil, err
	}
	iv, err := f.interval()
	if err != nil {
		return nil, err
	}
	limit, err := f.limit()
	if err != nil {
		return nil, err
	}
	if _, err := f.spanOf(maxTime, 0); err != nil { // before the store is asked
		return nil, err
	}
	r, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	newest, logs, err := find(ctx, r, symbol)
	if err != nil {
		return nil, err
	}
	sealed, err := r.SealedUntil(ctx)
	if err != nil {
		return nil, err
	}
	// Live windows run ahead of the history that quotes are of, by a minute at most.
	end := window.Start(newest.EventTime) + 2*window.Length
	s, err := f.spanOf(end, iv.usual)
	if err != nil {
		return nil, err
	}
	if err := s.narrow(iv.widest, "candles of "+iv.name); err != nil {
		return nil, err
	}
	// Every trade of the range is in a candle of the answer.
	first, to := s.from-s.from%iv.length, roundUp(s.to, iv.length)
	from := first
	if s.at != nil {
		from = max(from, s.at[0]-s.at[0]%iv.length)
	}
	m := minutes{r: r, symbol: symbol, logs: logs, sealed: sealed, end: end, source: newest.Source}
	list, next, err := m.sum(ctx, iv, from, to, limit)
	if err != nil {
		return nil, err
	}
	body := candlesBody{Symbol: symbol, Interval: iv.name, From: Time(first), To: Time(to), Candles: list}
	if next < to {
		body.Next = (&position{From: s.from, To: s.to, At: []int64{next}}).encode(f.identity())
	}
	return &answer{body: body, rows: list, next: body.Next, final: to <= sealed}, nil
}

func roundUp(t, step int64) int64 {
	if rest := t % step; rest != 0 {
		t += step - rest
	}
	return t
}

// minutes are a symbol's base windows, sealed and live.
type minutes struct {
	r      Reader
	symbol string
	logs   []int32
	sealed int64       // start of the first window that may change yet
	end    int64       // of the newest window
	source tick.Source // of live windows
}

// sum returns the candles that start in from ≤ start < to, at most limit, and
// where the next one could start: to, when there are no more.
func (m *minutes) sum(ctx context.Context, iv interval, from, to int64, limit int) (list []candle, next int64, err error) {
	list = []candle{}
	// One more than the candles of a page can be made of shows that there are more.
	most := min(limit*int(iv.length/minuteLength)+1, maxMinutes)
	stored, err := m.r.Candles(ctx, m.symbol, "1m", from, to, most)
	if err != nil {
		return nil, 0, err
	}
	next = to
	if len(stored) == most {
		// The last candle may have minutes that were not read.
		last := stored[most-1].Start
		next = last - last%iv.length
	}
	live, err := m.live(ctx, max(from, m.sealed, m.end-maxLive), min(next, m.end), stored)
	if err != nil {
		return nil, 0, err
	}
	all := slices.Concat(stored, live)
	slices.SortFunc(all, func(a, b Window) int { return cmp.Compare(a.Start, b.Start) })

	for len(all) > 0 && all[0].Start < next {
		start := all[0].Start - all[0].Start%iv.length
		if len(list) == limit {
			return list, start, nil
		}
		n := 0
		for n < len(all) && all[n].Start < start+iv.length {
			n++
		}
		list = append(list, m.candle(start, iv, all[:n]))
		all = all[n:]
	}
	return list, next, nil
}

// candle sums up the windows of one interval.
func (m *minutes) candle(start int64, iv interval, windows []Window) candle {
	var s window.State
	source := windows[0].Source
	for i := range windows {
		s.Merge(&windows[i].State)
		if windows[i].Source != source {
			source = tick.SourceUnknown
		}
	}
	return candleOf(start, &s, source, start+iv.length <= m.sealed || iv.length == minuteLength && windows[0].Sealed)
}

func candleOf(start int64, s *window.State, source tick.Source, sealed bool) candle {
	return candle{
		Start: Time(start),
		Open:  priceDecimal(tick.Price(s.Open.Price)), High: priceDecimal(tick.Price(s.High.Price)),
		Low: priceDecimal(tick.Price(s.Low.Price)), Close: priceDecimal(tick.Price(s.Close.Price)),
		Volume: s.Volume, Turnover: sumDecimal(s.Turnover), VWAP: vwap(s.Turnover, s.Volume),
		TickCount: s.Count, Source: source.String(), Sealed: sealed,
	}
}

// live reads the windows from ≤ start < to of which there is no stored candle.
func (m *minutes) live(ctx context.Context, from, to int64, stored []Window) ([]Window, error) {
	have := map[int64]bool{}
	for i := range stored {
		have[stored[i].Start] = true
	}
	var starts []int64
	for start := roundUp(from, window.Length); start < to; start += window.Length {
		if !have[start] {
			starts = append(starts, start)
		}
	}
	states := make([]window.State, len(starts)*len(m.logs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range states {
		g.Go(func() (err error) {
			states[i], err = m.r.Live(gctx, starts[i/len(m.logs)], m.logs[i%len(m.logs)], m.symbol)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read live windows: %w", err)
	}
	var live []Window
	for i, start := range starts {
		w := Window{Start: start, Source: m.source}
		for _, s := range states[i*len(m.logs) : (i+1)*len(m.logs)] {
			w.State.Merge(&s)
		}
		if w.State.Count > 0 {
			live = append(live, w)
		}
	}
	return live, nil
}
