package board

import (
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

// newYork is the start of 2026-03-02 in New York, from epoch.
const newYork = 29 * 60 * minute

// units are sums of whole units of 1e-8.
func sum(n int64) window.Sum { return window.Sum{Lo: uint64(n)} }

func TestTheFiguresOfADay(t *testing.T) {
	b := New(DefaultLimits)
	apply(t, b, 2, update("A", newYork, 1, 1, 5, 9))
	apply(t, b, 3, update("A", newYork+7*minute, 1, 2, 4))
	apply(t, b, 4, update("A", newYork+7*minute, 1, 3, 4, 6))
	apply(t, b, 5, update("A", newYork+6*minute, 1, 4, 3)) // late
	apply(t, b, 6, update("A", newYork-minute, 1, 5, 1))   // of the day before
	d := b.Symbol("A").Day
	if d.Start != epoch+newYork || d.High != 9 || d.Low != 3 || d.Turnover != sum(270) || !d.Complete {
		t.Errorf("day is %+v", d)
	}
	if diff := cmp.Diff([]Point{{0, 9, 0}, {1, 6, 0}}, d.Points(), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".last" }, cmp.Ignore()), cmp.AllowUnexported(Point{})); diff != "" {
		t.Error(diff)
	}
	apply(t, b, 7, update("A", newYork+24*60*minute+10*minute, 1, 6, 7))
	if d = b.Symbol("A").Day; d.Start != epoch+newYork+24*60*minute || d.High != 7 || d.Turnover != sum(70) || !d.Complete {
		t.Errorf("the next day, which was followed from its start, is %+v", d)
	}
}

func TestADayThatWasNotSeenFromItsStartIsFilled(t *testing.T) {
	b := New(DefaultLimits)
	apply(t, b, 2, update("A", newYork+60*minute, 1, 1, 5))
	gaps := b.Gaps("", 10)
	want := []Gap{{"A", epoch + newYork, epoch + newYork + 60*minute}}
	if diff := cmp.Diff(want, gaps); diff != "" {
		t.Fatal(diff)
	}
	if len(b.Gaps("A", 10)) != 0 {
		t.Error("there are gaps after the last symbol")
	}
	fill := []Minute{{epoch + newYork, 8, 2, 3, sum(100)}, {epoch + newYork + 60*minute, 99, 1, 1, sum(1)}}
	apply(t, b, 3, update("A", newYork+50*minute, 1, 2, 6))
	if b.Fill(gaps[0], fill, 4) {
		t.Error("another gap was filled")
	}
	if !b.Fill(b.Gaps("", 1)[0], fill, 4) || len(b.Gaps("", 10)) != 0 {
		t.Error("the gap was not filled")
	}
	d := b.Symbol("A").Day
	if d.High != 8 || d.Low != 2 || d.Turnover != sum(50+60+100) || b.Symbol("A").Rev != 4 || len(d.Points()) != 3 {
		t.Errorf("day is %+v", d)
	}
}

func TestASymbolThatHasNotTradedForDaysHasTheDayOfItsLastTrade(t *testing.T) {
	b := New(DefaultLimits)
	q := Quote{"A", &windowpb.Latest{EventTime: epoch + newYork + 600*minute, Price: 5, Exchange: "NMS", Source: int32(tick.SourceYahoo)}}
	if _, err := b.ApplyQuote(q, 2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Gap{{"A", epoch + newYork, epoch + newYork + 24*60*minute}}, b.Gaps("", 10)); diff != "" {
		t.Error(diff)
	}
}

// However updates are split and repeated, the turnover of a day is that of its windows.
func TestTheTurnoverOfADayIsThatOfItsWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := New(DefaultLimits)
		states := map[int64]int64{}
		for version := range rapid.Int64Range(1, 40).Draw(t, "updates") {
			start := newYork + rapid.Int64Range(0, 5).Draw(t, "minute")*minute
			states[start]++
			prices := make([]int64, states[start])
			for i := range prices {
				prices[i] = 3
			}
			u := update("A", start, 1, version+1, prices...)
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				if _, err := b.Apply(u, uint64(version)); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := int64(0)
		for _, n := range states {
			want += n * 3 * 10
		}
		if got := b.Symbol("A").Day.Turnover; got != sum(want) {
			t.Fatalf("%+v, want %d", got, want)
		}
	})
}

func TestTheWatchListDecidesWhatIsShown(t *testing.T) {
	const now = epoch + 1000*minute
	logged := func(symbol string, at int64, exchange string) *windowpb.Update {
		u := update(symbol, newYork, 1, at, 5)
		u.Latest.EventTime += at - epoch
		u.Latest.LogTime, u.Latest.Exchange = at, exchange
		return u
	}
	b := New(DefaultLimits)
	for _, s := range []string{"LISTED", "REMOVED", "QUIET", "FED", "SIM1"} {
		exchange, at := "NMS", int64(now)
		switch s {
		case "QUIET":
			at = now - 10*minute
		case "SIM1":
			exchange, at = "SIM", now-500*minute
		}
		apply(t, b, 2, logged(s, at, exchange))
	}
	shown := func() (list []string) {
		for _, s := range b.All() {
			if s.Shown() {
				list = append(list, s.Name)
			}
		}
		return list
	}
	check := func(what string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, shown()); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("no list is known", "FED", "LISTED", "QUIET", "REMOVED", "SIM1")
	list := func(names ...string) map[string]Facts {
		m := map[string]Facts{}
		for _, n := range names {
			m[n] = Facts{"Name of " + n, 15}
		}
		return m
	}
	b.SetList(list("LISTED", "REMOVED"), now, 3)
	check("what nothing feeds any more is hidden", "FED", "LISTED", "REMOVED", "SIM1")
	b.SetList(list("LISTED"), now, 4)
	check("what is taken off disappears", "FED", "LISTED", "SIM1")
	if s := b.Symbol("REMOVED"); s.ShownRev != 4 || s.Rev != 4 {
		t.Errorf("it is marked %+v", s)
	}
	apply(t, b, 5, logged("REMOVED", now+1000, "NMS"))
	check("its last trades don't bring it back", "FED", "LISTED", "SIM1")
	apply(t, b, 6, logged("REMOVED", now+minute, "NMS"))
	check("trades that go on coming do", "FED", "LISTED", "REMOVED", "SIM1")
	if f := b.Symbol("LISTED").Facts(); f.Name != "Name of LISTED" || f.Delay != 15 {
		t.Errorf("facts are %+v", f)
	}
	apply(t, b, 7, logged("NEW", now-10*minute, "NMS"))
	check("an old trade of a symbol that is on no list is not shown", "FED", "LISTED", "REMOVED", "SIM1")
	b.SetList(list("NEW"), now, 8)
	if !b.Symbol("NEW").Shown() || b.Symbol("LISTED").Shown() {
		t.Error("another list does not decide")
	}
}

func FuzzSumsAreReadAsTheyAreWritten(f *testing.F) {
	for _, s := range []string{"0", "-1", "1900352.125", "170141183460469231731687303715884105727", "-0.00000001", "1e5", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSum(text)
		if err != nil {
			return
		}
		written := string(AppendSum(nil, s))
		if again, err := ParseSum(written); err != nil || again != s {
			t.Fatalf("%q is %+v, written %q, read %+v, %v", text, s, written, again, err)
		}
		want, ok := new(big.Rat).SetString(text)
		if got, _ := new(big.Rat).SetString(written); !ok || got.Cmp(want) != 0 {
			t.Fatalf("%q became %q", text, written)
		}
	})
}
