package lambda

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda/messages"
	gocmp "github.com/google/go-cmp/cmp"
	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/deadletter"
	"ticktape/internal/handling"
	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

// world is a Kafka and the claims of an Adapter, and what became of its calls.
type world struct {
	*Adapter

	mu      sync.Mutex
	broken  int // connections to Kafka
	ends    map[int]int64
	calls   []string // of the handler, sorted when read
	fresh   func(partition int, first, next int64) (bool, error)
	settled []string
	letters []kafka.Message
	dead    string
}

var topicID = [16]byte{1, 2, 3}

func (w *world) TopicInfo(_ context.Context, topic string) (bus.Info, error) {
	if topic != "ticks" {
		return bus.Info{}, fmt.Errorf("topic %s: %w", topic, bus.ErrNoTopic)
	}
	if w.broken > 0 {
		w.broken--
		return bus.Info{}, errors.New("broken pipe")
	}
	return bus.Info{ID: topicID, Partitions: 12}, nil
}

func (w *world) Ends(_ context.Context, _ string, partitions []int) (map[int]int64, error) {
	ends := map[int]int64{}
	for _, p := range partitions {
		ends[p] = cmp.Or(w.ends[p], 1<<40)
	}
	return ends, nil
}

func (w *world) Publish(_ context.Context, topic string, letters []kafka.Message, _ *slog.Logger) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead, w.letters = topic, append(w.letters, letters...)
	return nil
}

func (w *world) Claim(_ context.Context, topic string, id [16]byte, partition int, first, next int64) (bool, error) {
	if topic != "ticks" || id != topicID {
		return false, fmt.Errorf("claim of %s %v", topic, id)
	}
	return w.fresh(partition, first, next)
}

func (w *world) Settle(_ context.Context, _ string, _ [16]byte, partition int, next int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settled = append(w.settled, fmt.Sprintf("%d up to %d", partition, next))
	return nil
}

// newWorld makes an Adapter whose handler reads batches, notes them and answers
// with what answer says.
func newWorld(t testing.TB, answer func(*trigger.Batch) handler.Response) *world {
	t.Helper()
	quiet(t)
	secret(t, "s3cret")
	w := &world{ends: map[int]int64{}}
	w.Adapter = &Adapter{cfg: Config{Name: "counts"}, log: w, dead: w, handle: func(req handler.Request) (handler.Response, error) {
		var b trigger.Batch
		if err := trigger.Decode(&b, req.Header.Get("Content-Type"), req.Body); err != nil {
			t.Errorf("the handler's batch: %v", err)
		}
		if trigger.Authorised(req.Header) != nil || req.Method != http.MethodPost || req.Header.Get(trigger.HeaderTopic) != b.Topic ||
			req.Header.Get(trigger.HeaderResumed) != fmt.Sprint(b.Resumed) || req.Header.Get(trigger.HeaderOffset) != fmt.Sprint(b.Records[0].Offset) || b.TopicID != topicID {
			t.Errorf("call of %s with %v and batch %+v", req.Method, req.Header, b)
		}
		call := fmt.Sprintf("%d:", b.Partition)
		for _, r := range b.Records {
			call += fmt.Sprintf(" %d", r.Offset)
		}
		if b.Resumed {
			call += " resumed"
		}
		w.mu.Lock()
		w.calls = append(w.calls, call)
		w.mu.Unlock()
		return answer(&b), nil
	}}
	return w
}

// quiet drops what is logged.
func quiet(t testing.TB) {
	old := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(old) })
}

// secret lays the token where functions look for it.
func secret(t testing.TB, token string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRETS_DIR", dir)
}

func (w *world) called() []string {
	slices.Sort(w.calls)
	return w.calls
}

func done(*trigger.Batch) handler.Response { return handler.Response{StatusCode: http.StatusOK} }

// event makes an event with records of partitions, by their offsets.
func event(t testing.TB, partitions map[int][]int64) []byte {
	t.Helper()
	e := events.KafkaEvent{EventSource: "SelfManagedKafka", BootstrapServers: "b-1:9092", Records: map[string][]events.KafkaRecord{}}
	for p, offsets := range partitions {
		for _, o := range offsets {
			key := fmt.Sprintf("ticks-%d", p)
			e.Records[key] = append(e.Records[key], events.KafkaRecord{
				Topic: "ticks", Partition: int64(p), Offset: o, Timestamp: events.MilliSecondsEpochTime{Time: time.UnixMilli(1_772_461_800_000 + o)}, TimestampType: "LOG_APPEND_TIME",
				Key: base64.StdEncoding.EncodeToString([]byte("AAPL")), Value: base64.StdEncoding.EncodeToString(fmt.Append(nil, o)),
				Headers: []map[string]events.JSONNumberBytes{{"mine": {0, 200}}},
			})
		}
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// recorded is an event of deploy/lambda/events, which are of the shapes that AWS sends.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "deploy", "lambda", "events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEventsAreToldApartByTheirShape(t *testing.T) {
	for _, c := range []struct {
		name, event string
		want        kind
		refused     string
	}{
		{"Kafka", string(recorded(t, "kafka")), kafkaEvent, ""},
		{"self-managed Kafka", `{"eventSource":"SelfManagedKafka","records":{}}`, kafkaEvent, ""},
		{"a function URL", string(recorded(t, "quotes")), httpEvent, ""},
		{"an HTTP API", string(recorded(t, "watchlist")), httpEvent, ""},
		{"a schedule of EventBridge Scheduler", string(recorded(t, "schedule")), scheduleEvent, ""},
		{"a schedule of an EventBridge rule", `{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{}}`, scheduleEvent, ""},
		{"another event of EventBridge", `{"detail-type":"Object Created","source":"aws.s3","detail":{}}`, 0, `detail-type "Object Created" is no schedule's`},
		{"a REST API", `{"resource":"/","path":"/","httpMethod":"GET","requestContext":{"httpMethod":"GET"}}`, 0, "payload format 1.0"},
		{"a queue", `{"Records":[{"messageId":"1","eventSource":"aws:sqs","body":"x"}]}`, 0, `fields "Records" is of no known kind`},
		{"a list", `[1,2]`, 0, "of no known kind"},
		{"nothing", `{}`, 0, "of no known kind"},
		{"no JSON", `hello`, 0, "the event is no JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := kindOf([]byte(c.event))
			if c.refused == "" && (err != nil || got != c.want) {
				t.Errorf("kind %v, %v; want %v", got, err, c.want)
			}
			if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("error %v; want one with %s", err, c.refused)
			}
		})
	}
}

func TestAnEventOfKafkaIsACallForEachPartition(t *testing.T) {
	var value, header []byte
	w := newWorld(t, func(b *trigger.Batch) handler.Response {
		if b.Partition == 3 {
			value, header = bytes.Clone(b.Records[0].Value), bytes.Clone(b.Records[0].Headers[0].Value)
		}
		return done(b)
	})
	got, err := w.Invoke(t.Context(), event(t, map[int][]int64{3: {7, 8, 12}, 0: {5}}))
	if err != nil || string(got) != `{"batchItemFailures":[]}` {
		t.Errorf("answer %s, %v", got, err)
	}
	// Nothing is known of earlier calls.
	if want := []string{"0: 5 resumed", "3: 7 8 12 resumed"}; !slices.Equal(w.called(), want) {
		t.Errorf("calls %q, want %q", w.calls, want)
	}
	if string(value) != "7" || !bytes.Equal(header, []byte{0, 200}) {
		t.Errorf("value %q, header %v", value, header)
	}
}

func TestRecordsThatAreFreshAreNotResumed(t *testing.T) {
	w := newWorld(t, done)
	w.claims = w
	w.fresh = func(partition int, first, next int64) (bool, error) {
		if partition == 1 && (first != 40 || next != 44) {
			t.Errorf("claim of %d to %d", first, next)
		}
		return partition == 1, nil
	}
	if _, err := w.Invoke(t.Context(), event(t, map[int][]int64{1: {40, 43}, 2: {5}})); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1: 40 43", "2: 5 resumed"}; !slices.Equal(w.called(), want) {
		t.Errorf("calls %q, want %q", w.calls, want)
	}
	slices.Sort(w.settled)
	if want := []string{"1 up to 44", "2 up to 6"}; !slices.Equal(w.settled, want) {
		t.Errorf("settled %q, want %q", w.settled, want)
	}
}

func TestWithoutAClaimNothingIsApplied(t *testing.T) {
	w := newWorld(t, done)
	w.claims = w
	w.fresh = func(int, int64, int64) (bool, error) { return true, errors.New("Cassandra is away") }
	if _, err := w.Invoke(t.Context(), event(t, map[int][]int64{1: {40}})); err == nil || !strings.Contains(err.Error(), "Cassandra is away") {
		t.Errorf("error %v", err)
	}
	if len(w.calls)+len(w.settled) > 0 {
		t.Errorf("called %q, settled %q", w.calls, w.settled)
	}
}

func TestAPartitionThatFailsKeepsNoOtherFromBeingDone(t *testing.T) {
	later := func(b *trigger.Batch) handler.Response {
		if b.Partition == 4 {
			res := trigger.Problem(http.StatusServiceUnavailable, "away")
			res.Header.Set("Retry-After", "1")
			return res
		}
		return done(b)
	}
	payload := event(t, map[int][]int64{4: {10, 11}, 5: {1}, 6: {2}})
	for _, c := range []struct {
		name   string
		report bool
		want   string
		err    string
	}{
		{"the event comes again", false, "", "1 of 3 partitions failed: partition 4 of ticks at offset 10: status 503"},
		{"only what failed comes again, where it is asked which", true, `{"batchItemFailures":[{"itemIdentifier":{"partition":"ticks-4","offset":10}}]}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, later)
			w.cfg.ReportFailures, w.claims = c.report, w
			w.fresh = func(int, int64, int64) (bool, error) { return true, nil }
			got, err := w.Invoke(t.Context(), payload)
			if string(got) != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("answer %s, %v", got, err)
			}
			if want := []string{"4: 10 11", "5: 1", "6: 2"}; !slices.Equal(w.called(), want) {
				t.Errorf("calls %q", w.calls)
			}
			slices.Sort(w.settled)
			if want := []string{"5 up to 2", "6 up to 3"}; !slices.Equal(w.settled, want) {
				t.Errorf("settled %q, want %q", w.settled, want)
			}
		})
	}
	t.Run("an event of which nothing is done is an error in any case", func(t *testing.T) {
		w := newWorld(t, later)
		w.cfg.ReportFailures = true
		if got, err := w.Invoke(t.Context(), event(t, map[int][]int64{4: {10}})); err == nil {
			t.Errorf("answer %s", got)
		}
	})
}

func TestAProcessEndsThatMayHaveLeftAnIncrementUnderWay(t *testing.T) {
	w := newWorld(t, func(b *trigger.Batch) handler.Response {
		if b.Partition == 4 {
			return trigger.Problem(http.StatusGatewayTimeout, "in doubt")
		}
		return done(b)
	})
	w.cfg.ReportFailures = true
	_, err := w.Invoke(t.Context(), event(t, map[int][]int64{4: {10, 11}, 5: {1}}))
	var exit messages.InvokeResponse_Error
	if !errors.As(err, &exit) || !exit.ShouldExit || !strings.Contains(exit.Message, "partition 4 of ticks at offset 10: in doubt: status 504") || len(w.calls) != 2 {
		t.Errorf("error %v after %q", err, w.calls)
	}
}

func TestBadRecordsGoToTheDeadLetters(t *testing.T) {
	t.Run("those that the handler lists", func(t *testing.T) {
		w := newWorld(t, func(b *trigger.Batch) handler.Response {
			return handler.Response{StatusCode: 200, Header: http.Header{trigger.HeaderFailures: {"12"}}, Body: []byte(`{"failures":[{"offset":12,"reason":"no price"}]}`)}
		})
		if _, err := w.Invoke(t.Context(), event(t, map[int][]int64{0: {11, 12, 13}})); err != nil {
			t.Fatal(err)
		}
		if len(w.letters) != 1 || w.dead != "ticks.dead" {
			t.Fatalf("letters %v in %s", w.letters, w.dead)
		}
		got := map[string]string{}
		for _, h := range w.letters[0].Headers {
			got[h.Key] = string(h.Value)
		}
		if diff := gocmp.Diff(map[string]string{
			"mine":                     "\x00\xc8",
			deadletter.HeaderReason:    "no price",
			deadletter.HeaderFunction:  "counts",
			deadletter.HeaderTopic:     "ticks",
			deadletter.HeaderTopicID:   bus.FormatID(topicID),
			deadletter.HeaderPartition: "0",
			deadletter.HeaderOffset:    "12",
			deadletter.HeaderTimestamp: "1772461800012",
		}, got); diff != "" || string(w.letters[0].Key) != "AAPL" || string(w.letters[0].Value) != "12" {
			t.Errorf("letter %s: %s, headers (-want +got):\n%s", w.letters[0].Key, w.letters[0].Value, diff)
		}
	})
	t.Run("those that it refuses, each found by halving", func(t *testing.T) {
		w := newWorld(t, func(b *trigger.Batch) handler.Response {
			for _, r := range b.Records {
				if r.Offset == 3 || r.Offset == 6 {
					return trigger.Problem(http.StatusUnprocessableEntity, fmt.Sprintf("%d is bad", r.Offset))
				}
			}
			return done(b)
		})
		w.cfg.DeadLetterTopic = "elsewhere"
		if _, err := w.Invoke(t.Context(), event(t, map[int][]int64{0: {1, 2, 3, 4, 5, 6, 7}})); err != nil {
			t.Fatal(err)
		}
		if len(w.letters) != 2 || string(w.letters[0].Value) != "3" || string(w.letters[1].Value) != "6" || w.dead != "elsewhere" {
			t.Errorf("letters %v in %s", w.letters, w.dead)
		}
		if reason := deadletter.Reason(w.letters[1]); !strings.HasPrefix(reason, "status 422") || !strings.Contains(reason, "6 is bad") {
			t.Errorf("reason %s", reason)
		}
	})
	t.Run("and what was done before a failure is not reported", func(t *testing.T) {
		w := newWorld(t, func(b *trigger.Batch) handler.Response {
			switch {
			case len(b.Records) > 2:
				return trigger.Problem(http.StatusRequestEntityTooLarge, "too much")
			case b.Records[0].Offset == 3:
				res := trigger.Problem(http.StatusServiceUnavailable, "away")
				res.Header.Set("Retry-After", "1")
				return res
			}
			return done(b)
		})
		w.cfg.ReportFailures = true
		got, err := w.Invoke(t.Context(), event(t, map[int][]int64{0: {1, 2, 3, 4}, 1: {1}}))
		if err != nil || string(got) != `{"batchItemFailures":[{"itemIdentifier":{"partition":"ticks-0","offset":3}}]}` {
			t.Errorf("answer %s, %v", got, err)
		}
	})
}

func TestAnEventOfAnotherTopicsIncarnationIsNotApplied(t *testing.T) {
	w := newWorld(t, done)
	w.ends[2] = 9
	if _, err := w.Invoke(t.Context(), event(t, map[int][]int64{2: {8, 9}})); err == nil || !strings.Contains(err.Error(), "the topic was made anew") {
		t.Errorf("error %v", err)
	}
	if len(w.calls) > 0 {
		t.Errorf("calls %q", w.calls)
	}
}

func TestConnectionsThatBrokeWhileTheProcessStoodStillAreMadeAgain(t *testing.T) {
	w := newWorld(t, done)
	w.broken = 2
	if _, err := w.Invoke(t.Context(), event(t, map[int][]int64{2: {8}})); err != nil || len(w.calls) != 1 {
		t.Errorf("calls %q, %v", w.calls, err)
	}
	w.broken = 1000
	if _, err := w.Invoke(t.Context(), event(t, map[int][]int64{2: {9}})); err == nil || len(w.calls) != 1 {
		t.Errorf("calls %q without Kafka", w.calls)
	}
}

// echo answers with what it was asked.
func echo(req handler.Request) (handler.Response, error) {
	_, deadline := req.Context().Deadline()
	body := fmt.Sprintf("%s %s host=%s token=%s cookie=%s body=%s deadline=%v", req.Method, req.QueryString, req.Host, req.Header.Get(trigger.HeaderToken), req.Header.Get("Cookie"), req.Body, deadline)
	return handler.Response{Body: []byte(body), Header: http.Header{"X-Two": {"a", "b"}, "Set-Cookie": {"c=1", "d=2"}, "Vary": {"Accept"}}}, nil
}

func ask(t *testing.T, f handling.Handler, payload []byte) events.LambdaFunctionURLResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := (&Adapter{handle: f}).Invoke(ctx, payload)
	if err != nil {
		t.Fatal(err)
	}
	var res events.LambdaFunctionURLResponse
	if err := json.Unmarshal(b, &res); err != nil {
		t.Fatal(err)
	}
	return res
}

func TestARequestReachesTheHandlerAndItsAnswerTheCaller(t *testing.T) {
	res := ask(t, echo, recorded(t, "quotes"))
	want := "GET symbols=AAPL,MSFT host=abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws token= cookie= body= deadline=true"
	if res.StatusCode != 200 || res.Body != want || res.IsBase64Encoded || res.Headers["X-Two"] != "a, b" || !slices.Equal(res.Cookies, []string{"c=1", "d=2"}) || res.Headers["Set-Cookie"] != "" {
		t.Errorf("answer %+v\nwant %s", res, want)
	}
	res = ask(t, echo, recorded(t, "watchlist"))
	want = `POST  host=a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com token=the secret trigger-token cookie=theme=dark; lang=en body={"symbol":"INTC"} deadline=true`
	if res.StatusCode != 200 || res.Body != want {
		t.Errorf("answer %+v\nwant %s", res, want)
	}
}

// get is a request with the header Accept-Encoding.
func get(method, accept string) []byte {
	return fmt.Appendf(nil, `{"version":"2.0","headers":{"accept-encoding":%q},"requestContext":{"http":{"method":%q}}}`, accept, method)
}

func TestAnswersOfEveryKind(t *testing.T) {
	quiet(t)
	text := strings.Repeat("a candle ", 1000)
	long := func(body string) handling.Handler {
		return func(handler.Request) (handler.Response, error) {
			return handler.Response{Body: []byte(body), Header: http.Header{"Vary": {"Accept"}}}, nil
		}
	}
	t.Run("a long one is compressed for who accepts it", func(t *testing.T) {
		res := ask(t, long(text), get("GET", "br;q=1.0, gzip;q=0.5"))
		raw, err := base64.StdEncoding.DecodeString(res.Body)
		if err != nil || !res.IsBase64Encoded || res.Headers["Content-Encoding"] != "gzip" || res.Headers["Vary"] != "Accept, Accept-Encoding" {
			t.Fatalf("%v, headers %v", err, res.Headers)
		}
		r, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != text {
			t.Errorf("unzipped %d bytes, %v", len(got), err)
		}
	})
	for _, accept := range []string{"", "br", "gzip;q=0", "gzip; q=0.0"} {
		t.Run("and for nobody else: "+accept, func(t *testing.T) {
			if res := ask(t, long(text), get("GET", accept)); res.Body != text || res.IsBase64Encoded || res.Headers["Content-Encoding"] != "" {
				t.Errorf("headers %v", res.Headers)
			}
		})
	}
	t.Run("HEAD has no body", func(t *testing.T) {
		if res := ask(t, long(text), get("HEAD", "")); res.Body != "" || res.StatusCode != 200 {
			t.Errorf("%+v", res)
		}
	})
	t.Run("bytes that are no text are sent in base64", func(t *testing.T) {
		if res := ask(t, long("\xff\x00"), get("GET", "")); res.Body != "/wA=" || !res.IsBase64Encoded {
			t.Errorf("%+v", res)
		}
	})
	t.Run("one that is too large says so", func(t *testing.T) {
		res := ask(t, long(strings.Repeat("x", 6_000_000)), get("GET", ""))
		if res.StatusCode != 500 || !strings.Contains(res.Body, "lets at most 6 MB out") {
			t.Errorf("%d %.200s", res.StatusCode, res.Body)
		}
	})
	t.Run("a body that is not in base64 is 400", func(t *testing.T) {
		res := ask(t, echo, []byte(`{"body":"%","isBase64Encoded":true,"requestContext":{"http":{"method":"POST"}}}`))
		if res.StatusCode != 400 || res.Headers["Content-Type"] != "application/problem+json" {
			t.Errorf("%+v", res)
		}
	})
	for _, c := range []struct {
		name string
		f    handling.Handler
		want int
		body string
	}{
		{"a panic is 500", func(handler.Request) (handler.Response, error) { panic("tried") }, 500, `"detail":"The function failed. Its log says why."`},
		{"an error is 500", func(handler.Request) (handler.Response, error) {
			return handler.Response{}, errors.New("secret detail")
		}, 500, `"detail":"The function failed. Its log says why."`},
		{"an error's own body is kept", func(handler.Request) (handler.Response, error) {
			return handler.Response{Body: []byte("why")}, errors.New("x")
		}, 500, "why"},
		{"a deadline is 504", func(handler.Request) (handler.Response, error) {
			return handler.Response{}, fmt.Errorf("read: %w", context.DeadlineExceeded)
		}, 504, `"status":504`},
		{"a status that HTTP does not have is 500", func(handler.Request) (handler.Response, error) { return handler.Response{StatusCode: 7}, nil }, 500, `"status":500`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if res := ask(t, c.f, get("GET", "")); res.StatusCode != c.want || !strings.Contains(res.Body, c.body) {
				t.Errorf("%+v", res)
			}
		})
	}
}

func TestAScheduleCallsTheHandler(t *testing.T) {
	quiet(t)
	secret(t, "s3cret")
	type answer struct {
		status int
		takes  time.Duration
	}
	for _, c := range []struct {
		name    string
		every   time.Duration
		limit   time.Duration
		answers []answer // the last one again and again
		want    string
		err     string
	}{
		{"once", 0, time.Minute, []answer{{200, 0}}, `{"calls":1,"failed":0,"last":{"n":1}}`, ""},
		{"again and again", 5 * time.Second, time.Minute, []answer{{200, time.Second}}, `{"calls":11,"failed":0,"last":{"n":11}}`, ""},
		{"leaving out what a slow call has missed", 5 * time.Second, time.Minute, []answer{{200, 12 * time.Second}, {200, 0}}, `{"calls":9,"failed":0,"last":{"n":9}}`, ""},
		{"no longer than the invocation lasts", 5 * time.Second, 23 * time.Second, []answer{{200, 0}}, `{"calls":5,"failed":0,"last":{"n":5}}`, ""},
		{"a call that fails keeps no other from being made", 20 * time.Second, time.Minute, []answer{{200, 0}, {503, 0}, {200, 0}}, "", "1 of 3 calls failed, the last of them with status 503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				a := &Adapter{cfg: Config{RepeatEvery: c.every, RepeatFor: 55 * time.Second}, handle: func(req handler.Request) (handler.Response, error) {
					if req.Method != http.MethodPost || len(req.Body) > 0 || trigger.Authorised(req.Header) != nil || req.Header.Get(trigger.HeaderTopic) != trigger.CronTopic {
						t.Errorf("call %s %v", req.Method, req.Header)
					}
					is := c.answers[min(n, len(c.answers)-1)]
					n++
					time.Sleep(is.takes) // in the bubble's time
					return handler.Response{StatusCode: is.status, Body: fmt.Appendf(nil, `{"n":%d}`, n)}, nil
				}}
				ctx, cancel := context.WithTimeout(t.Context(), c.limit)
				defer cancel()
				got, err := a.Invoke(ctx, recorded(t, "schedule"))
				if string(got) != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
					t.Errorf("answer %s, %v", got, err)
				}
			})
		})
	}
}

func TestSecretsComeFromTheEnvironment(t *testing.T) {
	read := func(t *testing.T, name string) string {
		t.Helper()
		v, err := service.Secret(name)
		if err != nil {
			t.Error(err)
		}
		return v
	}
	for _, key := range []string{"SECRETS_DIR", "SECRET_TRIGGER_TOKEN", "SECRET_KAFKA_PASSWORD"} {
		t.Setenv(key, "")
	}
	t.Setenv("TMPDIR", t.TempDir())
	t.Run("as files, and are gone from it", func(t *testing.T) {
		t.Setenv("SECRETS_DIR", "")
		t.Setenv("SECRET_TRIGGER_TOKEN", "abc")
		t.Setenv("SECRET_KAFKA_PASSWORD", "p")
		if err := secretsFromEnv(); err != nil {
			t.Fatal(err)
		}
		if read(t, "trigger-token") != "abc" || read(t, "kafka-password") != "p" || os.Getenv("SECRET_TRIGGER_TOKEN") != "" {
			t.Errorf("token %q, password %q", read(t, "trigger-token"), read(t, "kafka-password"))
		}
	})
	t.Run("a token that nobody set is one that nobody knows", func(t *testing.T) {
		t.Setenv("SECRETS_DIR", "")
		if err := secretsFromEnv(); err != nil {
			t.Fatal(err)
		}
		if len(read(t, "trigger-token")) < 20 {
			t.Errorf("token %q", read(t, "trigger-token"))
		}
	})
	t.Run("or from a folder, but not from both", func(t *testing.T) {
		t.Setenv("SECRETS_DIR", "/somewhere")
		if err := secretsFromEnv(); err != nil || os.Getenv("SECRETS_DIR") != "/somewhere" {
			t.Errorf("%v, folder %s", err, os.Getenv("SECRETS_DIR"))
		}
		t.Setenv("SECRET_TRIGGER_TOKEN", "abc")
		var settings *service.SettingsError
		if err := secretsFromEnv(); !errors.As(err, &settings) {
			t.Errorf("error %v", err)
		}
	})
}

func FuzzInvoke(f *testing.F) {
	for _, name := range []string{"schedule", "quotes", "watchlist", "kafka"} {
		f.Add(recorded(f, name))
	}
	f.Add(event(f, map[int][]int64{3: {1, 2}}))
	f.Add([]byte(`{"eventSource":"aws:kafka","records":{"ticks-0":[{"topic":"ticks","partition":-1,"offset":9}]}}`))
	w := newWorld(f, done)
	batches := w.handle
	f.Fuzz(func(t *testing.T, payload []byte) {
		w.calls = nil
		w.handle = func(req handler.Request) (handler.Response, error) {
			if strings.Contains(req.Header.Get("Content-Type"), "ticktape.trigger.v1.Batch") && req.Header.Get(trigger.HeaderConnector) == connectorName {
				return batches(req)
			}
			return echo(req)
		}
		got, err := w.Invoke(t.Context(), payload)
		if err == nil && !json.Valid(got) {
			t.Errorf("answer %q", got)
		}
	})
}
