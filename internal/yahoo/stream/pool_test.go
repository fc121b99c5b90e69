package stream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"ticktape/internal/service"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/yahootest"
)

// bed is a pool over a stand-in, and what it brought.
type bed struct {
	*yahootest.Server
	*Pool
	web      *httptest.Server
	registry *prometheus.Registry

	mu      sync.Mutex
	updates map[string][]Update
}

func newBed(t *testing.T, o yahootest.Options, s yahootest.StreamOptions, change func(*Config)) *bed {
	t.Helper()
	b := &bed{Server: yahootest.NewServer(o), updates: map[string][]Update{}, registry: prometheus.NewRegistry()}
	b.Streamer.Set(s)
	b.web = httptest.NewServer(b.Server)
	cfg, err := service.Load[Config]()
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL = "ws" + strings.TrimPrefix(b.web.URL, "http") + "/streamer?version=2"
	cfg.DialRate, cfg.MinBackoff, cfg.Timeout = 1000, 20*time.Millisecond, 5*time.Second
	if change != nil {
		change(&cfg)
	}
	if b.Pool, err = New(cfg, b.take, b.registry); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if n := b.metric("connections", ""); n != 0 {
			t.Errorf("%v connections are open after the end", n)
		}
		b.web.Close()
	})
	return b
}

func (b *bed) take(u Update) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.updates[u.Symbol] = append(b.updates[u.Symbol], u)
}

func (b *bed) got(symbol string) []Update {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.updates[symbol])
}

func (b *bed) follow(names ...string) {
	var symbols []Symbol
	for _, n := range names {
		symbols = append(symbols, Symbol{Name: n})
	}
	b.Follow(symbols)
}

func (b *bed) status(symbol string) Status {
	for _, s := range b.Status() {
		if s.Symbol == symbol {
			return s
		}
	}
	return Status{}
}

// metric is a value of ticktape_stream_ of which the only label has this value.
func (b *bed) metric(name, label string) float64 {
	families, _ := b.registry.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "ticktape_stream_"+name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

const patience = 20 * time.Second

func (b *bed) awaitLive(t *testing.T, symbols ...string) {
	t.Helper()
	testbed.Eventually(t, patience, "all symbols are heard of", func() bool {
		for _, s := range symbols {
			if len(b.got(s)) == 0 {
				return false
			}
		}
		return true
	})
}

func TestAThousandSymbolsAreSpreadOverConnectionsOfAHundred(t *testing.T) {
	b := newBed(t, yahootest.Options{Symbols: 1000}, yahootest.StreamOptions{}, func(c *Config) {
		c.UserAgent, c.Origin = "a browser", "https://a.page"
	})
	all := append(b.Market.Symbols(), "NOSUCH")
	b.follow(all...)
	b.awaitLive(t, b.Market.Symbols()...)
	if n, most := b.Streamer.Connections(), b.Streamer.MostSymbols(); n != 11 || most != 100 {
		t.Errorf("%d connections, the fullest with %d symbols", n, most)
	}
	for symbol, n := range b.Streamer.Served() {
		if n != 1 {
			t.Errorf("%s is served by %d connections", symbol, n)
		}
	}
	if h := b.Streamer.Handshake(); h.Get("User-Agent") != "a browser" || h.Get("Origin") != "https://a.page" {
		t.Errorf("handshake %v", h)
	}
	if s := b.status("NOSUCH"); s.State != Waiting || !s.Connected {
		t.Errorf("a symbol that there is not: %+v", s)
	}
	u := b.got("AAPL")[0]
	want, ok := b.Market.LastTrade("AAPL", time.UnixMilli(u.Time))
	if !ok || u.Price != want.Price || u.Time != want.Time || !u.Snapshot || u.Source != tick.SourceSimulated || u.MarketState != tick.MarketRegular {
		t.Errorf("update %+v of trade %+v", u, want)
	}

	// Those that leave make room for those that come, on the connections there are.
	b.follow(all[:100]...)
	testbed.Eventually(t, patience, "most are unsubscribed from", func() bool { return len(b.Streamer.Served()) == 100 })
	b.follow(append(slices.Clone(all[:100]), all[500:]...)...)
	testbed.Eventually(t, patience, "others are subscribed to", func() bool { return len(b.Streamer.Served()) == 601 })
	if most := b.Streamer.MostSymbols(); most != 100 {
		t.Errorf("%d symbols on a connection", most)
	}
	b.follow("AAPL")
	testbed.Eventually(t, patience, "connections without symbols end", func() bool { return b.Streamer.Connections() == 1 })
}

func TestASilentSymbolIsMovedWhileItsMarketIsOpen(t *testing.T) {
	b := newBed(t, yahootest.Options{Speed: 10}, yahootest.StreamOptions{Mute: map[string]int{"MSFT": 2, "NOSUCH": 0}}, func(c *Config) {
		c.Silence = 400 * time.Millisecond
	})
	b.follow("AAPL", "MSFT", "NVDA")
	b.awaitLive(t, "AAPL", "NVDA", "MSFT")
	s := b.status("MSFT")
	if s.State != Live || s.Moves != 2 || s.Connection == b.status("AAPL").Connection {
		t.Errorf("status %+v", s)
	}
	if s := b.status("AAPL"); s.Moves != 0 {
		t.Errorf("status %+v", s)
	}
	if n := b.metric("moves_total", ""); n != 2 {
		t.Errorf("%v moves", n)
	}
}

// TestACapBelowOursIsFoundOut: what the server drops without a word is spread
// until all is served.
func TestACapBelowOursIsFoundOut(t *testing.T) {
	b := newBed(t, yahootest.Options{Symbols: 150, Speed: 10}, yahootest.StreamOptions{Cap: 40}, func(c *Config) {
		c.Silence = 400 * time.Millisecond
	})
	b.follow(b.Market.Symbols()...)
	b.awaitLive(t, b.Market.Symbols()...)
}

func TestAConnectionThatIsSilentAsAWholeIsMadeAgain(t *testing.T) {
	b := newBed(t, yahootest.Options{Speed: 10}, yahootest.StreamOptions{
		Mute: map[string]int{"KO": 1, "WMT": 1}, Heartbeat: time.Hour,
	}, func(c *Config) {
		c.Silence, c.SymbolsPerConnection = 400*time.Millisecond, 2
	})
	b.follow("AAPL", "NVDA", "KO", "WMT")
	var symbols []Symbol
	for _, s := range []string{"AAPL", "NVDA", "KO", "WMT"} {
		symbols = append(symbols, Symbol{s, "NMS"})
	}
	b.Follow(symbols)
	b.awaitLive(t, "AAPL", "NVDA", "KO", "WMT")
	if s := b.status("KO"); s.Moves != 0 || s.State != Live {
		t.Errorf("status %+v", s)
	}
	if n := len(b.Streamer.Dials()); n != 3 {
		t.Errorf("%d connections were made", n)
	}
}

func TestASymbolOfAClosedMarketIsLeftWhereItIs(t *testing.T) {
	sunday := time.Date(2025, 3, 9, 15, 0, 0, 0, time.UTC)
	b := newBed(t, yahootest.Options{Hours: yahootest.ExchangeHours, Start: sunday}, yahootest.StreamOptions{}, nil)
	b.follow("AAPL", "MSFT", "BTC-USD")
	testbed.Eventually(t, patience, "snapshots came", func() bool { return b.status("AAPL").Stale > 0 && b.status("MSFT").Stale > 0 })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Pool.mu.Lock()
	b.exchanges["CCC"] = exchange{sunday, tick.MarketRegular} // crypto currencies trade on
	for _, name := range []string{"AAPL", "MSFT"} {
		if b.trading(b.symbols[name], sunday) {
			t.Errorf("%s trades on a Sunday", name)
		}
		if monday := sunday.Add(24 * time.Hour); !b.trading(b.symbols[name], monday) {
			t.Errorf("%s does not trade on a Monday", name)
		}
	}
	b.Pool.mu.Unlock()
}

func TestASnapshotOlderThanADayIsNoTrade(t *testing.T) {
	b := newBed(t, yahootest.Options{Speed: 10}, yahootest.StreamOptions{Stale: 3 * 24 * time.Hour, Every: 300 * time.Millisecond}, nil)
	b.follow("AAPL", "NOSUCH")
	b.awaitLive(t, "AAPL")
	s := b.status("AAPL")
	if u := b.got("AAPL")[0]; u.Snapshot || s.Stale != 1 || s.State != Live {
		t.Errorf("first update %+v, status %+v", u, s)
	}
	if n := b.metric("frames_total", kindStale); n != 1 {
		t.Errorf("%v stale frames", n)
	}
}

func TestFramesThatCantBeReadAreCountedAndHarmOthersNot(t *testing.T) {
	b := newBed(t, yahootest.Options{Speed: 20}, yahootest.StreamOptions{Malformed: 1, Every: 20 * time.Millisecond}, nil)
	b.follow("AAPL")
	testbed.Eventually(t, patience, "trades came between all kinds of bad frames", func() bool {
		for _, r := range []Reason{BadFrame, BadMessage, BadPrice, BadTrade} {
			if b.metric("frames_total", bad(r)) < 2 {
				return false
			}
		}
		return len(b.got("AAPL")) > 20
	})
	if len(b.Streamer.Dials()) != 1 {
		t.Error("a bad frame ended the connection")
	}
}

func TestAStreamThatDiesAllTheTimeIsFollowed(t *testing.T) {
	for _, version := range []string{"?version=2", ""} {
		t.Run("frames as of "+version, func(t *testing.T) {
			b := newBed(t, yahootest.Options{Symbols: 40, Speed: 10}, yahootest.StreamOptions{DieAfter: 300 * time.Millisecond, Every: 50 * time.Millisecond}, func(c *Config) {
				c.URL = strings.Replace(c.URL, "?version=2", version, 1)
				c.SymbolsPerConnection = 10
			})
			b.follow(b.Market.Symbols()...)
			testbed.Eventually(t, patience, "each of four connections died five times", func() bool { return len(b.Streamer.Dials()) >= 20 })
			before := map[string]int{}
			for _, s := range b.Market.Symbols() {
				before[s] = len(b.got(s))
			}
			testbed.Eventually(t, patience, "snapshots of all symbols come again", func() bool {
				for _, s := range b.Market.Symbols() {
					if got := b.got(s); len(got) <= before[s] || got[len(got)-1].Time < got[0].Time {
						return false
					}
				}
				return true
			})
		})
	}
}

// TestReconnectsDoNotStorm: twenty connections that are all cut at once, and then
// refused, are begun no faster than they may.
func TestOfAFrameThatUnpacksToMegabytesOnlyTheBeginningIsRead(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrader := websocket.Upgrader{EnableCompression: true}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		for _, text := range []string{strings.Repeat("A", 16<<20), "next"} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
				t.Error(err)
			}
		}
		_, _, _ = ws.ReadMessage() // until the client leaves
	}))
	defer web.Close()
	dialer := websocket.Dialer{EnableCompression: true}
	ws, _, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(web.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.SetReadLimit(maxFrame)
	if _, frame, err := readFrame(ws); err != nil || len(frame) != maxFrame+1 {
		t.Errorf("%d bytes, %v", len(frame), err)
	} else if _, err := DecodeFrame(frame); err == nil {
		t.Error("it is a frame")
	}
	if _, frame, err := readFrame(ws); err != nil || string(frame) != "next" {
		t.Errorf("then %.20q, %v", frame, err)
	}
}

func TestReconnectsDoNotStorm(t *testing.T) {
	const perSecond = 20
	b := newBed(t, yahootest.Options{Symbols: 20}, yahootest.StreamOptions{}, func(c *Config) {
		c.SymbolsPerConnection, c.DialRate, c.MinBackoff, c.MaxBackoff = 1, perSecond, time.Millisecond, 300*time.Millisecond
	})
	b.follow(b.Market.Symbols()...)
	b.awaitLive(t, b.Market.Symbols()...)
	b.Streamer.Set(yahootest.StreamOptions{Refuse: http.StatusTooManyRequests})
	b.Streamer.Cut()
	testbed.Eventually(t, patience, "it was refused", func() bool { return len(b.Streamer.Dials()) > 40 })
	if s := b.status("AAPL"); s.State != Waiting || s.Connected {
		t.Errorf("without a connection: %+v", s)
	}
	b.Streamer.Set(yahootest.StreamOptions{})
	testbed.Eventually(t, patience, "all are connected again", func() bool { return b.Streamer.Connections() == 20 })
	dials := b.Streamer.Dials()
	for i := range dials {
		j := i
		for j < len(dials) && dials[j].Sub(dials[i]) < time.Second {
			j++
		}
		// The limiter's burst, and dials that the machine held up.
		if n := j - i; n > perSecond+4+10 {
			t.Errorf("%d dials within a second", n)
		}
	}
}

func TestSettingsThatCantBeUsedAreTold(t *testing.T) {
	good, err := service.Load[Config]()
	if err != nil {
		t.Fatal(err)
	}
	for variable, change := range map[string]func(*Config){
		"YAHOO_STREAM_URL":              func(c *Config) { c.URL = "https://yahoo.com" },
		"SOURCE":                        func(c *Config) { c.Source = "real" },
		"YAHOO_PROXY":                   func(c *Config) { c.Proxy = "proxy" },
		"STREAM_SYMBOLS_PER_CONNECTION": func(c *Config) { c.SymbolsPerConnection = 101 },
		"STREAM_SILENCE":                func(c *Config) { c.Silence = 0 },
		"STREAM_MAX_BACKOFF":            func(c *Config) { c.MaxBackoff = 0 },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg, nil, nil); err == nil || !strings.Contains(err.Error(), variable) {
			t.Errorf("%s: error %v", variable, err)
		}
	}
	for _, c := range []struct {
		url, source string
		want        tick.Source
	}{
		{good.URL, "auto", tick.SourceYahooStream},
		{good.URL, "simulated", tick.SourceSimulated},
		{"ws://127.0.0.1:1/", "auto", tick.SourceSimulated},
		{"ws://127.0.0.1:1/", "yahoo", tick.SourceYahooStream},
		{"wss://notyahoo.com/", "auto", tick.SourceSimulated},
	} {
		cfg := good
		cfg.URL, cfg.Source = c.url, c.source
		p, err := New(cfg, nil, nil)
		if err != nil || p.source != c.want {
			t.Errorf("%s with SOURCE=%s: %v, %v", c.url, c.source, p, err)
		}
	}
}

// TestAProxyIsAskedForTheWay: the address that the proxy is asked for is that of
// the streamer.
func TestAProxyIsAskedForTheWay(t *testing.T) {
	asked := make(chan string, 10)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		http.Error(w, "no", http.StatusForbidden)
	}))
	t.Cleanup(proxy.Close)
	b := newBed(t, yahootest.Options{}, yahootest.StreamOptions{}, func(c *Config) {
		c.URL, c.Proxy = "wss://streamer.example/?version=2", proxy.URL
	})
	b.follow("AAPL")
	if got := <-asked; got != "CONNECT streamer.example:443" {
		t.Errorf("the proxy was asked for %s", got)
	}
}

func TestTheStandInAnswersNonsenseAsYahooDoes(t *testing.T) {
	b := newBed(t, yahootest.Options{}, yahootest.StreamOptions{}, nil)
	ws, res, err := websocket.DefaultDialer.Dial(b.cfg.URL, nil)
	if err != nil || res.Header.Get(yahoo.SimulatedHeader) == "" {
		t.Fatalf("%v, %v", res, err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"subscribe":["AAPL"`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNoStatusReceived) {
		t.Errorf("it ended with %v, want 1005", err)
	}
}
