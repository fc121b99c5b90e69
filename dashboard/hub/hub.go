// Package hub turns the board's state into streams for any number of clients:
// a snapshot, then deltas. It knows neither Kafka, which package tail reads, nor
// how messages reach a browser, which package push does.
//
// # Revisions instead of queues
//
// Everything that changes is marked with the number of the flush that it goes
// out with, and a delta says between which two revisions it leads. A client is
// only the last revision it was given: when its transport can take more, it is
// given whatever changed since. So a slow client holds up nobody, needs no queue,
// and gets the newest state in one message, while all that keep up with one
// subscription share one encoded message. A client that comes back says where it
// stood and goes on from there.
//
// # Locks
//
// Hub.mu guards the board, the groups and all feeds' revisions. It is held while
// a message is encoded, never while one is written to a network.
package hub

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/window/windowpb"
)

// Config of a hub. Zero fields get the defaults.
type Config struct {
	// Flush is the shortest time between two deltas. The first change after a
	// quiet time goes out at once.
	Flush time.Duration
	// FlushClient is added for each client, because a delta that overtakes the one
	// before it has only cost time.
	FlushClient time.Duration
	// Beat is the time between two pulses, which also show a client that its
	// connection lives.
	Beat time.Duration
	// Clients and SymbolsPerClient bound what clients can ask for.
	Clients          int
	SymbolsPerClient int
	// Subscribed bounds the symbols of all different subscriptions together, of
	// which each takes about 100 bytes.
	Subscribed int
	Board      board.Limits
}

func (c Config) withDefaults() Config {
	if c.Flush == 0 {
		c.Flush = 50 * time.Millisecond
	}
	if c.FlushClient == 0 {
		c.FlushClient = 20 * time.Microsecond
	}
	if c.Beat == 0 {
		c.Beat = time.Second
	}
	if c.Clients == 0 {
		c.Clients = 20_000
	}
	if c.SymbolsPerClient == 0 {
		c.SymbolsPerClient = 500
	}
	if c.Subscribed == 0 {
		c.Subscribed = 500_000
	}
	if c.Board == (board.Limits{}) {
		c.Board = board.DefaultLimits
	}
	return c
}

// Source is what the reader of the topic says of itself.
type Source struct {
	// Connected is whether the last thing that Kafka said was not an error.
	Connected bool
	// CaughtUp is whether everything that was in the topic at start has been read.
	CaughtUp bool
	// Behind is the number of records between the reader and the end of the topic.
	Behind int64
	// Problem says in a sentence what is wrong, and is empty where nothing is.
	Problem string
}

// Hub holds the board and the clients. Make one with New, feed it with Apply,
// and let Run run while it is used.
type Hub struct {
	cfg   Config
	epoch string
	dirty chan struct{} // has room for one: something waits for a flush

	mu      sync.Mutex
	board   *board.Board
	rev     uint64 // of the last flush; what is applied is marked rev + 1
	changed map[string]struct{}
	groups  map[string]*group
	wanted  map[string]map[*group]struct{} // by symbol; "" is all symbols
	clients int
	// subscribed is the number of symbols in groups.
	subscribed int
	source     Source
	meter      meter
	pulse      *Message
	beat       uint64
	pipeline   *Message // nil before the first
	watchers   int      // clients that want it
	peeked     time.Time
	list       map[string]board.Facts
	listRev    int64
	seal       *Seal
	refused    bool
}

// peekTime is how long somebody who has asked for the pipeline may ask again.
const peekTime = 10 * time.Second

// Seal is how far function seal has got: minutes sealed for the first time and
// again, and live states corrected, since its process began.
type Seal struct {
	Windows     int64 `json:"windows"`
	Again       int64 `json:"again"`
	Differences int64 `json:"differences"`
}

// New makes a hub.
func New(cfg Config) *Hub {
	cfg = cfg.withDefaults()
	var id [5]byte
	_, _ = rand.Read(id[:]) // never fails
	h := &Hub{
		cfg:     cfg,
		rev:     1, // 0 is a client that has nothing
		epoch:   strings.ToLower(base32.StdEncoding.EncodeToString(id[:])),
		dirty:   make(chan struct{}, 1),
		board:   board.New(cfg.Board),
		changed: map[string]struct{}{},
		groups:  map[string]*group{},
		wanted:  map[string]map[*group]struct{}{},
		source:  Source{Problem: "Kafka has not been reached yet."},
	}
	h.beatLocked(time.Now())
	return h
}

// Epoch names this hub's sequence of revisions. Those of another epoch mean
// nothing here.
func (h *Hub) Epoch() string { return h.epoch }

// Apply takes updates in, in any order and any number of times. An update that
// is none is counted and left out. Nothing of the updates is kept.
func (h *Hub) Apply(updates []*windowpb.Update) {
	if len(updates) == 0 {
		return
	}
	now := time.Now()
	h.mu.Lock()
	wake := false
	for _, u := range updates {
		c, err := h.board.Apply(u, h.rev+1)
		if h.tookLocked(c, err) {
			wake = true
			h.meter.add(now, c.Ticks, u.Latest, h.source.CaughtUp)
		}
	}
	ticksKnown.Set(float64(h.board.Ticks()))
	h.mu.Unlock()
	h.flushSoon(wake)
}

// Seed takes latest trades in that the store knows and the topic may not tell
// of any more, as of a market that has been closed for days.
func (h *Hub) Seed(quotes []board.Quote) {
	h.mu.Lock()
	wake := false
	for _, q := range quotes {
		wake = h.tookLocked(h.board.ApplyQuote(q, h.rev+1)) || wake
	}
	h.mu.Unlock()
	h.flushSoon(wake)
}

// tookLocked counts what became of an update, and says whether it changed
// something.
func (h *Hub) tookLocked(c board.Change, err error) bool {
	switch {
	case errors.Is(err, board.ErrFull):
		updatesTotal.WithLabelValues("refused").Inc()
		if !h.refused {
			h.refused = true
			slog.Warn("more symbols than the dashboard shows; the rest is left out", "error", err)
		}
		return false
	case err != nil:
		updatesTotal.WithLabelValues("bad").Inc()
		slog.Debug("left out what is no update", "error", err)
		return false
	case !c.Changed:
		updatesTotal.WithLabelValues("repeated").Inc()
		return false
	}
	updatesTotal.WithLabelValues("applied").Inc()
	h.changed[c.Symbol.Name] = struct{}{}
	return true
}

func (h *Hub) flushSoon(changed bool) {
	if changed {
		select {
		case h.dirty <- struct{}{}:
		default:
		}
	}
}

// SetList says what is on the watch list: it decides what is shown and how it is
// called (see board.SetList).
func (h *Hub) SetList(list map[string]board.Facts) {
	h.mu.Lock()
	changed := h.board.SetList(list, time.Now().UnixMilli(), h.rev+1)
	for _, s := range changed {
		h.changed[s.Name] = struct{}{}
	}
	if h.list == nil || !maps.Equal(h.list, list) {
		h.list = list
		h.listRev++
	}
	h.mu.Unlock()
	h.flushSoon(len(changed) > 0)
}

// ListRev changes when the watch list does.
func (h *Hub) ListRev() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listRev
}

// Gaps and Fill complete days: see board.
func (h *Hub) Gaps(after string, n int) []board.Gap {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.board.Gaps(after, n)
}

// Fill takes in the stored windows of a gap. It reports false where the gap is
// not the present one any more.
func (h *Hub) Fill(g board.Gap, minutes []board.Minute) bool {
	h.mu.Lock()
	filled := h.board.Fill(g, minutes, h.rev+1)
	if filled {
		h.changed[g.Symbol] = struct{}{}
	}
	h.mu.Unlock()
	h.flushSoon(filled)
	return filled
}

// SetSeal says how far seal has got; nil is not known.
func (h *Hub) SetSeal(s *Seal) {
	h.mu.Lock()
	h.seal = s
	h.mu.Unlock()
}

// SetPipeline gives the message that clients get who want to see the pipeline,
// with the next pulse.
func (h *Hub) SetPipeline(data []byte) {
	m := &Message{Data: data, Epoch: h.epoch}
	h.mu.Lock()
	h.pipeline = m
	h.mu.Unlock()
}

// Pipeline returns the last such message, nil before the first. Whoever asks is
// taken for a client that wants it for a while.
func (h *Hub) Pipeline() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.peeked = time.Now()
	if h.pipeline == nil {
		return nil
	}
	return h.pipeline.Data
}

// Watchers is how many clients want to see the pipeline.
func (h *Hub) Watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.peeked) < peekTime {
		return h.watchers + 1
	}
	return h.watchers
}

// SetSource says how the reader of the topic is.
func (h *Hub) SetSource(s Source) {
	h.mu.Lock()
	defer h.mu.Unlock()
	news := s.Connected != h.source.Connected || s.CaughtUp != h.source.CaughtUp || s.Problem != h.source.Problem
	h.source = s
	if news {
		h.beatLocked(time.Now())
	}
}

// Run flushes changes to the clients until ctx is done.
func (h *Hub) Run(ctx context.Context) error {
	beat := time.NewTicker(h.cfg.Beat)
	defer beat.Stop()
	var last time.Time
	var later <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.dirty:
			wait := h.pace() - time.Since(last)
			if wait > 0 {
				if later == nil {
					later = time.After(wait)
				}
				continue
			}
		case <-later:
		case now := <-beat.C:
			h.mu.Lock()
			h.beatLocked(now)
			h.mu.Unlock()
			continue
		}
		later = nil
		last = time.Now()
		h.flush()
	}
}

// pace is the shortest time between two flushes.
func (h *Hub) pace() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cfg.Flush + time.Duration(h.clients)*h.cfg.FlushClient
}

// flush gives what was applied since the last flush a revision and wakes the
// clients that want it.
func (h *Hub) flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.changed) == 0 {
		return
	}
	h.rev++
	h.wake(h.wanted[""])
	for symbol := range h.changed {
		h.wake(h.wanted[symbol])
	}
	clear(h.changed)
	flushesTotal.Inc()
}

func (h *Hub) wake(groups map[*group]struct{}) {
	for g := range groups {
		if g.rev != h.rev {
			g.rev = h.rev
			clear(g.deltas)
			g.signal()
		}
	}
}

func (h *Hub) beatLocked(now time.Time) {
	h.beat++
	h.pulse = h.encodePulse(now)
	for _, g := range h.groups {
		g.signal()
	}
}

// Status is what the dashboard says of itself over HTTP.
type Status struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
	Now   int64  `json:"now"`
	// Ticks is how many ticks have reached the dashboard, those that were in the
	// topic when it started included; LiveTicks only those that came since it
	// had read these.
	Ticks     int64 `json:"ticks"`
	LiveTicks int64 `json:"live_ticks"`
	// LastUpdate is when the last change came, 0 where none has.
	LastUpdate int64 `json:"last_update"`
	Symbols    int   `json:"symbols"`
	Windows    int   `json:"windows"`
	Clients    int   `json:"clients"`
	// Full is whether no further client is admitted.
	Full      bool   `json:"full"`
	Connected bool   `json:"connected"`
	CaughtUp  bool   `json:"caught_up"`
	Behind    int64  `json:"behind"`
	Problem   string `json:"problem,omitempty"`
	// Simulated is whether any price shown is simulated; SimulatedSymbols how many.
	Simulated        bool `json:"simulated"`
	SimulatedSymbols int  `json:"simulated_symbols"`
}

// Status tells the hub's state.
func (h *Hub) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	shown, simulated := h.board.Counts()
	return Status{
		Epoch: h.epoch, Seq: h.rev, Now: time.Now().UnixMilli(),
		Ticks: h.board.Ticks(), LiveTicks: h.meter.ticks, LastUpdate: h.meter.last,
		Symbols: shown, Windows: h.board.Windows(), Clients: h.clients, Full: h.clients >= h.cfg.Clients,
		Connected: h.source.Connected, CaughtUp: h.source.CaughtUp, Behind: h.source.Behind, Problem: h.source.Problem,
		Simulated: simulated > 0, SimulatedSymbols: simulated,
	}
}
