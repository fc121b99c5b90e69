package window

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func (s Sum) big() *big.Int {
	v := new(big.Int).Lsh(big.NewInt(s.Hi), 64)
	return v.Add(v, new(big.Int).SetUint64(s.Lo))
}

func TestSumsAreExactInFullWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Sum
		want := new(big.Int)
		for range rapid.IntRange(1, 20).Draw(t, "terms") {
			a, b := rapid.Int64().Draw(t, "a"), rapid.Int64Range(math.MinInt64/64, math.MaxInt64/64).Draw(t, "b")
			product := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
			switch rapid.IntRange(0, 2).Draw(t, "how") {
			case 0:
				s.AddProduct(a, b)
				want.Add(want, product)
			case 1:
				s.AddInt(a)
				want.Add(want, big.NewInt(a))
			case 2:
				var o Sum
				o.AddProduct(a, b)
				s.Sub(o)
				want.Sub(want, product)
			}
		}
		if s.big().Cmp(want) != 0 {
			t.Fatalf("%v, want %v", s.big(), want)
		}
	})
}

// TestPartsAndDigitsAddUpInCountersOfTheirOwn has sums go into the low counters
// alone as long as all that was added up fits, by what is known of it at times only,
// and takes away from the sums as the audit does, which leaves the rest alone.
func TestPartsAndDigitsAddUpInCountersOfTheirOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sum [2]int64
		var digits [3]int64
		var want State
		add := func(priceSum, turnover Sum, lowOnly bool) {
			h, l, ok := priceSum.Parts(lowOnly)
			if !ok {
				t.Fatalf("%v does not fit its parts", priceSum.big())
			}
			if l < 0 || lowOnly && h != 0 || !lowOnly && l >= 1<<32 {
				t.Fatalf("parts %d and %d of %v", h, l, priceSum.big())
			}
			sum[0], sum[1] = sum[0]+h, sum[1]+l
			top, mid, low := turnover.Digits(lowOnly)
			if low < 0 || lowOnly && (top != 0 || mid != 0) || !lowOnly && (mid < 0 || mid >= 1<<32 || low >= 1<<32) {
				t.Fatalf("digits %d, %d and %d of %v", top, mid, low, turnover.big())
			}
			digits[0], digits[1], digits[2] = digits[0]+top, digits[1]+mid, digits[2]+low
			if most := int64(1 << 62); sum[1] < 0 || sum[1] >= most || digits[2] < 0 || digits[2] >= most {
				t.Fatalf("low counters hold %d and %d", sum[1], digits[2])
			}
		}
		small := rapid.Int64Range(1, math.MaxInt64).Draw(t, "price")
		corrections := 0
		for range rapid.IntRange(1, 50).Draw(t, "batches") {
			price := rapid.OneOf(rapid.Int64Range(1, small), rapid.Int64Range(-math.MaxInt64, math.MaxInt64)).Draw(t, "price")
			var s State
			s.Add(Point{Price: price}, rapid.Int64Range(0, 1<<20).Draw(t, "size"))
			want.Merge(&s)
			add(s.PriceSum, s.Turnover, want.Fits() && rapid.Bool().Draw(t, "known"))
			if corrections == 0 && want.Fits() && rapid.Bool().Draw(t, "corrected") {
				corrections++
				var less State
				less.PriceSum.Sub(want.PriceSum)
				less.Turnover.Sub(want.Turnover)
				want.PriceSum.Add(less.PriceSum)
				want.Turnover.Add(less.Turnover)
				add(less.PriceSum, less.Turnover, false)
			}
		}
		if got := FromParts(sum[0], sum[1]); got != want.PriceSum {
			t.Fatalf("%v of parts, want %v", got.big(), want.PriceSum.big())
		}
		if got := FromDigits(digits[0], digits[1], digits[2]); got != want.Turnover {
			t.Fatalf("%v of digits, want %v", got.big(), want.Turnover.big())
		}
	})
}

func TestASumTooLargeForALowCounterIsSplitWhateverIsAsked(t *testing.T) {
	for _, s := range []Sum{{0, 1 << 61}, {0, math.MaxUint64}, {1, 5}, {-1, 5}} {
		if hi, lo, ok := s.Parts(true); !ok || lo >= 1<<32 || FromParts(hi, lo) != s {
			t.Errorf("%v has the parts %d and %d", s.big(), hi, lo)
		}
		if hi, mid, lo := s.Digits(true); lo >= 1<<32 || FromDigits(hi, mid, lo) != s {
			t.Errorf("%v has the digits %d, %d and %d", s.big(), hi, mid, lo)
		}
	}
}

func TestSumsFitWhereNoneOfTheirPartsCanBeTooMuchForACounter(t *testing.T) {
	state := func(price, size int64) State {
		var s State
		s.Add(Point{Price: price}, size)
		return s
	}
	for _, s := range []State{{}, state(1, 0), state(1<<61-1, 1), state(1<<30, 1<<31-1)} {
		if !s.Fits() {
			t.Errorf("%+v does not fit", s)
		}
	}
	mixed := state(-1, 1)
	more := state(1000, 1000)
	mixed.Merge(&more)
	for _, s := range []State{state(-1, 1), mixed, state(1<<61, 0), state(1<<30, 1<<31), state(1<<40, 1<<40)} {
		if s.Fits() {
			t.Errorf("%+v fits", s)
		}
	}
}

func TestPartsOfASumTooLargeAreRefused(t *testing.T) {
	for _, s := range []Sum{{1 << 31, 0}, {-1<<31 - 1, 0}} {
		if _, _, ok := s.Parts(false); ok {
			t.Errorf("%v fits", s.big())
		}
	}
	for _, s := range []Sum{{1<<31 - 1, math.MaxUint64}, {-1 << 31, 0}} {
		hi, lo, ok := s.Parts(false)
		if !ok || FromParts(hi, lo) != s {
			t.Errorf("%v is not read back", s.big())
		}
	}
}

type trade struct {
	Point
	size int64
}

func anyTrades(t *rapid.T) []trade {
	n := rapid.IntRange(1, 40).Draw(t, "trades")
	trades := make([]trade, n)
	for i := range trades {
		trades[i] = trade{Point{
			// Few different times and prices, so that ties are common.
			EventTime: rapid.Int64Range(0, 5).Draw(t, "time"), Offset: int64(i),
			Price: rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64()).Draw(t, "price"),
		}, rapid.Int64Range(0, 1_000_000).Draw(t, "size")}
	}
	return trades
}

func add(trades []trade) State {
	var s State
	for _, tr := range trades {
		s.Add(tr.Point, tr.size)
	}
	return s
}

func TestAnySplitAndOrderGivesTheSameWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trades := anyTrades(t)
		want := add(trades)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		r.Shuffle(len(trades), func(i, j int) { trades[i], trades[j] = trades[j], trades[i] })
		var parts []State
		for len(trades) > 0 {
			n := 1 + r.IntN(len(trades))
			parts = append(parts, add(trades[:n]))
			trades = trades[n:]
		}
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		var got State
		for i := range parts {
			got.Merge(&parts[i])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAFenceMakesAnyRepetitionGiveTheSameWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trades := anyTrades(t)
		want := add(trades)
		var got State
		fence := int64(0)
		for fence < int64(len(trades)) {
			// A redelivery starts anywhere at or below the fence and may end below it, too.
			from := rapid.Int64Range(0, fence).Draw(t, "from")
			to := rapid.Int64Range(from, int64(len(trades))).Draw(t, "to")
			for _, tr := range trades[from:to] {
				if tr.Offset >= fence {
					got.Add(tr.Point, tr.size)
				}
			}
			fence = max(fence, to)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestAWindowIsWhatItsTradesSay(t *testing.T) {
	s := add([]trade{
		{Point{EventTime: 20, Offset: 7, Price: 300}, 10},
		{Point{EventTime: 10, Offset: 8, Price: 100}, 20}, // late, and so the open
		{Point{EventTime: 20, Offset: 9, Price: 200}, 30}, // the same millisecond, a later record: the close
	})
	want := State{
		Count: 3, Volume: 60, PriceSum: Sum{0, 600}, Turnover: Sum{0, 11_000},
		Open: Point{10, 8, 100}, High: Point{20, 7, 300}, Low: Point{10, 8, 100}, Close: Point{20, 9, 200},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}

func TestStart(t *testing.T) {
	for at, want := range map[int64]int64{0: 0, 59_999: 0, 60_000: 60_000, 1_789_000_012_345: 1_788_999_960_000} {
		if got := Start(at); got != want {
			t.Errorf("Start(%d) = %d, want %d", at, got, want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	var s State
	for i := int64(0); b.Loop(); i++ {
		s.Add(Point{EventTime: i, Offset: i, Price: 18_744_000_000 + i&0xffff}, 100)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	var s State
	i := int64(0)
	if n := testing.AllocsPerRun(1000, func() {
		s.Add(Point{EventTime: i, Offset: i, Price: 18_744_000_000 + i&0xffff}, 100)
		i++
	}); n != 0 {
		t.Errorf("%v allocations a tick", n)
	}
}
