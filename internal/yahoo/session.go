package yahoo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// session is what Yahoo lets a client ask quotes with: the cookies that some
// page set, and the crumb that goes with them. It does not change.
type session struct {
	cookies string // the value of a header Cookie
	crumb   string
}

// sessions gets them, one at a time.
type sessions struct {
	turn    chan struct{} // holds the token of who renews
	mu      sync.Mutex    // guards what is below
	current *session
	ended   int   // renewals that have ended
	failure error // of the last one, unless its caller left
}

func (s *sessions) get() (current *session, ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.ended
}

// forget takes a session out of use.
func (s *sessions) forget(stale *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == stale {
		s.current = nil
	}
}

// session returns the session in use. Where that is stale, or there is none, one
// of the callers gets a new one, and the others wait for it and share its end,
// good or bad.
func (c *Client) session(ctx context.Context, stale *session) (*session, error) {
	_, before := c.sessions.get()
	select {
	case c.sessions.turn <- struct{}{}:
		defer func() { <-c.sessions.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.sessions.mu.Lock()
	s, failure := c.sessions.current, c.sessions.failure
	shared := c.sessions.ended > before
	if s == stale {
		c.sessions.current = nil
	}
	c.sessions.mu.Unlock()
	switch {
	case s != nil && s != stale:
		return s, nil
	case shared && failure != nil:
		return nil, failure
	}
	s, err := c.enter(ctx)
	sessionsTotal.WithLabelValues(resultOf(err)).Inc()
	c.sessions.mu.Lock()
	defer c.sessions.mu.Unlock()
	c.sessions.ended++
	c.sessions.current, c.sessions.failure = s, err
	if ctx.Err() != nil {
		c.sessions.failure = nil // the others have time left
	}
	return s, err
}

// enter tries the cookie pages in turn until one leads to a crumb. A page that
// can't be reached, sets no cookie or sets one that is not enough (as where
// consent is asked for) is not the last word while there is another.
func (c *Client) enter(ctx context.Context) (*session, error) {
	var failure error
	var epoch int
	for i, page := range c.cookiePages {
		epoch = c.gate.now()
		last := i == len(c.cookiePages)-1
		cookies, err := c.fetchCookies(ctx, page, !last)
		if err == nil && cookies == "" && (!last || failure != nil) {
			continue
		}
		if err == nil {
			// Where no page has set a cookie, this tells whether one is needed.
			s := &session{cookies: cookies}
			if s.crumb, err = c.fetchCrumb(ctx, cookies); err == nil {
				return s, nil
			}
		}
		var e *Error
		if !errors.As(err, &e) || e.Kind == RateLimited || e.Kind == CircuitOpen || ctx.Err() != nil {
			return nil, err
		}
		failure = err
	}
	// Of a host that is away or fails the gate knows from the request itself.
	if e := asError("cookie", failure); e.Kind != Unreachable && e.Kind != Unavailable {
		c.gate.refused(epoch, e)
		failure = e
	}
	return nil, failure
}

var errNoCookie = errors.New("no page of YAHOO_COOKIE_URL has set a cookie")

// fetchCookies asks a page, gives the consent that it may ask for, and returns
// the cookies that were set on the way. The status does not matter: fc.yahoo.com
// sets its cookie with an error.
func (c *Client) fetchCookies(ctx context.Context, page *url.URL, optional bool) (string, error) {
	jar := c.newJar()
	a, err := c.exchange(ctx, request{call: "cookie", url: page, jar: jar, page: true, optional: optional})
	if err != nil {
		return "", err
	}
	if form, ok := DecodeConsent(a.body, a.url); ok {
		if form.Fields.Get("originalDoneUrl") == "" {
			form.Fields.Set("originalDoneUrl", page.String())
		}
		if a, err = c.exchange(ctx, request{call: "consent", url: form.Action, form: form.Fields, jar: jar, page: true, optional: optional}); err != nil {
			return "", err
		}
		if _, again := DecodeConsent(a.body, a.url); again || a.status >= http.StatusBadRequest && a.status != http.StatusNotFound {
			return "", &Error{Kind: Unauthorized, Call: "consent", Status: a.status, Err: errors.New("consent was given and is asked for again")}
		}
	}
	var pairs []string
	for _, k := range jar.Cookies(c.base) {
		pairs = append(pairs, k.Name+"="+k.Value)
	}
	return strings.Join(pairs, "; "), nil
}

func (c *Client) newJar() http.CookieJar {
	if !ofYahoo(c.base) {
		return &looseJar{}
	}
	jar, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil {
		panic(err) // it returns none
	}
	return jar
}

// looseJar sends every cookie everywhere. It is for hosts that play Yahoo's:
// those pass on cookies of the domain yahoo.com, for secure connections only,
// from an address of their own, and play several hosts.
type looseJar struct {
	mu      sync.Mutex
	cookies []*http.Cookie
}

func (j *looseJar) SetCookies(_ *url.URL, cookies []*http.Cookie) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, k := range cookies {
		kept := j.cookies[:0:0]
		for _, old := range j.cookies {
			if old.Name != k.Name {
				kept = append(kept, old)
			}
		}
		if k.MaxAge >= 0 {
			kept = append(kept, &http.Cookie{Name: k.Name, Value: k.Value})
		}
		j.cookies = kept
	}
}

func (j *looseJar) Cookies(*url.URL) []*http.Cookie {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.cookies
}

func (c *Client) fetchCrumb(ctx context.Context, cookies string) (string, error) {
	body, err := c.exchange(ctx, request{call: "crumb", url: c.base.JoinPath("/v1/test/getcrumb"), cookies: cookies, check: func(b *answer) error {
		_, err := DecodeCrumb(b.body)
		return err
	}})
	var e *Error
	if errors.As(err, &e) && e.Kind == Unauthorized {
		e.Err = errors.New("the cookies are not enough")
		if cookies == "" {
			e.Err = errNoCookie
		}
	}
	if err != nil {
		return "", err
	}
	return DecodeCrumb(body.body)
}

// DecodeCrumb checks the answer of v1/test/getcrumb, which may be an error's
// text under status 200, and returns the crumb. The error is an *Error:
// RateLimited where the text says so, else BadAnswer.
func DecodeCrumb(body []byte) (string, error) {
	s := strings.TrimSpace(string(body))
	refuse := func(k Kind, why string) (string, error) {
		return "", &Error{Kind: k, Call: "crumb", Status: http.StatusOK, Err: fmt.Errorf("%q %s", clip(s), why)}
	}
	lower := strings.ToLower(s)
	if strings.Contains(lower, "too many requests") {
		return refuse(RateLimited, "stands where the crumb should be")
	}
	if len(s) < 6 || len(s) > 32 {
		return refuse(BadAnswer, "is no crumb: those have about 11 characters")
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>{}[]"'\`, c) >= 0 {
			return refuse(BadAnswer, "is no crumb: it has a character that none has")
		}
	}
	for _, word := range []string{"unauthorized", "forbidden", "invalid", "error", "denied", "notfound", "unavailable"} {
		if strings.Contains(lower, word) {
			return refuse(BadAnswer, "is an error where the crumb should be")
		}
	}
	return s, nil
}
