package bus

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/testbed"
)

// TestWhatIsPublishedIsReadByKafkaGo reads with another implementation than ours.
func TestWhatIsPublishedIsReadByKafkaGo(t *testing.T) {
	c := New(Config{Brokers: testbed.Kafka(t)})
	defer c.Close()
	topic := testbed.Topic(t, "published", 1)
	// The topic keeps the producer's time.
	admin := &kafka.Client{Addr: kafka.TCP(testbed.Kafka(t)...), Timeout: 20 * time.Second}
	altered, err := admin.IncrementalAlterConfigs(t.Context(), &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "message.timestamp.type", Value: "CreateTime", ConfigOperation: kafka.ConfigOperationSet}},
	}}})
	if err != nil || altered.Resources[0].Error != nil {
		t.Fatal(err, altered)
	}
	at := time.UnixMilli(time.Now().UnixMilli())
	sent := []kafka.Message{
		{Key: []byte("a"), Value: []byte("1"), Time: at, Headers: []kafka.Header{{Key: "h", Value: []byte{0, 255}}, {Key: "h", Value: nil}}},
		{Key: nil, Value: []byte("no key"), Time: at.Add(-time.Hour)},
		{Key: []byte("tombstone"), Value: nil, Time: at.Add(time.Second)},
		{Key: []byte{}, Value: []byte{}, Time: at},
		{Key: bytes.Repeat([]byte("k"), 200), Value: bytes.Repeat([]byte("0123456789"), 80_000), Time: at},
		{Key: []byte("a second request"), Value: bytes.Repeat([]byte("0123456789"), 20_000), Time: at},
	}
	if err := c.Producer(topic).Publish(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: testbed.Kafka(t), Topic: topic, MaxBytes: 8 << 20})
	defer r.Close()
	for i, want := range sent {
		got, err := r.ReadMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got.Offset != int64(i) || !bytes.Equal(got.Key, want.Key) || !bytes.Equal(got.Value, want.Value) || !got.Time.Equal(want.Time) || len(got.Headers) != len(want.Headers) {
			t.Errorf("message %d is %.200v, want %.200v", i, got, want)
		}
		for j, h := range got.Headers {
			if h.Key != want.Headers[j].Key || !bytes.Equal(h.Value, want.Headers[j].Value) {
				t.Errorf("header %d of message %d is %v", j, i, h)
			}
		}
	}
}

// TestAPartitionThatFailsLeavesTheOthersAlone has a leader that one partition does
// not have: its part comes back, the others are written.
func TestAPartitionThatFailsLeavesTheOthersAlone(t *testing.T) {
	c := New(Config{Brokers: testbed.Kafka(t)})
	defer c.Close()
	topic := testbed.Topic(t, "partly", 3)
	p := c.Producer(topic)
	// As told when it was refreshed a moment ago: Kafka is not asked again.
	info, err := c.TopicInfo(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	p.info, p.asked = info, time.Now()
	p.info.leaders = append(slices.Clone(info.leaders), info.leaders[0]) // a partition that Kafka does not know
	var msgs []kafka.Message
	for i := range 40 {
		msgs = append(msgs, kafka.Message{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i)})
	}
	lanes := p.lanes(msgs, 4)
	if len(lanes) != 1 || len(lanes[0]) != 4 {
		t.Fatalf("lanes %v", lanes)
	}
	err = p.Publish(t.Context(), msgs)
	var pe *PublishError
	if !errors.As(err, &pe) || !errors.Is(err, kafka.UnknownTopicOrPartition) && !errors.Is(err, kafka.LeaderNotAvailable) {
		t.Fatalf("Publish = %v", err)
	}
	var lost []int
	for _, i := range lanes[0][3].run {
		lost = append(lost, int(i))
	}
	if !slices.Equal(pe.Failed, lost) {
		t.Errorf("failed %v, want %v", pe.Failed, lost)
	}
	written := 0
	for partition := range 3 {
		k, err := c.Cursor(topic, info, partition, 0).Fetch(t.Context(), time.Second, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		written += len(read(t, k))
	}
	if written != len(msgs)-len(lost) {
		t.Errorf("%d of %d messages were written, %d of them failed", written, len(msgs), len(lost))
	}
}

// TestALaneIsBounded keeps what goes into one request small, and every message in
// its place.
func TestALaneIsBounded(t *testing.T) {
	p := &Producer{part: func(key []byte) []byte { return key }, maxBytes: 900_000}
	var msgs []kafka.Message
	for i := range 3000 {
		msgs = append(msgs, kafka.Message{Key: fmt.Appendf(nil, "k%d", i), Value: make([]byte, 300)})
	}
	seen := make([]bool, len(msgs))
	lanes := p.lanes(msgs, 12)
	if len(lanes) < 4 || len(lanes) > 8 {
		t.Errorf("%d lanes", len(lanes))
	}
	for _, lane := range lanes {
		size := 0
		for _, t := range lane {
			size += t.size
			for _, i := range t.run {
				seen[i] = true
			}
		}
		if len(lane) > 1 && size > laneBytes {
			t.Errorf("a lane of %d bytes to %d partitions", size, len(lane))
		}
	}
	if slices.Contains(seen, false) {
		t.Error("a message is in no lane")
	}
}

// TestAProducerOutlivesItsTopic publishes to a topic that is made anew between.
func TestAProducerOutlivesItsTopic(t *testing.T) {
	c := New(Config{Brokers: testbed.Kafka(t)})
	defer c.Close()
	topic := testbed.Topic(t, "anew", 2)
	p := c.Producer(topic)
	if err := p.Publish(t.Context(), numberedMessages(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.kafka.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 20*time.Second, "the topic is gone", func() bool {
		_, err := c.TopicInfo(t.Context(), topic)
		return errors.Is(err, ErrNoTopic)
	})
	if err := c.EnsureTopics(t.Context(), Topic{Name: topic, Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(t.Context(), numberedMessages(3)); err != nil {
		t.Error(err)
	}
}

// TestTheAnswerDecidesPartByPart reads an answer that tells of one part, refuses
// another with a reason, passes over a third and leaves it open for a fourth.
func TestTheAnswerDecidesPartByPart(t *testing.T) {
	w := wbuf{}
	w.length(1)
	w.string("t")
	w.length(3)
	for _, p := range []struct {
		partition int32
		code      kafka.Error
		offset    int64
		why       string
	}{{4, 0, 1, ""}, {7, kafka.MessageSizeTooLarge, -1, "too large"}, {8, kafka.NotLeaderForPartition, 5, ""}} {
		w.int32(p.partition)
		w.int16(int16(p.code))
		w.int64(p.offset)
		w.int64(-1)
		w.int64(0)
		w.length(0)
		if p.why == "" {
			w.null()
		} else {
			w.string(p.why)
		}
		w.noTags()
	}
	w.noTags()
	w.int32(0)
	w.noTags()
	parts := []part{{partition: 7}, {partition: 9}, {partition: 4}, {partition: 8}}
	p := &Producer{once: true}
	errs := p.answer(&rbuf{b: w}, parts, make([]error, 4))
	if !errors.Is(errs[0], kafka.MessageSizeTooLarge) || !errors.Is(errs[1], errMalformed) || errs[2] != nil {
		t.Errorf("errors %v", errs)
	}
	if p.mayRetry(errs[3], 1, 0) {
		t.Error("what was perhaps written is to be sent again by who sends once")
	}
	if !p.mayRetry(kafka.NotLeaderForPartition, 1, 0) {
		t.Error("what was not written is not to be sent again")
	}
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("v"), int64(5), uint8(3))
	f.Add([]byte(nil), []byte(nil), "", []byte(nil), int64(-5), uint8(200))
	f.Fuzz(func(t *testing.T, key, value []byte, header string, hv []byte, at int64, n uint8) {
		at %= 1 << 40
		base := time.UnixMilli(1_700_000_000_000)
		var msgs []kafka.Message
		var run []int32
		for i := range int(n) + 1 {
			m := kafka.Message{Key: key, Value: value, Time: base.Add(time.Duration(at%1000*int64(i)) * time.Millisecond)}
			if i%2 == 0 {
				m.Headers = []kafka.Header{{Key: header, Value: hv}}
			}
			msgs, run = append(msgs, m), append(run, int32(i))
		}
		var e batchEncoder
		for range 2 { // its memory is used again
			b, err := e.encode(msgs, run)
			if err != nil {
				t.Fatal(err)
			}
			k := &Chunk{cursor: &Cursor{}, batches: b}
			var r Record
			for i, m := range msgs {
				ok, err := k.Next(&r)
				if !ok || err != nil {
					t.Fatalf("record %d: %v, %v", i, ok, err)
				}
				if r.Offset != int64(i) || !bytes.Equal(r.Key, m.Key) || (r.Key == nil) != (m.Key == nil) || !bytes.Equal(r.Value, m.Value) ||
					(r.Value == nil) != (m.Value == nil) || r.Timestamp != m.Time.UnixMilli() || len(r.Headers) != len(m.Headers) {
					t.Fatalf("record %d is %+v, want %+v", i, r, m)
				}
				for j, h := range r.Headers {
					if h.Key != m.Headers[j].Key || !bytes.Equal(h.Value, m.Headers[j].Value) {
						t.Fatalf("header %d of record %d is %+v", j, i, h)
					}
				}
			}
			if ok, err := k.Next(&r); ok || err != nil {
				t.Fatalf("after the last record: %v, %v", ok, err)
			}
		}
	})
}

func FuzzProduceResponse(f *testing.F) {
	f.Add([]byte("\x02\x02t\x02\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parts := []part{{partition: 0}, {partition: 4}}
		if errs := (&Producer{}).answer(&rbuf{b: data}, parts, make([]error, 2)); len(errs) != 2 {
			t.Errorf("%d errors of 2 parts", len(errs))
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	msgs := make([]kafka.Message, 5000)
	run := make([]int32, len(msgs))
	value := 0
	for i := range msgs {
		v := make([]byte, 0, 60)
		for len(v) < 48 {
			v = fmt.Appendf(v, "%x", i*2654435761+len(v))
		}
		msgs[i], run[i] = kafka.Message{Key: fmt.Appendf(nil, "SIM%05d", i%500), Value: v}, int32(i)
		value += len(v)
	}
	var e batchEncoder
	b.SetBytes(int64(value))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.encode(msgs, run); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(msgs)), "ns/record")
}
