package chunk

import (
	"cmp"
	"fmt"
	"slices"

	"ticktape/internal/chunk/chunkpb"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// Summary is what the records of one chunk add up to, repeated trades included.
type Summary struct {
	window.State
	// FirstSeq belongs to the lowest (event time, seq) of the chunk and LastSeq
	// to the highest; their event times are those of Open and Close.
	FirstSeq, LastSeq int64
	// Repeats counts the records that repeat a trade of the same chunk.
	Repeats int64
	// LastLogTime is the latest log time, in milliseconds since the Unix epoch.
	LastLogTime int64
	// Exchange and Source are those of the last record.
	Exchange string
	Source   tick.Source
}

// Key orders trades by event time, then seq. Trades with different keys are
// different trades.
type Key struct {
	EventTime, Seq int64
}

func (k Key) compare(o Key) int {
	if k.EventTime != o.EventTime {
		return cmp.Compare(k.EventTime, o.EventTime)
	}
	return cmp.Compare(k.Seq, o.Seq)
}

// Keys returns the lowest and the highest key of the chunk's records.
func (s *Summary) Keys() (lowest, highest Key) {
	return Key{s.Open.EventTime, s.FirstSeq}, Key{s.Close.EventTime, s.LastSeq}
}

// Append appends the summary's stored form to dst.
func (s *Summary) Append(dst []byte) []byte {
	points := [4]chunkpb.Point{}
	for i, p := range [4]window.Point{s.Open, s.High, s.Low, s.Close} {
		points[i].EventTime, points[i].Offset, points[i].Price = p.EventTime, p.Offset, p.Price
	}
	m := chunkpb.Summary{
		Records: s.Count, Volume: s.Volume,
		PriceSumHi: s.PriceSum.Hi, PriceSumLo: s.PriceSum.Lo, TurnoverHi: s.Turnover.Hi, TurnoverLo: s.Turnover.Lo,
		Open: &points[0], High: &points[1], Low: &points[2], Close: &points[3],
		FirstSeq: s.FirstSeq, LastSeq: s.LastSeq, Repeats: s.Repeats, LastLogTime: s.LastLogTime,
		Exchange: s.Exchange, Source: int32(s.Source),
	}
	n := m.SizeVT()
	dst = slices.Grow(dst, n)[:len(dst)+n]
	if _, err := m.MarshalToSizedBufferVT(dst[len(dst)-n:]); err != nil {
		panic(fmt.Sprintf("encode summary of %d bytes: %v", n, err)) // the size was wrong: a bug
	}
	return dst
}

// DecodeSummary reads what Append wrote. Errors wrap ErrChunk.
func DecodeSummary(b []byte) (Summary, error) {
	var m chunkpb.Summary
	if err := m.UnmarshalVT(b); err != nil {
		return Summary{}, fmt.Errorf("%w: summary: %w", ErrChunk, err)
	}
	if m.Records < 1 || m.Repeats < 0 || m.Repeats >= m.Records {
		return Summary{}, fmt.Errorf("%w: summary of %d records, %d repeated", ErrChunk, m.Records, m.Repeats)
	}
	point := func(p *chunkpb.Point) window.Point {
		return window.Point{EventTime: p.GetEventTime(), Offset: p.GetOffset(), Price: p.GetPrice()}
	}
	return Summary{
		State: window.State{
			Count: m.Records, Volume: m.Volume,
			PriceSum: window.Sum{Hi: m.PriceSumHi, Lo: m.PriceSumLo}, Turnover: window.Sum{Hi: m.TurnoverHi, Lo: m.TurnoverLo},
			Open: point(m.Open), High: point(m.High), Low: point(m.Low), Close: point(m.Close),
		},
		FirstSeq: m.FirstSeq, LastSeq: m.LastSeq, Repeats: m.Repeats, LastLogTime: m.LastLogTime,
		Exchange: m.Exchange, Source: tick.Source(m.Source),
	}, nil
}
