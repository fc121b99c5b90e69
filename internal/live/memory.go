package live

import (
	"container/list"
	"strings"
	"sync"

	"ticktape/internal/store"
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
	states map[string]*store.SymbolState
}

// nothing is a window before its first record.
func nothing(w store.Window) *remembered {
	return &remembered{name: w, whole: true, states: map[string]*store.SymbolState{}}
}

// unknown is a window of which nothing but the fence is known.
func unknown(w store.Window, fence int64) *remembered {
	return &remembered{name: w, fence: fence, states: map[string]*store.SymbolState{}}
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
			k.State.Merge(&fresh[i].State)
		case r.whole:
			r.set(&fresh[i])
		}
	}
}

// set keeps a state that is right for the fence.
func (r *remembered) set(s *store.SymbolState) {
	st := *s
	st.Symbol = strings.Clone(s.Symbol)
	r.states[st.Symbol] = &st
}

// A batch that has at least one in mostSpread of a window's symbols, and at least
// fewestShared, has its registers written by bucket: fewer rows, of which no more
// than so many times as much is written as has changed.
const mostSpread = 4

var fewestShared = 2 * store.Buckets

// rows sorts what is known of the symbols of fresh into rows of registers, for
// store.WriteWhole.
func (r *remembered) rows(fresh []store.SymbolState) [][]*store.SymbolState {
	rows := make([][]*store.SymbolState, 0, min(len(fresh), len(r.states)))
	if !r.whole || len(fresh) < fewestShared || len(fresh) < len(r.states)/mostSpread {
		all := make([]*store.SymbolState, 0, cap(rows))
		for i := range fresh {
			if st := r.states[fresh[i].Symbol]; st != nil {
				all = append(all, st)
				rows = append(rows, all[len(all)-1:len(all):len(all)])
			}
		}
		return rows
	}
	var changed [store.Buckets]bool
	for i := range fresh {
		changed[store.Bucket(fresh[i].Symbol)] = true
	}
	var buckets [store.Buckets][]*store.SymbolState
	for symbol, st := range r.states {
		if b := store.Bucket(symbol); changed[b] {
			buckets[b] = append(buckets[b], st)
		}
	}
	for _, bucket := range buckets {
		if len(bucket) > 0 {
			rows = append(rows, bucket)
		}
	}
	return rows
}
