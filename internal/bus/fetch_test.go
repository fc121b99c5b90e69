package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"ticktape/internal/testbed"
)

// recordBatch builds a record batch of format 2 with a right checksum.
func recordBatch(base int64, attributes int16, producer int64, count int32, records []byte) []byte {
	w := wbuf{}
	w.int64(base)
	w.int32(0) // length, below
	w.int32(-1)
	w.int8(2)
	w.int32(0) // checksum, below
	w.int16(attributes)
	w.int32(count - 1)
	w.int64(1000)
	w.int64(2000)
	w.int64(producer)
	w.int16(0)
	w.int32(0)
	w.int32(count)
	w = append(w, records...)
	binary.BigEndian.PutUint32(w[8:], uint32(len(w)-12))
	binary.BigEndian.PutUint32(w[17:], crc32.Checksum(w[21:], castagnoli))
	return w
}

// plainRecord encodes a record with a key and a value.
func plainRecord(delta int64, key, value []byte) []byte {
	var in []byte
	in = append(in, 0)
	in = binary.AppendVarint(in, delta) // of the timestamp
	in = binary.AppendVarint(in, delta) // of the offset
	in = append(binary.AppendVarint(in, int64(len(key))), key...)
	in = append(binary.AppendVarint(in, int64(len(value))), value...)
	in = binary.AppendVarint(in, 0)
	return append(binary.AppendVarint(nil, int64(len(in))), in...)
}

func read(t *testing.T, k *Chunk) (offsets []int64) {
	t.Helper()
	var r Record
	for {
		ok, err := k.Next(&r)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return offsets
		}
		offsets = append(offsets, r.Offset)
	}
}

func TestRecordsOfTransactionsThatWereGivenUpAreNotRead(t *testing.T) {
	one := func(base int64, producer int64) []byte {
		return recordBatch(base, attrTransactional, producer, 1, plainRecord(0, []byte("k"), []byte("v")))
	}
	marker := func(base int64, producer int64, kind byte) []byte {
		return recordBatch(base, attrTransactional|attrControl, producer, 1, plainRecord(0, []byte{0, 0, 0, kind}, nil))
	}
	const abort, commit = 0, 1
	log := bytes.Join([][]byte{
		one(0, 7), one(1, 8), marker(2, 7, abort), one(3, 7), marker(4, 7, commit), marker(5, 8, commit),
		recordBatch(6, 0, -1, 1, plainRecord(0, nil, nil)), marker(7, 9, commit),
	}, nil)
	c := &Cursor{topic: "t"}
	k := &Chunk{cursor: c, batches: log, aborted: []aborted{{producer: 7, first: 0}}}
	if got := read(t, k); len(got) != 3 || got[0] != 1 || got[1] != 3 || got[2] != 6 {
		t.Errorf("read offsets %v, want 1, 3 and 6", got)
	}
	if c.Next() != 8 {
		t.Errorf("the next fetch is from %d, want 8: markers are passed over", c.Next())
	}
}

func TestTheTimestampIsLogTimeWhereTheTopicSaysSo(t *testing.T) {
	for attributes, want := range map[int16]int64{0: 1003, attrLogTime: 2000} {
		k := &Chunk{cursor: &Cursor{}, batches: recordBatch(0, attributes, -1, 4, plainRecord(3, nil, nil))}
		var r Record
		if ok, err := k.Next(&r); !ok || err != nil || r.Timestamp != want || r.LogTime != (attributes == attrLogTime) {
			t.Errorf("attributes %x: timestamp %d, log time %v, %v; want %d", attributes, r.Timestamp, r.LogTime, err, want)
		}
	}
}

func TestABatchThatIsDamagedIsAnError(t *testing.T) {
	good := recordBatch(0, 0, -1, 1, plainRecord(0, []byte("k"), []byte("v")))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	old := bytes.Clone(good)
	old[16] = 1
	short := bytes.Clone(good)
	binary.BigEndian.PutUint32(short[8:], 3)
	for name, log := range map[string][]byte{
		"a bit is flipped": flipped, "the format is old": old, "the length is too short": short,
		"there are fewer records than it says": recordBatch(0, 0, -1, 2, plainRecord(0, nil, nil)),
		"the compression is unknown":           recordBatch(0, 7, -1, 1, plainRecord(0, nil, nil)),
		"the compressed bytes are none":        recordBatch(0, 3, -1, 1, plainRecord(0, nil, nil)),
	} {
		k := &Chunk{cursor: &Cursor{}, batches: log}
		var r Record
		var err error
		for ok := true; ok && err == nil; {
			ok, err = k.Next(&r)
		}
		if err == nil {
			t.Errorf("where %s there is no error", name)
		}
	}
	k := &Chunk{cursor: &Cursor{}, batches: good[:len(good)-1]}
	if ok, err := k.Next(new(Record)); ok || err != nil {
		t.Errorf("a batch that is cut off, which comes again with the next fetch: %v, %v", ok, err)
	}
}

func TestAFetchBeforeTheLogsStartIsOutOfRange(t *testing.T) {
	c := New(Config{Brokers: testbed.Kafka(t)})
	defer c.Close()
	topic := testbed.Topic(t, "start", 1)
	info, err := c.TopicInfo(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Producer(topic)
	if err := p.Publish(t.Context(), numberedMessages(10)); err != nil {
		t.Fatal(err)
	}
	w := wbuf{}
	w.length(1)
	w.string(topic)
	w.length(1)
	w.int32(0)
	w.int64(4)
	w.noTags()
	w.noTags()
	w.int32(10_000)
	w.noTags()
	if _, err := c.do(t.Context(), &exchange{key: protocol.DeleteRecords, version: 2, broker: info.leaders[0], body: w}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cursor(topic, info, 0, 3).Fetch(context.Background(), 0, 1<<20); !errors.Is(err, ErrOutOfRange) {
		t.Errorf("fetch of what was deleted: %v", err)
	}
	k, err := c.Cursor(topic, info, 0, 4).Fetch(context.Background(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, k); len(got) != 6 || got[0] != 4 || k.Start != 4 {
		t.Errorf("read %v, start %d", got, k.Start)
	}
}

func numberedMessages(n int) []kafka.Message {
	msgs := make([]kafka.Message, n)
	for i := range msgs {
		msgs[i].Value = []byte{byte(i)}
	}
	return msgs
}

func FuzzChunk(f *testing.F) {
	record := plainRecord(0, []byte("key"), []byte("value"))
	f.Add(int16(0), int32(1), record, true)
	f.Add(int16(attrControl), int32(1), record, true)
	f.Add(int16(2), int32(1), record, true)
	f.Add(int16(compress.Lz4), int32(1), record, true)
	f.Add(int16(0), int32(1), recordBatch(0, 0, -1, 1, record), false)
	f.Fuzz(func(t *testing.T, attributes int16, count int32, data []byte, wrap bool) {
		if wrap {
			data = recordBatch(0, attributes, 1, count, data)
		}
		k := &Chunk{cursor: &Cursor{}, batches: data, aborted: []aborted{{1, 5}}}
		var r Record
		last := int64(-1)
		for {
			ok, err := k.Next(&r)
			if err != nil || !ok {
				return
			}
			if r.Offset <= last {
				t.Fatalf("offset %d comes after %d", r.Offset, last)
			}
			last = r.Offset
		}
	})
}

func FuzzFetchResponse(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Cursor{}
		if k, err := c.response(&rbuf{b: data}); err == nil {
			_, _ = k.Next(new(Record)) // it may be anything but a panic
		}
	})
}

func FuzzParseMark(f *testing.F) {
	f.Add("topic-id=AAAAAAAAAAAAAAAAAAAAAA partitions=3 window=5")
	f.Fuzz(func(t *testing.T, metadata string) {
		m, ok := parseMark(5, metadata, [16]byte{})
		if !ok {
			return
		}
		again, ok := parseMark(5, m.metadata([16]byte{}), [16]byte{})
		if !ok || again != m {
			t.Errorf("%q is %+v, which comes back as %+v, %v", metadata, m, again, ok)
		}
	})
}
