package hub

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Errors of Subscribe. Their texts are for the person in front of the browser.
var (
	ErrClients = errors.New("too many clients are connected: try again later")
	ErrSymbols = errors.New("too many symbols in one subscription")
	ErrBusy    = errors.New("too many different subscriptions: try again later, or subscribe to all symbols")
)

// group is all the clients with the same subscription.
type group struct {
	key     string
	symbols []string // sorted; nil means all
	members int
	rev     uint64        // the last revision that holds something for it
	changed chan struct{} // closed when there is something to take
	deltas  map[uint64]*Message
}

func (g *group) signal() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Feed is one client's place in the stream. It is used by one goroutine.
type Feed struct {
	hub  *Hub
	g    *group
	at   uint64 // revision of the client; 0 before the snapshot
	beat uint64 // last pulse given

	watching bool     // wants the pipeline
	pipeline *Message // last given
}

// Subscribe opens a feed of the symbols that r names. Close it after use.
func (h *Hub) Subscribe(r Request) (*Feed, error) {
	symbols, err := h.subscription(r)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.clients >= h.cfg.Clients {
		return nil, ErrClients
	}
	if !h.room(symbols) {
		return nil, ErrBusy
	}
	h.clients++
	clients.Set(float64(h.clients))
	f := &Feed{hub: h}
	f.join(symbols)
	if r.Epoch == h.epoch && r.Since <= h.rev {
		f.at = r.Since
	}
	f.watch(r.Pipeline)
	return f, nil
}

// Subscribe replaces the feed's symbols by those that r names. The stream goes on
// where they are among those of before, else it begins with a snapshot. After an
// error it is as it was.
func (f *Feed) Subscribe(r Request) error {
	symbols, err := f.hub.subscription(r)
	if err != nil {
		return err
	}
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if !f.hub.room(symbols) {
		return ErrBusy
	}
	if !f.g.covers(symbols) {
		f.at = 0
	}
	f.leave()
	f.join(symbols)
	f.watch(r.Pipeline)
	return nil
}

// covers reports whether all of the sorted symbols are in the group's subscription.
func (g *group) covers(symbols []string) bool {
	if len(g.symbols) == 0 {
		return true
	}
	for _, s := range symbols {
		if _, found := slices.BinarySearch(g.symbols, s); !found {
			return false
		}
	}
	return len(symbols) > 0
}

// room reports whether a subscription of those symbols can be held.
func (h *Hub) room(symbols []string) bool {
	return h.subscribed+len(symbols) <= h.cfg.Subscribed || h.groups[key(symbols)] != nil
}

func key(symbols []string) string { return strings.Join(symbols, ",") }

// watch says whether the client wants to see the pipeline.
func (f *Feed) watch(yes bool) {
	if yes != f.watching {
		f.watching = yes
		if yes {
			f.hub.watchers++
		} else {
			f.hub.watchers--
		}
	}
}

func (h *Hub) subscription(r Request) ([]string, error) {
	symbols := slices.Clone(r.Symbols)
	slices.Sort(symbols)
	symbols = slices.Compact(symbols)
	if len(symbols) > h.cfg.SymbolsPerClient {
		return nil, fmt.Errorf("%w: at most %d, or none for all", ErrSymbols, h.cfg.SymbolsPerClient)
	}
	return symbols, nil
}

// join enters the group with that subscription, made where it is absent.
func (f *Feed) join(symbols []string) {
	h := f.hub
	key := key(symbols)
	g := h.groups[key]
	if g == nil {
		g = &group{key: key, symbols: symbols, rev: h.rev, changed: make(chan struct{}), deltas: map[uint64]*Message{}}
		h.groups[key] = g
		h.subscribed += len(symbols)
		for _, s := range g.topics() {
			if h.wanted[s] == nil {
				h.wanted[s] = map[*group]struct{}{}
			}
			h.wanted[s][g] = struct{}{}
		}
	}
	g.members++
	f.g = g
}

// leave leaves the group, of which nothing stays after its last member.
func (f *Feed) leave() {
	h, g := f.hub, f.g
	if g.members--; g.members > 0 {
		return
	}
	delete(h.groups, g.key)
	h.subscribed -= len(g.symbols)
	for _, s := range g.topics() {
		delete(h.wanted[s], g)
		if len(h.wanted[s]) == 0 {
			delete(h.wanted, s)
		}
	}
}

// Close leaves the hub.
func (f *Feed) Close() {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	f.leave()
	f.watch(false)
	f.hub.clients--
	clients.Set(float64(f.hub.clients))
}

// topics are the keys of the group in Hub.wanted.
func (g *group) topics() []string {
	if len(g.symbols) == 0 {
		return []string{""}
	}
	return g.symbols
}

// Resync makes the next message a snapshot.
func (f *Feed) Resync() {
	f.hub.mu.Lock()
	f.at = 0
	f.hub.mu.Unlock()
}

// Take returns the messages that the client has not had yet, oldest first, and
// a channel that is closed when there may be more. However long the client has
// not asked, there are at most three.
func (f *Feed) Take() (messages []*Message, more <-chan struct{}) {
	h := f.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	g := f.g
	if f.at == 0 || f.at < g.rev {
		since := coarse(f.at, h.rev)
		m := g.deltas[since]
		if m == nil {
			m = h.encode(g, since)
			g.deltas[since] = m
		}
		f.at = m.Seq
		messages = append(messages, m)
	}
	if f.beat != h.beat {
		f.beat = h.beat
		messages = append(messages, h.pulse)
		if f.watching && f.pipeline != h.pipeline {
			f.pipeline = h.pipeline
			messages = append(messages, h.pipeline)
		}
	}
	messagesTotal.Add(float64(len(messages)))
	return messages, g.changed
}

// exactDeltas is how many revisions a client may be behind to get a delta from
// exactly where it stands.
const exactDeltas = 16

// coarse returns the revision from which a client that has since is given a
// delta: since, or, for a client that is far behind, an earlier one that it shares
// with others who are about as far. So there are about 150 deltas of a revision at
// most, however many clients are slow. 0, which is a snapshot, stays 0.
func coarse(since, rev uint64) uint64 {
	behind := rev - since
	if since == 0 || behind <= exactDeltas {
		return since
	}
	step := uint64(1) << (bits.Len64(behind) - 3)
	return max(since/step*step, 1)
}
