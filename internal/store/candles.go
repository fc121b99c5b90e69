package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gocql/gocql"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// Interval is the length of a stored candle.
type Interval string

// The intervals that are stored; others are summed from them. Seal writes those
// of Minute and Day, charts bring all.
const (
	Minute      Interval = "1m"
	FiveMinutes Interval = "5m"
	Hour        Interval = "1h" // starts where the chart's bars do, at some exchanges at half past
	Day         Interval = "1d" // the exchange's local day
)

// Candle is what all trades of a symbol in an interval come to, each once.
type Candle struct {
	Symbol string
	Start  int64 // milliseconds since the Unix epoch
	// The Offset of its points is not stored and stays 0; the times of High and
	// Low neither. Count, PriceSum and Turnover are 0 where they are not known,
	// because (some of) it comes from a chart.
	window.State
	// Exchange, an exchange's code as the source gives it, and Source are those
	// of the last trade.
	Exchange string
	Source   tick.Source
	SealedAt int64 // milliseconds since the Unix epoch
}

// Charted tells whether (some of) the candle comes from a chart, so that only its
// prices and its volume are known.
func (c *Candle) Charted() bool { return c.Count == 0 }

// Merge adds a candle of another time, with which this one shares no trade. The
// order of merging does not matter. The exchange stays.
func (c *Candle) Merge(o *Candle) {
	c.Source = c.Source.With(o.Source)
	charted := c.Charted() || o.Charted()
	// What has no trades would not be merged.
	other := o.State
	c.Count, other.Count = max(c.Count, 1), max(other.Count, 1)
	c.State.Merge(&other)
	if charted {
		c.Count, c.PriceSum, c.Turnover = 0, window.Sum{}, window.Sum{}
	}
}

const candleStmt = "UPDATE candles USING TIMESTAMP ? SET tick_count = ?, volume = ?, price_sum = ?, turnover = ?, open = ?, high = ?, low = ?, close = ?, " +
	"open_time = ?, close_time = ?, exchange = ?, source = ?, sealed_at = ? WHERE symbol = ? AND interval = ? AND year = ? AND window_start = ?"

// WriteCandle stores a candle as of the given version: whichever comes when, the
// candle with the highest version stays. Idempotent.
func (s *Store) WriteCandle(ctx context.Context, interval Interval, c *Candle, version int64) error {
	err := s.session.Query(candleStmt, candleValues(interval, c, version)...).WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err != nil {
		return fmt.Errorf("write %s candle of %s: %w", interval, c.Symbol, err)
	}
	return nil
}

// candleValues are those of candleStmt. Whoever writes a candle writes all of its
// cells with one version, so that no candle is ever made of cells of two.
func candleValues(interval Interval, c *Candle, version int64) []any {
	return []any{
		version, c.Count, c.Volume, varint(c.PriceSum), varint(c.Turnover),
		c.Open.Price, c.High.Price, c.Low.Price, c.Close.Price, c.Open.EventTime, c.Close.EventTime,
		c.Exchange, c.Source.String(), c.SealedAt, c.Symbol, string(interval), year(c.Start), c.Start,
	}
}

// ReadCandles returns the stored candles of a symbol that start at or after from
// and before to (milliseconds since the Unix epoch), oldest first, at most limit of
// them. Idempotent.
func (s *Store) ReadCandles(ctx context.Context, symbol string, interval Interval, from, to int64, limit int) ([]Candle, error) {
	var list []Candle
	for y := year(from); y <= year(to-1) && len(list) < limit && from < to; y++ {
		it := s.session.Query("SELECT window_start, tick_count, volume, price_sum, turnover, open, high, low, close, open_time, close_time, exchange, source, sealed_at "+
			"FROM candles WHERE symbol = ? AND interval = ? AND year = ? AND window_start >= ? AND window_start < ? LIMIT ?",
			symbol, string(interval), y, from, to, limit-len(list)).WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
		var source string
		for {
			c := Candle{Symbol: symbol}
			if !it.Scan(&c.Start, &c.Count, &c.Volume, (*varint)(&c.PriceSum), (*varint)(&c.Turnover),
				&c.Open.Price, &c.High.Price, &c.Low.Price, &c.Close.Price, &c.Open.EventTime, &c.Close.EventTime, &c.Exchange, &source, &c.SealedAt) {
				break
			}
			c.Source = tick.ParseSource(source)
			list = append(list, c)
		}
		if err := it.Close(); err != nil {
			return nil, fmt.Errorf("read %s candles of %s: %w", interval, symbol, err)
		}
	}
	return list, nil
}

// year is the part of a candle's key that bounds its partition.
func year(start int64) int {
	return time.UnixMilli(start).UTC().Year()
}

// varint is a 128-bit sum as CQL's varint: big-endian two's complement of the
// least number of bytes.
type varint window.Sum

// MarshalCQL writes the sum.
func (v varint) MarshalCQL(gocql.TypeInfo) ([]byte, error) {
	b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(v.Hi)), v.Lo)
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return b, nil
}

// UnmarshalCQL reads a sum; an absent one is 0.
func (v *varint) UnmarshalCQL(_ gocql.TypeInfo, b []byte) error {
	if len(b) > 16 {
		return fmt.Errorf("a stored sum has %d bytes, more than 16", len(b))
	}
	var full [16]byte
	if len(b) > 0 && b[0] >= 0x80 {
		for i := range full {
			full[i] = 0xff
		}
	}
	copy(full[16-len(b):], b)
	*v = varint{int64(binary.BigEndian.Uint64(full[:8])), binary.BigEndian.Uint64(full[8:])}
	return nil
}
