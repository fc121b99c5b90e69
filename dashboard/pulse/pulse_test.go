package pulse

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/segmentio/kafka-go"

	"ticktape/dashboard/ask"
	"ticktape/dashboard/hub"
	"ticktape/internal/bus"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

func TestLatencyIsTheTimeFromStageToStage(t *testing.T) {
	var l Latency
	now := time.Now().UnixMilli()
	for range 100 {
		l.Add([]*windowpb.Update{{Latest: &windowpb.Latest{EventTime: now - 1000, ReceivedTime: now - 90, LogTime: now - 80}}}, []int64{now - 30})
	}
	l.Add([]*windowpb.Update{{}, {Latest: &windowpb.Latest{LogTime: now + 5000}}}, []int64{now, now})
	r := l.report(time.Now())
	want := map[string][2]float64{"source": {910, 910}, "kafka": {10, 10}, "window": {0, 50}, "dashboard": {30, 60_000}, "total": {90, 60_000}}
	for _, s := range r.Stages {
		var sum int64
		for _, n := range s.Counts {
			sum += n
		}
		if w := want[s.Name]; sum != s.Count || s.Count < 100 || float64(s.Max) < w[0] || float64(s.Max) > w[1] || s.P99 > float64(s.Max) || len(s.Counts) != len(r.Bounds)+1 {
			t.Errorf("%+v, want a maximum in %v", s, w)
		}
	}
	if r := l.report(time.Now().Add(2 * time.Minute)); r.Stages[0].Count != 0 {
		t.Errorf("two minutes later there are %d", r.Stages[0].Count)
	}
}

func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		q      float64
		counts []int64
		most   float64
		want   float64
	}{
		{"nothing", 0.5, []int64{0, 0, 0}, 0, 0},
		{"the middle of a bucket", 0.5, []int64{0, 10, 0}, 20, 15},
		{"never above the largest", 0.99, []int64{0, 10, 0}, 12, 12},
		{"what is above all bounds", 0.99, []int64{5, 0, 95}, 300, 300},
		{"the first bucket begins at 0", 0.5, []int64{10, 0, 0}, 10, 5},
	} {
		if got := quantile(c.q, []float64{10, 20}, c.counts, c.most); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

func TestDeadLettersAreShownWithWhyAndWhence(t *testing.T) {
	brokers := testbed.Kafka(t)
	topic := testbed.Topic(t, "ticks.dead", 1)
	client := bus.New(bus.Config{Brokers: brokers})
	defer client.Close()
	p := client.Producer(topic)
	odd, err := tick.Protobuf.Append(nil, &tick.Tick{Symbol: "ODD", EventTime: 5, Price: 1})
	if err != nil {
		t.Fatal(err)
	}
	write := func(value []byte, headers ...kafka.Header) {
		t.Helper()
		if err := p.Publish(t.Context(), []kafka.Message{{Key: []byte("K"), Value: value, Headers: headers}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range MostLetters {
		write(fmt.Appendf(nil, "old %d", i))
	}
	l := NewLetters()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- l.Follow(ctx, client, topic) }()
	defer func() { cancel(); <-ended }()
	testbed.Eventually(t, time.Minute, "what was there is read", func() bool { return len(l.Newest(MostLetters).Letters) == MostLetters })
	before := l.Newest(0)
	write([]byte("<script>\x00\n" + strings.Repeat("x", 5000)))
	write(odd, kafka.Header{Key: deadReason, Value: []byte("status 422: not a tick: event time 5")}, kafka.Header{Key: deadFunction, Value: []byte("process")},
		kafka.Header{Key: deadTopic, Value: []byte("ticks")}, kafka.Header{Key: deadPartition, Value: []byte("3")}, kafka.Header{Key: deadOffset, Value: []byte("8812")})
	testbed.Eventually(t, time.Minute, "another one is read", func() bool { return l.Newest(0).Newest == before.Newest+2 })
	r := l.Newest(2)
	if r.Problem != "" || r.Total != MostLetters+2 || len(r.Letters) != 2 {
		t.Fatalf("%+v", r)
	}
	if n := r.Letters[0]; n.Form != "tick" || !strings.Contains(n.Value, `"ODD"`) || n.Function != "process" || n.Partition != 3 || n.Offset != 8812 || n.RecordTime != -1 || n.Key != "K" || !strings.Contains(n.Reason, "422") {
		t.Errorf("the newest is %+v", n)
	}
	if n := r.Letters[1]; n.Form != "bytes" || len(n.Value) > mostValue+3 || n.Size < 5000 || n.Partition != -1 {
		t.Errorf("the one before is %+v", n)
	}
}

func FuzzShow(f *testing.F) {
	f.Add([]byte(`{"symbol":"AAPL"}`))
	f.Add([]byte("\xff\xfe\x00"))
	f.Add([]byte("\u202e<b>\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		text, form := show(b)
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > 6*mostValue+1 || strings.ContainsAny(text, "\n\r\x00\u202e") || form == "" {
			t.Fatalf("%q as %s", text, form)
		}
	})
}

// world is Kafka, the connectors and the functions.
type world struct {
	ends, done int64
	gone       map[string]bool
}

func (w *world) TopicInfo(context.Context, string) (bus.Info, error) {
	if w.gone["kafka"] {
		return bus.Info{}, fmt.Errorf("no broker answers")
	}
	return bus.Info{Partitions: 2}, nil
}

func (w *world) Committed(_ context.Context, group, _ string) (map[int]int64, error) {
	if group != "process" {
		return map[int]int64{}, nil
	}
	return map[int]int64{0: w.done}, nil
}

func (w *world) Ends(context.Context, string, []int) (map[int]int64, error) {
	return map[int]int64{0: w.ends, 1: 5}, nil
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/connector" && !w.gone["connector"]:
		_, _ = fmt.Fprint(rw, `# TYPE kafka_connector_call_seconds histogram
kafka_connector_call_seconds_bucket{code="200",function="process.fn",le="0.01"} 90
kafka_connector_call_seconds_bucket{code="200",function="process.fn",le="+Inf"} 100
kafka_connector_call_seconds_sum{code="200",function="process.fn"} 1
kafka_connector_call_seconds_count{code="200",function="process.fn"} 100
# TYPE kafka_connector_retries_total counter
kafka_connector_retries_total{function="process.fn"} 7
# TYPE kafka_connector_stopped_partitions gauge
kafka_connector_stopped_partitions{function="process.fn",partition="1"} 1
`)
	case r.URL.Path == "/function/seal/metrics":
		_, _ = fmt.Fprint(rw, "# TYPE seal_audited_total counter\nseal_audited_total 40\n# TYPE seal_windows_total counter\nseal_windows_total{kind=\"first\"} 9\nseal_windows_total{kind=\"again\"} 2\n")
	case strings.HasSuffix(r.URL.Path, "/_/health") && !w.gone[strings.Split(r.URL.Path, "/")[2]]:
	default:
		http.NotFound(rw, r)
	}
}

func TestThePipelineIsToldAsItIs(t *testing.T) {
	w := &world{ends: 130, done: 123, gone: map[string]bool{"persist": true}}
	s := httptest.NewServer(w)
	defer s.Close()
	client, err := ask.New(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := hub.New(hub.Config{})
	sealed := 0
	p := New(Config{
		Log: w, Topic: "ticks", Groups: []string{"process", "persist"}, Functions: []string{"process", "persist", "seal"},
		Targets: []Target{{"kafka-connector", s.URL + "/connector"}},
		Ask:     client, Letters: &Letters{}, Latency: &Latency{}, Hub: h, Sealed: func() { sealed++ },
	})
	look := func() report {
		for _, read := range []func(context.Context){p.readKafka, p.readTargets, p.readFunctions, p.readSeal, p.readSeal, p.publish} {
			read(t.Context())
		}
		var r report
		if err := json.Unmarshal(h.Pipeline(), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	states := func(r report) map[string]State {
		m := map[string]State{}
		for _, part := range r.Parts {
			m[part.Name] = part.State
			if (part.State == Up) != (part.Reason == "") {
				t.Errorf("%s is %s because %q", part.Name, part.State, part.Reason)
			}
		}
		return m
	}
	r := look()
	f := r.Functions[0]
	if f.Lag != 7 || len(f.Partitions) != 2 || *f.Partitions[0].Committed != 123 || f.Partitions[1].Committed != nil || f.Calls == nil || f.Calls.Total != 100 || *f.Retries != 7 || len(f.Stopped) != 1 {
		t.Errorf("process: %+v", f)
	}
	if r.Functions[1].Calls != nil || r.Ticks.Total != 135 || r.Seal == nil || r.Seal.Windows != 9 || r.Seal.Again != 2 || sealed != 1 {
		t.Errorf("report: %+v, sealed %d times", r, sealed)
	}
	want := map[string]State{"kafka": Up, "gateway": Up, "process": Up, "persist": Down, "seal": Up, "kafka-connector": Degraded, "cron-connector": Unknown, "cassandra": Unknown}
	got := states(r)
	for name, state := range want {
		if got[name] != state {
			t.Errorf("%s is %s, want %s", name, got[name], state)
		}
	}
	w.gone["kafka"], w.gone["connector"] = true, true
	if r = look(); states(r)["kafka"] != Down || states(r)["kafka-connector"] != Down || r.Ticks.Problem == "" || r.Functions[0].Calls != nil {
		t.Errorf("without Kafka and connector: %+v", r)
	}
	s.Close()
	if r = look(); states(r)["gateway"] != Down || states(r)["process"] != Unknown || r.Seal != nil {
		t.Errorf("without a gateway: %+v", r)
	}
}

func TestTargetsAreReadStrictly(t *testing.T) {
	got, err := ParseTargets([]string{"a=http://x:1", " b=https://y/m "})
	if err != nil || len(got) != 2 || got[0].URL != "http://x:1/metrics" || got[1] != (Target{"b", "https://y/m"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "http://x", "=http://x", "a=x:1", "a=ftp://x"} {
		if _, err := ParseTargets([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
