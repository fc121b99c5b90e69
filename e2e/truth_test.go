package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

// replay publishes ticks beside those of fetch, live and at a rate. The
// function it returns waits until all are published.
func (p *pipeline) replay(t *testing.T, ticks, rate int) (finished func()) {
	t.Helper()
	program := filepath.Join(p.dir, "replay")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../connectors/replay").CombinedOutput(); err != nil {
		t.Fatalf("build replay: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "-live", "-symbols", "300", "-ticks", strconv.Itoa(ticks), "-rate", strconv.Itoa(rate))
	cmd.Env = append(environment(), "KAFKA_BROKERS="+p.state(t).Kafka)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := cmd.Wait(); err != nil {
			t.Fatalf("replay: %v", err)
		}
	}
}

// settle waits until process and persist have done all that is in the log.
func (p *pipeline) settle(t *testing.T) {
	t.Helper()
	testbed.Eventually(t, 2*time.Minute, "process and persist have done the whole log", func() bool {
		ends, err := p.bus.OffsetsAfter(t.Context(), "ticks", time.Now())
		if err != nil {
			return false
		}
		for _, group := range []string{"process", "persist"} {
			done, err := p.bus.Committed(t.Context(), group, "ticks")
			if err != nil {
				return false
			}
			for partition, end := range ends {
				if done[partition] < end {
					return false
				}
			}
		}
		return true
	})
}

// readTopic reads every record that is in the topic.
func (p *pipeline) readTopic(t *testing.T, topic string) []kafka.Message {
	t.Helper()
	info, err := p.bus.TopicInfo(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := p.bus.OffsetsAfter(t.Context(), topic, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var all []kafka.Message
	for partition := range info.Partitions {
		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: strings.Split(p.state(t).Kafka, ","), Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond,
		})
		for next := int64(0); next < ends[partition]; {
			// Compaction leaves gaps, even at the end.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			m, err := reader.ReadMessage(ctx)
			cancel()
			if err != nil {
				t.Fatalf("read %s[%d] from %d: %v", topic, partition, next, err)
			}
			all = append(all, m)
			next = m.Offset + 1
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// place names one record.
type place struct {
	log    int32
	offset int64
}

// minute names one symbol's window.
type minute struct {
	symbol string
	start  int64
}

// truth is what the log says, worked out by the plainest means.
type truth struct {
	records map[place]tick.Tick
	repeats map[place]bool // records of a trade that an earlier record told of
	trades  int
	symbols map[string][]place // of trades, by event time and offset
	// What process counts: every record. What is in candles: every trade.
	windows map[store.Window]map[string]*window.State
	fences  map[store.Window]int64
	candles map[minute]*window.State
}

func (p *pipeline) readLog(t *testing.T) *truth {
	t.Helper()
	st := p.store(t)
	info, err := p.bus.TopicInfo(t.Context(), "ticks")
	if err != nil {
		t.Fatal(err)
	}
	incarnation, err := st.Incarnation(t.Context(), "ticks", info.ID)
	if err != nil {
		t.Fatal(err)
	}
	tr := &truth{
		records: map[place]tick.Tick{}, repeats: map[place]bool{}, symbols: map[string][]place{},
		windows: map[store.Window]map[string]*window.State{}, fences: map[store.Window]int64{}, candles: map[minute]*window.State{},
	}
	seen := map[tick.ID]bool{}
	for _, m := range p.readTopic(t, "ticks") {
		var tk tick.Tick
		if err := new(tick.Decoder).Decode("", m.Value, &tk); err != nil {
			t.Fatalf("%s[%d] at %d: %v", m.Topic, m.Partition, m.Offset, err)
		}
		at := place{store.Log(incarnation, m.Partition), m.Offset}
		point := window.Point{EventTime: tk.EventTime, Offset: m.Offset, Price: int64(tk.Price)}
		tr.records[at] = tk

		w := store.Window{Start: window.Start(tk.EventTime), Log: at.log}
		if tr.windows[w] == nil {
			tr.windows[w] = map[string]*window.State{}
		}
		if tr.windows[w][tk.Symbol] == nil {
			tr.windows[w][tk.Symbol] = &window.State{}
		}
		tr.windows[w][tk.Symbol].Add(point, tk.Size)
		tr.fences[w] = m.Offset + 1

		if seen[tk.ID()] {
			tr.repeats[at] = true
			continue
		}
		seen[tk.ID()] = true
		tr.trades++
		tr.symbols[tk.Symbol] = append(tr.symbols[tk.Symbol], at)
		mn := minute{tk.Symbol, w.Start}
		if tr.candles[mn] == nil {
			tr.candles[mn] = &window.State{}
		}
		tr.candles[mn].Add(point, tk.Size)
	}
	for _, places := range tr.symbols {
		slices.SortStableFunc(places, func(a, b place) int {
			return int(tr.records[a].EventTime - tr.records[b].EventTime)
		})
	}
	return tr
}

func (tr *truth) checkCounters(t *testing.T, st *store.Store) {
	for w, symbols := range tr.windows {
		fence, states, err := st.ReadWindow(t.Context(), w, nil)
		if err != nil {
			t.Fatal(err)
		}
		if fence < tr.fences[w] {
			t.Errorf("window %s: the fence is %d, the last record is below %d", w, fence, tr.fences[w])
		}
		if len(states) != len(symbols) {
			t.Errorf("window %s has %d symbols, want %d", w, len(states), len(symbols))
		}
		for _, got := range states {
			want, ok := symbols[got.Symbol]
			if !ok {
				t.Errorf("window %s has %s, which did not trade", w, got.Symbol)
				continue
			}
			if diff := cmp.Diff(sums(want), sums(&got.State)); diff != "" {
				t.Errorf("%s in window %s (-log +counted):\n%s", got.Symbol, w, diff)
			}
		}
	}
}

// sums is a state without what may differ between equals: of records with the
// same highest or lowest price any may be named.
func sums(s *window.State) window.State {
	c := *s
	c.High, c.Low = window.Point{Price: s.High.Price}, window.Point{Price: s.Low.Price}
	return c
}

// get asks a query function, and follows its pages.
func get(t *testing.T, base, function string, query url.Values, page func(body []byte) (next string)) {
	t.Helper()
	for {
		resp, err := http.Get(base + "/function/" + function + "?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s?%s: %s, %v\n%s", function, query.Encode(), resp.Status, err, body)
		}
		next := page(body)
		if next == "" {
			return
		}
		query.Set("cursor", next)
	}
}

func decode(t *testing.T, body []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("%v in %.200s", err, body)
	}
}

func (tr *truth) span(symbol string) (from, to string) {
	places := tr.symbols[symbol]
	first, last := tr.records[places[0]].EventTime, tr.records[places[len(places)-1]].EventTime
	return strconv.FormatInt(first, 10), strconv.FormatInt(last+1, 10)
}

func (tr *truth) checkTicks(t *testing.T, base string) {
	for symbol, places := range tr.symbols {
		from, to := tr.span(symbol)
		var got []place
		get(t, base, "ticks", url.Values{"symbol": {symbol}, "from": {from}, "to": {to}}, func(body []byte) string {
			var page struct {
				Ticks []struct {
					EventTime     time.Time  `json:"event_time"`
					Price         tick.Price `json:"price"`
					Size          int64      `json:"size"`
					Seq           int64      `json:"seq"`
					DayVolume     int64      `json:"day_volume"`
					PreviousClose tick.Price `json:"previous_close"`
					Currency      string     `json:"currency"`
					Exchange      string     `json:"exchange"`
					MarketState   string     `json:"market_state"`
					Source        string     `json:"source"`
					ReceivedTime  time.Time  `json:"received_time"`
					Log           int32      `json:"log"`
					Offset        int64      `json:"offset"`
				} `json:"ticks"`
				Next string `json:"next"`
			}
			decode(t, body, &page)
			for _, g := range page.Ticks {
				at := place{g.Log, g.Offset}
				got = append(got, at)
				tk := tick.Tick{
					Symbol: symbol, EventTime: g.EventTime.UnixMilli(), Price: g.Price, Size: g.Size, Seq: g.Seq, DayVolume: g.DayVolume,
					PreviousClose: g.PreviousClose, Currency: g.Currency, Exchange: g.Exchange, MarketState: tick.ParseMarketState(g.MarketState),
					Source: tick.ParseSource(g.Source), ReceivedTime: g.ReceivedTime.UnixMilli(),
				}
				if diff := cmp.Diff(tr.records[at], tk); diff != "" {
					t.Errorf("%s at %v (-published +stored):\n%s", symbol, at, diff)
				}
			}
			return page.Next
		})
		if diff := cmp.Diff(places, got, cmp.AllowUnexported(place{})); diff != "" {
			t.Errorf("trades of %s (-published +stored):\n%.2000s", symbol, diff)
		}
	}
}

func (tr *truth) checkQuotes(t *testing.T, base string) {
	got := map[string]tick.Price{}
	get(t, base, "quotes", url.Values{}, func(body []byte) string {
		var page struct {
			Quotes []struct {
				Symbol string     `json:"symbol"`
				Last   tick.Price `json:"last"`
			} `json:"quotes"`
			Next string `json:"next"`
		}
		decode(t, body, &page)
		for _, q := range page.Quotes {
			got[q.Symbol] = q.Last
		}
		return page.Next
	})
	want := map[string]tick.Price{}
	for symbol, places := range tr.symbols {
		want[symbol] = tr.records[places[len(places)-1]].Price
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-published +stored):\n%s", diff)
	}
}

func (tr *truth) checkCandles(t *testing.T, st *store.Store, base string) {
	from, to := int64(1<<62), int64(0)
	for m := range tr.candles {
		from, to = min(from, m.start), max(to, m.start+window.Length)
	}
	read := func() map[minute]store.Candle {
		got := map[minute]store.Candle{}
		for symbol := range tr.symbols {
			list, err := st.ReadCandles(t.Context(), symbol, store.Minute, from, to, 10_000)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				got[minute{symbol, c.Start}] = c
			}
		}
		return got
	}
	// The last window ends within a minute and is sealed some seconds later.
	testbed.Eventually(t, 3*time.Minute, "every window is sealed", func() bool { return len(read()) >= len(tr.candles) })
	got := read()
	for m, want := range tr.candles {
		c, ok := got[m]
		if !ok {
			t.Errorf("%s has no candle at %d", m.symbol, m.start)
			continue
		}
		if diff := cmp.Diff(bar(want), bar(&c.State)); diff != "" {
			t.Errorf("candle of %s at %d (-truth +sealed):\n%s", m.symbol, m.start, diff)
		}
	}
	if len(got) != len(tr.candles) {
		t.Errorf("%d candles, want %d", len(got), len(tr.candles))
	}

	// What a user gets is the same, marked as sealed.
	for symbol := range tr.symbols {
		var answered []minute
		get(t, base, "candles", url.Values{
			"symbol": {symbol}, "interval": {"1m"}, "from": {strconv.FormatInt(from, 10)}, "to": {strconv.FormatInt(to, 10)},
		}, func(body []byte) string {
			var page struct {
				Candles []struct {
					Start    time.Time `json:"start"`
					Open     tick.Price
					High     tick.Price
					Low      tick.Price
					Close    tick.Price
					Volume   int64
					Turnover json.Number
					Count    int64 `json:"tick_count"`
					Sealed   bool
				}
				Next string
			}
			decode(t, body, &page)
			for _, c := range page.Candles {
				m := minute{symbol, c.Start.UnixMilli()}
				answered = append(answered, m)
				want := tr.candles[m]
				if want == nil {
					t.Errorf("%s did not trade at %s", symbol, c.Start)
					continue
				}
				turnover, ok := new(big.Rat).SetString(c.Turnover.String())
				exact := new(big.Int).Lsh(big.NewInt(want.Turnover.Hi), 64)
				exact.Add(exact, new(big.Int).SetUint64(want.Turnover.Lo))
				if !ok || turnover.Cmp(new(big.Rat).SetFrac(exact, big.NewInt(int64(tick.Unit)))) != 0 {
					t.Errorf("turnover of %s at %s is %s, want %s units", symbol, c.Start, c.Turnover, exact)
				}
				if [4]tick.Price{c.Open, c.High, c.Low, c.Close} != [4]tick.Price{
					tick.Price(want.Open.Price), tick.Price(want.High.Price), tick.Price(want.Low.Price), tick.Price(want.Close.Price),
				} || c.Volume != want.Volume || c.Count != want.Count || !c.Sealed {
					t.Errorf("candle of %s is answered as %+v, want %+v", symbol, c, want)
				}
			}
			return page.Next
		})
		want := 0
		for m := range tr.candles {
			if m.symbol == symbol {
				want++
			}
		}
		if len(answered) != want {
			t.Errorf("%d candles of %s are answered, want %d", len(answered), symbol, want)
		}
	}
}

// bar is what a stored candle keeps of a state.
func bar(s *window.State) window.State {
	c := sums(s)
	c.Open.Offset, c.Close.Offset = 0, 0
	return c
}

// checkWindows holds the last update of every window in the topic windows, which
// is what dashboards show, against the truth.
func (tr *truth) checkWindows(t *testing.T, p *pipeline) {
	type key struct {
		store.Window
		symbol string
	}
	latest := map[key]*windowpb.Update{}
	for _, m := range p.readTopic(t, "windows") {
		u := new(windowpb.Update)
		if err := u.UnmarshalVT(m.Value); err != nil {
			t.Fatal(err)
		}
		k := key{store.Window{Start: u.Start, Log: u.Log}, u.Symbol}
		if old := latest[k]; old == nil || u.Version >= old.Version {
			latest[k] = u
		}
	}
	n := 0
	for w, symbols := range tr.windows {
		n += len(symbols)
		for _, symbol := range slices.Sorted(maps.Keys(symbols)) {
			u, want := latest[key{w, symbol}], symbols[symbol]
			if u == nil {
				t.Errorf("no update of %s in window %s", symbol, w)
				continue
			}
			got := fmt.Sprint(u.TickCount, u.Volume, u.TurnoverHi, u.TurnoverLo, u.Open.GetPrice(), u.High.GetPrice(), u.Low.GetPrice(), u.Close.GetPrice())
			if exact := fmt.Sprint(want.Count, want.Volume, want.Turnover.Hi, want.Turnover.Lo, want.Open.Price, want.High.Price, want.Low.Price, want.Close.Price); got != exact {
				t.Errorf("%s in window %s was last published as %s, want %s", symbol, w, got, exact)
			}
		}
	}
	if len(latest) != n {
		t.Errorf("updates of %d windows, want %d", len(latest), n)
	}
}
