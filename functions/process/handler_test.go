package function

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window/windowpb"
)

func TestHandleCountsABatchForWhoHasTheToken(t *testing.T) {
	cfg := testbed.Cassandra(t)
	first, err := store.Open(t.Context(), cfg) // it makes the tables, which takes its time
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	brokers, topic := testbed.Kafka(t), testbed.Topic(t, "windows", 1)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("a token"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"CASSANDRA_KEYSPACE": cfg.Keyspace, "CASSANDRA_TIMEOUT": cfg.Timeout.String(), "WINDOWS_TOPIC": topic, "SECRETS_DIR": dir,
	} {
		t.Setenv(name, value)
	}
	event, err := os.ReadFile("event.json")
	if err != nil {
		t.Fatal(err)
	}
	req := handler.Request{Method: http.MethodPost, Body: event, Header: http.Header{"Content-Type": {"application/json"}}}
	if res, err := Handle(req); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: status %d, error %v", res.StatusCode, err)
	}
	req.Header.Set(trigger.HeaderToken, "a token")
	res, err := Handle(req)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get(trigger.HeaderFailures) != "17" {
		t.Errorf("with it: status %d, failures %q, body %s, error %v", res.StatusCode, res.Header.Get(trigger.HeaderFailures), res.Body, err)
	}

	// And a batch as the connector sends it, with a tick in it.
	want := tick.Tick{Symbol: "AAPL", EventTime: 1_700_000_040_123, Price: 18744_000000, Size: 5, Seq: 1, Source: tick.SourceSimulated}
	value, err := tick.Protobuf.Append(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	e := trigger.NewEncoder(trigger.Protobuf, "ticks", [16]byte{1}, 3)
	e.Append(&trigger.Record{Offset: 40, Timestamp: want.EventTime + 1, Key: []byte("AAPL"), Value: value})
	req.Body = nil
	for _, part := range e.Body(0, 1, false) {
		req.Body = append(req.Body, part...)
	}
	req.Header.Set("Content-Type", e.ContentType())
	for range 2 { // it may come twice
		if res, err = Handle(req); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("status %d, body %s, error %v", res.StatusCode, res.Body, err)
		}
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: topic, MaxWait: time.Second})
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 2 {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var u windowpb.Update
		if err := u.UnmarshalVT(m.Value); err != nil {
			t.Fatal(err)
		}
		if u.Symbol != "AAPL" || u.TickCount != 1 || u.Volume != 5 || u.Close.GetPrice() != int64(want.Price) || u.Version != 41 {
			t.Errorf("published %v", &u)
		}
	}
}
