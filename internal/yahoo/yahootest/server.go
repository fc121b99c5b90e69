package yahootest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
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
//	/quote/{symbol}        a page that sets the cookie, or leads to the consent pages
//	/v1/test/getcrumb      wants the cookie, and consent where that is asked for
//	/v7/finance/quote      wants cookie and crumb
//	/v8/finance/chart/…    wants nothing
//	/streamer              the WebSocket of streamer.finance.yahoo.com (Streamer)
//	/healthz, /control     are no calls of Yahoo's: control.go says what they do
//
// It is an http.Handler, safe for concurrent use.
type Server struct {
	Market *Market
	// Streamer sends what the same market does.
	Streamer *Streamer

	mux    *http.ServeMux
	replay *Recordings // answers instead of the market, where it is set

	mu       sync.Mutex
	epoch    uint64 // cookies and crumbs of another epoch are refused
	consent  bool   // visitors are asked for consent, as those from the EU are
	faults   []*Fault
	counts   map[string]int
	inFlight int
	most     int
}

// NewServer makes a server over a market of its own.
func NewServer(o Options) *Server {
	s := &Server{Market: NewMarket(o), counts: map[string]int{}, mux: http.NewServeMux()}
	s.handleConsent()
	s.handleControl()
	s.handle("GET /{$}", "cookie", s.cookie)
	s.handle("GET /quote/{symbol}", "cookie", s.page)
	s.handle("GET /v1/test/getcrumb", "crumb", s.crumb)
	s.handle("GET /v7/finance/quote", "quote", s.quote)
	s.handle("GET /v8/finance/chart/{symbol}", "chart", s.chart)
	s.Streamer = newStreamer(s.Market)
	s.mux.Handle("GET /streamer", s.Streamer)
	s.mux.HandleFunc("POST /control/stream", s.Streamer.control)
	return s
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.replay == nil {
		w.Header().Set(yahoo.SimulatedHeader, "yahootest")
	}
	s.mux.ServeHTTP(w, r)
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
	cookieKind = 21 + iota
	crumbKind
	consentKind
	csrfKind
	sessionKind
)

func (s *Server) setCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: "A3", Value: "d=" + s.token(cookieKind), Path: "/", HttpOnly: true, MaxAge: 31_536_000})
}

func (s *Server) knows(r *http.Request) bool {
	k, err := r.Cookie("A3")
	return err == nil && k.Value == "d="+s.token(cookieKind) && (!s.wantsConsent() || s.consented(r))
}

func (s *Server) cookie(w http.ResponseWriter, _ *http.Request) {
	s.setCookie(w)
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusNotFound)
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if s.wantsConsent() && !s.consented(r) {
		http.Redirect(w, r, "/consent?done="+url.QueryEscape(r.URL.Path), http.StatusFound)
		return
	}
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
