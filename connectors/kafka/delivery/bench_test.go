package delivery_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/testbed"
)

// BenchmarkDeliver measures how fast a backlog of ticks gets to a function that
// does nothing with it, and what that costs this process, which is both of them.
func BenchmarkDeliver(b *testing.B) {
	for _, format := range []string{"protobuf", "json"} {
		b.Run(format, func(b *testing.B) {
			const partitions, records = 12, 1_000_000
			r := newRig(b, partitions)
			backlog(b, r, records)
			b.ResetTimer()
			for i := range b.N {
				name := fmt.Sprintf("%s%d", format, i)
				r.gw.Deploy(name, r.annotations("kafka.group", r.topic+name, "kafka.batch", format, "kafka.batch.max-records", "100000", "kafka.batch.max-bytes", "7MiB"), func(_ http.ResponseWriter, req *http.Request) {
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						panic(http.ErrAbortHandler)
					}
				})
				var before, after syscall.Rusage
				if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				k := r.start()
				testbed.Eventually(b, 2*time.Minute, "all is committed", func() bool { return r.sum(r.topic+name) == records })
				took := time.Since(start)
				if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
					b.Fatal(err)
				}
				k.stop()
				r.gw.Remove(name)
				cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
				b.ReportMetric(records/took.Seconds(), "records/s")
				b.ReportMetric(float64(cpu.Nanoseconds())/records, "cpu-ns/record")
			}
		})
	}
}

// BenchmarkLatency measures how long a single record of an idle topic takes from
// its publication to the function's call, with a max-wait of 10 ms.
func BenchmarkLatency(b *testing.B) {
	r := newRig(b, 12)
	called := make(chan struct{}, 1)
	r.gw.Deploy("latency", r.annotations(), func(_ http.ResponseWriter, req *http.Request) {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		called <- struct{}{}
	})
	k := r.start()
	testbed.Eventually(b, patience, "the partitions are assigned", func() bool { return k.assigned(b) == 12 })
	p := r.bus.Producer(r.topic)
	for i := 0; b.Loop(); i++ {
		if err := p.Publish(b.Context(), []kafka.Message{{Key: fmt.Append(nil, i)}}); err != nil {
			b.Fatal(err)
		}
		<-called
	}
}

func backlog(b *testing.B, r *rig, n int) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := r.bus.Producer(r.topic)
	const chunk = 50_000
	for i := 0; i < n; i += chunk {
		msgs := make([]kafka.Message, chunk)
		for j := range msgs {
			symbol := fmt.Sprintf("SYM%d", rng.IntN(500))
			value := make([]byte, 60)
			copy(value, symbol)
			for k := 40; k < 52; k++ {
				value[k] = byte(rng.Uint32())
			}
			msgs[j] = kafka.Message{Key: []byte(symbol), Value: value}
		}
		if err := p.Publish(b.Context(), msgs); err != nil {
			b.Fatal(err)
		}
	}
}
