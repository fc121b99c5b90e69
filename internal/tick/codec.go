package tick

import (
	"fmt"
	"strings"

	"ticktape/internal/tick/tickpb"
)

// The content types of the two wire forms, as a record's header "content-type"
// gives them.
const (
	ContentProtobuf = "application/x-protobuf"
	ContentJSON     = "application/json"
)

// Encoding is a wire form to write.
type Encoding int

// The wire forms. Readers take either.
const (
	Protobuf Encoding = iota
	JSON
)

// ParseEncoding reads the setting TICK_ENCODING: "protobuf" or "json"; empty is Protobuf.
func ParseEncoding(s string) (Encoding, error) {
	switch s {
	case "", "protobuf":
		return Protobuf, nil
	case "json":
		return JSON, nil
	}
	return 0, fmt.Errorf("encoding %.20q is neither protobuf nor json", s)
}

// ContentType is the value of the header "content-type" for the encoding.
func (e Encoding) ContentType() string {
	if e == JSON {
		return ContentJSON
	}
	return ContentProtobuf
}

// ContentType returns the content type that a record's header "content-type"
// holds, for Decode. It allocates nothing for the two that Decode knows.
func ContentType(header []byte) string {
	switch string(header) {
	case ContentProtobuf:
		return ContentProtobuf
	case ContentJSON:
		return ContentJSON
	}
	return string(header)
}

// Append appends the tick in the wire form e to dst.
func (e Encoding) Append(dst []byte, t *Tick) ([]byte, error) {
	if e == JSON {
		return appendJSON(dst, t)
	}
	var m tickpb.Tick
	t.toProto(&m)
	n := m.SizeVT()
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := m.MarshalToSizedBufferVT(dst[at:]); err != nil {
		return nil, fmt.Errorf("encode tick: %w", err)
	}
	return dst, nil
}

// Decoder reads ticks. It keeps scratch space between calls, so a Decoder that
// is reused allocates nothing per tick. It is not safe for concurrent use.
type Decoder struct {
	m tickpb.Tick
	j jsonDecoder
}

// Decode reads one tick of either wire form into t and validates it. The
// content type is the record's header of that name; where it is empty the form
// is told by the first byte. Errors wrap ErrTick.
//
// The strings of t may alias b: the caller must leave b alone while it uses t.
func (d *Decoder) Decode(contentType string, b []byte, t *Tick) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty record", ErrTick)
	}
	switch encoding, ok := encodingOf(contentType, b); {
	case !ok:
		return fmt.Errorf("%w: content-type %.40q is neither %s nor %s", ErrTick, contentType, ContentProtobuf, ContentJSON)
	case encoding == JSON:
		if err := d.j.decode(b, t); err != nil {
			return fmt.Errorf("%w: JSON: %w", ErrTick, err)
		}
		return t.Validate()
	}
	d.m.Reset()
	if err := d.m.UnmarshalVTUnsafe(b); err != nil {
		return fmt.Errorf("%w: Protobuf: %w", ErrTick, err)
	}
	m := &d.m
	*t = Tick{
		Symbol: m.Symbol, EventTime: m.EventTime, Price: Price(m.Price), Size: m.Size, Seq: m.Seq,
		DayVolume: m.DayVolume, PreviousClose: Price(m.PreviousClose),
		Currency: m.Currency, Exchange: m.Exchange,
		MarketState: MarketState(m.MarketState), Source: Source(m.Source),
		ReceivedTime: m.ReceivedTime,
	}
	return t.Validate()
}

// encodingOf tells the wire form of b, which is not empty. No Protobuf tick
// begins like a JSON object: that would be the start of a group.
func encodingOf(contentType string, b []byte) (e Encoding, ok bool) {
	switch contentType {
	case "":
		if b[0] == '{' {
			return JSON, true
		}
		return Protobuf, true
	case ContentProtobuf:
		return Protobuf, true
	case ContentJSON:
		return JSON, true
	}
	// Other people's producers write parameters, capitals, and the name that
	// Protobuf got when it was registered.
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case ContentProtobuf, "application/protobuf":
		return Protobuf, true
	case ContentJSON:
		return JSON, true
	}
	return 0, false
}
