package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

// Record is one record as it came off the wire. Its bytes are good until the
// next call of the Chunk or Cursor that gave it.
type Record struct {
	Offset int64
	// Timestamp is in milliseconds since the Unix epoch: when Kafka wrote the
	// record where LogTime is true, else what the producer said.
	Timestamp int64
	LogTime   bool
	// Key and Value are nil where the record has none.
	Key, Value []byte
	Headers    []Header
}

// Header is one of a record's headers.
type Header struct {
	Key   string
	Value []byte
}

// ErrOutOfRange is wrapped by the error of a fetch whose offset the log does not
// have: the records were deleted before they were read, or the log was cut.
var ErrOutOfRange = errors.New("the log does not have this offset")

// Cursor reads one partition of one incarnation of a topic, from an offset
// onwards, many records at a time. Only committed records of transactions are
// read. It is not for concurrent use.
type Cursor struct {
	client    *Client
	topic     string
	id        [16]byte
	partition int
	leader    int32 // -1 where it is to be asked for

	next   int64
	answer []byte // what the last fetch answered
	plain  []byte // its present batch, decompressed
}

// Cursor makes a cursor at an offset of the incarnation that info describes.
func (c *Client) Cursor(topic string, info Info, partition int, offset int64) *Cursor {
	leader := int32(-1)
	if partition < len(info.leaders) {
		leader = info.leaders[partition]
	}
	return &Cursor{client: c, topic: topic, id: info.ID, partition: partition, leader: leader, next: offset}
}

// Next is the offset from which the next fetch reads: one past the last record
// of the last chunk that was read to its end.
func (c *Cursor) Next() int64 { return c.next }

// keepBuffers is the largest buffer that a cursor keeps from one fetch to the next.
const keepBuffers = 8 << 20

// Fetch waits until there is something to read, at most maxWait, and returns it.
// The chunk is empty where nothing came. It is about maxBytes long as it lies in
// the log, or as long as one batch of the log where that is longer.
//
// The error wraps ErrOutOfRange where the log does not have the offset, and
// ErrNoTopic where the incarnation is gone; after any other the same fetch may
// be tried again.
func (c *Cursor) Fetch(ctx context.Context, maxWait time.Duration, maxBytes int) (*Chunk, error) {
	if c.leader < 0 {
		if err := c.findLeader(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait+callTimeout)
	defer cancel()
	// Version 13 is the first that names the topic by its id.
	e := &exchange{key: protocol.Fetch, version: 13, broker: c.leader, body: c.request(maxWait, maxBytes)}
	if cap(c.answer) <= keepBuffers {
		e.answer = c.answer
	}
	c.answer = nil // the transport's until it has answered
	if cap(c.plain) > keepBuffers {
		c.plain = nil
	}
	r, err := c.client.do(ctx, e)
	if err != nil {
		c.leader = -1
		return nil, c.client.explain(fmt.Sprintf("fetch %s[%d]", c.topic, c.partition), err)
	}
	c.answer = e.answer
	chunk, err := c.response(&r)
	if err != nil {
		c.leader = -1
		return nil, fmt.Errorf("fetch %s[%d] from offset %d: %w", c.topic, c.partition, c.next, err)
	}
	return chunk, nil
}

func (c *Cursor) findLeader(ctx context.Context) error {
	info, err := c.client.TopicInfo(ctx, c.topic)
	if err != nil {
		return err
	}
	if info.ID != c.id || c.partition >= info.Partitions {
		return fmt.Errorf("topic %s with id %s: %w", c.topic, FormatID(c.id), ErrNoTopic)
	}
	c.leader = info.leaders[c.partition]
	if c.leader < 0 {
		return fmt.Errorf("fetch %s[%d]: %w", c.topic, c.partition, kafka.LeaderNotAvailable)
	}
	return nil
}

func (c *Cursor) request(maxWait time.Duration, maxBytes int) []byte {
	w := make(wbuf, 0, 128)
	w.int32(-1) // replica
	w.int32(int32(maxWait.Milliseconds()))
	w.int32(1) // min bytes
	w.int32(int32(maxBytes))
	w.int8(1)   // read committed
	w.int32(0)  // no session
	w.int32(-1) // nor will there be
	w.length(1)
	w = append(w, c.id[:]...)
	w.length(1)
	w.int32(int32(c.partition))
	w.int32(-1) // leader epoch
	w.int64(c.next)
	w.int32(-1) // last fetched epoch
	w.int64(-1) // log start offset
	w.int32(int32(maxBytes))
	w.noTags()
	w.noTags()
	w.length(0) // forgotten topics
	w.string("")
	w.noTags()
	return w
}

func (c *Cursor) response(r *rbuf) (*Chunk, error) {
	chunk := &Chunk{cursor: c}
	r.int32() // throttle time
	code := r.int16()
	r.int32() // session
	r.each(func() {
		r.take(16)
		r.each(func() {
			r.int32() // partition
			if p := r.int16(); p != 0 {
				code = p
			}
			r.int64() // high watermark, which is past records of open transactions
			chunk.End = r.int64()
			chunk.Start = r.int64()
			r.each(func() {
				chunk.aborted = append(chunk.aborted, aborted{r.int64(), r.int64()})
				r.tags()
			})
			r.int32() // preferred replica
			chunk.batches = r.bytes()
			r.tags()
		})
		r.tags()
	})
	if r.err != nil {
		return nil, r.err
	}
	switch kafka.Error(code) {
	case 0:
		return chunk, nil
	case kafka.OffsetOutOfRange:
		return nil, ErrOutOfRange
	case kafka.UnknownTopicID, kafka.InconsistentTopicID, kafka.UnknownTopicOrPartition:
		// The topic may be gone, or this broker may not have heard of it yet:
		// finding the leader anew tells.
		return nil, fmt.Errorf("%w (topic id %s)", kafka.Error(code), FormatID(c.id))
	}
	return nil, kafka.Error(code)
}

// Chunk is what one fetch answered.
type Chunk struct {
	// Start and End are the first offset that the log has and the one past its
	// last, as of the fetch.
	Start, End int64

	cursor  *Cursor
	batches []byte
	aborted []aborted
	current batch
}

// aborted is a transaction whose records, from an offset on up to its control
// batch, do not count.
type aborted struct{ producer, first int64 }

// batch is the present record batch of a chunk.
type batch struct {
	records   rbuf
	left      int
	base, end int64 // its first offset, and the one past its last
	firstTime int64
	maxTime   int64
	logTime   bool
}

// Next reads the next record into r, whose Headers it uses again, and reports
// false at the end of the chunk. An error means that the log is corrupt or in a
// form that is not understood.
func (k *Chunk) Next(r *Record) (bool, error) {
	c := k.cursor
	for {
		for k.current.left > 0 {
			k.current.left--
			if err := k.current.read(r); err != nil {
				return false, fmt.Errorf("read %s[%d] at offset %d: %w", c.topic, c.partition, c.next, err)
			}
			if r.Offset < c.next {
				continue // fetches start with a whole batch
			}
			c.next = r.Offset + 1
			return true, nil
		}
		c.next = max(c.next, k.current.end)
		more, err := k.open()
		if err != nil {
			return false, fmt.Errorf("read %s[%d] at offset %d: %w", c.topic, c.partition, c.next, err)
		}
		if !more {
			return false, nil
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The attributes of a record batch, version 2.
const (
	attrCompression   = 0x07
	attrLogTime       = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// maxPlain bounds what one compressed batch can make us allocate.
const maxPlain = 128 << 20

// open goes on to the next batch. Batches that hold no records for us have none left.
func (k *Chunk) open() (bool, error) {
	k.current = batch{}
	const head, afterLength, afterCRC = 61, 12, 21
	if len(k.batches) < head {
		return false, nil // what is cut off comes with the next fetch
	}
	r := rbuf{b: k.batches}
	base := r.int64()
	length := int(r.int32())
	if length < head-afterLength {
		return false, fmt.Errorf("a record batch of length %d", length)
	}
	if afterLength+length > len(k.batches) {
		return false, nil
	}
	whole := k.batches[:afterLength+length]
	k.batches = k.batches[len(whole):]
	r = rbuf{b: whole[afterLength:]}
	r.int32() // leader epoch
	if magic := r.int8(); magic != 2 {
		return false, fmt.Errorf("records in format %d: only format 2, of Kafka 0.11 and later, is read", magic)
	}
	if crc := uint32(r.int32()); crc != crc32.Checksum(whole[afterCRC:], castagnoli) {
		return false, errors.New("a record batch with a wrong checksum")
	}
	attributes := r.int16()
	end := base + int64(r.int32()) + 1
	firstTime, maxTime := r.int64(), r.int64()
	producer := r.int64()
	r.int16() // producer's epoch
	r.int32() // base sequence
	count := int(r.int32())
	k.current = batch{base: base, end: end, firstTime: firstTime, maxTime: maxTime, logTime: attributes&attrLogTime != 0}
	if attributes&attrControl != 0 {
		k.endTransaction(producer, r.b)
		return true, nil
	}
	if attributes&attrTransactional != 0 && slices.ContainsFunc(k.aborted, func(a aborted) bool { return a.producer == producer && a.first <= base }) {
		return true, nil
	}
	records, err := k.cursor.decompress(compress.Compression(attributes&attrCompression), r.b)
	if err != nil {
		return false, err
	}
	k.current.records, k.current.left = rbuf{b: records}, count
	return true, nil
}

// endTransaction reads a control batch. Where it says that the producer gave its
// transaction up, the producer's next records are good again.
func (k *Chunk) endTransaction(producer int64, records []byte) {
	var marker Record
	b := batch{records: rbuf{b: records}}
	const abort = 0
	if b.read(&marker) != nil || len(marker.Key) < 4 || binary.BigEndian.Uint16(marker.Key[2:]) != abort {
		return
	}
	if i := slices.IndexFunc(k.aborted, func(a aborted) bool { return a.producer == producer }); i >= 0 {
		k.aborted = slices.Delete(k.aborted, i, i+1)
	}
}

func (c *Cursor) decompress(how compress.Compression, b []byte) ([]byte, error) {
	if how == compress.None {
		return b, nil
	}
	codec := how.Codec()
	if codec == nil {
		return nil, fmt.Errorf("records with an unknown compression, %d", how)
	}
	r := codec.NewReader(bytes.NewReader(b))
	defer r.Close()
	c.plain = c.plain[:0]
	for {
		if len(c.plain) == cap(c.plain) {
			c.plain = slices.Grow(c.plain, max(64<<10, 2*len(b)))
		}
		n, err := r.Read(c.plain[len(c.plain):cap(c.plain)])
		c.plain = c.plain[:len(c.plain)+n]
		switch {
		case err == io.EOF:
			return c.plain, nil
		case err != nil:
			return nil, fmt.Errorf("decompress %s records: %w", how, err)
		case len(c.plain) > maxPlain:
			return nil, fmt.Errorf("a record batch of %d bytes is more than %d when decompressed", len(b), maxPlain)
		}
	}
}

func (b *batch) read(r *Record) error {
	in := rbuf{b: b.records.take(int(b.records.varint()))}
	if b.records.err != nil {
		return b.records.err
	}
	in.int8() // attributes
	r.Timestamp = b.firstTime + in.varint()
	r.LogTime = b.logTime
	if b.logTime {
		r.Timestamp = b.maxTime
	}
	r.Offset = b.base + in.varint()
	r.Key = in.varbytes()
	r.Value = in.varbytes()
	r.Headers = r.Headers[:0]
	for range in.varint() {
		if in.err != nil {
			break
		}
		r.Headers = append(r.Headers, Header{Key: string(in.varbytes()), Value: in.varbytes()})
	}
	return in.err
}

// varint reads a zigzag number, as records have them.
func (r *rbuf) varint() int64 {
	// Most are lengths and deltas of one byte.
	if len(r.b) > 0 && r.b[0] < 0x80 && r.err == nil {
		v := r.b[0]
		r.b = r.b[1:]
		return int64(v>>1) ^ -int64(v&1)
	}
	v, n := binary.Varint(r.b)
	if r.err != nil || n <= 0 {
		r.err = errMalformed
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *rbuf) varbytes() []byte {
	n := r.varint()
	if n < 0 {
		return nil
	}
	if n > int64(len(r.b)) {
		r.err = errMalformed
		return nil
	}
	return r.take(int(n))
}
