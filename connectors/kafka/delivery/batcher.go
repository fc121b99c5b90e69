package delivery

import (
	"context"
	"sync"
	"time"

	"ticktape/internal/bus"
	"ticktape/internal/trigger"
)

// batcher collects the records of a partition into the next batch while the one
// before it is out. It holds two batches and no more: fill waits while the next
// one is full.
type batcher struct {
	maxRecords int
	maxBytes   func() int
	maxWait    time.Duration
	align      alignment
	encoder    func() *trigger.Encoder

	mu      sync.Mutex
	filling *batch
	spare   *batch    // nil while it is out
	last    time.Time // when the last batch with records was taken
	changed chan struct{}
	space   chan struct{}
}

// batch is a run of encoded records, and the offset at which the run ends: it may
// be past the last record, where the log has none for us in between.
type batch struct {
	*trigger.Encoder
	next int64
	full bool
	// dead is how many of its records went to the dead-letter topic, and why the first did.
	dead int
	why  string
}

func newBatcher(maxRecords int, maxBytes func() int, maxWait time.Duration, align alignment, start int64, encoder func() *trigger.Encoder) *batcher {
	return &batcher{
		maxRecords: maxRecords, maxBytes: maxBytes, maxWait: maxWait, align: align, encoder: encoder,
		filling: &batch{Encoder: encoder(), next: start},
		spare:   &batch{Encoder: encoder()},
		changed: make(chan struct{}, 1),
		space:   make(chan struct{}, 1),
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fill adds the records of a chunk. It returns when all are in, or with an error
// of the chunk, or of ctx.
func (b *batcher) fill(ctx context.Context, chunk *bus.Chunk, cursor *bus.Cursor) error {
	var r bus.Record
	var out trigger.Record
	held := false // r is read and not yet in
	for {
		done, err := b.fillSome(chunk, cursor, &r, &out, &held)
		signal(b.changed)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.space:
		}
	}
}

// fillSome adds records until the batch is full or the chunk at its end.
func (b *batcher) fillSome(chunk *bus.Chunk, cursor *bus.Cursor, r *bus.Record, out *trigger.Record, held *bool) (done bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, maxBytes := b.filling, b.maxBytes()
	for {
		if !*held {
			if *held, err = chunk.Next(r); !*held {
				if err == nil {
					f.next = cursor.Next()
				}
				return true, err
			}
		}
		n := f.Len()
		size := recordSize(r)
		if n >= b.maxRecords || n > 0 && f.Size()+size > maxBytes {
			f.full = true
			return false, nil
		}
		out.Offset, out.Timestamp, out.LogTime, out.Key, out.Value = r.Offset, r.Timestamp, r.LogTime, r.Key, r.Value
		out.Headers = out.Headers[:0]
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, trigger.Header(h))
		}
		f.Append(out)
		f.next = r.Offset + 1
		f.full = n+1 >= b.maxRecords || f.Size() >= maxBytes
		*held = false
	}
}

// recordSize is about what a record takes in a batch.
func recordSize(r *bus.Record) int {
	n := 24 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	return n
}

// take waits for the next batch and hands it out: as soon as it is full, or has
// records and maxWait has passed since the batch before it was taken, or, where
// it has no records, as soon as it is known that there are none up to an offset
// past done. So a record that comes alone waits for nothing, and however many
// come one by one, calls are no closer together than maxWait. It returns nil
// when ctx is done. The batch is to be put back.
func (b *batcher) take(ctx context.Context, done int64) *batch {
	for {
		b.mu.Lock()
		f := b.filling
		var wait time.Duration
		switch {
		case f.full:
		case f.Len() > 0:
			wait = time.Until(b.last.Add(b.maxWait))
		case f.next > done:
		default:
			wait = time.Hour
		}
		if wait <= 0 {
			b.filling, b.spare = b.spare, nil
			b.filling.next = f.next
			if f.full {
				b.split(f)
			}
			if f.Len() > 0 {
				b.last = time.Now()
			}
			b.mu.Unlock()
			signal(b.space)
			return f
		}
		b.mu.Unlock()
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-b.changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// split leaves what is behind the place where the full batch f should end to the next.
func (b *batcher) split(f *batch) {
	n := b.align.cut(f.Encoder)
	if n == f.Len() {
		return
	}
	f.next = f.Offset(n)
	f.Move(n, b.filling.Encoder)
}

// due is when a batch that is not full may be taken; in the past, it is as soon as
// it has records.
func (b *batcher) due() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last.Add(b.maxWait)
}

// put gives back the batch that take gave.
func (b *batcher) put(done *batch) {
	done.Reset()
	if done.Cap() > 2*b.maxBytes() { // of a large record, or from when there was more room
		done.Encoder = b.encoder()
	}
	*done = batch{Encoder: done.Encoder}
	b.mu.Lock()
	b.spare = done
	b.mu.Unlock()
}
