package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/testbed"
)

func connect(t testing.TB) *bus.Client {
	t.Helper()
	c := bus.New(bus.Config{Brokers: testbed.Kafka(t), TickPartitions: 3})
	t.Cleanup(c.Close)
	return c
}

func publish(t testing.TB, c *bus.Client, topic string, msgs ...kafka.Message) {
	t.Helper()
	p := c.Producer(topic)
	if err := p.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, to int) (msgs []kafka.Message) {
	for i := from; i < to; i++ {
		msgs = append(msgs, kafka.Message{Key: []byte("k"), Value: fmt.Appendf(nil, "v%d", i)})
	}
	return msgs
}

func TestATopicKeepsItsIDUntilItIsMadeAnew(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "bus", 3)
	first, err := c.TopicInfo(t.Context(), topic)
	if err != nil || first.Partitions != 3 || first.ID == ([16]byte{}) {
		t.Fatalf("TopicInfo = %+v, %v", first, err)
	}
	remake(t, c, topic, 2)
	second, err := c.TopicInfo(t.Context(), topic)
	if err != nil || second.Partitions != 2 || second.ID == first.ID {
		t.Fatalf("TopicInfo of the topic made anew = %+v, %v; before %+v", second, err, first)
	}
	if _, err := c.TopicInfo(t.Context(), topic+"-not"); !errors.Is(err, bus.ErrNoTopic) {
		t.Errorf("TopicInfo of no topic: %v", err)
	}
}

func remake(t testing.TB, c *bus.Client, topic string, partitions int) {
	t.Helper()
	drop(t, c, topic)
	if err := c.EnsureTopics(t.Context(), bus.Topic{Name: topic, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
}

func drop(t testing.TB, c *bus.Client, topic string) {
	t.Helper()
	admin := &kafka.Client{Addr: kafka.TCP(testbed.Kafka(t)...), Timeout: 20 * time.Second}
	if _, err := admin.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 20*time.Second, "the topic is gone", func() bool {
		_, err := c.TopicInfo(t.Context(), topic)
		return errors.Is(err, bus.ErrNoTopic)
	})
}

func TestStandardTopicsAreCreatedOnceAndLeftAlone(t *testing.T) {
	c := connect(t)
	name := testbed.Topic(t, "std", 1)
	cfg := bus.Config{TicksTopic: name, WindowsTopic: name + ".windows", DeadTopic: name + ".dead", TickPartitions: 2}
	for range 2 {
		if err := c.EnsureTopics(t.Context(), bus.StandardTopics(cfg)...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		admin := &kafka.Client{Addr: kafka.TCP(testbed.Kafka(t)...), Timeout: 20 * time.Second}
		_, _ = admin.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{cfg.WindowsTopic, cfg.DeadTopic}})
	})
	for topic, want := range map[string]int{cfg.TicksTopic: 1, cfg.WindowsTopic: 2, cfg.DeadTopic: 1} {
		if info, err := c.TopicInfo(t.Context(), topic); err != nil || info.Partitions != want {
			t.Errorf("%s has %d partitions, %v; want %d", topic, info.Partitions, err, want)
		}
	}
}

func TestOffsetsAfterATimeAndAtTheEnd(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "after", 2)
	publish(t, c, topic, numbered(0, 5)...)
	passed := func(at time.Time) func() bool { // log time has a resolution of 1 ms
		return func() bool { return time.Since(at) > 5*time.Millisecond }
	}
	testbed.Eventually(t, time.Minute, "a moment has passed", passed(time.Now()))
	between := time.Now()
	testbed.Eventually(t, time.Minute, "a moment has passed", passed(between))
	publish(t, c, topic, numbered(5, 8)...)
	busy := kafka.Murmur2Balancer{}.Balance(kafka.Message{Key: []byte("k")}, 0, 1)
	for _, want := range []struct {
		at     time.Time
		offset int64
	}{{between, 5}, {between.Add(-time.Hour), 0}, {time.Now().Add(time.Minute), 8}} {
		got, err := c.OffsetsAfter(t.Context(), topic, want.at)
		if err != nil || got[busy] != want.offset || got[1-busy] != 0 {
			t.Errorf("OffsetsAfter(%s) = %v, %v; want %d in partition %d and 0 in the other", want.at, got, err, want.offset, busy)
		}
	}
}

func TestACursorReadsWhatWasWritten(t *testing.T) {
	c := connect(t)
	for name, compression := range map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd} {
		t.Run(name, func(t *testing.T) {
			topic := testbed.Topic(t, "cursor", 1)
			big := bytes.Repeat([]byte("0123456789"), 30_000)
			sent := []kafka.Message{
				{Key: []byte("a"), Value: []byte("1"), Headers: []kafka.Header{{Key: "h", Value: []byte{0, 255}}, {Key: "h", Value: nil}}},
				{Key: nil, Value: []byte("no key")},
				{Key: []byte("tombstone"), Value: nil},
				{Key: []byte{}, Value: []byte{}},
				{Key: []byte("big"), Value: big},
			}
			w := &kafka.Writer{Addr: kafka.TCP(testbed.Kafka(t)...), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Compression: compression}
			defer w.Close()
			for range 3 {
				if err := w.WriteMessages(t.Context(), sent...); err != nil {
					t.Fatal(err)
				}
			}
			info, err := c.TopicInfo(t.Context(), topic)
			if err != nil {
				t.Fatal(err)
			}
			cur := c.Cursor(topic, info, 0, 3) // within the first batch
			want := int64(3)
			var r bus.Record
			for want < 15 {
				chunk, err := cur.Fetch(t.Context(), time.Second, 64<<10)
				if err != nil {
					t.Fatal(err)
				}
				for {
					ok, err := chunk.Next(&r)
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						break
					}
					m := sent[want%5]
					if r.Offset != want || !same(r.Key, m.Key) || !same(r.Value, m.Value) || len(r.Headers) != len(m.Headers) || !r.LogTime || time.Since(time.UnixMilli(r.Timestamp)).Abs() > time.Minute {
						t.Fatalf("record %d is %+.200v, want %+.200v", want, r, m)
					}
					want++
				}
				if chunk.End != 15 || chunk.Start != 0 || cur.Next() != want {
					t.Errorf("chunk from %d to %d, next %d; want 0 to 15, next %d", chunk.Start, chunk.End, cur.Next(), want)
				}
			}
			start := time.Now()
			if chunk, err := cur.Fetch(t.Context(), 50*time.Millisecond, 1<<20); err != nil {
				t.Error(err)
			} else if ok, err := chunk.Next(&r); ok || err != nil {
				t.Errorf("a record after the end, at %d: %v", r.Offset, err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("an empty fetch took %s", took)
			}
			if _, err := c.Cursor(topic, info, 0, 16).Fetch(t.Context(), time.Second, 1<<20); !errors.Is(err, bus.ErrOutOfRange) {
				t.Errorf("fetch past the end: %v", err)
			}
			remake(t, c, topic, 1)
			testbed.Eventually(t, 10*time.Second, "a fetch of the former incarnation says that it is gone", func() bool {
				_, err := c.Cursor(topic, info, 0, 0).Fetch(t.Context(), time.Millisecond, 1<<20)
				if err == nil {
					t.Fatal("a fetch of the former incarnation was answered")
				}
				return true
			})
		})
	}
}

// same tells nil from empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// consumer is a member that records what it is given and does it at once.
type consumer struct {
	client *bus.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	got  map[string][]string // by partition
	gens [][]*bus.Assignment
}

func consume(t testing.TB, cfg bus.GroupConfig) *consumer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k := &consumer{client: connect(t), cancel: cancel, done: make(chan struct{}), got: map[string][]string{}}
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 6 * time.Second
	}
	cfg.WatchInterval = 200 * time.Millisecond
	go func() {
		defer close(k.done)
		k.client.Consume(ctx, cfg, k.work)
	}()
	t.Cleanup(k.stop)
	return k
}

func (k *consumer) stop() { k.cancel(); <-k.done }

func (k *consumer) work(ctx context.Context, g *bus.Generation) {
	var wg sync.WaitGroup
	for _, a := range g.Assigned {
		wg.Go(func() {
			cur := k.client.Cursor(a.Topic, a.Info, a.Partition, a.Offset)
			var r bus.Record
			for ctx.Err() == nil {
				chunk, err := cur.Fetch(ctx, 100*time.Millisecond, 1<<20)
				if err != nil {
					if errors.Is(err, bus.ErrNoTopic) {
						g.End(err)
						return
					}
					continue
				}
				for {
					ok, err := chunk.Next(&r)
					if err != nil || !ok {
						break
					}
					k.mu.Lock()
					p := fmt.Sprintf("%d", a.Partition)
					k.got[p] = append(k.got[p], string(r.Value))
					k.mu.Unlock()
				}
				if cur.Next() > a.Offset {
					g.Done(a, cur.Next())
				}
			}
		})
	}
	k.mu.Lock()
	k.gens = append(k.gens, g.Assigned)
	k.mu.Unlock()
	wg.Wait()
}

func (k *consumer) count() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, v := range k.got {
		n += len(v)
	}
	return n
}

func (k *consumer) assigned() []*bus.Assignment {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.gens) == 0 {
		return nil
	}
	return k.gens[len(k.gens)-1]
}

func TestAGroupGoesOnWhereItStoppedAndSaysSo(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "group", 2)
	group := topic + ".g"
	publish(t, c, topic, numbered(0, 10)...)
	k := consume(t, bus.GroupConfig{Group: group, Topics: []string{topic}})
	testbed.Eventually(t, 20*time.Second, "10 records are read", func() bool { return k.count() == 10 })
	for _, a := range k.assigned() {
		if a.Resumed || a.Offset != 0 {
			t.Errorf("a first assignment goes on at %d, resumed %v", a.Offset, a.Resumed)
		}
	}
	k.stop()
	marks, err := c.Committed(t.Context(), group, topic)
	if err != nil || marks[0]+marks[1] != 10 || len(marks) != 2 {
		t.Errorf("committed %v, %v; want 10 in all, and a commit in both", marks, err)
	}
	publish(t, c, topic, numbered(10, 13)...)
	k = consume(t, bus.GroupConfig{Group: group, Topics: []string{topic}})
	testbed.Eventually(t, 20*time.Second, "3 more records are read", func() bool { return k.count() == 3 })
	for _, a := range k.assigned() {
		if !a.Resumed {
			t.Errorf("partition %d goes on and is not resumed", a.Partition)
		}
	}
}

func TestTwoMembersShareThePartitions(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "share", 4)
	cfg := bus.GroupConfig{Group: topic + ".g", Topics: []string{topic}}
	one := consume(t, cfg)
	testbed.Eventually(t, 20*time.Second, "the first has all 4", func() bool { return len(one.assigned()) == 4 })
	two := consume(t, cfg)
	testbed.Eventually(t, 20*time.Second, "both have 2", func() bool { return len(one.assigned()) == 2 && len(two.assigned()) == 2 })
	var msgs []kafka.Message
	for i := range 100 {
		msgs = append(msgs, kafka.Message{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	publish(t, c, topic, msgs...)
	testbed.Eventually(t, 20*time.Second, "100 records are read", func() bool { return one.count()+two.count() == 100 })
	two.stop()
	testbed.Eventually(t, 20*time.Second, "the first has all 4 again", func() bool { return len(one.assigned()) == 4 })
}

func TestATopicMadeAnewIsReadFromItsBeginning(t *testing.T) {
	c := connect(t)
	for _, start := range []bus.Start{bus.Earliest, bus.Latest} {
		topic := testbed.Topic(t, "anew", 1)
		k := consume(t, bus.GroupConfig{Group: topic + ".g", Topics: []string{topic}, Start: start})
		testbed.Eventually(t, 20*time.Second, "it is assigned", func() bool { return len(k.assigned()) == 1 })
		publish(t, c, topic, numbered(0, 5)...)
		testbed.Eventually(t, 20*time.Second, "5 records are read", func() bool { return k.count() == 5 })
		remake(t, c, topic, 1)
		publish(t, c, topic, numbered(5, 7)...)
		testbed.Eventually(t, 20*time.Second, "2 records of the new topic are read", func() bool { return k.count() == 7 })
		if a := k.assigned()[0]; a.Resumed || a.Offset != 0 {
			t.Errorf("the new topic goes on at %d, resumed %v", a.Offset, a.Resumed)
		}
		k.stop()
	}
}

func TestACommitThatOutlivedItsTopicIsNotTakenForOneOfTheNew(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "stale", 1)
	group := topic + ".g"
	publish(t, c, topic, numbered(0, 5)...)
	k := consume(t, bus.GroupConfig{Group: group, Topics: []string{topic}})
	testbed.Eventually(t, 20*time.Second, "5 records are read", func() bool { return k.count() == 5 })
	k.stop()
	admin := &kafka.Client{Addr: kafka.TCP(testbed.Kafka(t)...), Timeout: 20 * time.Second}
	old, err := admin.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	if err != nil {
		t.Fatal(err)
	}
	remake(t, c, topic, 1)
	publish(t, c, topic, numbered(5, 20)...)
	late := old.Topics[topic][0]
	if _, err := admin.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{
		topic: {{Partition: 0, Offset: late.CommittedOffset, Metadata: late.Metadata}},
	}}); err != nil {
		t.Fatal(err)
	}
	if marks, err := c.Committed(t.Context(), group, topic); err != nil || len(marks) != 0 {
		t.Errorf("Committed = %v, %v; want nothing of the new topic", marks, err)
	}
	k = consume(t, bus.GroupConfig{Group: group, Topics: []string{topic}, Start: bus.Latest})
	testbed.Eventually(t, 20*time.Second, "all 15 records of the new topic are read", func() bool { return k.count() == 15 })
}

func TestLatestIsFixedOnceAndAddedPartitionsAreReadFromTheirBeginning(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "latest", 1)
	group := topic + ".g"
	publish(t, c, topic, numbered(0, 5)...)
	cfg := bus.GroupConfig{Group: group, Topics: []string{topic}, Start: bus.Latest}
	k := consume(t, cfg)
	testbed.Eventually(t, 20*time.Second, "latest is committed", func() bool {
		marks, err := c.Committed(t.Context(), group, topic)
		return err == nil && marks[0] == 5
	})
	k.stop()
	publish(t, c, topic, numbered(5, 8)...)
	admin := &kafka.Client{Addr: kafka.TCP(testbed.Kafka(t)...), Timeout: 20 * time.Second}
	resp, err := admin.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 2}}})
	if err == nil {
		err = resp.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 20*time.Second, "there are 2 partitions", func() bool {
		info, err := c.TopicInfo(t.Context(), topic)
		return err == nil && info.Partitions == 2
	})
	w := &kafka.Writer{Addr: kafka.TCP(testbed.Kafka(t)...), Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, Balancer: kafka.BalancerFunc(func(kafka.Message, ...int) int { return 1 })}
	defer w.Close()
	testbed.Eventually(t, 20*time.Second, "the new partition takes records", func() bool { return w.WriteMessages(t.Context(), numbered(8, 10)...) == nil })
	k = consume(t, cfg)
	testbed.Eventually(t, 20*time.Second, "what came since is read, of both partitions", func() bool { return k.count() == 5 })
}

func TestATopicIsWaitedForAndThenReadFromItsBeginning(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "wait", 1)
	drop(t, c, topic)
	k := consume(t, bus.GroupConfig{Group: topic + ".g", Topics: []string{topic}, Start: bus.Latest})
	if err := c.EnsureTopics(t.Context(), bus.Topic{Name: topic, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	publish(t, c, topic, numbered(0, 4)...)
	testbed.Eventually(t, 20*time.Second, "4 records are read", func() bool { return k.count() == 4 })
}

func TestPublishTellsWhatIsNotWritten(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "publish", 1)
	p := c.Producer(topic)
	noise := make([]byte, 17<<20) // above what the broker takes, compressed or not
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	msgs := append(numbered(0, 2), kafka.Message{Key: []byte("k"), Value: noise})
	msgs = append(msgs, numbered(3, 5)...)
	err := p.Publish(t.Context(), msgs)
	var pe *bus.PublishError
	if !errors.As(err, &pe) || !slices.Equal(pe.Failed, []int{2, 3, 4}) || !errors.Is(err, kafka.MessageSizeTooLarge) {
		t.Errorf("Publish = %v, failed %v", err, pe)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Publish(ctx, numbered(0, 1)); !errors.As(err, &pe) || !errors.Is(err, context.Canceled) {
		t.Errorf("Publish when stopped = %v", err)
	}
}

func TestAPartOfTheKeyMayDecideThePartition(t *testing.T) {
	c := connect(t)
	topic := testbed.Topic(t, "part", 3)
	whole := c.Producer(topic)
	part := c.ProducerBy(topic, func(key []byte) []byte { return key[:1] })
	var msgs []kafka.Message
	for i := range 30 {
		key := fmt.Appendf(nil, "%c|%d", 'A'+i%6, i)
		msgs = append(msgs, kafka.Message{Key: key, Value: key[:1]})
		if err := whole.Publish(t.Context(), []kafka.Message{{Key: key[:1], Value: key[:1]}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := part.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	k := consume(t, bus.GroupConfig{Group: topic + ".g", Topics: []string{topic}, Start: bus.Earliest})
	testbed.Eventually(t, 20*time.Second, "60 records are read", func() bool { return k.count() == 60 })
	k.mu.Lock()
	defer k.mu.Unlock()
	places := map[string]string{}
	for partition, values := range k.got {
		for _, v := range values {
			if at, ok := places[v]; ok && at != partition {
				t.Errorf("%s is in partitions %s and %s", v, at, partition)
			}
			places[v] = partition
		}
	}
}
