package seal

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/history"
	"ticktape/internal/live"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

const token = "a token"

func withToken(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRETS_DIR", dir)
}

func call(query string) handler.Request {
	return handler.Request{Method: http.MethodPost, QueryString: query, Header: http.Header{trigger.HeaderToken: {token}}}
}

func TestACallThatCannotBeServedIsToldWhyBeforeAnythingIsAsked(t *testing.T) {
	withToken(t)
	for _, c := range []struct {
		name   string
		req    handler.Request
		status int
		detail string
	}{
		{"no token", handler.Request{Method: http.MethodPost, Header: http.Header{}}, 401, "X-Trigger-Token"},
		{"GET", handler.Request{Method: http.MethodGet, Header: call("").Header}, 405, "POST"},
		{"a parameter that there is not", call("form=2026-03-02"), 400, `"form"`},
		{"from alone", call("from=2026-03-02"), 400, "give both"},
		{"a name given twice", call("from=2026-03-02&from=2026-03-03"), 400, "2 times"},
		{"no time", call("from=yesterday&to=2026-03-03"), 400, `from is "yesterday"`},
		{"from after to", call("from=2026-03-03&to=2026-03-02T12:00:00%2B01:00"), 400, "before"},
		{"an empty range", call("from=2026-03-02T00:00:00Z&to=1772409600000"), 400, "before"},
		{"a query that can't be read", call("from=%zz"), 400, "can't be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := NewService().Serve(c.req)
			if res.StatusCode != c.status || !strings.Contains(string(res.Body), c.detail) && !strings.Contains(problemDetail(t, res), c.detail) {
				t.Errorf("status %d, body %s; want %d with %s", res.StatusCode, res.Body, c.status, c.detail)
			}
		})
	}
}

func problemDetail(t *testing.T, res handler.Response) string {
	t.Helper()
	var p struct{ Detail string }
	if err := json.Unmarshal(res.Body, &p); err != nil {
		t.Fatalf("%s: %v", res.Body, err)
	}
	return p.Detail
}

func TestWithoutCassandraACallIsToBeRepeated(t *testing.T) {
	withToken(t)
	t.Setenv("CASSANDRA_HOSTS", "127.0.0.1:1")
	t.Setenv("CASSANDRA_TIMEOUT", "200ms")
	res := NewService().Serve(call(""))
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

// TestAWindowIsSealedWithOffsetsOfARealKafka has a topic with idle partitions. That
// a window waits for its records is tested where a test sets the clock.
func TestAWindowIsSealedWithOffsetsOfARealKafka(t *testing.T) {
	withToken(t)
	brokers := testbed.Kafka(t)
	cfg := testbed.Cassandra(t)
	topic := testbed.Topic(t, "seal", 3)
	t.Setenv("CASSANDRA_KEYSPACE", cfg.Keyspace)
	t.Setenv("CASSANDRA_TIMEOUT", cfg.Timeout.String())
	t.Setenv("TICKS_TOPIC", topic)
	t.Setenv("PROCESS_GROUP", topic+".process")
	t.Setenv("PERSIST_GROUP", topic+".persist")
	t.Setenv("LATENESS", "1s")

	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 20 * time.Second}
	settings, err := bus.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	b := bus.New(settings)
	defer b.Close()
	info, err := b.TopicInfo(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}

	// A window that was over a minute ago, fed late: two trades in partition 1.
	at := time.Now().Add(-2 * time.Minute).Truncate(time.Minute)
	batch := &trigger.Batch{Topic: topic, TopicID: info.ID, Partition: 1}
	var records []kafka.Record
	for i := range int64(2) {
		tk := trade("REAL", at.Add(time.Duration(i)*time.Second), 100+i, 10, i)
		value, err := tick.Protobuf.Append(nil, &tk)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, kafka.Record{Value: kafka.NewBytes(value)})
		batch.Records = append(batch.Records, trigger.Record{Offset: i, Timestamp: time.Now().UnixMilli(), Value: value})
	}
	if _, err := client.Produce(t.Context(), &kafka.ProduceRequest{Topic: topic, Partition: 1, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...)}); err != nil {
		t.Fatal(err)
	}
	commit := func(group string, offset int64) {
		t.Helper()
		res, err := client.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
			GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 1, Offset: offset}}},
		})
		if err == nil {
			err = res.Topics[topic][0].Error
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := history.New(s).Persist(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if _, err := (&live.Processor{Store: s, Windows: quiet{}}).Process(t.Context(), batch); err != nil {
		t.Fatal(err)
	}

	service := NewService()
	seal := func() (r Report) {
		t.Helper()
		res := service.Serve(call(""))
		if res.StatusCode != http.StatusOK {
			t.Fatalf("status %d: %s", res.StatusCode, res.Body)
		}
		if err := json.Unmarshal(res.Body, &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	// The records were logged later than the window's end, so it waits for none; but
	// process has counted records that persist has not committed.
	if r := seal(); r.Sealed != 1 || r.Candles != 1 || r.Audited != 0 || r.BehindMS != 0 {
		t.Errorf("without commits: %+v, want one window with one candle, not audited", r)
	}
	commit(topic+".process", 2)
	commit(topic+".persist", 2)
	if r := seal(); r.Sealed != 1 || r.Audited != 1 || r.Differences != 0 {
		t.Errorf("with commits: %+v, want the audit that had been put off", r)
	}
	if r := seal(); r.Sealed != 0 {
		t.Errorf("afterwards: %+v, want nothing to do", r)
	}
	got, err := s.ReadCandles(t.Context(), "REAL", store.Minute, at.UnixMilli(), at.UnixMilli()+window.Length, 10)
	if err != nil || len(got) != 1 || got[0].Count != 2 || got[0].Volume != 20 || got[0].Open.Price != 100 || got[0].Close.Price != 101 {
		t.Errorf("candles %+v, error %v", got, err)
	}

	res := service.Serve(call("from=2020-01-01&to=2020-01-02"))
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(problemDetail(t, res), "ticks are kept for") {
		t.Errorf("a range that has expired: status %d, %s", res.StatusCode, res.Body)
	}
}
