package live

import (
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

// updates makes a message of each state. The latest trade of a symbol is that
// of the batch's records.
func (g *grouping) updates(w store.Window, s *span, fence int64, states []store.SymbolState) ([]kafka.Message, error) {
	var (
		d      intake.Reader
		t      tick.Tick
		points [4]windowpb.Point
		latest windowpb.Latest
		msgs   = make([]kafka.Message, 0, len(states))
		buf    = make([]byte, 0, updateSize*len(states)) // of all keys and values
	)
	u := windowpb.Update{Open: &points[0], High: &points[1], Low: &points[2], Close: &points[3], Latest: &latest}
	for i := range states {
		st := &states[i]
		n, ok := s.index[st.Symbol]
		if !ok {
			return nil, fmt.Errorf("window %s: read back symbol %s, which was not asked for", w, st.Symbol)
		}
		if st.Open.Price == 0 || st.High.Price == 0 || st.Low.Price == 0 || st.Close.Price == 0 {
			return nil, fmt.Errorf("window %s: read back %s without the registers that were written", w, st.Symbol)
		}
		r := &g.records[s.newest[n]]
		if err := d.Read(r, &t); err != nil {
			return nil, fmt.Errorf("offset %d: %w", r.Offset, err) // it was decoded before
		}
		for j, p := range [4]window.Point{st.Open, st.High, st.Low, st.Close} {
			points[j].EventTime, points[j].Offset, points[j].Price = p.EventTime, p.Offset, p.Price
		}
		u.Symbol, u.Start, u.Length, u.Log, u.Version = st.Symbol, w.Start, window.Length, w.Log, fence
		u.TickCount, u.Volume = st.Count, st.Volume
		u.PriceSumHi, u.PriceSumLo = st.PriceSum.Hi, st.PriceSum.Lo
		u.TurnoverHi, u.TurnoverLo = st.Turnover.Hi, st.Turnover.Lo
		latest.EventTime, latest.ReceivedTime, latest.LogTime = t.EventTime, t.ReceivedTime, r.Timestamp
		latest.Price, latest.Currency, latest.Exchange = int64(t.Price), t.Currency, t.Exchange
		latest.MarketState, latest.Source = int32(t.MarketState), int32(t.Source)
		latest.DayVolume, latest.PreviousClose = known(t.DayVolume), known(int64(t.PreviousClose))
		key := len(buf)
		buf = appendKey(buf, st.Symbol, w)
		value := len(buf)
		buf = slices.Grow(buf, u.SizeVT())[:value+u.SizeVT()]
		if _, err := u.MarshalToSizedBufferVT(buf[value:]); err != nil {
			return nil, fmt.Errorf("encode update of %s: %w", st.Symbol, err)
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

func known(v int64) *int64 {
	if v == tick.Unknown {
		return nil
	}
	return &v
}
