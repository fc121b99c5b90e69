package live

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/intake"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/window/windowpb"
)

// updates makes a message of the state of each of the span's symbols. The latest
// trade of a symbol is that of the batch's records.
func (g *grouping) updates(s *span, known *remembered) ([]kafka.Message, error) {
	var (
		d      intake.Reader
		t      tick.Tick
		points [4]windowpb.Point
		latest windowpb.Latest
		w      = known.name
		msgs   = make([]kafka.Message, 0, len(s.states))
		buf    = make([]byte, 0, updateSize*len(s.states)) // of all keys and values
	)
	u := windowpb.Update{Open: &points[0], High: &points[1], Low: &points[2], Close: &points[3], Latest: &latest}
	for i := range s.states {
		symbol := s.states[i].Symbol
		st := known.states[symbol]
		if st == nil {
			continue // it has no record below the fence
		}
		r := &g.records[s.newest[i]]
		if err := d.Read(r, &t); err != nil {
			return nil, fmt.Errorf("offset %d: %w", r.Offset, err) // it was decoded before
		}
		for j, p := range [4]window.Point{st.Open, st.High, st.Low, st.Close} {
			points[j].EventTime, points[j].Offset, points[j].Price = p.EventTime, p.Offset, p.Price
		}
		u.Symbol, u.Start, u.Length, u.Log, u.Version = symbol, w.Start, window.Length, w.Log, known.fence
		u.TickCount, u.Volume = st.Count, st.Volume
		u.PriceSumHi, u.PriceSumLo = st.PriceSum.Hi, st.PriceSum.Lo
		u.TurnoverHi, u.TurnoverLo = st.Turnover.Hi, st.Turnover.Lo
		latest.EventTime, latest.ReceivedTime, latest.LogTime = t.EventTime, t.ReceivedTime, r.Timestamp
		latest.Price, latest.Currency, latest.Exchange = int64(t.Price), t.Currency, t.Exchange
		latest.MarketState, latest.Source = int32(t.MarketState), int32(t.Source)
		latest.DayVolume, latest.PreviousClose = optional(t.DayVolume), optional(int64(t.PreviousClose))
		key := len(buf)
		buf = appendKey(buf, symbol, w)
		value := len(buf)
		buf = slices.Grow(buf, u.SizeVT())[:value+u.SizeVT()]
		if _, err := u.MarshalToSizedBufferVT(buf[value:]); err != nil {
			return nil, fmt.Errorf("encode update of %s: %w", symbol, err)
		}
		msgs = append(msgs, kafka.Message{Key: buf[key:value:value], Value: buf[value:len(buf):len(buf)]})
	}
	return msgs, nil
}

// updateSize is about what an update takes, its key included.
const updateSize = 240

// appendKey appends what topic "windows" is compacted by: symbol|start|log.
func appendKey(dst []byte, symbol string, w store.Window) []byte {
	dst = append(append(dst, symbol...), '|')
	dst = append(strconv.AppendInt(dst, w.Start, 10), '|')
	return strconv.AppendInt(dst, int64(w.Log), 10)
}

// symbolOf is the part of such a key that says which partition an update goes to:
// where the topics of ticks and windows have as many partitions, the updates of one
// batch all go to one.
func symbolOf(key []byte) []byte {
	for range 2 {
		key = key[:max(bytes.LastIndexByte(key, '|'), 0)]
	}
	return key
}

func optional(v int64) *int64 {
	if v == tick.Unknown {
		return nil
	}
	return &v
}
