package store_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"ticktape/internal/store"
)

// testClaims is a part of TestWindows.
func testClaims(t *testing.T, s *store.Store) {
	type call struct {
		first, next int64
		fresh       bool
		ends        bool // well
	}
	log := int32(1 << 20)
	for name, calls := range map[string][]call{
		"records that follow a call that ended well are fresh": {
			{10, 20, false, true}, // nothing is known of what was before
			{20, 25, true, true},
			{25, 26, true, true},
		},
		"records that a call may have had are not, whatever its ends were": {
			{0, 10, false, true},
			{10, 20, true, false},
			{10, 20, false, false},
			{10, 15, false, true},
			{15, 20, false, true},
			{20, 30, true, true},
		},
		"records behind a call that is lost are not, since its writes may be under way": {
			{0, 10, false, true},
			{10, 20, true, false},
			{20, 30, false, true},
			{30, 31, true, true},
		},
		"records behind a gap are not, since somebody else may have had what is missing": {
			{0, 10, false, true},
			{11, 20, false, true},
		},
		"records that come again after offsets were set back are not": {
			{0, 100, false, true},
			{40, 60, false, true},
			{60, 80, false, true},
			{80, 120, false, true},
			{120, 121, true, true},
		},
	} {
		log++
		t.Run(name, func(t *testing.T) {
			for _, c := range calls {
				if fresh, err := s.Claim(t.Context(), log, c.first, c.next); err != nil || fresh != c.fresh {
					t.Fatalf("claim of %d to %d: fresh %v, %v; want %v", c.first, c.next, fresh, err, c.fresh)
				}
				if !c.ends {
					continue
				}
				if err := s.Settle(t.Context(), log, c.next); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Run("of calls that claim the same records at one time, at most one is told that they are fresh", func(t *testing.T) {
		log++
		if _, err := s.Claim(t.Context(), log, 0, 5); err != nil {
			t.Fatal(err)
		}
		if err := s.Settle(t.Context(), log, 5); err != nil {
			t.Fatal(err)
		}
		var told, lost atomic.Int32
		var calls sync.WaitGroup
		for i := range int64(4) {
			calls.Go(func() {
				fresh, err := s.Claim(t.Context(), log, 5, 10+i)
				switch {
				case err != nil: // rivals may keep each other from an end
					lost.Add(1)
				case fresh:
					told.Add(1)
				}
			})
		}
		calls.Wait()
		if told.Load() > 1 || told.Load() == 0 && lost.Load() == 0 {
			t.Errorf("%d of 4 calls were told that the records are fresh, and %d failed", told.Load(), lost.Load())
		}
	})
}
