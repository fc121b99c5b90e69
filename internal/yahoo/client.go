// Package yahoo is a client of Yahoo Finance's REST interface: quotes and
// charts, with the cookie and the crumb that they need, behind limits that keep
// it welcome. Prices go from Yahoo's text to fixed point without passing
// through a float.
//
// It is not for deciding what becomes a tick (package ingest). There is no
// official description of the interface; what is done here follows what public
// clients of it (yfinance, yahoo-finance2) have learned. Package yahootest is a
// stand-in that speaks it.
package yahoo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"ticktape/internal/tick"
)

// SimulatedHeader is set on every answer of a stand-in. An answer that has it is
// simulated, whatever the settings say.
const SimulatedHeader = "X-Ticktape-Simulated"

// Config is how to reach Yahoo. Its fields are set by the environment variables
// in their tags.
type Config struct {
	// URL is the base of the query host.
	URL string `env:"YAHOO_URL" envDefault:"https://query1.finance.yahoo.com"`
	// CookieURLs are the pages to get a cookie from, in this order. By default
	// Yahoo's own, or, where URL is not Yahoo's, that host's / and /quote/AAPL.
	CookieURLs []string `env:"YAHOO_COOKIE_URL"`
	// Proxy is the address of one for all requests. Without it HTTPS_PROXY,
	// HTTP_PROXY and NO_PROXY count, as usual.
	Proxy string `env:"YAHOO_PROXY"`
	// UserAgent is a browser's, which Yahoo expects.
	UserAgent string `env:"YAHOO_USER_AGENT" envDefault:"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"`
	// Source says what the answers are: yahoo, simulated, or auto, which takes
	// them for simulated unless they come from a host of Yahoo's.
	Source string `env:"SOURCE" envDefault:"auto"`
	// Timeout is the longest that one request may take.
	Timeout time.Duration `env:"YAHOO_TIMEOUT" envDefault:"8s"`
	// InFlight is the most requests under way at once, and Rate the most a second.
	InFlight int     `env:"YAHOO_IN_FLIGHT" envDefault:"4"`
	Rate     float64 `env:"YAHOO_RATE" envDefault:"4"`
	// SymbolsPerCall is the most symbols to ask for in one request.
	SymbolsPerCall int `env:"YAHOO_SYMBOLS_PER_CALL" envDefault:"100"`
	// Attempts is the most times that a request is sent where it fails in a way
	// that may pass.
	Attempts int `env:"YAHOO_ATTEMPTS" envDefault:"3"`
	// MaxBackoff bounds the growth of the pauses after refusals (429, 5xx).
	MaxBackoff time.Duration `env:"YAHOO_MAX_BACKOFF" envDefault:"1m"`
	// CircuitFailures is how many failures in a row open the circuit.
	CircuitFailures int `env:"YAHOO_CIRCUIT_FAILURES" envDefault:"5"`
	// Transport replaces the way to the hosts where it is not nil: for tests, which
	// run a client and a stand-in by a clock of their own (testing/synctest).
	Transport http.RoundTripper
}

// Client asks Yahoo. It is safe for concurrent use; its limits and its session
// are shared by all callers, so a process has one.
type Client struct {
	cfg         Config
	base        *url.URL
	cookiePages []*url.URL
	http        *http.Client
	source      tick.Source // of answers without SimulatedHeader

	gate     *gate
	slots    chan struct{}
	limiter  *rate.Limiter
	sessions sessions
	// chartsNeedCrumb is set once Yahoo has refused a chart without one.
	chartsNeedCrumb atomic.Bool
}

// New checks the settings and makes a client. It asks nothing yet. Its errors
// name the variable to change.
func New(cfg Config) (*Client, error) {
	base, err := parseBase("YAHOO_URL", cfg.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, base: base, sessions: sessions{turn: make(chan struct{}, 1)}}
	pages := cfg.CookieURLs
	if len(pages) == 0 && ofYahoo(base) {
		pages = []string{"https://fc.yahoo.com/", "https://finance.yahoo.com/quote/AAPL"}
	} else if len(pages) == 0 {
		pages = []string{base.JoinPath("/").String(), base.JoinPath("/quote/AAPL").String()}
	}
	for _, p := range pages {
		u, err := parseBase("YAHOO_COOKIE_URL", strings.TrimSpace(p))
		if err != nil {
			return nil, err
		}
		c.cookiePages = append(c.cookiePages, u)
	}
	switch {
	case cfg.Source == "yahoo", cfg.Source == "auto" && ofYahoo(base):
		c.source = tick.SourceYahoo
	case cfg.Source == "simulated", cfg.Source == "auto":
		c.source = tick.SourceSimulated
	default:
		return nil, fmt.Errorf("SOURCE=%.40q is neither yahoo nor simulated nor auto: set it to one of them", cfg.Source)
	}
	for name, bad := range map[string]bool{
		"YAHOO_TIMEOUT": cfg.Timeout <= 0, "YAHOO_IN_FLIGHT": cfg.InFlight < 1, "YAHOO_RATE": !(cfg.Rate > 0),
		"YAHOO_SYMBOLS_PER_CALL": cfg.SymbolsPerCall < 1, "YAHOO_ATTEMPTS": cfg.Attempts < 1, "YAHOO_MAX_BACKOFF": cfg.MaxBackoff <= 0,
		"YAHOO_CIRCUIT_FAILURES": cfg.CircuitFailures < 1,
	} {
		if bad {
			return nil, fmt.Errorf("%s must be above 0", name)
		}
	}
	transport := cfg.Transport
	if transport == nil {
		if transport, err = newTransport(cfg); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{Transport: transport, Timeout: cfg.Timeout, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > maxHops {
			return fmt.Errorf("%w: more than %d", errRedirects, maxHops)
		}
		r.Header.Del("Referer") // it would carry crumbs and the form's token on
		return nil
	}}
	c.gate = newGate(cfg.MaxBackoff, cfg.CircuitFailures)
	c.slots = make(chan struct{}, cfg.InFlight)
	c.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), max(1, cfg.InFlight))
	return c, nil
}

// maxHops bounds the redirects of one request: through the consent pages it is
// five or six.
const maxHops = 10

var errRedirects = errors.New("the redirects have no end")

func newTransport(cfg Config) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = cfg.InFlight
	t.DialContext = (&net.Dialer{Timeout: min(cfg.Timeout, 5*time.Second), KeepAlive: 30 * time.Second}).DialContext
	if cfg.Proxy != "" {
		proxy, err := url.Parse(cfg.Proxy)
		if err != nil || proxy.Host == "" {
			return nil, errors.New("YAHOO_PROXY is not an address: write it like http://127.0.0.1:3128")
		}
		switch proxy.Scheme {
		case "http", "https", "socks5", "socks5h":
		default:
			return nil, fmt.Errorf("YAHOO_PROXY has the scheme %.20q: use http, https or socks5", proxy.Scheme)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	return t, nil
}

// ofYahoo tells whether an address is of a host of Yahoo's.
func ofYahoo(u *url.URL) bool {
	return u.Hostname() == "yahoo.com" || strings.HasSuffix(u.Hostname(), ".yahoo.com")
}

func parseBase(variable, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%s=%.100q is not an address: write it like https://query1.finance.yahoo.com", variable, s)
	}
	return u, nil
}

// Status says how the client gets on with Yahoo.
func (c *Client) Status() Status { return c.gate.status() }

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Answer is what Yahoo knew of the symbols that it was asked for. Each of them
// is in one of the three.
type Answer struct {
	Quotes []Quote
	// Unknown are the symbols that Yahoo is silent about.
	Unknown []string
	// Failed are those whose quote can't be used, and those whose request failed.
	Failed []SymbolError
}

// Quotes asks for the latest trade of each symbol, many symbols a request.
// Symbols given twice, in whatever case, are asked once. Where some of several requests fail,
// their symbols are in Failed and the error, an *Error or joined ones, is
// returned beside what the others brought.
func (c *Client) Quotes(ctx context.Context, symbols []string) (Answer, error) {
	chunks, bad := c.split(symbols)
	answers := make([]Answer, len(chunks))
	errs := make([]error, len(chunks))
	var calls sync.WaitGroup
	for i, chunk := range chunks {
		calls.Go(func() {
			answers[i], errs[i] = c.quotes(ctx, chunk)
			if errs[i] != nil {
				for _, s := range chunk {
					answers[i].Failed = append(answers[i].Failed, SymbolError{s, errs[i].Error()})
				}
			}
		})
	}
	calls.Wait()
	all := Answer{Failed: bad}
	for _, a := range answers {
		all.Quotes = append(all.Quotes, a.Quotes...)
		all.Unknown = append(all.Unknown, a.Unknown...)
		all.Failed = append(all.Failed, a.Failed...)
	}
	return all, joinErrors(errs)
}

// maxList bounds the text of the symbols of one request, which keeps addresses
// below the 8 KB that servers and proxies take.
const maxList = 4000

// split makes requests of the symbols, each symbol once, and tells which can't
// be asked for.
func (c *Client) split(symbols []string) (chunks [][]string, bad []SymbolError) {
	seen := map[string]bool{}
	length := 0
	for _, s := range symbols {
		if seen[strings.ToUpper(s)] {
			continue
		}
		seen[strings.ToUpper(s)] = true
		if err := checkSymbol(s); err != nil {
			bad = append(bad, SymbolError{s, err.Error()})
			continue
		}
		more := len(url.QueryEscape(s)) + len("%2C")
		if n := len(chunks); n == 0 || len(chunks[n-1]) == c.cfg.SymbolsPerCall || length+more > maxList {
			chunks = append(chunks, nil)
			length = 0
		}
		last := &chunks[len(chunks)-1]
		*last = append(*last, s)
		length += more
	}
	return chunks, bad
}

// checkSymbol refuses what would ask for something else: an empty symbol, two
// in one, a path that leads elsewhere.
func checkSymbol(s string) error {
	if s == "" || len(s) > 64 || s == "." || s == ".." {
		return fmt.Errorf("%.70q is no symbol", s)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ',' || c == '\\' || c == '"' {
			return fmt.Errorf("%q has a character that no symbol has", s)
		}
	}
	return nil
}

// joinErrors keeps one of several errors that say the same, as those of requests
// that failed together do.
func joinErrors(errs []error) error {
	var distinct []error
	said := map[string]bool{}
	for _, err := range errs {
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			distinct = append(distinct, err)
		}
	}
	switch len(distinct) {
	case 0:
		return nil
	case 1:
		return distinct[0]
	}
	return severalErrors(distinct)
}

// severalErrors are those of an errors.Join, but told in one line.
type severalErrors []error

func (e severalErrors) Error() string {
	var texts []string
	for _, err := range e {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

func (e severalErrors) Unwrap() []error { return e }

// quotes asks for the symbols of one request.
func (c *Client) quotes(ctx context.Context, symbols []string) (Answer, error) {
	u := c.base.JoinPath("/v7/finance/quote")
	u.RawQuery = url.Values{"symbols": {strings.Join(symbols, ",")}}.Encode()
	var quotes []Quote
	var failed []SymbolError
	got, err := c.authorised(ctx, request{call: "quote", url: u, check: func(a *answer) (err error) {
		quotes, failed, err = DecodeQuotes(a.body)
		return err
	}})
	if err != nil {
		return Answer{}, err
	}
	// Yahoo is free in the case of what it is asked, and the answer goes by the
	// symbol as it was asked for.
	waiting := map[string]string{}
	for _, s := range symbols {
		waiting[strings.ToUpper(s)] = s
	}
	var out Answer
	for _, q := range quotes {
		key := strings.ToUpper(q.Symbol)
		asked, ok := waiting[key]
		if !ok {
			continue
		}
		delete(waiting, key)
		q.Symbol, q.Source = asked, got.source
		if q.Regular != nil {
			q.Regular.Symbol, q.Regular.Source = asked, got.source
		}
		out.Quotes = append(out.Quotes, q)
	}
	nameless := ""
	for _, f := range failed {
		if f.Symbol == "?" {
			nameless = f.Reason
		}
		key := strings.ToUpper(f.Symbol)
		if asked, ok := waiting[key]; ok {
			delete(waiting, key)
			f.Symbol = asked
			out.Failed = append(out.Failed, f)
		}
	}
	for _, s := range symbols {
		if _, ok := waiting[strings.ToUpper(s)]; !ok {
			continue
		}
		if nameless != "" {
			// It may be the one that can't be told which it is.
			out.Failed = append(out.Failed, SymbolError{s, "it is missing in the answer, where " + nameless})
		} else {
			out.Unknown = append(out.Unknown, s)
		}
	}
	return out, nil
}

// Chart asks for the history of one symbol. An unknown symbol is an *Error of
// kind NotFound, a range that the interval does not have one of kind BadRequest.
func (c *Client) Chart(ctx context.Context, symbol string, q ChartQuery) (*Chart, error) {
	if err := checkSymbol(symbol); err != nil {
		return nil, &Error{Kind: BadRequest, Call: "chart", Err: err}
	}
	u := c.base.JoinPath("/v8/finance/chart/", url.PathEscape(symbol))
	v := url.Values{"interval": {q.Interval}, "includePrePost": {strconv.FormatBool(q.PrePost)}, "events": {"div,splits"}}
	if q.Range != "" {
		v.Set("range", q.Range)
	} else {
		v.Set("period1", strconv.FormatInt(q.From.Unix(), 10))
		v.Set("period2", strconv.FormatInt(q.To.Unix(), 10))
	}
	u.RawQuery = v.Encode()
	var chart *Chart
	r := request{call: "chart", url: u, check: func(a *answer) (err error) {
		chart, err = DecodeChart(a.body)
		return err
	}}
	ask := c.exchange
	if c.chartsNeedCrumb.Load() {
		ask = c.authorised
	}
	got, err := ask(ctx, r)
	var e *Error
	if errors.As(err, &e) && e.Kind == Unauthorized && !c.chartsNeedCrumb.Load() {
		c.chartsNeedCrumb.Store(true)
		got, err = c.authorised(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	chart.Source = got.source
	return chart, nil
}

// authorised is exchange with cookie and crumb. A 401 makes them anew, once.
func (c *Client) authorised(ctx context.Context, r request) (*answer, error) {
	s, _ := c.sessions.get()
	renewed := false
	if s == nil {
		var err error
		if s, err = c.session(ctx, nil); err != nil {
			return nil, err
		}
	}
	for {
		withCrumb := r
		u := *r.url
		u.RawQuery += "&" + url.Values{"crumb": {s.crumb}}.Encode()
		withCrumb.url, withCrumb.cookies = &u, s.cookies
		epoch := c.gate.now()
		a, err := c.exchange(ctx, withCrumb)
		var e *Error
		if !errors.As(err, &e) || e.Kind != Unauthorized {
			return a, err
		}
		if renewed {
			// A session that is refused when it is new will be refused again, so
			// it is tried ever more rarely.
			c.sessions.forget(s)
			c.gate.refused(epoch, e)
			return nil, err
		}
		renewed = true
		if s, err = c.session(ctx, s); err != nil {
			return nil, err
		}
	}
}

// request is one thing to ask.
type request struct {
	call     string
	url      *url.URL
	form     url.Values // sent by POST where it is not nil
	cookies  string
	jar      http.CookieJar // collects what is set, through redirects
	page     bool           // any answer but a refusal will do, and its beginning
	optional bool           // there is something else to ask where this fails
	// check says whether the body is what it should be. A RateLimited from it
	// counts as one.
	check func(*answer) error
}

// wanted tells whether the answer is what a caller wants, rather than the way
// there: cookie, consent, crumb.
func (r request) wanted() bool { return r.call == "quote" || r.call == "chart" }

// answer is what came back.
type answer struct {
	status int
	header http.Header
	url    *url.URL // where it came from, behind all redirects
	body   []byte
	source tick.Source
}

// maxBody bounds an answer, uncompressed: 100 quotes are about 300 KB, a chart
// about 1 MB.
const maxBody = 16 << 20

// exchange sends the request, again where that may help, and returns the answer.
// The error is an *Error.
func (c *Client) exchange(ctx context.Context, r request) (*answer, error) {
	for attempt := 1; ; attempt++ {
		a, sent, err := c.once(ctx, r)
		if err == nil {
			return a, nil
		}
		e := asError(r.call, err)
		if !sent || !e.temporary() || attempt >= c.cfg.Attempts || ctx.Err() != nil || r.optional && e.Kind != RateLimited {
			return nil, e
		}
		if e.RetryAfter > 0 {
			continue // the gate holds it back
		}
		pause := time.Duration(attempt) * (100*time.Millisecond + rand.N(300*time.Millisecond))
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= pause {
			return nil, e
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, e
		}
	}
}

// once sends the request within the limits and reads the whole answer. It tells
// the gate how that went; sent is false where the request did not go out.
func (c *Client) once(ctx context.Context, r request) (a *answer, sent bool, err error) {
	// While the circuit is open nobody waits for a turn to be told so.
	if e := c.gate.open(r.call); e != nil {
		return nil, false, e
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if err := c.limiter.Wait(ctx); err != nil {
		return nil, false, fmt.Errorf("wait for a turn within YAHOO_RATE: %w", err)
	}
	leave, err := c.gate.pass(ctx, r.call)
	if err != nil {
		return nil, false, err
	}
	began := time.Now()
	a, err = c.send(ctx, r)
	requestSeconds.WithLabelValues(r.call, resultOf(err)).Observe(time.Since(began).Seconds())
	var e *Error
	switch errors.As(err, &e); {
	case err == nil && r.wanted():
		leave.accepted()
	case err == nil:
		leave.dropped()
	case e.Kind == RateLimited, e.Kind == Unavailable && !r.optional:
		leave.refused(e)
	case r.wanted() && (e.Kind == NotFound || e.Kind == BadRequest):
		leave.accepted()
	case e.tells() && !r.optional && ctx.Err() == nil:
		leave.failed(e)
	default:
		leave.dropped()
	}
	return a, true, err
}

// send sends the request and reads the answer. Its errors are *Errors.
func (c *Client) send(ctx context.Context, r request) (*answer, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.form != nil {
		method, body = http.MethodPost, strings.NewReader(r.form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url.String(), body)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Call: r.call, Err: err}
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	req.Header.Set("Accept", "application/json,text/html;q=0.9,*/*;q=0.8")
	req.Header.Set("Accept-Language", "en-US,en;q=0.9")
	if r.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if r.cookies != "" {
		req.Header.Set("Cookie", r.cookies)
	}
	client := c.http
	if r.jar != nil {
		withJar := *c.http
		withJar.Jar = r.jar
		client = &withJar
	}
	res, err := client.Do(req)
	switch {
	case errors.Is(err, errRedirects):
		return nil, &Error{Kind: BadAnswer, Call: r.call, Err: withoutQuery(err)}
	case err != nil:
		return nil, &Error{Kind: Unreachable, Call: r.call, Err: withoutQuery(err)}
	}
	defer res.Body.Close()
	a := &answer{status: res.StatusCode, header: res.Header, url: res.Request.URL, source: c.source}
	if res.Header.Get(SimulatedHeader) != "" {
		a.source = tick.SourceSimulated
	}
	if r.page {
		// What does not come is not needed: the cookie is in the header.
		a.body, _ = io.ReadAll(io.LimitReader(res.Body, maxPage))
		return a, a.judge(r)
	}
	a.body, err = io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &Error{Kind: BadAnswer, Call: r.call, Status: res.StatusCode, Err: errTruncated}
	case err != nil:
		e := &Error{Kind: BadAnswer, Call: r.call, Status: res.StatusCode, Err: fmt.Errorf("%w: %w", errBroken, err)}
		if broken := net.Error(nil); errors.As(err, &broken) || ctx.Err() != nil {
			e.Kind = Unreachable
		}
		return nil, e
	case len(a.body) > maxBody:
		return nil, &Error{Kind: BadAnswer, Call: r.call, Status: res.StatusCode, Err: fmt.Errorf("the body is larger than %d bytes", maxBody)}
	}
	return a, a.judge(r)
}

// withoutQuery keeps crumbs out of what is shown.
func withoutQuery(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		at, _, _ := strings.Cut(u.URL, "?")
		return fmt.Errorf("%s: %w", at, u.Err)
	}
	return err
}

// asError makes an *Error of any error of a call.
func asError(call string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Unreachable, Call: call, Err: err}
}
