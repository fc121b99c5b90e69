package live

import (
	"fmt"
	"testing"

	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

// batchOf makes n records of the given number of symbols within two minutes.
func batchOf(b testing.TB, n, symbols int, e tick.Encoding) []trigger.Record {
	records := make([]trigger.Record, n)
	for i := range records {
		at := int64(1_700_000_040_000) + int64(i)*120_000/int64(n)
		t := tick.Tick{
			Symbol: fmt.Sprintf("SYM%d", i%symbols), EventTime: at, Price: tick.Price(18_744_000_000 + i*1000), Size: int64(i % 300), Seq: int64(i),
			Currency: "USD", Exchange: "NMS", MarketState: tick.MarketRegular, Source: tick.SourceSimulated, ReceivedTime: at + 3,
		}
		value, err := e.Append(nil, &t)
		if err != nil {
			b.Fatal(err)
		}
		records[i] = trigger.Record{
			Offset: int64(i), Timestamp: at + 5, Key: []byte(t.Symbol), Value: value,
			Headers: []trigger.Header{{Key: "content-type", Value: []byte(e.ContentType())}},
		}
	}
	return records
}

// BenchmarkGroup is what a tick costs in process besides its share of a batch's
// requests: decoding and adding up. It must not allocate.
func BenchmarkGroup(b *testing.B) {
	for _, c := range []struct {
		name    string
		symbols int
		e       tick.Encoding
	}{
		{"500 symbols, Protobuf", 500, tick.Protobuf},
		{"10000 symbols, Protobuf", 10_000, tick.Protobuf},
		{"500 symbols, JSON", 500, tick.JSON},
	} {
		b.Run(c.name, func(b *testing.B) {
			const n = 20_000
			records := batchOf(b, n, c.symbols, c.e)
			b.ReportAllocs()
			for b.Loop() {
				g := groupings.Get()
				g.group(records, 65536)
				if len(g.windows) != 2 || g.failures != nil {
					b.Fatalf("%d windows, failures %v", len(g.windows), g.failures)
				}
				g.release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/tick")
		})
	}
}
