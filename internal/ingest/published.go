package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/bus"
	"ticktape/internal/store"
	"ticktape/internal/tick"
)

// published is the Memory of ticks that went through Kafka to table quotes. The
// table has what persist has done, the end of the log what it has still to do.
type published struct {
	bus   *bus.Client
	topic bus.Topic
	group string // persist's
	store *store.Lazy
}

// NewMemory makes the Memory of what was published to the topic. persistGroup is
// the consumer group of function persist.
func NewMemory(kafka *bus.Client, topic bus.Topic, persistGroup string, cassandra *store.Lazy) Memory {
	return &published{bus: kafka, topic: topic, group: persistGroup, store: cassandra}
}

// Published reads the log from where persist stands, then the table. In this
// order nothing falls between the two: what persist commits meanwhile is in the
// table by then.
func (p *published) Published(ctx context.Context, symbols []string) ([]tick.Tick, error) {
	latest := map[feed]tick.Tick{}
	for {
		err := p.tail(ctx, symbols, latest)
		if err == nil {
			break
		}
		// A topic that was just made, or whose leader moves, is there in a moment.
		var passing kafka.Error
		if !errors.As(err, &passing) || !passing.Temporary() {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(200 * time.Millisecond):
		}
	}
	st, err := p.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := st.LatestQuotes(ctx, symbols)
	if err != nil {
		return nil, err
	}
	for _, t := range stored {
		keep(latest, t)
	}
	all := make([]tick.Tick, 0, len(latest))
	for _, t := range latest {
		all = append(all, t)
	}
	return all, nil
}

// keep keeps the latest tick of each feed.
func keep(latest map[feed]tick.Tick, t tick.Tick) {
	k := feedOf(t.Source, t.Symbol)
	have, ok := latest[k]
	if !ok || t.EventTime > have.EventTime || t.EventTime == have.EventTime && t.Seq > have.Seq {
		latest[k] = t
	}
}

// tail reads every partition from persist's committed offset to its end. Where
// there is no commit it reads from the beginning; where there is no topic it
// makes it, for what is about to be published.
func (p *published) tail(ctx context.Context, symbols []string, latest map[feed]tick.Tick) error {
	topic := p.topic.Name
	if err := p.bus.EnsureTopics(ctx, p.topic); err != nil {
		return err
	}
	info, err := p.bus.TopicInfo(ctx, topic)
	if err != nil {
		return err
	}
	committed, err := p.bus.Committed(ctx, p.group, topic)
	if err != nil {
		return err
	}
	first, err := p.bus.OffsetsAfter(ctx, topic, time.UnixMilli(0))
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, s := range symbols {
		wanted[s] = true
	}
	found := make([]map[feed]tick.Tick, info.Partitions)
	readers, ctx := errgroup.WithContext(ctx)
	readers.SetLimit(4)
	for part := range info.Partitions {
		readers.Go(func() error {
			// Retention may have passed a persist that was away for long.
			cursor := p.bus.Cursor(topic, info, part, max(committed[part], first[part]))
			found[part] = map[feed]tick.Tick{}
			return p.read(ctx, cursor, wanted, found[part])
		})
	}
	if err := readers.Wait(); err != nil {
		return fmt.Errorf("read the end of topic %s: %w", topic, err)
	}
	for _, f := range found {
		for _, t := range f {
			keep(latest, t)
		}
	}
	return nil
}

func (p *published) read(ctx context.Context, cursor *bus.Cursor, wanted map[string]bool, latest map[feed]tick.Tick) error {
	const wait, size = 100 * time.Millisecond, 1 << 20
	var r bus.Record
	var decoder tick.Decoder
	for {
		chunk, err := cursor.Fetch(ctx, wait, size)
		if err != nil {
			return err
		}
		for {
			more, err := chunk.Next(&r)
			if err != nil {
				return err
			}
			if !more {
				break
			}
			if !wanted[string(r.Key)] {
				continue
			}
			contentType := ""
			for _, h := range r.Headers {
				if h.Key == "content-type" {
					contentType = string(h.Value)
				}
			}
			var t tick.Tick
			// A record that is no tick is persist's to report. The value is
			// copied because the tick points into it and is kept.
			if decoder.Decode(contentType, append([]byte(nil), r.Value...), &t) == nil {
				keep(latest, t)
			}
		}
		if cursor.Next() >= chunk.End {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
