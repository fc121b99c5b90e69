package lambda

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda/messages"
	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/bus"
	"ticktape/internal/deadletter"
	"ticktape/internal/trigger"
)

// partitionsAtOnce bounds the calls of one event that are under way.
const partitionsAtOnce = 16

// itemFailures is what an event source mapping with ReportBatchItemFailures
// reads: of each partition, the offset from which it is to deliver again.
type itemFailures struct {
	Failures []itemFailure `json:"batchItemFailures"`
}

type itemFailure struct {
	Item struct {
		Partition string `json:"partition"` // TOPIC-NUMBER
		Offset    int64  `json:"offset"`
	} `json:"itemIdentifier"`
}

// kafka delivers an event's records, each partition's by itself: one that fails
// keeps no other from being done. Then the whole event comes again, which does no
// harm, or only what failed, where the event source mapping can do that.
func (a *Adapter) kafka(ctx context.Context, payload []byte) ([]byte, error) {
	batches, err := trigger.DecodeEvent(payload)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(batches, func(x, y trigger.Batch) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), cmp.Compare(x.Partition, y.Partition))
	})
	if err := a.identify(ctx, batches); err != nil {
		return nil, err
	}
	done := make([]int64, len(batches)) // up to which offset
	errs := make([]error, len(batches))
	var all errgroup.Group
	all.SetLimit(partitionsAtOnce)
	for i := range batches {
		all.Go(func() error {
			done[i], errs[i] = a.deliver(ctx, &batches[i])
			return nil
		})
	}
	_ = all.Wait() // no part returns an error there
	out := itemFailures{Failures: []itemFailure{}}
	var first error
	inDoubt := false
	for i := range batches {
		if errs[i] == nil {
			continue
		}
		b := &batches[i]
		inDoubt = inDoubt || errors.Is(errs[i], errDoubt)
		slog.Warn("records were not done and are delivered again", "topic", b.Topic, "partition", b.Partition, "offset", done[i], "records", len(b.Records), "error", errs[i])
		var f itemFailure
		f.Item.Partition, f.Item.Offset = b.Topic+"-"+strconv.Itoa(b.Partition), done[i]
		out.Failures = append(out.Failures, f)
		if first == nil {
			first = fmt.Errorf("partition %d of %s at offset %d: %w", b.Partition, b.Topic, done[i], errs[i])
		}
	}
	n := len(out.Failures)
	if n > 0 {
		first = fmt.Errorf("%d of %d partitions failed: %w", n, len(batches), first)
	}
	switch {
	case inDoubt:
		// Between invocations the process and its sockets stand still. What it may
		// have left unsent must not be sent when it goes on, so it ends here.
		return nil, messages.InvokeResponse_Error{Message: first.Error(), Type: "InDoubt", ShouldExit: true}
	case n == len(batches) && n > 0, n > 0 && !a.cfg.ReportFailures:
		return nil, first
	}
	return json.Marshal(out)
}

// errDoubt marks a call of which it is not known what it has applied, or still will.
var errDoubt = errors.New("in doubt")

// identify gives the batches the id of their topic, which AWS does not tell. It
// is asked for at each event, so that a topic which was deleted and made again is
// never taken for the one before: its offsets start anew.
func (a *Adapter) identify(ctx context.Context, batches []trigger.Batch) error {
	for len(batches) > 0 {
		topic, n := batches[0].Topic, 1
		partitions := []int{batches[0].Partition}
		for n < len(batches) && batches[n].Topic == topic {
			partitions = append(partitions, batches[n].Partition)
			n++
		}
		var info bus.Info
		var ends map[int]int64
		// Between invocations the process stands still, and its connections may break.
		err := persevere(ctx, func() (err error) {
			if info, err = a.log.TopicInfo(ctx, topic); err == nil {
				ends, err = a.log.Ends(ctx, topic, partitions)
			}
			return err
		})
		if err != nil {
			return err
		}
		for i := range batches[:n] {
			b := &batches[i]
			b.TopicID = info.ID
			if last := b.Records[len(b.Records)-1].Offset; last >= ends[b.Partition] {
				return fmt.Errorf("the event has offset %d of %s[%d], which ends at %d: the topic was made anew since it was read. "+
					"To go on, delete the event source mapping and create it again", last, topic, b.Partition, ends[b.Partition])
			}
		}
		batches = batches[n:]
	}
	return nil
}

// attempts bound how often something is asked of Kafka that was not answered.
const attempts = 3

func persevere(ctx context.Context, ask func() error) (err error) {
	for range attempts {
		if err = ask(); err == nil || errors.Is(err, bus.ErrNoTopic) || ctx.Err() != nil {
			break
		}
	}
	return err
}

// delivery is the way of one partition's records to the handler.
type delivery struct {
	*Adapter
	origin  deadletter.Origin
	headers http.Header
	enc     *trigger.Encoder
	resumed bool
	done    int64
}

// deliver brings a batch to the handler, and its bad records into the dead-letter
// topic. It returns the offset up to which everything is done.
func (a *Adapter) deliver(ctx context.Context, b *trigger.Batch) (done int64, err error) {
	first, next := b.Records[0].Offset, b.Records[len(b.Records)-1].Offset+1
	headers, err := triggered(b.Topic)
	if err != nil {
		return first, err
	}
	d := &delivery{
		Adapter: a,
		origin:  deadletter.Origin{Function: a.cfg.Name, Topic: b.Topic, TopicID: b.TopicID, Partition: b.Partition},
		headers: headers,
		enc:     trigger.NewEncoder(trigger.Protobuf, b.Topic, b.TopicID, b.Partition),
		resumed: true,
		done:    first,
	}
	for i := range b.Records {
		d.enc.Append(&b.Records[i])
	}
	if a.claims != nil {
		// Without a claim nothing may be applied: the next delivery would not know of it.
		fresh, err := a.claims.Claim(ctx, b.Topic, b.TopicID, b.Partition, first, next)
		if err != nil {
			return first, err
		}
		d.resumed = !fresh
	}
	if err := d.work(ctx, 0, d.enc.Len()); err != nil {
		return d.done, err
	}
	if a.claims != nil {
		if err := a.claims.Settle(ctx, b.Topic, b.TopicID, b.Partition, next); err != nil {
			slog.Warn("what is done could not be settled, so the next records are taken for resumed", "topic", b.Topic, "partition", b.Partition, "error", err)
		}
	}
	return next, nil
}

// work delivers the records from i up to j, in halves where the handler refuses
// them, until the bad ones stand alone. An error is one to come back with later.
func (d *delivery) work(ctx context.Context, i, j int) error {
	first, last := d.enc.Offset(i), d.enc.Offset(j-1)
	header := d.headers.Clone()
	header.Set("Content-Type", d.enc.ContentType())
	header.Set(trigger.HeaderPartition, strconv.Itoa(d.origin.Partition))
	header.Set(trigger.HeaderOffset, strconv.FormatInt(first, 10))
	header.Set(trigger.HeaderResumed, strconv.FormatBool(d.resumed))
	parts := d.enc.Body(i, j, d.resumed)
	res := d.call(ctx, handler.Request{Method: http.MethodPost, Header: header, Body: bytes.Join(parts[:], nil)})
	v := trigger.Judge(res.StatusCode, res.Header, res.Body, true, first, last)
	switch {
	case v.Kind == trigger.Accepted:
		return d.settle(ctx, i, j, v.Failures.Find)
	case v.Kind == trigger.Refused && j-i == 1:
		return d.settle(ctx, i, j, func(int64) (string, bool) { return v.Reason, true })
	case v.Kind == trigger.Refused:
		mid := i + (j-i)/2
		if err := d.work(ctx, i, mid); err != nil {
			return err
		}
		return d.work(ctx, mid, j)
	}
	if v.Doubt {
		return fmt.Errorf("%w: %s", errDoubt, v.Reason)
	}
	return errors.New(v.Reason)
}

// settle finishes the records from i up to j: those that failed go to the
// dead-letter topic first.
func (d *delivery) settle(ctx context.Context, i, j int, failed func(offset int64) (string, bool)) error {
	var letters []kafka.Message
	for k := i; k < j; k++ {
		reason, bad := failed(d.enc.Offset(k))
		if !bad {
			continue
		}
		r, err := d.enc.Record(k)
		if err != nil {
			return err
		}
		letters = append(letters, d.origin.Letter(&r, reason))
	}
	if len(letters) > 0 {
		topic := cmp.Or(d.cfg.DeadLetterTopic, deadletter.TopicOf(d.origin.Topic))
		log := slog.With("topic", d.origin.Topic, "partition", d.origin.Partition)
		if err := d.dead.Publish(ctx, topic, letters, log); err != nil {
			return fmt.Errorf("write %d dead letters to %s: %w", len(letters), topic, err)
		}
		log.Warn("records are in the dead-letter topic", "dead-letter-topic", topic, "records", len(letters), "of", j-i, "reason", deadletter.Reason(letters[0]))
	}
	d.done = d.enc.Offset(j-1) + 1
	return nil
}
