package store_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
)

func TestOpenOnceMoreFindsWhatIsThere(t *testing.T) {
	cfg := testbed.Cassandra(t)
	var numbers [2]int32
	for i := range numbers {
		s, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		numbers[i], err = s.Incarnation(t.Context(), "ticks", [16]byte{7})
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	if numbers[0] != numbers[1] {
		t.Errorf("the incarnation was %d, then %d", numbers[0], numbers[1])
	}
}

// TestOpenAddsWhatAnEarlierVersionLacks opens tables without the newest column, by
// several at once, as functions start.
func TestOpenAddsWhatAnEarlierVersionLacks(t *testing.T) {
	cfg := testbed.Cassandra(t)
	first, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	session := testbed.Session(t, cfg)
	must(t, session.Query("DROP TABLE window_registers").Exec())
	must(t, session.Query("CREATE TABLE window_registers (window_start timestamp, log int, symbol text, open blob, high blob, low blob, close blob, "+
		"PRIMARY KEY ((window_start, log), symbol))").Exec())
	var stores [4]*store.Store
	var opens errgroup.Group
	for i := range stores {
		opens.Go(func() (err error) {
			stores[i], err = store.Open(t.Context(), cfg)
			return err
		})
	}
	must(t, opens.Wait())
	w, s := own(), stores[0]
	both := []store.SymbolState{record("NEW", 2, 1, 7, 1), record("OLD", 1, 0, 5, 1)}
	must(t, s.WriteRegisters(t.Context(), w, both[1:]))
	must(t, s.WriteWhole(t.Context(), w, 2, [][]*store.SymbolState{{&both[0]}}))
	must(t, s.Count(t.Context(), w, 0, 2, both))
	if _, got := read(t, s, w, nil); !cmp.Equal(both, got) {
		t.Errorf("read %v, want %v", got, both)
	}
	for _, s := range stores {
		s.Close()
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	cfg := testbed.Cassandra(t)
	cfg.Hosts = []string{"127.0.0.1:1"}
	if _, err := store.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("nobody listens, and the error is %v", err)
	}
	cfg.Hosts = []string{"127.0.0.1:cql"}
	if _, err := store.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "CASSANDRA_HOSTS") {
		t.Errorf("the port is no number, and the error is %v", err)
	}
}

// Callers race for numbers as functions do that start side by side: each topic
// gets one number, whoever asks, and no two topics share one.
func TestIncarnationsAreNumberedOnce(t *testing.T) {
	cfg := testbed.Cassandra(t)
	const topics, callers = 4, 3
	var got [callers][topics]int32
	first, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			s, err := store.Open(t.Context(), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for i := range topics {
				if got[c][i], err = s.Incarnation(t.Context(), "ticks", [16]byte{1, byte(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for c := range callers {
		if got[c] != got[0] {
			t.Errorf("callers see %v and %v", got[0], got[c])
		}
	}
	numbers := slices.Clone(got[0][:])
	slices.Sort(numbers)
	if len(slices.Compact(numbers)) != topics || numbers[0] < 1 {
		t.Errorf("%d topics got numbers %v", topics, got[0])
	}
	if _, err := first.Incarnation(t.Context(), "ticks", [16]byte{}); err == nil {
		t.Error("a topic without an id got a number")
	}
}
