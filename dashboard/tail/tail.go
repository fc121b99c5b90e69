// Package tail follows the topic of windows: all its partitions, without a
// consumer group, so that each dashboard sees everything.
//
// It commits nothing and promises no more than to read every record from its
// start at least once; the board makes the same of a record however often it
// comes. So the answer to every doubt is to read again.
package tail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/bus"
	"ticktape/internal/window/windowpb"
)

// Config of a tail. Zero durations and numbers get the defaults.
type Config struct {
	Client *bus.Client
	Topic  string
	// Lookback is how far back in log time reading starts.
	Lookback time.Duration
	// MaxRecords is how many records before its end a partition is read from at
	// most, however many Lookback holds.
	MaxRecords int64
	// Watch is the time between two looks at the topic's id and partitions.
	Watch time.Duration
	// Apply takes what has been read. It is called by several goroutines.
	Apply func([]*windowpb.Update)
	// Logged, where it is not nil, takes the same, with the times at which Kafka
	// wrote the records (ms).
	Logged func(updates []*windowpb.Update, at []int64)
	// Report is told whenever the state may have changed, by several goroutines,
	// one at a time.
	Report func(State)
}

// State is how the reading goes.
type State struct {
	// Connected is whether every partition is being read.
	Connected bool
	// CaughtUp is whether all that was in the topic at start has been read. It
	// stays true.
	CaughtUp bool
	// Behind is the number of records that are in the topic and not read.
	Behind int64
	// Problem says in a sentence what is wrong, and is empty where nothing is.
	Problem string
}

const (
	maxWait   = time.Second // the broker answers at once when there is something
	fetchTime = 5 * time.Second
	maxBytes  = 1 << 20
	// pause is put between two fetches that find the end. A fetch that waits there
	// is work for Kafka with every write, and browsers are sent changes less often.
	pause = 25 * time.Millisecond

	retryFirst = 100 * time.Millisecond
	retryMost  = 2 * time.Second
)

var (
	resets = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "dashboard_tail_resets_total",
		Help: "Times that reading began again, by cause: out_of_range, topic_changed.",
	}, []string{"cause"})
	badRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "dashboard_bad_records_total",
		Help: "Records of the windows topic that are no window updates.",
	})
	connected = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "dashboard_connected",
		Help: "1 where every partition of the windows topic is being read, 0 where Kafka keeps one back.",
	})
	behind = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "dashboard_behind_records",
		Help: "Records of the windows topic that have not been read yet.",
	})
)

// Run follows the topic until ctx is done. Whatever goes wrong is reported and
// tried again.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Lookback == 0 {
		cfg.Lookback = 48 * time.Hour
	}
	if cfg.MaxRecords == 0 {
		cfg.MaxRecords = 250_000
	}
	if cfg.Watch == 0 {
		cfg.Watch = 5 * time.Second
	}
	t := &tail{cfg: cfg, partitions: map[int]*partition{}}
	wait := retryFirst
	for {
		before := time.Now()
		err := t.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errChanged) {
			resets.WithLabelValues("topic_changed").Inc()
			slog.Warn("the windows topic has changed and is read again", "topic", cfg.Topic)
			continue
		}
		t.fail(err)
		if time.Since(before) > retryMost {
			wait = retryFirst
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

// errChanged ends a round of following: the topic has another id or other partitions.
var errChanged = errors.New("the topic has changed")

// tail is the state that outlives a round of following.
type tail struct {
	cfg Config

	mu         sync.Mutex
	id         [16]byte // the topic that the partitions are of
	partitions map[int]*partition
	problem    string // of the topic as a whole
	caughtUp   bool
}

type partition struct {
	next    int64 // offset to read next
	goal    int64 // the end when reading began
	end     int64 // as last told
	problem string
}

// follow finds out where to read and reads until something is different.
func (t *tail) follow(ctx context.Context) error {
	info, err := t.cfg.Client.TopicInfo(ctx, t.cfg.Topic)
	if err != nil {
		return err
	}
	starts, ends, err := t.bounds(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	if t.id != info.ID {
		t.id = info.ID
		clear(t.partitions)
	}
	maps.DeleteFunc(t.partitions, func(p int, _ *partition) bool { return p >= info.Partitions })
	for p := range info.Partitions {
		if t.partitions[p] == nil {
			t.partitions[p] = &partition{next: starts[p], goal: ends[p], end: ends[p]}
		}
	}
	t.problem = ""
	t.reportLocked()
	t.mu.Unlock()

	g, ctx := errgroup.WithContext(ctx)
	for p := range info.Partitions {
		g.Go(func() error { return t.read(ctx, p) })
	}
	g.Go(func() error { return t.watch(ctx, info) })
	return g.Wait()
}

// bounds returns where to start in each partition, and its end.
func (t *tail) bounds(ctx context.Context) (starts, ends map[int]int64, err error) {
	now := time.Now()
	// Nothing is as new as that, so the answer is the end.
	ends, err = t.cfg.Client.OffsetsAfter(ctx, t.cfg.Topic, now.Add(1000*time.Hour))
	if err != nil {
		return nil, nil, err
	}
	starts, err = t.cfg.Client.OffsetsAfter(ctx, t.cfg.Topic, now.Add(-t.cfg.Lookback))
	if err != nil {
		return nil, nil, err
	}
	for p, end := range ends {
		// Where nothing is new enough the answer is an end too, but of later, and
		// what came between the two is not to be passed over.
		starts[p] = max(min(starts[p], end), end-t.cfg.MaxRecords)
	}
	return starts, ends, nil
}

// watch returns errChanged when the topic is not the one that info describes.
func (t *tail) watch(ctx context.Context, info bus.Info) error {
	tick := time.NewTicker(t.cfg.Watch)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		is, err := t.cfg.Client.TopicInfo(ctx, t.cfg.Topic)
		switch {
		case errors.Is(err, bus.ErrNoTopic):
			return err
		case err != nil:
			continue // the readers say what is wrong with Kafka
		case is.ID != info.ID || is.Partitions != info.Partitions:
			return errChanged
		}
	}
}

// read reads one partition until ctx is done.
func (t *tail) read(ctx context.Context, p int) error {
	wait := retryFirst
	for {
		atEnd, err := t.fetch(ctx, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			wait = retryFirst
			if atEnd {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(pause):
				}
			}
			continue
		}
		if errors.Is(err, kafka.OffsetOutOfRange) {
			// What was there has gone by retention, or the topic is another one,
			// which watch finds out.
			resets.WithLabelValues("out_of_range").Inc()
			slog.Warn("an offset of the windows topic is out of range; reading begins again", "topic", t.cfg.Topic, "partition", p)
			err = t.restart(ctx, p)
			if err == nil {
				continue
			}
		}
		t.failPartition(p, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

func (t *tail) restart(ctx context.Context, p int) error {
	starts, ends, err := t.bounds(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	start, ok := starts[p]
	if !ok {
		return errChanged
	}
	t.partitions[p].next, t.partitions[p].end = start, ends[p]
	return nil
}

// fetch reads what there is, waiting up to maxWait for something, and applies it.
// It tells whether that was all there is.
func (t *tail) fetch(ctx context.Context, p int) (atEnd bool, err error) {
	t.mu.Lock()
	offset := t.partitions[p].next
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	resp, err := t.cfg.Client.Kafka().Fetch(ctx, &kafka.FetchRequest{
		Topic: t.cfg.Topic, Partition: p, Offset: offset, MinBytes: 1, MaxBytes: maxBytes, MaxWait: maxWait,
	})
	if err == nil {
		err = resp.Error
	}
	if err != nil {
		return false, err
	}
	next := offset
	var updates []*windowpb.Update
	var times []int64
	for {
		rec, err := resp.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			// A record that the answer's limit has cut off is read with the next one.
			if errors.Is(err, io.ErrUnexpectedEOF) && next > offset {
				break
			}
			return false, fmt.Errorf("read records: %w", err)
		}
		// Kafka sends whole batches, of which the first may begin before the offset.
		if rec.Offset >= next {
			next = rec.Offset + 1
			if u := decode(rec); u != nil {
				updates = append(updates, u)
				times = append(times, rec.Time.UnixMilli())
			}
		}
		closeRecord(rec)
	}
	if next == offset && offset < resp.HighWatermark {
		// Below the end Kafka always answers with the batch that holds the offset or
		// follows it. Compaction has removed all of it.
		next++
	}
	t.cfg.Apply(updates)
	if t.cfg.Logged != nil {
		t.cfg.Logged(updates, times)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	part := t.partitions[p]
	part.next, part.end, part.problem = next, max(resp.HighWatermark, next), ""
	t.reportLocked()
	return next >= part.end, nil
}

// decode returns nil for what is no update: a tombstone, or a foreign record.
func decode(rec *kafka.Record) *windowpb.Update {
	if rec.Value == nil {
		return nil
	}
	b, err := kafka.ReadAll(rec.Value)
	if err != nil {
		badRecords.Inc()
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	u := &windowpb.Update{}
	if err := u.UnmarshalVTUnsafe(b); err != nil {
		badRecords.Inc()
		slog.Debug("a record of the windows topic is no update", "error", err)
		return nil
	}
	return u
}

func closeRecord(rec *kafka.Record) {
	if rec.Key != nil {
		_ = rec.Key.Close() // memory only
	}
	if rec.Value != nil {
		_ = rec.Value.Close()
	}
}

func (t *tail) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problem = sentence(err, t.cfg.Topic)
	t.reportLocked()
}

func (t *tail) failPartition(p int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if part := t.partitions[p]; part != nil {
		part.problem = sentence(err, t.cfg.Topic)
	}
	t.reportLocked()
}

// sentence says an error as a person would want to read it.
func sentence(err error, topic string) string {
	switch {
	case errors.Is(err, bus.ErrNoTopic), errors.Is(err, kafka.UnknownTopicOrPartition):
		return fmt.Sprintf("Kafka has no topic %q yet.", topic)
	case errors.Is(err, context.DeadlineExceeded):
		return "Kafka does not answer in time."
	}
	return "Kafka can't be read: " + err.Error() + "."
}

func (t *tail) reportLocked() {
	s := State{Problem: t.problem, Connected: t.problem == "" && len(t.partitions) > 0}
	caughtUp := len(t.partitions) > 0
	for _, p := range slices.Sorted(maps.Keys(t.partitions)) {
		part := t.partitions[p]
		s.Behind += max(part.end-part.next, 0)
		caughtUp = caughtUp && part.next >= part.goal
		if part.problem != "" {
			s.Connected = false
			if s.Problem == "" {
				s.Problem = part.problem
			}
		}
	}
	t.caughtUp = t.caughtUp || caughtUp
	s.CaughtUp = t.caughtUp
	behind.Set(float64(s.Behind))
	connected.Set(0)
	if s.Connected {
		connected.Set(1)
	}
	t.cfg.Report(s)
}
