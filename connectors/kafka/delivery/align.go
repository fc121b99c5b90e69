package delivery

import (
	"math"
	"sort"
	"time"

	"ticktape/connectors/kafka/subscription"
	"ticktape/internal/trigger"
)

// alignment says where full batches should end: where one span of time is over and
// the next begins, which saves a function that keeps something for each span from
// doing it for two in one batch, and for each in two.
type alignment struct {
	span  time.Duration // 0 for none
	clock subscription.Clock
	// timeless is called where no time is found.
	timeless func(first int64)
}

// cut returns how many of a full batch's records go with it: those before the last
// such place in its second half, and else all. It looks at few of them, so it takes
// their times for ascending; where they are not, a batch may end elsewhere, which is
// never wrong.
func (a alignment) cut(e *trigger.Encoder) int {
	n := e.Len()
	if a.span == 0 || n < 2 {
		return n
	}
	const none = math.MinInt64
	last := int64(none)
	for i := max(n-lastFew, 0); i < n; i++ {
		if span, ok := a.spanOf(e, i); ok {
			last = max(last, span)
		}
	}
	if last == none {
		a.timeless(e.Offset(0))
		return n
	}
	half := n / 2
	at := half + sort.Search(n-half, func(i int) bool {
		span, ok := a.spanOf(e, half+i)
		return ok && span >= last
	})
	if at == half { // all of the second half is of one span
		return n
	}
	return at
}

// lastFew records tell which span is the last: one by itself may be late.
const lastFew = 8

// spanOf returns the number of the span that record i is in.
func (a alignment) spanOf(e *trigger.Encoder, i int) (n int64, ok bool) {
	r, err := e.Record(i)
	if err != nil { // it is told when the record is needed
		return 0, false
	}
	ms, ok := a.clock.Time(&r)
	return ms / a.span.Milliseconds(), ok
}
