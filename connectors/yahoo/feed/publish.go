package feed

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/ingest"
	"ticktape/internal/tick"
	"ticktape/internal/window"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/stream"
)

// batchTrades bounds a publication.
const batchTrades = 5000

// flight is what a publication has of one symbol.
type flight struct {
	symbol *symbol
	trades []stream.Update
	last   map[bool]*ingest.Last // after it
	first  int                   // index of its first message
	count  int                   // of messages

	known, refused int64
	problem        string
}

// publishAll publishes what waits and may be published, until ctx is done. One
// publication is under way at a time; what comes meanwhile goes with the next.
func (f *Feed) publishAll(ctx context.Context) {
	for {
		select {
		case <-f.ready:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			flights, messages := f.load(time.Now())
			if len(flights) == 0 {
				break
			}
			var err error
			if len(messages) > 0 {
				// Its end must not stay unknown, so it is not broken off when we are.
				limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTime)
				err = f.Ticks.Publish(limited, messages)
				cancel()
			}
			f.settle(flights, err)
		}
	}
}

// load takes trades of symbols that are surely ours for long enough.
func (f *Feed) load(now time.Time) (flights []*flight, messages []kafka.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	room := batchTrades
	for _, s := range f.symbols {
		if !s.sure || len(s.queue) == 0 || s.until.Sub(now) < PublishLimit || room <= 0 {
			continue
		}
		n := min(len(s.queue), room)
		fl := &flight{symbol: s, trades: s.queue[:n:n], first: len(messages), last: map[bool]*ingest.Last{}}
		s.queue = s.queue[n:]
		room -= n
		for simulated, last := range s.last {
			fl.last[simulated] = last
		}
		for i := range fl.trades {
			if m, ok := f.message(fl, &fl.trades[i]); ok {
				messages = append(messages, m)
				fl.count++
			}
		}
		s.flying = true
		flights = append(flights, fl)
	}
	return flights, messages
}

// message makes the message of a trade that is later than the last one.
func (f *Feed) message(fl *flight, u *stream.Update) (m kafka.Message, ok bool) {
	simulated := u.Source == tick.SourceSimulated
	before := fl.last[simulated]
	complete(&u.Quote, before)
	next, order := ingest.Follow(&u.Quote, before, u.Received.UnixMilli())
	if order <= 0 {
		fl.known++
		return m, false
	}
	err := next.Validate()
	var value []byte
	if err == nil {
		value, err = f.encoding.Append(nil, &next.Tick)
	}
	if err != nil {
		fl.refused++
		fl.problem = err.Error()
		return m, false
	}
	fl.last[simulated] = &next
	return kafka.Message{
		Key: []byte(next.Symbol), Value: value,
		Headers: []kafka.Header{{Key: "content-type", Value: []byte(f.encoding.ContentType())}},
	}, true
}

// complete adds to a streamed quote what frames leave out and the tick before
// tells, and says which session its volume is of.
func complete(q *yahoo.Quote, before *ingest.Last) {
	sameDay := false
	if before != nil {
		if q.Currency == "" {
			q.Currency = before.Currency
		}
		if q.Exchange == "" {
			q.Exchange = before.Exchange
		}
		start, end := window.Day(q.Exchange, q.Time)
		sameDay = start <= before.EventTime && before.EventTime < end
		if q.PreviousClose == tick.Unknown && sameDay {
			q.PreviousClose = before.PreviousClose
		}
	}
	if q.MarketState != tick.MarketPre {
		return
	}
	switch {
	case sameDay && (before.MarketState == tick.MarketRegular || before.MarketState == tick.MarketPost):
		// The market has opened: the frame lacks its hours, which look like this then.
		q.MarketState, q.HasVolume = before.MarketState, q.Volume > 0
	case before != nil && !sameDay:
		// Until the opening the volume is still that of the session before.
		q.VolumeTime = before.EventTime
	default:
		q.VolumeTime = q.Time - (24 * time.Hour).Milliseconds()
	}
}

// settle remembers what was acknowledged. What was not goes back to where it was,
// and waits until the log has told whether it was written all the same.
func (f *Feed) settle(flights []*flight, err error) {
	lost := map[int]bool{}
	var partial *bus.PublishError
	if errors.As(err, &partial) {
		for _, i := range partial.Failed {
			lost[i] = true
		}
	}
	f.note(partKafka, "publish ticks (KAFKA_BROKERS)", err)
	if err != nil && time.Since(f.complained) > sayAgain {
		f.complained = time.Now()
		slog.Warn("ticks could not be published; it is looked up in the log which of them are there, and then tried again", "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fl := range flights {
		s := fl.symbol
		s.flying = false
		failed := err != nil && partial == nil
		for i := fl.first; i < fl.first+fl.count; i++ {
			failed = failed || lost[i]
		}
		if failed {
			s.sure, s.doubt = false, true
			s.queue = append(fl.trades, s.queue...)
			for f.queued > f.cfg.Queue {
				f.dropOldest(s)
			}
			continue
		}
		f.queued -= len(fl.trades)
		s.last = fl.last
		s.published += int64(fl.count)
		s.known += fl.known
		s.refused += fl.refused
		s.problem = fl.problem
		f.metrics.ticks.WithLabelValues(resultPublished).Add(float64(fl.count))
		f.metrics.ticks.WithLabelValues(resultKnown).Add(float64(fl.known))
		f.metrics.ticks.WithLabelValues(resultRefused).Add(float64(fl.refused))
	}
}
