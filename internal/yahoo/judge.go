package yahoo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// judge returns nil where the answer is what the request wants, else an *Error.
func (a *answer) judge(r request) error {
	e := &Error{Call: r.call, Status: a.status}
	switch {
	case a.status == http.StatusTooManyRequests:
		e.Kind = RateLimited
		e.RetryAfter = retryAfter(a.header, time.Now())
		return e
	case r.page && (r.call == "cookie" || a.status < 500):
		return nil
	case a.status >= 500:
		e.Kind = Unavailable
		e.RetryAfter = retryAfter(a.header, time.Now())
		return e
	case a.status == http.StatusOK:
		return a.wanted(r)
	}
	e.Kind = BadAnswer
	switch {
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		e.Kind = Unauthorized
	case a.status == http.StatusNotFound:
		e.Kind = NotFound
	case a.status >= 400:
		e.Kind = BadRequest
	}
	e.Code, e.Description = a.said()
	return e
}

// wanted checks an answer of status 200.
func (a *answer) wanted(r request) error {
	if r.check == nil {
		return nil
	}
	if page := a.html(); page != "" {
		if _, ok := DecodeConsent(a.body, a.url); ok {
			return &Error{Kind: Unauthorized, Call: r.call, Status: a.status, Err: errors.New("a page asks for consent")}
		}
		return &Error{Kind: BadAnswer, Call: r.call, Status: a.status, Err: fmt.Errorf("%w: %s", errNoJSON, page)}
	}
	if len(bytes.TrimSpace(a.body)) == 0 && r.call != "crumb" {
		return &Error{Kind: BadAnswer, Call: r.call, Status: a.status, Err: errTruncated}
	}
	err := r.check(a)
	if err != nil && bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("Too Many Requests")) {
		err = &Error{Kind: RateLimited, Call: r.call, RetryAfter: retryAfter(a.header, time.Now()), Err: fmt.Errorf("the answer is %q", clip(string(a.body)))}
	}
	var e *Error
	if errors.As(err, &e) {
		e.Status = a.status
	}
	return err
}

var title = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// html says that the body is a page, and what its title is; it is empty where
// the body is something else.
func (a *answer) html() string {
	body := bytes.TrimSpace(a.body)
	if !bytes.HasPrefix(body, []byte("<")) && !(strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && !bytes.HasPrefix(body, []byte("{"))) {
		return ""
	}
	m := title.FindSubmatch(body[:min(len(body), 64<<10)])
	if m == nil {
		return "HTML came instead"
	}
	return fmt.Sprintf("HTML came instead: %q", clip(string(m[1])))
}

// said finds the code and description of Yahoo's error body, whichever call's
// shape it has; of another short text it returns that.
func (a *answer) said() (code, description string) {
	var doc map[string]json.RawMessage
	if json.Unmarshal(a.body, &doc) == nil {
		for _, m := range doc {
			var part struct {
				Error *apiError `json:"error"`
			}
			if json.Unmarshal(m, &part) == nil && part.Error != nil {
				return clip(part.Error.Code.string()), clip(part.Error.Description.string())
			}
		}
		return "", ""
	}
	if html := a.html(); html != "" {
		return "", html
	}
	return "", clip(string(a.body))
}

// retryAfter reads the header Retry-After, seconds or a date; 0 where there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}
