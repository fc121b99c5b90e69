package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Producer publishes to one topic. It is safe for concurrent use; calls that
// come at the same time share requests to Kafka.
type Producer struct {
	topic  string
	writer *kafka.Writer
}

// Producer makes a producer. Records with the same key go to the same partition,
// the one that Java's producer would choose.
func (c *Client) Producer(topic string) *Producer { return c.producer(topic, 1_000_000) }

// DeadLetterProducer makes a producer for messages as large as a dead-letter
// topic takes.
func (c *Client) DeadLetterProducer(topic string) *Producer {
	return c.producer(topic, maxDeadLetter)
}

// OnceProducer makes a producer that sends each message once: what is not
// acknowledged is an error at once, so that the caller can look into the log
// before it publishes that again.
func (c *Client) OnceProducer(topic string) *Producer {
	p := c.Producer(topic)
	p.writer.MaxAttempts = 1
	return p
}

func (c *Client) producer(topic string, maxBytes int64) *Producer {
	return &Producer{topic: topic, writer: &kafka.Writer{
		Addr:     c.addr,
		Topic:    topic,
		Balancer: kafka.Murmur2Balancer{},
		// Nothing counts as published before every in-sync replica has it.
		RequiredAcks: kafka.RequireAll,
		BatchSize:    10_000,
		BatchBytes:   maxBytes,
		BatchTimeout: 5 * time.Millisecond,
		ReadTimeout:  callTimeout,
		WriteTimeout: callTimeout,
		MaxAttempts:  3,
		Compression:  kafka.Lz4,
		Transport:    c.transport,
	}}
}

// PublishError tells which messages of a Publish are not known to be written.
type PublishError struct {
	Topic string
	// Failed are indices into the slice that was published, in order.
	Failed []int
	// Cause is why the first of them failed.
	Cause error
}

func (e *PublishError) Error() string {
	return fmt.Sprintf("publish to topic %s: %d messages not acknowledged: %v", e.Topic, len(e.Failed), e.Cause)
}

func (e *PublishError) Unwrap() error { return e.Cause }

// Publish returns nil when all in-sync replicas of Kafka have all messages.
// Otherwise the error is a *PublishError, and the caller publishes those again:
// they may have been written all the same, so a message can be there twice. The
// messages must not be changed after an error.
func (p *Producer) Publish(ctx context.Context, msgs []kafka.Message) error {
	err := p.writer.WriteMessages(ctx, msgs...)
	// The transport does not know a topic that was made a moment ago. Nothing has
	// been written then.
	for start := time.Now(); errors.Is(err, kafka.UnknownTopicOrPartition) && time.Since(start) < 2*metadataTTL; {
		pause(ctx, metadataTTL/10)
		err = p.writer.WriteMessages(ctx, msgs...)
	}
	if err == nil {
		return nil
	}
	pe := &PublishError{Topic: p.topic}
	var each kafka.WriteErrors
	if errors.As(err, &each) && len(each) == len(msgs) {
		for i, e := range each {
			if e != nil {
				pe.Failed = append(pe.Failed, i)
				if pe.Cause == nil {
					pe.Cause = e
				}
			}
		}
		return pe
	}
	pe.Cause = err
	for i := range msgs {
		pe.Failed = append(pe.Failed, i)
	}
	return pe
}

// Close waits for messages under way.
func (p *Producer) Close() error { return p.writer.Close() }
