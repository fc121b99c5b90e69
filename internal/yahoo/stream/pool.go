package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo/hours"
)

// Symbol is one to be followed.
type Symbol struct {
	Name string
	// Exchange is Yahoo's code, empty where it is not known yet.
	Exchange string
}

// Pool follows symbols over as many connections as they need. It is safe for
// concurrent use.
type Pool struct {
	cfg      Config
	endpoint *url.URL
	dialer   websocket.Dialer
	source   tick.Source
	sink     func(Update)
	metrics  *metrics
	limit    *rate.Limiter

	mu        sync.Mutex
	symbols   map[string]*entry
	conns     []*conn
	start     func(*conn) // nil while Run does not run
	made      int         // connections ever made
	exchanges map[string]exchange
	troubles  int // frames that could not be used since that was last logged
	saidAt    time.Time
}

// entry is a symbol of the pool.
type entry struct {
	name, exchange string
	conn           *conn // nil where all are full
	subscribed     time.Time
	snapshot       bool // the next frame is the first since then
	heard          time.Time
	lastTrade      int64
	trades, stale  int64
	onlyStale      bool // since it was subscribed to
	moves          int
	inVain         int // moves since its last trade
	silent         bool
	problem        string
}

// exchange is what its symbols tell of it.
type exchange struct {
	at    time.Time // when a trade last came
	state tick.MarketState
}

// New checks the settings, whose errors name the variable to change, and makes a
// pool, which does nothing before Run. sink is called for each trade that is not
// older than a day, in order for each symbol, by several goroutines, which it holds up.
func New(cfg Config, sink func(Update), reg prometheus.Registerer) (*Pool, error) {
	endpoint, proxy, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Pool{
		cfg: cfg, endpoint: endpoint, sink: sink, source: cfg.source(endpoint), metrics: newMetrics(reg),
		dialer:  websocket.Dialer{Proxy: proxy, HandshakeTimeout: cfg.Timeout, ReadBufferSize: 16 << 10, EnableCompression: true},
		limit:   rate.NewLimiter(rate.Limit(cfg.DialRate), 4),
		symbols: map[string]*entry{}, exchanges: map[string]exchange{},
	}, nil
}

// Run keeps the connections until ctx is done and returns when all have ended.
func (p *Pool) Run(ctx context.Context) {
	var conns sync.WaitGroup
	p.mu.Lock()
	p.start = func(c *conn) { conns.Go(func() { c.run(ctx) }) }
	for _, c := range p.conns {
		p.start(c)
	}
	p.mu.Unlock()
	supervise := time.NewTicker(min(p.cfg.Silence/4, 5*time.Second))
	defer supervise.Stop()
	for ctx.Err() == nil {
		select {
		case <-supervise.C:
			p.supervise(time.Now())
		case <-ctx.Done():
		}
	}
	p.mu.Lock()
	p.start = func(*conn) {}
	p.mu.Unlock()
	conns.Wait()
}

// Follow sets the symbols to follow. What is new is subscribed to, what is gone
// unsubscribed from, and the rest stays where it is.
func (p *Pool) Follow(symbols []Symbol) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := map[string]bool{}
	for _, s := range symbols {
		wanted[s.Name] = true
		e := p.symbols[s.Name]
		if e == nil {
			e = &entry{name: s.Name}
			p.symbols[s.Name] = e
		}
		e.exchange = cmp.Or(e.exchange, s.Exchange)
		if e.conn == nil {
			p.place(e, p.roomiest(nil))
		}
	}
	for name, e := range p.symbols {
		if !wanted[name] {
			p.place(e, nil)
			delete(p.symbols, name)
		}
	}
}

// place puts a symbol on a connection, or on none.
func (p *Pool) place(e *entry, to *conn) {
	if e.conn != nil {
		delete(e.conn.symbols, e.name)
		e.conn.changed()
	}
	e.conn, e.heard, e.onlyStale = to, time.Time{}, false
	e.subscribed = time.Now()
	if to != nil {
		to.symbols[e.name] = e
		to.changed()
	}
}

// roomiest is the connection with the most free places, but not other; a new one
// where none has any, and nil where there may be no more.
func (p *Pool) roomiest(other *conn) *conn {
	var best *conn
	for _, c := range p.conns {
		if c != other && len(c.symbols) < p.cfg.SymbolsPerConnection && (best == nil || len(c.symbols) < len(best.symbols)) {
			best = c
		}
	}
	if best == nil {
		best = p.open()
	}
	return best
}

func (p *Pool) open() *conn {
	if len(p.conns) >= p.cfg.MaxConnections {
		return nil
	}
	p.made++
	c := &conn{
		pool: p, id: p.made, symbols: map[string]*entry{},
		wake: make(chan struct{}, 1), kill: make(chan struct{}, 1),
	}
	p.conns = append(p.conns, c)
	if p.start != nil {
		p.start(c)
	}
	return c
}

// retire takes a connection without symbols out of the pool.
func (p *Pool) retire(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(c.symbols) > 0 {
		return false
	}
	p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == c })
	return true
}

func (p *Pool) opened(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.up, c.heard = time.Now(), time.Time{}
	for _, e := range c.symbols {
		e.heard = time.Time{}
	}
	p.metrics.open.Inc()
}

func (p *Pool) closed(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.up = time.Time{}
	p.metrics.open.Dec()
}

// frame takes in a frame and returns whether it could be used.
func (p *Pool) frame(c *conn, text []byte, source tick.Source) (usable bool) {
	now := time.Now()
	message, err := DecodeFrame(text)
	if err == nil && Heartbeat(message) {
		p.metrics.frames.WithLabelValues(kindHeartbeat).Inc()
		p.mu.Lock()
		c.heard = now
		p.mu.Unlock()
		return true
	}
	var u Update
	if err == nil {
		u.Received = now
		u.Quote, err = Quote(message, source)
	}
	if err == nil && time.UnixMilli(u.Time).After(now.Add(maxAhead)) {
		err = &Error{BadTrade, u.Symbol, fmt.Errorf("it is %s in the future: check this machine's clock", time.UnixMilli(u.Time).Sub(now).Round(time.Second))}
	}
	if err != nil {
		p.trouble(err, now)
		return false
	}
	stale := now.Sub(time.UnixMilli(u.Time)) > maxAge
	if !p.note(c, &u, stale) {
		p.metrics.frames.WithLabelValues(kindUnasked).Inc()
		return false
	}
	if stale {
		p.metrics.frames.WithLabelValues(kindStale).Inc()
		return true
	}
	p.metrics.frames.WithLabelValues(kindTrade).Inc()
	p.sink(u)
	return true
}

// note keeps what a trade tells of its symbol and its exchange. It returns false
// where the symbol is not this connection's.
func (p *Pool) note(c *conn, u *Update, stale bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.symbols[u.Symbol]
	if e == nil || e.conn != c {
		return false
	}
	c.heard, e.heard = u.Received, u.Received
	u.Snapshot, e.snapshot = e.snapshot, false
	e.exchange = cmp.Or(u.Exchange, e.exchange)
	e.problem = ""
	if stale {
		e.stale++
		e.onlyStale = e.onlyStale || u.Snapshot
		return true
	}
	e.trades++
	e.onlyStale = false
	if u.Time > e.lastTrade {
		// A snapshot of a trade that is known shows that the symbol is served, and
		// not that it trades.
		e.inVain, e.silent, e.lastTrade = 0, false, u.Time
	}
	if !u.Snapshot || u.Received.Sub(time.UnixMilli(u.Time)) < time.Minute {
		p.exchanges[e.exchange] = exchange{u.Received, u.MarketState}
	}
	return true
}

// trouble counts a frame that can't be used, and logs now and then.
func (p *Pool) trouble(err error, now time.Time) {
	var e *Error
	if !errors.As(err, &e) {
		return
	}
	p.metrics.frames.WithLabelValues(bad(e.Reason)).Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	if entry := p.symbols[e.Symbol]; entry != nil {
		entry.problem = e.Error()
	}
	if p.troubles++; now.Sub(p.saidAt) > sayAgain {
		slog.Warn("frames of Yahoo's streamer can't be used", "frames", p.troubles, "last", e)
		p.saidAt, p.troubles = now, 0
	}
}

// trading tells whether the symbol's market is open, as far as can be known: by
// what comes of its exchange, else by its exchange's calendar.
func (p *Pool) trading(e *entry, now time.Time) bool {
	if x, ok := p.exchanges[e.exchange]; ok && e.exchange != "" && now.Sub(x.at) < p.cfg.Silence {
		return x.state == tick.MarketRegular
	}
	if calendar, ok := hours.Of(e.exchange); ok {
		return calendar.At(now) == hours.Regular
	}
	// Of an exchange that nothing is known of: while others trade.
	for _, x := range p.exchanges {
		if now.Sub(x.at) < p.cfg.Silence && x.state == tick.MarketRegular {
			return true
		}
	}
	return false
}

// supervise moves symbols that are silent while their market is open, each to
// another connection, and makes connections anew of which all symbols are.
func (p *Pool) supervise(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var moved []string
	var fresh *conn // for those that a move to a connection there is has not helped
	for _, c := range slices.Clone(p.conns) {
		if c.up.IsZero() {
			continue
		}
		var silent []*entry
		for _, e := range c.symbols {
			since := latest(e.heard, e.subscribed, c.up)
			e.silent = e.silent && e.inVain > 0
			if now.Sub(since) > p.cfg.Silence<<min(e.inVain, maxDoublings) && p.trading(e, now) {
				silent = append(silent, e)
			}
		}
		if len(silent) == 0 {
			continue
		}
		slices.SortFunc(silent, func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
		whole := len(silent) == len(c.symbols) && now.Sub(latest(c.heard, c.up)) > p.cfg.Silence
		if whole && len(silent) > 1 {
			slog.Warn("a connection is silent while markets are open, making it again", "connection", c.id, "symbols", len(silent))
			select {
			case c.kill <- struct{}{}:
			default:
			}
			for _, e := range silent {
				e.inVain, e.silent, e.subscribed = e.inVain+1, true, now
			}
			continue
		}
		for _, e := range silent {
			e.silent = true
			e.inVain++
			to := p.roomiest(c)
			if e.inVain > 1 {
				if fresh == nil || len(fresh.symbols) >= p.cfg.SymbolsPerConnection {
					fresh = p.open()
				}
				to = cmp.Or(fresh, to)
			}
			if to == nil {
				e.subscribed = now // it waits for its next turn
				continue
			}
			e.moves++
			p.place(e, to)
			moved = append(moved, e.name)
			p.metrics.moves.Inc()
		}
	}
	if len(moved) > 0 {
		shown := moved[:min(len(moved), 20)]
		slog.Warn("symbols were silent while their market is open and were moved to other connections", "count", len(moved), "symbols", shown)
	}
	counts := map[State]int{Waiting: 0, Live: 0, Silent: 0, Stale: 0, Unplaced: 0}
	for _, e := range p.symbols {
		counts[e.state()]++
	}
	for state, n := range counts {
		p.metrics.symbols.WithLabelValues(string(state)).Set(float64(n))
	}
}

// maxDoublings bounds the growth of the time after which a symbol that stays
// silent is moved again: to 32 times Silence.
const maxDoublings = 5

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}

func (e *entry) state() State {
	switch {
	case e.conn == nil:
		return Unplaced
	case e.silent:
		return Silent
	case e.onlyStale:
		return Stale
	case e.heard.IsZero(), e.conn.up.IsZero():
		return Waiting
	}
	return Live
}

// Status tells of each symbol, in the order of their names.
func (p *Pool) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Status, 0, len(p.symbols))
	for _, e := range p.symbols {
		s := Status{
			Symbol: e.name, State: e.state(), Exchange: e.exchange, Heard: e.heard,
			Trades: e.trades, Stale: e.stale, Moves: e.moves, Problem: e.problem,
		}
		if e.conn != nil {
			s.Connection, s.Connected = e.conn.id, !e.conn.up.IsZero()
		}
		if e.lastTrade != 0 {
			s.LastTrade = time.UnixMilli(e.lastTrade).UTC()
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Symbol, b.Symbol) })
	return all
}
