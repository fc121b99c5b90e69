package yahootest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

// Server answers as Yahoo's hosts do, all of them under one address:
//
//	/                      sets the cookie with a 404, as fc.yahoo.com does
//	/quote/{symbol}        a page that sets the cookie
//	/v1/test/getcrumb      wants the cookie
//	/v7/finance/quote      wants cookie and crumb
//	/v8/finance/chart/…    wants nothing
//	/streamer              the WebSocket of streamer.finance.yahoo.com (Streamer)
//	/healthz               is no call of Yahoo's
//
// It is an http.Handler, safe for concurrent use.
type Server struct {
	Market *Market
	// Streamer sends what the same market does.
	Streamer *Streamer

	mux *http.ServeMux

	mu       sync.Mutex
	epoch    uint64 // cookies and crumbs of another epoch are refused
	faults   []*Fault
	counts   map[string]int
	inFlight int
	most     int
}

// NewServer makes a server over a market of its own.
func NewServer(o Options) *Server {
	s := &Server{Market: NewMarket(o), counts: map[string]int{}, mux: http.NewServeMux()}
	s.handle("GET /{$}", "cookie", s.cookie)
	s.handle("GET /quote/{symbol}", "cookie", s.page)
	s.handle("GET /v1/test/getcrumb", "crumb", s.crumb)
	s.handle("GET /v7/finance/quote", "quote", s.quote)
	s.handle("GET /v8/finance/chart/{symbol}", "chart", s.chart)
	s.Streamer = newStreamer(s.Market)
	s.mux.Handle("GET /streamer", s.Streamer)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "ok, %d symbols, seed %d, market time %s\n", len(s.Market.names), s.Market.opts.Seed, s.Market.Now().UTC().Format(time.RFC3339))
	})
	return s
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(yahoo.SimulatedHeader, "yahootest")
	s.mux.ServeHTTP(w, r)
}

// Fault is a way for a call to go wrong.
type Fault struct {
	// Call is "cookie", "crumb", "quote" or "chart"; empty is any.
	Call string
	// Times is how many calls it befalls; 0 means all until Heal.
	Times int
	// Status, Header and Body replace the answer where Status is not 0.
	Status int
	Header http.Header
	Body   string
	// Delay holds the answer back.
	Delay time.Duration
	// Cut sends half of the answer and breaks the connection.
	Cut bool
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

// Inject makes calls go wrong from now on. Of several faults that fit a call the
// first injected befalls it.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal takes all faults away.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// ExpireCrumbs makes the cookies and crumbs given out so far invalid.
func (s *Server) ExpireCrumbs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
}

// Calls returns how many calls of the kind have come.
func (s *Server) Calls(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[call]
}

// MostInFlight returns the largest number of calls that were under way at once.
func (s *Server) MostInFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

func (s *Server) begin(call string) (f Fault, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[call]++
	s.inFlight++
	s.most = max(s.most, s.inFlight)
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

func (s *Server) handle(pattern, call string, h http.HandlerFunc) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		f, broken := s.begin(call)
		defer func() {
			s.mu.Lock()
			s.inFlight--
			s.mu.Unlock()
		}()
		if !broken {
			h(w, r)
			return
		}
		if f.Delay > 0 {
			t := time.NewTimer(f.Delay)
			defer t.Stop()
			select {
			case <-r.Context().Done():
				return
			case <-t.C:
			}
		}
		if f.Cut {
			whole := &recorder{ResponseWriter: w, status: http.StatusOK}
			h(whole, r)
			w.Header().Set("Content-Length", strconv.Itoa(whole.body.Len()))
			w.WriteHeader(whole.status)
			_, _ = w.Write(whole.body.Bytes()[:whole.body.Len()/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		if f.Status == 0 {
			h(w, r)
			return
		}
		for k, v := range f.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte(f.Body))
	})
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

// token makes cookies and crumbs that only this server knows to be good.
func (s *Server) token(kind uint64) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./"
	s.mu.Lock()
	h := hash(s.Market.opts.Seed, kind, s.epoch)
	s.mu.Unlock()
	b := make([]byte, 11)
	for i := range b {
		b[i] = letters[h%uint64(len(letters))]
		h = mix(h)
	}
	return string(b)
}

const (
	cookieKind = 21
	crumbKind  = 22
)

func (s *Server) setCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: "A3", Value: "d=" + s.token(cookieKind), Path: "/", HttpOnly: true, MaxAge: 31_536_000})
}

func (s *Server) knows(r *http.Request) bool {
	k, err := r.Cookie("A3")
	return err == nil && k.Value == "d="+s.token(cookieKind)
}

func (s *Server) cookie(w http.ResponseWriter, _ *http.Request) {
	s.setCookie(w)
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusNotFound)
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	s.setCookie(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!DOCTYPE html><html><head><title>%s (simulated)</title></head><body></body></html>", html.EscapeString(r.PathValue("symbol")))
}

func (s *Server) crumb(w http.ResponseWriter, r *http.Request) {
	if !s.knows(r) {
		fail(w, http.StatusUnauthorized, "finance", "Unauthorized", "Invalid Cookie")
		return
	}
	w.Header().Set("Content-Type", "text/plain;charset=utf-8")
	_, _ = w.Write([]byte(s.token(crumbKind)))
}

// fail writes an error as Yahoo's services do: the name of the service about it.
func fail(w http.ResponseWriter, status int, service, code, description string) {
	send(w, status, map[string]any{service: map[string]any{"result": nil, "error": map[string]any{"code": code, "description": description}}})
}

func send(w http.ResponseWriter, status int, doc any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(doc) // an error here is a client that left
}

func (s *Server) quote(w http.ResponseWriter, r *http.Request) {
	if !s.knows(r) {
		fail(w, http.StatusUnauthorized, "finance", "Unauthorized", "Invalid Cookie")
		return
	}
	q := r.URL.Query()
	if q.Get("crumb") != s.token(crumbKind) {
		fail(w, http.StatusUnauthorized, "finance", "Unauthorized", "Invalid Crumb")
		return
	}
	if q.Get("symbols") == "" {
		fail(w, http.StatusBadRequest, "quoteResponse", "argument-error", "Missing value for the \"symbols\" argument")
		return
	}
	now := s.Market.Now()
	result := []any{}
	for symbol := range strings.SplitSeq(q.Get("symbols"), ",") {
		if snap, ok := s.Market.At(strings.ToUpper(strings.TrimSpace(symbol)), now); ok {
			result = append(result, snap.fields(q.Get("formatted") == "true"))
		}
	}
	send(w, http.StatusOK, map[string]any{"quoteResponse": map[string]any{"result": result, "error": nil}})
}

// fields are those of a quote of Yahoo's.
func (snap *Snapshot) fields(formatted bool) map[string]any {
	in := &snap.Instrument
	number := func(v tick.Price) any {
		if !formatted {
			return v
		}
		return map[string]any{"raw": v, "fmt": show(v, in.PriceHint)}
	}
	count := func(v int64) any {
		if !formatted {
			return v
		}
		return map[string]any{"raw": v, "fmt": strconv.FormatInt(v, 10), "longFmt": strconv.FormatInt(v, 10)}
	}
	moment := func(ms int64) any {
		if !formatted {
			return ms / 1000
		}
		return map[string]any{"raw": ms / 1000, "fmt": time.UnixMilli(ms).In(in.zone).Format("3:04PM MST")}
	}
	percent := func(change, from tick.Price) tick.Price {
		if from == 0 {
			return 0
		}
		return tick.Price(float64(change) / float64(from) * 100 * float64(tick.Unit))
	}
	f := map[string]any{
		"language": "en-US", "region": "US", "quoteType": in.Type, "typeDisp": in.Type, "quoteSourceName": "Simulated",
		"triggerable": false, "customPriceAlertConfidence": "NONE",
		"symbol": in.Symbol, "shortName": in.Name, "longName": in.Name,
		"currency": in.Currency, "exchange": in.Exchange, "fullExchangeName": in.Venue, "market": "simulated_market",
		"marketState": snap.State, "hasPrePostMarketData": in.calendar.Extends(),
		"exchangeTimezoneName": in.Timezone, "exchangeTimezoneShortName": snap.Zone, "gmtOffSetMilliseconds": snap.Offset.Milliseconds(),
		"sourceInterval": 15, "exchangeDataDelayedBy": 0, "priceHint": in.PriceHint,
		"tradeable": false, "cryptoTradeable": false, "esgPopulated": false, "corporateActions": []any{},

		"regularMarketPrice":         number(snap.Regular.Price),
		"regularMarketTime":          moment(snap.Regular.Time),
		"regularMarketVolume":        count(snap.DayVolume),
		"regularMarketPreviousClose": number(snap.PreviousClose),
		"regularMarketChange":        number(snap.Regular.Price - snap.PreviousClose),
		"regularMarketChangePercent": number(percent(snap.Regular.Price-snap.PreviousClose, snap.PreviousClose)),
	}
	if x := snap.Extended; x != nil {
		name := "postMarket"
		if snap.State == Pre {
			name = "preMarket"
		}
		f[name+"Price"] = number(x.Price)
		f[name+"Time"] = moment(x.Time)
		f[name+"Change"] = number(x.Price - snap.Regular.Price)
		f[name+"ChangePercent"] = number(percent(x.Price-snap.Regular.Price, snap.Regular.Price))
	}
	return f
}

// show writes a price with a fixed number of decimals.
func show(p tick.Price, decimals int) string {
	unit := tick.Unit
	for range decimals {
		unit /= 10
	}
	half := unit / 2
	if p < 0 {
		half = -half
	}
	s := ((p + half) / unit * unit).String()
	whole, frac, _ := strings.Cut(s, ".")
	if decimals == 0 {
		return whole
	}
	return whole + "." + (frac + strings.Repeat("0", decimals))[:cmp.Or(decimals, 1)]
}
