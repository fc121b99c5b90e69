package live

import (
	"fmt"
	"maps"
	"testing"

	"ticktape/internal/store"
	"ticktape/internal/window"
)

func TestMemoryIsBoundedAndKeepsWhatWasUsedLast(t *testing.T) {
	var m memory
	const symbols, windows = 1_000, 3 * maxRemembered / 1_000
	name := func(i int) store.Window { return store.Window{Start: int64(i) * window.Length, Log: 1} }
	for i := range windows {
		r := nothing(name(i))
		r.fence = int64(i + 1)
		for s := range symbols {
			r.states[fmt.Sprint(s)] = &store.SymbolState{}
		}
		m.put(r)
		if i > 0 { // the first window stays in use
			m.put(m.take(name(0)))
		}
		if m.symbols > maxRemembered || len(m.windows) != m.recent.Len() {
			t.Fatalf("%d symbols, %d windows in the index, %d in the list", m.symbols, len(m.windows), m.recent.Len())
		}
	}
	if m.symbols != maxRemembered {
		t.Errorf("%d symbols are left, want %d", m.symbols, maxRemembered)
	}
	if m.take(name(0)) == nil || m.take(name(windows-1)) == nil || m.take(name(1)) != nil {
		t.Error("what was used last is forgotten, or what was not is kept")
	}
	if m.take(name(0)) != nil {
		t.Error("what was taken is still there")
	}
}

// ShareRows has rows of registers shared by buckets of batches that have so few
// symbols, while the test lasts.
func ShareRows(t *testing.T, symbols int) {
	before := fewestShared
	fewestShared = symbols
	t.Cleanup(func() { fewestShared = before })
}

func TestRowsOfRegistersHaveOneSymbolOrAllOfABucket(t *testing.T) {
	r := nothing(store.Window{})
	all := make([]store.SymbolState, 4_000)
	for i := range all {
		all[i] = store.SymbolState{Symbol: fmt.Sprintf("S%d", i), State: window.State{Count: int64(i)}}
	}
	r.add(10, all)
	for _, c := range []struct {
		name   string
		fresh  []store.SymbolState
		whole  bool
		shared bool
	}{
		{"few of many", all[:mostSpread*100], true, false},
		{"many", all[:1_100], true, true},
		{"of a window that is not all known", all[:1_100], false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.whole = c.whole
			written := map[string]int64{}
			for _, row := range r.rows(c.fresh) {
				if !c.shared && len(row) != 1 {
					t.Errorf("a row has %d symbols", len(row))
				}
				for _, st := range row {
					if store.Bucket(st.Symbol) != store.Bucket(row[0].Symbol) {
						t.Errorf("%s is in a row with %s", st.Symbol, row[0].Symbol)
					}
					written[st.Symbol] = st.Count
				}
			}
			changed := map[int]bool{}
			want := map[string]int64{}
			for _, st := range c.fresh {
				changed[store.Bucket(st.Symbol)] = true
				want[st.Symbol] = st.Count
			}
			if c.shared {
				for _, st := range all {
					if changed[store.Bucket(st.Symbol)] {
						want[st.Symbol] = st.Count
					}
				}
			}
			if !maps.Equal(written, want) {
				t.Errorf("%d symbols were written, want %d", len(written), len(want))
			}
		})
	}
}
