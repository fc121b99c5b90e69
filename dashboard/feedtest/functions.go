package feedtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

// names are what people call the symbols.
var names = map[string]string{
	"AAPL": "Apple Inc.", "AMD": "Advanced Micro Devices, Inc.", "AMZN": "Amazon.com, Inc.", "BRK-B": "Berkshire Hathaway Inc.", "BTC-USD": "Bitcoin USD",
	"COST": "Costco Wholesale Corporation", "DIS": "Walt Disney Company (The)", "EURUSD=X": "EUR/USD", "GC=F": "Gold", "GOOGL": "Alphabet Inc.",
	"JPM": "JPMorgan Chase & Co.", "KO": "Coca-Cola Company (The)", "META": "Meta Platforms, Inc.", "MSFT": "Microsoft Corporation", "NFLX": "Netflix, Inc.",
	"NVDA": "NVIDIA Corporation", "SPY": "SPDR S&P 500 ETF Trust", "TSLA": "Tesla, Inc.", "XOM": "Exxon Mobil Corporation", "^GSPC": "S&P 500",
}

// Entry is a symbol of the watch list.
type Entry struct {
	Symbol    string    `json:"symbol"`
	Name      string    `json:"name"`
	Exchange  string    `json:"exchange"`
	State     string    `json:"state"`
	Reason    string    `json:"reason"`
	AddedAt   time.Time `json:"added_at"`
	CheckedAt time.Time `json:"checked_at"`
	DelayedBy int       `json:"delayed_by"`
}

// Functions is a gateway with all functions: those that ask answer from the
// market, the watch list can be changed, and the others are alive.
type Functions struct {
	Market *Market
	// Away has every function answer 503.
	Away func() bool
	// Down names functions that are not there.
	Down func(name string) bool

	mu      sync.Mutex
	list    []Entry
	began   time.Time
	sealing int64
}

// NewFunctions makes the functions of a market, with its symbols on the watch list.
func NewFunctions(m *Market) *Functions {
	f := &Functions{Market: m, Away: func() bool { return false }, Down: func(string) bool { return false }, began: time.Now()}
	for _, s := range m.symbols {
		f.list = append(f.list, entry(s.Symbol))
	}
	return f
}

func entry(s Symbol) Entry {
	now := time.Now().UTC()
	name := names[s.Name]
	if name == "" {
		name = s.Name + " Incorporated"
	}
	return Entry{Symbol: s.Name, Name: name, Exchange: s.Exchange, State: "active", AddedAt: now, CheckedAt: now}
}

// Reseal counts a minute that was sealed again, as after a late trade.
func (f *Functions) Reseal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sealing++
}

func (f *Functions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/connector" {
		f.connector(w)
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/function/")
	name, rest, _ := strings.Cut(path, "/")
	switch {
	case !ok || f.Down(name):
		http.NotFound(w, r)
	case f.Away():
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprint(w, `{"status":503,"detail":"Cassandra does not answer: no hosts are available"}`)
	case rest == "_/health":
		_, _ = fmt.Fprintln(w, "ok")
	case rest == "metrics":
		f.metrics(w)
	case name == "candles":
		f.Market.Gateway().ServeHTTP(w, r)
	case name == "watchlist":
		f.watchlist(w, r)
	case name == "quotes":
		_, _ = fmt.Fprint(w, `{"quotes":[],"unknown":[]}`)
	default:
		http.NotFound(w, r)
	}
}

func (f *Functions) metrics(w http.ResponseWriter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	minutes := int64(time.Since(f.began).Minutes()) + 180
	symbols := int64(len(f.Market.symbols))
	_, _ = fmt.Fprintf(w, `# TYPE seal_windows_total counter
seal_windows_total{kind="first"} %d
seal_windows_total{kind="again"} %d
# TYPE seal_candles_total counter
seal_candles_total{interval="1m"} %d
# TYPE seal_audited_total counter
seal_audited_total %d
# TYPE seal_differences_total counter
seal_differences_total 0
# TYPE seal_repeated_trades_total counter
seal_repeated_trades_total 0
# TYPE seal_behind_seconds gauge
seal_behind_seconds 0
# TYPE process_start_time_seconds gauge
process_start_time_seconds %d
`, minutes, f.sealing, minutes*symbols, minutes*symbols, f.began.Unix())
}

// connector writes metrics as the Kafka connector does.
func (f *Functions) connector(w http.ResponseWriter) {
	trades := f.Market.Offset()
	calls := trades/4 + 1
	for _, h := range []struct {
		name, labels string
		edges        [3]string
		sum          float64
	}{
		{"call_seconds", `,code="200"`, [3]string{"0.0025", "0.00625", "0.015625"}, float64(calls) * 0.004},
		{"batch_records", "", [3]string{"1", "4", "16"}, float64(trades)},
		{"batch_bytes", "", [3]string{"256", "1024", "4096"}, float64(trades) * 60},
	} {
		name := "kafka_connector_" + h.name
		_, _ = fmt.Fprintf(w, "# TYPE %s histogram\n", name)
		for _, function := range []string{"process", "persist"} {
			labels := fmt.Sprintf("function=%q%s", function, h.labels)
			for i, n := range []int64{calls / 3, calls * 4 / 5, calls} {
				_, _ = fmt.Fprintf(w, "%s_bucket{%s,le=%q} %d\n", name, labels, h.edges[i], n)
			}
			_, _ = fmt.Fprintf(w, "%[1]s_bucket{%[2]s,le=\"+Inf\"} %[3]d\n%[1]s_sum{%[2]s} %[4]g\n%[1]s_count{%[2]s} %[3]d\n", name, labels, calls, h.sum)
		}
	}
	_, _ = fmt.Fprint(w, `# TYPE kafka_connector_retries_total counter
kafka_connector_retries_total{function="process"} 2
kafka_connector_retries_total{function="persist"} 0
`)
}

func (f *Functions) watchlist(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	symbol := r.URL.Query().Get("symbol")
	if r.Method == http.MethodPost && symbol == "" {
		var body struct{ Symbol string }
		_ = json.NewDecoder(r.Body).Decode(&body) // nothing then is no symbol
		symbol = body.Symbol
	}
	symbol = strings.ToUpper(symbol)
	i := slices.IndexFunc(f.list, func(e Entry) bool { return e.Symbol == symbol })
	switch {
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"symbols": f.list})
	case (tickWith(symbol)).Validate() != nil:
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"status":400,"detail":"This can't be a symbol.","parameter":"symbol"}`)
	case r.Method == http.MethodPost:
		if i < 0 {
			f.list = append(f.list, f.look(symbol))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"symbol":%q,"added":%t}`, symbol, i < 0)
	case r.Method == http.MethodDelete:
		if i >= 0 {
			f.list = slices.Delete(f.list, i, i+1)
			f.Market.Rest(symbol, true)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"symbol":%q,"removed":%t}`, symbol, i >= 0)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func tickWith(symbol string) *tick.Tick {
	return &tick.Tick{Symbol: symbol, EventTime: time.Now().UnixMilli(), Price: 1}
}

// look finds out what a symbol is: those that begin with NO the source does not know.
func (f *Functions) look(symbol string) Entry {
	if strings.HasPrefix(symbol, "NO") {
		e := entry(Symbol{Name: symbol})
		e.Name, e.State, e.Reason = "", "unknown", "Yahoo knows no symbol "+symbol+"."
		return e
	}
	return entry(f.Market.Rest(symbol, false))
}

// SetDelay says how far the source's data lag behind the exchanges.
func (f *Functions) SetDelay(d time.Duration) {
	f.mu.Lock()
	for i := range f.list {
		f.list[i].DelayedBy = int(d.Minutes())
	}
	f.mu.Unlock()
	f.Market.mu.Lock()
	f.Market.Delay = d
	f.Market.mu.Unlock()
}

// Rest has a symbol trade no more, or again; a symbol that the market does not
// have is made up.
func (m *Market) Rest(symbol string, rest bool) Symbol {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.symbols, func(s *state) bool { return s.Name == symbol })
	if i < 0 {
		s := Symbol{symbol, "USD", "NMS", 50 + float64(m.rnd.IntN(400)), 2, tick.MarketRegular, false}
		m.list(s)
		i = len(m.symbols) - 1
	}
	m.symbols[i].rests = rest
	return m.symbols[i].Symbol
}

// SetState has all exchanges be in that state from the next trades on.
func (m *Market) SetState(s tick.MarketState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.State = s
}

// Names are the symbols that there are.
func (m *Market) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, len(m.symbols))
	for i, s := range m.symbols {
		names[i] = s.Name
	}
	return names
}

// Late makes a trade of a symbol that happened so long ago.
func (m *Market) Late(symbol string, ago time.Duration) []*windowpb.Update {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.symbols, func(s *state) bool { return s.Name == symbol })
	if i < 0 {
		return nil
	}
	s := m.symbols[i]
	return []*windowpb.Update{m.add(s, time.Now().Add(-ago), s.price+s.price/100, 10)}
}

// Again returns the newest update of each window that the market has had, as the
// topic would give them to another reader.
func (m *Market) Again() []*windowpb.Update {
	m.mu.Lock()
	defer m.mu.Unlock()
	var updates []*windowpb.Update
	for _, s := range m.symbols {
		for start, w := range s.windows {
			u := Update(s.Name, start, m.Log, s.versions[start], *w)
			u.Latest = m.latest(s, w.Close.EventTime, tick.Price(w.Close.Price))
			updates = append(updates, u)
		}
	}
	slices.SortFunc(updates, func(a, b *windowpb.Update) int { return int(a.Start - b.Start) })
	return updates
}
