package yahoo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// session is what Yahoo lets a client ask quotes with: the cookies that some
// page set, and the crumb that goes with them. It does not change.
type session struct {
	cookies string // the value of a header Cookie
	crumb   string
}

// session returns the session in use. Where that is stale, or there is none, one
// of the callers gets a new one and the others wait for it.
func (c *Client) session(ctx context.Context, stale *session) (*session, error) {
	select {
	case c.renewing <- struct{}{}:
		defer func() { <-c.renewing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s := c.current.Load(); s != nil && s != stale {
		return s, nil
	}
	c.current.Store(nil)
	cookies, err := c.fetchCookies(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{cookies: cookies}
	asked := time.Now()
	if s.crumb, err = c.fetchCrumb(ctx, s); err != nil {
		var e *Error
		if errors.As(err, &e) && (e.Kind == Unauthorized || e.Kind == BadAnswer) {
			c.gate.refused(asked, e)
		}
		return nil, err
	}
	c.current.Store(s)
	return s, nil
}

// fetchCookies asks the cookie pages in turn until one sets a cookie. Where all
// answer and none does, it returns no cookies: the crumb call then tells.
func (c *Client) fetchCookies(ctx context.Context) (string, error) {
	var first error
	answered := false
	for i, page := range c.cookiePages {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return "", err
		}
		// The status does not matter: fc.yahoo.com sets its cookie with an error.
		_, err = c.exchange(ctx, request{call: "cookie", url: page, jar: jar, anyStatus: true, optional: i < len(c.cookiePages)-1})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind == RateLimited || ctx.Err() != nil {
				return "", err
			}
			if first == nil {
				first = err
			}
			continue
		}
		answered = true
		// A page and the query host may be of different domains where stand-ins
		// play them; whatever the page set is meant for the query host.
		var pairs []string
		seen := map[string]bool{}
		for _, u := range []*url.URL{c.base, page} {
			for _, k := range jar.Cookies(u) {
				if !seen[k.Name] {
					seen[k.Name] = true
					pairs = append(pairs, k.Name+"="+k.Value)
				}
			}
		}
		if len(pairs) > 0 {
			return strings.Join(pairs, "; "), nil
		}
	}
	if !answered {
		return "", first
	}
	return "", nil
}

func (c *Client) fetchCrumb(ctx context.Context, s *session) (string, error) {
	body, err := c.exchange(ctx, request{call: "crumb", url: c.base.JoinPath("/v1/test/getcrumb"), cookies: s.cookies, check: func(b *answer) error {
		_, err := DecodeCrumb(b.body)
		return err
	}})
	var e *Error
	if errors.As(err, &e) && e.Kind == Unauthorized {
		e.Err = errors.New("the cookies are not enough: Yahoo asks visitors from the EU for consent, which this client does not give")
		if s.cookies == "" {
			e.Err = errors.New("none of the pages of YAHOO_COOKIE_URL has set a cookie")
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
