package delivery

import "sync/atomic"

// budget divides the memory for batches among the partitions that there are, so
// that it is bounded however many functions ask for however large batches.
type budget struct {
	bytes      int
	partitions atomic.Int64
}

// leastShare lets batches stay batches where partitions are very many.
const leastShare = 64 << 10

// share is how many bytes a batch may have; a partition has two.
func (b *budget) share() int {
	return max(leastShare, b.bytes/int(2*max(1, b.partitions.Load())))
}
