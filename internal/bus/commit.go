package bus

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// FormatID writes a topic id as Kafka's own tools do.
func FormatID(id [16]byte) string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// mark is a committed offset. Its metadata say which incarnation of the topic it
// belongs to, so that a commit which outlived its topic is not taken for one of
// the topic that was made in its place; and how many partitions the topic had
// when the group first read it, so that a partition added later is known to be
// new and read from its beginning; and how many records past the offset may have
// been worked on (see GroupConfig.Window).
type mark struct {
	offset     int64
	partitions int // 0 where the commit does not say
	window     int // likewise
}

const (
	idTag         = "topic-id="
	partitionsTag = "partitions="
	windowTag     = "window="
)

func (m mark) metadata(id [16]byte) string {
	return fmt.Sprintf("%s%s %s%d %s%d", idTag, FormatID(id), partitionsTag, m.partitions, windowTag, m.window)
}

// parseMark reads a commit. ok is false where it belongs to another topic id. A
// commit without our metadata was made by an operator's tool and is taken as it
// stands.
func parseMark(offset int64, metadata string, id [16]byte) (m mark, ok bool) {
	m.offset = offset
	for field := range strings.FieldsSeq(metadata) {
		if v, found := strings.CutPrefix(field, idTag); found && v != FormatID(id) {
			return mark{}, false
		}
		if v, found := strings.CutPrefix(field, partitionsTag); found {
			m.partitions, _ = strconv.Atoi(v) // 0 where it is no number
		}
		if v, found := strings.CutPrefix(field, windowTag); found {
			m.window, _ = strconv.Atoi(v)
		}
	}
	return m, true
}

// settling tells an error that passes by itself: a group is being given a
// coordinator, as the first ones are when a cluster has just started.
func settling(err error) bool {
	return errors.Is(err, kafka.GroupCoordinatorNotAvailable) || errors.Is(err, kafka.NotCoordinatorForGroup) || errors.Is(err, kafka.GroupLoadInProgress)
}

// committed reads the group's commits for the incarnation of the topic that info
// describes, and whether there are any of another incarnation.
func (c *Client) committed(ctx context.Context, group, topic string, info Info) (marks map[int]mark, stale bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all := make([]int, info.Partitions)
	for p := range all {
		all[p] = p
	}
	var resp *kafka.OffsetFetchResponse
	for {
		resp, err = c.kafka.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: all}})
		if err == nil {
			err = resp.Error
		}
		if !settling(err) || ctx.Err() != nil {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	if err != nil {
		return nil, false, c.explain("read committed offsets of group "+group, err)
	}
	marks = map[int]mark{}
	for _, p := range resp.Topics[topic] {
		if p.Error != nil {
			return nil, false, fmt.Errorf("read committed offset of group %s in %s[%d]: %w", group, topic, p.Partition, p.Error)
		}
		if p.CommittedOffset < 0 {
			continue
		}
		if m, ok := parseMark(p.CommittedOffset, p.Metadata, info.ID); ok {
			marks[p.Partition] = m
		} else {
			stale = true
		}
	}
	return marks, stale, nil
}
