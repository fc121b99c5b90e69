package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// exchange is a request that kafka-go does not know: it writes itself to the
// connection and keeps the bytes of the answer. kafka-go's transport still
// chooses the connection, logs in and pools.
type exchange struct {
	key     protocol.ApiKey
	version int16
	// broker is the id of the broker to ask, or -1 for any.
	broker int32
	body   []byte
	// answer is what the response is read into, grown where it is too small.
	answer []byte
}

var errMalformed = errors.New("malformed answer of Kafka")

// maxAnswer bounds what a length field can make us allocate.
const maxAnswer = 1 << 30

// ApiKey implements protocol.Message.
func (e *exchange) ApiKey() protocol.ApiKey { return e.key }

// Required implements protocol.RawExchanger.
func (e *exchange) Required(map[protocol.ApiKey]int16) bool { return true }

// Broker implements protocol.BrokerMessage.
func (e *exchange) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	if e.broker < 0 {
		return protocol.Broker{ID: -1}, nil
	}
	b, ok := cluster.Brokers[e.broker]
	if !ok {
		return protocol.Broker{}, fmt.Errorf("broker %d is not in the cluster's metadata: %w", e.broker, kafka.BrokerNotAvailable)
	}
	return b, nil
}

// oneWrite is up to how long a body is worth copying to save a system call.
const oneWrite = 32 << 10

// RawExchange implements protocol.RawExchanger. A connection carries one request
// at a time, so the correlation id need not be unique.
func (e *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const correlation, client = 1, "ticktape"
	head := make(wbuf, 4, 32+min(len(e.body), oneWrite))
	head.int16(int16(e.key))
	head.int16(e.version)
	head.int32(correlation)
	head.int16(int16(len(client)))
	head = append(head, client...)
	head.noTags()
	binary.BigEndian.PutUint32(head, uint32(len(head)-4+len(e.body)))
	rest := e.body
	if len(rest) <= oneWrite {
		head, rest = append(head, rest...), nil
	}
	for _, b := range [...][]byte{head, rest} {
		if len(b) == 0 {
			continue
		}
		if _, err := rw.Write(b); err != nil {
			return nil, err
		}
	}
	var size [4]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if n < 5 || n > maxAnswer {
		return nil, fmt.Errorf("%w: length %d", errMalformed, n)
	}
	if n > cap(e.answer) {
		e.answer = make([]byte, n)
	}
	e.answer = e.answer[:n]
	if _, err := io.ReadFull(rw, e.answer); err != nil {
		return nil, err
	}
	return e, nil
}

// do sends the request and returns a reader at the start of the answer's body.
// After an error the buffers must not be used again: the transport may still be
// writing to them.
func (c *Client) do(ctx context.Context, e *exchange) (rbuf, error) {
	if _, err := c.transport.RoundTrip(ctx, c.addr, e); err != nil {
		return rbuf{}, err
	}
	r := rbuf{b: e.answer}
	r.int32() // correlation id
	r.tags()
	if r.err != nil {
		return rbuf{}, r.err
	}
	return r, nil
}

// wbuf writes Kafka's flexible encoding (KIP-482).
type wbuf []byte

func (w *wbuf) int8(v int8)     { *w = append(*w, byte(v)) }
func (w *wbuf) int16(v int16)   { *w = binary.BigEndian.AppendUint16(*w, uint16(v)) }
func (w *wbuf) int32(v int32)   { *w = binary.BigEndian.AppendUint32(*w, uint32(v)) }
func (w *wbuf) int64(v int64)   { *w = binary.BigEndian.AppendUint64(*w, uint64(v)) }
func (w *wbuf) length(n int)    { *w = binary.AppendUvarint(*w, uint64(n)+1) }
func (w *wbuf) null()           { *w = append(*w, 0) }
func (w *wbuf) noTags()         { *w = append(*w, 0) }
func (w *wbuf) string(s string) { w.length(len(s)); *w = append(*w, s...) }

// rbuf reads Kafka's flexible encoding. Past its end it sets err and returns zeros.
type rbuf struct {
	b   []byte
	err error
}

func (r *rbuf) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.err = errMalformed
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *rbuf) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *rbuf) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *rbuf) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *rbuf) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *rbuf) uvarint() int {
	v, n := binary.Uvarint(r.b)
	if r.err != nil || n <= 0 || v > maxAnswer {
		r.err = errMalformed
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// length is -1 for null.
func (r *rbuf) length() int { return r.uvarint() - 1 }

func (r *rbuf) bytes() []byte {
	n := r.length()
	if n < 0 {
		return nil
	}
	return r.take(n)
}

func (r *rbuf) string() string { return string(r.bytes()) }

func (r *rbuf) tags() {
	for range r.uvarint() {
		r.uvarint()
		r.take(r.uvarint())
		if r.err != nil {
			return
		}
	}
}

// each calls f for every element of an array while all is well.
func (r *rbuf) each(f func()) {
	for range max(0, r.length()) {
		if r.err != nil {
			return
		}
		f()
	}
}
