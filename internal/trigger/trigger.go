// Package trigger is the contract between connectors and functions: how records
// travel in a call, how a connector shows that it is one, and how a function
// says what became of them. docs/trigger.md describes it for authors of
// functions in any language.
//
// It is not for Kafka (package bus) nor for when and how often a function is
// called (connectors/kafka).
package trigger

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ticktape/internal/service"
)

// Batch is a run of records of one partition of a topic, in the order of their
// offsets.
type Batch struct {
	Topic string
	// TopicID is Kafka's id of the topic's incarnation, or zero where the caller
	// did not know it: an offset names a record only together with it.
	TopicID   [16]byte
	Partition int
	// Resumed says that some of the records may have been applied by an earlier
	// call whose end is not known.
	Resumed bool
	Records []Record
}

// Record is one record of a batch.
type Record struct {
	Offset int64
	// Timestamp is in milliseconds since the Unix epoch: when Kafka wrote the
	// record where LogTime is true, else what the producer said.
	Timestamp int64
	// LogTime is not part of the Protobuf form.
	LogTime bool
	// Key and Value are nil where the record has none; a record without a value
	// is a tombstone.
	Key, Value []byte
	Headers    []Header
}

// Header is one of a record's headers. A key may occur more than once.
type Header struct {
	Key   string
	Value []byte
}

// CronTopic is what a function's annotation "topic" says where the cron
// connector is to call it.
const CronTopic = "cron-function"

// The headers of a call and of its answer.
const (
	HeaderToken     = "X-Trigger-Token"
	HeaderConnector = "X-Connector"
	HeaderTopic     = "X-Topic"
	HeaderPartition = "X-Kafka-Partition"
	HeaderOffset    = "X-Kafka-Offset"
	HeaderTimestamp = "X-Kafka-Timestamp"
	HeaderKey       = "X-Kafka-Key"
	HeaderKeyEnc    = "X-Kafka-Key-Enc"
	HeaderPrefix    = "X-Kafka-"
	HeaderTombstone = "X-Kafka-Tombstone"
	HeaderResumed   = "X-Resumed"
	// HeaderFailures is a 2xx answer's list of the offsets that can't be done:
	// numbers and ranges with commas between them, such as "17,20-25".
	HeaderFailures = "X-Batch-Failures"
)

// Failure is a record that a function can't do, and will not be able to do when
// it is asked again.
type Failure struct {
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
}

// Failures go to the dead-letter topic; all other records of the batch are done.
type Failures []Failure

// RetryLater is the error of a function that can't do the batch at present: it
// is given the same batch again.
type RetryLater struct {
	// After is how long the connector is asked to wait; 0 leaves it to it.
	After time.Duration
	// Doubt says that some of the batch may have been applied, now or by a write
	// that is still under way: the batch comes again with Resumed set.
	Doubt bool
	Cause error
}

func (e RetryLater) Error() string {
	return fmt.Sprintf("try again later: %v", e.Cause)
}

func (e RetryLater) Unwrap() error { return e.Cause }

// TokenSecret is the name of the secret that connectors and functions share.
const TokenSecret = "trigger-token"

// ErrUnauthorised is wrapped by the errors of Authorised.
var ErrUnauthorised = errors.New("not called by a connector")

// Authorised returns nil where the header carries the token of the secret
// "trigger-token". The error wraps ErrUnauthorised where the caller is at fault,
// and is another where the secret can't be read, when nobody is let in.
func Authorised(header http.Header) error {
	token, err := service.Secret(TokenSecret)
	if err != nil {
		return err
	}
	given := header.Get(HeaderToken)
	if given == "" {
		return fmt.Errorf("%w: header %s is missing", ErrUnauthorised, HeaderToken)
	}
	if subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
		return fmt.Errorf("%w: header %s has a wrong token", ErrUnauthorised, HeaderToken)
	}
	return nil
}

const (
	// maxFailuresHeader keeps the header below what proxies let through.
	maxFailuresHeader = 7 << 10
	// maxFailuresBody keeps the reasons below the megabyte of an answer that the
	// connector reads: those behind it would be lost.
	maxFailuresBody = 512 << 10
)

// header writes the offsets, which are in ascending order, as numbers and ranges.
func (f Failures) header() string {
	var b strings.Builder
	for i := 0; i < len(f); {
		j := i + 1
		for j < len(f) && f[j].Offset == f[j-1].Offset+1 {
			j++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(f[i].Offset, 10))
		if j > i+1 {
			b.WriteByte('-')
			b.WriteString(strconv.FormatInt(f[j-1].Offset, 10))
		}
		i = j
	}
	return b.String()
}

// failuresBody is the body of an answer with failures.
type failuresBody struct {
	Failures Failures `json:"failures"`
}

// FailureList is what an answer says of its batch's records.
type FailureList struct {
	ranges  [][2]int64
	reasons map[int64]string
}

// Find tells whether the record at the offset failed, and why, where that was
// said. A nil list has no failures.
func (l *FailureList) Find(offset int64) (reason string, failed bool) {
	if l == nil {
		return "", false
	}
	for _, r := range l.ranges {
		if offset >= r[0] && offset <= r[1] {
			return l.reasons[offset], true
		}
	}
	return "", false
}

// ParseFailures reads an answer's X-Batch-Failures, and the reasons from its
// body where that has them. Every offset must lie between first and last, the
// offsets of the batch's ends.
func ParseFailures(header string, body []byte, first, last int64) (*FailureList, error) {
	list := &FailureList{reasons: map[int64]string{}}
	var told failuresBody
	if json.Unmarshal(body, &told) == nil {
		for _, f := range told.Failures {
			list.reasons[f.Offset] = f.Reason
		}
	}
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseInt(strings.TrimSpace(from), 10, 64)
		b := a
		if err == nil && isRange {
			b, err = strconv.ParseInt(strings.TrimSpace(to), 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %.40q is neither an offset nor a range of offsets", HeaderFailures, part)
		}
		if a < first || b > last || b < a {
			return nil, fmt.Errorf("%s: %.40q is not within the batch's offsets, %d to %d", HeaderFailures, part, first, last)
		}
		list.ranges = append(list.ranges, [2]int64{a, b})
	}
	return list, nil
}
