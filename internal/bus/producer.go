package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// Producer publishes to one topic. It is safe for concurrent use. What a call
// publishes goes out at once, with one request for each partition, so a caller
// that has many messages hands them over together.
type Producer struct {
	client   *Client
	topic    string
	maxBytes int
	part     func(key []byte) []byte
	once     bool

	mu         sync.Mutex
	partitions []int // their numbers
	counted    time.Time
}

// Producer makes a producer. Records with the same key go to the same partition,
// the one that Java's producer would choose.
func (c *Client) Producer(topic string) *Producer {
	return c.ProducerBy(topic, func(key []byte) []byte { return key })
}

// ProducerBy makes a producer for which only a part of the key decides to which
// partition a record goes.
func (c *Client) ProducerBy(topic string, part func(key []byte) []byte) *Producer {
	return &Producer{client: c, topic: topic, maxBytes: 900_000, part: part}
}

// DeadLetterProducer makes a producer for messages as large as a dead-letter
// topic takes.
func (c *Client) DeadLetterProducer(topic string) *Producer {
	p := c.Producer(topic)
	p.maxBytes = maxDeadLetter
	return p
}

// OnceProducer makes a producer that sends each message once: what is not
// acknowledged is an error at once, so that the caller can look into the log
// before it publishes that again.
func (c *Client) OnceProducer(topic string) *Producer {
	p := c.Producer(topic)
	p.once = true
	return p
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
// they may have been written all the same, so a message can be there twice.
// Messages of one partition are written in their order, and none behind one that
// was not.
func (p *Producer) Publish(ctx context.Context, msgs []kafka.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	failed := make([]error, len(msgs))
	numbers, err := p.numbers(ctx)
	if err != nil {
		for i := range failed {
			failed[i] = err
		}
		return p.fail(failed)
	}
	var requests errgroup.Group
	for partition, list := range p.split(msgs, numbers) {
		if len(list) == 0 {
			continue
		}
		requests.Go(func() error {
			var err error
			for len(list) > 0 {
				run := list[:p.fits(msgs, list)]
				if err == nil {
					err = p.produce(ctx, partition, msgs, run)
				}
				for _, i := range run {
					failed[i] = err
				}
				list = list[len(run):]
			}
			return err
		})
	}
	if requests.Wait() == nil {
		return nil
	}
	return p.fail(failed)
}

func (p *Producer) fail(failed []error) error {
	pe := &PublishError{Topic: p.topic}
	for i, err := range failed {
		if err == nil {
			continue
		}
		pe.Failed = append(pe.Failed, i)
		if pe.Cause == nil {
			pe.Cause = err
		}
	}
	return pe
}

// split lists the messages of each partition.
func (p *Producer) split(msgs []kafka.Message, numbers []int) [][]int32 {
	lists := make([][]int32, len(numbers))
	var balancer kafka.Murmur2Balancer
	for i := range msgs {
		n := balancer.Balance(kafka.Message{Key: p.part(msgs[i].Key)}, numbers...)
		if lists[n] == nil {
			lists[n] = make([]int32, 0, len(msgs)/len(numbers)+8)
		}
		lists[n] = append(lists[n], int32(i))
	}
	return lists
}

// recordOverhead is above what frames a record: lengths, and what is relative to
// the batch.
const recordOverhead = 40

// fits tells how many of the messages in the list go into one request. A message
// that is too large by itself is Kafka's to refuse.
func (p *Producer) fits(msgs []kafka.Message, list []int32) int {
	size := 0
	for n, i := range list {
		m := &msgs[i]
		size += recordOverhead + len(m.Key) + len(m.Value)
		for _, h := range m.Headers {
			size += len(h.Key) + len(h.Value)
		}
		if size > p.maxBytes && n > 0 {
			return n
		}
	}
	return len(list)
}

const (
	// attempts bound how often a request is sent whose connection breaks: those that
	// were idle while the broker was started again all do.
	attempts = 3
	// unsettled is how long a request that was refused for the moment is tried again:
	// the partition has no leader, or the transport does not know yet which.
	unsettled  = 2 * metadataTTL
	retryPause = 100 * time.Millisecond
)

func (p *Producer) produce(ctx context.Context, partition int, msgs []kafka.Message, run []int32) error {
	for start, sent := time.Now(), 1; ; sent++ {
		err := p.request(ctx, partition, &records{msgs: msgs, run: run})
		var refused kafka.Error
		switch answered := errors.As(err, &refused); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		case answered && (!refused.Temporary() || time.Since(start) > unsettled):
			return err
		case !answered && sent >= attempts:
			return err
		case p.once && !unwritten(refused):
			return err
		}
		pause(ctx, retryPause)
	}
}

// unwritten tells whether the broker refused a request before it wrote anything.
func unwritten(refused kafka.Error) bool {
	switch refused {
	case kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition:
		return true
	}
	return false
}

func (p *Producer) request(ctx context.Context, partition int, records *records) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := p.client.kafka.Produce(ctx, &kafka.ProduceRequest{
		Topic: p.topic, Partition: partition,
		// Nothing counts as published before every in-sync replica has it.
		RequiredAcks: kafka.RequireAll,
		Compression:  kafka.Lz4,
		Records:      records,
	})
	if err != nil {
		return err
	}
	return resp.Error
}

// numbers returns the numbers of the topic's partitions.
func (p *Producer) numbers(ctx context.Context) ([]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.counted) < metadataTTL {
		return p.partitions, nil
	}
	for start := time.Now(); ; pause(ctx, retryPause) {
		n, err := p.count(ctx)
		if err == nil {
			p.partitions, p.counted = p.partitions[:0:0], time.Now()
			for i := range n {
				p.partitions = append(p.partitions, i)
			}
			return p.partitions, nil
		}
		// The transport does not know a topic that was made a moment ago.
		if ctx.Err() != nil || !errors.Is(err, kafka.UnknownTopicOrPartition) || time.Since(start) > unsettled {
			return nil, err
		}
	}
}

func (p *Producer) count(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := p.client.kafka.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{p.topic}})
	if err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		if t.Name == p.topic {
			if t.Error == nil && len(t.Partitions) == 0 {
				return 0, kafka.UnknownTopicOrPartition
			}
			return len(t.Partitions), t.Error
		}
	}
	return 0, kafka.UnknownTopicOrPartition
}

// records hands a run of messages to kafka-go, which takes them one by one.
type records struct {
	msgs   []kafka.Message
	run    []int32
	record kafka.Record
	key    content
	value  content
}

// content is bytes as kafka-go reads them.
type content struct{ bytes.Reader }

func (*content) Close() error { return nil }

func (r *records) ReadRecord() (*kafka.Record, error) {
	if len(r.run) == 0 {
		return nil, io.EOF
	}
	m := &r.msgs[r.run[0]]
	r.run = r.run[1:]
	r.record = kafka.Record{Time: m.Time, Headers: m.Headers}
	if m.Key != nil {
		r.key.Reset(m.Key)
		r.record.Key = &r.key
	}
	if m.Value != nil {
		r.value.Reset(m.Value)
		r.record.Value = &r.value
	}
	return &r.record, nil
}
