// Package handling calls a function's handler and makes an answer of whatever
// becomes of it, so that every way to a function treats failures alike.
package handling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/trigger"
)

// Handler is what a function's folder has.
type Handler func(handler.Request) (handler.Response, error)

const failed = "The function failed. Its log says why."

// Call calls the handler. No status means 200. An error, and a status that HTTP
// does not have, is logged and answered with 500, or 504 where it is
// context.DeadlineExceeded, and with the response's body or problem details. A
// panic is logged with its stack and answered with 500.
func Call(h Handler, req handler.Request) (res handler.Response, panicked bool) {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("handler panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			res, panicked = trigger.Problem(http.StatusInternalServerError, failed), true
		}
	}()
	res, err := h(req)
	res.StatusCode = cmp.Or(res.StatusCode, http.StatusOK)
	if err == nil && (res.StatusCode < 200 || res.StatusCode > 999) {
		err = fmt.Errorf("handler answered with status %d, which HTTP does not have", res.StatusCode)
	}
	if err == nil {
		return res, false
	}
	slog.Error("handler failed", "error", err)
	status := http.StatusInternalServerError
	if errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusGatewayTimeout
	}
	if len(res.Body) == 0 {
		return trigger.Problem(status, failed), false
	}
	res.StatusCode = status
	return res, false
}
