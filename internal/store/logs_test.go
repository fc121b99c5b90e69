package store_test

import (
	"math"
	"testing"

	"ticktape/internal/store"
)

func TestNoTwoLogsShareANumber(t *testing.T) {
	seen := map[int32]bool{}
	for _, incarnation := range []int32{0, 1, 2, 1<<15 - 1} {
		for _, partition := range []int{0, 1, 11, 1<<16 - 1} {
			log := store.Log(incarnation, partition)
			if log < 0 || seen[log] {
				t.Errorf("incarnation %d, partition %d has the number %d, which is another's", incarnation, partition, log)
			}
			seen[log] = true
		}
	}
	for _, c := range []struct {
		incarnation int32
		partition   int
	}{{1, 1 << 16}, {1, -1}, {1 << 15, 0}, {-1, 0}, {1, math.MaxInt}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("incarnation %d, partition %d has a number", c.incarnation, c.partition)
				}
			}()
			store.Log(c.incarnation, c.partition)
		}()
	}
}
