// Package ingest turns Yahoo's quotes into ticks of topic "ticks": it decides
// which quotes are trades that have not been published, and how much has traded
// since the tick before. It is the logic of function fetch.
//
// It is not for asking Yahoo (package yahoo) nor for what ticks add up to.
package ingest

import (
	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

// Last is a symbol's last published tick, polled or streamed.
type Last struct {
	tick.Tick
	// VolumeKnown tells that DayVolume is known, where it may be 0 because nothing
	// has traded that day.
	VolumeKnown bool
}

// Remembered makes a Last of a tick that was read back.
func Remembered(t tick.Tick) Last {
	return Last{t, t.DayVolume != tick.Unknown || t.MarketState == tick.MarketPre}
}

// Follow makes the tick of a quote and tells how it stands to the symbol's last
// published tick, which is nil where there is none: order is above 0 where the
// quote is a later trade, 0 where it is the same, and below 0 where it is an
// earlier one, as comes from a server of Yahoo's that lags behind another.
//
// Trades are told apart by time and cumulative volume. A poll gives the time in
// whole seconds and the stream in milliseconds, so what one of them saw is known
// again in what the other sees by its second. A later trade of the same second
// whose time was cut off gets that of the trade before.
func Follow(q *yahoo.Quote, before *Last, received int64) (next Last, order int) {
	next.Tick = tick.Tick{
		Symbol: q.Symbol, EventTime: q.Time, Price: q.Price,
		PreviousClose: q.PreviousClose, Currency: q.Currency, Exchange: q.Exchange,
		MarketState: q.MarketState, Source: q.Source, ReceivedTime: received,
	}
	if q.HasVolume {
		next.Seq = q.Volume
	}
	next.Size, next.DayVolume, next.VolumeKnown = volumes(q, before)
	if before == nil {
		return next, 1
	}
	if d := distance(q.Time, before.EventTime); d != 0 {
		return next, int(max(-1, min(1, d)))
	}
	next.EventTime = max(q.Time, before.EventTime)
	if q.MarketState == tick.MarketPre {
		return next, 0 // its volume is the session's before, if any
	}
	return next, int(max(-1, min(1, next.Seq-before.Seq)))
}

// distance is how much later a is than b, as far as the coarser of the two tells.
func distance(a, b int64) int64 {
	if a%1000 == 0 || b%1000 == 0 {
		return a/1000 - b/1000
	}
	return a - b
}

const dayMs = 86_400_000

// volumes returns what has traded since the tick before, and the cumulative
// volume of the day that the quote's trade is in.
//
// Of a symbol's first quote it is not known how much is new, so its size is 0.
// When a new day has begun, the day's volume so far is new. Where the volume
// fell without one, it was corrected and nothing has traded, unless it fell by
// more than half, which is a session that began within the day. In doubt the
// size is too small rather than too large.
func volumes(q *yahoo.Quote, before *Last) (size, dayVolume int64, known bool) {
	offset := q.UTCOffset.Milliseconds()
	day := func(t int64) int64 { return (t + offset) / dayMs }

	if !q.HasVolume {
		// A volume that is missing once must not make the next one look all new.
		if before != nil && before.VolumeKnown && day(before.EventTime) == day(q.Time) {
			return 0, before.DayVolume, true
		}
		return 0, tick.Unknown, false
	}
	dayVolume = q.Volume
	if day(q.VolumeTime) < day(q.Time) {
		// In the pre-market Yahoo still tells the volume of the session before;
		// of its own day nothing has traded.
		dayVolume = 0
	}
	if before == nil {
		return 0, dayVolume, true
	}
	grown := q.Volume - before.DayVolume
	sameDay := day(q.VolumeTime) == day(before.EventTime)
	switch q.Type {
	case "FUTURE", "CURRENCY":
		// Their sessions go on over midnight. After a whole day it is another one.
		sameDay = q.VolumeTime-before.EventTime < dayMs
	}
	switch {
	case !before.VolumeKnown && (sameDay || q.VolumeRolling):
		return 0, dayVolume, true
	case q.VolumeRolling:
		// What was traded 24 hours ago leaves as the new comes in: the growth is
		// the least that has traded.
		return max(0, grown), dayVolume, true
	case sameDay && grown >= 0:
		return grown, dayVolume, true
	case sameDay && q.Volume < before.DayVolume/2:
		return q.Volume, dayVolume, true
	case sameDay:
		return 0, before.DayVolume, true
	case q.VolumeTime < before.EventTime:
		// The session of this volume was over when the tick before was published.
		return 0, dayVolume, true
	}
	return q.Volume, dayVolume, true
}
