package hub

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
)

// Snapshot writes the state of the symbols, all where none are named, as the
// snapshot message.
func (h *Hub) Snapshot(symbols []string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.encode(&group{symbols: symbols}, 0).Data
}

// View is what is held of one symbol. Windows is a copy.
type View struct {
	Windows  []board.Window
	Exchange string
	// Seq is the revision that it belongs to.
	Seq uint64
	// Known is false where nothing has come of the symbol.
	Known bool
}

// View returns what is held of a symbol.
func (h *Hub) View(symbol string) View {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.board.Symbol(symbol)
	if s == nil {
		return View{Seq: h.rev}
	}
	return View{Windows: slices.Clone(s.Windows()), Exchange: s.Latest.Exchange, Seq: h.rev, Known: true}
}

// Sparklines writes the answer of /api/sparklines for the symbols, all that are
// shown where none are named.
func (h *Hub) Sparklines(symbols []string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*board.Symbol
	if len(symbols) == 0 {
		list = h.board.All()
	}
	for _, name := range symbols {
		list = append(list, h.board.Symbol(name))
	}
	b := strconv.AppendInt([]byte(`{"now":`), time.Now().UnixMilli(), 10)
	b = strconv.AppendInt(append(b, `,"step":`...), board.Step, 10)
	b = append(b, `,"sparklines":[`...)
	first := true
	for _, s := range list {
		if s == nil || !s.Shown() || s.Day.End == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(b, `{"symbol":"`...), s.Name...)
		b = strconv.AppendInt(append(b, `","start":`...), s.Day.Start, 10)
		b = strconv.AppendInt(append(b, `,"end":`...), s.Day.End, 10)
		b = strconv.AppendBool(append(b, `,"complete":`...), s.Day.Complete)
		b = append(b, `,"points":[`...)
		for i, p := range s.Day.Points() {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(append(b, '['), int64(p.Step), 10)
			b = p.Close.AppendText(append(b, `,"`...))
			b = append(b, `"]`...)
		}
		b = append(b, `]}`...)
	}
	return append(b, "]}\n"...)
}

// Market is what the trades of an exchange's symbols say of it.
type Market struct {
	Exchange string
	// Symbols is how many are shown.
	Symbols int
	// State is that of the trade that came in last, at Received (ms).
	State    tick.MarketState
	Received int64
}

// Markets returns the exchanges of what is shown, in the order of their codes.
func (h *Hub) Markets() []Market {
	h.mu.Lock()
	defer h.mu.Unlock()
	byCode := map[string]*Market{}
	for _, s := range h.board.All() {
		if !s.Shown() {
			continue
		}
		m := byCode[s.Latest.Exchange]
		if m == nil {
			m = &Market{Exchange: s.Latest.Exchange}
			byCode[m.Exchange] = m
		}
		m.Symbols++
		if s.Latest.LogTime > m.Received {
			m.Received, m.State = s.Latest.LogTime, s.Latest.MarketState
		}
	}
	list := make([]Market, 0, len(byCode))
	for _, code := range slices.Sorted(maps.Keys(byCode)) {
		list = append(list, *byCode[code])
	}
	return list
}

// Shown returns which symbols are shown, of those asked for.
func (h *Hub) Shown(symbols []string) map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	shown := make(map[string]bool, len(symbols))
	for _, name := range symbols {
		if s := h.board.Symbol(name); s != nil && s.Shown() {
			shown[name] = true
		}
	}
	return shown
}
