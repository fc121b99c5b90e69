package delivery

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ticktape/connectors/kafka/subscription"
	"ticktape/internal/bus"
)

// Metrics are what the connector counts.
type Metrics struct {
	functions   *prometheus.GaugeVec
	lag         *prometheus.GaugeVec
	stopped     *prometheus.GaugeVec
	outOfRange  *prometheus.CounterVec
	calls       *prometheus.HistogramVec
	records     *prometheus.HistogramVec
	bytes       *prometheus.HistogramVec
	retries     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	generations *prometheus.CounterVec
}

// Why a record went to the dead letters, as the label reason has it. What the
// function said is in the letter.
const (
	deadRefused  = "refused"
	deadReported = "reported"
	deadGivenUp  = "given_up"
)

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	partition := []string{"function", "group", "topic", "partition"}
	m := &Metrics{
		functions:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kafka_connector_functions", Help: "Functions with a topic; state is triggered, or rejected where annotations are wrong."}, []string{"state"}),
		lag:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kafka_connector_lag_records", Help: "Records of a partition that the function has not done."}, partition),
		stopped:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kafka_connector_stopped_partitions", Help: "1 where nothing more of a partition is read; the log says why."}, partition),
		outOfRange:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_connector_out_of_range_total", Help: "Partitions found to go on at an offset that the log does not have."}, partition),
		calls:       prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kafka_connector_call_seconds", Help: "How long calls took, by the answer's status.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12)}, []string{"function", "code"}),
		records:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kafka_connector_batch_records", Help: "Records a call.", Buckets: prometheus.ExponentialBuckets(1, 4, 9)}, []string{"function"}),
		bytes:       prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kafka_connector_batch_bytes", Help: "Bytes a call.", Buckets: prometheus.ExponentialBuckets(256, 4, 9)}, []string{"function"}),
		retries:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_connector_retries_total", Help: "Calls that repeat one that failed."}, []string{"function"}),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_connector_dead_letters_total", Help: "Records that went to a dead-letter topic: refused, the function answered so to the record alone; reported, it named the record among others; given_up, kafka.retries was reached."}, []string{"function", "topic", "reason"}),
		generations: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_connector_generations_total", Help: "Generations of a function's group that this connector was part of."}, []string{"group"}),
	}
	r.MustRegister(m.functions, m.lag, m.stopped, m.outOfRange, m.calls, m.records, m.bytes, m.retries, m.deadLetters, m.generations)
	return m
}

// partitionMetrics are those of one partition of a function.
type partitionMetrics struct {
	all         *Metrics
	labels      prometheus.Labels
	function    string
	retries     prometheus.Counter
	deadLetters *prometheus.CounterVec // by reason
	records     prometheus.Observer
	bytes       prometheus.Observer
	lag         prometheus.Gauge
}

func (m *Metrics) partition(sub *subscription.Subscription, at *bus.Assignment) *partitionMetrics {
	f := sub.Function.String()
	labels := prometheus.Labels{"function": f, "group": sub.Group, "topic": at.Topic, "partition": strconv.Itoa(at.Partition)}
	m.outOfRange.With(labels)
	m.stopped.With(labels).Set(0)
	dead := m.deadLetters.MustCurryWith(prometheus.Labels{"function": f, "topic": at.Topic})
	for _, reason := range []string{deadRefused, deadReported, deadGivenUp} {
		dead.WithLabelValues(reason) // from 0, or the first one is no increase
	}
	return &partitionMetrics{
		all: m, labels: labels, function: f,
		retries:     m.retries.WithLabelValues(f),
		deadLetters: dead,
		records:     m.records.WithLabelValues(f),
		bytes:       m.bytes.WithLabelValues(f),
		lag:         m.lag.With(labels),
	}
}

func (m *partitionMetrics) called(code string, took time.Duration, records, bytes int) {
	m.all.calls.WithLabelValues(m.function, code).Observe(took.Seconds())
	m.records.Observe(float64(records))
	m.bytes.Observe(float64(bytes))
}

// stopped says whether nothing more of the partition is delivered.
func (m *partitionMetrics) stopped(yes bool) {
	v := 0.0
	if yes {
		v = 1
	}
	m.all.stopped.With(m.labels).Set(v)
}

func (m *partitionMetrics) outOfRange() {
	m.stopped(true)
	m.all.outOfRange.With(m.labels).Inc()
}

// forget drops what only holds while the partition is this connector's.
func (m *partitionMetrics) forget() {
	m.all.lag.Delete(m.labels)
	m.all.stopped.Delete(m.labels)
}
