package yahoo

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// leave passes the gate where nothing holds it back.
func leave(t *testing.T, g *gate) *ticket {
	t.Helper()
	pass, err := g.pass(t.Context(), "quote")
	if err != nil {
		t.Fatal(err)
	}
	return pass
}

func refuse(t *testing.T, g *gate, retryAfter time.Duration) time.Duration {
	t.Helper()
	e := &Error{Kind: RateLimited, Call: "quote", RetryAfter: retryAfter}
	leave(t, g).refused(e)
	return e.RetryAfter
}

func TestHoldsGrowFromRefusalToRefusalUpToALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(10*time.Second, 100)
		for i, middle := range []time.Duration{1, 2, 4, 8, 10, 10} {
			middle *= time.Second
			began := time.Now()
			hold := refuse(t, g, 0)
			if hold < middle/2 || hold > middle*3/2 {
				t.Errorf("hold %d is %s, want %s give or take half", i, hold, middle)
			}
			began = began.Add(time.Since(began))
			leave(t, g).dropped()
			if time.Since(began) != hold {
				t.Errorf("let through after %s of %s", time.Since(began), hold)
			}
		}
		leave(t, g).accepted()
		if hold := refuse(t, g, 0); hold > 1500*time.Millisecond {
			t.Errorf("after an accepted request the hold is %s", hold)
		}
	})
}

func TestRequestsRefusedTogetherCountAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Hour, 2)
		var together []*ticket
		for range 6 {
			together = append(together, leave(t, g))
		}
		first := &Error{Kind: RateLimited}
		together[0].refused(first)
		for _, pass := range together[1:5] {
			e := &Error{Kind: RateLimited}
			pass.refused(e)
			if e.RetryAfter != first.RetryAfter {
				t.Errorf("hold %s after %s", e.RetryAfter, first.RetryAfter)
			}
		}
		// An answer to an older request does not end the hold.
		together[5].accepted()
		if s := g.status(); s.Failures != 1 || s.Circuit != "closed" || s.Reason == nil || s.Reason.Kind != RateLimited {
			t.Errorf("status %+v", s)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := g.pass(ctx, "quote"); err == nil {
			t.Error("let through")
		}
	})
}

func TestRetryAfterIsKeptTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Second, 100)
		if hold := refuse(t, g, 90*time.Second); hold != 90*time.Second {
			t.Errorf("hold is %s", hold)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 89*time.Second)
		defer cancel()
		began := time.Now()
		var held *Error
		if _, err := g.pass(ctx, "quote"); !errors.As(err, &held) || held.Kind != RateLimited || held.RetryAfter != 90*time.Second || time.Since(began) != 0 {
			t.Errorf("a caller without the time to wait got %v after %s", err, time.Since(began))
		}
		leave(t, g).accepted()
		if time.Since(began) != 90*time.Second {
			t.Errorf("let through after %s", time.Since(began))
		}
		if hold := refuse(t, g, 1000*time.Hour); hold != time.Hour {
			t.Errorf("a senseless Retry-After holds for %s", hold)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Minute, 100)
		var hold time.Duration
		for range 8 {
			hold = refuse(t, g, time.Second)
		}
		if hold < 30*time.Second {
			t.Errorf("a short Retry-After that does not help holds for %s only", hold)
		}
	})
}

func TestACallerThatLeavesDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Second, 100)
		refuse(t, g, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if _, err := g.pass(ctx, "quote"); !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		probe := leave(t, g)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.pass(ctx, "quote"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while another probes: %v", err)
		}
		probe.dropped()
	})
}

func TestTheCircuitOpensAfterFailuresInARowAndClosesByOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Minute, 3)
		unreachable := func() *Error { return &Error{Kind: Unreachable, Call: "quote", Err: errors.New("no route")} }
		// One that is answered between them starts the count anew.
		for range 2 {
			leave(t, g).failed(unreachable())
			leave(t, g).failed(unreachable())
			leave(t, g).accepted()
		}
		for i := range 3 {
			e := unreachable()
			leave(t, g).failed(e)
			if held := e.RetryAfter > 0; held != (i == 2) {
				t.Errorf("failure %d holds for %s", i+1, e.RetryAfter)
			}
		}
		// Open: callers are told at once, whatever time they have.
		began := time.Now()
		var open *Error
		if _, err := g.pass(t.Context(), "chart"); !errors.As(err, &open) || open.Kind != CircuitOpen || open.RetryAfter <= 0 || time.Since(began) > 0 {
			t.Fatalf("open: %v", err)
		}
		if text := open.Error(); !strings.HasPrefix(text, "Yahoo chart: circuit open: after 3 failures in a row, the last of which was Yahoo quote: unreachable: no route (next try in ") {
			t.Errorf("it says %q", text)
		}
		if s := g.status(); s.Circuit != "open" || s.Failures != 3 || !s.Until.After(time.Now()) {
			t.Errorf("status %+v", s)
		}
		// Half open: one goes, the others wait for its end. A bad one opens it again.
		time.Sleep(time.Until(g.status().Until))
		probe := leave(t, g)
		if s := g.status(); s.Circuit != "half-open" {
			t.Errorf("status %+v", s)
		}
		var others sync.WaitGroup
		for range 3 {
			others.Go(func() {
				if _, err := g.pass(t.Context(), "quote"); asError("", err).Kind != CircuitOpen {
					t.Errorf("after a bad probe: %v", err)
				}
			})
		}
		synctest.Wait()
		probe.failed(unreachable())
		others.Wait()
		// A probe that tells nothing leaves the turn to the next, and a good one
		// lets all go.
		time.Sleep(time.Until(g.status().Until))
		leave(t, g).dropped()
		probe = leave(t, g)
		for range 3 {
			others.Go(func() {
				if pass, err := g.pass(t.Context(), "quote"); err != nil {
					t.Errorf("after a good probe: %v", err)
				} else {
					pass.accepted()
				}
			})
		}
		synctest.Wait()
		probe.accepted()
		others.Wait()
		if s := g.status(); s.Circuit != "closed" || s.Failures != 0 || s.Reason != nil || !s.Until.IsZero() {
			t.Errorf("status %+v", s)
		}
	})
}
