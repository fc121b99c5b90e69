package chunk

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ticktape/internal/tick"
)

// dense is a symbol's ticks of one batch as a busy market makes them.
func dense(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		at := int64(1_700_000_040_000) + int64(i)*40
		records[i] = Record{Offset: 5_000_000 + int64(i)*7, LogTime: at + 5, Tick: tick.Tick{
			Symbol: "AAPL", EventTime: at, Price: tick.Price(18_744_000_000 + int64(i%13-6)*1_000_000), Size: int64(i%40+1) * 25, Seq: int64(i),
			DayVolume: 48_000_000 + int64(i)*300, PreviousClose: 18_650_000_000, Currency: "USD", Exchange: "NMS",
			MarketState: tick.MarketRegular, Source: tick.SourceSimulated, ReceivedTime: at + 3,
		}}
	}
	return records
}

func TestChunksAreWrittenAndReadAgainWithoutAllocatingForATick(t *testing.T) {
	records := dense(1000)
	var b Builder
	var stored, summary []byte
	write := func() {
		b.Reset("AAPL")
		for i := range records {
			b.Add(&records[i])
		}
		s := b.Summary()
		summary = s.Append(summary[:0])
		stored = b.Append(stored[:0])
	}
	// What there is for a chunk, such as the first text of each kind, is not for a tick.
	const few = 20
	if n := testing.AllocsPerRun(10, write); n > few {
		t.Errorf("writing 1,000 ticks allocates %v times", n)
	}
	var d Decoder
	var back []Record
	if n := testing.AllocsPerRun(10, func() {
		var err error
		if back, err = d.Decode(back[:0], stored); err != nil {
			t.Fatal(err)
		}
	}); n > few {
		t.Errorf("reading 1,000 ticks allocates %v times", n)
	}
}

// BenchmarkBuildOfBatches makes all chunks of large batches by turns, whose records
// no cache holds.
func BenchmarkBuildOfBatches(b *testing.B) {
	for _, symbols := range []int{125, 2500} {
		b.Run(fmt.Sprintf("%d symbols", symbols), func(b *testing.B) {
			const size = 66_000
			batches := [8][]Record{}
			for i := range batches {
				batches[i] = dense(size)
			}
			orders := make([][]int32, symbols)
			for i, rng := int32(0), rand.New(rand.NewPCG(1, 2)); i < size; i++ {
				n := rng.IntN(symbols)
				orders[n] = append(orders[n], i)
			}
			var builder Builder
			var stored []byte
			batch := 0
			for b.Loop() {
				for _, order := range orders {
					builder.Reset("AAPL")
					builder.AddAll(batches[batch%len(batches)], order)
					stored = builder.Append(stored[:0])
				}
				batch++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/tick")
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	records := dense(1000)
	var builder Builder
	var stored, summary []byte
	b.ReportAllocs()
	for b.Loop() {
		builder.Reset("AAPL")
		for i := range records {
			builder.Add(&records[i])
		}
		s := builder.Summary()
		summary = s.Append(summary[:0])
		stored = builder.Append(stored[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/tick")
	b.ReportMetric(float64(len(stored))/float64(len(records)), "bytes/tick")
}

func BenchmarkDecode(b *testing.B) {
	records := dense(1000)
	_, stored := build(records)
	var d Decoder
	var back []Record
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if back, err = d.Decode(back[:0], stored); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/tick")
}
