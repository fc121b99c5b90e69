package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

// The windows of the tests: two minutes of 2026-03-01.
const (
	first  = 1_772_323_200_000
	second = first + window.Length
)

func update(symbol string, start int64, version int64, prices ...int64) *windowpb.Update {
	var w window.State
	for i, p := range prices {
		w.Add(window.Point{EventTime: start + int64(i), Offset: int64(i), Price: p}, 1)
	}
	point := func(p window.Point) *windowpb.Point {
		return &windowpb.Point{EventTime: p.EventTime, Offset: p.Offset, Price: p.Price}
	}
	return &windowpb.Update{
		Symbol: symbol, Start: start, Length: window.Length, Log: 65536, Version: version,
		TickCount: w.Count, Volume: w.Volume,
		PriceSumHi: w.PriceSum.Hi, PriceSumLo: w.PriceSum.Lo, TurnoverHi: w.Turnover.Hi, TurnoverLo: w.Turnover.Lo,
		Open: point(w.Open), High: point(w.High), Low: point(w.Low), Close: point(w.Close),
		Latest: &windowpb.Latest{EventTime: w.Close.EventTime, Price: w.Close.Price, Source: int32(tick.SourceSimulated)},
	}
}

// price is n whole units.
func price(n int64) int64 { return n * int64(tick.Unit) }

type wireQuote struct {
	Symbol string
	Price  string
	Info   *struct {
		Source, Name string
		DelayedBy    *int `json:"delayed_by"`
	}
	Spark   [][2]any
	Windows []struct {
		Start int64
		Close string
		Ticks int64
		Rev   uint64
	}
}

type wire struct {
	Type        string
	Epoch       string
	From, Seq   uint64
	Quotes      []wireQuote
	Removed     []string
	Connected   bool
	Problem     string
	Latency     *delays
	TicksPerSec float64 `json:"ticks_per_second"`
}

func decode(t *testing.T, m *Message) wire {
	t.Helper()
	var w wire
	if err := json.Unmarshal(m.Data, &w); err != nil {
		t.Fatalf("%s: %v", m.Data, err)
	}
	return w
}

// data returns the messages that are no pulses.
func data(t *testing.T, f *Feed) []wire {
	t.Helper()
	messages, _ := f.Take()
	var out []wire
	for _, m := range messages {
		if w := decode(t, m); w.Type != "pulse" {
			out = append(out, w)
		}
	}
	return out
}

func one(t *testing.T, f *Feed) wire {
	t.Helper()
	got := data(t, f)
	if len(got) != 1 {
		t.Fatalf("%d messages, want one: %+v", len(got), got)
	}
	return got[0]
}

func subscribe(t *testing.T, h *Hub, symbols ...string) *Feed {
	t.Helper()
	f, err := h.Subscribe(Request{Op: "subscribe", Symbols: symbols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func (h *Hub) step(updates ...*windowpb.Update) {
	h.Apply(updates)
	h.flush()
}

func symbols(w wire) string {
	var names []string
	for _, q := range w.Quotes {
		names = append(names, q.Symbol)
	}
	return strings.Join(names, " ")
}

func TestASnapshotThenDeltasThatLeadOnFromIt(t *testing.T) {
	h := New(Config{})
	h.step(update("A", first, 1, price(5)), update("B", first, 1, price(7)))
	f := subscribe(t, h)
	snap := one(t, f)
	if snap.Type != "snapshot" || symbols(snap) != "A B" || snap.Quotes[0].Price != "5" || snap.Quotes[0].Info == nil || len(snap.Quotes[0].Spark) != 1 {
		t.Fatalf("snapshot is %+v", snap)
	}
	if more := data(t, f); len(more) != 0 {
		t.Fatalf("nothing has changed, yet there is %+v", more)
	}
	h.step(update("B", first, 2, price(7), price(8)))
	d := one(t, f)
	if d.Type != "delta" || d.From != snap.Seq || d.Seq <= d.From || symbols(d) != "B" || d.Quotes[0].Price != "8" || d.Quotes[0].Info != nil {
		t.Fatalf("delta is %+v", d)
	}
	if w := d.Quotes[0].Windows; len(w) != 1 || w[0].Ticks != 2 || w[0].Close != "8" {
		t.Errorf("windows are %+v", w)
	}
	h.step(update("B", second, 3, price(9)), update("B", first, 4, price(7), price(8), price(6)))
	if d = one(t, f); len(d.Quotes[0].Windows) != 2 {
		t.Errorf("a late trade and a new window: %+v", d.Quotes)
	}
}

func TestWhatIsAppliedBetweenFlushesIsNeverMissed(t *testing.T) {
	h := New(Config{})
	h.Apply([]*windowpb.Update{update("A", first, 1, price(5))})
	f := subscribe(t, h) // the snapshot may hold it already, the flush says it again
	one(t, f)
	h.flush()
	if d := one(t, f); d.Type != "delta" || symbols(d) != "A" {
		t.Errorf("the flush after the snapshot gives %+v", d)
	}
}

func TestASlowClientGetsTheNewestStateInOneMessage(t *testing.T) {
	h := New(Config{})
	fast, slow := subscribe(t, h), subscribe(t, h)
	one(t, fast)
	at := one(t, slow).Seq
	for n := range int64(1000) {
		h.step(update("A", first, n+1, price(n+1)), update(fmt.Sprintf("S%d", n%10), first, n+1, price(n+1)))
		one(t, fast)
	}
	d := one(t, slow)
	if d.From > at || at-d.From > 300 || len(d.Quotes) != 11 || d.Quotes[0].Price != "1000" {
		t.Errorf("after 1000 flushes: from %d, %d quotes, %+v", d.From, len(d.Quotes), d.Quotes[0])
	}
	if more := data(t, slow); len(more) != 0 {
		t.Errorf("there is more: %+v", more)
	}
}

func TestClientsThatKeepUpShareOneMessage(t *testing.T) {
	h := New(Config{})
	a, b := subscribe(t, h, "A"), subscribe(t, h, "A")
	take := func(f *Feed) *Message {
		m, _ := f.Take()
		return m[0]
	}
	if take(a) != take(b) {
		t.Error("two snapshots were encoded")
	}
	h.step(update("A", first, 1, price(1)))
	if take(a) != take(b) {
		t.Error("two deltas were encoded")
	}
}

func TestAClientHearsOnlyOfItsSymbols(t *testing.T) {
	h := New(Config{})
	h.step(update("A", first, 1, price(1)), update("B", first, 1, price(1)), update("C", first, 1, price(1)))
	f := subscribe(t, h, "C", "A", "A", "LATER")
	if s := one(t, f); symbols(s) != "A C" {
		t.Errorf("snapshot has %s", symbols(s))
	}
	_, more := f.Take()
	h.step(update("B", first, 2, price(2)))
	select {
	case <-more:
		t.Error("woken for a symbol of others")
	default:
	}
	h.step(update("LATER", first, 2, price(2)))
	select {
	case <-more:
	default:
		t.Error("not woken for a symbol that came later")
	}
	if d := one(t, f); symbols(d) != "LATER" {
		t.Errorf("delta has %s", symbols(d))
	}
	if err := f.Subscribe(Request{Op: "subscribe", Symbols: []string{"B"}}); err != nil {
		t.Fatal(err)
	}
	if s := one(t, f); s.Type != "snapshot" || symbols(s) != "B" {
		t.Errorf("after another subscription: %+v", s)
	}
}

func TestAClientThatComesBackGoesOnWhereItStood(t *testing.T) {
	h := New(Config{})
	h.step(update("A", first, 1, price(1)), update("B", first, 1, price(1)))
	f := subscribe(t, h)
	at := one(t, f)
	h.step(update("A", first, 2, price(2)))
	h.step(update("A", second, 3, price(3)))
	back := func(epoch string, since uint64) wire {
		t.Helper()
		f, err := h.Subscribe(Request{Op: "subscribe", Epoch: epoch, Since: since})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return one(t, f)
	}
	if d := back(at.Epoch, at.Seq); d.Type != "delta" || d.From != at.Seq || symbols(d) != "A" || len(d.Quotes[0].Windows) != 2 {
		t.Errorf("came back with %+v", d)
	}
	for name, s := range map[string]wire{
		"of another service": back("other", at.Seq), "from the future": back(at.Epoch, 1<<60), "with nothing": back(at.Epoch, 0),
	} {
		if s.Type != "snapshot" || symbols(s) != "A B" {
			t.Errorf("a client %s got %+v", name, s)
		}
	}
}

func TestASubscriptionThatOnlyLosesSymbolsGoesOn(t *testing.T) {
	h := New(Config{})
	h.step(update("A", first, 1, price(1)), update("B", first, 1, price(1)), update("C", first, 1, price(1)))
	f := subscribe(t, h, "A", "B")
	at := one(t, f)
	h.step(update("A", first, 2, price(2)))
	change := func(symbols ...string) {
		t.Helper()
		if err := f.Subscribe(Request{Op: "subscribe", Symbols: symbols}); err != nil {
			t.Fatal(err)
		}
	}
	change("A")
	if d := one(t, f); d.Type != "delta" || d.From != at.Seq || symbols(d) != "A" {
		t.Errorf("with fewer symbols: %+v", d)
	}
	change("A", "C")
	if s := one(t, f); s.Type != "snapshot" || symbols(s) != "A C" {
		t.Errorf("with another symbol: %+v", s)
	}
	change()
	if s := one(t, f); s.Type != "snapshot" || symbols(s) != "A B C" {
		t.Errorf("with all symbols: %+v", s)
	}
	change("B")
	if got := data(t, f); len(got) != 0 {
		t.Errorf("with one of all: %+v", got)
	}
}

func TestWhatIsTakenOffTheWatchListIsRemovedAndComesBackWhole(t *testing.T) {
	h := New(Config{})
	on := map[string]board.Facts{"A": {Name: "Alpha", Delay: 15}, "B": {Delay: -1}}
	h.SetList(on)
	h.step(update("A", first, 1, price(1)), update("B", first, 1, price(1)))
	f := subscribe(t, h)
	if s := one(t, f); symbols(s) != "A B" || s.Quotes[0].Info.Name != "Alpha" || *s.Quotes[0].Info.DelayedBy != 15 || s.Quotes[1].Info.DelayedBy != nil {
		t.Fatalf("snapshot is %+v", s)
	}
	h.SetList(map[string]board.Facts{"B": {Delay: -1}})
	h.flush()
	if d := one(t, f); symbols(d) != "" || len(d.Removed) != 1 || d.Removed[0] != "A" {
		t.Errorf("removed: %+v", d)
	}
	if st := h.Status(); st.Symbols != 1 || h.ListRev() != 2 {
		t.Errorf("status is %+v, the list's revision %d", st, h.ListRev())
	}
	if s := subscribe(t, h); symbols(one(t, s)) != "B" {
		t.Error("a new client is shown it")
	}
	h.SetList(on)
	h.flush()
	if d := one(t, f); symbols(d) != "A" || d.Quotes[0].Info == nil || len(d.Quotes[0].Spark) != 1 || len(d.Removed) != 0 {
		t.Errorf("added again: %+v", d)
	}
}

func TestClientsThatKeepUpGetWhatTheyLackWhateverElseTheyFollow(t *testing.T) {
	h := New(Config{})
	h.step(update("A", first, 1, price(1)), update("B", first, 1, price(1)))
	both, a := subscribe(t, h), subscribe(t, h, "A")
	one(t, both)
	one(t, a)
	for n := range int64(20) {
		h.Apply([]*windowpb.Update{update("A", first, 3*n+2, price(n+2))})
		h.Apply([]*windowpb.Update{update("A", second, 3*n+3, price(n+3))})
		if n%3 == 0 {
			one(t, subscribe(t, h, "A", "B")) // a snapshot between a change and its flush
		}
		h.Apply([]*windowpb.Update{update("A", first, 3*n+4, price(n+4), price(n+5))})
		h.flush()
		if n%4 == 3 {
			continue // too slow for one
		}
		x, y := one(t, both), one(t, a)
		if len(x.Quotes) != 1 || len(x.Quotes[0].Windows) != 2 || x.Quotes[0].Windows[0].Ticks != 2 || !slices.Equal(x.Quotes[0].Windows, y.Quotes[0].Windows) {
			t.Fatalf("step %d: %+v and %+v", n, x.Quotes, y.Quotes)
		}
	}
}

func TestDifferentSubscriptionsAreLimitedTogether(t *testing.T) {
	h := New(Config{Subscribed: 3})
	f := subscribe(t, h, "A", "B")
	if _, err := h.Subscribe(Request{Symbols: []string{"C", "D"}}); !errors.Is(err, ErrBusy) {
		t.Errorf("a fourth symbol: %v", err)
	}
	if err := f.Subscribe(Request{Symbols: []string{"C", "D"}}); !errors.Is(err, ErrBusy) || h.subscribed != 2 {
		t.Errorf("instead of others: %v, %d symbols", err, h.subscribed)
	}
	subscribe(t, h, "B", "A")
	subscribe(t, h)
	if h.subscribed != 2 {
		t.Errorf("%d symbols are subscribed", h.subscribed)
	}
}

func TestAfterAGapASnapshotIsGiven(t *testing.T) {
	h := New(Config{})
	h.step(update("A", first, 1, price(1)))
	f := subscribe(t, h)
	one(t, f)
	f.Resync()
	if s := one(t, f); s.Type != "snapshot" || symbols(s) != "A" {
		t.Errorf("got %+v", s)
	}
}

func TestLimitsHold(t *testing.T) {
	h := New(Config{Clients: 2, SymbolsPerClient: 2})
	a := subscribe(t, h)
	b, err := h.Subscribe(Request{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Subscribe(Request{}); !errors.Is(err, ErrClients) {
		t.Errorf("a third client: %v", err)
	}
	if err := a.Subscribe(Request{Symbols: []string{"A", "B", "C"}}); !errors.Is(err, ErrSymbols) {
		t.Errorf("a third symbol: %v", err)
	}
	if err := a.Subscribe(Request{Symbols: []string{"A", "B", "A"}}); err != nil {
		t.Errorf("a symbol named twice: %v", err)
	}
	b.Close()
	c, err := h.Subscribe(Request{})
	if err != nil {
		t.Errorf("after one has left: %v", err)
	} else {
		c.Close()
	}
	if n := h.Status().Clients; n != 1 {
		t.Errorf("%d clients", n)
	}
}

func TestNothingStaysOfClientsThatLeft(t *testing.T) {
	h := New(Config{})
	for i := range 50 {
		f, err := h.Subscribe(Request{Symbols: []string{"A", fmt.Sprint("S", i)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Subscribe(Request{Symbols: []string{fmt.Sprint("T", i)}}); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if len(h.groups) != 0 || len(h.wanted) != 0 || h.clients != 0 {
		t.Errorf("left: %d groups, %d symbols, %d clients", len(h.groups), len(h.wanted), h.clients)
	}
}

func TestSymbolsBeyondTheLimitAreLeftOut(t *testing.T) {
	limits := board.DefaultLimits
	limits.Symbols = 1
	h := New(Config{Board: limits})
	h.step(update("A", first, 1, price(1)), update("B", first, 1, price(1)), &windowpb.Update{Symbol: "junk"})
	if s := h.Status(); s.Symbols != 1 || s.Ticks != 1 {
		t.Errorf("status is %+v", s)
	}
}

func TestAPulseTellsOfTheSource(t *testing.T) {
	h := New(Config{})
	f := subscribe(t, h)
	f.Take()
	h.SetSource(Source{Connected: true, CaughtUp: true})
	messages, _ := f.Take()
	if len(messages) != 1 || !decode(t, messages[0]).Connected {
		t.Fatalf("a change of the source gives %d messages", len(messages))
	}
	now := time.Now()
	u := update("A", window.Start(now.UnixMilli()), 1, price(1))
	u.Latest.ReceivedTime = now.Add(-40 * time.Millisecond).UnixMilli()
	h.step(u)
	h.SetSource(Source{Problem: "Kafka does not answer."})
	messages, _ = f.Take()
	p := decode(t, messages[len(messages)-1])
	if p.Connected || p.Problem == "" || p.Latency == nil || p.Latency.P50 < 40 || p.Latency.Count != 1 {
		t.Errorf("pulse is %s", messages[len(messages)-1].Data)
	}
	if s := h.Status(); s.LiveTicks != 1 || !s.Simulated {
		t.Errorf("status is %+v", s)
	}
}

func TestRunFlushesAtOnceWhenIdleAndThenAtItsPace(t *testing.T) {
	h := New(Config{Flush: 200 * time.Millisecond, Beat: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Add(1)
	go func() { defer done.Done(); _ = h.Run(ctx) }()
	defer done.Wait()
	defer cancel()
	f := subscribe(t, h)
	one(t, f)
	messages := 0
	for n := range int64(500) {
		_, more := f.Take()
		h.Apply([]*windowpb.Update{update("A", first, n+1, price(n+1))})
		if n == 0 || n == 499 {
			<-more
		}
		if len(data(t, f)) > 0 {
			messages++
		}
	}
	seq := h.Status().Seq
	if seq < 3 || seq > 100 {
		t.Errorf("500 changes made %d revisions", seq)
	}
}

func TestConcurrentUseEndsInTheSameState(t *testing.T) {
	h := New(Config{Flush: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var run, work sync.WaitGroup
	run.Add(1)
	go func() { defer run.Done(); _ = h.Run(ctx) }()
	for w := range 4 {
		work.Add(2)
		go func() {
			defer work.Done()
			for n := range int64(200) {
				h.Apply([]*windowpb.Update{update(fmt.Sprint("S", w), first, n+1, price(n+1))})
			}
		}()
		go func() {
			defer work.Done()
			f, err := h.Subscribe(Request{})
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			state := map[string]string{}
			at := uint64(0)
			for state["S0"] != "200" || state["S1"] != "200" || state["S2"] != "200" || state["S3"] != "200" {
				messages, more := f.Take()
				for _, m := range messages {
					d := decode(t, m)
					if d.Type == "pulse" {
						continue
					}
					if d.Type == "delta" && d.From > at {
						t.Errorf("a delta from %d to a client at %d", d.From, at)
						return
					}
					at = d.Seq
					for _, q := range d.Quotes {
						state[q.Symbol] = q.Price
					}
				}
				select {
				case <-more:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	work.Wait()
	cancel()
	run.Wait()
}

func TestRequestsAreReadStrictly(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"op":"subscribe"}`: true,
		` {"op":"subscribe","symbols":["^GSPC","EURUSD=X"]}`:    true,
		`{"op":"snapshot","later":{"any":1}}`:                   true,
		`{"op":"subscribe","epoch":"x","since":18446744073709}`: true,
		``:                                     false,
		`null`:                                 false,
		`[]`:                                   false,
		`{}`:                                   false,
		`{"op":"delete"}`:                      false,
		`{"op":"subscribe","symbols":[""]}`:    false,
		`{"op":"subscribe","symbols":[1]}`:     false,
		`{"op":"subscribe","symbols":["a,b"]}`: false,
		`{"op":"subscribe","since":-1}`:        false,
		`{"op":"subscribe"} {}`:                false,
		`{"op":"subscribe","symbols":["` + strings.Repeat("A", 65) + `"]}`:         false,
		`{"op":"subscribe","symbols":["` + strings.Repeat("A", MaxRequest) + `"]}`: false,
		strings.Repeat(`{"op":`, 10_000):                                           false,
	} {
		_, err := ParseRequest([]byte(text))
		if (err == nil) != ok || err != nil && !errors.Is(err, ErrRequest) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"op":"subscribe","symbols":["AAPL","^GSPC"],"epoch":"x","since":3}`))
	f.Add([]byte(`{"op":"snapshot"}`))
	f.Add([]byte(`{"op":"subscribe","symbols":["\u0000"]}`))
	h := New(Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Errorf("error is %v", err)
			}
			return
		}
		feed, err := h.Subscribe(r)
		if err != nil {
			return
		}
		defer feed.Close()
		messages, _ := feed.Take()
		for _, m := range messages {
			if !json.Valid(m.Data) {
				t.Errorf("%s", m.Data)
			}
		}
	})
}

// Whatever an update says of a symbol's currency and exchange, messages stay JSON.
func FuzzMessage(f *testing.F) {
	f.Add("USD", "NMS")
	f.Add("\x00\xff", `"}]`)
	f.Fuzz(func(t *testing.T, currency, exchange string) {
		u := update("A", first, 1, price(1))
		u.Latest.Currency, u.Latest.Exchange = currency, exchange
		h := New(Config{})
		h.step(u)
		if b := h.Snapshot(nil); !json.Valid(b) || strings.ContainsAny(string(b), "\n\r") {
			t.Errorf("%q", b)
		}
	})
}
