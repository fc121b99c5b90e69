package hub

import (
	"slices"
	"time"

	"ticktape/internal/window/windowpb"
)

const (
	meterSeconds = 10
	maxSamples   = 4096
)

// meter measures what comes in. It is guarded by Hub.mu.
type meter struct {
	ticks int64 // that came after the topic's past was read
	last  int64 // when something last came, ms

	perSecond [meterSeconds]struct{ second, ticks int64 }
	samples   [maxSamples]sample // a ring
	next      int
}

type sample struct{ at, delay int64 } // ms

// add counts an update. What was in the topic before the reader had caught up
// says nothing about how fast things are.
func (m *meter) add(now time.Time, ticks int64, l *windowpb.Latest, live bool) {
	m.last = now.UnixMilli()
	if !live {
		return
	}
	m.ticks += ticks
	second := now.Unix()
	slot := &m.perSecond[second%meterSeconds]
	if slot.second != second {
		slot.second, slot.ticks = second, 0
	}
	slot.ticks += ticks
	if l == nil || l.ReceivedTime <= 0 {
		return
	}
	delay := max(now.UnixMilli()-l.ReceivedTime, 0)
	latency.Observe(float64(delay) / 1000)
	m.samples[m.next%maxSamples] = sample{m.last, delay}
	m.next++
}

// rate is ticks a second over the last full seconds.
func (m *meter) rate(now time.Time) float64 {
	const over = 5
	var sum int64
	for _, s := range m.perSecond {
		if age := now.Unix() - s.second; age >= 1 && age <= over {
			sum += s.ticks
		}
	}
	return float64(sum) / over
}

// delays is how long ticks took from their reception to here.
type delays struct {
	P50   int64 `json:"p50"`
	P95   int64 `json:"p95"`
	P99   int64 `json:"p99"`
	Count int   `json:"count"`
}

// delays sums up the last seconds, nil where nothing came.
func (m *meter) delays(now time.Time) *delays {
	oldest := now.UnixMilli() - meterSeconds*1000
	var d []int64
	for _, s := range m.samples[:min(m.next, maxSamples)] {
		if s.at >= oldest {
			d = append(d, s.delay)
		}
	}
	if len(d) == 0 {
		return nil
	}
	slices.Sort(d)
	at := func(percent int) int64 { return d[min(len(d)*percent/100, len(d)-1)] }
	return &delays{at(50), at(95), at(99), len(d)}
}
