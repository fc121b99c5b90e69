package trigger_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	handler "github.com/openfaas/templates-sdk/go-http"
	"google.golang.org/protobuf/proto"

	"ticktape/internal/trigger"
	"ticktape/internal/trigger/triggerpb"
)

var id = []byte{1, 2, 3, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}

func topicID() (t [16]byte) { copy(t[:], id); return t }

var records = []trigger.Record{
	{Offset: 0, Timestamp: 0},
	{Offset: 1, Timestamp: 1_700_000_000_000, Key: []byte("AAPL"), Value: []byte("v"), Headers: []trigger.Header{{Key: "a", Value: []byte{0, 200}}, {Key: "a"}, {Key: "", Value: []byte{}}}},
	{Offset: 5, Timestamp: -1, Key: []byte{}, Value: []byte{}},
	{Offset: 1 << 40, Timestamp: 1_700_000_000_001, Key: bytes.Repeat([]byte("k"), 300), Value: bytes.Repeat([]byte{7}, 70_000)},
}

func encode(f trigger.Format, rs []trigger.Record) *trigger.Encoder {
	e := trigger.NewEncoder(f, "ticks", topicID(), 3)
	for i := range rs {
		e.Append(&rs[i])
	}
	return e
}

func join(parts [3][]byte) []byte { return bytes.Join(parts[:], nil) }

func TestWhatIsEncodedIsDecoded(t *testing.T) {
	for name, f := range map[string]trigger.Format{"protobuf": trigger.Protobuf, "json": trigger.JSON, "single": trigger.Single} {
		t.Run(name, func(t *testing.T) {
			e := encode(f, records)
			for i := 0; i < len(records); i++ {
				for j := i + 1; j <= len(records); j++ {
					for _, resumed := range []bool{false, true} {
						var got trigger.Batch
						if err := trigger.Decode(&got, e.ContentType(), join(e.Body(i, j, resumed))); err != nil {
							t.Fatal(err)
						}
						want := trigger.Batch{Topic: "ticks", TopicID: topicID(), Partition: 3, Resumed: resumed, Records: records[i:j]}
						opts := []cmp.Option{}
						if f == trigger.JSON { // a header's value is an array, which is never null
							opts = append(opts, cmpopts.EquateEmpty())
						}
						if diff := cmp.Diff(want, got, append(opts, cmp.Comparer(sameRecord(f)))...); diff != "" {
							t.Errorf("records %d to %d: %s", i, j, diff)
						}
					}
				}
				if r, err := e.Record(i); err != nil || r.Offset != records[i].Offset || e.Offset(i) != records[i].Offset || !same(r.Value, records[i].Value) {
					t.Errorf("Record(%d) = %+.100v, %v", i, r, err)
				}
			}
		})
	}
}

func TestRecordsMoveFromOneBatchToAnother(t *testing.T) {
	for name, f := range map[string]trigger.Format{"protobuf": trigger.Protobuf, "json": trigger.JSON} {
		t.Run(name, func(t *testing.T) {
			for i := range len(records) + 1 {
				for j := range len(records) + 1 {
					from, to := encode(f, records), encode(f, records[:j])
					from.Move(i, to)
					for what, c := range map[string]struct{ got, want *trigger.Encoder }{
						"what stays": {from, encode(f, records[:i])}, "where they go": {to, encode(f, slices.Concat(records[:j], records[i:]))},
					} {
						if c.got.Len() != c.want.Len() || c.got.Size() != c.want.Size() {
							t.Fatalf("%d on behind %d, %s: %d records, want %d", i, j, what, c.got.Len(), c.want.Len())
						}
						for k := range c.got.Len() {
							if got, want := join(c.got.Body(k, k+1, true)), join(c.want.Body(k, k+1, true)); !bytes.Equal(got, want) || c.got.Offset(k) != c.want.Offset(k) {
								t.Errorf("%d on behind %d, %s: record %d is %.80q, want %.80q", i, j, what, k, got, want)
							}
						}
					}
				}
			}
		})
	}
}

func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// sameRecord tells keys and values that are absent from empty ones.
func sameRecord(f trigger.Format) func(a, b trigger.Record) bool {
	return func(a, b trigger.Record) bool {
		ok := a.Offset == b.Offset && a.Timestamp == b.Timestamp && same(a.Key, b.Key) && same(a.Value, b.Value) && len(a.Headers) == len(b.Headers)
		for i := range a.Headers {
			ok = ok && a.Headers[i].Key == b.Headers[i].Key && bytes.Equal(a.Headers[i].Value, b.Headers[i].Value) &&
				(f == trigger.JSON || (a.Headers[i].Value == nil) == (b.Headers[i].Value == nil))
		}
		return ok
	}
}

func TestTheProtobufFormIsThatOfItsDescription(t *testing.T) {
	var got triggerpb.Batch
	if err := proto.Unmarshal(join(encode(trigger.Protobuf, records).Body(0, len(records), true)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Topic != "ticks" || !bytes.Equal(got.TopicId, id) || got.Partition != 3 || !got.Resumed || len(got.Records) != len(records) {
		t.Errorf("batch is %.200v", &got)
	}
	for i, r := range got.Records {
		w := records[i]
		if r.Offset != w.Offset || r.Timestamp != w.Timestamp || !bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Value, w.Value) || len(r.Headers) != len(w.Headers) {
			t.Errorf("record %d is %.200v, want %.200v", i, r, w)
		}
	}
	// And what others encode is read.
	body, err := proto.Marshal(&got)
	if err != nil {
		t.Fatal(err)
	}
	var back trigger.Batch
	if err := trigger.Decode(&back, "application/protobuf", body); err != nil {
		t.Fatal(err)
	}
	if len(back.Records) != len(records) || back.TopicID != topicID() {
		t.Errorf("read back %.200v", back)
	}
}

func TestTheJSONFormIsAWSsKafkaEvent(t *testing.T) {
	rs := []trigger.Record{{Offset: 7, Timestamp: 1_700_000_000_123, LogTime: true, Key: []byte("k"), Value: []byte("v"), Headers: []trigger.Header{{Key: `q"\`, Value: []byte{1, 255}}}}, {Offset: 8}}
	var e events.KafkaEvent
	if err := json.Unmarshal(join(encode(trigger.JSON, rs).Body(0, 2, false)), &e); err != nil {
		t.Fatal(err)
	}
	want := events.KafkaEvent{EventSource: "SelfManagedKafka", Records: map[string][]events.KafkaRecord{"ticks-3": {
		{Topic: "ticks", Partition: 3, Offset: 7, Timestamp: events.MilliSecondsEpochTime{Time: time.UnixMilli(1_700_000_000_123).UTC()}, TimestampType: "LOG_APPEND_TIME", Key: "aw==", Value: "dg==", Headers: []map[string]events.JSONNumberBytes{{`q"\`: {1, 255}}}},
		{Topic: "ticks", Partition: 3, Offset: 8, Timestamp: events.MilliSecondsEpochTime{Time: time.UnixMilli(0).UTC()}, TimestampType: "CREATE_TIME", Headers: []map[string]events.JSONNumberBytes{}},
	}}}
	if diff := cmp.Diff(want, e, cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
}

func TestAnEventOfAWSIsSplitByPartition(t *testing.T) {
	e := events.KafkaEvent{EventSource: "aws:kafka", Records: map[string][]events.KafkaRecord{
		"ticks-0": {{Topic: "ticks", Partition: 0, Offset: 1, Value: "dg=="}},
		"ticks-1": {{Topic: "ticks", Partition: 1, Offset: 5, Value: "dg=="}, {Topic: "ticks", Partition: 1, Offset: 6, Value: "dg=="}},
	}}
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	batches, err := trigger.DecodeEvent(body)
	if err != nil || len(batches) != 2 {
		t.Fatalf("%+v, %v", batches, err)
	}
	for _, b := range batches {
		if b.TopicID != ([16]byte{}) || len(b.Records) != 1+b.Partition || string(b.Records[0].Value) != "v" {
			t.Errorf("batch %+v", b)
		}
	}
	if err := trigger.Decode(new(trigger.Batch), trigger.TypeJSON, body); !errors.Is(err, trigger.ErrBatch) {
		t.Errorf("records of two partitions are taken for a batch: %v", err)
	}
}

func TestWhatIsNoBatchIsRefused(t *testing.T) {
	good := join(encode(trigger.Protobuf, records).Body(0, 2, false))
	twice := append(bytes.Clone(good), good...)
	for _, c := range []struct{ name, typ, body, want string }{
		{"a content type that can't be read", ";", "", "content type"},
		{"another content type", "text/plain", "", "neither"},
		{"half of a batch", trigger.TypeProtobuf, string(good[:len(good)-1]), "unexpected EOF"},
		{"a topic id that is none", trigger.TypeProtobuf, "\x12\x01a", "topic id has 1 bytes"},
		{"offsets that go back", trigger.TypeProtobuf, string(twice), "offset 0 comes after 1"},
		{"an offset below 0", trigger.TypeProtobuf, "\x2a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "no offset -1"},
		{"a partition below 0", trigger.TypeProtobuf, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "no partition -1"},
		{"JSON with offsets that go back", trigger.TypeJSON, `{"records":{"t-0":[{"topic":"t","offset":5},{"topic":"t","offset":5}]}}`, "offset 5 comes after 5"},
		{"JSON that ends early", trigger.TypeJSON, "{", "unexpected end"},
		{"no records", trigger.TypeJSON, "{}", "0 partitions"},
		{"a topicId that is none", trigger.TypeJSON, `{"topicId":"x","records":{}}`, "topicId"},
		{"a value that is not base64", trigger.TypeJSON, `{"records":{"t-0":[{"topic":"t","value":"!"}]}}`, "value"},
		{"a key that is not base64", trigger.TypeJSON, `{"records":{"t-0":[{"topic":"t","key":"!"}]}}`, "key"},
		{"records of two topics under one name", trigger.TypeJSON, `{"records":{"t-0":[{"topic":"t"},{"topic":"u","offset":1}]}}`, "is of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := trigger.Decode(new(trigger.Batch), c.typ, []byte(c.body))
			if !errors.Is(err, trigger.ErrBatch) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAFieldOfAnotherKindIsPassedOver(t *testing.T) {
	// Field 5 as a number is no record, field 2 as a number no topic id.
	body := append([]byte("\x28\x07\x10\x07"), join(encode(trigger.Protobuf, records[:1]).Body(0, 1, false))...)
	var b trigger.Batch
	if err := trigger.Decode(&b, trigger.TypeProtobuf, body); err != nil || len(b.Records) != 1 || b.TopicID != topicID() {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestDecodingABatchAgainAllocatesNothingPerRecord(t *testing.T) {
	rs := ticks(1000)
	for i := range rs {
		rs[i].Headers = []trigger.Header{{Key: "content-type", Value: []byte("application/x-protobuf")}}
	}
	body := join(encode(trigger.Protobuf, rs).Body(0, len(rs), false))
	var b trigger.Batch
	if n := testing.AllocsPerRun(10, func() {
		if err := trigger.Decode(&b, trigger.TypeProtobuf, body); err != nil {
			t.Fatal(err)
		}
	}); n > 20 {
		t.Errorf("%v allocations for a batch of 1000 records", n)
	}
	other := []trigger.Record{{Headers: []trigger.Header{{Key: "x"}, {Key: "content-type", Value: []byte("y")}}}}
	if err := trigger.Decode(&b, trigger.TypeProtobuf, join(encode(trigger.Protobuf, other).Body(0, 1, false))); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(other[0].Headers, b.Records[0].Headers); diff != "" {
		t.Error(diff)
	}
}

func TestABatchsMemoryIsUsedAgainWithoutTraces(t *testing.T) {
	var b trigger.Batch
	if err := trigger.Decode(&b, trigger.TypeProtobuf, join(encode(trigger.Protobuf, records).Body(0, 4, true))); err != nil {
		t.Fatal(err)
	}
	plain := []trigger.Record{{Offset: 9}}
	if err := trigger.Decode(&b, trigger.TypeProtobuf, join(encode(trigger.Protobuf, plain).Body(0, 1, false))); err != nil {
		t.Fatal(err)
	}
	if b.Resumed || len(b.Records) != 1 || b.Records[0].Key != nil || b.Records[0].Value != nil || len(b.Records[0].Headers) != 0 || b.Records[0].Timestamp != 0 {
		t.Errorf("the second batch is %+v", b)
	}
}

func FuzzDecodeProtobuf(f *testing.F) {
	f.Add(join(encode(trigger.Protobuf, records[:3]).Body(0, 3, true)))
	f.Add([]byte("\x2a\x04\x08\x01\x10\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var b trigger.Batch
		if err := trigger.Decode(&b, trigger.TypeProtobuf, body); err != nil {
			if !errors.Is(err, trigger.ErrBatch) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		if len(b.Records) == 0 {
			return
		}
		e := trigger.NewEncoder(trigger.Protobuf, b.Topic, b.TopicID, b.Partition)
		for i := range b.Records {
			e.Append(&b.Records[i])
		}
		var again trigger.Batch
		if err := trigger.Decode(&again, trigger.TypeProtobuf, join(e.Body(0, e.Len(), b.Resumed))); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, again, cmpopts.EquateEmpty(), cmp.Comparer(sameRecord(trigger.Protobuf))); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add(string(join(encode(trigger.JSON, records[:3]).Body(0, 3, true))))
	f.Add(`{"records":{"t-0":[{"topic":"t","offset":1,"timestamp":5,"headers":[{"a":[1]}]}]}}`)
	f.Fuzz(func(t *testing.T, body string) {
		var b trigger.Batch
		if err := trigger.Decode(&b, trigger.TypeJSON, []byte(body)); err != nil && !errors.Is(err, trigger.ErrBatch) {
			t.Fatalf("error of another kind: %v", err)
		}
	})
}

func FuzzParseFailures(f *testing.F) {
	f.Add("1,3-5", `{"failures":[{"offset":3,"reason":"x"}]}`)
	f.Fuzz(func(t *testing.T, header, body string) {
		list, err := trigger.ParseFailures(header, []byte(body), 0, 100)
		if err != nil {
			return
		}
		if _, failed := list.Find(101); failed {
			t.Fatalf("%q names an offset outside of the batch", header)
		}
	})
}

func secret(t *testing.T, token string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("SECRETS_DIR", dir)
	if token == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func request(token string, body []byte) handler.Request {
	return handler.Request{Method: http.MethodPost, Body: body, Header: http.Header{"Content-Type": {trigger.TypeProtobuf}, trigger.HeaderToken: {token}}}
}

func TestServeAnswersWithWhatBecameOfTheBatch(t *testing.T) {
	secret(t, "t0ken")
	body := join(encode(trigger.Protobuf, records).Body(0, 4, false))
	for _, c := range []struct {
		name     string
		failures trigger.Failures
		err      error
		status   int
		header   map[string]string
		body     string
	}{
		{"all done", nil, nil, 200, map[string]string{"Content-Type": "application/json"}, `{"records":4}`},
		{"some failed", trigger.Failures{{0, "a"}, {1, "b"}, {5, "c"}}, nil, 200, map[string]string{"X-Batch-Failures": "0-1,5"}, `"reason":"b"`},
		{"try later", nil, trigger.RetryLater{After: 1500 * time.Millisecond, Cause: errors.New("cold")}, 503, map[string]string{"Retry-After": "2", "Content-Type": "application/problem+json"}, "cold"},
		{"try later, wrapped", nil, fmt.Errorf("x: %w", trigger.RetryLater{Cause: errors.New("cold")}), 503, map[string]string{"Retry-After": ""}, "cold"},
		{"in doubt", nil, trigger.RetryLater{Doubt: true, Cause: errors.New("slow")}, 504, nil, "slow"},
		{"another error", nil, errors.New("broken"), 500, nil, `"detail":"broken"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := trigger.Serve(request("t0ken", body), func(_ context.Context, b *trigger.Batch) (trigger.Failures, error) {
				if len(b.Records) != 4 || b.Topic != "ticks" {
					t.Errorf("batch %+v", b)
				}
				return c.failures, c.err
			})
			if res.StatusCode != c.status || !strings.Contains(string(res.Body), c.body) {
				t.Errorf("%d %s; want %d with %s", res.StatusCode, res.Body, c.status, c.body)
			}
			for k, v := range c.header {
				if got := res.Header.Get(k); got != v {
					t.Errorf("%s is %q, want %q", k, got, v)
				}
			}
		})
	}
}

func TestServeLetsNobodyInWithoutTheToken(t *testing.T) {
	never := func(context.Context, *trigger.Batch) (trigger.Failures, error) {
		t.Error("called")
		return nil, nil
	}
	secret(t, "t0ken")
	for _, token := range []string{"", "other", "t0ken2"} {
		if res := trigger.Serve(request(token, nil), never); res.StatusCode != 401 || !strings.Contains(string(res.Body), "X-Trigger-Token") {
			t.Errorf("token %q: %d %s", token, res.StatusCode, res.Body)
		}
	}
	if res := trigger.Serve(request("t0ken", []byte("no batch")), never); res.StatusCode != 400 {
		t.Errorf("no batch: %d %s", res.StatusCode, res.Body)
	}
	secret(t, "")
	if res := trigger.Serve(request("t0ken", nil), never); res.StatusCode != 503 || !strings.Contains(string(res.Body), "trigger-token is missing") {
		t.Errorf("no secret: %d %s", res.StatusCode, res.Body)
	}
}

func TestFailuresThatMakeAnAnswerTooLongAskForASmallerBatch(t *testing.T) {
	secret(t, "t0ken")
	body := join(encode(trigger.Protobuf, records).Body(0, 4, false))
	for name, failure := range map[string]func(i int64) trigger.Failure{
		"the header": func(i int64) trigger.Failure { return trigger.Failure{Offset: 1_000_000 + 2*i} },
		"the body":   func(i int64) trigger.Failure { return trigger.Failure{Offset: i, Reason: strings.Repeat("r", 200)} },
	} {
		var failures trigger.Failures
		for i := range int64(3000) {
			failures = append(failures, failure(i))
		}
		res := trigger.Serve(request("t0ken", body), func(context.Context, *trigger.Batch) (trigger.Failures, error) { return failures, nil })
		if res.StatusCode != 422 {
			t.Errorf("%s: %d %.100s", name, res.StatusCode, res.Body)
		}
	}
}

func TestParseFailures(t *testing.T) {
	list, err := trigger.ParseFailures(" 3 , 5-7,", []byte(`{"failures":[{"offset":5,"reason":"r"}]}`), 3, 9)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for o := range int64(10) {
		if reason, failed := list.Find(o); failed {
			got = append(got, strconv.FormatInt(o, 10)+reason)
		}
	}
	if diff := cmp.Diff([]string{"3", "5r", "6", "7"}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"x", "2", "10", "5-4", "3-12", "3-", "-3", "3-4-5"} {
		if _, err := trigger.ParseFailures(bad, nil, 3, 9); err == nil {
			t.Errorf("%q is taken for a list", bad)
		}
	}
}

func ticks(n int) []trigger.Record {
	rng := rand.New(rand.NewPCG(1, 2))
	rs := make([]trigger.Record, n)
	for i := range rs {
		value := make([]byte, 60)
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		rs[i] = trigger.Record{
			Offset: 5_000_000 + int64(i), Timestamp: 1_700_000_000_000 + int64(i/100), Key: []byte("SYM" + strconv.Itoa(i%500)), Value: value,
			Headers: []trigger.Header{{Key: "content-type", Value: []byte("application/x-protobuf")}},
		}
	}
	return rs
}

func BenchmarkEncode(b *testing.B) {
	rs := ticks(10_000)
	for name, f := range map[string]trigger.Format{"protobuf": trigger.Protobuf, "json": trigger.JSON} {
		b.Run(name, func(b *testing.B) {
			e := trigger.NewEncoder(f, "ticks", topicID(), 3)
			b.ReportAllocs()
			for b.Loop() {
				e.Reset()
				for i := range rs {
					e.Append(&rs[i])
				}
				e.Body(0, e.Len(), false)
			}
			b.SetBytes(int64(e.Size()))
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rs)), "ns/record")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	rs := ticks(10_000)
	for name, f := range map[string]trigger.Format{"protobuf": trigger.Protobuf, "json": trigger.JSON} {
		b.Run(name, func(b *testing.B) {
			e := encode(f, rs)
			body := join(e.Body(0, e.Len(), false))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var batch trigger.Batch
			for b.Loop() {
				if err := trigger.Decode(&batch, e.ContentType(), body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rs)), "ns/record")
		})
	}
}

func TestTheTopicIDIsWrittenAsKafkasToolsWriteIt(t *testing.T) {
	var e struct {
		TopicID string `json:"topicId"`
	}
	if err := json.Unmarshal(join(encode(trigger.JSON, records).Body(0, 1, false)), &e); err != nil {
		t.Fatal(err)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(e.TopicID); err != nil || !bytes.Equal(raw, id) {
		t.Errorf("topicId is %q", e.TopicID)
	}
}
