package trigger

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strconv"

	"github.com/aws/aws-lambda-go/events"
	"google.golang.org/protobuf/encoding/protowire"
)

// The content types of a batch.
const (
	TypeProtobuf = "application/x-protobuf; message=ticktape.trigger.v1.Batch"
	TypeJSON     = "application/json"
)

// ErrBatch is the root of the errors of Decode.
var ErrBatch = errors.New("not a batch of records")

// Decode reads the body of a call into b, whose memory it uses again. Keys,
// values and headers of a Protobuf batch point into body.
func Decode(b *Batch, contentType string, body []byte) error {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("%w: content type %.60q can't be read", ErrBatch, contentType)
	}
	switch media {
	case "application/x-protobuf", "application/protobuf":
		err = decodeProtobuf(b, body)
	case "application/json":
		err = decodeJSON(b, body)
	default:
		return fmt.Errorf("%w: content type %.60q is neither application/x-protobuf nor application/json", ErrBatch, contentType)
	}
	return err
}

// check holds that offsets grow and that there can be such a partition, on which
// functions rely.
func (b *Batch) check() error {
	if b.Partition < 0 {
		return fmt.Errorf("%w: there is no partition %d", ErrBatch, b.Partition)
	}
	last := int64(-1)
	for i := range b.Records {
		offset := b.Records[i].Offset
		if offset <= last {
			if i == 0 {
				return fmt.Errorf("%w: there is no offset %d", ErrBatch, offset)
			}
			return fmt.Errorf("%w: offset %d comes after %d", ErrBatch, offset, last)
		}
		last = offset
	}
	return nil
}

// field reads the next field of a message: its tag, that is its number and
// kind, and its value, a number or bytes. size is below 0 where there is none.
// A field whose tag is not expected is passed over, as Protobuf has it.
func field(b []byte) (tag uint64, n uint64, bytes []byte, size int) {
	num, typ, size := protowire.ConsumeTag(b)
	if size < 0 {
		return 0, 0, nil, size
	}
	var more int
	switch typ {
	case protowire.VarintType:
		n, more = protowire.ConsumeVarint(b[size:])
	case protowire.BytesType:
		bytes, more = protowire.ConsumeBytes(b[size:])
	default:
		more = protowire.ConsumeFieldValue(num, typ, b[size:])
	}
	if more < 0 {
		return 0, 0, nil, more
	}
	return protowire.EncodeTag(num, typ), n, bytes, size + more
}

func decodeProtobuf(b *Batch, body []byte) error {
	*b = Batch{Records: b.Records[:0]}
	for len(body) > 0 {
		tag, n, bytes, size := field(body)
		if size < 0 {
			return fmt.Errorf("%w: %w", ErrBatch, protowire.ParseError(size))
		}
		body = body[size:]
		switch tag {
		case tag1B:
			b.Topic = string(bytes)
		case tag2B:
			if len(bytes) != len(b.TopicID) {
				return fmt.Errorf("%w: topic id has %d bytes, not %d", ErrBatch, len(bytes), len(b.TopicID))
			}
			copy(b.TopicID[:], bytes)
		case tag3V:
			b.Partition = int(int32(n))
		case tag4V:
			b.Resumed = n != 0
		case tag5B:
			b.Records = slices.Grow(b.Records, 1)[:len(b.Records)+1]
			if err := decodeRecord(&b.Records[len(b.Records)-1], bytes); err != nil {
				return fmt.Errorf("%w: %w", ErrBatch, err)
			}
		}
	}
	return b.check()
}

func decodeRecord(r *Record, body []byte) error {
	*r = Record{Headers: r.Headers[:0]}
	for len(body) > 0 {
		tag, n, bytes, size := field(body)
		if size < 0 {
			return protowire.ParseError(size)
		}
		body = body[size:]
		switch tag {
		case tag1V:
			r.Offset = int64(n)
		case tag2V:
			r.Timestamp = int64(n)
		case tag3B:
			r.Key = bytes
		case tag4B:
			r.Value = bytes
		case tag5B:
			r.Headers = slices.Grow(r.Headers, 1)[:len(r.Headers)+1]
			if err := decodeHeader(&r.Headers[len(r.Headers)-1], bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// decodeHeader reads a header into h. The key that h had before is kept where it
// is the same, which it mostly is, so that a header costs no allocation.
func decodeHeader(h *Header, body []byte) error {
	key := ""
	h.Value = nil
	for len(body) > 0 {
		tag, _, bytes, size := field(body)
		if size < 0 {
			return protowire.ParseError(size)
		}
		body = body[size:]
		switch tag {
		case tag1B:
			if key = h.Key; key != string(bytes) {
				key = string(bytes)
			}
		case tag2B:
			h.Value = bytes
		}
	}
	h.Key = key
	return nil
}

// event is AWS's KafkaEvent with what a batch has besides.
type event struct {
	events.KafkaEvent
	TopicID string                   `json:"topicId"`
	Resumed bool                     `json:"resumed"`
	Records map[string][]eventRecord `json:"records"`
}

// eventRecord tells an absent key or value from an empty one.
type eventRecord struct {
	events.KafkaRecord
	Key   *string `json:"key"`
	Value *string `json:"value"`
}

func decodeJSON(b *Batch, body []byte) error {
	batches, err := DecodeEvent(body)
	if err != nil {
		return err
	}
	if len(batches) != 1 {
		return fmt.Errorf("%w: it has records of %d partitions, not of one", ErrBatch, len(batches))
	}
	*b = batches[0]
	return nil
}

// DecodeEvent reads AWS's KafkaEvent, which may have records of several
// partitions, into a batch a partition, in no particular order. TopicID and Resumed are what the
// connector for Kafka adds; AWS itself sends neither.
func DecodeEvent(body []byte) ([]Batch, error) {
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	var id [16]byte
	if e.TopicID != "" {
		raw, err := base64.RawURLEncoding.DecodeString(e.TopicID)
		if err != nil || len(raw) != len(id) {
			return nil, fmt.Errorf("%w: topicId %.40q is not 16 bytes in base64", ErrBatch, e.TopicID)
		}
		copy(id[:], raw)
	}
	var batches []Batch
	for name, records := range e.Records {
		if len(records) == 0 {
			continue
		}
		b := Batch{Topic: records[0].Topic, TopicID: id, Partition: int(records[0].Partition), Resumed: e.Resumed}
		for i := range records {
			r, err := records[i].record()
			if err != nil {
				return nil, fmt.Errorf("%w: record %d of %.100q: %w", ErrBatch, i, name, err)
			}
			if records[i].Topic != b.Topic || int(records[i].Partition) != b.Partition {
				return nil, fmt.Errorf("%w: record %d of %.100q is of %.100q, partition %d", ErrBatch, i, name, records[i].Topic, records[i].Partition)
			}
			b.Records = append(b.Records, r)
		}
		if err := b.check(); err != nil {
			return nil, fmt.Errorf("%.100q: %w", name, err)
		}
		batches = append(batches, b)
	}
	return batches, nil
}

func (e *eventRecord) record() (r Record, err error) {
	r = Record{Offset: e.Offset, Timestamp: e.Timestamp.UnixMilli(), LogTime: e.TimestampType == "LOG_APPEND_TIME"}
	if e.Key != nil {
		if r.Key, err = base64.StdEncoding.DecodeString(*e.Key); err != nil {
			return r, fmt.Errorf("key: %w", err)
		}
	}
	if e.Value != nil {
		if r.Value, err = base64.StdEncoding.DecodeString(*e.Value); err != nil {
			return r, fmt.Errorf("value: %w", err)
		}
	}
	for _, h := range e.Headers {
		for k, v := range h {
			r.Headers = append(r.Headers, Header{Key: k, Value: v})
		}
	}
	return r, nil
}

// Format is how a function wants its records.
type Format int

// The formats: one record a call, or a batch.
const (
	Single Format = iota
	Protobuf
	JSON
)

// Encoder writes records into a batch as they come, and gives out the body of a
// call with any run of them. It allocates nothing once its buffers have grown.
type Encoder struct {
	format    Format
	topic     string
	id        [16]byte
	partition int

	buf  []byte
	ends []uint32 // of each record in buf
	head []byte
}

// NewEncoder makes an encoder for the records of a partition. Format Single
// keeps them for Record, as Protobuf.
func NewEncoder(format Format, topic string, topicID [16]byte, partition int) *Encoder {
	return &Encoder{format: format, topic: topic, id: topicID, partition: partition}
}

// Reset forgets the records.
func (e *Encoder) Reset() {
	e.buf, e.ends = e.buf[:0], e.ends[:0]
}

// Move takes the records from i on out of e and puts them behind those of to, which
// must be an encoder of the same partition and format.
func (e *Encoder) Move(i int, to *Encoder) {
	from := e.start(i)
	shift := uint32(len(to.buf)) - from
	to.buf = append(to.buf, e.buf[from:]...)
	for _, end := range e.ends[i:] {
		to.ends = append(to.ends, end+shift)
	}
	e.buf, e.ends = e.buf[:from], e.ends[:i]
}

// Len is the number of records.
func (e *Encoder) Len() int { return len(e.ends) }

// Size is the length in bytes of a body with all records, but for its head.
func (e *Encoder) Size() int { return len(e.buf) }

// Cap is how many bytes of records there is room for without allocating.
func (e *Encoder) Cap() int { return cap(e.buf) }

// Offset is that of record i. It is read from the encoded record: a list of them
// would take as much memory as some records themselves.
func (e *Encoder) Offset(i int) int64 {
	b := e.buf[e.start(i):e.ends[i]]
	if e.format == JSON {
		b = b[bytes.Index(b, []byte(jsonOffset))+len(jsonOffset):]
		n, _ := strconv.ParseInt(string(b[:bytes.IndexByte(b, ',')]), 10, 64) // as appendJSON wrote it
		return n
	}
	_, size := protowire.ConsumeVarint(b[1:])
	tag, n, _, _ := field(b[1+size:])
	if tag != tag1V { // 0 is not written
		return 0
	}
	return int64(n)
}

// ContentType is that of the bodies.
func (e *Encoder) ContentType() string {
	if e.format == JSON {
		return TypeJSON
	}
	return TypeProtobuf
}

// Append adds a record. It keeps nothing of r.
func (e *Encoder) Append(r *Record) {
	if e.format == JSON {
		e.buf = e.appendJSON(e.buf, r)
	} else {
		e.buf = appendRecord(e.buf, r)
	}
	e.ends = append(e.ends, uint32(len(e.buf)))
}

func (e *Encoder) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return e.ends[i-1]
}

// Body gives out the body of a call with the records from i up to, not
// including, j, in parts that follow each other. It is good until the next call
// of Body, Append or Reset.
func (e *Encoder) Body(i, j int, resumed bool) (parts [3][]byte) {
	records := e.buf[e.start(i):e.ends[j-1]]
	if e.format == JSON {
		e.head = e.appendEvent(e.head[:0], resumed)
		return [3][]byte{e.head, records[:len(records)-1], []byte("]}}")} // without the last comma
	}
	e.head = e.appendBatch(e.head[:0], resumed)
	return [3][]byte{e.head, records}
}

// Record gives back record i, in memory of its own.
func (e *Encoder) Record(i int) (Record, error) {
	var b Batch
	var body []byte
	for _, p := range e.Body(i, i+1, false) {
		body = append(body, p...)
	}
	if err := Decode(&b, e.ContentType(), body); err != nil {
		return Record{}, err
	}
	return b.Records[0], nil
}

// The tags of fields: V has a number (kind 0), B bytes (kind 2).
const (
	tag1V, tag1B = 1 << 3, 1<<3 | 2
	tag2V, tag2B = 2 << 3, 2<<3 | 2
	tag3V, tag3B = 3 << 3, 3<<3 | 2
	tag4V, tag4B = 4 << 3, 4<<3 | 2
	tag5B        = 5<<3 | 2
)

func (e *Encoder) appendBatch(b []byte, resumed bool) []byte {
	b = protowire.AppendString(append(b, tag1B), e.topic)
	b = protowire.AppendBytes(append(b, tag2B), e.id[:])
	if e.partition != 0 {
		b = protowire.AppendVarint(append(b, tag3V), uint64(e.partition))
	}
	if resumed {
		b = append(b, tag4V, 1)
	}
	return b
}

func appendRecord(b []byte, r *Record) []byte {
	n := 0
	if r.Offset != 0 {
		n += 1 + protowire.SizeVarint(uint64(r.Offset))
	}
	if r.Timestamp != 0 {
		n += 1 + protowire.SizeVarint(uint64(r.Timestamp))
	}
	if r.Key != nil {
		n += 1 + protowire.SizeBytes(len(r.Key))
	}
	if r.Value != nil {
		n += 1 + protowire.SizeBytes(len(r.Value))
	}
	for i := range r.Headers {
		n += 1 + protowire.SizeBytes(r.Headers[i].size())
	}
	b = protowire.AppendVarint(append(b, tag5B), uint64(n))
	if r.Offset != 0 {
		b = protowire.AppendVarint(append(b, tag1V), uint64(r.Offset))
	}
	if r.Timestamp != 0 {
		b = protowire.AppendVarint(append(b, tag2V), uint64(r.Timestamp))
	}
	if r.Key != nil {
		b = protowire.AppendBytes(append(b, tag3B), r.Key)
	}
	if r.Value != nil {
		b = protowire.AppendBytes(append(b, tag4B), r.Value)
	}
	for i := range r.Headers {
		h := &r.Headers[i]
		b = protowire.AppendVarint(append(b, tag5B), uint64(h.size()))
		b = protowire.AppendString(append(b, tag1B), h.Key)
		if h.Value != nil {
			b = protowire.AppendBytes(append(b, tag2B), h.Value)
		}
	}
	return b
}

func (h *Header) size() int {
	n := 1 + protowire.SizeBytes(len(h.Key))
	if h.Value != nil {
		n += 1 + protowire.SizeBytes(len(h.Value))
	}
	return n
}

func (e *Encoder) appendEvent(b []byte, resumed bool) []byte {
	b = append(b, `{"eventSource":"SelfManagedKafka","bootstrapServers":"","topicId":"`...)
	b = base64.RawURLEncoding.AppendEncode(b, e.id[:])
	b = append(b, `","resumed":`...)
	b = strconv.AppendBool(b, resumed)
	b = append(b, `,"records":{"`...)
	b = append(b, e.topic...) // Kafka allows only letters, digits, '.', '_' and '-'
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(e.partition), 10)
	return append(b, `":[`...)
}

// jsonOffset is before a record's offset, and cannot be within what is before it.
const jsonOffset = `,"offset":`

func (e *Encoder) appendJSON(b []byte, r *Record) []byte {
	b = append(b, `{"topic":"`...)
	b = append(b, e.topic...)
	b = append(b, `","partition":`...)
	b = strconv.AppendInt(b, int64(e.partition), 10)
	b = append(b, jsonOffset...)
	b = strconv.AppendInt(b, r.Offset, 10)
	b = append(b, `,"timestamp":`...)
	b = strconv.AppendInt(b, r.Timestamp, 10)
	if r.LogTime {
		b = append(b, `,"timestampType":"LOG_APPEND_TIME","key":`...)
	} else {
		b = append(b, `,"timestampType":"CREATE_TIME","key":`...)
	}
	b = appendBase64(b, r.Key)
	b = append(b, `,"value":`...)
	b = appendBase64(b, r.Value)
	b = append(b, `,"headers":[`...)
	for i := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		key, _ := json.Marshal(r.Headers[i].Key) // a string always can be written
		b = append(append(append(b, '{'), key...), `:[`...)
		for j, c := range r.Headers[i].Value {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(int8(c)), 10)
		}
		b = append(b, `]}`...)
	}
	return append(b, `]},`...)
}

func appendBase64(b, v []byte) []byte {
	if v == nil {
		return append(b, `null`...)
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}
