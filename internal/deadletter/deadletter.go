// Package deadletter keeps records that a function can't take, in a topic: each
// with its key, value and headers, and with headers that say why it is there and
// where it comes from (docs/trigger.md).
//
// It is not for deciding which records those are (trigger.Judge).
package deadletter

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/trigger"
)

// The headers that a dead letter has besides those of its record.
const (
	HeaderReason    = "dead-letter-reason"
	HeaderFunction  = "dead-letter-function"
	HeaderTopic     = "dead-letter-topic"
	HeaderTopicID   = "dead-letter-topic-id"
	HeaderPartition = "dead-letter-partition"
	HeaderOffset    = "dead-letter-offset"
	HeaderTimestamp = "dead-letter-timestamp"
)

// TopicOf is the dead-letter topic of a topic for which nobody has named another.
func TopicOf(topic string) string { return topic + ".dead" }

// Origin is where records come from, and which function can't take them.
type Origin struct {
	Function  string
	Topic     string
	TopicID   [16]byte
	Partition int
}

// Letter makes the dead letter of a record, which it copies.
func (o *Origin) Letter(r *trigger.Record, reason string) kafka.Message {
	if reason == "" {
		reason = "the function gave no reason"
	}
	m := kafka.Message{Key: clone(r.Key), Value: clone(r.Value)}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: clone(h.Value)})
	}
	add := func(key, value string) {
		m.Headers = append(m.Headers, kafka.Header{Key: key, Value: []byte(value)})
	}
	add(HeaderReason, reason)
	add(HeaderFunction, o.Function)
	add(HeaderTopic, o.Topic)
	add(HeaderTopicID, bus.FormatID(o.TopicID))
	add(HeaderPartition, strconv.Itoa(o.Partition))
	add(HeaderOffset, strconv.FormatInt(r.Offset, 10))
	add(HeaderTimestamp, strconv.FormatInt(r.Timestamp, 10))
	return m
}

// clone keeps nil apart from empty.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// Reason is why the letter is one.
func Reason(letter kafka.Message) string {
	for _, h := range slices.Backward(letter.Headers) { // ours come behind the record's own
		if h.Key == HeaderReason {
			return string(h.Value)
		}
	}
	return ""
}

// Publisher publishes to dead-letter topics, which it creates where they are
// absent. It is safe for concurrent use.
type Publisher struct {
	client *bus.Client

	mu        sync.Mutex
	producers map[string]*bus.Producer
}

// NewPublisher makes a Publisher. It does not connect.
func NewPublisher(client *bus.Client) *Publisher {
	return &Publisher{client: client, producers: map[string]*bus.Producer{}}
}

func (d *Publisher) producer(ctx context.Context, topic string) (*bus.Producer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.producers[topic]; p != nil {
		return p, nil
	}
	if err := d.client.EnsureTopics(ctx, bus.DeadLetters(topic)); err != nil {
		return nil, err
	}
	p := d.client.DeadLetterProducer(topic)
	d.producers[topic] = p
	return p, nil
}

// Publish tries until Kafka has all letters, and returns nil then, or the error
// of ctx. A letter may be there twice.
func (d *Publisher) Publish(ctx context.Context, topic string, letters []kafka.Message, log *slog.Logger) error {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 200*time.Millisecond, 10*time.Second
	for {
		p, err := d.producer(ctx, topic)
		if err == nil {
			err = p.Publish(ctx, letters)
		}
		if err == nil {
			return nil
		}
		var pe *bus.PublishError
		if errors.As(err, &pe) {
			left := make([]kafka.Message, 0, len(pe.Failed))
			for _, i := range pe.Failed {
				left = append(left, letters[i])
			}
			letters = left
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := retry.NextBackOff()
		log.Error("can't write dead letters, their records wait", "dead-letter-topic", topic, "letters", len(letters), "error", err, "wait", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}
