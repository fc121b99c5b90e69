package yahoo

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kind says what sort of failure an Error is, which decides what its caller can do.
type Kind int

// The kinds of failure.
const (
	// Unreachable: no answer came (connection refused, no such host, time-out).
	Unreachable Kind = iota + 1
	// RateLimited: Yahoo asked for fewer requests (429, or a crumb that says so).
	RateLimited
	// Unavailable: Yahoo failed on its side (5xx).
	Unavailable
	// Unauthorized: cookie and crumb were refused even when new.
	Unauthorized
	// NotFound: there is no such symbol or no data (404).
	NotFound
	// BadRequest: Yahoo can't do what was asked (400, 422: a range that an interval does not have).
	BadRequest
	// BadAnswer: an answer that can't be used: HTML, a truncated body, another shape.
	BadAnswer
	// CircuitOpen: nothing was asked, because too many requests before have failed.
	// RetryAfter says when one will go again.
	CircuitOpen
)

var kindNames = [...]string{"", "unreachable", "rate limited", "unavailable", "unauthorized", "not found", "bad request", "bad answer", "circuit open"}

// String is the kind in words: "rate limited".
func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return kindNames[0]
	}
	return kindNames[k]
}

// Error is every error of a Client's calls, but for those of the caller's own
// context, which are under it too (errors.Is works).
type Error struct {
	Kind Kind
	// Call is what was asked: "quote", "chart", "crumb", "consent" or "cookie".
	Call string
	// Status is the HTTP status, 0 where no answer came.
	Status int
	// Code and Description are those of Yahoo's own error body, where it had one.
	Code, Description string
	// RetryAfter is how long the client will hold its requests back, 0 where it won't.
	RetryAfter time.Duration
	// Err is the cause, or nil.
	Err error
}

// Error says what happened in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Yahoo %s: %s", e.Call, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.Status)
		if text := http.StatusText(e.Status); text != "" {
			b.WriteString(" " + text)
		}
	}
	if e.Code != "" || e.Description != "" {
		fmt.Fprintf(&b, ": %s", strings.Trim(e.Code+": "+e.Description, ": "))
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, " (next try in %s)", e.RetryAfter.Round(100*time.Millisecond))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Cause is the kind of failure at the root: while the circuit is open that of the
// last one before it opened.
func (e *Error) Cause() Kind {
	if before := (*Error)(nil); errors.As(e.Err, &before) {
		return before.Cause()
	}
	return e.Kind
}

// temporary says whether asking again may help.
func (e *Error) temporary() bool {
	switch e.Kind {
	case Unreachable, RateLimited, Unavailable:
		return true
	case BadAnswer:
		return e.truncated()
	}
	return false
}

// tells says whether the failure is one of Yahoo's, or of the way to it, rather
// than of what was asked.
func (e *Error) tells() bool {
	return e.Kind == Unreachable || e.Kind == BadAnswer && (e.truncated() || errors.Is(e.Err, errNoJSON))
}

// SymbolError says why there is no quote of one symbol that Yahoo did answer for.
type SymbolError struct {
	Symbol string
	Reason string
}

// Error names the symbol and the reason.
func (e *SymbolError) Error() string { return e.Symbol + ": " + e.Reason }
