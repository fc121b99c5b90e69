package delivery

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ticktape/internal/gateway"
	"ticktape/internal/trigger"
)

// verdict is what an answer means for the records of a call.
type verdict struct {
	kind verdictKind
	// doubt says that the records may have been applied all the same.
	doubt bool
	// after is how long the function asked to be left alone, or 0.
	after time.Duration
	// failures are the records of an accepted batch that the function can't do.
	failures *trigger.FailureList
	// reason says what happened, in one line.
	reason string
	// code is the answer's status, or what took its place, for metrics.
	code string
}

type verdictKind int

const (
	accepted verdictKind = iota
	// refused: the records are at fault, at least one of them.
	refused
	// later: the same call may succeed later.
	later
	// misdirected: the call is at fault and not its records, which is for an
	// operator to mend. Records are never given up for it.
	misdirected
)

// maxRetryAfter is the longest that a function can ask to be left alone.
const maxRetryAfter = 10 * time.Minute

// judge says what an answer, or the error in its place, means. first and last are
// the offsets of the ends of the call's batch.
func judge(a *gateway.Answer, err error, format trigger.Format, first, last int64) verdict {
	if err != nil {
		return verdict{kind: later, doubt: true, code: "none", reason: fmt.Sprintf("no answer: %v", err)}
	}
	v := verdict{code: strconv.Itoa(a.Status), reason: fmt.Sprintf("status %d: %s", a.Status, excerpt(a.Body))}
	switch s := a.Status; {
	case s >= 200 && s < 300:
		list := a.Header.Get(trigger.HeaderFailures)
		if list == "" || format == trigger.Single {
			return v
		}
		if v.failures, err = trigger.ParseFailures(list, a.Body, first, last); err != nil {
			// The good records are done, and it is not known which those are.
			v.kind, v.doubt, v.reason = later, true, fmt.Sprintf("status %d: %v", s, err)
		}
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusNotFound, s == http.StatusMethodNotAllowed,
		s == http.StatusProxyAuthRequired, s == http.StatusUnsupportedMediaType && format != trigger.Single:
		v.kind = misdirected
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests:
		v.kind, v.after = later, retryAfter(a.Header)
	case s >= 400 && s < 500:
		v.kind = refused
	case s >= 500:
		// Of a function that dies in the middle of a call, OpenFaaS's proxy says 500,
		// the gateway 502, and other proxies 503. Only a function says when to come back.
		v.kind, v.after = later, retryAfter(a.Header)
		v.doubt = s != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == ""
	default: // a redirect, say
		v.kind = misdirected
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
