package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"golang.org/x/sync/errgroup"
)

// Producer publishes to one topic. It is safe for concurrent use. What a call
// publishes goes out at once, in as few requests as it fits into, so a caller
// that has many messages hands them over together.
type Producer struct {
	client   *Client
	topic    string
	maxBytes int
	part     func(key []byte) []byte
	once     bool

	mu    sync.Mutex
	info  Info
	asked time.Time // when Kafka said so
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
	partitions, err := p.count(ctx)
	if err != nil {
		for i := range failed {
			failed[i] = err
		}
		return p.fail(failed)
	}
	var lanes errgroup.Group
	for _, lane := range p.lanes(msgs, partitions) {
		lanes.Go(func() error { return p.drive(ctx, msgs, lane, failed) })
	}
	if lanes.Wait() == nil {
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

// part is messages of one partition, as places in a slice of messages.
type part struct {
	partition int
	run       []int32
	size      int // bytes, about
}

// split lists the messages of each partition.
func (p *Producer) split(msgs []kafka.Message, partitions int) []part {
	parts := make([]part, partitions)
	numbers := make([]int, partitions)
	for n := range numbers {
		numbers[n], parts[n].partition = n, n
	}
	var balancer kafka.Murmur2Balancer
	for i := range msgs {
		m := &msgs[i]
		to := &parts[balancer.Balance(kafka.Message{Key: p.part(m.Key)}, numbers...)]
		if to.run == nil {
			to.run = make([]int32, 0, len(msgs)/partitions+8)
		}
		to.run = append(to.run, int32(i))
		to.size += recordSize(m)
	}
	return slices.DeleteFunc(parts, func(t part) bool { return len(t.run) == 0 })
}

// laneBytes is up to how much goes to several partitions in one request. It costs
// Kafka less than a request for each, but the partitions are written one after
// the other then.
const laneBytes = 256 << 10

// lanes puts together what is sent together: partitions with little to send each.
func (p *Producer) lanes(msgs []kafka.Message, partitions int) (lanes [][]part) {
	size := laneBytes
	for _, t := range p.split(msgs, partitions) {
		if size += t.size; size > laneBytes {
			lanes, size = append(lanes, nil), t.size
		}
		last := &lanes[len(lanes)-1]
		*last = append(*last, t)
	}
	return lanes
}

// drive sends the messages of a lane, and notes for each why it failed.
func (p *Producer) drive(ctx context.Context, msgs []kafka.Message, lane []part, failed []error) (err error) {
	if len(lane) > 1 {
		for n, e := range p.produce(ctx, msgs, lane) {
			for _, i := range lane[n].run {
				failed[i] = e
			}
			if err == nil {
				err = e
			}
		}
		return err
	}
	t := lane[0]
	for rest := t.run; len(rest) > 0; rest = rest[len(t.run):] {
		t.run = rest[:p.fits(msgs, rest)]
		if err == nil {
			err = p.produce(ctx, msgs, []part{t})[0]
		}
		for _, i := range t.run {
			failed[i] = err
		}
	}
	return err
}

// recordOverhead is above what frames a record: lengths, and what is relative to
// the batch.
const recordOverhead = 40

func recordSize(m *kafka.Message) int {
	size := recordOverhead + len(m.Key) + len(m.Value)
	for i := range m.Headers {
		size += len(m.Headers[i].Key) + len(m.Headers[i].Value)
	}
	return size
}

// fits tells how many of the messages in the list go into one request. A message
// that is too large by itself is Kafka's to refuse.
func (p *Producer) fits(msgs []kafka.Message, list []int32) int {
	size := 0
	for n, i := range list {
		if size += recordSize(&msgs[i]); size > p.maxBytes && n > 0 {
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
	// the partition has no leader, or the broker does not know that it leads.
	unsettled  = 2 * metadataTTL
	retryPause = 100 * time.Millisecond
)

// produce sends each part until it is written, or is not to be tried again. It
// returns what is wrong with each of them.
func (p *Producer) produce(ctx context.Context, msgs []kafka.Message, parts []part) []error {
	errs := make([]error, len(parts))
	open := make([]int, len(parts)) // the places of those that are not settled
	for n := range open {
		open[n] = n
	}
	for start, sent := time.Now(), 1; ; sent++ {
		now := make([]part, len(open))
		for k, n := range open {
			now[k] = parts[n]
		}
		again := open[:0]
		for k, err := range p.request(ctx, msgs, now) {
			n := open[k]
			errs[n] = err
			if err != nil && ctx.Err() != nil {
				errs[n] = errors.Join(ctx.Err(), err)
			} else if err != nil && p.mayRetry(err, sent, time.Since(start)) {
				again = append(again, n)
			}
		}
		if open = again; len(open) == 0 {
			return errs
		}
		pause(ctx, retryPause)
	}
}

// mayRetry sorts out the errors that trying again may mend, after so many
// requests in such a time.
func (p *Producer) mayRetry(err error, sent int, passed time.Duration) bool {
	var refused kafka.Error
	switch answered := errors.As(err, &refused); {
	case p.once && (!unwritten(refused) || errors.Is(err, errAppended)):
		return false
	case answered:
		return refused.Temporary() && passed <= unsettled
	}
	return sent < attempts
}

// errAppended is of a part that its leader had written when it ceased to be the
// leader: others may have it, or not.
var errAppended = errors.New("it was appended before that")

// unwritten tells whether a request was refused before anything was written, where
// the error is no errAppended.
func unwritten(refused kafka.Error) bool {
	switch refused {
	case kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition:
		return true
	}
	return false
}

// request sends the parts, with one request to each broker that leads some of
// them, and returns what is wrong with each.
func (p *Producer) request(ctx context.Context, msgs []kafka.Message, parts []part) []error {
	errs := make([]error, len(parts))
	leaders, err := p.leaders(ctx)
	if err != nil {
		for n := range errs {
			errs[n] = err
		}
		return errs
	}
	byLeader := map[int32][]int{}
	for n, t := range parts {
		leader := int32(-1)
		if t.partition < len(leaders) {
			leader = leaders[t.partition]
		}
		if leader < 0 {
			errs[n] = kafka.LeaderNotAvailable
			continue
		}
		byLeader[leader] = append(byLeader[leader], n)
	}
	var requests errgroup.Group
	for leader, places := range byLeader {
		requests.Go(func() error {
			some := make([]part, len(places))
			for k, n := range places {
				some[k] = parts[n]
			}
			for k, err := range p.send(ctx, leader, msgs, some) {
				errs[places[k]] = err
			}
			return nil
		})
	}
	_ = requests.Wait() // each part has its own error
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		p.forget()
	}
	return errs
}

// writing is what a request is made in.
type writing struct {
	batchEncoder
	body wbuf
}

var writings = sync.Pool{New: func() any { return &writing{} }}

// send makes one request of the parts to the broker that leads them all.
func (p *Producer) send(ctx context.Context, leader int32, msgs []kafka.Message, parts []part) []error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	errs := make([]error, len(parts))
	fail := func(err error) []error {
		for n := range errs {
			errs[n] = err
		}
		return errs
	}
	w := writings.Get().(*writing)
	w.body = w.body[:0]
	w.body.null()                                       // no transaction
	w.body.int16(-1)                                    // nothing counts as published before every in-sync replica has it
	w.body.int32(int32(callTimeout.Milliseconds() / 2)) // so that the broker gives up before we do
	w.body.length(1)
	w.body.string(p.topic)
	w.body.length(len(parts))
	for _, t := range parts {
		batch, err := w.encode(msgs, t.run)
		if err != nil {
			return fail(err)
		}
		w.body.int32(int32(t.partition))
		w.body.length(len(batch))
		w.body = append(w.body, batch...)
		w.body.noTags()
	}
	w.body.noTags()
	w.body.noTags()
	// Version 9 is the first of the flexible ones.
	r, err := p.client.do(ctx, &exchange{key: protocol.Produce, version: 9, broker: leader, body: w.body})
	if errors.Is(err, kafka.BrokerNotAvailable) { // the transport has not heard of it yet
		err = fmt.Errorf("%w: %w", kafka.LeaderNotAvailable, err)
	}
	if err != nil {
		return fail(err) // and the transport may still be writing from w
	}
	writings.Put(w)
	return p.answer(&r, parts, errs)
}

// errUnanswered is of a partition that the broker's answer passes over.
var errUnanswered = fmt.Errorf("%w: a partition is missing", errMalformed)

// answer reads what became of each part.
func (p *Producer) answer(r *rbuf, parts []part, errs []error) []error {
	for n := range errs {
		errs[n] = errUnanswered
	}
	r.each(func() {
		r.bytes() // topic
		r.each(func() {
			partition, code, offset := r.int32(), r.int16(), r.int64()
			r.take(2 * 8) // log append time, log start offset
			r.each(func() { r.int32(); r.bytes(); r.tags() })
			why := r.string()
			r.tags()
			n := slices.IndexFunc(parts, func(t part) bool { return int32(t.partition) == partition })
			switch {
			case n < 0 || r.err != nil:
			case code == 0:
				errs[n] = nil
			case offset >= 0:
				errs[n] = fmt.Errorf("%w (%w)", kafka.Error(code), errAppended)
			case why != "":
				errs[n] = fmt.Errorf("%w (%s)", kafka.Error(code), why)
			default:
				errs[n] = kafka.Error(code)
			}
		})
		r.tags()
	})
	return errs
}

// leaders are those of the topic's partitions, as they were not long ago, or as
// they were last known where Kafka does not say: one that is wrong refuses.
func (p *Producer) leaders(ctx context.Context) ([]int32, error) {
	p.mu.Lock()
	known, fresh := p.info.leaders, time.Since(p.asked) < metadataTTL
	p.mu.Unlock()
	if fresh {
		return known, nil
	}
	limit := callTimeout
	if known != nil {
		limit = metadataTTL
	}
	asking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	info, err := p.client.TopicInfo(asking, p.topic)
	if err != nil {
		if known != nil && ctx.Err() == nil && !errors.Is(err, ErrNoTopic) {
			return known, nil
		}
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info, p.asked = info, time.Now()
	return info.leaders, nil
}

// forget has the leaders asked for anew.
func (p *Producer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = time.Time{}
}

// count is how many partitions the topic has.
func (p *Producer) count(ctx context.Context) (int, error) {
	for start := time.Now(); ; pause(ctx, retryPause) {
		leaders, err := p.leaders(ctx)
		// A broker may not know a topic that was made a moment ago.
		if err == nil || ctx.Err() != nil || !errors.Is(err, ErrNoTopic) || time.Since(start) > unsettled {
			return len(leaders), err
		}
	}
}
