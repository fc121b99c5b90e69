package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Topic says how a topic is to be created.
type Topic struct {
	Name       string
	Partitions int
	// Settings are Kafka's topic settings, such as "cleanup.policy".
	Settings map[string]string
}

// StandardTopics lists the topics of Ticktape.
func StandardTopics(cfg Config) []Topic {
	day := 24 * time.Hour
	return []Topic{
		{cfg.TicksTopic, cfg.TickPartitions, map[string]string{
			// A record's timestamp is log time, by which it is decided when a window
			// is complete.
			"message.timestamp.type": "LogAppendTime",
		}},
		{cfg.WindowsTopic, cfg.TickPartitions, map[string]string{
			"cleanup.policy":         "compact,delete",
			"retention.ms":           ms(2 * day),
			"message.timestamp.type": "LogAppendTime",
		}},
		DeadLetters(cfg.DeadTopic),
	}
}

// DeadLetters is the topic that a dead-letter topic is created as. It takes
// larger messages than usual, because a dead letter is its record with a reason
// added, and keeps them 30 days.
func DeadLetters(name string) Topic {
	return Topic{name, 1, map[string]string{
		"retention.ms":      ms(30 * 24 * time.Hour),
		"max.message.bytes": strconv.Itoa(maxDeadLetter),
	}}
}

const maxDeadLetter = 16 << 20

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// EnsureTopics creates the topics that are absent and waits until Kafka serves
// them. It leaves topics that exist as they are. Idempotent.
func (c *Client) EnsureTopics(ctx context.Context, topics ...Topic) error {
	var absent []kafka.TopicConfig
	for _, t := range topics {
		_, err := c.TopicInfo(ctx, t.Name)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrNoTopic) {
			return err
		}
		tc := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: c.replication()}
		for k, v := range t.Settings {
			tc.ConfigEntries = append(tc.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
		}
		absent = append(absent, tc)
	}
	if len(absent) == 0 {
		return nil
	}
	resp, err := c.kafka.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: absent})
	if err != nil {
		return c.explain("create topics", err)
	}
	for name, err := range resp.Errors {
		// Another process may have been quicker.
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	for _, t := range absent {
		if err := c.awaitTopic(ctx, t.Topic); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) awaitTopic(ctx context.Context, name string) error {
	for {
		info, err := c.TopicInfo(ctx, name)
		if err == nil && !slices.Contains(info.leaders, -1) {
			return nil
		}
		if err != nil && !errors.Is(err, ErrNoTopic) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s was created but is not served: %w", name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Info is what Kafka says of a topic.
type Info struct {
	// ID names the topic's incarnation: a topic that is deleted and made again
	// has another one. It is never zero.
	ID         [16]byte
	Partitions int

	leaders []int32 // by partition, -1 where there is none
}

// ErrNoTopic is wrapped by the error of TopicInfo where the topic does not exist.
var ErrNoTopic = errors.New("there is no such topic")

// TopicInfo asks Kafka; nothing is cached. It needs Kafka 3.1 or later.
func (c *Client) TopicInfo(ctx context.Context, topic string) (Info, error) {
	infos, err := c.topicInfos(ctx, topic)
	if err != nil {
		return Info{}, err
	}
	return infos[0], nil
}

func (c *Client) topicInfos(ctx context.Context, topic string) ([]Info, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// Metadata version 12 is the first that is asked by name and answers with ids
	// on every broker since 3.1.
	body := make(wbuf, 0, 64)
	body.length(1)
	body = append(body, make([]byte, 16)...)
	body.string(topic)
	body.noTags()
	body.int8(0) // don't create it
	body.int8(0) // no authorised operations
	body.noTags()
	r, err := c.do(ctx, &exchange{key: protocol.Metadata, version: 12, broker: -1, body: body})
	if err != nil {
		return nil, c.explain("ask for topic "+topic, err)
	}
	var infos []Info
	var failed error
	r.int32() // throttle time
	r.each(func() { r.int32(); r.bytes(); r.int32(); r.bytes(); r.tags() })
	r.bytes() // cluster id
	r.int32() // controller
	r.each(func() {
		var info Info
		if code := r.int16(); code != 0 {
			failed = kafka.Error(code)
		}
		r.bytes() // name
		copy(info.ID[:], r.take(16))
		r.int8() // internal
		r.each(func() {
			r.int16()
			index, leader := r.int32(), r.int32()
			r.int32() // leader epoch
			for range 3 {
				r.each(func() { r.int32() })
			}
			r.tags()
			for int(index) >= len(info.leaders) && index < 1<<20 {
				info.leaders = append(info.leaders, -1)
			}
			if index >= 0 && int(index) < len(info.leaders) {
				info.leaders[index] = leader
			}
		})
		info.Partitions = len(info.leaders)
		r.int32() // authorised operations
		r.tags()
		infos = append(infos, info)
	})
	switch {
	case r.err != nil:
		return nil, fmt.Errorf("ask for topic %s: %w", topic, r.err)
	case errors.Is(failed, kafka.UnknownTopicOrPartition):
		return nil, fmt.Errorf("topic %s: %w", topic, ErrNoTopic)
	case failed != nil:
		return nil, fmt.Errorf("ask for topic %s: %w", topic, failed)
	case len(infos) != 1 || infos[0].Partitions == 0:
		return nil, fmt.Errorf("topic %s: %w", topic, ErrNoTopic)
	case infos[0].ID == [16]byte{}:
		return nil, fmt.Errorf("topic %s has no id: Kafka 3.1 or later is needed", topic)
	}
	return infos, nil
}

// explain adds where Kafka was sought to an error of the way to it.
func (c *Client) explain(what string, err error) error {
	return fmt.Errorf("%s at Kafka %s: %w", what, strings.Join(c.cfg.Brokers, ","), err)
}
