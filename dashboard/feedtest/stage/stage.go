// Package stage is a whole dashboard on a made-up market, without Kafka or
// functions, that shows each state of a page on demand. It is for the tests of the
// page and for those who work on it.
package stage

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/dashboard/api"
	"ticktape/dashboard/ask"
	"ticktape/dashboard/feedtest"
	"ticktape/dashboard/hub"
	"ticktape/dashboard/pulse"
	"ticktape/dashboard/push"
	"ticktape/dashboard/web"
	"ticktape/internal/bus"
	"ticktape/internal/service"
	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

// Token is what the state "token" asks for.
const Token = "open-sesame-0815"

// states lists what Show takes, with what each does.
var states = [][2]string{
	{"live", "all is well: ends every other state"},
	{"stale", "no trade comes any more"},
	{"interrupted", "the service lives, Kafka does not answer"},
	{"loading", "the service reads what was in the topic"},
	{"empty", "no symbol has traded yet (a new process: all pages start over)"},
	{"restart", "the service starts anew, with the same market"},
	{"down", "the service answers nothing and drops its pages"},
	{"full", "no further page is admitted; those there are go on"},
	{"token", "pages need the token " + Token},
	{"delayed", "the source's data lag 15 minutes behind"},
	{"closed", "the markets have closed"},
	{"pre", "trading before the opening"},
	{"backend-error", "the functions answer 503: no history, no watch list"},
	{"seal-down", "one function is not there"},
	{"real", "prices are Yahoo's"},
	{"mixed", "some prices are Yahoo's, the others simulated"},
	{"many", "500 symbols (?symbols=N) and 2000 trades a second (?rate=N)"},
	{"rate", "2000 trades a second (?rate=N)"},
	{"dead-letter", "one more dead letter"},
	{"reseal", "a minute is sealed again, so charts ask anew"},
	{"lag", "process stands still and lags behind"},
	{"late", "a trade of 3 minutes ago comes in, of AAPL"},
}

// Stage is a dashboard on a made-up market. It is safe for concurrent use.
type Stage struct {
	gateway *http.Server
	address string

	rate, away, down, stalled, quiet, sealDown atomic.Int64

	mu    sync.Mutex // of what follows
	scene *scene
	count int
	token string
}

// soon is how often the functions are asked: a state is to show at once.
const soon = 400 * time.Millisecond

// scene is one life of the service.
type scene struct {
	market    *feedtest.Market
	functions *feedtest.Functions
	hub       *hub.Hub
	letters   *pulse.Letters
	lives     *pulse.Latency
	handler   http.Handler
	stop      func()
	source    atomic.Int64 // which symbols are Yahoo's: 0 none, 1 some, 2 all
	done      int64        // trades that the functions have done, of all
	mu        sync.Mutex
}

// New makes a stage with so many symbols that trade so often a second. Close it.
func New(symbols, rate int) (*Stage, error) {
	s := &Stage{count: symbols}
	s.rate.Store(int64(rate))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.address = "http://" + ln.Addr().String()
	s.gateway = &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.now().functions.ServeHTTP(w, r)
	})}
	s.scene, err = s.begin(nil)
	if err != nil {
		return nil, err
	}
	go func() { _ = s.gateway.Serve(ln) }() // ends with Close
	return s, nil
}

// Close ends everything.
func (s *Stage) Close() {
	s.now().stop()
	_ = s.gateway.Close()
}

func (s *Stage) now() *scene {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scene
}

// Symbols are the market's.
func symbols(n int) []feedtest.Symbol {
	if n <= len(feedtest.Symbols) {
		return feedtest.Symbols[:n]
	}
	return append(slices.Clone(feedtest.Symbols), feedtest.Many(n-len(feedtest.Symbols))...)
}

// begin starts a service on a market, a new one where it is nil.
func (s *Stage) begin(market *feedtest.Market) (*scene, error) {
	c := &scene{market: market, letters: &pulse.Letters{}, lives: &pulse.Latency{}}
	if c.market == nil {
		c.market = feedtest.New(7, symbols(s.count))
	}
	c.functions = feedtest.NewFunctions(c.market)
	c.functions.Away = func() bool { return s.away.Load() != 0 }
	c.functions.Down = func(name string) bool { return name == "seal" && s.sealDown.Load() != 0 }
	client, err := ask.New(s.address)
	if err != nil {
		return nil, err
	}
	page, err := web.Handler()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	clients := 20_000
	if s.down.Load() == 2 {
		clients = 1
	}
	c.hub = hub.New(hub.Config{Clients: clients})
	streams := push.New(ctx, c.hub, []string{"*"})
	history := ask.NewHistory(client)
	list := ask.NewList(client, c.hub.SetList)
	list.Every = soon
	p := pulse.New(pulse.Config{
		Log: (*log)(c), Topic: "ticks", Groups: []string{"process", "persist"},
		Functions: []string{"fetch", "process", "persist", "seal", "quotes", "candles", "ticks", "watchlist", "backfill"},
		Targets:   []pulse.Target{{Name: "kafka-connector", URL: s.address + "/connector"}},
		Ask:       client, Letters: c.letters, Latency: c.lives, Hub: c.hub, Sealed: history.Changed,
		HealthEvery: soon, SealEvery: soon,
	})
	var health service.Health
	c.handler = api.Handler(api.Config{Hub: c.hub, Push: streams, History: history, List: list, Letters: c.letters, Health: &health, Page: page, Token: s.token})
	if market == nil {
		c.hub.Apply(c.market.Past(3*time.Hour, 12))
	} else {
		c.hub.Apply(market.Again())
	}
	c.done = c.market.Offset() // the past is no backlog
	c.hub.SetSource(hub.Source{Connected: true, CaughtUp: true})
	g, gctx := errgroup.WithContext(ctx)
	for _, run := range []func(context.Context) error{c.hub.Run, list.Follow, p.Run, func(ctx context.Context) error { return client.FollowDays(ctx, c.hub) }} {
		g.Go(func() error { return run(gctx) })
	}
	g.Go(func() error { return s.trade(gctx, c) })
	c.stop = func() {
		cancel()
		_ = g.Wait() // they end without errors
		streams.Wait()
	}
	return c, nil
}

// trade lets the market trade.
func (s *Stage) trade(ctx context.Context, c *scene) error {
	const step = 50 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	owed := 0.0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		owed += float64(s.rate.Load()) * step.Seconds()
		n := int(owed)
		owed -= float64(n)
		if s.quiet.Load() == 0 && n > 0 {
			c.apply(c.market.Step(n))
		}
		c.mu.Lock()
		if s.stalled.Load() == 0 {
			c.done = c.market.Offset()
		}
		c.mu.Unlock()
	}
}

// apply is what the way through Kafka would do.
func (c *scene) apply(updates []*windowpb.Update) {
	at := make([]int64, len(updates))
	for i, u := range updates {
		at[i] = u.Latest.LogTime
		if k := c.source.Load(); k == 2 || k == 1 && u.Symbol < "D" {
			u.Latest.Source = int32(tick.SourceYahoo)
		}
	}
	c.hub.Apply(updates)
	c.lives.Add(updates, at)
}

// ServeHTTP serves the dashboard, and under /control/ the states.
func (s *Stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := cutControl(r.URL.Path); ok {
		s.control(w, r, name)
		return
	}
	if s.down.Load() == 1 {
		panic(http.ErrAbortHandler) // drops the connection
	}
	s.now().handler.ServeHTTP(w, r)
}

func cutControl(path string) (string, bool) {
	const prefix = "/control/"
	if len(path) < len(prefix) || path[:len(prefix)] != prefix {
		return "", false
	}
	return path[len(prefix):], true
}

func (s *Stage) control(w http.ResponseWriter, r *http.Request, name string) {
	if r.Method == http.MethodGet {
		for _, st := range states {
			_, _ = fmt.Fprintf(w, "%-14s %s\n", st[0], st[1])
		}
		return
	}
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	if err := s.Show(name, number("symbols", 500), number("rate", 2000)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Show brings a state about. States add up until "live". count and rate are for
// the states "many" and "rate".
func (s *Stage) Show(state string, count, rate int) error {
	c := s.now()
	switch state {
	case "live":
		s.away.Store(0)
		s.quiet.Store(0)
		s.stalled.Store(0)
		s.sealDown.Store(0)
		c.functions.SetDelay(0)
		c.market.SetState(tick.MarketRegular)
		c.source.Store(0)
		c.hub.SetSource(hub.Source{Connected: true, CaughtUp: true})
		market := c.market
		if len(market.Names()) == 0 {
			market = nil
		}
		s.mu.Lock()
		asks := s.token != ""
		s.token = ""
		s.mu.Unlock()
		if s.down.Swap(0) != 0 || asks || market == nil {
			return s.restart(market)
		}
	case "stale":
		s.quiet.Store(1)
	case "interrupted":
		s.quiet.Store(1)
		c.hub.SetSource(hub.Source{CaughtUp: true, Problem: "Kafka does not answer in time."})
	case "loading":
		c.hub.SetSource(hub.Source{Connected: true, Behind: 812_345})
	case "empty":
		s.quiet.Store(1)
		return s.restart(feedtest.New(7, nil))
	case "restart":
		return s.restart(c.market)
	case "down":
		s.down.Store(1)
		c.stop()
	case "full":
		s.down.Store(2)
		return s.restart(c.market)
	case "token":
		s.mu.Lock()
		s.token = Token
		s.mu.Unlock()
		return s.restart(c.market)
	case "delayed":
		c.functions.SetDelay(15 * time.Minute)
	case "closed":
		c.market.SetState(tick.MarketClosed)
		c.apply(c.market.Step(20 * len(c.market.Names())))
		s.quiet.Store(1)
	case "pre":
		c.market.SetState(tick.MarketPre)
	case "backend-error":
		s.away.Store(1)
	case "seal-down":
		s.sealDown.Store(1)
	case "real":
		c.source.Store(2)
	case "mixed":
		c.source.Store(1)
	case "many":
		s.count = count
		s.rate.Store(int64(rate))
		return s.restart(nil)
	case "rate":
		s.rate.Store(int64(rate))
	case "dead-letter":
		c.letters.Add(pulse.Letter{
			Position: c.market.Offset(), Time: time.Now().UnixMilli(), Function: "process", Topic: "ticks", Partition: 3, Offset: c.market.Offset(),
			RecordTime: time.Now().Add(-time.Second).UnixMilli(), Key: "<b>AAPL</b>", Reason: "status 422: not a tick: no price",
			Value: `{"symbol":"<b>AAPL</b>","event_time":"yesterday"}`, Form: "text", Size: 48,
		})
	case "reseal":
		c.functions.Reseal()
	case "lag":
		s.stalled.Store(1)
	case "late":
		c.apply(c.market.Late("AAPL", 3*time.Minute))
	default:
		return fmt.Errorf("there is no state %.40q: GET /control/ lists those there are", state)
	}
	return nil
}

func (s *Stage) restart(market *feedtest.Market) error {
	old := s.now()
	old.stop()
	next, err := s.begin(market)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.scene = next
	s.mu.Unlock()
	return nil
}

// log is the scene's Kafka.
type log scene

const partitions = 12

func (l *log) TopicInfo(context.Context, string) (bus.Info, error) {
	return bus.Info{ID: [16]byte{1}, Partitions: partitions}, nil
}

func (l *log) Committed(_ context.Context, group, _ string) (map[int]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if group == "process" {
		return spread(l.done), nil
	}
	return spread(l.market.Offset()), nil
}

func (l *log) Ends(context.Context, string, []int) (map[int]int64, error) {
	return spread(l.market.Offset()), nil
}

func spread(n int64) map[int]int64 {
	offsets := map[int]int64{}
	for p := range int64(partitions) {
		offsets[int(p)] = (n + p) / partitions
	}
	return offsets
}
