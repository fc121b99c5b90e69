package pulse

import (
	"time"
)

// State is how a part is.
type State string

// The states.
const (
	Up       State = "up"
	Degraded State = "degraded"
	Down     State = "down"
	Unknown  State = "unknown"
)

// The kinds of parts.
const (
	server        = "server"
	connectorKind = "connector"
	function      = "function"
	process       = "service"
)

// part is one part of the pipeline. Since is when its state began, as seen from here.
type part struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	State  State  `json:"state"`
	Reason string `json:"reason"`
	Since  int64  `json:"since"`
}

func (p *Pulse) set(name, kind string, state State, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setLocked(name, kind, state, reason)
}

func (p *Pulse) setLocked(name, kind string, state State, reason string) {
	now := p.parts[name]
	if now == nil {
		now = &part{Name: name, Kind: kind}
		p.parts[name] = now
		p.order = append(p.order, name)
	}
	if now.State != state {
		now.State, now.Since = state, time.Now().UnixMilli()
	}
	now.Reason = reason
}

type report struct {
	Type        string           `json:"type"`
	Now         int64            `json:"now"`
	Ticks       ticksReport      `json:"ticks"`
	Functions   []functionReport `json:"functions"`
	Latency     latencyReport    `json:"latency"`
	Seal        *sealReport      `json:"seal,omitempty"`
	DeadLetters LettersReport    `json:"dead_letters"`
	Parts       []part           `json:"parts"`
}

type ticksReport struct {
	PerSecond float64 `json:"per_second"`
	Total     int64   `json:"total"`
	Problem   string  `json:"problem,omitempty"`
}

type functionReport struct {
	Name        string            `json:"name"`
	Topic       string            `json:"topic"`
	Lag         int64             `json:"lag"`
	PerSecond   float64           `json:"per_second"`
	Problem     string            `json:"problem,omitempty"`
	Partitions  []partitionReport `json:"partitions"`
	Calls       *callsReport      `json:"calls,omitempty"`
	Batches     *batchesReport    `json:"batches,omitempty"`
	Retries     *int64            `json:"retries,omitempty"`
	DeadLetters *int64            `json:"dead_letters,omitempty"`
	Stopped     []int             `json:"stopped,omitempty"`
}

type partitionReport struct {
	Partition int `json:"partition"`
	// Committed is absent where the group has committed nothing; it starts then
	// where it is told to.
	Committed *int64 `json:"committed,omitempty"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
}

type callsReport struct {
	PerSecond float64          `json:"per_second"`
	P50       float64          `json:"p50"`
	P95       float64          `json:"p95"`
	P99       float64          `json:"p99"`
	Total     int64            `json:"total"`
	Codes     map[string]int64 `json:"codes"`
}

type batchesReport struct {
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	Bytes float64 `json:"bytes"`
}

// report puts together what has been read last.
func (p *Pulse) report(now time.Time) report {
	r := report{Type: "pipeline", Now: now.UnixMilli(), Latency: p.cfg.Latency.report(now), DeadLetters: p.cfg.Letters.Newest(0)}
	problem := p.cfg.Hub.Status().Problem
	p.mu.Lock()
	defer p.mu.Unlock()
	if problem != "" {
		p.setLocked("dashboard", process, Degraded, problem)
	} else {
		p.setLocked("dashboard", process, Up, "")
	}
	r.Ticks.Problem = p.kafka
	if n := len(p.lag); n > 0 {
		r.Ticks.Total = total(p.lag[n-1].ends)
		r.Ticks.PerSecond = p.rateLocked(func(s lagSample) int64 { return total(s.ends) })
	}
	for _, group := range p.cfg.Groups {
		r.Functions = append(r.Functions, p.functionLocked(group))
	}
	r.Seal = p.seal
	for _, name := range p.order {
		r.Parts = append(r.Parts, *p.parts[name])
	}
	return r
}

// rateLocked is how fast a sum of offsets has grown over the samples at hand.
func (p *Pulse) rateLocked(of func(lagSample) int64) float64 {
	first, last := p.lag[0], p.lag[len(p.lag)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return tenths(float64(max(of(last)-of(first), 0)) / seconds)
}

func (p *Pulse) functionLocked(group string) functionReport {
	f := functionReport{Name: group, Topic: p.cfg.Topic, Problem: p.problems[group], Partitions: []partitionReport{}}
	if p.kafka != "" {
		f.Problem = p.kafka
	}
	if n := len(p.lag); n > 0 {
		last := p.lag[n-1]
		for i := range len(last.ends) {
			part := partitionReport{Partition: i, End: last.ends[i]}
			if c, ok := last.committed[group][i]; ok {
				part.Committed = &c
				part.Lag = max(part.End-c, 0)
			}
			f.Lag += part.Lag
			f.Partitions = append(f.Partitions, part)
		}
		f.PerSecond = p.rateLocked(func(s lagSample) int64 { return total(s.committed[group]) })
	}
	if n := len(p.readings); n > 0 && p.readings[n-1].byFunction[group] != nil {
		now, old := p.readings[n-1], p.readings[0]
		p.describeLocked(&f, now.byFunction[group], old.byFunction[group], now.at.Sub(old.at).Seconds())
	}
	return f
}

func (p *Pulse) describeLocked(f *functionReport, now, old *reading, seconds float64) {
	if old == nil {
		old = &reading{}
	}
	calls, records, bytes := now.calls.since(old.calls), now.records.since(old.records), now.bytes.since(old.bytes)
	const ms = 1000
	f.Calls = &callsReport{
		P50: tenths(calls.quantile(0.50) * ms), P95: tenths(calls.quantile(0.95) * ms), P99: tenths(calls.quantile(0.99) * ms),
		Total: now.calls.total, Codes: now.codes,
	}
	if seconds > 0 {
		f.Calls.PerSecond = tenths(float64(calls.total) / seconds)
	}
	f.Batches = &batchesReport{P50: tenths(records.quantile(0.50)), P95: tenths(records.quantile(0.95))}
	if records.total > 0 {
		f.Batches.Mean = tenths(records.sum / float64(records.total))
		f.Batches.Bytes = tenths(bytes.sum / float64(records.total))
	}
	f.Retries, f.DeadLetters, f.Stopped = &now.retries, &now.dead, now.stopped
}
