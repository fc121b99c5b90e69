package hub

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
)

// Message is one message to clients, shared by all that get the same.
type Message struct {
	// Data is the JSON text. It must not be changed.
	Data []byte
	// Epoch and Seq say where a client stands that has had it; Seq is 0 in a
	// message that does not move it.
	Epoch string
	Seq   uint64
	// Compress is whether compressing is worth its time: one message for many
	// clients, or few different ones.
	Compress bool

	once sync.Once
	form any
}

// Form returns what build makes of the message, which is kept for all that ask:
// a transport's own encoding of it. Each message is used with one transport's
// build only where it is used with Form at all.
func (m *Message) Form(build func() any) any {
	m.once.Do(func() { m.form = build() })
	return m.form
}

const (
	// compressFrom is the length from which deflating pays.
	compressFrom = 1024
	// compressGroups is up to how many different subscriptions each has its deltas
	// compressed: one takes about 0.1 ms, twenty times a second.
	compressGroups = 200
)

// A snapshot outlines a symbol's newest windows, sparkPoints of them where the
// symbols are so few that all have no more than sparkBudget.
const (
	sparkPoints = 60
	sparkBudget = 60_000
)

// encode writes what changed for the group after revision since; all of it, as
// a snapshot, where since is 0.
func (h *Hub) encode(g *group, since uint64) *Message {
	snapshot := since == 0
	b := make([]byte, 0, 1024)
	if snapshot {
		snapshotsTotal.Inc()
		b = append(b, `{"type":"snapshot"`...)
	} else {
		b = append(b, `{"type":"delta","from":`...)
		b = strconv.AppendUint(b, since, 10)
	}
	b = append(b, `,"epoch":"`...)
	b = append(b, h.epoch...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, h.rev, 10)
	b = append(b, `,"quotes":[`...)
	points := min(sparkPoints, sparkBudget/max(len(h.board.All()), 1))
	first := true
	var removed []string
	add := func(s *board.Symbol) {
		switch {
		case s == nil || !snapshot && s.Rev <= since:
			return
		case !s.Shown():
			if !snapshot && s.ShownRev > since {
				removed = append(removed, s.Name)
			}
			return
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		switch {
		case snapshot, s.ShownRev > since: // the client may have been told to forget it
			b = appendQuote(b, s, 0, points)
		case since < s.PrevRev:
			b = appendQuote(b, s, since, points)
		default:
			// All that keep up lack the same, whatever else they subscribe to.
			if s.Text == nil {
				s.Text = appendQuote(nil, s, since, points)
			}
			b = append(b, s.Text...)
		}
	}
	if len(g.symbols) == 0 {
		for _, s := range h.board.All() {
			add(s)
		}
	} else {
		for _, name := range g.symbols {
			add(h.board.Symbol(name))
		}
	}
	b = append(b, ']')
	for i, name := range removed {
		if i == 0 {
			b = append(b, `,"removed":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"')
	}
	if len(removed) > 0 {
		b = append(b, ']')
	}
	b = append(b, '}')
	m := &Message{Data: b, Epoch: h.epoch, Seq: h.rev}
	m.Compress = len(b) >= compressFrom && (snapshot || g.members > 1 || len(h.groups) <= compressGroups)
	return m
}

// appendQuote writes a symbol: what changes with each trade always, what rarely
// changes where it did, and the windows that changed; in a snapshot the newest
// window and the closes of those before.
func appendQuote(b []byte, s *board.Symbol, since uint64, points int) []byte {
	l := &s.Latest
	change, percent := l.Change()
	b = append(b, `{"symbol":"`...)
	b = append(b, s.Name...) // a valid symbol needs no escapes
	b = append(b, `","price":"`...)
	b = l.Price.AppendText(b)
	b = appendText(b, `","change":"`, change)
	b = appendText(b, `","percent":"`, percent)
	if l.DayVolume != nil {
		b = append(b, `","volume":"`...)
		b = strconv.AppendInt(b, *l.DayVolume, 10)
	}
	b = append(b, `","time":`...)
	b = strconv.AppendInt(b, l.EventTime, 10)
	b = append(b, `,"received":`...)
	b = strconv.AppendInt(b, l.ReceivedTime, 10)
	if d := &s.Day; d.Traded() {
		b = append(b, `,"day_high":"`...)
		b = d.High.AppendText(b)
		b = append(b, `","day_low":"`...)
		b = d.Low.AppendText(b)
		b = append(b, `","turnover":"`...)
		b = board.AppendSum(b, d.Turnover)
		b = append(b, '"')
		if !d.Complete {
			b = append(b, `,"day_from":`...)
			b = strconv.AppendInt(b, d.From, 10)
		}
	}
	if since == 0 || s.InfoRev > since {
		b = appendInfo(append(b, `,"info":`...), s)
	}
	windows := s.Windows()
	if since == 0 {
		b = append(b, `,"spark":[`...)
		for i, w := range windows[max(0, len(windows)-points):] {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '[')
			b = strconv.AppendInt(b, w.Start, 10)
			b = append(b, `,"`...)
			state := w.State()
			b = tick.Price(state.Close.Price).AppendText(b)
			b = append(b, `"]`...)
		}
		b = append(b, ']')
		windows = windows[max(0, len(windows)-1):]
	}
	b = append(b, `,"windows":[`...)
	b = AppendWindows(b, windows, since)
	return append(b, `]}`...)
}

func appendText(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return append(append(b, key...), value...)
}

func appendInfo(b []byte, s *board.Symbol) []byte {
	i, facts := &s.Latest.Info, s.Facts()
	b = append(b, '{')
	if i.PreviousClose != nil {
		b = append(b, `"previous_close":"`...)
		b = i.PreviousClose.AppendText(b)
		b = append(b, `",`...)
	}
	b = append(b, `"currency":`...)
	b = appendJSON(b, i.Currency)
	b = append(b, `,"exchange":`...)
	b = appendJSON(b, i.Exchange)
	b = append(b, `,"market_state":"`...)
	b = append(b, i.MarketState.String()...)
	b = append(b, `","source":"`...)
	b = append(b, i.Source.String()...)
	b = append(b, '"')
	if facts.Name != "" {
		b = appendJSON(append(b, `,"name":`...), facts.Name)
	}
	if facts.Delay >= 0 {
		b = strconv.AppendInt(append(b, `,"delayed_by":`...), int64(facts.Delay), 10)
	}
	if s.Day.End != 0 {
		b = strconv.AppendInt(append(b, `,"day_start":`...), s.Day.Start, 10)
	}
	return append(b, '}')
}

func appendJSON(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a string always can
		return append(b, `""`...)
	}
	return append(b, text...)
}

// AppendWindows writes those windows that changed after revision since, comma
// between them. Prices are decimal strings; volumes too, since they can pass 2^53.
func AppendWindows(b []byte, windows []board.Window, since uint64) []byte {
	first := true
	for i := range windows {
		w := &windows[i]
		if w.Rev <= since {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		s := w.State()
		b = append(b, `{"start":`...)
		b = strconv.AppendInt(b, w.Start, 10)
		b = append(b, `,"open":"`...)
		b = tick.Price(s.Open.Price).AppendText(b)
		b = append(b, `","high":"`...)
		b = tick.Price(s.High.Price).AppendText(b)
		b = append(b, `","low":"`...)
		b = tick.Price(s.Low.Price).AppendText(b)
		b = append(b, `","close":"`...)
		b = tick.Price(s.Close.Price).AppendText(b)
		b = append(b, `","volume":"`...)
		b = strconv.AppendInt(b, s.Volume, 10)
		b = append(b, `","turnover":"`...)
		b = board.AppendSum(b, s.Turnover)
		b = append(b, `","ticks":`...)
		b = strconv.AppendInt(b, s.Count, 10)
		b = append(b, `,"rev":`...)
		b = strconv.AppendUint(b, w.Rev, 10)
		b = append(b, '}')
	}
	return b
}

// pulseMessage is the pipeline's pulse. Durations are milliseconds.
type pulseMessage struct {
	Type           string  `json:"type"`
	Now            int64   `json:"now"`
	Ticks          int64   `json:"ticks"`
	LiveTicks      int64   `json:"live_ticks"`
	TicksPerSecond float64 `json:"ticks_per_second"`
	LastUpdate     int64   `json:"last_update"`
	Symbols        int     `json:"symbols"`
	Simulated      int     `json:"simulated_symbols"`
	Clients        int     `json:"clients"`
	Connected      bool    `json:"connected"`
	CaughtUp       bool    `json:"caught_up"`
	Behind         int64   `json:"behind"`
	Problem        string  `json:"problem,omitempty"`
	Latency        *delays `json:"latency,omitempty"`
	WatchlistRev   int64   `json:"watchlist_rev"`
	Seal           *Seal   `json:"seal,omitempty"`
}

func (h *Hub) encodePulse(now time.Time) *Message {
	shown, simulated := h.board.Counts()
	m := pulseMessage{
		Type: "pulse", Now: now.UnixMilli(),
		Ticks: h.board.Ticks(), LiveTicks: h.meter.ticks, TicksPerSecond: h.meter.rate(now), LastUpdate: h.meter.last,
		Symbols: shown, Simulated: simulated, Clients: h.clients,
		Connected: h.source.Connected, CaughtUp: h.source.CaughtUp, Behind: h.source.Behind, Problem: h.source.Problem,
		Latency: h.meter.delays(now), WatchlistRev: h.listRev, Seal: h.seal,
	}
	b, err := json.Marshal(m)
	if err != nil { // none of its fields can fail
		b = []byte(`{"type":"pulse"}`)
	}
	return &Message{Data: b, Epoch: h.epoch}
}
