package delivery

import (
	"testing"
	"testing/synctest"
	"time"

	"ticktape/connectors/kafka/subscription"
	"ticktape/internal/trigger"
)

// come lets a record come, as fill does.
func (b *batcher) come(offset int64) {
	b.mu.Lock()
	b.filling.Append(&trigger.Record{Offset: offset, Value: []byte("tick")})
	b.filling.next = offset + 1
	b.mu.Unlock()
	signal(b.changed)
}

func TestRecordsWaitForOthersOnlyWhereCallsWouldComeTooClose(t *testing.T) {
	const wait = 50 * time.Millisecond
	// In a bubble time passes only while all wait for it: sleeps cost none, and the
	// times are exact.
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(1000, func() int { return 1 << 20 }, wait, alignment{}, 0, func() *trigger.Encoder {
			return trigger.NewEncoder(trigger.Protobuf, "ticks", [16]byte{1}, 0)
		})
		begun, done := time.Now(), int64(0)
		expect := func(what string, at time.Duration, records int) {
			t.Helper()
			got := b.take(t.Context(), done)
			if since := time.Since(begun); since != at || got.Len() != records {
				t.Errorf("%s: a batch of %d records after %v, want %d after %v", what, got.Len(), since, records, at)
			}
			done = got.next
			b.put(got)
		}
		b.come(0)
		expect("a record that comes alone", 0, 1)
		b.come(1)
		time.Sleep(10 * time.Millisecond)
		b.come(2)
		expect("two that come soon after", wait, 2)
		time.Sleep(wait + 20*time.Millisecond)
		b.come(3)
		expect("one after a pause", 2*wait+20*time.Millisecond, 1)
		go func() {
			time.Sleep(5 * time.Millisecond)
			b.come(4)
		}()
		expect("one that was waited for", 3*wait+20*time.Millisecond, 1)
	})
}

// TestTheNextFetchComesShortlyBeforeTheNextBatch has a wait of which an eighth is
// 10 ms, and another that is longer than any pause. Its sleeps are in a bubble, too.
func TestTheNextFetchComesShortlyBeforeTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := func(wait time.Duration) *partition {
			b := newBatcher(1000, func() int { return 1 << 20 }, wait, alignment{}, 0, func() *trigger.Encoder {
				return trigger.NewEncoder(trigger.Protobuf, "ticks", [16]byte{1}, 0)
			})
			return &partition{batcher: b, sub: &subscription.Subscription{MaxWait: wait}}
		}
		p := start(80 * time.Millisecond)
		expect := func(what string, p *partition, want time.Duration) {
			t.Helper()
			if got := p.pause(); got != want {
				t.Errorf("%s: a pause of %v, want %v", what, got, want)
			}
		}
		expect("before the first batch, which goes at once", p, 70*time.Millisecond)
		p.batcher.come(0)
		p.batcher.put(p.batcher.take(t.Context(), 0))
		expect("just after a batch", p, 70*time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		expect("some time after", p, 20*time.Millisecond)
		time.Sleep(25 * time.Millisecond)
		expect("shortly before the next, which is taken without another fetch", p, 70*time.Millisecond)
		time.Sleep(time.Hour)
		expect("long after", p, 70*time.Millisecond)
		expect("a batch that may wait long", start(time.Minute), mostPause)
		expect("batches that don't wait", start(0), 0)
	})
}
