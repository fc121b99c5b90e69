package main

import (
	"sync"
	"time"

	"ticktape/internal/replay"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// ledger knows when each tick of a stream was due. Who sees that a symbol's
// window holds n ticks so learns which trades have arrived, all of them and not
// only the newest, and how long each took. It is safe for concurrent use.
type ledger struct {
	base int64 // milliseconds since the Unix epoch

	mu      sync.Mutex
	symbols map[string]*entry
	ticks   int64
	waiting []int32 // due times of what Kafka has not acknowledged, in order
}

// entry is one symbol's ticks in order.
type entry struct {
	due     []int32       // milliseconds after the ledger's base
	windows map[int64]int // by start: index of the window's first tick
}

func newLedger() *ledger {
	return &ledger{base: time.Now().UnixMilli(), symbols: map[string]*entry{}}
}

func (l *ledger) add(symbol string, eventTime int64) {
	due := int32(eventTime - l.base)
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.symbols[symbol]
	if e == nil {
		e = &entry{windows: map[int64]int{}}
		l.symbols[symbol] = e
	}
	start := window.Start(eventTime)
	if _, ok := e.windows[start]; !ok {
		e.windows[start] = len(e.due)
	}
	e.due = append(e.due, due)
	l.waiting = append(l.waiting, due)
	l.ticks++
}

// pacedSource is a source whose ticks happen when they are due at a rate, whether or
// not whoever publishes them keeps up: what waits to be published is late, and
// that counts.
type pacedSource struct {
	replay.Source
	rate   float64
	ledger *ledger
	begun  time.Time
	n      int64
}

func (p *pacedSource) Next(t *tick.Tick) error {
	if err := p.Source.Next(t); err != nil {
		return err
	}
	now := time.Now()
	if p.begun.IsZero() {
		p.begun = now
	}
	due := p.begun.Add(time.Duration(float64(p.n) / p.rate * float64(time.Second)))
	if due.After(now) {
		due = now
	}
	p.n++
	t.EventTime = due.UnixMilli()
	t.ReceivedTime = t.EventTime
	p.ledger.add(t.Symbol, t.EventTime)
	return nil
}

// again gives the ticks of a paced source once more, at the times that they had.
type again struct {
	replay.Source
	ledger *ledger
	next   map[string]int
}

func (a *again) Next(t *tick.Tick) error {
	if err := a.Source.Next(t); err != nil {
		return err
	}
	i := a.next[t.Symbol]
	a.next[t.Symbol] = i + 1
	t.EventTime = a.ledger.base + int64(a.ledger.symbols[t.Symbol].due[i])
	t.ReceivedTime = t.EventTime
	return nil
}

// acked takes note that Kafka has acknowledged the next n ticks.
func (l *ledger) acked(n int, d *delays) {
	now := int32(time.Now().UnixMilli() - l.base)
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.waiting))
	for _, due := range l.waiting[:n] {
		d.add(due, now)
	}
	if l.waiting = l.waiting[n:]; len(l.waiting) == 0 {
		l.waiting = nil
	}
}

// observer is somebody who sees windows grow. Several may share their delays.
type observer struct {
	ledger *ledger
	delays *delays
	seen   map[minute]int
	ticks  int64
}

func (l *ledger) observer(d *delays) *observer {
	return &observer{ledger: l, delays: d, seen: map[minute]int{}}
}

// window says that the symbol's window holds so many ticks.
func (o *observer) window(symbol string, start, ticks int64) {
	now := int32(time.Now().UnixMilli() - o.ledger.base)
	o.ledger.mu.Lock()
	defer o.ledger.mu.Unlock()
	e := o.ledger.symbols[symbol]
	if e == nil {
		return
	}
	first, ok := e.windows[start]
	if !ok {
		return
	}
	m := minute{symbol, start}
	before, after := first+o.seen[m], min(first+int(ticks), len(e.due))
	if after <= before {
		return
	}
	o.seen[m] = after - first
	for _, due := range e.due[before:after] {
		o.delays.add(due, now)
	}
	o.ticks += int64(after - before)
}

// arrived is how many ticks have been seen.
func (o *observer) arrived() int64 {
	o.ledger.mu.Lock()
	defer o.ledger.mu.Unlock()
	return o.ticks
}

// delays counts how long things took, to the millisecond. The ledger's lock guards it.
type delays struct {
	// from is when measuring begins, in milliseconds after the ledger's base: what
	// was due before that warms up.
	from  int32
	count int64
	ms    [60_000]int64 // how many took so long; the last stands for all above
}

func newDelays(from time.Duration) *delays { return &delays{from: int32(from.Milliseconds())} }

func (d *delays) add(due, now int32) {
	if due < d.from {
		return
	}
	d.count++
	d.ms[min(max(now-due, 0), int32(len(d.ms)-1))]++
}

// at is the quantile q of the delays: 0.5 is the median, 1 the longest.
func (d *delays) at(q float64) time.Duration {
	rank := int64(q * float64(d.count-1))
	for ms, n := range d.ms {
		if rank -= n; rank < 0 {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return 0
}
