package live

import (
	"math"
	"testing"

	"ticktape/internal/tick"
)

func TestDecodingAndAddingUpAllocateNothingForATick(t *testing.T) {
	for _, e := range []tick.Encoding{tick.Protobuf, tick.JSON} {
		t.Run(e.ContentType(), func(t *testing.T) {
			const n, tries = 20_000, 10
			records := batchOf(t, n, 500, e)
			least := math.Inf(1)
			// Another test may have the memory that is kept.
			for range tries {
				least = min(least, testing.AllocsPerRun(1, func() {
					g := groupings.Get()
					g.group(records, 65536)
					if len(g.windows) != 2 || g.failures != nil {
						t.Fatalf("%d windows, failures %v", len(g.windows), g.failures)
					}
					g.release()
				}))
			}
			if least > n/1000 {
				t.Errorf("a batch of %d ticks allocates %v times", n, least)
			}
		})
	}
}
