package yahoo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestHoldsGrowFromRefusalToRefusalUpToALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(10 * time.Second)
		for i, middle := range []time.Duration{1, 2, 4, 8, 10, 10} {
			middle *= time.Second
			e := &Error{Kind: RateLimited}
			g.refused(time.Now(), e)
			if e.RetryAfter < middle/2 || e.RetryAfter > middle*3/2 {
				t.Errorf("hold %d is %s, want %s give or take half", i, e.RetryAfter, middle)
			}
			began := time.Now()
			if err := g.pass(t.Context()); err != nil || time.Since(began) != e.RetryAfter {
				t.Errorf("let through after %s of %s, %v", time.Since(began), e.RetryAfter, err)
			}
		}
		g.accepted(time.Now())
		e := &Error{Kind: RateLimited}
		if g.refused(time.Now(), e); e.RetryAfter > 1500*time.Millisecond {
			t.Errorf("after an accepted request the hold is %s", e.RetryAfter)
		}
	})
}

func TestRequestsRefusedTogetherCountAsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Hour)
		sent := time.Now()
		time.Sleep(time.Millisecond)
		first := &Error{Kind: RateLimited}
		g.refused(sent, first)
		for range 5 {
			e := &Error{Kind: RateLimited}
			g.refused(sent, e)
			if e.RetryAfter != first.RetryAfter {
				t.Errorf("hold %s after %s", e.RetryAfter, first.RetryAfter)
			}
		}
		// An answer to an older request does not end the hold.
		g.accepted(sent)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if g.pass(ctx) == nil {
			t.Error("let through")
		}
	})
}

func TestRetryAfterIsKeptTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Second)
		e := &Error{Kind: RateLimited, RetryAfter: 90 * time.Second}
		g.refused(time.Now(), e)
		if e.RetryAfter != 90*time.Second {
			t.Errorf("hold is %s", e.RetryAfter)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 89*time.Second)
		defer cancel()
		began := time.Now()
		var held *Error
		if err := g.pass(ctx); !errors.As(err, &held) || held.Kind != RateLimited || held.RetryAfter != 90*time.Second || time.Since(began) != 0 {
			t.Errorf("a caller without the time to wait got %v after %s", err, time.Since(began))
		}
		if err := g.pass(t.Context()); err != nil || time.Since(began) != 90*time.Second {
			t.Errorf("let through after %s, %v", time.Since(began), err)
		}
		e = &Error{Kind: RateLimited, RetryAfter: 1000 * time.Hour}
		if g.refused(time.Now(), e); e.RetryAfter != time.Hour {
			t.Errorf("a senseless Retry-After holds for %s", e.RetryAfter)
		}
	})
}

func TestACallerThatLeavesDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(time.Second)
		g.refused(time.Now(), &Error{Kind: RateLimited, RetryAfter: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if err := g.pass(ctx); !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}
