package live

import (
	"container/list"
	"strings"
	"sync"

	"ticktape/internal/store"
	"ticktape/internal/window"
)

// memory remembers what windows came to, so that the next batch need not read
// it back. It only saves reads: what a window comes to below a fence is decided by
// the log alone, so what is remembered is true whenever Cassandra's fence is the
// one remembered with it, and of no use when it is another (a second function
// counted meanwhile, or a call failed). It is safe for concurrent use.
type memory struct {
	mu      sync.Mutex
	windows map[store.Window]*list.Element // of *remembered
	recent  list.List                      // the latest used first
	symbols int                            // of all windows
}

// maxRemembered bounds the memory, in symbols of windows, of about 250 bytes each.
const maxRemembered = 100_000

// remembered is a window as it stands at a fence.
type remembered struct {
	name   store.Window
	fence  int64
	whole  bool // a symbol that is not in it has no record below the fence
	states map[string]*window.State
}

// nothing is a window before its first record.
func nothing(w store.Window) *remembered {
	return &remembered{name: w, whole: true, states: map[string]*window.State{}}
}

// unknown is a window of which nothing but the fence is known.
func unknown(w store.Window, fence int64) *remembered {
	return &remembered{name: w, fence: fence, states: map[string]*window.State{}}
}

// take returns what is remembered of the window, or nil. The caller owns it, and
// gives it back with put once it is right for another fence.
func (m *memory) take(w store.Window) *remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.windows[w]; ok {
		return m.forget(e)
	}
	return nil
}

func (m *memory) put(r *remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.windows == nil {
		m.windows = map[store.Window]*list.Element{}
	}
	if e, ok := m.windows[r.name]; ok {
		m.forget(e)
	}
	m.windows[r.name] = m.recent.PushFront(r)
	m.symbols += len(r.states)
	for m.symbols > maxRemembered {
		m.forget(m.recent.Back())
	}
}

func (m *memory) forget(e *list.Element) *remembered {
	r := m.recent.Remove(e).(*remembered)
	delete(m.windows, r.name)
	m.symbols -= len(r.states)
	return r
}

// add moves the window on to the fence by the states of all records between the
// two. What it knows nothing of it leaves out.
func (r *remembered) add(fence int64, fresh []store.SymbolState) {
	r.fence = fence
	for i := range fresh {
		k := r.states[fresh[i].Symbol]
		switch {
		case k != nil:
			k.Merge(&fresh[i].State)
		case r.whole:
			r.set(&fresh[i])
		}
	}
}

// set keeps a state that is right for the fence.
func (r *remembered) set(s *store.SymbolState) {
	st := s.State
	r.states[strings.Clone(s.Symbol)] = &st
}
