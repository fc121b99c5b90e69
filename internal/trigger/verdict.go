package trigger

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Verdict is what a function's answer means for the records of its call.
type Verdict struct {
	Kind VerdictKind
	// Doubt says that the records may have been applied all the same.
	Doubt bool
	// After is how long the function asked to be left alone, or 0.
	After time.Duration
	// Failures are the records of an accepted batch that the function can't do.
	Failures *FailureList
	// Reason says what happened, in one line.
	Reason string
	// Code is the answer's status, or what took its place, for metrics.
	Code string
}

// VerdictKind is what is to be done with the records of a call.
type VerdictKind int

// The kinds of verdicts.
const (
	// Accepted: the records are done, but for Failures.
	Accepted VerdictKind = iota
	// Refused: the records are at fault, at least one of them.
	Refused
	// Later: the same call may succeed later.
	Later
	// Misdirected: the call is at fault and not its records, which is for an
	// operator to mend. Records are never given up for it.
	Misdirected
)

// maxRetryAfter is the longest that a function can ask to be left alone.
const maxRetryAfter = 10 * time.Minute

// Unanswered is the verdict where an error came in place of an answer.
func Unanswered(err error) Verdict {
	return Verdict{Kind: Later, Doubt: true, Code: "none", Reason: fmt.Sprintf("no answer: %v", err)}
}

// Judge says what an answer to a call with the records from first to last means.
// batch tells a batch from a single record, which has no X-Batch-Failures.
func Judge(status int, header http.Header, body []byte, batch bool, first, last int64) Verdict {
	v := Verdict{Code: strconv.Itoa(status), Reason: fmt.Sprintf("status %d: %s", status, excerpt(body))}
	switch {
	case status >= 200 && status < 300:
		list := header.Get(HeaderFailures)
		if list == "" || !batch {
			return v
		}
		var err error
		if v.Failures, err = ParseFailures(list, body, first, last); err != nil {
			// The good records are done, and it is not known which those are.
			v.Kind, v.Doubt, v.Reason = Later, true, fmt.Sprintf("status %d: %v", status, err)
		}
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound, status == http.StatusMethodNotAllowed,
		status == http.StatusProxyAuthRequired, status == http.StatusUnsupportedMediaType && batch:
		v.Kind = Misdirected
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		v.Kind, v.After = Later, retryAfter(header)
	case status >= 400 && status < 500:
		v.Kind = Refused
	case status >= 500:
		// Of a function that dies in the middle of a call, OpenFaaS's proxy says 500,
		// the gateway 502, and other proxies 503. Only a function says when to come back.
		v.Kind, v.After = Later, retryAfter(header)
		v.Doubt = status != http.StatusServiceUnavailable || header.Get("Retry-After") == ""
	default: // a redirect, say
		v.Kind = Misdirected
	}
	return v
}

// retryAfter reads the header's seconds or date; 0 is none.
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	var d time.Duration
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), maxRetryAfter)
}

// excerpt is the beginning of an answer, as printable text in one line.
func excerpt(body []byte) string {
	const most = 500
	if len(body) > most {
		body = body[:most]
	}
	s := strings.ToValidUTF8(string(body), "")
	return strings.Join(strings.Fields(s), " ")
}
