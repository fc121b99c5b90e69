package live_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/live"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
)

type nowhere struct{}

func (nowhere) Publish(context.Context, []kafka.Message) error { return nil }

// BenchmarkProcess is a batch from one end to the other, on a real Cassandra,
// without Kafka: 20,000 ticks of 500 symbols in one window.
func BenchmarkProcess(b *testing.B) {
	const n, symbols = 20_000, 500
	tp := newTape()
	for i := range n {
		tp.add(trade(fmt.Sprintf("SYM%d", i%symbols), minute+int64(i), tick.Price(i+1), int64(i)), tick.Protobuf)
	}
	p := &live.Processor{Store: testbed.Store(b), Windows: nowhere{}}
	batch := tp.all()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Process(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		for i := range batch.Records { // the next of the log
			batch.Records[i].Offset += n
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "ticks/s")
}
