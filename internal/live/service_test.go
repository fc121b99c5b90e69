package live_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/live"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

func TestServiceSaysWhatIsAwayAndTriesAgain(t *testing.T) {
	cfg := testbed.Cassandra(t)
	first, err := store.Open(t.Context(), cfg) // it makes the tables, which takes its time
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	t.Setenv("CASSANDRA_KEYSPACE", cfg.Keyspace)
	t.Setenv("CASSANDRA_TIMEOUT", cfg.Timeout.String())
	topic := testbed.Topic(t, "windows", 1) + "_new" // one that nobody has made
	t.Setenv("WINDOWS_TOPIC", topic)
	t.Cleanup(func() {
		client := &kafka.Client{Addr: kafka.TCP(testbed.Kafka(t)...), Timeout: 20 * time.Second}
		if _, err := client.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
			t.Logf("delete topic %s: %v", topic, err)
		}
	})
	tp := newTape()
	tp.add(trade("AAPL", minute, 1, 1), tick.Protobuf)
	s := live.NewService()
	away := func(resumed bool, what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := s.Process(ctx, tp.batch(0, 1, resumed))
		var later trigger.RetryLater
		if !errors.As(err, &later) || later.Doubt != resumed || later.After == 0 || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, doubt %v, after %s", err, later.Doubt, later.After)
		}
	}
	t.Run("no Cassandra", func(t *testing.T) {
		t.Setenv("CASSANDRA_HOSTS", "127.0.0.1:1")
		away(false, "127.0.0.1:1")
		away(true, "127.0.0.1:1")
	})
	t.Run("no Kafka", func(t *testing.T) {
		t.Setenv("KAFKA_BROKERS", "127.0.0.1:1")
		away(false, "connection refused")
	})
	if _, err := s.Process(t.Context(), tp.all()); err != nil {
		t.Error(err)
	}
}
