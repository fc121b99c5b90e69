package schedule

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ticktape/internal/gateway"
	"ticktape/internal/trigger"
)

// Metrics are what the connector counts.
type Metrics struct {
	functions *prometheus.GaugeVec
	calls     *prometheus.HistogramVec
	skipped   *prometheus.CounterVec
	success   *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		functions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cron_connector_functions", Help: "Functions with a schedule; state is scheduled, or rejected where annotations are wrong."}, []string{"state"}),
		calls:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cron_connector_call_seconds", Help: "How long calls took, by the answer's status.", Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 12)}, []string{"function", "code"}),
		skipped:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cron_connector_skipped_total", Help: "Times at which a function was not called because its last call was still out."}, []string{"function"}),
		success:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cron_connector_last_success_timestamp_seconds", Help: "When a call last succeeded."}, []string{"function"}),
	}
	r.MustRegister(m.functions, m.calls, m.skipped, m.success)
	return m
}

// Scheduler calls functions on time. Make one with New, and Close it in the end.
type Scheduler struct {
	gateway *gateway.Client
	timeout time.Duration
	metrics *Metrics
	running map[string]*runner
	wrong   map[string]string
}

// New makes a scheduler that calls nothing yet. A call may take timeout.
func New(gw *gateway.Client, timeout time.Duration, metrics *Metrics) *Scheduler {
	return &Scheduler{gateway: gw, timeout: timeout, metrics: metrics, running: map[string]*runner{}, wrong: map[string]string{}}
}

// runner is the goroutine that calls one function.
type runner struct {
	job    *Job
	cancel context.CancelFunc
	// stopping is set when cancel was called because of an Update.
	stopping bool
	done     chan struct{}
}

// Update makes the functions that are called those that are listed. It does not
// wait for calls in flight. It is not for concurrent use.
func (s *Scheduler) Update(ctx context.Context, functions []gateway.Function) {
	jobs := map[string]*Job{}
	wrong := map[string]string{}
	for _, f := range functions {
		switch j, err := Parse(f); {
		case err != nil:
			wrong[f.String()] = err.Error()
			if s.wrong[f.String()] != err.Error() {
				slog.Error("function is not scheduled: its annotations are wrong", "function", f.String(), "error", err)
			}
		case j != nil:
			jobs[f.String()] = j
		}
	}
	s.wrong = wrong
	for name, r := range s.running {
		if j := jobs[name]; !r.stopping && (j == nil || !j.Same(r.job)) {
			slog.Info("function is no longer called as it was", "function", name, "listed", j != nil)
			r.stopping = true
			r.cancel()
		}
	}
	for name, j := range jobs {
		before := s.running[name]
		if before != nil && !before.stopping {
			continue
		}
		slog.Info("function is scheduled", "function", name, "schedule", j.Text, "next", j.Next(time.Now()))
		s.running[name] = s.start(ctx, j, before)
	}
	for name, r := range s.running {
		select {
		case <-r.done:
			if jobs[name] == nil {
				delete(s.running, name)
			}
		default:
		}
	}
	s.metrics.functions.WithLabelValues("scheduled").Set(float64(len(jobs)))
	s.metrics.functions.WithLabelValues("rejected").Set(float64(len(wrong)))
}

// Close waits for calls in flight, after the contexts of Update are done.
func (s *Scheduler) Close() {
	for _, r := range s.running {
		r.cancel()
	}
	for _, r := range s.running {
		<-r.done
	}
}

// start calls a function on time, from when the runner that it had before has ended.
func (s *Scheduler) start(ctx context.Context, j *Job, before *runner) *runner {
	ctx, cancel := context.WithCancel(ctx)
	r := &runner{job: j, cancel: cancel, done: make(chan struct{})}
	s.metrics.skipped.WithLabelValues(j.Function.String())
	go func() {
		defer close(r.done)
		if before != nil {
			<-before.done
		}
		s.run(ctx, j)
	}()
	return r
}

// run calls the function whenever it is time and no call is out, until ctx is
// done and the call that is out has ended.
func (s *Scheduler) run(ctx context.Context, j *Job) {
	free := make(chan struct{}, 1)
	free <- struct{}{}
	defer func() { <-free }()
	for due := j.Next(time.Now()); !due.IsZero(); {
		t := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		select {
		case <-free:
			go func() {
				defer func() { free <- struct{}{} }()
				s.call(ctx, j)
			}()
		default:
			s.metrics.skipped.WithLabelValues(j.Function.String()).Inc()
			slog.Warn("function not called: its last call is still out", "function", j.Function.String())
		}
		// From the time that was due, so that "@every" keeps its pace, unless that
		// has been slept through.
		if now := time.Now(); j.Next(due).After(now) {
			due = j.Next(due)
		} else {
			due = j.Next(now)
		}
	}
	<-ctx.Done()
}

// call makes one call, which ctx does not end.
func (s *Scheduler) call(ctx context.Context, j *Job) {
	name := j.Function.String()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	start := time.Now()
	answer, err := s.gateway.Call(ctx, j.Function, http.Header{trigger.HeaderTopic: {trigger.CronTopic}}, []byte(j.Payload))
	took := time.Since(start)
	if err != nil {
		s.metrics.calls.WithLabelValues(name, "none").Observe(took.Seconds())
		slog.Error("function did not answer", "function", name, "error", err, "took", took)
		return
	}
	s.metrics.calls.WithLabelValues(name, strconv.Itoa(answer.Status)).Observe(took.Seconds())
	if answer.Status < 200 || answer.Status > 299 {
		slog.Error("call failed", "function", name, "status", answer.Status, "answer", excerpt(answer.Body), "took", took)
		return
	}
	s.metrics.success.WithLabelValues(name).SetToCurrentTime()
	slog.Debug("function called", "function", name, "status", answer.Status, "took", took)
}

// excerpt is the beginning of an answer in one line.
func excerpt(body []byte) string {
	const most = 500
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(body[:min(len(body), most)]), "")), " ")
}
