package delivery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"ticktape/connectors/kafka/delivery"
	"ticktape/internal/bus"
	"ticktape/internal/gateway"
	"ticktape/internal/gateway/gatewaytest"
	"ticktape/internal/testbed"
	"ticktape/internal/trigger"
)

const patience = 30 * time.Second

// rig is a topic, a gateway and whatever connectors a test starts between them.
type rig struct {
	testing.TB
	bus   *bus.Client
	gw    *gatewaytest.Server
	topic string
	dead  string
}

func newRig(t testing.TB, partitions int) *rig {
	t.Helper()
	topic := testbed.Topic(t, "deliver", partitions)
	r := &rig{TB: t, bus: bus.New(bus.Config{Brokers: testbed.Kafka(t)}), gw: gatewaytest.New(t), topic: topic, dead: topic + ".dead"}
	t.Cleanup(func() {
		_, _ = r.admin().DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{r.dead}})
		r.bus.Close()
	})
	return r
}

func (r *rig) admin() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(testbed.Kafka(r)...), Timeout: 20 * time.Second}
}

// annotations are those of a function with Protobuf batches, and what else is given.
func (r *rig) annotations(more ...string) map[string]string {
	a := map[string]string{"topic": r.topic, "kafka.group": r.topic + ".f", "kafka.batch": "protobuf"}
	for i := 0; i < len(more); i += 2 {
		a[more[i]] = more[i+1]
	}
	return a
}

// single is those of a function that takes one record a call.
func (r *rig) single() map[string]string {
	return map[string]string{"topic": r.topic, "kafka.group": r.topic + ".f"}
}

func config() delivery.Config {
	return delivery.Config{
		CallTimeout: 3 * time.Second, SessionTimeout: 6 * time.Second, RetryMin: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		Watch: 100 * time.Millisecond, FetchBytes: 1 << 20, BatchMemory: 64 << 20,
	}
}

// connector is one that runs within the test.
type connector struct {
	cancel   context.CancelFunc
	done     chan struct{}
	registry *prometheus.Registry
}

func (r *rig) start(change ...func(*delivery.Config, *gateway.Config)) *connector {
	r.Helper()
	cfg, gc := config(), r.gw.Config(r)
	for _, f := range change {
		f(&cfg, &gc)
	}
	gw, err := gateway.New(gc, "kafka-connector")
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &connector{cancel: cancel, done: make(chan struct{}), registry: prometheus.NewRegistry()}
	client := bus.New(bus.Config{Brokers: testbed.Kafka(r)})
	c := delivery.New(cfg, client, gw, delivery.NewMetrics(k.registry))
	go func() {
		defer close(k.done)
		defer client.Close()
		gw.Watch(ctx, func(fs []gateway.Function) { c.Update(ctx, fs) })
		c.Close()
	}()
	r.Cleanup(k.stop)
	return k
}

func (k *connector) stop() { k.cancel(); <-k.done }

func (r *rig) publish(msgs ...kafka.Message) {
	r.Helper()
	p := r.bus.Producer(r.topic)
	if err := p.Publish(r.Context(), msgs); err != nil {
		r.Fatal(err)
	}
}

func values(from, to int) (msgs []kafka.Message) {
	for i := from; i < to; i++ {
		msgs = append(msgs, kafka.Message{Key: fmt.Appendf(nil, "k%d", i%7), Value: fmt.Appendf(nil, "%d", i)})
	}
	return msgs
}

// call is one that a function got.
type call struct {
	header  http.Header
	body    []byte
	batch   *trigger.Batch
	resumed bool
}

func (c *call) first() int64 { return c.batch.Records[0].Offset }
func (c *call) last() int64  { return c.batch.Records[len(c.batch.Records)-1].Offset }

func (c *call) values() (v []string) {
	for _, r := range c.batch.Records {
		v = append(v, string(r.Value))
	}
	return v
}

// function keeps the calls that it got. answer decides on the nth, from 1.
type function struct {
	answer func(w http.ResponseWriter, n int, c *call)

	mu    sync.Mutex
	calls []*call
	done  []string // values of the batches that were answered with 200
}

func (f *function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	c := &call{header: r.Header, body: body, resumed: r.Header.Get("X-Resumed") == "true"}
	if typ := r.Header.Get("Content-Type"); strings.HasPrefix(typ, "application/x-protobuf") || typ == trigger.TypeJSON {
		c.batch = gatewaytest.Batch(r, body)
	}
	f.mu.Lock()
	f.calls = append(f.calls, c)
	n := len(f.calls)
	f.mu.Unlock()
	sw := &statusWriter{ResponseWriter: w, status: 200}
	if f.answer != nil {
		f.answer(sw, n, c)
	}
	if sw.status == 200 && c.batch != nil {
		f.mu.Lock()
		f.done = append(f.done, c.values()...)
		f.mu.Unlock()
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(s int) { w.status = s; w.ResponseWriter.WriteHeader(s) }

func (f *function) all() []*call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *function) finished() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

func (r *rig) waitDone(f *function, n int) {
	r.Helper()
	testbed.Eventually(r, patience, fmt.Sprintf("%d records are done", n), func() bool { return len(f.finished()) >= n })
}

// committed waits until the group has committed n records in all.
func (r *rig) committed(group string, n int64) {
	r.Helper()
	testbed.Eventually(r, patience, fmt.Sprintf("%d records are committed", n), func() bool { return r.sum(group) == n })
}

func (r *rig) sum(group string) (sum int64) {
	marks, err := r.bus.Committed(r.Context(), group, r.topic)
	if err != nil {
		return -1
	}
	for _, o := range marks {
		sum += o
	}
	return sum
}

// deadLetters waits for n dead letters and returns them.
func (r *rig) deadLetters(n int) []kafka.Message {
	r.Helper()
	testbed.Eventually(r, patience, "there is a dead-letter topic", func() bool { _, err := r.bus.TopicInfo(r.Context(), r.dead); return err == nil })
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: testbed.Kafka(r), Topic: r.dead, MaxWait: 100 * time.Millisecond})
	defer reader.Close()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	var letters []kafka.Message
	for len(letters) < n {
		m, err := reader.ReadMessage(ctx)
		if err != nil {
			r.Fatalf("read %d of %d dead letters: %v", len(letters), n, err)
		}
		letters = append(letters, m)
	}
	return letters
}

func header(m kafka.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// texts are the numbers from and up to, not including, to.
func texts(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestAForeignFunctionGetsOneRecordACall(t *testing.T) {
	r := newRig(t, 1)
	f := &function{}
	r.gw.Deploy("foreign", r.single(), f.ServeHTTP)
	r.publish(
		kafka.Message{Key: []byte("AAPL"), Value: []byte(`{"p":1}`), Headers: []kafka.Header{{Key: "trace-id", Value: []byte("7")}, {Key: "content-type", Value: []byte("application/vnd.x+json")}}},
		kafka.Message{Key: []byte{0, 1, 255}, Value: []byte{0, 255}, Headers: []kafka.Header{{Key: "bin", Value: []byte{10}}, {Key: "Offset", Value: []byte("mine")}, {Key: "söme key", Value: []byte("x")}}},
		kafka.Message{Key: []byte("tombstone")},
		kafka.Message{Value: []byte("no key")},
	)
	r.start()
	testbed.Eventually(t, patience, "4 calls", func() bool { return len(f.all()) == 4 })
	r.committed(r.topic+".f", 4)
	type want struct {
		body    string
		headers map[string]string
		absent  []string
	}
	for i, w := range []want{
		{`{"p":1}`, map[string]string{"X-Kafka-Key": "AAPL", "X-Kafka-Trace-Id": "7", "Content-Type": "application/vnd.x+json"}, []string{"X-Kafka-Key-Enc", "X-Kafka-Tombstone"}},
		{"\x00\xff", map[string]string{"X-Kafka-Key": "AAH/", "X-Kafka-Key-Enc": "b64", "X-Kafka-Bin": "Cg==", "X-Kafka-Bin-Enc": "b64", "X-Kafka-Header-Offset": "mine", "X-Kafka-S-Me-Key": "x", "Content-Type": "application/octet-stream"}, nil},
		{"", map[string]string{"X-Kafka-Key": "tombstone", "X-Kafka-Tombstone": "true"}, nil},
		{"no key", nil, []string{"X-Kafka-Key", "X-Kafka-Tombstone"}},
	} {
		c := f.all()[i]
		if string(c.body) != w.body {
			t.Errorf("call %d has the body %q, want %q", i, c.body, w.body)
		}
		fixed := map[string]string{"X-Topic": r.topic, "X-Kafka-Partition": "0", "X-Kafka-Offset": strconv.Itoa(i), "X-Connector": "kafka-connector", "Content-Length": strconv.Itoa(len(w.body))}
		for _, m := range []map[string]string{fixed, w.headers} {
			for k, v := range m {
				if got := c.header.Get(k); got != v {
					t.Errorf("call %d has %s: %q, want %q", i, k, got, v)
				}
			}
		}
		for _, k := range w.absent {
			if c.header[k] != nil {
				t.Errorf("call %d has %s: %q, want none", i, k, c.header.Get(k))
			}
		}
	}
}

func TestBatchesKeepTheirLimitsAndTheOrder(t *testing.T) {
	for _, format := range []string{"protobuf", "json"} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, 3)
			f := &function{}
			r.gw.Deploy("batches", r.annotations("kafka.batch", format, "kafka.batch.max-records", "50", "kafka.batch.max-bytes", "4KiB"), f.ServeHTTP)
			r.publish(values(0, 1000)...)
			big := kafka.Message{Key: []byte("k1"), Value: bytes.Repeat([]byte("x"), 100_000)}
			r.publish(big)
			r.publish(values(1000, 1100)...)
			r.start()
			r.waitDone(f, 1101)
			r.committed(r.topic+".f", 1101)
			info, err := r.bus.TopicInfo(t.Context(), r.topic)
			if err != nil {
				t.Fatal(err)
			}
			next := map[int]int64{}
			alone := false
			for _, c := range f.all() {
				b := c.batch
				if b.Topic != r.topic || b.TopicID != info.ID || b.Resumed {
					t.Errorf("batch of topic %s, id %x, resumed %v", b.Topic, b.TopicID, b.Resumed)
				}
				if len(b.Records) > 50 || len(c.body) > 5<<10 && len(b.Records) > 1 {
					t.Errorf("a batch of %d records, %d bytes", len(b.Records), len(c.body))
				}
				alone = alone || len(b.Records) == 1 && len(b.Records[0].Value) == 100_000
				for _, rec := range b.Records {
					if rec.Offset != next[b.Partition] {
						t.Fatalf("partition %d: offset %d comes when it is the turn of %d", b.Partition, rec.Offset, next[b.Partition])
					}
					next[b.Partition]++
				}
			}
			if !alone {
				t.Error("the big record did not go alone")
			}
		})
	}
}

func TestFullBatchesEndWhereSpansOfTimeDo(t *testing.T) {
	for _, format := range []string{"protobuf", "json"} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, 1)
			f := &function{}
			r.gw.Deploy("f", r.annotations("kafka.batch", format, "kafka.batch.max-records", "50", "kafka.batch.max-wait", "1s",
				"kafka.batch.align", "1m", "kafka.batch.align-by", "json:at"), f.ServeHTTP)
			const minutes, each = 5, 40
			var msgs []kafka.Message
			for i := range minutes * each {
				msgs = append(msgs, kafka.Message{Key: []byte("k"), Value: fmt.Appendf(nil, `{"at": %d}`, i/each*60_000+i)})
			}
			r.publish(msgs...)
			r.start()
			r.waitDone(f, len(msgs))
			r.committed(r.topic+".f", int64(len(msgs)))
			next := int64(0)
			for i, c := range f.all() {
				if len(c.batch.Records) != each {
					t.Errorf("batch %d has %d records, want those of a minute, %d", i, len(c.batch.Records), each)
				}
				for _, rec := range c.batch.Records {
					if rec.Offset != next {
						t.Fatalf("offset %d comes when it is the turn of %d", rec.Offset, next)
					}
					next++
				}
			}
		})
	}
}

// TestABatchThatEndsWithASpanIsHalvedAndNothingIsLostOrRepeated has batches that are
// full by their bytes, and one record that is refused behind where the first one ends.
func TestABatchThatEndsWithASpanIsHalvedAndNothingIsLostOrRepeated(t *testing.T) {
	r := newRig(t, 1)
	const minutes, each, bad = 4, 40, 57
	var done []int64
	var mu sync.Mutex
	r.gw.Deploy("f", r.annotations("kafka.batch.max-bytes", "4KiB", "kafka.batch.max-wait", "1s", "kafka.batch.align", "1m", "kafka.batch.align-by", "json:at"),
		func(w http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				t.Error(err)
			}
			var b trigger.Batch
			if err := trigger.Decode(&b, req.Header.Get("Content-Type"), body); err != nil {
				t.Error(err)
			}
			for _, rec := range b.Records {
				if rec.Offset == bad {
					http.Error(w, "a bad record", http.StatusBadRequest)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			minute := func(rec trigger.Record) int64 { return rec.Offset / each }
			if first, last := minute(b.Records[0]), minute(b.Records[len(b.Records)-1]); first != last {
				t.Errorf("a batch has records of minutes %d to %d", first, last)
			}
			for _, rec := range b.Records {
				done = append(done, rec.Offset)
			}
		})
	var msgs []kafka.Message
	for i := range minutes * each {
		msgs = append(msgs, kafka.Message{Key: []byte("k"), Value: fmt.Appendf(nil, `{"at": %d, "more": "%040d"}`, i/each*60_000+i, i)})
	}
	r.publish(msgs...)
	r.start()
	r.committed(r.topic+".f", int64(len(msgs)))
	mu.Lock()
	defer mu.Unlock()
	var want []int64
	for i := range int64(len(msgs)) {
		if i != bad {
			want = append(want, i)
		}
	}
	if !slices.Equal(done, want) {
		t.Errorf("done were %v, want each once and in order, but for %d", done, bad)
	}
	if letters := r.deadLetters(1); len(letters) != 1 || string(letters[0].Value) != string(msgs[bad].Value) {
		t.Errorf("dead letters are %v, want the record that was refused", letters)
	}
}

func TestAJSONBatchIsAWSsKafkaEvent(t *testing.T) {
	r := newRig(t, 1)
	f := &function{}
	r.gw.Deploy("aws", r.annotations("kafka.batch", "json"), f.ServeHTTP)
	r.publish(kafka.Message{Key: []byte("k"), Value: []byte("v"), Headers: []kafka.Header{{Key: "h", Value: []byte{1, 200}}}})
	r.start()
	r.waitDone(f, 1)
	var e events.KafkaEvent
	if err := json.Unmarshal(f.all()[0].body, &e); err != nil {
		t.Fatal(err)
	}
	got := e.Records[r.topic+"-0"]
	if len(got) != 1 || time.Since(got[0].Timestamp.Time).Abs() > time.Hour {
		t.Fatalf("event is %+v", e)
	}
	got[0].Timestamp = events.MilliSecondsEpochTime{}
	want := events.KafkaRecord{Topic: r.topic, TimestampType: "LOG_APPEND_TIME", Key: "aw==", Value: "dg==", Headers: []map[string]events.JSONNumberBytes{{"h": {1, 200}}}}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error(diff)
	}
}

func TestACallThatFailedIsMadeAgainWithTheSameBatch(t *testing.T) {
	for _, c := range []struct {
		name    string
		answer  func(w http.ResponseWriter, r *http.Request)
		resumed bool
	}{
		{"503 with Retry-After", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1"); w.WriteHeader(503) }, false},
		{"500 may have been applied", status(500), true},
		{"503 of a proxy may have been applied", status(503), true},
		{"408", status(408), false},
		{"425", status(425), false},
		{"429", status(429), false},
		{"429 with Retry-After", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "1"); w.WriteHeader(429) }, false},
		{"502 may have been applied", status(502), true},
		{"504 may have been applied", status(504), true},
		{"a broken connection may have been applied", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
		{"a time-out may have been applied", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true},
		{"401 is not the records' fault", status(401), false},
		{"403 is not the records' fault", status(403), false},
		{"404 is not the records' fault", status(404), false},
		{"a redirect is not the records' fault", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, false},
		{"a list of failures that is none", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Batch-Failures", "all")
			w.WriteHeader(200)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			f := &function{}
			first := true
			r.gw.Deploy("fails", r.annotations("kafka.batch.max-records", "10"), func(w http.ResponseWriter, req *http.Request) {
				if first {
					first = false
					body, err := io.ReadAll(req.Body)
					if err != nil {
						t.Error(err)
					}
					f.calls = append(f.calls, &call{batch: gatewaytest.Batch(req, body)})
					c.answer(w, req)
					return
				}
				f.ServeHTTP(w, req)
			})
			r.publish(values(0, 30)...)
			r.start(func(d *delivery.Config, _ *gateway.Config) { d.CallTimeout = time.Second })
			r.waitDone(f, 30)
			calls := f.all()
			if calls[0].batch.Resumed || calls[1].batch.Resumed != c.resumed {
				t.Errorf("resumed is %v, then %v; want false, %v", calls[0].batch.Resumed, calls[1].batch.Resumed, c.resumed)
			}
			if calls[0].first() != calls[1].first() || calls[0].last() != calls[1].last() {
				t.Errorf("first %d to %d, then %d to %d", calls[0].first(), calls[0].last(), calls[1].first(), calls[1].last())
			}
			for _, k := range calls[2:] {
				if k.batch.Resumed {
					t.Errorf("the batch from offset %d is resumed too", k.first())
				}
			}
			if diff := cmp.Diff(texts(0, 30), f.finished()); diff != "" {
				t.Error(diff)
			}
			if _, err := r.bus.TopicInfo(t.Context(), r.dead); !errors.Is(err, bus.ErrNoTopic) {
				t.Errorf("there are dead letters: %v", err)
			}
		})
	}
}

func status(s int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(s) }
}

func TestDoubtLastsUntilTheBatchIsDone(t *testing.T) {
	r := newRig(t, 1)
	f := &function{answer: func(w http.ResponseWriter, n int, _ *call) {
		if n < 4 {
			w.WriteHeader([]int{504, 503, 500}[n-1])
		}
	}}
	r.gw.Deploy("doubt", r.annotations(), f.ServeHTTP)
	r.publish(values(0, 3)...)
	r.start()
	r.waitDone(f, 3)
	var got []bool
	for _, c := range f.all() {
		got = append(got, c.resumed)
	}
	if diff := cmp.Diff([]bool{false, true, true, true}, got[:4]); diff != "" {
		t.Error(diff)
	}
}

func TestRefusedBatchesAreHalvedUntilEachBadRecordStandsAlone(t *testing.T) {
	r := newRig(t, 1)
	bad := map[string]bool{"0": true, "7": true, "8": true, "63": true, "99": true}
	f := &function{answer: func(w http.ResponseWriter, _ int, c *call) {
		for _, v := range c.values() {
			if bad[v] {
				w.WriteHeader(422)
				fmt.Fprintf(w, "record %s\nis bad", v)
				return
			}
		}
	}}
	r.gw.Deploy("refuses", r.annotations("kafka.batch.max-records", "64"), f.ServeHTTP)
	msgs := values(0, 100)
	msgs[7].Headers = []kafka.Header{{Key: "mine", Value: []byte("kept")}}
	r.publish(msgs...)
	k := r.start()
	r.waitDone(f, 95)
	r.committed(r.topic+".f", 100)
	want := slices.DeleteFunc(texts(0, 100), func(s string) bool { return bad[s] })
	if diff := cmp.Diff(want, f.finished()); diff != "" {
		t.Error(diff)
	}
	letters := r.deadLetters(5)
	for i, v := range []string{"0", "7", "8", "63", "99"} {
		m := letters[i]
		if string(m.Value) != v || string(m.Key) != string(msgs[mustInt(t, v)].Key) {
			t.Errorf("dead letter %d is %s: %s, want %s", i, m.Key, m.Value, v)
		}
		for key, want := range map[string]string{
			"dead-letter-reason": "status 422: record " + v + " is bad", "dead-letter-function": "refuses", "dead-letter-topic": r.topic,
			"dead-letter-partition": "0", "dead-letter-offset": v,
		} {
			if got := header(m, key); got != want {
				t.Errorf("dead letter %d has %s: %q, want %q", i, key, got, want)
			}
		}
		if ts, err := strconv.ParseInt(header(m, "dead-letter-timestamp"), 10, 64); err != nil || time.Since(time.UnixMilli(ts)).Abs() > time.Hour {
			t.Errorf("dead letter %d has the timestamp %d, %v", i, ts, err)
		}
	}
	if got := header(letters[1], "mine"); got != "kept" {
		t.Errorf("the record's own header is %q in its dead letter", got)
	}
	wantMetric(t, k, "kafka_connector_dead_letters_total", 5)
}

func mustInt(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// metric sums a metric up over its labels, and counts those.
func (k *connector) metric(t testing.TB, name string) (sum float64, n int) {
	t.Helper()
	families, err := k.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				n++
			}
		}
	}
	return sum, n
}

func wantMetric(t testing.TB, k *connector, name string, want float64) {
	t.Helper()
	if got, _ := k.metric(t, name); got != want {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// assigned is how many partitions the connector has.
func (k *connector) assigned(t testing.TB) int {
	t.Helper()
	_, n := k.metric(t, "kafka_connector_lag_records")
	return n
}

func TestFailuresOfABatchGoToTheDeadLetterTopicAndTheRestIsDone(t *testing.T) {
	r := newRig(t, 1)
	f := &function{answer: func(w http.ResponseWriter, n int, _ *call) {
		if n == 1 {
			w.Header().Set("X-Batch-Failures", "3, 5-7")
			_, _ = io.WriteString(w, `{"failures":[{"offset":3,"reason":"no price"},{"offset":6,"reason":"no symbol"}]}`)
		}
	}}
	r.gw.Deploy("half", r.annotations("kafka.batch.max-records", "10", "kafka.dead-letter-topic", r.dead), f.ServeHTTP)
	r.publish(values(0, 20)...)
	r.start()
	r.waitDone(f, 20)
	r.committed(r.topic+".f", 20)
	var got []string
	for _, m := range r.deadLetters(4) {
		got = append(got, string(m.Value)+" "+header(m, "dead-letter-reason"))
	}
	if diff := cmp.Diff([]string{"3 no price", "5 the function gave no reason", "6 no symbol", "7 the function gave no reason"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRetriesThatAreNumberedEndInTheDeadLetterTopic(t *testing.T) {
	r := newRig(t, 1)
	f := &function{answer: func(w http.ResponseWriter, _ int, c *call) {
		if c.first() == 0 {
			w.WriteHeader(500)
		}
	}}
	r.gw.Deploy("retries", r.annotations("kafka.batch.max-records", "4", "kafka.retries", "2"), f.ServeHTTP)
	r.publish(values(0, 8)...)
	r.start()
	r.waitDone(f, 4)
	r.committed(r.topic+".f", 8)
	letters := r.deadLetters(4)
	if got := header(letters[3], "dead-letter-reason"); !strings.HasPrefix(got, "given up after 3 calls: status 500") {
		t.Errorf("reason is %q", got)
	}
	if n := len(f.all()); n != 4 {
		t.Errorf("%d calls, want 3 and 1", n)
	}
}

func TestACallThatIsMisdirectedIsNeverGivenUp(t *testing.T) {
	r := newRig(t, 1)
	f := &function{answer: func(w http.ResponseWriter, n int, _ *call) {
		if n < 6 {
			w.WriteHeader([]int{401, 404}[n%2])
		}
	}}
	r.gw.Deploy("token", r.annotations("kafka.retries", "1"), f.ServeHTTP)
	r.publish(values(0, 3)...)
	r.start()
	r.waitDone(f, 3)
	if _, err := r.bus.TopicInfo(t.Context(), r.dead); !errors.Is(err, bus.ErrNoTopic) {
		t.Errorf("there are dead letters: %v", err)
	}
}

func TestAFunctionThatDisappearsGoesOnWhereItWas(t *testing.T) {
	r := newRig(t, 1)
	f := &function{}
	r.gw.Deploy("comes", r.annotations("kafka.batch.max-records", "5"), f.ServeHTTP)
	r.publish(values(0, 10)...)
	k := r.start()
	r.waitDone(f, 10)
	r.committed(r.topic+".f", 10)
	r.gw.Remove("comes")
	testbed.Eventually(t, patience, "it is no longer triggered", func() bool { return k.assigned(t) == 0 })
	r.publish(values(10, 20)...)
	r.gw.Deploy("comes", r.annotations("kafka.batch.max-records", "5"), f.ServeHTTP)
	r.waitDone(f, 20)
	if diff := cmp.Diff(texts(0, 20), f.finished()); diff != "" {
		t.Error(diff)
	}
}

func TestAFunctionThatDisappearsWhileItFailsLosesNothing(t *testing.T) {
	r := newRig(t, 1)
	f := &function{answer: func(w http.ResponseWriter, _ int, _ *call) { w.WriteHeader(500) }}
	r.gw.Deploy("fails", r.annotations("kafka.retries", "100000"), f.ServeHTTP)
	r.publish(values(0, 5)...)
	k := r.start()
	testbed.Eventually(t, patience, "it was called", func() bool { return len(f.all()) > 2 && k.assigned(t) == 1 })
	r.gw.Remove("fails")
	testbed.Eventually(t, patience, "it is no longer called", func() bool { return k.assigned(t) == 0 })
	if got := r.sum(r.topic + ".f"); got != 0 {
		t.Errorf("%d records are committed, want none", got)
	}
	well := &function{}
	r.gw.Deploy("fails", r.annotations(), well.ServeHTTP)
	r.waitDone(well, 5)
	if !well.all()[0].resumed {
		t.Error("the first call after an assignment is not resumed")
	}
}

func TestAGatewayThatCantBeReachedIsWaitedFor(t *testing.T) {
	r := newRig(t, 1)
	f := &function{}
	r.gw.Deploy("waits", r.annotations(), f.ServeHTTP)
	r.publish(values(0, 3)...)
	r.gw.FailListing(502)
	r.start()
	testbed.Eventually(t, patience, "the connector has asked", func() bool { return r.gw.Asked() > 1 })
	r.gw.FailListing(0)
	r.waitDone(f, 3)
	r.gw.FailListing(503) // and a listing that fails later stops nothing
	r.publish(values(3, 6)...)
	r.waitDone(f, 6)
}

func TestASlowFunctionHoldsNoOtherBack(t *testing.T) {
	r := newRig(t, 1)
	release := make(chan struct{})
	slow := &function{answer: func(http.ResponseWriter, int, *call) { <-release }}
	quick := &function{}
	r.gw.Deploy("slow", r.annotations("kafka.group", r.topic+".slow", "kafka.batch.max-records", "1"), slow.ServeHTTP)
	r.gw.Deploy("quick", r.annotations("kafka.group", r.topic+".quick"), quick.ServeHTTP)
	r.publish(values(0, 50)...)
	k := r.start(func(d *delivery.Config, _ *gateway.Config) {
		d.CallTimeout, d.SessionTimeout = 20*time.Second, 30*time.Second
	})
	r.waitDone(quick, 50)
	testbed.Eventually(t, patience, "the slow one has its first call", func() bool { return len(slow.all()) == 1 })
	testbed.Eventually(t, patience, "the lag is told", func() bool { lag, _ := k.metric(t, "kafka_connector_lag_records"); return lag == 50 })
	close(release)
	r.waitDone(slow, 50)
}

func TestFunctionsWithWrongAnnotationsAreNotTriggeredAndTheRestIs(t *testing.T) {
	r := newRig(t, 1)
	f, wrong := &function{}, &function{}
	r.gw.Deploy("good", r.annotations(), f.ServeHTTP)
	r.gw.Deploy("bad", r.annotations("kafka.group", r.topic+".bad", "kafka.batch.max-wait", "soon"), wrong.ServeHTTP)
	r.gw.Deploy("cron", map[string]string{"topic": "cron-function", "schedule": "@every 1s"}, wrong.ServeHTTP)
	r.gw.Deploy("none", nil, wrong.ServeHTTP)
	r.publish(values(0, 3)...)
	k := r.start()
	r.waitDone(f, 3)
	if n := len(wrong.all()); n != 0 {
		t.Errorf("functions that ask for nothing, or wrongly, got %d calls", n)
	}
	wantMetric(t, k, "kafka_connector_functions", 2) // one triggered, one rejected
}

func TestTwoConnectorsShareAFunctionsPartitions(t *testing.T) {
	r := newRig(t, 4)
	f := &function{}
	r.gw.Deploy("shared", r.annotations("kafka.batch.max-records", "20"), f.ServeHTTP)
	one := r.start()
	r.publish(values(0, 300)...)
	two := r.start()
	r.publish(values(300, 600)...)
	r.waitDone(f, 600)
	testbed.Eventually(t, patience, "both have 2 partitions", func() bool { return one.assigned(t) == 2 && two.assigned(t) == 2 })
	r.publish(values(600, 900)...)
	r.waitDone(f, 900)
	one.stop()
	r.publish(values(900, 1000)...)
	r.waitDone(f, 1000)
	r.committed(r.topic+".f", 1000)
	// Everybody stopped in order, so nothing came twice.
	got := f.finished()
	slices.SortFunc(got, func(a, b string) int { return mustInt(t, a) - mustInt(t, b) })
	if diff := cmp.Diff(texts(0, 1000), got); diff != "" {
		t.Error(diff)
	}
	next := map[int]int64{}
	for _, c := range f.all() {
		for _, rec := range c.batch.Records {
			if rec.Offset != next[c.batch.Partition] {
				t.Fatalf("partition %d: offset %d comes when it is the turn of %d", c.batch.Partition, rec.Offset, next[c.batch.Partition])
			}
			next[c.batch.Partition]++
		}
	}
}

func TestACallInFlightIsFinishedBeforeItsPartitionGoesToAnother(t *testing.T) {
	r := newRig(t, 2)
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f := &function{answer: func(_ http.ResponseWriter, _ int, c *call) {
		if c.batch.Partition == 1 {
			once.Do(func() {
				close(arrived)
				<-release
			})
		}
	}}
	r.gw.Deploy("flight", r.annotations("kafka.batch.max-records", "5"), f.ServeHTTP)
	r.publish(values(0, 50)...)
	one := r.start()
	<-arrived
	two := r.start()
	testbed.Eventually(t, patience, "the first gives its partitions up", func() bool {
		n, _ := two.metric(t, "kafka_connector_functions")
		return n == 1
	})
	close(release)
	testbed.Eventually(t, patience, "each has one", func() bool { return one.assigned(t) == 1 && two.assigned(t) == 1 })
	r.waitDone(f, 50)
	r.committed(r.topic+".f", 50)
	got := f.finished()
	slices.SortFunc(got, func(a, b string) int { return mustInt(t, a) - mustInt(t, b) })
	if diff := cmp.Diff(texts(0, 50), got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatTheOwnerBeforeCanHaveHadIsResumedAndNothingElse(t *testing.T) {
	r := newRig(t, 1)
	// A commit that says that up to 12 records past offset 10 may have been worked on.
	info, err := r.bus.TopicInfo(t.Context(), r.topic)
	if err != nil {
		t.Fatal(err)
	}
	r.publish(values(0, 40)...)
	meta := "topic-id=" + bus.FormatID(info.ID) + " partitions=1 window=12"
	if _, err := r.admin().OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{GroupID: r.topic + ".f", GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{r.topic: {{Partition: 0, Offset: 10, Metadata: meta}}}}); err != nil {
		t.Fatal(err)
	}
	f := &function{}
	r.gw.Deploy("takes-over", r.annotations("kafka.batch.max-records", "5"), f.ServeHTTP)
	r.start()
	r.waitDone(f, 30)
	for _, c := range f.all() {
		if want := c.first() < 22; c.resumed != want || c.batch.Resumed != want {
			t.Errorf("the batch from offset %d: resumed %v, want %v", c.first(), c.resumed, want)
		}
	}
}

func TestACallInFlightIsFinishedWhenTheConnectorStops(t *testing.T) {
	r := newRig(t, 1)
	arrived, release := make(chan struct{}), make(chan struct{})
	f := &function{answer: func(_ http.ResponseWriter, n int, _ *call) {
		if n == 1 {
			close(arrived)
			<-release
		}
	}}
	r.gw.Deploy("flight", r.annotations("kafka.batch.max-records", "5"), f.ServeHTTP)
	r.publish(values(0, 20)...)
	k := r.start()
	<-arrived
	k.cancel()
	close(release)
	<-k.done
	if got := r.sum(r.topic + ".f"); got != 5 {
		t.Errorf("%d records are committed, want the 5 of the call in flight", got)
	}
	if n := len(f.all()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestATopicThatIsMadeAnewWhileACallIsOutIsReadFromItsBeginning(t *testing.T) {
	r := newRig(t, 1)
	arrived, release := make(chan struct{}), make(chan struct{})
	f := &function{answer: func(_ http.ResponseWriter, n int, _ *call) {
		if n == 1 {
			close(arrived)
			<-release
		}
	}}
	r.gw.Deploy("anew", r.annotations("kafka.batch.max-records", "5"), f.ServeHTTP)
	r.publish(values(0, 20)...)
	r.start()
	<-arrived
	if _, err := r.admin().DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{r.topic}}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, patience, "the topic is gone", func() bool {
		_, err := r.bus.TopicInfo(t.Context(), r.topic)
		return errors.Is(err, bus.ErrNoTopic)
	})
	if err := r.bus.EnsureTopics(t.Context(), bus.Topic{Name: r.topic, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	r.publish(values(100, 130)...)
	info, err := r.bus.TopicInfo(t.Context(), r.topic)
	if err != nil {
		t.Fatal(err)
	}
	close(release)
	want := texts(100, 130)
	testbed.Eventually(t, patience, "the new topic is read", func() bool { return slices.Contains(f.finished(), "129") })
	got := f.finished()
	if diff := cmp.Diff(want, got[len(got)-30:]); diff != "" {
		t.Error(diff)
	}
	for _, c := range f.all() {
		if c.values()[0] == "100" && (c.batch.TopicID != info.ID || c.batch.Resumed) {
			t.Errorf("the new topic's first batch has id %x, resumed %v", c.batch.TopicID, c.batch.Resumed)
		}
	}
}

func TestAnOffsetOutOfRangeStopsItsPartitionAndNoOther(t *testing.T) {
	r := newRig(t, 2)
	f := &function{}
	r.publish(values(0, 40)...)
	if _, err := r.admin().OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{GroupID: r.topic + ".f", GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{r.topic: {{Partition: 1, Offset: 4000}}}}); err != nil {
		t.Fatal(err)
	}
	r.gw.Deploy("range", r.annotations(), f.ServeHTTP)
	k := r.start()
	testbed.Eventually(t, patience, "the other partition is read", func() bool { return len(f.finished()) > 0 })
	testbed.Eventually(t, patience, "it is counted", func() bool { n, _ := k.metric(t, "kafka_connector_out_of_range_total"); return n == 1 })
	wantMetric(t, k, "kafka_connector_stopped_partitions", 1)
	for _, c := range f.all() {
		if c.batch.Partition == 1 {
			t.Error("the partition was reset by itself")
		}
	}
	if marks, err := r.bus.Committed(t.Context(), r.topic+".f", r.topic); err != nil || marks[1] != 4000 {
		t.Errorf("committed %v, %v", marks, err)
	}
}

func TestLatestIsWhereTheTopicWasWhenTheFunctionWasFirstSeen(t *testing.T) {
	r := newRig(t, 1)
	r.publish(values(0, 10)...)
	f := &function{answer: func(w http.ResponseWriter, _ int, _ *call) { w.WriteHeader(500) }}
	r.gw.Deploy("latest", r.annotations("kafka.start", "latest"), f.ServeHTTP)
	k := r.start()
	r.committed(r.topic+".f", 10)
	r.publish(values(10, 15)...)
	testbed.Eventually(t, patience, "it was called", func() bool { return len(f.all()) > 0 })
	k.stop() // without having done anything
	r.publish(values(15, 20)...)
	well := &function{}
	r.gw.Deploy("latest", r.annotations("kafka.start", "latest"), well.ServeHTTP)
	r.start()
	r.waitDone(well, 10)
	if diff := cmp.Diff(texts(10, 20), well.finished()); diff != "" {
		t.Error(diff)
	}
}

func TestAFunctionCanHaveSeveralTopics(t *testing.T) {
	r := newRig(t, 1)
	other := newRig(t, 1)
	f := &function{}
	r.gw.Deploy("topics", r.annotations("topic", r.topic+", "+other.topic), f.ServeHTTP)
	r.publish(values(0, 5)...)
	other.publish(values(5, 10)...)
	r.start()
	r.waitDone(f, 10)
}

func TestCallsCarryTheTokenAndTheGatewayIsLoggedInTo(t *testing.T) {
	r := newRig(t, 1)
	f := &function{}
	r.gw.Login("admin", "s3cret")
	r.gw.Deploy("token", r.annotations(), f.ServeHTTP)
	r.publish(values(0, 1)...)
	r.start(func(_ *delivery.Config, g *gateway.Config) {
		for name, text := range map[string]string{"trigger-token": "t0ken\n", "basic-auth-user": "admin", "basic-auth-password": "s3cret\n"} {
			writeFile(t, g.SecretsDir, name, text)
		}
	})
	r.waitDone(f, 1)
	if got := f.all()[0].header.Get("X-Trigger-Token"); got != "t0ken" {
		t.Errorf("the token is %q", got)
	}
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}
