package yahootest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/stream/streampb"
)

// StreamOptions is how the streamer behaves. Durations are on the wall's clock.
// The zero value is Yahoo on a good day.
type StreamOptions struct {
	// Cap is how many symbols a connection serves; 0 means 100, as at Yahoo. What
	// is subscribed to beyond it is dropped without a word. Symbols that do not
	// exist take places, too.
	Cap int
	// Every is how often the market is looked at: of the trades in between only the
	// last is sent. 0 means 200 ms.
	Every time.Duration
	// Heartbeat is how often one is sent; 0 means 5 s.
	Heartbeat time.Duration
	// DieAfter cuts each connection without a word when it is that old.
	DieAfter time.Duration
	// Malformed sends a frame that can't be read before every so many that can.
	Malformed int
	// Stale makes the snapshot that follows a subscription one of that long ago.
	Stale time.Duration
	// Mute names symbols that nothing is sent of, by the number of connections that
	// it befalls: the first that subscribe.
	Mute map[string]int
	// Refuse answers handshakes with this status where it is not 0.
	Refuse int
}

// ParseStreamOptions reads them in the form of a query:
// "die=5s&malformed=20&stale=72h&cap=50&every=1s&heartbeat=10s&refuse=503&mute=AAPL".
func ParseStreamOptions(text string) (o StreamOptions, err error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return o, fmt.Errorf("%q: write it like die=5s&malformed=20", text)
	}
	for name, all := range values {
		for _, v := range all {
			switch name {
			case "die":
				o.DieAfter, err = time.ParseDuration(v)
			case "stale":
				o.Stale, err = time.ParseDuration(v)
			case "every":
				o.Every, err = time.ParseDuration(v)
			case "heartbeat":
				o.Heartbeat, err = time.ParseDuration(v)
			case "malformed":
				o.Malformed, err = strconv.Atoi(v)
			case "cap":
				o.Cap, err = strconv.Atoi(v)
			case "refuse":
				if o.Refuse, err = strconv.Atoi(v); err == nil && http.StatusText(o.Refuse) == "" {
					err = errors.New("it is no status")
				}
			case "mute":
				if o.Mute == nil {
					o.Mute = map[string]int{}
				}
				o.Mute[v] = math.MaxInt
			default:
				err = errors.New("there is die, stale, every, heartbeat, malformed, cap, refuse and mute")
			}
			if err == nil && (o.DieAfter < 0 || o.Stale < 0 || o.Every < 0 || o.Heartbeat < 0 || o.Malformed < 0 || o.Cap < 0) {
				err = errors.New("it is below 0")
			}
			if err != nil {
				return o, fmt.Errorf("%s=%s: %w", name, v, err)
			}
		}
	}
	return o, nil
}

// control serves POST /control/stream, whose query is that of ParseStreamOptions:
// it applies from now on, also to connections that there are, which are cut.
func (s *Streamer) control(w http.ResponseWriter, r *http.Request) {
	o, err := ParseStreamOptions(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.Set(o)
	s.Cut()
	fmt.Fprintln(w, "ok")
}

// Streamer is Yahoo's streamer over a market: at most StreamOptions.Cap symbols a
// connection, a snapshot on subscription, then samples with prices as float32.
// Where the query has version=2 frames are JSON, else bare base64. It is an
// http.Handler, safe for concurrent use.
type Streamer struct {
	market   *Market
	upgrader websocket.Upgrader

	mu      sync.Mutex
	options StreamOptions
	conns   map[*streamConn]bool
	dials   []time.Time
	most    int
	muted   map[string]int
	header  http.Header
}

func newStreamer(m *Market) *Streamer {
	return &Streamer{
		market: m, conns: map[*streamConn]bool{}, muted: map[string]int{},
		upgrader: websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }},
	}
}

// Set changes how the streamer behaves from now on; what a connection has been
// told stays.
func (s *Streamer) Set(o StreamOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options = o
	s.muted = map[string]int{}
}

// Cut cuts all connections without a word.
func (s *Streamer) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.ws.NetConn().Close()
	}
}

// Connections is how many there are.
func (s *Streamer) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Dials are the times, on the wall's clock, at which connections were asked for.
func (s *Streamer) Dials() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dials)
}

// MostSymbols is the most that a connection was ever asked to serve at once.
func (s *Streamer) MostSymbols() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Handshake is the header of the last connection that was asked for.
func (s *Streamer) Handshake() http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.header.Clone()
}

// Served counts the connections that serve each symbol.
func (s *Streamer) Served() map[string]int {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	served := map[string]int{}
	for _, c := range conns {
		c.mu.Lock()
		for symbol := range c.sent {
			served[symbol]++
		}
		c.mu.Unlock()
	}
	return served
}

func (s *Streamer) behaviour() StreamOptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.options
	if o.Cap == 0 {
		o.Cap = 100
	}
	if o.Every == 0 {
		o.Every = 200 * time.Millisecond
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 5 * time.Second
	}
	return o
}

// streamConn is a connection of the streamer.
type streamConn struct {
	streamer *Streamer
	ws       *websocket.Conn
	json     bool
	dead     chan struct{} // closed when the client is gone or has sent nonsense

	mu    sync.Mutex
	asked int // symbols that the client believes to be served
	// sent has, of each symbol that is served, up to when its trades were sent; zero
	// where not even the snapshot was.
	sent map[string]time.Time
}

// ServeHTTP serves one connection to its end.
func (s *Streamer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o := s.behaviour()
	s.mu.Lock()
	s.dials = append(s.dials, time.Now())
	s.header = r.Header.Clone()
	s.mu.Unlock()
	if o.Refuse != 0 {
		http.Error(w, http.StatusText(o.Refuse), o.Refuse)
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, http.Header{yahoo.SimulatedHeader: {"yahootest"}})
	if err != nil {
		return // Upgrade has answered
	}
	c := &streamConn{streamer: s, ws: ws, json: r.URL.Query().Get("version") == "2", dead: make(chan struct{}), sent: map[string]time.Time{}}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	go c.read()
	c.write(o)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	_ = ws.Close()
	<-c.dead
}

// read takes what the client asks for until it is gone, or asks for it in no JSON.
func (c *streamConn) read() {
	defer close(c.dead)
	for {
		_, text, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		var ask struct {
			Subscribe, Unsubscribe []string
		}
		if json.Unmarshal(text, &ask) != nil {
			return // which closes with 1005: without a status
		}
		c.ask(ask.Subscribe, ask.Unsubscribe)
	}
}

func (c *streamConn) ask(subscribe, unsubscribe []string) {
	s := c.streamer
	o := s.behaviour()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, symbol := range unsubscribe {
		delete(c.sent, symbol)
	}
	c.asked += len(subscribe) - len(unsubscribe)
	s.mu.Lock()
	s.most = max(s.most, c.asked)
	s.mu.Unlock()
	for _, symbol := range subscribe {
		_, has := c.sent[symbol]
		if has || len(c.sent) >= o.Cap {
			continue
		}
		s.mu.Lock()
		mute := s.muted[symbol] < o.Mute[symbol]
		if mute {
			s.muted[symbol]++
		}
		s.mu.Unlock()
		if mute {
			continue
		}
		c.sent[symbol] = time.Time{}
	}
}

// write sends what the market does until the connection ends.
func (c *streamConn) write(o StreamOptions) {
	look, beat := time.NewTicker(o.Every), time.NewTicker(o.Heartbeat)
	defer look.Stop()
	defer beat.Stop()
	var dies <-chan time.Time
	if o.DieAfter > 0 {
		t := time.NewTimer(o.DieAfter)
		defer t.Stop()
		dies = t.C
	}
	frames := 0
	send := func(p *streampb.PricingData) bool {
		if o := c.streamer.behaviour(); o.Malformed > 0 {
			if frames++; frames%o.Malformed == 0 && !c.text(malformed[frames/o.Malformed%len(malformed)]) {
				return false
			}
		}
		return c.text(Frame(p, c.json))
	}
	for {
		select {
		case <-c.dead:
			_ = c.ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
			return
		case <-dies:
			_ = c.ws.NetConn().Close()
			return
		case <-beat.C:
			if !send(&streampb.PricingData{Id: "heartbeat", QuoteType: 7, Time: c.streamer.market.Now().UnixMilli()}) {
				return
			}
		case <-look.C:
			for _, p := range c.news(c.streamer.behaviour()) {
				if !send(p) {
					return
				}
			}
		}
	}
}

func (c *streamConn) text(frame []byte) bool {
	_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
	return c.ws.WriteMessage(websocket.TextMessage, frame) == nil
}

// news are the messages of what has traded since the last look.
func (c *streamConn) news(o StreamOptions) []*streampb.PricingData {
	m := c.streamer.market
	now := m.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*streampb.PricingData
	for symbol, until := range c.sent {
		at := now
		switch {
		case until.IsZero():
			at = now.Add(-o.Stale)
		case len(m.TradesBetween(symbol, until, now)) == 0:
			c.sent[symbol] = now
			continue
		}
		c.sent[symbol] = now
		// Between here and there now stands still, or a trade would be missed: those
		// of the moment itself are in the next look.
		if snap, ok := m.At(symbol, at.Add(-time.Millisecond)); ok {
			out = append(out, snap.pricing())
		}
	}
	slices.SortFunc(out, func(a, b *streampb.PricingData) int { return strings.Compare(a.Id, b.Id) })
	return out
}

// pricing is the message that Yahoo would send of a snapshot. Shares come without
// currency and previous close.
func (snap *Snapshot) pricing() *streampb.PricingData {
	in := &snap.Instrument
	t, hours := snap.Regular, int32(1)
	if x := snap.Extended; x != nil {
		if t, hours = *x, 2; snap.State == Pre {
			hours = 0
		}
	}
	p := &streampb.PricingData{
		Id: in.Symbol, Price: float(t.Price), Time: t.Time, Exchange: in.Exchange, QuoteType: quoteTypes[in.Type], MarketHours: hours,
		DayVolume: snap.DayVolume, PriceHint: int64(in.PriceHint),
	}
	from := snap.PreviousClose
	if snap.Extended != nil {
		from = snap.Regular.Price
	}
	if from != tick.Unknown {
		p.Change = float(t.Price - from)
		p.ChangePercent = float(t.Price-from) / float(from) * 100
	}
	switch in.Type {
	case "EQUITY", "ETF":
	default:
		p.Currency, p.ShortName, p.PreviousClose = in.Currency, in.Name, float(snap.PreviousClose)
	}
	return p
}

// float is the price as the streamer sends it, with the noise that it has then.
func float(p tick.Price) float32 { return float32(float64(p) / float64(tick.Unit)) }

var quoteTypes = map[string]int32{"EQUITY": 8, "INDEX": 9, "CURRENCY": 14, "FUTURE": 18, "ETF": 20, "CRYPTOCURRENCY": 41}

// Frame is the text frame of a message: the JSON of version 2, or bare base64.
func Frame(p *streampb.PricingData, version2 bool) []byte {
	message, err := p.MarshalVT()
	if err != nil {
		panic(err) // a message without required fields has no way to fail
	}
	text := base64.StdEncoding.EncodeToString(message)
	if !version2 {
		return []byte(text)
	}
	return []byte(`{"type":"pricing","message":"` + text + `"}`)
}

// malformed are frames that no client should die of.
var malformed = [][]byte{
	[]byte("{"),
	[]byte(`{"type":"pricing","message":"////"}`),
	[]byte("not base64 at all!"),
	[]byte(`{"type":"error","message":"something went wrong"}`),
	[]byte(`{"type":"pricing","message":17}`),
	[]byte("CgRNU0ZUFYVrMUMY0KLMjcNcKgNOTVM"),
	{},
	Frame(&streampb.PricingData{Price: 1, Time: 1_700_000_000_000}, true),
	Frame(&streampb.PricingData{Id: "AAPL", Time: 1_700_000_000_000}, true),
	Frame(&streampb.PricingData{Id: "AAPL", Price: 231.5, Time: 1_700_000_000}, true),
}
