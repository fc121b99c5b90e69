package delivery

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"ticktape/connectors/kafka/subscription"
	"ticktape/internal/trigger"
)

func TestAFullBatchEndsWhereASpanOfTimeDoes(t *testing.T) {
	told := 0
	by := func(span time.Duration, field string) alignment {
		return alignment{span, subscription.Clock{Name: field}, func(int64) { told++ }}
	}
	minutes := by(time.Minute, "at")
	for _, c := range []struct {
		name    string
		align   alignment
		minutes []int
		want    int
	}{
		{"one span", minutes, []int{5, 5, 5, 5}, 4},
		{"two, the border in the second half", minutes, []int{5, 5, 5, 6}, 3},
		{"two, the border in the first half", minutes, []int{5, 6, 6, 6, 6}, 5},
		{"the border in the middle leaves half, which is too little", minutes, []int{5, 5, 6, 6}, 4},
		{"several, the last border counts", minutes, []int{1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9}, 9},
		{"a latecomer at the end", minutes, []int{5, 5, 5, 6, 6, 5}, 6},
		{"a latecomer behind the border, where the search looks", minutes, []int{5, 5, 5, 5, 6, 5, 6, 6}, 6},
		{"one record", minutes, []int{5}, 1},
		{"a latecomer at the end of a second span", minutes, []int{5, 5, 5, 5, 5, 6, 6, 5}, 5},
		{"no spans asked for", by(0, "at"), []int{5, 5, 5, 6}, 4},
		{"times that are not there", by(time.Minute, "on"), []int{5, 5, 5, 6}, 4},
	} {
		for name, f := range map[string]trigger.Format{"protobuf": trigger.Protobuf, "json": trigger.JSON} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				e := trigger.NewEncoder(f, "ticks", [16]byte{1}, 0)
				for i, m := range c.minutes {
					e.Append(&trigger.Record{Offset: int64(i), Value: []byte(`{"at": ` + strconv.Itoa(m*60_000+i) + `}`)})
				}
				if got := c.align.cut(e); got != c.want {
					t.Errorf("%d of %d records go, want %d", got, len(c.minutes), c.want)
				}
				if want := strings.Contains(c.name, "not there"); (told > 0) != want {
					t.Errorf("it was told that there are no times: %v, want %v", told > 0, want)
				}
				told = 0
			})
		}
	}
}

// TestWhatIsBehindTheEndOfABatchComesFirstInTheNext has an offset without a record
// where a batch is cut, as in a log that was compacted.
func TestWhatIsBehindTheEndOfABatchComesFirstInTheNext(t *testing.T) {
	b := newBatcher(1000, func() int { return 1 << 20 }, time.Hour, alignment{span: time.Minute}, 0, func() *trigger.Encoder {
		return trigger.NewEncoder(trigger.Protobuf, "ticks", [16]byte{1}, 0)
	})
	come := func(offset int64, minute int) {
		b.filling.Append(&trigger.Record{Offset: offset, Timestamp: int64(minute) * 60_000, Value: []byte("tick")})
		b.filling.next = offset + 1
	}
	expect := func(first, last, next int64) {
		t.Helper()
		got := b.take(t.Context(), 0)
		if got.Offset(0) != first || got.Offset(got.Len()-1) != last || got.next != next {
			t.Errorf("a batch from %d to %d and then %d, want from %d to %d and then %d", got.Offset(0), got.Offset(got.Len()-1), got.next, first, last, next)
		}
		b.put(got)
	}
	for i, minute := range []int{1, 1, 1, 1, 2} {
		come([]int64{0, 1, 2, 3, 7}[i], minute)
	}
	b.filling.next, b.filling.full = 9, true
	expect(0, 3, 7)
	if b.filling.Len() != 1 || b.filling.next != 9 || b.filling.full {
		t.Errorf("the next has %d records, then comes %d, full %v", b.filling.Len(), b.filling.next, b.filling.full)
	}
	come(9, 2)
	come(10, 2)
	b.filling.full = true
	expect(7, 10, 11)
	if b.filling.Len() != 0 || b.filling.next != 11 {
		t.Errorf("the next has %d records, then comes %d", b.filling.Len(), b.filling.next)
	}
}
