package board

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

const (
	minute = window.Length
	// epoch is the time from which tests count: 2026-03-01.
	epoch = 1_772_323_200_000
)

// update is the state of one window of one log after the trades, which are
// prices of size 10, one a second. start counts from epoch.
func update(symbol string, start int64, log int32, version int64, prices ...int64) *windowpb.Update {
	var w window.State
	start += epoch
	for i, p := range prices {
		w.Add(window.Point{EventTime: start + int64(i)*1000, Offset: version + int64(i), Price: p}, 10)
	}
	point := func(p window.Point) *windowpb.Point {
		return &windowpb.Point{EventTime: p.EventTime, Offset: p.Offset, Price: p.Price}
	}
	last := prices[len(prices)-1]
	return &windowpb.Update{
		Symbol: symbol, Start: start, Length: minute, Log: log, Version: version,
		TickCount: w.Count, Volume: w.Volume,
		PriceSumHi: w.PriceSum.Hi, PriceSumLo: w.PriceSum.Lo, TurnoverHi: w.Turnover.Hi, TurnoverLo: w.Turnover.Lo,
		Open: point(w.Open), High: point(w.High), Low: point(w.Low), Close: point(w.Close),
		Latest: &windowpb.Latest{EventTime: w.Close.EventTime + 1, Price: last, Currency: "USD", Exchange: "NMS", Source: int32(tick.SourceSimulated)},
	}
}

func apply(t *testing.T, b *Board, rev uint64, u *windowpb.Update) Change {
	t.Helper()
	c, err := b.Apply(u, rev)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func only(t *testing.T, b *Board, symbol string) window.State {
	t.Helper()
	s := b.Symbol(symbol)
	if s == nil || len(s.Windows()) != 1 {
		t.Fatalf("want one window of %s", symbol)
	}
	return s.Windows()[0].State()
}

func TestTheHighestVersionOfALogWins(t *testing.T) {
	b := New(DefaultLimits)
	apply(t, b, 2, update("A", minute, 1, 10, 5, 6, 7))
	if c := apply(t, b, 3, update("A", minute, 1, 9, 5, 6)); c.Changed {
		t.Error("an older version changed the window")
	}
	if c := apply(t, b, 3, update("A", minute, 1, 10, 5, 6, 7)); c.Changed || c.Ticks != 0 {
		t.Error("the same update changed the window")
	}
	if s := only(t, b, "A"); s.Count != 3 || s.Close.Price != 7 || s.Volume != 30 {
		t.Errorf("state is %+v", s)
	}
	if c := apply(t, b, 4, update("A", minute, 1, 11, 5, 6, 7, 3)); !c.Changed || c.Ticks != 1 {
		t.Errorf("a newer version: %+v", c)
	}
	if got := b.Symbol("A").Rev; got != 4 {
		t.Errorf("revision is %d", got)
	}
	if b.Ticks() != 4 {
		t.Errorf("%d ticks", b.Ticks())
	}
}

func TestLogsOfOneWindowAreAddedUp(t *testing.T) {
	b := New(DefaultLimits)
	apply(t, b, 2, update("A", minute, 65536, 1, 50, 40))
	apply(t, b, 2, update("A", minute, 131073, 1, 45, 60, 48))
	apply(t, b, 2, update("A", minute, 131072, 1, 44))
	s := only(t, b, "A")
	if s.Count != 6 || s.Volume != 60 || s.High.Price != 60 || s.Low.Price != 40 || s.Close.Price != 48 {
		t.Errorf("state is %+v", s)
	}
	if want := (window.Sum{Lo: 50 + 40 + 45 + 60 + 48 + 44}); s.PriceSum != want {
		t.Errorf("price sum is %+v", s.PriceSum)
	}
	// Each log goes on by itself.
	apply(t, b, 3, update("A", minute, 65536, 2, 50, 40, 39))
	if s := only(t, b, "A"); s.Count != 7 || s.Low.Price != 39 {
		t.Errorf("state is %+v", s)
	}
}

// However updates are ordered, repeated and interleaved, the board is the same.
func TestOrderAndRepetitionOfUpdatesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*windowpb.Update
		for _, log := range []int32{65536, 65537, 131072} {
			prices := rapid.SliceOfN(rapid.Int64Range(1, 1000), 1, 6).Draw(t, "prices")
			for n := 1; n <= len(prices); n++ {
				all = append(all, update("A", minute, log, int64(n), prices[:n]...))
			}
		}
		want := New(DefaultLimits)
		for _, u := range all {
			if _, err := want.Apply(u, 1); err != nil {
				t.Fatal(err)
			}
		}
		shuffled := rapid.Permutation(slices.Concat(all, all)).Draw(t, "order")
		got := New(DefaultLimits)
		for _, u := range shuffled {
			if _, err := got.Apply(u, 1); err != nil {
				t.Fatal(err)
			}
		}
		if d := cmp.Diff(want.Symbol("A").Windows()[0].State(), got.Symbol("A").Windows()[0].State()); d != "" {
			t.Error(d)
		}
		if want.Ticks() != got.Ticks() {
			t.Errorf("ticks %d and %d", want.Ticks(), got.Ticks())
		}
		if want.Symbol("A").Latest.Price != got.Symbol("A").Latest.Price {
			t.Errorf("latest %v and %v", want.Symbol("A").Latest, got.Symbol("A").Latest)
		}
	})
}

func TestALateWindowIsPutInItsPlace(t *testing.T) {
	b := New(DefaultLimits)
	for _, n := range []int64{3, 1, 2, 5, 4} {
		apply(t, b, 1, update("A", n*minute, 1, n, n))
	}
	var starts []int64
	for _, w := range b.Symbol("A").Windows() {
		starts = append(starts, (w.Start-epoch)/minute)
	}
	if want := []int64{1, 2, 3, 4, 5}; !slices.Equal(starts, want) {
		t.Errorf("windows start at %v", starts)
	}
	if got := b.Symbol("A").Latest.Price; got != 5 {
		t.Errorf("latest is of the late window: %d", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	b := New(Limits{Symbols: 3, Windows: 12, MinPerSymbol: 2, MaxPerSymbol: 5})
	for n := range int64(20) {
		for _, s := range []string{"A", "B", "C"} {
			apply(t, b, 1, update(s, (n+1)*minute, 1, n, n+1))
		}
	}
	if _, err := b.Apply(update("D", minute, 1, 1, 1), 1); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth symbol: %v", err)
	}
	if b.Windows() > 12 {
		t.Errorf("%d windows are kept", b.Windows())
	}
	w := b.Symbol("A").Windows()
	if w[len(w)-1].Start != epoch+20*minute {
		t.Error("the newest window is not kept")
	}
	if c := apply(t, b, 1, update("A", minute, 1, 99, 1, 2)); c.Changed && c.Ticks != 0 {
		t.Error("a window before all that are kept was counted")
	}
}

func TestWhatIsNoUpdateIsRefused(t *testing.T) {
	good := func() *windowpb.Update { return update("A", minute, 1, 1, 5) }
	for name, spoil := range map[string]func(*windowpb.Update){
		"no symbol":             func(u *windowpb.Update) { u.Symbol = "" },
		"a symbol with a quote": func(u *windowpb.Update) { u.Symbol = `A"` },
		"a long symbol":         func(u *windowpb.Update) { u.Symbol = strings.Repeat("A", 65) },
		"another length":        func(u *windowpb.Update) { u.Length = 1 },
		"a crooked start":       func(u *windowpb.Update) { u.Start++ },
		"a negative start":      func(u *windowpb.Update) { u.Start = -minute },
		"no ticks":              func(u *windowpb.Update) { u.TickCount = 0 },
		"a negative volume":     func(u *windowpb.Update) { u.Volume = -1 },
		"no close":              func(u *windowpb.Update) { u.Close = nil },
		"no latest price":       func(u *windowpb.Update) { u.Latest.Price = 0 },
		"a latest without time": func(u *windowpb.Update) { u.Latest.EventTime = 0 },
	} {
		u := good()
		spoil(u)
		if _, err := New(DefaultLimits).Apply(u, 1); !errors.Is(err, ErrUpdate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	u := good()
	u.Latest = nil
	if _, err := New(DefaultLimits).Apply(u, 1); err != nil {
		t.Errorf("without a latest: %v", err)
	}
}

func TestPreviousCloseAndVolumeOutliveATradeThatDoesNotTellThem(t *testing.T) {
	b := New(DefaultLimits)
	told := update("A", minute, 1, 1, 500)
	volume, previous := int64(77), int64(400)
	told.Latest.DayVolume, told.Latest.PreviousClose = &volume, &previous
	apply(t, b, 1, told)
	apply(t, b, 2, update("A", 2*minute, 1, 2, 300))
	l := &b.Symbol("A").Latest
	if l.DayVolume == nil || *l.DayVolume != 77 {
		t.Error("the day's volume is forgotten")
	}
	if change, percent := l.Change(); change != "-0.000001" || percent != "-25.00" {
		t.Errorf("change is %s, %s %%", change, percent)
	}
	if got := b.Symbol("A").InfoRev; got != 1 {
		t.Errorf("info changed at %d", got)
	}
	apply(t, b, 3, update("A", 3*24*60*minute, 1, 3, 300))
	if b.Symbol("A").Latest.PreviousClose != nil {
		t.Error("a previous close of days ago is believed")
	}
}

func TestSimulatedSymbolsAreCounted(t *testing.T) {
	b := New(DefaultLimits)
	apply(t, b, 1, update("A", minute, 1, 1, 5))
	apply(t, b, 1, update("B", minute, 1, 1, 5))
	real := update("A", 2*minute, 1, 2, 5)
	real.Latest.Source = int32(tick.SourceYahoo)
	apply(t, b, 1, real)
	if shown, simulated := b.Counts(); shown != 2 || simulated != 1 {
		t.Errorf("of %d symbols %d are simulated", shown, simulated)
	}
}

func TestPercentIsExact(t *testing.T) {
	for _, c := range []struct {
		part, whole int64
		want        string
	}{
		{224, 18_520, "1.21"},
		{-224, 18_520, "-1.21"},
		{0, 5, "0.00"},
		{5, 0, ""},
		{-1, 1_000_000, "0.00"},
		{1, 20_000, "0.00"},
		{3, 20_000, "0.02"},
		{-3, 20_000, "-0.02"},
		{10, -20, "50.00"},
		{1 << 62, 1, ""},
		{-1 << 63, -1 << 63, "-100.00"},
	} {
		if got := Percent(c.part, c.whole); got != c.want {
			t.Errorf("Percent(%d, %d) = %q, want %q", c.part, c.whole, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		part, whole := rapid.Int64().Draw(t, "part"), rapid.Int64().Draw(t, "whole")
		text := Percent(part, whole)
		if text == "" {
			return
		}
		got, ok := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
		if !ok {
			t.Fatalf("Percent(%d, %d) = %q is no number", part, whole, text)
		}
		// |part × 10^4 − got × |whole|| ≤ |whole| / 2
		of := new(big.Int).Abs(big.NewInt(whole))
		off := new(big.Int).Mul(big.NewInt(part), big.NewInt(10_000))
		off.Sub(off, new(big.Int).Mul(got, of))
		if off.Abs(off).Lsh(off, 1).Cmp(of) > 0 {
			t.Errorf("Percent(%d, %d) = %s", part, whole, text)
		}
	})
}

func FuzzApply(f *testing.F) {
	b, err := update("A", minute, 1, 1, 5).MarshalVT()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		u := &windowpb.Update{}
		if u.UnmarshalVT(b) != nil {
			return
		}
		board := New(DefaultLimits)
		c, err := board.Apply(u, 1)
		if err != nil {
			return
		}
		if c.Symbol.Name != u.Symbol || len(c.Symbol.Windows()) != 1 || board.Ticks() != u.TickCount {
			t.Errorf("%+v became %+v", u, c)
		}
		c.Symbol.Latest.Change()
	})
}

func TestAQuoteIsShownUntilAWindowTellsOfItsSymbol(t *testing.T) {
	b := New(DefaultLimits)
	at := int64(1_790_000_000_000)
	quote := func(price, time int64) bool {
		c, err := b.ApplyQuote(Quote{"AAPL", &windowpb.Latest{EventTime: time, Price: price, Source: int32(tick.SourceYahoo)}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return c.Changed
	}
	if !quote(5, at) || quote(5, at) {
		t.Error("a quote changes the board once")
	}
	s := b.Symbol("AAPL")
	if !s.Known() || s.Latest.Price != 5 || len(s.Windows()) != 0 || b.Ticks() != 0 {
		t.Errorf("%+v", s)
	}
	p := &windowpb.Point{EventTime: at, Price: 7}
	if _, err := b.Apply(&windowpb.Update{
		Symbol: "AAPL", Start: window.Start(at), Length: window.Length, Version: 1, TickCount: 1, Open: p, High: p, Low: p, Close: p,
		Latest: &windowpb.Latest{EventTime: at, Price: 7},
	}, 2); err != nil {
		t.Fatal(err)
	}
	if quote(5, at) || s.Latest.Price != 7 {
		t.Error("what the topic tells of the same millisecond stays")
	}
	if !quote(9, at+1) || s.Latest.Price != 9 {
		t.Error("a later trade is shown")
	}
	for name, q := range map[string]Quote{
		"no price":  {"AAPL", &windowpb.Latest{EventTime: at}},
		"no time":   {"AAPL", &windowpb.Latest{Price: 1}},
		"no symbol": {"", &windowpb.Latest{EventTime: at, Price: 1}},
	} {
		if _, err := b.ApplyQuote(q, 3); !errors.Is(err, ErrUpdate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
