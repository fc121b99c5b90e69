// Package reuse keeps large working memory for its next use, across garbage
// collections too, which empty a sync.Pool. What a batch of a hundred thousand
// records takes would otherwise be allocated, grown and cleared anew after each.
//
// It is not for small things or those that many callers need at once: a sync.Pool
// does better there.
package reuse

// List holds values that nobody uses, up to a number of them. It is safe for
// concurrent use.
type List[T any] struct {
	idle  chan *T
	fresh func() *T
}

// New makes a list that keeps at most n values; fresh makes one where none is idle.
func New[T any](n int, fresh func() *T) *List[T] {
	return &List[T]{idle: make(chan *T, n), fresh: fresh}
}

// Get returns a value that nobody else uses, as it was put back.
func (l *List[T]) Get() *T {
	select {
	case v := <-l.idle:
		return v
	default:
		return l.fresh()
	}
}

// Put gives a value back, which the caller must not use any more. It is dropped
// where the list is full.
func (l *List[T]) Put(v *T) {
	select {
	case l.idle <- v:
	default:
	}
}
