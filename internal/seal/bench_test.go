package seal

import (
	"fmt"
	"testing"
	"time"

	"ticktape/internal/testbed"
	"ticktape/internal/tick"
)

// BenchmarkWindow seals a minute of 500 symbols that trade ten times a second, fed
// by four partitions in batches of a second.
func BenchmarkWindow(b *testing.B) {
	const partitions, symbols, seconds, perSecond = 4, 500, 60, 10
	s := testbed.Store(b)
	w := newWorld(b, s, partitions, begin)
	round := 0
	for b.Loop() {
		b.StopTimer()
		at := begin.Add(time.Duration(round) * time.Minute)
		round++
		for second := range seconds {
			for p := range partitions {
				var ticks []tick.Tick
				for n := range symbols / partitions * perSecond {
					at := at.Add(time.Duration(second)*time.Second + time.Duration(n)*time.Second/(symbols/partitions*perSecond))
					ticks = append(ticks, trade(fmt.Sprintf("S%d-%d", p, n%(symbols/partitions)), at, int64(100+n%7), 10, int64(n)))
				}
				w.publish(p, at.Add(time.Duration(second)*time.Second), ticks...)
			}
			w.catchUp("process", "persist")
		}
		w.truth = nil
		w.now = at.Add(2 * time.Minute)
		b.StartTimer()
		if r := w.seal(); r.Candles != symbols || r.Audited != symbols || r.Differences != 0 {
			b.Fatalf("%+v", r)
		}
	}
	b.ReportMetric(symbols*seconds*perSecond*float64(b.N)/b.Elapsed().Seconds(), "ticks/s")
}
