package yahoo

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// gate holds the requests of all callers back after Yahoo has refused one, for
// as long as Yahoo said or, where it didn't say, exponentially longer from one
// refusal to the next, with jitter.
type gate struct {
	mu      sync.Mutex
	policy  backoff.ExponentialBackOff
	since   time.Time // when the present hold began
	until   time.Time
	refusal *Error // what it was, nil where nothing is held back
}

const (
	firstHold = time.Second
	// maxRetryAfter bounds what a Retry-After can ask: an hour is long enough to
	// be polite, and a mistaken date must not stop the polling for ever.
	maxRetryAfter = time.Hour
)

func newGate(longest time.Duration) *gate {
	g := &gate{policy: backoff.ExponentialBackOff{
		InitialInterval: min(firstHold, longest), RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: longest,
	}}
	g.policy.Reset()
	return g
}

// pass waits until requests may go out. It returns the refusal at once, with
// the time that is left, where the context would end before.
func (g *gate) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		left, refusal := time.Until(g.until), g.refusal
		g.mu.Unlock()
		if left <= 0 || refusal == nil {
			return nil
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= left {
			held := *refusal
			held.RetryAfter = left
			return &held
		}
		if err := sleep(ctx, left); err != nil {
			return err
		}
	}
}

// refused starts or prolongs the hold, and puts its length into e. The refusal
// of a request that was sent before the present hold began does not count as
// one more: requests in flight together are refused together.
func (g *gate) refused(sent time.Time, e *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	hold := min(e.RetryAfter, maxRetryAfter)
	if hold <= 0 && !sent.Before(g.since) {
		hold = g.policy.NextBackOff()
	}
	if until := now.Add(hold); until.After(g.until) {
		g.until = until
	}
	if !sent.Before(g.since) {
		g.since = now
	}
	g.refusal = e
	e.RetryAfter = time.Until(g.until)
}

// accepted ends the growth of holds: the next one is short again.
func (g *gate) accepted(sent time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if sent.Before(g.since) {
		return
	}
	g.refusal = nil
	g.policy.Reset()
}

// sleep waits for d or until the context is done.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
