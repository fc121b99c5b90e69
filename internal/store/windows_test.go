package store_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/window"
)

const minute = int64(1_700_000_040_000) // starts a window

// TestWindows runs its parts on one keyspace, since making one takes seconds;
// each part has windows of its own.
func TestWindows(t *testing.T) {
	s := testbed.Store(t)
	for name, part := range map[string]func(*testing.T, *store.Store){
		"RegistersKeepTheRightValueInAnyOrder": testRegistersKeepTheRightValueInAnyOrder,
		"RegistersRefuseWhatHasNoPlace":        testRegistersRefuseWhatHasNoPlace,
		"CountersAddUpPast64Bits":              testCountersAddUpPast64Bits,
		"AnEmptyWindowReadsAsNothing":          testAnEmptyWindowReadsAsNothing,
		"WholeStatesAndRecordsComeTogether":    testWholeStatesAndRecordsComeTogether,
		"TenThousandSymbolsInOneWindow":        testTenThousandSymbolsInOneWindow,
		"QuietFences":                          testQuietFences,
		"Claims":                               testClaims,
	} {
		t.Run(name, func(t *testing.T) { part(t, s) })
	}
	// The last one closes the store.
	t.Run("CountRefusesMoreThanOneMutationHolds", func(t *testing.T) { testCountRefusesMoreThanOneMutationHolds(t, s) })
}

// own returns a window that no other part of TestWindows uses.
func own() store.Window {
	return store.Window{Start: minute, Log: lastLog.Add(1)}
}

var lastLog atomic.Int32

func record(symbol string, ms, offset, price, size int64) store.SymbolState {
	st := store.SymbolState{Symbol: symbol}
	st.Add(window.Point{EventTime: minute + ms, Offset: offset, Price: price}, size)
	return st
}

func read(t *testing.T, s *store.Store, w store.Window, symbols []string) (int64, []store.SymbolState) {
	t.Helper()
	fence, states, err := s.ReadWindow(t.Context(), w, symbols)
	if err != nil {
		t.Fatal(err)
	}
	return fence, states
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testRegistersKeepTheRightValueInAnyOrder(t *testing.T, s *store.Store) {
	cases := map[string][]store.SymbolState{
		"a positive and a negative price": {record("A", 10, 0, 500, 1), record("A", 20, 1, -700, 1), record("A", 30, 2, 300, 1)},
		"only negative prices":            {record("A", 0, 5, -3, 1), record("A", 0, 6, -1, 1), record("A", 59_999, 7, -2, 1)},
		"the ends of the range":           {record("A", 1, 0, math.MaxInt64, 1), record("A", 2, 1, -math.MaxInt64, 1)},
		"event times against offsets":     {record("A", 900, 0, 1, 1), record("A", 100, 1, 2, 1), record("A", 500, 2, 3, 1)},
		"one millisecond":                 {record("A", 7, 3, 10, 1), record("A", 7, 4, 20, 1), record("A", 7, 5, 15, 1)},
		"offset and time zero":            {record("A", 0, 0, 1, 1)},
		"the largest offsets":             {record("A", 59_999, 1<<40-2, 1, 1), record("A", 59_999, 1<<40-1, 2, 1)},
	}
	for name, records := range cases {
		w := own()
		t.Run(name, func(t *testing.T) {
			var want window.State
			for _, r := range records {
				want.Merge(&r.State)
			}
			rng := rand.New(rand.NewPCG(1, uint64(w.Log)))
			twice := append(slices.Clone(records), records...)
			rng.Shuffle(len(twice), func(i, j int) { twice[i], twice[j] = twice[j], twice[i] })
			for _, r := range twice {
				must(t, s.WriteRegisters(t.Context(), w, []store.SymbolState{r}))
			}
			must(t, s.Count(t.Context(), w, 0, 1, []store.SymbolState{{Symbol: "A", State: want}}))
			_, got := read(t, s, w, []string{"A"})
			if len(got) != 1 {
				t.Fatalf("read %v", got)
			}
			if diff := cmp.Diff(want, got[0].State); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whole states, of records up to this or that offset, of one symbol or of a bucket,
// and records by themselves are written in any order and again: what is read is what
// all of them come to.
func testWholeStatesAndRecordsComeTogether(t *testing.T, s *store.Store) {
	symbols := []string{"A"}
	for i := 0; len(symbols) < 3; i++ {
		if name := fmt.Sprint("B", i); store.Bucket(name) == store.Bucket("A") {
			symbols = append(symbols, name)
		}
	}
	for seed := range uint64(18) {
		w := own()
		rng := rand.New(rand.NewPCG(seed, 1))
		want := map[string]*store.SymbolState{}
		var writes []func() error
		for offset := range int64(24) {
			r := record(symbols[rng.IntN(len(symbols))], rng.Int64N(window.Length), offset, rng.Int64N(20)-10, 1)
			if want[r.Symbol] == nil {
				want[r.Symbol] = &store.SymbolState{Symbol: r.Symbol}
			}
			want[r.Symbol].Merge(&r.State)
			var row []*store.SymbolState
			for _, st := range want {
				if shared := seed%2 == 0; shared || st.Symbol == r.Symbol {
					kept := *st
					row = append(row, &kept)
				}
			}
			each := func() error { return s.WriteRegisters(t.Context(), w, []store.SymbolState{r}) }
			all := func() error { return s.WriteWhole(t.Context(), w, offset+1, [][]*store.SymbolState{row}) }
			switch seed % 3 {
			case 0:
				writes = append(writes, all)
			case 1: // from some offset on, nothing is known of those before
				writes = append(writes, all, each)
			default:
				writes = append(writes, each)
				if offset%4 == 2 {
					writes = append(writes, all)
				}
			}
		}
		writes = append(writes, writes...)
		rng.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
		for _, write := range writes {
			must(t, write())
		}
		var counts []store.SymbolState
		for _, st := range want {
			counts = append(counts, *st)
		}
		must(t, s.Count(t.Context(), w, 0, 24, counts))
		for _, ask := range [][]string{nil, symbols} {
			_, got := read(t, s, w, ask)
			if len(got) != len(want) {
				t.Fatalf("read %v", got)
			}
			for i := range got {
				is, want := got[i].State, want[got[i].Symbol].State
				want.High, want.Low = window.Point{Price: want.High.Price}, window.Point{Price: want.Low.Price}
				is.High, is.Low = window.Point{Price: is.High.Price}, window.Point{Price: is.Low.Price}
				if diff := cmp.Diff(want, is); diff != "" {
					t.Errorf("seed %d, %s: %s", seed, got[i].Symbol, diff)
				}
			}
		}
	}
}

func testRegistersRefuseWhatHasNoPlace(t *testing.T, s *store.Store) {
	for _, r := range []store.SymbolState{record("A", -1, 0, 1, 1), record("A", window.Length, 0, 1, 1), record("A", 0, 1<<40, 1, 1)} {
		if err := s.WriteRegisters(t.Context(), own(), []store.SymbolState{r}); err == nil {
			t.Errorf("%+v was written", r)
		}
	}
}

func testCountersAddUpPast64Bits(t *testing.T, s *store.Store) {
	w := own()
	var want [3]window.State
	for i := range int64(5) {
		batch := []store.SymbolState{
			record("MINUS", i, 2*i, i-math.MaxInt64, 1_000_000_000_000_000),
			record("PLUS", i, 2*i+1, math.MaxInt64-i, 1_000_000_000_000_000),
			record("TILL IT NO LONGER FITS", i, 2*i+1, 1<<59+i, 1),
		}
		for j := range want {
			want[j].Merge(&batch[j].State)
			batch[j].LowOnly = want[j].Fits()
		}
		must(t, s.WriteRegisters(t.Context(), w, batch))
		must(t, s.Count(t.Context(), w, 2*i, 2*i+2, batch))
	}
	fence, got := read(t, s, w, nil)
	if fence != 10 || len(got) != len(want) {
		t.Fatalf("fence %d, states %v", fence, got)
	}
	for j := range want {
		if diff := cmp.Diff(want[j], got[j].State); diff != "" {
			t.Errorf("%s: %s", got[j].Symbol, diff)
		}
	}
	if f, err := s.Fence(t.Context(), w); err != nil || f != 10 {
		t.Errorf("fence %d, %v", f, err)
	}
}

func testAnEmptyWindowReadsAsNothing(t *testing.T, s *store.Store) {
	w := own()
	if fence, states := read(t, s, w, nil); fence != 0 || len(states) != 0 {
		t.Errorf("fence %d, states %v", fence, states)
	}
	if fence, states := read(t, s, w, []string{"A", "B"}); fence != 0 || len(states) != 0 {
		t.Errorf("fence %d, states %v", fence, states)
	}
	// A fence may move alone: where all that a batch holds was refused.
	must(t, s.Count(t.Context(), w, 0, 7, nil))
	if fence, states := read(t, s, w, nil); fence != 7 || len(states) != 0 {
		t.Errorf("fence %d, states %v", fence, states)
	}
	if f, err := s.Fence(t.Context(), w); err != nil || f != 7 {
		t.Errorf("fence %d, %v", f, err)
	}
}

func testTenThousandSymbolsInOneWindow(t *testing.T, s *store.Store) {
	w := own()
	states := make([]store.SymbolState, 10_000)
	symbols := make([]string, len(states))
	for i := range states {
		symbols[i] = fmt.Sprintf("SYMBOL-%05d", i)
		states[i] = record(symbols[i], int64(i), int64(i), int64(i)-5_000, int64(i))
	}
	rows := make([][]*store.SymbolState, store.Buckets/2)
	var each []store.SymbolState
	for i := range states {
		if b := store.Bucket(states[i].Symbol); b < len(rows) {
			rows[b] = append(rows[b], &states[i])
		} else {
			each = append(each, states[i])
		}
	}
	must(t, s.WriteWhole(t.Context(), w, int64(len(states)), rows))
	must(t, s.WriteRegisters(t.Context(), w, each))
	must(t, s.Count(t.Context(), w, 0, int64(len(states)), states))
	for _, ask := range [][]string{symbols, nil} {
		fence, got := read(t, s, w, ask)
		if fence != int64(len(states)) {
			t.Errorf("fence %d", fence)
		}
		if diff := cmp.Diff(states, got); diff != "" {
			t.Errorf("asked for %d symbols: %.2000s", len(ask), diff)
		}
	}
}

func testCountRefusesMoreThanOneMutationHolds(t *testing.T, s *store.Store) {
	err := s.Count(t.Context(), own(), 0, 1, make([]store.SymbolState, store.MaxSymbols+1))
	if !errors.Is(err, store.ErrNotApplied) {
		t.Errorf("got %v", err)
	}
	s.Close()
	err = s.Count(t.Context(), own(), 0, 1, []store.SymbolState{record("A", 0, 0, 1, 1)})
	if !errors.Is(err, store.ErrNotApplied) {
		t.Errorf("after Close: %v", err)
	}
}

func testQuietFences(t *testing.T, s *store.Store) {
	windows := []store.Window{own(), own()}
	must(t, s.Count(t.Context(), windows[1], 0, 42, nil))
	began := time.Now()
	const quiet = 700 * time.Millisecond
	fences, err := s.QuietFences(t.Context(), windows, quiet)
	must(t, err)
	if !slices.Equal(fences, []int64{0, 42}) {
		t.Errorf("fences %v", fences)
	}
	if took := time.Since(began); took < quiet {
		t.Errorf("answered after %s, before the quiet was over", took)
	}
}
