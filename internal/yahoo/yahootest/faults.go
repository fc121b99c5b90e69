package yahootest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is a way for a call to go wrong.
type Fault struct {
	// Call is "cookie", "consent", "crumb", "quote" or "chart"; empty is any.
	Call string
	// Times is how many calls it befalls, and For for how long from when it is
	// injected, by the clock on the wall; 0 means without end, until Heal.
	Times int
	For   time.Duration
	// Status, Header and Body replace the answer where Status is not 0.
	Status int
	Header http.Header
	Body   string
	// Rewrite changes the body of the true answer, to which Header is added.
	Rewrite func(body []byte) []byte
	// Delay holds the answer back.
	Delay time.Duration
	// Cut sends half of the answer and breaks the connection.
	Cut bool

	name  string // what it was injected as
	until time.Time
}

// TooManyRequests is Yahoo's 429; a Retry-After is added where it is not empty.
func TooManyRequests(retryAfter string) Fault {
	f := Fault{Status: http.StatusTooManyRequests, Body: "Too Many Requests\r\n", Header: http.Header{"Content-Type": {"text/html"}}}
	if retryAfter != "" {
		f.Header.Set("Retry-After", retryAfter)
	}
	return f
}

// InternalError is a 500.
func InternalError() Fault {
	return Fault{Status: http.StatusInternalServerError, Body: "Internal Server Error"}
}

// Page is HTML where JSON is expected, under status 200.
func Page() Fault {
	return Fault{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body: "<!DOCTYPE html><html><head><title>Yahoo is part of the family</title></head><body>…</body></html>",
	}
}

// Answer is any JSON instead of the true answer.
func Answer(body string) Fault {
	return Fault{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json;charset=utf-8"}}, Body: body}
}

// On returns the fault for calls of one kind.
func (f Fault) On(call string) Fault { f.Call = call; return f }

// Once returns the fault for one call.
func (f Fault) Once() Fault { f.Times = 1; return f }

// During returns the fault for a span of time.
func (f Fault) During(d time.Duration) Fault { f.For = d; return f }

// faultKinds are the faults that have a name.
var faultKinds = map[string]func() Fault{
	"slow":       func() Fault { return Fault{Delay: 30 * time.Second} },
	"cut":        func() Fault { return Fault{Cut: true} },
	"truncated":  func() Fault { return Fault{Rewrite: func(b []byte) []byte { return b[:len(b)/2] }} },
	"empty":      func() Fault { return Answer("") },
	"html":       Page,
	"text":       func() Fault { return Answer("Service temporarily unavailable") },
	"loop":       func() Fault { return Fault{Status: http.StatusFound, Header: http.Header{"Location": {"?again"}}} },
	"bad-crumb":  func() Fault { return Answer("Too Many Requests\r\n").On("crumb") },
	"html-crumb": func() Fault { return Page().On("crumb") },
	"invalid-crumb": func() Fault {
		f := Answer(`{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}`).On("quote")
		f.Status = http.StatusUnauthorized
		return f
	},
	"gzip":     func() Fault { return compressed(func(b []byte) []byte { return b }) },
	"gzip-cut": func() Fault { return compressed(func(b []byte) []byte { return b[:len(b)-12] }) },
	"gzip-bomb": func() Fault {
		bomb := squeeze(bytes.Repeat([]byte{' '}, 32<<20))
		return compressed(func([]byte) []byte { return bomb })
	},
	// These spoil the first quote of an answer.
	"nan":      func() Fault { return spoiled(`NaN`) },
	"null":     func() Fault { return spoiled(`null`) },
	"as-text":  func() Fault { return spoiled(`"12.5"`) },
	"huge":     func() Fault { return spoiled(`1e300`) },
	"negative": func() Fault { return spoiled(`-1e-9`) },
	// Numbers come as objects, as where formatted=true is asked for.
	"formatted": func() Fault {
		return Fault{Rewrite: func(b []byte) []byte {
			return numbers.ReplaceAll(b, []byte(`$1{"raw":$2,"fmt":"$2","longFmt":"$2"}`))
		}}.On("quote")
	},
}

var (
	numbers    = regexp.MustCompile(`("(?:regular|pre|post)Market[A-Za-z]*":)(-?[0-9.eE+-]+)`)
	firstPrice = regexp.MustCompile(`"regularMarketPrice":[^,}]+`)
)

func spoiled(value string) Fault {
	return Fault{Call: "quote", Rewrite: func(b []byte) []byte {
		at := firstPrice.FindIndex(b)
		if at == nil {
			return b
		}
		return slices.Concat(b[:at[0]], []byte(`"regularMarketPrice":`+value), b[at[1]:])
	}}
}

func squeeze(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

func compressed(change func([]byte) []byte) Fault {
	return Fault{
		Header:  http.Header{"Content-Encoding": {"gzip"}},
		Rewrite: func(b []byte) []byte { return change(squeeze(b)) },
	}
}

// ParseFault reads a fault written as a query: kind=429&call=quote&for=10m.
//
//	kind         a status (429, 500, 503, 404, …), or one of FaultKinds
//	call         cookie, consent, crumb, quote or chart; any where it is left out
//	times        how many calls it befalls
//	for          for how long: 30s, 10m
//	retry_after  seconds or a date for the header of that name
//	delay        how long the answer is held back
func ParseFault(text string) (Fault, error) {
	q, err := url.ParseQuery(text)
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: write it like kind=429&call=quote&for=10m", text)
	}
	wrong := func(name, why string) (Fault, error) {
		return Fault{}, fmt.Errorf("fault %q: %s=%q %s", text, name, q.Get(name), why)
	}
	for name := range q {
		if !slices.Contains([]string{"kind", "call", "times", "for", "retry_after", "delay"}, name) {
			return wrong(name, "is no part of a fault")
		}
	}
	var f Fault
	kind := q.Get("kind")
	switch status, err := strconv.Atoi(kind); {
	case err == nil && status == http.StatusTooManyRequests:
		f = TooManyRequests("")
	case err == nil && status >= 200 && status < 600:
		f = Fault{Status: status, Header: http.Header{}, Body: http.StatusText(status)}
	case faultKinds[kind] != nil:
		f = faultKinds[kind]()
	default:
		return wrong("kind", "is no kind of fault: give a status, or one of "+strings.Join(FaultKinds(), ", "))
	}
	if call := q.Get("call"); call != "" {
		if !slices.Contains([]string{"cookie", "consent", "crumb", "quote", "chart"}, call) {
			return wrong("call", "is none of cookie, consent, crumb, quote, chart")
		}
		f.Call = call
	}
	if q.Has("times") {
		if f.Times, err = strconv.Atoi(q.Get("times")); err != nil || f.Times < 1 {
			return wrong("times", "is no number above 0")
		}
	}
	for name, into := range map[string]*time.Duration{"for": &f.For, "delay": &f.Delay} {
		if q.Has(name) {
			if *into, err = time.ParseDuration(q.Get(name)); err != nil || *into <= 0 {
				return wrong(name, "is no time: write it like 30s or 10m")
			}
		}
	}
	if after := q.Get("retry_after"); after != "" {
		if f.Status == 0 {
			return wrong("retry_after", "needs a kind that is a status")
		}
		f.Header.Set("Retry-After", after)
	}
	f.name = text
	return f, nil
}

// FaultKinds lists the kinds that are no status.
func FaultKinds() []string {
	var kinds []string
	for k := range faultKinds {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}

// Inject makes calls go wrong from now on. Of several faults that fit a call the
// first injected befalls it.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.For > 0 {
		f.until = s.Market.opts.Clock().Add(f.For)
	}
	f.name = cmp.Or(f.name, f.Call+" "+strconv.Itoa(f.Status))
	s.faults = append(s.faults, &f)
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.consent = false
}

func (s *Server) begin(call string) (f Fault, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[call]++
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool {
		return f.For > 0 && !s.Market.opts.Clock().Before(f.until)
	})
	for i, f := range s.faults {
		if f.Call != "" && f.Call != call {
			continue
		}
		if f.Times == 1 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		} else if f.Times > 1 {
			f.Times--
		}
		return *f, true
	}
	return f, false
}

// handle answers a call of Yahoo's, as it should or as the fault says that
// befalls it.
func (s *Server) handle(pattern, call string, h http.HandlerFunc) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		f, broken := s.begin(call)
		defer func() {
			s.mu.Lock()
			s.inFlight--
			s.mu.Unlock()
		}()
		answer := h
		if s.replay != nil && (call != "cookie" || s.replay.has(r)) {
			answer = s.replay.serve
		}
		if broken {
			f.befall(w, r, answer)
			return
		}
		answer(w, r)
	})
}

func (f *Fault) befall(w http.ResponseWriter, r *http.Request, answer http.HandlerFunc) {
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-r.Context().Done():
			return
		case <-t.C:
		}
	}
	if !f.Cut && f.Rewrite == nil && f.Status == 0 {
		answer(w, r)
		return
	}
	whole := &recorder{ResponseWriter: w, status: http.StatusOK}
	if f.Status == 0 {
		answer(whole, r)
	} else {
		whole.status = f.Status
		whole.body.WriteString(f.Body)
	}
	body := whole.body.Bytes()
	if f.Rewrite != nil {
		body = f.Rewrite(body)
	}
	for k, v := range f.Header {
		w.Header()[k] = v
	}
	if f.Cut {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	}
	w.WriteHeader(whole.status)
	_, _ = w.Write(body)
	if f.Cut {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
