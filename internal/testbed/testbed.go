// Package testbed gives tests the real Kafka and Cassandra. It starts nothing:
// `make test` starts one of each and says where they are in KAFKA_BROKERS and
// CASSANDRA_HOSTS. Each test gets a keyspace and topics of its own, so tests can
// run side by side. Tests that kill or freeze a server start one of their own
// (package deploy/local/servers).
package testbed

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/store"
)

const hint = "run `make test`, which starts one, or give the address of a running one"

// Kafka returns the brokers' addresses, or skips the test where there is none.
func Kafka(t testing.TB) []string {
	t.Helper()
	v := os.Getenv("KAFKA_BROKERS")
	if v == "" {
		t.Skip("needs a real Kafka: KAFKA_BROKERS is not set; " + hint)
	}
	return strings.Split(v, ",")
}

// Cassandra returns settings for a keyspace that is the test's own and is
// dropped when the test ends, or skips the test where there is no Cassandra.
func Cassandra(t testing.TB) store.Config {
	t.Helper()
	if os.Getenv("CASSANDRA_HOSTS") == "" {
		t.Skip("needs a real Cassandra: CASSANDRA_HOSTS is not set; " + hint)
	}
	cfg, err := store.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Keyspace = unique("test")
	// Schema changes take seconds on a machine that is busy with other tests.
	cfg.Timeout = 20 * time.Second
	t.Cleanup(func() { dropKeyspace(t, cfg) })
	return cfg
}

// Store opens a store on a keyspace of the test's own.
func Store(t testing.TB) *store.Store {
	t.Helper()
	cfg := Cassandra(t)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Topic creates a topic with the given number of partitions, log append time
// and a name that starts with prefix. It is deleted when the test ends.
func Topic(t testing.TB, prefix string, partitions int) string {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(Kafka(t)...), Timeout: 20 * time.Second}
	name := unique(prefix)
	resp, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: name, NumPartitions: partitions, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "message.timestamp.type", ConfigValue: "LogAppendTime"}},
	}}})
	if err == nil {
		err = resp.Errors[name]
	}
	if err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if _, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}}); err != nil {
			t.Logf("delete topic %s: %v", name, err)
		}
	})
	Eventually(t, 20*time.Second, "topic "+name+" has leaders", func() bool {
		meta, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{name}})
		if err != nil || len(meta.Topics) != 1 || len(meta.Topics[0].Partitions) != partitions {
			return false
		}
		for _, p := range meta.Topics[0].Partitions {
			if p.Error != nil || p.Leader.Host == "" {
				return false
			}
		}
		return true
	})
	return name
}

// Eventually waits until cond is true and fails the test, naming what it waited
// for, when that takes longer than limit.
func Eventually(t testing.TB, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for wait := time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		if cond() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain until %s", limit, what)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("stopped while waiting until %s", what)
		case <-time.After(wait):
		}
	}
}

func unique(prefix string) string {
	return fmt.Sprintf("%s_%d_%d", prefix, os.Getpid(), time.Now().UnixNano())
}

// Session is a connection to the keyspace of cfg that says what a Store does not.
func Session(t testing.TB, cfg store.Config) *gocql.Session {
	t.Helper()
	session, err := connect(cfg, cfg.Keyspace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}

func connect(cfg store.Config, keyspace string) (*gocql.Session, error) {
	cluster := gocql.NewCluster()
	for _, h := range cfg.Hosts {
		host, port, found := strings.Cut(h, ":")
		cluster.Hosts = append(cluster.Hosts, host)
		if found {
			if _, err := fmt.Sscan(port, &cluster.Port); err != nil {
				return nil, fmt.Errorf("CASSANDRA_HOSTS %q: %w", h, err)
			}
		}
	}
	cluster.Keyspace, cluster.Timeout = keyspace, cfg.Timeout
	return cluster.CreateSession()
}

func dropKeyspace(t testing.TB, cfg store.Config) {
	session, err := connect(cfg, "")
	if err != nil {
		t.Logf("drop keyspace %s: %v", cfg.Keyspace, err)
		return
	}
	defer session.Close()
	if err := session.Query(fmt.Sprintf("DROP KEYSPACE IF EXISTS %q", cfg.Keyspace)).Exec(); err != nil {
		t.Logf("drop keyspace %s: %v", cfg.Keyspace, err)
	}
}
