package yahoo

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	requestSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "yahoo_request_seconds",
		Help:    "How long requests took, by call (cookie, consent, crumb, quote, chart) and result: ok, or the kind of failure.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 8),
	}, []string{"call", "result"})

	// The circuit is one per process, as the client is.
	circuitState = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "yahoo_circuit_state",
		Help: "1 for the state that the circuit is in: closed; open, requests are refused without being sent; half-open, one is tried.",
	}, []string{"state"})
	circuitOpens = promauto.NewCounter(prometheus.CounterOpts{
		Name: "yahoo_circuit_opens_total",
		Help: "Times that the circuit opened.",
	})
	failuresInARow = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yahoo_failures_in_a_row",
		Help: "Requests that failed since one was answered.",
	})
	holdUntil = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "yahoo_hold_until_timestamp_seconds",
		Help: "Until when requests are held back; 0 while none are.",
	})
	sessionsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "yahoo_sessions_total",
		Help: "Cookies and crumbs got anew, by result: ok, or the kind of failure.",
	}, []string{"result"})
)

// resultOf is an error as a label's value.
func resultOf(err error) string {
	if err == nil {
		return "ok"
	}
	return asError("", err).Kind.String()
}
