package store_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"ticktape/internal/testbed"
)

func TestClaims(t *testing.T) {
	s := testbed.Store(t)
	log := int32(0)
	for name, part := range map[string]func(t *testing.T, claim func(first, next int64, want bool), settle func(next int64)){
		"records that follow a call that ended well are fresh": func(t *testing.T, claim func(first, next int64, want bool), settle func(next int64)) {
			claim(10, 20, false) // nothing is known of what was before
			settle(20)
			claim(20, 25, true)
			settle(25)
			claim(25, 26, true)
		},
		"records that a call may have had are not, whatever its ends were": func(t *testing.T, claim func(first, next int64, want bool), settle func(next int64)) {
			claim(0, 10, false)
			settle(10)
			claim(10, 20, true) // and is lost
			claim(10, 20, false)
			claim(10, 15, false)
			settle(15)
			claim(15, 20, false)
			settle(20)
			claim(20, 30, true)
		},
		"records behind a call that is lost are not, since its writes may be under way": func(t *testing.T, claim func(first, next int64, want bool), settle func(next int64)) {
			claim(0, 10, false)
			settle(10)
			claim(10, 20, true) // and is given up
			claim(20, 30, false)
			settle(30)
			claim(30, 31, true)
		},
		"records behind a gap are not, since somebody else may have had what is missing": func(t *testing.T, claim func(first, next int64, want bool), settle func(next int64)) {
			claim(0, 10, false)
			settle(10)
			claim(11, 20, false)
		},
		"records that come again after offsets were set back are not": func(t *testing.T, claim func(first, next int64, want bool), settle func(next int64)) {
			claim(0, 100, false)
			settle(100)
			claim(40, 60, false)
			settle(60)
			claim(60, 80, false)
			settle(80)
			claim(80, 120, false)
			settle(120)
			claim(120, 121, true)
		},
	} {
		log++
		t.Run(name, func(t *testing.T) {
			part(t, func(first, next int64, want bool) {
				t.Helper()
				if fresh, err := s.Claim(t.Context(), log, first, next); err != nil || fresh != want {
					t.Fatalf("claim of %d to %d: fresh %v, %v; want %v", first, next, fresh, err, want)
				}
			}, func(next int64) {
				t.Helper()
				if err := s.Settle(t.Context(), log, next); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
	t.Run("of calls that claim the same records at one time, one is told that they are fresh", func(t *testing.T) {
		const log = 1000
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
