package tail

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/dashboard/board"
	"ticktape/dashboard/feedtest"
	"ticktape/deploy/local/servers"
	"ticktape/internal/bus"
	"ticktape/internal/testbed"
	"ticktape/internal/window/windowpb"
)

const patience = 60 * time.Second

// follower is a tail with a board that shows what it read.
type follower struct {
	mu    sync.Mutex
	board *board.Board
	state State
}

func follow(t *testing.T, brokers []string, topic string, change func(*Config)) *follower {
	t.Helper()
	f := &follower{board: board.New(board.DefaultLimits)}
	client := bus.New(bus.Config{Brokers: brokers})
	cfg := Config{
		Client: client, Topic: topic, Watch: 100 * time.Millisecond,
		Apply: func(updates []*windowpb.Update) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, u := range updates {
				if _, err := f.board.Apply(u, 1); err != nil {
					t.Error(err)
				}
			}
		},
		Report: func(s State) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.state = s
		},
	}
	if change != nil {
		change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := Run(ctx, cfg); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		client.Close()
	})
	return f
}

func (f *follower) ticks() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.board.Ticks()
}

func (f *follower) is() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func (f *follower) await(t *testing.T, what string, cond func(State) bool) {
	t.Helper()
	testbed.Eventually(t, patience, what, func() bool { return cond(f.is()) })
}

// agrees waits until the board holds the market's windows and checks them to the last digit.
func (f *follower) agrees(t *testing.T, m *feedtest.Market) {
	t.Helper()
	testbed.Eventually(t, patience, "the board shows what the market did", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range feedtest.Symbols {
			shown := f.board.Symbol(s.Name)
			if shown == nil {
				return false
			}
			for _, w := range shown.Windows() {
				if w.State() != m.Window(s.Name, w.Start) {
					return false
				}
			}
		}
		return true
	})
}

func publisher(t *testing.T, brokers []string, topic string) func([]*windowpb.Update) {
	t.Helper()
	client := bus.New(bus.Config{Brokers: brokers})
	p := client.Producer(topic)
	t.Cleanup(client.Close)
	return func(updates []*windowpb.Update) {
		t.Helper()
		var err error
		testbed.Eventually(t, patience, "the updates are published", func() bool {
			err = feedtest.Publish(t.Context(), p, updates)
			return err == nil
		})
	}
}

func TestEveryPartitionIsReadFromThePastIntoThePresent(t *testing.T) {
	brokers := testbed.Kafka(t)
	topic := testbed.Topic(t, "windows", 5)
	publish := publisher(t, brokers, topic)
	m := feedtest.New(1, feedtest.Symbols)
	publish(m.Past(20*time.Minute, 4))
	f := follow(t, brokers, topic, nil)
	f.await(t, "the tail has caught up", func(s State) bool { return s.Connected && s.CaughtUp && s.Behind == 0 && s.Problem == "" })
	f.agrees(t, m)
	for range 50 {
		publish(m.Step(20))
	}
	f.agrees(t, m)
}

func TestOnlyTheNewestRecordsOfALongTopicAreRead(t *testing.T) {
	brokers := testbed.Kafka(t)
	topic := testbed.Topic(t, "windows", 1)
	publish := publisher(t, brokers, topic)
	m := feedtest.New(1, feedtest.Symbols[:1])
	publish(m.Past(100*time.Minute, 1))
	f := follow(t, brokers, topic, func(c *Config) { c.MaxRecords = 10 })
	f.await(t, "the tail has caught up", func(s State) bool { return s.CaughtUp })
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.board.Windows(); n != 10 {
		t.Errorf("%d windows were read", n)
	}
}

func TestForeignRecordsAreLeftOut(t *testing.T) {
	brokers := testbed.Kafka(t)
	topic := testbed.Topic(t, "windows", 1)
	client := bus.New(bus.Config{Brokers: brokers})
	defer client.Close()
	p := client.Producer(topic)
	err := p.Publish(t.Context(), []kafka.Message{
		{Key: []byte("tombstone")}, {Key: []byte("empty"), Value: []byte{}}, {Key: []byte("text"), Value: []byte("hello, these are words")}, {},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := feedtest.New(1, feedtest.Symbols)
	f := follow(t, brokers, topic, nil)
	publisher(t, brokers, topic)(m.Past(3*time.Minute, 2))
	f.agrees(t, m)
}

func TestATopicThatDoesNotExistYetIsWaitedFor(t *testing.T) {
	brokers := testbed.Kafka(t)
	name := testbed.Topic(t, "windows", 1) + "_later"
	f := follow(t, brokers, name, nil)
	f.await(t, "it is said that there is no topic", func(s State) bool {
		return !s.Connected && strings.Contains(s.Problem, "no topic")
	})
	create(t, brokers, name, 2)
	m := feedtest.New(1, feedtest.Symbols)
	publisher(t, brokers, name)(m.Past(3*time.Minute, 2))
	f.agrees(t, m)
	f.await(t, "all is well", func(s State) bool { return s.Connected && s.Problem == "" })
}

func create(t *testing.T, brokers []string, topic string, partitions int) {
	t.Helper()
	client := bus.New(bus.Config{Brokers: brokers, Replication: 1})
	t.Cleanup(client.Close)
	err := client.EnsureTopics(t.Context(), bus.Topic{Name: topic, Partitions: partitions, Settings: map[string]string{"message.timestamp.type": "LogAppendTime"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { drop(context.Background(), t, brokers, topic) })
}

func drop(ctx context.Context, t *testing.T, brokers []string, topic string) {
	t.Helper()
	admin := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 20 * time.Second}
	if _, err := admin.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
		t.Logf("delete topic %s: %v", topic, err)
	}
}

func TestATopicThatIsRemadeIsReadFromItsStart(t *testing.T) {
	brokers := testbed.Kafka(t)
	topic := testbed.Topic(t, "windows", 1) + "_remade"
	create(t, brokers, topic, 2)
	before := feedtest.New(1, feedtest.Symbols)
	publisher(t, brokers, topic)(before.Past(3*time.Minute, 2))
	f := follow(t, brokers, topic, nil)
	f.agrees(t, before)

	drop(t.Context(), t, brokers, topic)
	client := bus.New(bus.Config{Brokers: brokers})
	defer client.Close()
	testbed.Eventually(t, patience, "the topic is gone", func() bool {
		_, err := client.TopicInfo(t.Context(), topic)
		return err != nil
	})
	create(t, brokers, topic, 3)
	ticks := f.ticks()
	// Another log, so that what comes adds up with what was there.
	after := feedtest.New(2, feedtest.Symbols)
	after.Log = 2 << 16
	updates := after.Past(30*time.Minute, 2)
	publisher(t, brokers, topic)(updates)
	var more int64
	for _, u := range updates {
		more += u.TickCount
	}
	testbed.Eventually(t, patience, "the ticks of both are counted", func() bool { return f.ticks() == ticks+more })
}

func TestPartitionsThatAreAddedAreRead(t *testing.T) {
	brokers := testbed.Kafka(t)
	topic := testbed.Topic(t, "windows", 1)
	m := feedtest.New(1, feedtest.Symbols)
	publisher(t, brokers, topic)(m.Past(3*time.Minute, 2))
	f := follow(t, brokers, topic, nil)
	f.agrees(t, m)
	admin := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 20 * time.Second}
	resp, err := admin.CreatePartitions(t.Context(), &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 4}}})
	if err == nil {
		err = resp.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
	client := bus.New(bus.Config{Brokers: brokers})
	defer client.Close()
	testbed.Eventually(t, patience, "the partitions are there", func() bool {
		info, err := client.TopicInfo(t.Context(), topic)
		return err == nil && info.Partitions == 4
	})
	publisher(t, brokers, topic)(m.Step(200))
	f.agrees(t, m)
}

func TestAnOffsetThatRetentionHasTakenIsNoEnd(t *testing.T) {
	brokers := testbed.Kafka(t)
	topic := testbed.Topic(t, "windows", 1)
	m := feedtest.New(1, feedtest.Symbols)
	publish := publisher(t, brokers, topic)
	publish(m.Past(5*time.Minute, 2))
	f := follow(t, brokers, topic, nil)
	f.agrees(t, m)
	client := bus.New(bus.Config{Brokers: brokers})
	defer client.Close()
	tl := &tail{
		cfg: Config{
			Client: client, Topic: topic, Lookback: time.Hour, MaxRecords: 100,
			Report: func(State) {}, Apply: func([]*windowpb.Update) {},
		},
		partitions: map[int]*partition{0: {next: 1 << 40}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- tl.read(ctx, 0) }()
	testbed.Eventually(t, patience, "reading goes on from where there is something", func() bool {
		tl.mu.Lock()
		defer tl.mu.Unlock()
		return tl.partitions[0].next < 1<<40 && tl.partitions[0].next == tl.partitions[0].end && tl.partitions[0].end > 0
	})
	cancel()
	<-done
}

func TestKafkaAwayIsSaidAndItsReturnIsNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a Kafka of its own: run without -short")
	}
	testbed.Kafka(t) // tells whether servers are wanted at all
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	kafkaServer, err := servers.StartKafka(t.Context(), servers.Options{Dir: t.TempDir(), Port: port, HeapMB: 256})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kafkaServer.Stop() })
	brokers := []string{kafkaServer.Addr()}
	create(t, brokers, "windows", 3)
	publish := publisher(t, brokers, "windows")
	m := feedtest.New(1, feedtest.Symbols)
	publish(m.Past(5*time.Minute, 2))
	f := follow(t, brokers, "windows", nil)
	f.agrees(t, m)

	if err := kafkaServer.Kill(); err != nil {
		t.Fatal(err)
	}
	f.await(t, "it is said that Kafka is away", func(s State) bool { return !s.Connected && s.Problem != "" && s.CaughtUp })
	if err := kafkaServer.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.await(t, "Kafka is read again", func(s State) bool { return s.Connected && s.Problem == "" })
	publish(m.Step(100))
	f.agrees(t, m)

	if err := kafkaServer.Freeze(); err != nil {
		t.Fatal(err)
	}
	f.await(t, "it is said that Kafka is frozen", func(s State) bool { return !s.Connected && s.Problem != "" })
	if err := kafkaServer.Thaw(); err != nil {
		t.Fatal(err)
	}
	publish(m.Step(100))
	f.agrees(t, m)
	f.await(t, "all is well again", func(s State) bool { return s.Connected && s.Problem == "" })
}

func TestAWrongAddressIsSaidInOneSentence(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	f := follow(t, []string{addr}, "windows", nil)
	f.await(t, "the address is named", func(s State) bool {
		return !s.Connected && !s.CaughtUp && strings.Contains(s.Problem, addr) && !strings.Contains(s.Problem, "\n")
	})
}
