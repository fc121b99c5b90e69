// Package intake decides what a record of the log means to those who count and
// keep ticks: which tick it is, or why it is none. process and persist must agree
// on that to the last record, or live windows and history would differ.
package intake

import (
	"errors"
	"fmt"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

// MaxAhead is how far the time of a trade may lie ahead of the moment at which
// its record came into the log. A clock that is wrong by more is refused: such a tick
// would stay its symbol's latest quote until its time has come.
const MaxAhead = time.Hour

// Reader reads ticks from records. Reused, it allocates nothing per tick.
// It is not safe for concurrent use.
type Reader struct {
	decoder tick.Decoder
}

var errTombstone = errors.New("the record has no value")

// Read decodes and validates the record's tick into t, whose strings may alias
// the record. An error is the reason for the dead-letter topic.
func (r *Reader) Read(rec *trigger.Record, t *tick.Tick) error {
	if rec.Value == nil {
		return errTombstone
	}
	if err := r.decoder.Decode(contentType(rec.Headers), rec.Value, t); err != nil {
		return err
	}
	// A record without a timestamp has a negative one.
	if ahead := t.EventTime - rec.Timestamp; rec.Timestamp > 0 && ahead > MaxAhead.Milliseconds() {
		return fmt.Errorf("%w: event time %d is %s ahead of the log", tick.ErrTick, t.EventTime, time.Duration(ahead)*time.Millisecond)
	}
	return nil
}

func contentType(headers []trigger.Header) string {
	for i := range headers {
		if headers[i].Key == "content-type" {
			return tick.ContentType(headers[i].Value)
		}
	}
	return ""
}
