package history

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

// BenchmarkPersistIntoCassandra stores batches of four partitions side by side,
// as the connector delivers them.
func BenchmarkPersistIntoCassandra(b *testing.B) {
	for _, symbols := range []int{20, 500, 10_000} {
		b.Run(fmt.Sprintf("%d symbols", symbols), func(b *testing.B) {
			const partitions, size = 4, 50_000
			s := testbed.Store(b)
			w := New(s)
			batch := benchmarkBatch(b, tick.Protobuf, size, symbols/partitions)
			id := [16]byte{1}
			b.ReportAllocs()
			round := int64(0)
			for b.Loop() {
				var g errgroup.Group
				for p := range partitions {
					g.Go(func() error {
						part := &trigger.Batch{Topic: "ticks", TopicID: id, Partition: p, Records: make([]trigger.Record, size)}
						for i, r := range batch.Records {
							r.Offset += round * size
							part.Records[i] = r
						}
						_, err := w.Persist(b.Context(), part)
						return err
					})
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
				round++
			}
			b.ReportMetric(float64(b.N*partitions*size)/b.Elapsed().Seconds(), "ticks/s")
		})
	}
}
