package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Committed returns the offset from which the group goes on in each partition
// of the topic, which is one past the last record it has done. A partition
// without a commit is absent, and so is one whose commit belongs to an earlier
// incarnation of the topic.
func (c *Client) Committed(ctx context.Context, group, topic string) (map[int]int64, error) {
	info, err := c.TopicInfo(ctx, topic)
	if err != nil {
		return nil, err
	}
	marks, _, err := c.committed(ctx, group, topic, info)
	if err != nil {
		return nil, err
	}
	offsets := make(map[int]int64, len(marks))
	for p, m := range marks {
		offsets[p] = m.offset
	}
	return offsets, nil
}

// OffsetsAfter returns, for each partition, the offset of the first record whose
// timestamp is later than t, or, where there is none, the log's end as it was
// read after that was found out. With log append time everything below it was
// written by t. For the log's end to mean that too, call it when t has passed.
func (c *Client) OffsetsAfter(ctx context.Context, topic string, t time.Time) (map[int]int64, error) {
	info, err := c.TopicInfo(ctx, topic)
	if err != nil {
		return nil, err
	}
	partitions := make([]int, info.Partitions)
	for p := range partitions {
		partitions[p] = p
	}
	offsets, err := c.listOffsets(ctx, topic, partitions, t.UnixMilli()+1)
	if err != nil {
		return nil, err
	}
	var open []int
	for p, o := range offsets {
		if o < 0 {
			open = append(open, p)
		}
	}
	ends, err := c.listOffsets(ctx, topic, open, kafka.LastOffset)
	if err != nil {
		return nil, err
	}
	for p, o := range ends {
		offsets[p] = o
	}
	return offsets, nil
}

// Ends returns the ends of the logs of partitions: one past their last records.
func (c *Client) Ends(ctx context.Context, topic string, partitions []int) (map[int]int64, error) {
	return c.listOffsets(ctx, topic, partitions, kafka.LastOffset)
}

// listOffsets answers with -1 where no record is as late as at, which is
// milliseconds since the epoch, kafka.FirstOffset or kafka.LastOffset.
func (c *Client) listOffsets(ctx context.Context, topic string, partitions []int, at int64) (map[int]int64, error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reqs := make([]kafka.OffsetRequest, len(partitions))
	for i, p := range partitions {
		reqs[i] = kafka.OffsetRequest{Partition: p, Timestamp: at}
	}
	resp, err := c.kafka.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: reqs}})
	if err != nil {
		return nil, c.explain("list offsets of topic "+topic, err)
	}
	offsets := make(map[int]int64, len(partitions))
	for _, p := range resp.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("list offsets of %s[%d]: %w", topic, p.Partition, p.Error)
		}
		switch at {
		case kafka.FirstOffset:
			offsets[p.Partition] = p.FirstOffset
		case kafka.LastOffset:
			offsets[p.Partition] = p.LastOffset
		default:
			for o := range p.Offsets {
				offsets[p.Partition] = o
			}
		}
	}
	for _, p := range partitions {
		if _, ok := offsets[p]; !ok {
			return nil, fmt.Errorf("list offsets of %s[%d]: %w", topic, p, errors.New("not answered"))
		}
	}
	return offsets, nil
}
