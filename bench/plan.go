package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ticktape/internal/tick"
)

const (
	// setUp is about what building and starting the servers takes.
	setUp      = 30 * time.Second
	quickTicks = 1_000_000
)

// takes is about how long a run takes: starting and stopping, then publishing,
// the work itself and verifying.
func (c capacity) takes() time.Duration {
	return 12*time.Second + time.Duration(c.ticks/400_000)*time.Second
}

func (c capacity) warmUp() step {
	return step{"warming up: " + c.String(), c.takes(), func(ctx context.Context, r *rig, _ *results) (string, error) {
		res, err := c.run(ctx, r)
		if err != nil {
			return "", err
		}
		return perSecond(res.rate()) + " (not counted)", nil
	}}
}

// capacitySteps runs each backlog once, then each once more, and so on: what
// changes on the machine in the meantime befalls all alike.
func capacitySteps(runs int, backlogs ...capacity) (steps []step) {
	for n := range runs {
		for _, c := range backlogs {
			what := fmt.Sprintf("capacity: %s (run %d)", c, n+1)
			steps = append(steps, step{what, c.takes(), func(ctx context.Context, r *rig, rs *results) (string, error) {
				res, err := c.run(ctx, r)
				if err != nil {
					return "", err
				}
				rs.capacity(c, res)
				return fmt.Sprintf("%s, %.2f CPU s per million, verified exact", perSecond(res.rate()), res.cpu.together()), nil
			}})
		}
	}
	return steps
}

func (p paced) step() step {
	return step{"stream: " + p.String(), 20*time.Second + warmUp + p.duration, func(ctx context.Context, r *rig, rs *results) (string, error) {
		res, err := p.run(ctx, r)
		if err != nil {
			return "", err
		}
		rs.streams = append(rs.streams, told[paced, *pacedResult]{p, res})
		return fmt.Sprintf("trade → browser p50/p95/p99/max %s ms, verified exact", quantiles(res.browser)), nil
	}}
}

// ingestion is a way into Kafka.
type ingestion interface {
	fmt.Stringer
	run(ctx context.Context, r *rig) (*ingested, error)
}

func ingestSteps(ticks int64) (steps []step) {
	const calls = 20 * time.Second
	for _, way := range []ingestion{
		replayed{encoding: tick.Protobuf, partitions: 4, symbols: 500, ticks: ticks},
		replayed{encoding: tick.JSON, partitions: 4, symbols: 500, ticks: ticks},
		fetched{symbols: 2000, duration: calls, partitions: 4},
	} {
		steps = append(steps, step{"ingestion: " + way.String(), 30 * time.Second, func(ctx context.Context, r *rig, rs *results) (string, error) {
			res, err := way.run(ctx, r)
			if err != nil {
				return "", err
			}
			rs.ingestion = append(rs.ingestion, told[fmt.Stringer, *ingested]{way, res})
			return perSecond(res.rate()) + ", verified exact", nil
		}})
	}
	return steps
}

func querySteps(d time.Duration) step {
	q := queried{stream: paced{rate: 5000, partitions: 4, symbols: 500}, connections: 16, duration: d}
	return step{"queries: " + q.String(), 45*time.Second + 3*d, func(ctx context.Context, r *rig, rs *results) (string, error) {
		res, err := q.run(ctx, r)
		if err != nil {
			return "", err
		}
		rs.queries = append(rs.queries, told[queried, *queryResult]{q, res})
		text := ""
		for _, a := range res.answers {
			text += fmt.Sprintf("%s %s/s, ", a.what, thousands(a.perSecond))
		}
		return text + "verified exact", nil
	}}
}

func clientSteps(n int, d time.Duration) (steps []step) {
	stream := paced{rate: 1000, duration: d, partitions: 4, symbols: 500}
	for _, lists := range []int{1, 499} { // a prime, so that those who read have all of them
		a := audience{stream: stream, clients: n, symbols: 20, lists: lists}
		steps = append(steps, step{"clients: " + a.String(), time.Minute + stream.duration, func(ctx context.Context, r *rig, rs *results) (string, error) {
			res, err := a.run(ctx, r)
			if err != nil {
				return "", err
			}
			rs.audiences = append(rs.audiences, told[audience, *audienceResult]{a, res})
			return fmt.Sprintf("trade → client p50/p95/p99/max %s ms, %.1f KiB a client", quantiles(res.delays), res.memory/1024), nil
		}})
	}
	return steps
}

func quickSteps() []step {
	backlog := standard(true, tick.Protobuf)
	backlog.ticks = quickTicks
	json := backlog
	json.encoding = tick.JSON
	stream := paced{rate: 20_000, duration: 10 * time.Second, partitions: 4, symbols: 500}
	return append(capacitySteps(1, backlog, json), stream.step())
}

// Two backlogs tell whether four times as many ticks take four times as long. They
// are this many times as long as the others: the last batch of persist, which is not
// full, goes up to a second after the one before, which must not count for much.
const shorter, longer = 2, 4 * shorter

// allSteps are all measurements; those of backlogs run so often.
func allSteps(runs int, ticks int64, duration time.Duration, clients int) (steps []step) {
	vary := func(change func(c *capacity)) capacity {
		c := standard(true, tick.Protobuf)
		c.ticks = ticks
		change(&c)
		return c
	}
	steps = capacitySteps(runs,
		vary(func(*capacity) {}),
		vary(func(c *capacity) { c.history = false }),
		vary(func(c *capacity) { c.encoding = tick.JSON }),
		vary(func(c *capacity) { c.history, c.encoding = false, tick.JSON }),
		vary(func(c *capacity) { c.partitions = 12 }),
		vary(func(c *capacity) { c.symbols = 20 }),
		vary(func(c *capacity) { c.symbols = 10_000 }),
		vary(func(c *capacity) { c.ticks *= shorter }),
		vary(func(c *capacity) { c.ticks *= longer }),
	)
	for _, rate := range []float64{1, 10_000, 20_000, 50_000, 100_000, 200_000} {
		steps = append(steps, paced{rate: rate, duration: duration, partitions: 4, symbols: 500}.step())
	}
	return slices.Concat(steps, ingestSteps(ticks), []step{querySteps(duration / 6)}, clientSteps(clients, duration/2))
}
