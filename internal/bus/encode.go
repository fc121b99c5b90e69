package bus

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

// The places in the head of a record batch, version 2.
const (
	batchLength = 8 // of what follows it
	batchCRC    = 17
	batchHead   = 61
)

// batchEncoder makes record batches, one after the other, in memory that it
// uses again.
type batchEncoder struct {
	out   []byte // the batch
	plain []byte // its records before they are compressed
}

// encode returns the messages at the given places as one record batch, compressed
// with lz4. It is good until the next call.
func (e *batchEncoder) encode(msgs []kafka.Message, run []int32) ([]byte, error) {
	now := time.Now()
	timestamp := func(i int32) int64 {
		if t := msgs[i].Time; !t.IsZero() {
			return t.UnixMilli()
		}
		return now.UnixMilli()
	}
	first := timestamp(run[0])
	latest := first
	e.plain = e.plain[:0]
	for n, i := range run {
		t := timestamp(i)
		latest = max(latest, t)
		e.plain = appendRecord(e.plain, &msgs[i], t-first, int64(n))
	}

	w := wbuf(e.out[:0])
	w.int64(0)  // base offset, which the broker fills in
	w.int32(0)  // length
	w.int32(-1) // leader epoch
	w.int8(2)   // format
	w.int32(0)  // checksum
	w.int16(int16(compress.Lz4))
	w.int32(int32(len(run) - 1)) // last offset, after the base
	w.int64(first)
	w.int64(latest)
	w.int64(-1) // producer id: these are not idempotent writes
	w.int16(-1)
	w.int32(-1)
	w.int32(int32(len(run)))
	out := appender{w}
	z := compress.Lz4.Codec().NewWriter(&out)
	_, err := z.Write(e.plain)
	if closed := z.Close(); err == nil {
		err = closed
	}
	e.out = out.b
	if err != nil {
		return nil, fmt.Errorf("compress %d records: %w", len(run), err)
	}
	b := e.out
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchLength-4))
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchCRC+4:], castagnoli))
	return b, nil
}

// appender is a slice to write to.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func appendRecord(dst []byte, m *kafka.Message, sinceFirst, offset int64) []byte {
	size := 1 + varintSize(sinceFirst) + varintSize(offset) + varbytesSize(m.Key) + varbytesSize(m.Value) + varintSize(int64(len(m.Headers)))
	for i := range m.Headers {
		h := &m.Headers[i]
		size += varintSize(int64(len(h.Key))) + len(h.Key) + varbytesSize(h.Value)
	}
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, 0) // attributes
	dst = binary.AppendVarint(dst, sinceFirst)
	dst = binary.AppendVarint(dst, offset)
	dst = appendVarbytes(dst, m.Key)
	dst = appendVarbytes(dst, m.Value)
	dst = binary.AppendVarint(dst, int64(len(m.Headers)))
	for i := range m.Headers {
		h := &m.Headers[i]
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendVarbytes(dst, h.Value)
	}
	return dst
}

// appendVarbytes writes bytes with their length before them, or -1 where there
// are none, which is something else than empty ones.
func appendVarbytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func varbytesSize(b []byte) int { return varintSize(int64(len(b))) + len(b) } // -1 is as long as 0

// varintSize is how many bytes a zigzag number takes.
func varintSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
