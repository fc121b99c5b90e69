package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/gocql/gocql"
	"github.com/google/go-cmp/cmp"
	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/bus"
	"ticktape/internal/deadletter"
	"ticktape/internal/history"
	"ticktape/internal/live"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

// bootstraps builds functions for this machine.
func bootstraps(t *testing.T, names ...string) map[string]string {
	t.Helper()
	built := make([]string, len(names))
	var g errgroup.Group
	for i, name := range names {
		dir := t.TempDir()
		g.Go(func() (err error) {
			built[i], err = compile(t.Context(), filepath.Join("..", ".."), name, runtime.GOARCH, "tested", dir)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	byName := map[string]string{}
	for i, name := range names {
		byName[name] = built[i]
	}
	return byName
}

const (
	partitions = 3
	symbols    = 5
	token      = "s3cret"
)

// tape is a topic with records in it.
type tape struct {
	topic   string
	records [partitions][]trigger.Record
	bad     trigger.Record // one of partition 1
}

// record publishes ticks of four minutes, and one record that is none.
func record(t *testing.T, client *bus.Client, topic string) *tape {
	t.Helper()
	var msgs [partitions][]kafka.Message
	base := time.Now().Add(-5 * time.Minute).Truncate(time.Minute)
	for i := range 240 {
		p := i % partitions
		k := tick.Tick{
			Symbol: fmt.Sprintf("S%d-%d", p, i/partitions%symbols), Price: tick.Price(100_00000000 + i*i%977*10_000), Size: int64(i % 50), DayVolume: int64(i),
			EventTime: base.Add(time.Duration(i) * time.Second).UnixMilli(), ReceivedTime: base.UnixMilli(), Seq: int64(i), Source: tick.SourceSimulated, Currency: "USD", Exchange: "NMS", MarketState: tick.MarketRegular,
		}
		value, err := tick.Protobuf.Append(nil, &k)
		if err != nil {
			t.Fatal(err)
		}
		msgs[p] = append(msgs[p], kafka.Message{Key: []byte(k.Symbol), Value: value, Headers: []kafka.Header{{Key: "content-type", Value: []byte(tick.ContentProtobuf)}}})
	}
	msgs[1][35] = kafka.Message{Key: []byte("S1-0"), Value: []byte("no tick"), Headers: []kafka.Header{{Key: "mine", Value: []byte{0, 200}}}}
	tp := &tape{topic: topic}
	for p := range partitions {
		w := &kafka.Writer{Addr: kafka.TCP(testbed.Kafka(t)...), Topic: topic, Balancer: kafka.BalancerFunc(func(kafka.Message, ...int) int { return p }), BatchTimeout: time.Millisecond, RequiredAcks: kafka.RequireAll}
		if err := errors.Join(w.WriteMessages(t.Context(), msgs[p]...), w.Close()); err != nil {
			t.Fatal(err)
		}
	}
	info, err := client.TopicInfo(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		cursor := client.Cursor(topic, info, p, 0)
		for len(tp.records[p]) < len(msgs[p]) {
			chunk, err := cursor.Fetch(t.Context(), time.Second, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			var r bus.Record
			for more := true; more; {
				if more, err = chunk.Next(&r); err != nil {
					t.Fatal(err)
				}
				if more {
					out := trigger.Record{Offset: r.Offset, Timestamp: r.Timestamp, LogTime: true, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)}
					for _, h := range r.Headers {
						out.Headers = append(out.Headers, trigger.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
					}
					tp.records[p] = append(tp.records[p], out)
				}
			}
		}
	}
	tp.bad = tp.records[1][35]
	return tp
}

// event makes the event that AWS sends for the records from i up to j of each partition.
func (tp *tape) event(t *testing.T, i, j int) []byte {
	t.Helper()
	e := events.KafkaEvent{EventSource: "aws:kafka", EventSourceARN: "arn:aws:kafka:eu-central-1:111122223333:cluster/ticktape/0f1e2d3c", Records: map[string][]events.KafkaRecord{}}
	for p := range partitions {
		key := tp.topic + "-" + strconv.Itoa(p)
		for _, r := range tp.records[p][i:j] {
			out := events.KafkaRecord{
				Topic: tp.topic, Partition: int64(p), Offset: r.Offset, Timestamp: events.MilliSecondsEpochTime{Time: time.UnixMilli(r.Timestamp)}, TimestampType: "LOG_APPEND_TIME",
				Key: base64.StdEncoding.EncodeToString(r.Key), Value: base64.StdEncoding.EncodeToString(r.Value),
			}
			for _, h := range r.Headers {
				out.Headers = append(out.Headers, map[string]events.JSONNumberBytes{h.Key: h.Value})
			}
			e.Records[key] = append(e.Records[key], out)
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// openFaaS gives all records to the handlers of process and persist as the
// connector for Kafka does, in the name of a topic with the id.
func (tp *tape) openFaaS(t *testing.T, id [16]byte) {
	t.Helper()
	process, persist := live.NewService(), history.NewService()
	for p := range partitions {
		enc := trigger.NewEncoder(trigger.Protobuf, "openfaas", id, p)
		for i := range tp.records[p] {
			enc.Append(&tp.records[p][i])
		}
		for name, do := range map[string]func(context.Context, *trigger.Batch) (trigger.Failures, error){"process": process.Process, "persist": persist.Persist} {
			parts := enc.Body(0, enc.Len(), false)
			res := trigger.Serve(handler.Request{
				Header: http.Header{trigger.HeaderToken: {token}, "Content-Type": {enc.ContentType()}}, Body: bytes.Join(parts[:], nil),
			}, do)
			wantFailures := ""
			if p == 1 {
				wantFailures = "35"
			}
			if res.StatusCode != 200 || res.Header.Get(trigger.HeaderFailures) != wantFailures {
				t.Fatalf("%s of partition %d: %d %v %s", name, p, res.StatusCode, res.Header, res.Body)
			}
		}
	}
}

// connect opens the keyspace for reading what store has no method for.
func connect(t *testing.T, cfg store.Config) *gocql.Session {
	t.Helper()
	host, port, _ := strings.Cut(cfg.Hosts[0], ":")
	cluster := gocql.NewCluster(host)
	cluster.Port, _ = strconv.Atoi(port)
	cluster.Keyspace, cluster.Timeout = cfg.Keyspace, cfg.Timeout
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	return session
}

// state is what Cassandra has of a topic's logs: live windows with their fences,
// quotes, and the trades of the history, however they are cut into chunks.
type state struct{ Windows, Quotes, Trades []string }

func (tp *tape) state(t *testing.T, s *store.Store, session *gocql.Session, incarnation int32) (all state) {
	t.Helper()
	for p := range partitions {
		log := store.Log(incarnation, p)
		var symbol string
		var quote []byte
		for it := session.Query("SELECT symbol, tick FROM quotes WHERE log = ?", log).Iter(); it.Scan(&symbol, &quote); {
			all.Quotes = append(all.Quotes, fmt.Sprintf("%d %s %x", p, symbol, quote))
		}
		for start := range tp.minutes(p) {
			w := store.Window{Start: start, Log: log}
			fence, states, err := s.ReadWindow(t.Context(), w, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range states {
				all.Windows = append(all.Windows, fmt.Sprintf("%d %d below %d: %+v", p, start, fence, st))
				rows, err := s.ReadChunks(t.Context(), w, st.Symbol)
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range rows {
					for _, r := range row.Records {
						all.Trades = append(all.Trades, fmt.Sprintf("%d %s %+v", p, st.Symbol, r))
					}
				}
			}
		}
	}
	slices.Sort(all.Windows)
	slices.Sort(all.Quotes)
	slices.Sort(all.Trades)
	all.Trades = slices.Compact(all.Trades) // a record that was delivered twice may be in two chunks
	return all
}

// minutes are the starts of a partition's windows.
func (tp *tape) minutes(partition int) map[int64]bool {
	starts := map[int64]bool{}
	for _, r := range tp.records[partition] {
		var k tick.Tick
		if new(tick.Decoder).Decode(tick.ContentProtobuf, r.Value, &k) == nil {
			starts[window.Start(k.EventTime)] = true
		}
	}
	return starts
}

// wantDeadLetters reads the dead letters: process and persist have one each at
// least, all of the one record that is no tick.
func (tp *tape) wantDeadLetters(t *testing.T, topic string, id [16]byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: testbed.Kafka(t), Topic: topic, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	for range 2 {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, h := range m.Headers {
			got[h.Key] = string(h.Value)
		}
		reason := got[deadletter.HeaderReason]
		delete(got, deadletter.HeaderReason)
		if diff := cmp.Diff(map[string]string{
			"mine": "\x00\xc8", deadletter.HeaderFunction: "ticktape", deadletter.HeaderTopic: tp.topic, deadletter.HeaderTopicID: bus.FormatID(id),
			deadletter.HeaderPartition: "1", deadletter.HeaderOffset: "35", deadletter.HeaderTimestamp: strconv.FormatInt(tp.bad.Timestamp, 10),
		}, got); diff != "" || reason == "" || string(m.Key) != "S1-0" || string(m.Value) != "no tick" {
			t.Errorf("dead letter %s: %s because of %q, headers (-want +got):\n%s", m.Key, m.Value, reason, diff)
		}
	}
}

// The same records come to the same state through Lambda's events as through the
// connector's calls: bad ones among them, with events repeated, and with a process
// that is killed in the middle of one.
func TestFunctionsDoOnLambdaWhatTheyDoOnOpenFaaS(t *testing.T) {
	cfg := testbed.Cassandra(t)
	topic, windows := testbed.Topic(t, "lambda", partitions), testbed.Topic(t, "lambda-windows", 1)
	secrets := t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, trigger.TokenSecret), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CASSANDRA_KEYSPACE", cfg.Keyspace)
	t.Setenv("WINDOWS_TOPIC", windows)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	session := connect(t, cfg)
	dead := testbed.Topic(t, "lambda-dead", 1)
	env := []string{
		"KAFKA_BROKERS=" + strings.Join(testbed.Kafka(t), ","), "CASSANDRA_HOSTS=" + strings.Join(cfg.Hosts, ","), "CASSANDRA_KEYSPACE=" + cfg.Keyspace,
		"WINDOWS_TOPIC=" + windows, "TICKS_TOPIC=" + topic, "SECRET_TRIGGER_TOKEN=" + token, "DEAD_LETTER_TOPIC=" + dead, "CASSANDRA_TIMEOUT=10s",
	}
	busCfg, err := bus.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	client := bus.New(busCfg)
	defer client.Close()
	programs := bootstraps(t, "process", "persist", "quotes", "seal")
	tp := record(t, client, topic)

	ok := func(e *environment, i, j int) {
		t.Helper()
		if answer, failed := e.invoke(tp.event(t, i, j)); failed || answer != `{"batchItemFailures":[]}` {
			t.Fatalf("event of the records %d to %d: failed %v, %s", i, j, failed, answer)
		}
	}
	const n = 80 // records a partition
	persist := start(t, programs["persist"], env...)
	ok(persist, 0, 30)
	ok(persist, 30, n)
	ok(persist, 20, 50)

	process := func() *environment { return start(t, programs["process"], append(env, "CLAIMS=1")...) }
	first := process()
	ok(first, 0, 30)  // of which nothing is known, so it waits
	ok(first, 30, 50) // new for sure
	info, err := client.TopicInfo(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	incarnation, err := s.Incarnation(t.Context(), topic, info.ID)
	if err != nil {
		t.Fatal(err)
	}
	cut := first.begin(tp.event(t, 50, 65))
	testbed.Eventually(t, time.Minute, "the records are being counted", func() bool {
		var claimed int64
		err := session.Query("SELECT claimed FROM claims WHERE log = ?", store.Log(incarnation, 0)).Scan(&claimed)
		return err == nil && claimed == 65
	})
	first.kill()
	select {
	case <-cut.done:
		t.Log("the function was quicker than its end")
	default:
	}
	second, third := process(), process()
	again := third.begin(tp.event(t, 0, 50))
	ok(second, 50, 65)
	ok(second, 65, n)
	<-again.done
	if again.failed {
		t.Errorf("an event that comes again: %s", again.answer)
	}

	t.Setenv("SECRETS_DIR", secrets)
	id := [16]byte{15: 1}
	tp.openFaaS(t, id)
	reference, err := s.Incarnation(t.Context(), "openfaas", id)
	if err != nil {
		t.Fatal(err)
	}
	want := tp.state(t, s, session, reference)
	if len(want.Windows) < partitions*symbols*4 || len(want.Quotes) != partitions*symbols || len(want.Trades) != partitions*n-1 {
		t.Errorf("%d windows, %d quotes, %d trades", len(want.Windows), len(want.Quotes), len(want.Trades))
	}
	if diff := cmp.Diff(want, tp.state(t, s, session, incarnation)); diff != "" {
		t.Errorf("Cassandra differs (-OpenFaaS +Lambda):\n%s", diff)
	}
	tp.wantDeadLetters(t, dead, info.ID)

	t.Run("a request is answered without a token, and one that triggers is not", func(t *testing.T) {
		var res events.LambdaFunctionURLResponse
		answer, failed := start(t, programs["quotes"], env...).invoke(bytes.ReplaceAll(recorded(t, "quotes"), []byte("AAPL,MSFT"), []byte("S0-0,S1-1")))
		if err := json.Unmarshal([]byte(answer), &res); err != nil || failed || res.StatusCode != 200 || !strings.Contains(res.Body, `"symbol":"S0-0"`) || !strings.Contains(res.Body, `"symbol":"S1-1"`) {
			t.Errorf("quotes: failed %v, %s", failed, answer)
		}
		answer, failed = second.invoke(recorded(t, "watchlist")) // with a token that is wrong
		if err := json.Unmarshal([]byte(answer), &res); err != nil || failed || res.StatusCode != 401 || res.Headers["Content-Type"] != "application/problem+json" {
			t.Errorf("a POST to process: failed %v, %s", failed, answer)
		}
	})
	t.Run("a schedule is a POST with the token", func(t *testing.T) {
		if answer, failed := start(t, programs["seal"], env...).invoke(recorded(t, "schedule")); failed || !strings.HasPrefix(answer, `{"calls":1,"failed":0,"last":{"sealed":`) {
			t.Errorf("seal: failed %v, %s", failed, answer)
		}
	})
	t.Run("what is no event of ours is refused with its kind", func(t *testing.T) {
		if answer, failed := second.invoke([]byte(`{"Records":[{"eventSource":"aws:sqs"}]}`)); !failed || !strings.Contains(answer, "is of no known kind: this function takes events of a Kafka event source mapping") {
			t.Errorf("failed %v, %s", failed, answer)
		}
	})
}
