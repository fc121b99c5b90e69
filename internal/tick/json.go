package tick

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/go-faster/jx"
)

// The names of the JSON form, about 200 bytes a tick. Other names are passed
// over, so that producers may add some.
const (
	jsonSymbol        = "symbol"
	jsonEventTime     = "event_time"
	jsonPrice         = "price"
	jsonSize          = "size"
	jsonSeq           = "seq"
	jsonDayVolume     = "day_volume"
	jsonPreviousClose = "previous_close"
	jsonCurrency      = "currency"
	jsonExchange      = "exchange"
	jsonMarketState   = "market_state"
	jsonSource        = "source"
	jsonReceivedTime  = "received_time"
)

// appendJSON appends the JSON form. What is unknown or empty is left out.
func appendJSON(dst []byte, t *Tick) ([]byte, error) {
	w := jx.Writer{Buf: dst}
	w.ObjStart()
	name := func(name string) {
		if w.Buf[len(w.Buf)-1] != '{' {
			w.Comma()
		}
		w.FieldStart(name)
	}
	text := func(field, s string) {
		if s != "" {
			name(field)
			w.Str(s)
		}
	}
	number := func(field string, v int64) {
		name(field)
		w.Int64(v)
	}
	price := func(field string, p Price) {
		name(field)
		w.Buf = p.AppendText(w.Buf)
	}
	name(jsonSymbol)
	w.Str(t.Symbol)
	number(jsonEventTime, t.EventTime)
	price(jsonPrice, t.Price)
	number(jsonSize, t.Size)
	number(jsonSeq, t.Seq)
	if t.DayVolume != Unknown {
		number(jsonDayVolume, t.DayVolume)
	}
	if t.PreviousClose != Unknown {
		price(jsonPreviousClose, t.PreviousClose)
	}
	text(jsonCurrency, t.Currency)
	text(jsonExchange, t.Exchange)
	text(jsonMarketState, t.MarketState.String())
	text(jsonSource, t.Source.String())
	if t.ReceivedTime != 0 {
		number(jsonReceivedTime, t.ReceivedTime)
	}
	w.ObjEnd()
	return w.Buf, nil
}

// jsonDecoder reads the JSON form.
type jsonDecoder struct {
	d     jx.Decoder
	t     *Tick
	field func(d *jx.Decoder, name []byte) error // a method value made once
}

// decode reads one tick. The strings of t may alias b.
func (j *jsonDecoder) decode(b []byte, t *Tick) error {
	if quick(b, t) {
		return nil
	}
	return j.general(b, t)
}

// general reads one object, behind which nothing but white space may come. A field
// that is null is as if it were absent, and of one that is there twice the last
// counts. The strings of t may alias b.
func (j *jsonDecoder) general(b []byte, t *Tick) error {
	if j.field == nil {
		j.field = j.read
	}
	*t = Tick{}
	j.t = t
	j.d.ResetBytes(b)
	err := j.d.ObjBytes(j.field)
	j.t = nil
	if err != nil {
		return err
	}
	if err := j.d.Skip(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("something follows the object")
	}
	return nil
}

func (j *jsonDecoder) read(d *jx.Decoder, name []byte) (err error) {
	if d.Next() == jx.Null {
		return d.Null()
	}
	t := j.t
	switch string(name) {
	case jsonSymbol:
		t.Symbol, err = text(d)
	case jsonEventTime:
		t.EventTime, err = d.Int64()
	case jsonPrice:
		t.Price, err = price(d)
	case jsonSize:
		t.Size, err = d.Int64()
	case jsonSeq:
		t.Seq, err = d.Int64()
	case jsonDayVolume:
		t.DayVolume, err = d.Int64()
	case jsonPreviousClose:
		t.PreviousClose, err = price(d)
	case jsonCurrency:
		t.Currency, err = text(d)
	case jsonExchange:
		t.Exchange, err = text(d)
	case jsonMarketState:
		var s string
		s, err = text(d)
		t.MarketState = ParseMarketState(s)
	case jsonSource:
		var s string
		s, err = text(d)
		t.Source = ParseSource(s)
	case jsonReceivedTime:
		t.ReceivedTime, err = d.Int64()
	default:
		return d.Skip()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// text reads a string, which aliases the input unless it has escapes.
func text(d *jx.Decoder) (string, error) {
	b, err := d.StrBytes()
	return alias(b), err
}

// price reads a number, or a string that holds one.
func price(d *jx.Decoder) (Price, error) {
	if d.Next() == jx.String {
		s, err := text(d)
		if err != nil {
			return 0, err
		}
		return ParsePrice(s)
	}
	b, err := d.Num()
	if err != nil {
		return 0, err
	}
	return ParsePrice(alias(b))
}

// alias is b as a string without a copy: b must not change while it is in use.
func alias(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}
