package feed

import "github.com/prometheus/client_golang/prometheus"

// The values of the label result of ticktape_feed_trades_total.
const (
	resultPublished = "published"
	resultKnown     = "known"
	resultDropped   = "dropped"
	resultRefused   = "refused"
)

type metrics struct {
	ticks    *prometheus.CounterVec
	fed      *prometheus.GaugeVec
	queued   prometheus.Gauge
	failures *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		ticks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticktape_feed_trades_total", Help: "Streamed trades: published, known (published before, or by polling), dropped (no room while Kafka was away; /symbols has them by symbol), refused (no valid tick).",
		}, []string{"result"}),
		fed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ticktape_feed_symbols", Help: "Symbols by who feeds them: streamed, polled, taking over, in doubt.",
		}, []string{"fed"}),
		queued: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ticktape_feed_queued_trades", Help: "Trades that wait for their hand-over or for Kafka."}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticktape_feed_failures_total", Help: "What failed and is tried again: kafka (a publication), memory (reading what was published last), watchlist, barrier (asking fetch whether it has seen the claims).",
		}, []string{"part"}),
	}
	for _, r := range []string{resultPublished, resultKnown, resultDropped, resultRefused} {
		m.ticks.WithLabelValues(r)
	}
	for _, p := range []string{partKafka, partMemory, partList, partBarrier} {
		m.failures.WithLabelValues(p)
	}
	if reg != nil {
		reg.MustRegister(m.ticks, m.fed, m.queued, m.failures)
	}
	return m
}

// The values of the label part of ticktape_feed_failures_total.
const (
	partKafka   = "kafka"
	partMemory  = "memory"
	partList    = "watchlist"
	partBarrier = "barrier"
)
