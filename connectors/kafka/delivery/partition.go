package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"

	"ticktape/connectors/kafka/subscription"
	"ticktape/internal/bus"
	"ticktape/internal/deadletter"
	"ticktape/internal/trigger"
)

// partition delivers one partition to one function for one generation of its
// group: in order, one call at a time. One goroutine reads and encodes, another
// calls.
type partition struct {
	*shared
	sub  *subscription.Subscription
	gen  *bus.Generation
	at   *bus.Assignment
	log  *slog.Logger
	m    *partitionMetrics
	dead string
	// origin is where its dead letters come from.
	origin deadletter.Origin

	batcher *batcher
	// done is the offset up to which everything is done.
	done atomic.Int64
	// doubt is the offset up to which records may have been applied by a call
	// whose end is not known: deliveries that start below it are resumed.
	doubt int64
	// inherited is how many more records the owner before us may have had, if they
	// lie below end.
	inherited int
	// ahead is how many records have been done since it was last known that all
	// that was done is committed.
	ahead int
	// end of the log as of the first fetch; closed when it is known.
	end      int64
	endKnown chan struct{}
}

func newPartition(sh *shared, sub *subscription.Subscription, gen *bus.Generation, at *bus.Assignment, log *slog.Logger) *partition {
	p := &partition{
		shared: sh, sub: sub, gen: gen, at: at,
		log:      log.With("topic", at.Topic, "partition", at.Partition),
		m:        sh.metrics.partition(sub, at),
		dead:     sub.DeadTopic(at.Topic),
		origin:   deadletter.Origin{Function: sub.Function.String(), Topic: at.Topic, TopicID: at.Info.ID, Partition: at.Partition},
		endKnown: make(chan struct{}),
	}
	p.done.Store(at.Offset)
	maxBytes := func() int { return min(sub.MaxBytes, sh.budget.share()) }
	var once sync.Once
	align := alignment{sub.Align, sub.AlignBy, func(first int64) {
		once.Do(func() {
			p.log.Warn("batches end anywhere: no time is found in the last records of a full one; see kafka.batch.align-by", "first-offset", first)
		})
	}}
	p.batcher = newBatcher(sub.MaxRecords, maxBytes, sub.MaxWait, align, at.Offset, func() *trigger.Encoder {
		return trigger.NewEncoder(sub.Format, at.Topic, at.Info.ID, at.Partition)
	})
	return p
}

// run returns when ctx is done and the call in flight has ended.
func (p *partition) run(ctx context.Context) {
	defer p.m.forget()
	var wg sync.WaitGroup
	wg.Go(func() { p.read(ctx) })
	p.call(ctx)
	wg.Wait()
}

// idleWait is how long a fetch waits for records that do not come. It does not
// delay those that do.
const idleWait = 2 * time.Second

// mostPause is how long the next fetch is put off at most when all has been read.
const mostPause = 250 * time.Millisecond

// read fetches and encodes until ctx is done or the partition can't be read on.
func (p *partition) read(ctx context.Context) {
	cursor := p.bus.Cursor(p.at.Topic, p.at.Info, p.at.Partition, p.at.Offset)
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 50*time.Millisecond, 5*time.Second
	known, failing := false, false
	for ctx.Err() == nil {
		from := cursor.Next()
		chunk, err := cursor.Fetch(ctx, idleWait, min(int(p.cfg.FetchBytes), p.budget.share()))
		if err == nil {
			if !known {
				known, p.end = true, chunk.End
				close(p.endKnown)
			}
			err = p.batcher.fill(ctx, chunk, cursor)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failing {
				p.log.Info("the partition can be read again")
				p.m.stopped(false)
			}
			failing = false
			retry.Reset()
			if next := cursor.Next(); next > from && next >= chunk.End {
				sleep(ctx, p.pause())
			}
			continue
		case !p.mayRetry(err, cursor.Next()):
			return
		}
		if !failing { // once, not for each time
			p.log.Error("can't read the partition, trying again", "offset", cursor.Next(), "error", err)
			p.m.stopped(true)
		}
		failing = true
		sleep(ctx, retry.NextBackOff())
	}
}

// pause is how long the next fetch is put off when all has been read: until shortly
// before a batch is taken, the next one where the present one is taken by then. A
// fetch that waits at the log's end is work for Kafka with every write.
func (p *partition) pause() time.Duration {
	shortly := p.sub.MaxWait / 8
	wait := time.Until(p.batcher.due().Add(-shortly))
	if wait <= 0 {
		wait = p.sub.MaxWait - shortly
	}
	return min(wait, mostPause)
}

// mayRetry sorts out the errors of a fetch that trying again does not mend.
func (p *partition) mayRetry(err error, offset int64) bool {
	switch {
	case errors.Is(err, bus.ErrNoTopic):
		p.gen.End(fmt.Errorf("%w: %w", bus.ErrChanged, err))
		return false
	case errors.Is(err, bus.ErrOutOfRange):
		p.m.outOfRange()
		p.log.Error("partition stopped: the log no longer has the offset from which the function goes on, so records were deleted before they were delivered. "+
			"To go on, stop the connector, set the group's offset (kafka-consumer-groups.sh --reset-offsets) and start it", "offset", offset, "group", p.sub.Group, "error", err)
		return false
	}
	return true
}

// call delivers batch after batch until ctx is done.
func (p *partition) call(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-p.endKnown:
	}
	if p.at.Resumed {
		p.inherited = p.at.Window
	}
	for ctx.Err() == nil {
		b := p.batcher.take(ctx, p.done.Load())
		if b == nil {
			return
		}
		err := p.deliver(ctx, b)
		if b.dead > 0 { // once for a batch, however many calls it took
			p.log.Warn("records are in the dead-letter topic", "dead-letter-topic", p.dead, "records", b.dead, "of", b.Len(), "reason", b.why)
		}
		next := b.next
		p.batcher.put(b)
		if err != nil {
			if ctx.Err() == nil {
				p.m.stopped(true)
				p.log.Error("partition stopped: a record that was encoded can't be read back, which is a bug", "error", err)
			}
			return
		}
		p.finish(next)
	}
}

// finish says that everything below next is done.
func (p *partition) finish(next int64) {
	p.done.Store(next)
	p.gen.Done(p.at, next)
}

func (p *partition) deliver(ctx context.Context, b *batch) error {
	if p.sub.Format != trigger.Single {
		if b.Len() == 0 {
			return nil
		}
		return p.work(ctx, b, 0, b.Len())
	}
	for i := range b.Len() {
		if err := p.work(ctx, b, i, i+1); err != nil {
			return err
		}
	}
	return nil
}

// work delivers the records from i up to j until they are done, one way or
// another. An error means that some of them are not, because ctx is done.
func (p *partition) work(ctx context.Context, b *batch, i, j int) error {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = p.cfg.RetryMin, p.cfg.RetryMax
	for attempt := 1; ; attempt++ {
		if err := p.mayCall(ctx, j-i); err != nil {
			return err
		}
		v, err := p.once(ctx, b, i, j)
		if err != nil {
			return err
		}
		switch v.Kind {
		case trigger.Accepted:
			if v.Failures == nil {
				p.pass(b, i, j)
				return nil
			}
			return p.settle(ctx, b, i, j, deadReported, v.Failures.Find)
		case trigger.Refused:
			if j-i == 1 {
				return p.settle(ctx, b, i, j, deadRefused, func(int64) (string, bool) { return v.Reason, true })
			}
			if j-i == b.Len() { // once for a batch
				p.log.Warn("batch refused, halving it to find the records that are at fault", "offset", b.Offset(i), "records", j-i, "answer", v.Reason)
			}
			mid := i + (j-i)/2
			if err := p.work(ctx, b, i, mid); err != nil {
				return err
			}
			return p.work(ctx, b, mid, j)
		case trigger.Later:
			if p.sub.Retries != subscription.Endless && attempt > p.sub.Retries {
				reason := "given up after " + strconv.Itoa(attempt) + " calls: " + v.Reason
				return p.settle(ctx, b, i, j, deadGivenUp, func(int64) (string, bool) { return reason, true })
			}
		}
		wait := retry.NextBackOff()
		if v.After > 0 {
			wait = v.After
		}
		if v.Kind == trigger.Misdirected {
			p.log.Error("function can't be called; its records wait. 401 and 403: see that connector and function have the same secret trigger-token; 404: see that the function is there", "answer", v.Reason, "attempt", attempt, "wait", wait)
		} else {
			p.log.Warn("call failed, trying again", "offset", b.Offset(i), "records", j-i, "answer", v.Reason, "attempt", attempt, "wait", wait)
		}
		sleep(ctx, wait)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.m.retries.Inc()
	}
}

// window is how many records may be done or out since the last commit, so that
// the next owner knows which it has to be careful with.
func window(sub *subscription.Subscription) int {
	if sub.Format == trigger.Single {
		return 100
	}
	return sub.MaxRecords
}

// mayCall waits until a call with so many records keeps to the rules: the
// partition is ours for sure, and commits are not too far behind.
func (p *partition) mayCall(ctx context.Context, records int) error {
	if p.ahead > 0 && p.ahead+records > window(p.sub) {
		if err := p.gen.AwaitCommit(ctx, p.at, p.done.Load()); err != nil {
			return err
		}
		p.ahead = 0
	}
	return p.gen.AwaitOwnership(ctx)
}

// once makes one call. It is not ended by ctx: a call in flight is finished.
func (p *partition) once(ctx context.Context, b *batch, i, j int) (trigger.Verdict, error) {
	first, last := b.Offset(i), b.Offset(j-1)
	resumed := first < p.doubt || p.inherited > 0 && first < p.end
	var headers http.Header
	var parts [3][]byte
	if p.sub.Format == trigger.Single {
		r, err := b.Record(i)
		if err != nil {
			return trigger.Verdict{}, err
		}
		headers = singleHeaders(p.at.Topic, p.at.Partition, &r, p.sub.ContentType)
		parts[0] = r.Value
	} else {
		headers = http.Header{
			"Content-Type":          {b.ContentType()},
			trigger.HeaderTopic:     {p.at.Topic},
			trigger.HeaderPartition: {strconv.Itoa(p.at.Partition)},
			trigger.HeaderOffset:    {strconv.FormatInt(first, 10)},
		}
		parts = b.Body(i, j, resumed)
	}
	headers.Set(trigger.HeaderResumed, strconv.FormatBool(resumed))
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.CallTimeout)
	defer cancel()
	start := time.Now()
	answer, err := p.gateway.Call(callCtx, p.sub.Function, headers, parts[:]...)
	v := trigger.Unanswered(err)
	if err == nil {
		v = trigger.Judge(answer.Status, answer.Header, answer.Body, p.sub.Format != trigger.Single, first, last)
	}
	if v.Doubt {
		p.doubt = max(p.doubt, last+1)
	}
	p.m.called(v.Code, time.Since(start), j-i, len(parts[0])+len(parts[1])+len(parts[2]))
	return v, nil
}

// settle finishes the records from i up to j: those that failed go to the
// dead-letter topic first, and are counted there as kind. After an error they are
// not done.
func (p *partition) settle(ctx context.Context, b *batch, i, j int, kind string, failed func(offset int64) (string, bool)) error {
	var letters []kafka.Message
	for k := i; k < j; k++ {
		reason, bad := failed(b.Offset(k))
		if !bad {
			continue
		}
		r, err := b.Record(k)
		if err != nil {
			return err
		}
		letters = append(letters, p.origin.Letter(&r, reason))
	}
	if len(letters) > 0 {
		if err := p.deadLetters.Publish(ctx, p.dead, letters, p.log); err != nil {
			return err
		}
		p.m.deadLetters.WithLabelValues(kind).Add(float64(len(letters)))
		if b.dead += len(letters); b.why == "" {
			b.why = deadletter.Reason(letters[0])
		}
	}
	p.pass(b, i, j)
	return nil
}

// pass says that the records from i up to j are done.
func (p *partition) pass(b *batch, i, j int) {
	p.finish(b.Offset(j-1) + 1)
	p.ahead += j - i
	p.inherited -= j - i
}
