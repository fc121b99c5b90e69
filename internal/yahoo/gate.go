package yahoo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// gate is what all requests pass: back-off and circuit breaker in one, shared by
// all callers.
//
// A refusal (429, 5xx, a session that is refused when it is new) holds all
// requests back for as long as Yahoo said, or exponentially longer from one
// refusal to the next, with jitter, whichever is longer. Other failures (no
// connection, a time-out, a page instead of JSON) do so once there are as many in
// a row as open the circuit. After a hold one request goes first, as a probe; the
// others wait for its end, and go if it was good.
//
// While the circuit is open callers don't wait for the end of the hold but are
// told at once.
//
// It is no library's breaker because those pause for a fixed time of their own,
// which would have to agree with what Yahoo asks for.
type gate struct {
	mu        sync.Mutex
	policy    backoff.ExponentialBackOff
	threshold int // failures in a row that open the circuit
	failures  int // in a row
	// epoch counts the holds. Requests that were let through in the same one are
	// refused together, which counts once.
	epoch int
	until time.Time
	last  *Error        // the failure that holds requests back, nil where none does
	probe chan struct{} // closed at the end of the probe under way, nil where none is
}

const (
	firstHold = time.Second
	// maxRetryAfter bounds what a Retry-After can ask: an hour is long enough to
	// be polite, and a mistaken date must not stop the polling for ever.
	maxRetryAfter = time.Hour
)

func newGate(longest time.Duration, threshold int) *gate {
	g := &gate{threshold: threshold, policy: backoff.ExponentialBackOff{
		InitialInterval: min(firstHold, longest), RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: longest,
	}}
	g.policy.Reset()
	return g
}

// ticket is one request's leave to go. Exactly one of its methods must be called.
type ticket struct {
	gate  *gate
	epoch int
	probe bool
}

// pass waits until a request may go. It returns an *Error at once where the
// context would end before, or where the circuit is open.
func (g *gate) pass(ctx context.Context, call string) (*ticket, error) {
	for {
		g.mu.Lock()
		if g.last == nil {
			t := &ticket{gate: g, epoch: g.epoch}
			g.mu.Unlock()
			return t, nil
		}
		left, probe := time.Until(g.until), g.probe
		if left <= 0 && probe == nil {
			g.probe = make(chan struct{})
			t := &ticket{gate: g, epoch: g.epoch, probe: true}
			g.show()
			g.mu.Unlock()
			return t, nil
		}
		held := *g.last
		held.RetryAfter = left
		refusal := g.refusal(call)
		g.mu.Unlock()
		if refusal != nil {
			return nil, refusal
		}
		if left <= 0 {
			select {
			case <-probe:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= left {
			return nil, &held
		}
		if err := sleep(ctx, left); err != nil {
			return nil, err
		}
	}
}

// open returns an *Error while the circuit is open, else nil.
func (g *gate) open(call string) *Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal(call)
}

// refusal is open under the lock.
func (g *gate) refusal(call string) *Error {
	if g.circuit() != "open" {
		return nil
	}
	cause := *g.last
	cause.RetryAfter = 0
	return &Error{
		Kind: CircuitOpen, Call: call, RetryAfter: time.Until(g.until),
		Err: fmt.Errorf("after %d failures in a row, the last of which was %w", g.failures, &cause),
	}
}

// accepted says that Yahoo answered the request as it should: the circuit closes,
// and the next hold is short again.
func (t *ticket) accepted() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.end()
	if t.epoch < g.epoch {
		return // it went out before the present hold began
	}
	g.last, g.failures = nil, 0
	g.policy.Reset()
	g.show()
}

// refused says that Yahoo refused the request, which holds all others back. The
// length of the hold is put into e.
func (t *ticket) refused(e *Error) {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.end()
	g.hold(t.epoch, e)
}

// failed says that the request failed in a way that says little by itself.
func (t *ticket) failed(e *Error) {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.end()
	if t.epoch < g.epoch {
		return
	}
	if t.probe || g.failures+1 >= g.threshold {
		g.hold(t.epoch, e)
		return
	}
	g.failures++
	g.show()
}

// dropped says that the request tells nothing of how Yahoo is: it was not sent,
// its caller left, or it was only the way to one that does tell.
func (t *ticket) dropped() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.end()
}

// end lets the next request probe, where this one was the probe.
func (t *ticket) end() {
	if t.probe {
		close(t.gate.probe)
		t.gate.probe = nil
	}
}

// refused is a ticket's, for what shows only after requests that were good by
// themselves. The epoch is that before them.
func (g *gate) refused(epoch int, e *Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold(epoch, e)
}

func (g *gate) now() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch
}

// hold starts a hold, or prolongs the present one where the request that failed
// had gone out before that began.
func (g *gate) hold(epoch int, e *Error) {
	asked := min(e.RetryAfter, maxRetryAfter)
	if epoch == g.epoch {
		g.epoch++
		g.failures++
		asked = max(asked, g.policy.NextBackOff())
		if g.failures == g.threshold {
			circuitOpens.Inc()
		}
	}
	if until := time.Now().Add(asked); until.After(g.until) {
		g.until = until
	}
	e.RetryAfter = max(0, time.Until(g.until))
	cause := *e
	g.last = &cause
	g.show()
}

// Status says how a Client gets on with Yahoo.
type Status struct {
	// Circuit is "closed"; "open" while requests are refused without being sent;
	// "half-open" while one is tried.
	Circuit string
	// Failures is how many there were in a row.
	Failures int
	// Until is when requests may go again; zero where nothing holds them back.
	Until time.Time
	// Reason is the last failure, nil where nothing holds requests back.
	Reason *Error
}

func (g *gate) status() Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := Status{Circuit: g.circuit(), Failures: g.failures}
	if g.last != nil {
		cause := *g.last
		cause.RetryAfter = max(0, time.Until(g.until))
		s.Until, s.Reason = g.until, &cause
	}
	return s
}

func (g *gate) circuit() string {
	switch {
	case g.last == nil || g.failures < g.threshold:
		return "closed"
	case g.probe != nil || time.Until(g.until) <= 0:
		return "half-open"
	}
	return "open"
}

// show puts the state into the metrics.
func (g *gate) show() {
	now := g.circuit()
	for _, state := range []string{"closed", "half-open", "open"} {
		v := 0.0
		if state == now {
			v = 1
		}
		circuitState.WithLabelValues(state).Set(v)
	}
	failuresInARow.Set(float64(g.failures))
	holdUntil.Set(0)
	if g.last != nil {
		holdUntil.Set(float64(g.until.UnixMilli()) / 1000)
	}
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
