package live

import (
	"fmt"
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
			r.states[fmt.Sprint(s)] = &window.State{}
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
