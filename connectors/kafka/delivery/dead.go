package delivery

import (
	"context"
	"errors"
	"log/slog"
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
	deadReason    = "dead-letter-reason"
	deadFunction  = "dead-letter-function"
	deadTopic     = "dead-letter-topic"
	deadTopicID   = "dead-letter-topic-id"
	deadPartition = "dead-letter-partition"
	deadOffset    = "dead-letter-offset"
	deadTimestamp = "dead-letter-timestamp"
)

// deadLetters publishes to dead-letter topics, which it creates where they are absent.
type deadLetters struct {
	client *bus.Client

	mu        sync.Mutex
	producers map[string]*bus.Producer
}

func (d *deadLetters) producer(ctx context.Context, topic string) (*bus.Producer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.producers[topic]; p != nil {
		return p, nil
	}
	if err := d.client.EnsureTopics(ctx, bus.DeadLetters(topic)); err != nil {
		return nil, err
	}
	p := d.client.DeadLetterProducer(topic)
	if d.producers == nil {
		d.producers = map[string]*bus.Producer{}
	}
	d.producers[topic] = p
	return p, nil
}

// publish returns when Kafka has all letters, or the error of ctx.
func (d *deadLetters) publish(ctx context.Context, topic string, letters []kafka.Message, log *slog.Logger) error {
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
		sleep(ctx, wait)
	}
}

// letter makes the dead letter of a record, which it copies.
func (p *partition) letter(r *trigger.Record, reason string) kafka.Message {
	m := kafka.Message{Key: clone(r.Key), Value: clone(r.Value)}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: clone(h.Value)})
	}
	add := func(key, value string) {
		m.Headers = append(m.Headers, kafka.Header{Key: key, Value: []byte(value)})
	}
	add(deadReason, reason)
	add(deadFunction, p.sub.Function.String())
	add(deadTopic, p.at.Topic)
	add(deadTopicID, bus.FormatID(p.at.Info.ID))
	add(deadPartition, strconv.Itoa(p.at.Partition))
	add(deadOffset, strconv.FormatInt(r.Offset, 10))
	add(deadTimestamp, strconv.FormatInt(r.Timestamp, 10))
	return m
}

// clone keeps nil apart from empty.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// sleep waits for d or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
