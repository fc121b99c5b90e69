package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/segmentio/kafka-go"
)

// options are those for a server of the test's own, or skips where the jars
// or Java are not there: `make test` has fetched them.
func options(t *testing.T) Options {
	t.Helper()
	if os.Getenv("KAFKA_BROKERS") == "" {
		t.Skip("starts servers of its own, which takes a while: run `make test`, or set KAFKA_BROKERS as it does")
	}
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Dir: t.TempDir(), Port: port, HeapMB: 256}
}

// stopped ends the server when the test does.
func stopped(t *testing.T, s *Server, err error) *Server {
	t.Helper()
	if errors.Is(err, ErrNoJava) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestKafkaKeepsWhatItAcknowledgedThroughKillAndRestart(t *testing.T) {
	o := options(t)
	s, err := StartKafka(t.Context(), o)
	stopped(t, s, err)
	client := &kafka.Client{Addr: kafka.TCP(s.Addr()), Timeout: 20 * time.Second}
	created, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "kept", NumPartitions: 1, ReplicationFactor: 1}}})
	if err == nil {
		err = created.Errors["kept"]
	}
	if err != nil {
		t.Fatal(err)
	}
	produce := func(text string) {
		t.Helper()
		var answer *kafka.ProduceResponse
		err := poll(t.Context(), "the topic's leader", func(ctx context.Context) (err error) {
			answer, err = client.Produce(ctx, &kafka.ProduceRequest{
				Topic: "kept", RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(text))}),
			})
			if err == nil {
				err = answer.Error
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		produce(fmt.Sprint("record ", i))
		pid := s.PID()
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.PID() == pid {
			t.Fatal("it is the same process")
		}
	}
	var offsets *kafka.ListOffsetsResponse
	// The first try may go over a connection to the process before.
	err = poll(t.Context(), "the log's end", func(ctx context.Context) (err error) {
		offsets, err = client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{"kept": {kafka.LastOffsetOf(0)}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if end := offsets.Topics["kept"][0].LastOffset; end != 2 {
		t.Errorf("the log ends at %d, want 2", end)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func TestCassandraKeepsWhatItAcknowledgedThroughKillFreezeAndRestart(t *testing.T) {
	o := options(t)
	o.HeapMB = 512
	s, err := StartCassandra(t.Context(), o)
	stopped(t, s, err)
	connect := func() *gocql.Session {
		t.Helper()
		cluster := gocql.NewCluster("127.0.0.1")
		cluster.Port, cluster.Timeout, cluster.ConnectTimeout = o.Port, 20*time.Second, 20*time.Second
		session, err := cluster.CreateSession()
		if err != nil {
			t.Fatal(err)
		}
		return session
	}
	session := connect()
	for _, cql := range []string{
		"CREATE KEYSPACE kept WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 1}",
		"CREATE TABLE kept.sums (k int PRIMARY KEY, n counter)",
	} {
		if err := session.Query(cql).WithContext(t.Context()).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	var sync string
	if err := session.Query("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'").Scan(&sync); err != nil || sync != "group" {
		t.Errorf("commitlog_sync is %q, %v", sync, err)
	}
	const increments = 50
	for range increments {
		if err := session.Query("UPDATE kept.sums SET n = n + 1 WHERE k = 1").WithContext(t.Context()).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	session.Close()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	session = connect()
	defer session.Close()
	var n int64
	if err := session.Query("SELECT n FROM kept.sums WHERE k = 1").Scan(&n); err != nil || n != increments {
		t.Errorf("%d increments are left of %d, %v", n, increments, err)
	}

	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozen, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := answersCQL(frozen, s.Addr()); err == nil {
		t.Error("a frozen server answers")
	}
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := poll(t.Context(), "Cassandra", func(ctx context.Context) error { return answersCQL(ctx, s.Addr()) }); err != nil {
		t.Error(err)
	}
}

func TestAServerThatCanNotStartTellsWithTheEndOfItsLog(t *testing.T) {
	o := options(t)
	l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(o.Port)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := StartKafka(t.Context(), o)
	if errors.Is(err, ErrNoJava) {
		t.Skip(err)
	}
	if err == nil {
		_ = s.Kill()
		t.Fatal("it started on a port that is taken")
	}
	if !strings.Contains(err.Error(), "in use") {
		t.Errorf("told with %v", err)
	}
}

// A Maven that is a script shows what is made of its good and bad endings.
func TestJarsAppearWholeOrNotAtAll(t *testing.T) {
	bin := t.TempDir()
	mvn := func(script string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(bin, "mvn"), []byte("#!/bin/sh\nout=${*##*-DoutputDirectory=}\nmkdir -p \"$out\"\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	cache := t.TempDir()
	j := jars{title: "Kafka", name: "kafka", pom: []byte("<project/>")}
	var said []string
	say := func(s string) { said = append(said, s) }

	mvn(`touch "$out/half.jar"; echo "[ERROR] the line is cut"; exit 1`)
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	_, err := j.dir(ctx, cache, func(s string) {
		say(s)
		if tries++; tries == 1 {
			cancel() // it is not waited for the further tries
		}
	})
	if err == nil {
		t.Fatal("half a download was taken for whole")
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "jars", ".part-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	mvn(`touch "$out/a.jar" "$out/b.jar"; echo "Downloaded from central: a.jar"`)
	dir, err := j.dir(t.Context(), cache, say)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := classPath(dir, "conf")
	if err != nil || cp != "conf:"+filepath.Join(dir, "a.jar")+":"+filepath.Join(dir, "b.jar") {
		t.Errorf("class path %s, %v", cp, err)
	}

	mvn(`exit 1`) // not asked again
	if again, err := j.dir(t.Context(), cache, say); err != nil || again != dir {
		t.Errorf("the second time: %s, %v", again, err)
	}
	if err := j.fetch(t.Context(), filepath.Join(bin, "mvn"), filepath.Join(cache, "other"), say); err == nil {
		t.Error("a Maven that fails is taken for good")
	}
	mvn(``)
	if err := j.fetch(t.Context(), filepath.Join(bin, "mvn"), filepath.Join(cache, "other"), say); err == nil || !strings.Contains(err.Error(), "no jars") {
		t.Errorf("a Maven that brings nothing: %v", err)
	}
}

func TestMavensComplaintIsItsFirst(t *testing.T) {
	var n atomic.Int64
	out := "[INFO] x\nDownloaded from c: a (1 kB)\nDownloaded from c: b (1 kB)\n[ERROR] no route to host\n[ERROR] re-run with -e\n"
	if got := mavenOutput(strings.NewReader(out), &n); got != "no route to host" || n.Load() != 2 {
		t.Errorf("complaint %q after %d files", got, n.Load())
	}
}

func TestOptionsNeedAFolderAndAPort(t *testing.T) {
	for name, o := range map[string]Options{"no folder": {Port: 1}, "no port": {Dir: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			if _, err := Kafka(t.Context(), o); err == nil {
				t.Error("it was prepared")
			}
		})
	}
}
