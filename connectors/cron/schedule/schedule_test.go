package schedule

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ticktape/internal/gateway"
	"ticktape/internal/gateway/gatewaytest"
	"ticktape/internal/testbed"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

func job(kv ...string) (*Job, error) {
	a := map[string]string{"topic": "cron-function"}
	for i := 0; i < len(kv); i += 2 {
		a[kv[i]] = kv[i+1]
	}
	return Parse(gateway.Function{Name: "f", Annotations: a})
}

func TestTheNextTimeOfASchedule(t *testing.T) {
	at := func(s string) time.Time {
		tm, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return tm.In(time.Local)
	}
	for _, c := range []struct {
		name, after, want string
		annotations       []string
	}{
		{"every 2 seconds", "2026-03-02T10:00:00Z", "2026-03-02T10:00:02Z", []string{"schedule", "@every 2s"}},
		{"5 fields in a time zone", "2026-03-02T10:00:00Z", "2026-03-02T14:30:00Z", []string{"schedule", "CRON_TZ=America/New_York 30 9 * * 1-5"}},
		{"the same by annotation", "2026-03-02T10:00:00Z", "2026-03-02T14:30:00Z", []string{"schedule", "30 9 * * 1-5", "cron.timezone", "America/New_York"}},
		{"a prefix goes before the annotation", "2026-03-02T10:00:00Z", "2026-03-02T10:30:00Z", []string{"schedule", "CRON_TZ=UTC 30 10 * * *", "cron.timezone", "America/New_York"}},
		{"a descriptor", "2026-03-02T10:00:00Z", "2026-03-03T00:00:00Z", []string{"schedule", "CRON_TZ=UTC @daily"}},
		{"the first of several", "2026-03-02T10:00:00Z", "2026-03-02T10:20:00Z", []string{"schedule", "0 12 * * *; 20 * * * * ;@every 1h;", "cron.timezone", "UTC"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			j, err := job(c.annotations...)
			if err != nil {
				t.Fatal(err)
			}
			if got := j.Next(at(c.after)); !got.Equal(at(c.want)) {
				t.Errorf("next is %s, want %s", got, c.want)
			}
		})
	}
}

func TestWrongAnnotationsAreTold(t *testing.T) {
	for _, c := range []struct {
		want        string
		annotations []string
	}{
		{"annotation schedule is missing", nil},
		{"annotation schedule is missing", []string{"schedule", " ; "}},
		{`"every minute" can't be read`, []string{"schedule", "* * * * *; every minute"}},
		{"can't be read", []string{"schedule", "* * * * * *"}},
		{"can't be read", []string{"schedule", "CRON_TZ=UTC"}},
		{"can't be read", []string{"schedule", "CRON_TZ=Mars/North * * * * *"}},
		{"names no time that ever comes", []string{"schedule", "0 0 30 2 *"}},
		{`cron.timezone="Mars/North" is no time zone`, []string{"schedule", "@hourly", "cron.timezone", "Mars/North"}},
		{"cron.tz is not known", []string{"schedule", "@hourly", "cron.tz", "UTC"}},
	} {
		if _, err := job(c.annotations...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %s", c.annotations, err, c.want)
		}
	}
	if j, err := Parse(gateway.Function{Annotations: map[string]string{"topic": "ticks", "schedule": "nonsense"}}); j != nil || err != nil {
		t.Errorf("a function of the Kafka connector: %v, %v", j, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("@every 2s", "")
	f.Add("CRON_TZ=UTC */5 9-16 * * 1-5;@daily", "Europe/Berlin")
	f.Add("TZ= 0", "UTC")
	f.Fuzz(func(t *testing.T, text, zone string) {
		now := time.Now()
		if j, err := job("schedule", text, "cron.timezone", zone); err == nil && !j.Next(now).After(now) {
			t.Errorf("the next time of %q is %s", text, j.Next(now))
		}
	})
}

// run starts a scheduler on a gateway, and returns what stops it and what sums
// up a metric.
func run(t *testing.T, gw *gatewaytest.Server, timeout time.Duration) (stop func(), metric func(name string) float64) {
	t.Helper()
	client, err := gateway.New(gw.Config(t), "cron-connector")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	s := New(client, timeout, NewMetrics(registry))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.Watch(ctx, func(fs []gateway.Function) { s.Update(ctx, fs) })
		s.Close()
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop, func(name string) (sum float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				for _, m := range f.GetMetric() {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
		return sum
	}
}

func annotations(kv ...string) map[string]string {
	a := map[string]string{"topic": "cron-function", "schedule": "@every 1s"}
	for i := 0; i < len(kv); i += 2 {
		a[kv[i]] = kv[i+1]
	}
	return a
}

const patience = 20 * time.Second

func TestFunctionsAreCalledOnTimeUntilTheyAreGone(t *testing.T) {
	gw := gatewaytest.New(t)
	var plain, payload, wrong atomic.Int32
	gw.Deploy("plain", annotations(), func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) != 0 || r.Method != http.MethodPost || r.Header.Get("X-Connector") != "cron-connector" || r.Header.Get("X-Topic") != "cron-function" {
			t.Errorf("%s %q %v, %v", r.Method, body, r.Header, err)
		}
		plain.Add(1)
	})
	gw.Deploy("payload", annotations("cron.payload", `{"a":1}`), func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != `{"a":1}` {
			t.Errorf("body %q, %v", body, err)
		}
		payload.Add(1)
		w.WriteHeader(500) // a call that fails is no reason to stop
	})
	gw.Deploy("wrong", annotations("schedule", "often"), func(http.ResponseWriter, *http.Request) { wrong.Add(1) })
	_, metric := run(t, gw, time.Second)
	testbed.Eventually(t, patience, "each is called twice", func() bool { return plain.Load() >= 2 && payload.Load() >= 2 })
	if got := metric("cron_connector_functions"); got != 3 || wrong.Load() != 0 {
		t.Errorf("%v functions, the wrong one called %d times", got, wrong.Load())
	}
	gw.Remove("plain")
	before := payload.Load()
	testbed.Eventually(t, patience, "the other is called on", func() bool { return payload.Load() >= before+2 })
	last := plain.Load()
	testbed.Eventually(t, patience, "the other is called on", func() bool { return payload.Load() >= before+4 })
	if plain.Load() != last {
		t.Error("a function that is gone is called")
	}
	gw.Deploy("plain", annotations("schedule", "@every 1s; @hourly"), func(http.ResponseWriter, *http.Request) { plain.Add(1) })
	testbed.Eventually(t, patience, "it is called again when it is back", func() bool { return plain.Load() > last })
}

func TestCallsOfAFunctionDoNotOverlap(t *testing.T) {
	gw := gatewaytest.New(t)
	release := make(chan struct{})
	var calls, out, most atomic.Int32
	gw.Deploy("slow", annotations("schedule", "@every 1s; * * * * *"), func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), out.Add(1)))
		calls.Add(1)
		<-release
		out.Add(-1)
	})
	stop, metric := run(t, gw, patience)
	testbed.Eventually(t, patience, "two calls are skipped", func() bool { return metric("cron_connector_skipped_total") >= 2 })
	if calls.Load() != 1 {
		t.Errorf("%d calls while the first is out", calls.Load())
	}
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("the connector stopped before the call in flight was finished")
	case <-time.After(300 * time.Millisecond):
	}
	close(release)
	<-stopped
	if most.Load() != 1 || out.Load() != 0 {
		t.Errorf("%d calls at once, %d left", most.Load(), out.Load())
	}
}

func TestAFunctionThatHangsIsGivenUpAndCalledAgain(t *testing.T) {
	gw := gatewaytest.New(t)
	var calls atomic.Int32
	gw.Deploy("hangs", annotations(), func(_ http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		<-r.Context().Done()
	})
	run(t, gw, 100*time.Millisecond)
	testbed.Eventually(t, patience, "it is called again", func() bool { return calls.Load() >= 2 })
}

func TestAGatewayThatFailsAtFirstIsWaitedFor(t *testing.T) {
	gw := gatewaytest.New(t)
	gw.FailListing(503)
	var calls atomic.Int32
	gw.Deploy("f", annotations(), func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	run(t, gw, time.Second)
	gw.FailListing(0)
	testbed.Eventually(t, patience, "it is called", func() bool { return calls.Load() >= 1 })
}
