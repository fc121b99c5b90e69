package pulse

import (
	"math"
	"slices"
	"sync"
	"time"

	"ticktape/internal/window/windowpb"
)

// bounds are the upper bounds of the histograms' buckets in milliseconds, about
// a factor of √2 apart. One bucket more is for what is above.
var bounds = []int64{
	1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 2896, 4096, 5793, 8192,
	11585, 16384, 23170, 32768, 46341, 65536, 92682, 131072, 185364, 262144, 370728, 524288, 741455, 1048576,
	1482910, 2097152, 2965821, 4194304,
}

// The stages of a trade's way, each measured from the one before.
const (
	stageSource    = iota // from the trade to its reception
	stageKafka            // to its place in the topic of ticks
	stageWindow           // counted in Cassandra and published
	stageDashboard        // to here
	stageTotal            // from its reception to here
	stages
)

var stageNames = [stages]string{"source", "kafka", "window", "dashboard", "total"}

const (
	// slots of slotSeconds make the time that histograms are of.
	slots       = 12
	slotSeconds = 5
)

type histogram struct {
	counts []int64
	max    int64
}

func (h *histogram) add(ms int64) {
	i, _ := slices.BinarySearch(bounds, ms)
	h.counts[i]++
	h.max = max(h.max, ms)
}

// Latency measures how long trades take from stage to stage. It is safe for
// concurrent use.
type Latency struct {
	mu    sync.Mutex
	slots [slots]struct {
		at     int64
		stages [stages]histogram
	}
}

// Add takes in updates as they have arrived, of which logged tells when Kafka
// wrote them, in milliseconds since the Unix epoch. An update tells of the newest trade
// that caused it.
func (l *Latency) Add(updates []*windowpb.Update, logged []int64) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	at := now.Unix() / slotSeconds
	slot := &l.slots[at%slots]
	if slot.at != at {
		slot.at = at
		for i := range slot.stages {
			slot.stages[i] = histogram{counts: make([]int64, len(bounds)+1)}
		}
	}
	add := func(stage int, from, to int64) {
		if from > 0 && to > 0 {
			slot.stages[stage].add(max(to-from, 0)) // clocks of several machines differ
		}
	}
	for i, u := range updates {
		if u.Latest == nil {
			continue
		}
		add(stageSource, u.Latest.EventTime, u.Latest.ReceivedTime)
		add(stageKafka, u.Latest.ReceivedTime, u.Latest.LogTime)
		add(stageWindow, u.Latest.LogTime, logged[i])
		add(stageDashboard, logged[i], now.UnixMilli())
		add(stageTotal, u.Latest.ReceivedTime, now.UnixMilli())
	}
}

type stageReport struct {
	Name   string  `json:"name"`
	Count  int64   `json:"count"`
	Counts []int64 `json:"counts"`
	P50    float64 `json:"p50"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
	Max    int64   `json:"max"`
}

type latencyReport struct {
	Seconds int           `json:"seconds"`
	Bounds  []int64       `json:"bounds"`
	Stages  []stageReport `json:"stages"`
}

func (l *Latency) report(now time.Time) latencyReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := latencyReport{Seconds: slots * slotSeconds, Bounds: bounds, Stages: make([]stageReport, stages)}
	at := now.Unix() / slotSeconds
	for i := range r.Stages {
		s := stageReport{Name: stageNames[i], Counts: make([]int64, len(bounds)+1)}
		for _, slot := range l.slots {
			if slot.stages[i].counts == nil || at-slot.at >= slots {
				continue
			}
			for j, n := range slot.stages[i].counts {
				s.Counts[j] += n
				s.Count += n
			}
			s.Max = max(s.Max, slot.stages[i].max)
		}
		edges := make([]float64, len(bounds))
		for j, b := range bounds {
			edges[j] = float64(b)
		}
		s.P50 = tenths(quantile(0.50, edges, s.Counts, float64(s.Max)))
		s.P95 = tenths(quantile(0.95, edges, s.Counts, float64(s.Max)))
		s.P99 = tenths(quantile(0.99, edges, s.Counts, float64(s.Max)))
		r.Stages[i] = s
	}
	return r
}

// quantile estimates a quantile from a histogram's counts, of which there is one
// more than upper edges: evenly within the bucket, and never above most.
func quantile(q float64, edges []float64, counts []int64, most float64) float64 {
	var total int64
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank, below := q*float64(total), 0.0
	for i, n := range counts {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		if i == len(edges) {
			return most
		}
		lower := 0.0
		if i > 0 {
			lower = edges[i-1]
		}
		return min(lower+(edges[i]-lower)*(rank-below)/float64(n), most)
	}
	return most
}

// tenths rounds to one decimal place.
func tenths(v float64) float64 { return math.Round(v*10) / 10 }
