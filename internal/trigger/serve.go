package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/reuse"
)

// batches keeps what a few calls side by side take.
var batches = reuse.New(4, func() *Batch { return new(Batch) })

// release gives the batch's memory back, without the body that it points into.
func (b *Batch) release() {
	for i := range b.Records {
		r := &b.Records[i]
		r.Key, r.Value = nil, nil
		for j := range r.Headers {
			r.Headers[j].Value = nil
		}
	}
	batches.Put(b)
}

// Serve is what a function that takes batches does with a call: it refuses one
// without the token (401), reads the batch (400 where it is none), calls do, and
// answers with what do returned: 200, with X-Batch-Failures where records
// failed; 503 with Retry-After on RetryLater, or 504 where it is in doubt; 500 on
// any other error.
//
// The batch belongs to Serve: do must keep nothing of it when it returns.
// Failures must be in the order of their offsets.
func Serve(req handler.Request, do func(context.Context, *Batch) (Failures, error)) handler.Response {
	if err := Authorised(req.Header); err != nil {
		return Refuse(err)
	}
	b := batches.Get()
	defer b.release()
	if err := Decode(b, req.Header.Get("Content-Type"), req.Body); err != nil {
		return Problem(http.StatusBadRequest, err.Error())
	}
	ctx := req.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	failures, err := do(ctx, b)
	if err != nil {
		return answerError(b, err)
	}
	if len(failures) == 0 {
		return answer(http.StatusOK, map[string]int{"records": len(b.Records)})
	}
	list := failures.header()
	res := answer(http.StatusOK, failuresBody{failures})
	if len(list) > maxFailuresHeader || len(res.Body) > maxFailuresBody {
		// The connector halves the batch, so that list and reasons become shorter.
		return Problem(http.StatusUnprocessableEntity, fmt.Sprintf("too many of the batch's %d records failed to list them in one answer", len(b.Records)))
	}
	res.Header.Set(HeaderFailures, list)
	return res
}

func answerError(b *Batch, err error) handler.Response {
	var later RetryLater
	if errors.As(err, &later) {
		slog.Warn("batch put off", "topic", b.Topic, "partition", b.Partition, "resumed", b.Resumed, "error", err)
		status := http.StatusServiceUnavailable
		if later.Doubt {
			status = http.StatusGatewayTimeout
		}
		res := Problem(status, err.Error())
		if later.After > 0 {
			res.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(later.After.Seconds()))))
		}
		return res
	}
	slog.Error("batch failed", "topic", b.Topic, "partition", b.Partition, "resumed", b.Resumed, "error", err)
	return Problem(http.StatusInternalServerError, err.Error())
}

// Refuse is the answer to a call that Authorised did not like: 401, or 503 where
// the function lacks the secret.
func Refuse(err error) handler.Response {
	if errors.Is(err, ErrUnauthorised) {
		return Problem(http.StatusUnauthorized, err.Error())
	}
	return Problem(http.StatusServiceUnavailable, err.Error())
}

// Problem is an answer with RFC 9457 problem details.
func Problem(status int, detail string) handler.Response {
	res := answer(status, map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
	res.Header.Set("Content-Type", "application/problem+json")
	return res
}

func answer(status int, v any) handler.Response {
	body, err := json.Marshal(v)
	if err != nil { // no value that is passed here can cause it
		body, status = []byte(err.Error()), http.StatusInternalServerError
	}
	return handler.Response{StatusCode: status, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
}
