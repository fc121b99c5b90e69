package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/tick"
)

// Publisher is where ticks go: *bus.Producer.
type Publisher interface {
	Publish(ctx context.Context, msgs []kafka.Message) error
}

// Options say how to publish.
type Options struct {
	Encoding tick.Encoding
	// Rate is in ticks a second; 0 is as fast as it can.
	Rate float64
	// Live sets the event and received time of each tick to the moment of its
	// publication.
	Live bool
	// Progress, if not nil, is called about once a second with the ticks published so far.
	Progress func(published int64)
}

const (
	// blockTicks is how many ticks are handed to Kafka at once when there is no
	// rate to keep.
	blockTicks = 20_000
	// paceEvery is how often a paced replay publishes what has come due: each time
	// is a request to every partition.
	paceEvery = 25 * time.Millisecond
	// publishRetries bounds how often a block is tried again.
	publishRetries = 5
)

// block is a run of encoded ticks in a buffer of its own.
type block struct {
	messages []kafka.Message
	values   []byte
	err      error // io.EOF with the last block
}

// Publish publishes every tick of the source, in order for each symbol, and
// returns how many Kafka has acknowledged. A block that Kafka did not take is
// tried again, which can publish a tick twice; it has the same identity then.
func Publish(ctx context.Context, to Publisher, from Source, opt Options) (published int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	free, full := make(chan *block, 2), make(chan *block)
	// While Kafka takes one block the next is encoded.
	free <- &block{}
	free <- &block{}
	encoded := make(chan struct{})
	go func() {
		defer close(encoded)
		encode(ctx, from, opt, free, full)
	}()
	defer func() {
		cancel()
		<-encoded
	}()

	last := time.Now()
	for {
		var b *block
		select {
		case b = <-full:
		case <-ctx.Done():
			return published, ctx.Err()
		}
		if err := publish(ctx, to, b.messages); err != nil {
			return published, err
		}
		published += int64(len(b.messages))
		if opt.Progress != nil && time.Since(last) >= time.Second {
			last = time.Now()
			opt.Progress(published)
		}
		if errors.Is(b.err, io.EOF) {
			return published, nil
		}
		if b.err != nil {
			return published, b.err
		}
		free <- b
	}
}

func publish(ctx context.Context, to Publisher, messages []kafka.Message) error {
	if len(messages) == 0 {
		return nil
	}
	for try := 0; ; try++ {
		err := to.Publish(ctx, messages)
		var failed *bus.PublishError
		if err == nil || try == publishRetries || !errors.As(err, &failed) {
			return err
		}
		again := make([]kafka.Message, len(failed.Failed))
		for i, at := range failed.Failed {
			again[i] = messages[at]
		}
		messages = again
	}
}

func encode(ctx context.Context, from Source, opt Options, free <-chan *block, full chan<- *block) {
	keys := map[string][]byte{}
	due := pace{rate: opt.Rate, begun: time.Now()}
	for {
		var b *block
		select {
		case b = <-free:
		case <-ctx.Done():
			return
		}
		b.messages, b.values = b.messages[:0], b.values[:0]
		var size int
		if size, b.err = due.next(ctx); b.err == nil {
			b.err = b.fill(from, opt, size, keys)
		}
		ended := b.err != nil
		select {
		case full <- b:
		case <-ctx.Done():
			return
		}
		if ended {
			return
		}
	}
}

// pace says how many ticks have come due. What Kafka held up comes due together
// afterwards, so that the rate holds in the long run.
type pace struct {
	rate  float64
	begun time.Time
	given int64
	last  time.Time // when something was given
}

func (p *pace) next(ctx context.Context) (int, error) {
	if p.rate <= 0 {
		return blockTicks, nil
	}
	for {
		n := int64(time.Since(p.begun).Seconds()*p.rate) - p.given
		if n >= blockTicks || n > 0 && time.Since(p.last) >= paceEvery {
			n = min(n, blockTicks)
			p.given += n
			p.last = time.Now()
			return int(n), nil
		}
		select {
		case <-time.After(paceEvery / 4):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (b *block) fill(from Source, opt Options, size int, keys map[string][]byte) error {
	var t tick.Tick
	for range size {
		if err := from.Next(&t); err != nil {
			return err
		}
		if opt.Live {
			t.EventTime = time.Now().UnixMilli()
			t.ReceivedTime = t.EventTime
		}
		key, ok := keys[t.Symbol]
		if !ok {
			key = []byte(t.Symbol)
			keys[t.Symbol] = key
		}
		at := len(b.values)
		var err error
		if b.values, err = opt.Encoding.Append(b.values, &t); err != nil {
			return fmt.Errorf("tick of %s at %d: %w", t.Symbol, t.EventTime, err)
		}
		// Where the buffer grows, earlier values stay in the old one.
		b.messages = append(b.messages, kafka.Message{Key: key, Value: b.values[at:len(b.values):len(b.values)]})
	}
	return nil
}
