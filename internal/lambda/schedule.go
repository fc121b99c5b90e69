package lambda

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/trigger"
)

// scheduled is the answer to a schedule's event.
type scheduled struct {
	Calls  int `json:"calls"`
	Failed int `json:"failed"`
	// Last is the handler's last answer, where it is JSON.
	Last json.RawMessage `json:"last,omitempty"`
}

// schedule calls the handler as the connector for schedules does: once, or again
// every RepeatEvery while RepeatFor and the invocation's time last. A call that
// fails is logged and counted and keeps no later one from being made.
func (a *Adapter) schedule(ctx context.Context) ([]byte, error) {
	headers, err := triggered(trigger.CronTopic)
	if err != nil {
		return nil, err
	}
	var done scheduled
	var reason string
	start := time.Now()
	for next := time.Duration(0); ; next += a.cfg.RepeatEvery {
		for next > 0 && next < time.Since(start) { // those that a slow call has missed are left out
			next += a.cfg.RepeatEvery
		}
		if next > 0 && (next >= a.cfg.RepeatFor || !wait(ctx, start.Add(next))) {
			break
		}
		res := a.call(ctx, handler.Request{Method: http.MethodPost, Header: headers.Clone()})
		done.Calls++
		if done.Last = nil; json.Valid(res.Body) {
			done.Last = res.Body
		}
		if res.StatusCode >= 300 {
			done.Failed++
			reason = trigger.Judge(res.StatusCode, res.Header, res.Body, false, 0, 0).Reason
			slog.Warn("scheduled call failed", "answer", reason)
		}
		if a.cfg.RepeatEvery == 0 {
			break
		}
	}
	if done.Failed > 0 {
		return nil, fmt.Errorf("%d of %d calls failed, the last of them with %s", done.Failed, done.Calls, reason)
	}
	return json.Marshal(done)
}

// wait waits until the time, and reports whether it has come before ctx was done.
func wait(ctx context.Context, until time.Time) bool {
	if deadline, ok := ctx.Deadline(); ok && !until.Before(deadline) {
		return false
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
