package hub

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Errors of Subscribe. Their texts are for the person in front of the browser.
var (
	ErrClients = errors.New("too many clients are connected: try again later")
	ErrSymbols = errors.New("too many symbols in one subscription")
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
	h.clients++
	clients.Set(float64(h.clients))
	f := &Feed{hub: h}
	f.join(symbols, r)
	return f, nil
}

// Subscribe replaces the feed's symbols by those that r names. After an error
// it is as it was.
func (f *Feed) Subscribe(r Request) error {
	symbols, err := f.hub.subscription(r)
	if err != nil {
		return err
	}
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	f.leave()
	f.join(symbols, r)
	return nil
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

// join enters the group with that subscription, made where it is absent, at the
// revision that r says the client has.
func (f *Feed) join(symbols []string, r Request) {
	h := f.hub
	key := strings.Join(symbols, ",")
	g := h.groups[key]
	if g == nil {
		g = &group{key: key, symbols: symbols, rev: h.rev, changed: make(chan struct{}), deltas: map[uint64]*Message{}}
		h.groups[key] = g
		for _, s := range g.topics() {
			if h.wanted[s] == nil {
				h.wanted[s] = map[*group]struct{}{}
			}
			h.wanted[s][g] = struct{}{}
		}
	}
	g.members++
	f.g, f.at = g, 0
	if r.Epoch == h.epoch && r.Since <= h.rev {
		f.at = r.Since
	}
}

// leave leaves the group, of which nothing stays after its last member.
func (f *Feed) leave() {
	h, g := f.hub, f.g
	if g.members--; g.members > 0 {
		return
	}
	delete(h.groups, g.key)
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
// not asked, there are at most two.
func (f *Feed) Take() (messages []*Message, more <-chan struct{}) {
	h := f.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	g := f.g
	if f.at == 0 || f.at < g.rev {
		m := g.deltas[f.at]
		if m == nil {
			m = h.encode(g, f.at)
			g.deltas[f.at] = m
		}
		f.at = m.Seq
		messages = append(messages, m)
	}
	if f.beat != h.beat {
		f.beat = h.beat
		messages = append(messages, h.pulse)
	}
	messagesTotal.Add(float64(len(messages)))
	return messages, g.changed
}
