package bus

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"
)

// mark is a committed offset with what its metadata says.
type mark struct {
	offset int64
}

const idTag = "topic-id="

// committed reads the group's commits for the incarnation of the topic that info
// describes. A commit without metadata is taken as it stands: an operator's tool
// made it.
func (c *Client) committed(ctx context.Context, group, topic string, info Info) (map[int]mark, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all := make([]int, info.Partitions)
	for p := range all {
		all[p] = p
	}
	resp, err := c.kafka.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: all}})
	if err == nil {
		err = resp.Error
	}
	if err != nil {
		return nil, c.explain("read committed offsets of group "+group, err)
	}
	marks := map[int]mark{}
	for _, p := range resp.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("read committed offset of group %s in %s[%d]: %w", group, topic, p.Partition, p.Error)
		}
		id, tagged := strings.CutPrefix(p.Metadata, idTag)
		if p.CommittedOffset < 0 || tagged && id != hex.EncodeToString(info.ID[:]) {
			continue
		}
		marks[p.Partition] = mark{offset: p.CommittedOffset}
	}
	return marks, nil
}
