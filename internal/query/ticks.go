package query

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

const (
	ticksUsual  = 15 * minuteLength
	ticksWidest = 31 * dayLength
	// parallel bounds the reads of a request that are under way at a time.
	parallel = 32
	// maxReads bounds the reads of one page of ticks; a page that comes to it
	// ends there, full or not.
	maxReads = 4_000
)

// trade is a row of the answer of ticks.
type trade struct {
	EventTime     Time        `json:"event_time"`
	Price         tick.Price  `json:"price"`
	Size          int64       `json:"size"`
	Seq           int64       `json:"seq"`
	DayVolume     *int64      `json:"day_volume"`
	PreviousClose *tick.Price `json:"previous_close"`
	Currency      *string     `json:"currency"`
	Exchange      *string     `json:"exchange"`
	MarketState   string      `json:"market_state"`
	Source        string      `json:"source"`
	ReceivedTime  *Time       `json:"received_time"`
	Log           int32       `json:"log"`
	Offset        int64       `json:"offset"`
}

type ticksBody struct {
	Symbol string  `json:"symbol"`
	From   Time    `json:"from"`
	To     Time    `json:"to"`
	Ticks  []trade `json:"ticks"`
	Next   string  `json:"next,omitempty"`
}

func (a *API) ticks(ctx context.Context, f form) (*answer, error) {
	limit, err := f.limit()
	if err != nil {
		return nil, err
	}
	k, err := a.look(ctx, f, false)
	if err != nil {
		return nil, err
	}
	end := k.end()
	s, err := f.spanOf(end, ticksUsual)
	if err != nil {
		return nil, err
	}
	if err := s.narrow(ticksWidest, "ticks"); err != nil {
		return nil, err
	}
	c := &collector{from: s.from, to: s.to, keep: limit + 1}
	if s.at != nil {
		if len(s.at) != 3 || s.at[1] != int64(int32(s.at[1])) {
			return nil, badCursor()
		}
		c.after = &record{int32(s.at[1]), chunk.Record{Offset: s.at[2], Tick: tick.Tick{EventTime: s.at[0]}}}
		c.from = max(c.from, c.after.EventTime)
	}
	until, err := k.collect(ctx, c, min(s.to, end))
	if err != nil {
		return nil, err
	}
	body := ticksBody{Symbol: k.symbol, From: Time(s.from), To: Time(s.to), Ticks: []trade{}}
	records := c.page()
	next := position{From: s.from, To: s.to}
	switch {
	case len(records) > limit:
		records = records[:limit]
		last := records[limit-1]
		next.At = []int64{last.EventTime, int64(last.log), last.Offset}
	case until < min(s.to, end):
		// Everything before until is given.
		next.At = []int64{until - 1, math.MaxInt32, math.MaxInt64}
	}
	if next.At != nil {
		body.Next = next.encode(f.identity())
	}
	for i := range records {
		body.Ticks = append(body.Ticks, tradeOf(&records[i]))
	}
	return &answer{body: body, rows: body.Ticks, next: body.Next, final: s.fixed && s.to <= k.sealed}, nil
}

// collect reads window after window into c until it is full, end is reached or
// the reads are used up, and returns the end of the last window read.
func (k *known) collect(ctx context.Context, c *collector, end int64) (until int64, err error) {
	until = window.Start(c.from)
	reads := 0
	// A few windows at first, since they may well hold a page; ever more where
	// they hold little.
	for n := 2; until < end && !c.full() && reads < maxReads; n = min(2*n, 64) {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(parallel)
		for range n {
			if until >= end {
				break
			}
			start := until
			for _, log := range k.logs {
				g.Go(func() error {
					return k.EachChunk(gctx, store.Window{Start: start, Log: log}, k.symbol, func(s *chunk.Summary, ticks []byte) error {
						return c.add(log, s, ticks)
					})
				})
			}
			reads += len(k.logs)
			until += window.Length
		}
		if err := g.Wait(); err != nil {
			return 0, err
		}
	}
	return until, nil
}

// record is a record of the history with the log that it is in.
type record struct {
	log int32
	chunk.Record
}

// compare orders records by event time; those of one millisecond by their place.
func compare(a, b *record) int {
	return cmp.Or(cmp.Compare(a.EventTime, b.EventTime), cmp.Compare(a.log, b.log), cmp.Compare(a.Offset, b.Offset))
}

// collector keeps the first trades of a page, each once, out of chunks that come
// in any order, overlap, and hold records of the same trade. It keeps about
// twice as many as the page has, however many there are.
type collector struct {
	from, to int64
	after    *record // the last record of the page before, nil on the first
	keep     int

	mu      sync.Mutex
	decoder chunk.Decoder
	scratch []chunk.Record
	records []record
	kept    int   // records that were left by the last compaction
	bound   int64 // event time behind which nothing is of the page, 0 while it may be
}

// add takes the records of a chunk that may be of the page.
func (c *collector) add(log int32, s *chunk.Summary, ticks []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, last := s.Open.EventTime, s.Close.EventTime
	if last < c.from || first >= c.to || c.bound != 0 && first > c.bound {
		return nil
	}
	var err error
	if c.scratch, err = c.decoder.Decode(c.scratch[:0], ticks); err != nil {
		return err
	}
	for i := range c.scratch {
		r := &c.scratch[i]
		if r.EventTime < c.from || r.EventTime >= c.to || c.bound != 0 && r.EventTime > c.bound {
			continue
		}
		c.records = append(c.records, record{log, *r})
		if len(c.records) >= c.kept+c.keep {
			c.compact()
		}
	}
	return nil
}

// compact sorts the records, drops all but the first record of each trade, and
// those behind the page. Of the millisecond at which the page before ended it keeps
// all and counts none: whether a trade there was given can be known only
// when its first record has been read.
func (c *collector) compact() {
	slices.SortFunc(c.records, func(a, b record) int { return compare(&a, &b) })
	seen := map[tick.ID]bool{}
	unique, counted, at := c.records[:0], 0, int64(0)
	for _, r := range c.records {
		if r.EventTime != at {
			clear(seen)
			at = r.EventTime
		}
		if seen[r.ID()] {
			continue
		}
		seen[r.ID()] = true
		unique = append(unique, r)
		if c.after != nil && r.EventTime == c.after.EventTime {
			continue
		}
		if counted++; counted == c.keep {
			c.bound = r.EventTime
			break
		}
	}
	clear(c.records[len(unique):])
	c.records, c.kept = unique, len(unique)
}

// full tells whether the page needs no later window.
func (c *collector) full() bool {
	return len(c.page()) >= c.keep
}

// page returns the records of the page, and one more where there are more.
func (c *collector) page() []record {
	c.compact()
	i := 0
	for c.after != nil && i < len(c.records) && compare(&c.records[i], c.after) <= 0 {
		i++
	}
	return c.records[i:]
}

func tradeOf(r *record) trade {
	t := trade{
		EventTime: Time(r.EventTime), Price: r.Price, Size: r.Size, Seq: r.Seq,
		Currency: text(r.Currency), Exchange: text(r.Exchange),
		MarketState: r.MarketState.String(), Source: r.Source.String(),
		Log: r.log, Offset: r.Offset,
	}
	if r.DayVolume != tick.Unknown {
		t.DayVolume = &r.DayVolume
	}
	if r.PreviousClose != tick.Unknown {
		t.PreviousClose = &r.PreviousClose
	}
	if r.ReceivedTime != 0 {
		at := Time(r.ReceivedTime)
		t.ReceivedTime = &at
	}
	return t
}
