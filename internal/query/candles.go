package query

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// interval is a length of candles.
type interval struct {
	name string
	// minutes is how many a candle has at most, length how long it usually is.
	minutes int
	length  int64
	// usual and widest are the default and the largest length of a range.
	usual, widest int64
}

var intervals = []interval{
	{"1m", 1, minuteLength, 500 * minuteLength, 31 * dayLength},
	{"5m", 5, 5 * minuteLength, 500 * 5 * minuteLength, 155 * dayLength},
	{"15m", 15, 15 * minuteLength, 500 * 15 * minuteLength, 465 * dayLength},
	{"1h", 60, hourLength, 500 * hourLength, 1860 * dayLength},
	{day, 25 * 60, dayLength, 500 * dayLength, 36_600 * dayLength}, // the clock may be put back by an hour
}

const day = "1d"

// level is a length of the stored candles that charts bring where there are no
// minutes.
type level struct {
	stored store.Interval
	length int64
}

var levels = []level{{store.FiveMinutes, 5 * minuteLength}, {store.Hour, hourLength}}

// piece is a stored candle, or a live window, that a candle is made of.
type piece struct {
	store.Candle
	length int64
}

// around returns the start and the end of the interval that t falls into: of the
// exchange's local day, or in steps of UTC.
func (iv interval) around(exchange string, t int64) (start, end int64) {
	if iv.name == day {
		return window.Day(exchange, t)
	}
	start = t - t%iv.length
	return start, start + iv.length
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
	// maxLive bounds the live windows that one page reads.
	maxLive = 3_000
	// registersKept is how long live windows have prices.
	registersKept = 2 * dayLength
)

// candle is a row of the answer of candles.
type candle struct {
	Start     Time       `json:"start"`
	Open      tick.Price `json:"open"`
	High      tick.Price `json:"high"`
	Low       tick.Price `json:"low"`
	Close     tick.Price `json:"close"`
	Volume    int64      `json:"volume"`
	Turnover  *Decimal   `json:"turnover"`
	VWAP      *Decimal   `json:"vwap"`
	TickCount int64      `json:"tick_count"`
	Source    string     `json:"source"`
	Sealed    bool       `json:"sealed"`
}

type candlesBody struct {
	Symbol   string   `json:"symbol"`
	Interval string   `json:"interval"`
	From     Time     `json:"from"`
	To       Time     `json:"to"`
	Candles  []candle `json:"candles"`
	Events   []event  `json:"events,omitempty"`
	Next     string   `json:"next,omitempty"`
}

func (a *API) candles(ctx context.Context, f form) (*answer, error) {
	iv, err := f.interval()
	if err != nil {
		return nil, err
	}
	limit, err := f.limit()
	if err != nil {
		return nil, err
	}
	kinds, err := f.events()
	if err != nil {
		return nil, err
	}
	k, err := a.look(ctx, f, true)
	if err != nil {
		return nil, err
	}
	s, err := f.spanOf(k.end(), iv.usual)
	if err != nil {
		return nil, err
	}
	if err := s.narrow(iv.widest, "candles of "+iv.name); err != nil {
		return nil, err
	}
	// Every trade of the range is in a candle of the answer.
	first, _ := iv.around(k.newest.Exchange, s.from)
	_, to := iv.around(k.newest.Exchange, s.to-1)
	from := first
	if s.at != nil {
		at := s.at[0]
		if iv.length != hourLength { // those of an hour may start where their chart had them
			at, _ = iv.around(k.newest.Exchange, at)
		}
		from = max(from, at)
	}
	var list []candle
	next := to
	if iv.name == day {
		list, next, err = k.days(ctx, iv, from, to, limit)
	} else {
		list, next, err = k.sum(ctx, iv, from, to, limit)
	}
	if err != nil {
		return nil, err
	}
	body := candlesBody{Symbol: k.symbol, Interval: iv.name, From: Time(first), To: Time(to), Candles: list}
	if kinds != nil && s.at == nil {
		if body.Events, err = k.events(ctx, kinds, first, to); err != nil {
			return nil, err
		}
	}
	if next < to {
		body.Next = (&position{From: s.from, To: s.to, At: []int64{next}}).encode(f.identity())
	}
	return &answer{body: body, rows: list, next: body.Next, final: s.fixed && to <= k.sealed}, nil
}

// days returns, like sum, the candles of days: those that are stored, and of the
// days after the last one stored, mostly the one that is still open, the sums of
// their minutes.
func (k *known) days(ctx context.Context, iv interval, from, to int64, limit int) (list []candle, next int64, err error) {
	days, err := k.ReadCandles(ctx, k.symbol, store.Day, from, to, limit+1)
	if err != nil {
		return nil, 0, err
	}
	if len(days) > limit {
		to, days = days[limit].Start, days[:limit]
	}
	list = []candle{}
	for i := range days {
		_, end := window.Day(days[i].Exchange, days[i].Start)
		list = append(list, k.candle(days[i].Start, end, []piece{{days[i], end - days[i].Start}}))
		from = max(from, end)
	}
	if len(list) == limit || from >= to {
		return list, min(from, to), nil
	}
	open, next, err := k.sum(ctx, iv, from, to, limit-len(list))
	return append(list, open...), next, err
}

// sum returns the candles that start in from ≤ start < to, at most limit, summed
// from minutes and, where there are none, from the next longer candles that are
// stored, and where the next one could start: to, when there are no more.
func (k *known) sum(ctx context.Context, iv interval, from, to int64, limit int) (list []candle, next int64, err error) {
	pieces, next, err := k.pieces(ctx, iv, from, to, limit)
	if err != nil {
		return nil, 0, err
	}
	list = []candle{}
	for len(pieces) > 0 && pieces[0].Start < next {
		start, end := iv.around(k.newest.Exchange, pieces[0].Start)
		n := 0
		for n < len(pieces) && pieces[n].Start < end && pieces[n].length < iv.length {
			n++
		}
		if n == 0 {
			// One that has the length already starts where its chart had it.
			start, end, n = pieces[0].Start, pieces[0].Start+pieces[0].length, 1
		}
		if len(list) == limit {
			return list, start, nil
		}
		list = append(list, k.candle(start, end, pieces[:n]))
		pieces = pieces[n:]
	}
	return list, next, nil
}

// pieces returns what the candles that start in from ≤ start < to are made of, in
// the order of time, for at least limit of them: up to next. No two of the pieces
// overlap in what they stand for.
func (k *known) pieces(ctx context.Context, iv interval, from, to int64, limit int) (list []piece, next int64, err error) {
	next = to
	// One more than the candles of a page can be made of shows that there are more.
	read := func(stored store.Interval, most int) ([]store.Candle, error) {
		most = min(most+1, maxMinutes)
		candles, err := k.ReadCandles(ctx, k.symbol, stored, from, next, most)
		if err == nil && len(candles) == most {
			// The last candle may have minutes that were not read.
			next, _ = iv.around(k.newest.Exchange, candles[most-1].Start)
		}
		return candles, err
	}
	minutes, err := read(store.Minute, limit*iv.minutes)
	if err != nil {
		return nil, 0, err
	}
	live, next, err := k.live(ctx, iv, from, next, minutes)
	if err != nil {
		return nil, 0, err
	}
	traded := make(map[int64]bool, len(live))
	for _, c := range live {
		list = append(list, piece{c, minuteLength})
		traded[c.Start] = true
	}
	for _, c := range minutes {
		if !traded[c.Start] {
			list = append(list, piece{c, minuteLength})
		}
	}
	sortPieces(list)
	for _, l := range levels {
		if l.length > iv.length {
			break
		}
		// At the edges of sessions two of a chart's bars may start within one length.
		longer, err := read(l.stored, 2*limit*int(iv.length/l.length)+1)
		if err != nil {
			return nil, 0, err
		}
		finer := len(list)
		for _, c := range longer {
			covered, err := k.covered(ctx, l, c.Start, list[:finer], next)
			if err != nil {
				return nil, 0, err
			}
			if !covered {
				list = append(list, piece{c, l.length})
			}
		}
		sortPieces(list)
	}
	return list, next, nil
}

func sortPieces(list []piece) {
	slices.SortFunc(list, func(a, b piece) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.length, b.length)) })
}

// covered tells whether there are finer candles within one of the level that
// starts at the given time: among pieces, which were read up to read, or behind.
func (k *known) covered(ctx context.Context, l level, start int64, pieces []piece, read int64) (bool, error) {
	end := start + l.length
	i, _ := slices.BinarySearchFunc(pieces, start, func(p piece, start int64) int { return cmp.Compare(p.Start, start) })
	if i < len(pieces) && pieces[i].Start < end {
		return true, nil
	}
	if end <= read {
		return false, nil
	}
	for _, finer := range []store.Interval{store.Minute, store.FiveMinutes} {
		if finer == l.stored {
			break
		}
		found, err := k.ReadCandles(ctx, k.symbol, finer, max(start, read), end, 1)
		if err != nil || len(found) > 0 {
			return true, err
		}
	}
	return false, nil
}

// candle sums up the pieces of an interval. It is sealed if the one that makes it
// up is, or if seal has been past its end: of windows without trades nothing is
// stored.
func (k *known) candle(start, end int64, pieces []piece) candle {
	s := pieces[0].Candle
	for i := range pieces[1:] {
		s.Merge(&pieces[i+1].Candle)
	}
	c := candle{
		Start: Time(start),
		Open:  tick.Price(s.Open.Price), High: tick.Price(s.High.Price),
		Low: tick.Price(s.Low.Price), Close: tick.Price(s.Close.Price),
		Volume: s.Volume, TickCount: s.Count, Source: s.Source.String(),
		Sealed: end <= k.sealed || pieces[0].length == end-start && s.SealedAt != 0,
	}
	if !s.Charted() {
		c.Turnover, c.VWAP = sumDecimal(s.Turnover), vwap(s.Turnover, s.Volume)
	}
	return c
}

// live reads the windows from ≤ start < to that are not sealed and of which
// there is no candle made of ticks, and returns where it ended: to, or before where there are more
// of them than a page may read.
func (k *known) live(ctx context.Context, iv interval, from, to int64, have []store.Candle) (list []store.Candle, end int64, err error) {
	if len(k.logs) == 0 {
		return nil, to, nil
	}
	var starts []int64
	from = max(from, window.Start(k.sealed), k.end()-registersKept)
	for start := from; start < min(to, k.end()); start += window.Length {
		at, sealed := slices.BinarySearchFunc(have, start, func(c store.Candle, start int64) int { return cmp.Compare(c.Start, start) })
		if !sealed || have[at].Charted() {
			starts = append(starts, start)
		}
	}
	end = to
	// Enough for one candle at least, or paging would not get on.
	if most := max(maxLive/len(k.logs), iv.minutes+1); len(starts) > most {
		end, _ = iv.around(k.newest.Exchange, starts[most])
		starts = starts[:most]
	}
	states := make([]window.State, len(starts)*len(k.logs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := range states {
		g.Go(func() error {
			w := store.Window{Start: starts[i/len(k.logs)], Log: k.logs[i%len(k.logs)]}
			_, found, err := k.ReadWindow(gctx, w, []string{k.symbol})
			// Without prices it has waited for seal for so long that they have expired.
			if err == nil && len(found) > 0 && found[0].Open.EventTime != 0 {
				states[i] = found[0].State
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	for i, start := range starts {
		c := store.Candle{Symbol: k.symbol, Start: start, Source: k.newest.Source}
		for _, s := range states[i*len(k.logs) : (i+1)*len(k.logs)] {
			c.State.Merge(&s)
		}
		if c.Count > 0 {
			list = append(list, c)
		}
	}
	return list, end, nil
}
