package hub

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	updatesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "dashboard_updates_total",
		Help: "Records of the windows topic by what became of them: applied, repeated, bad, refused.",
	}, []string{"result"})
	ticksKnown = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "dashboard_ticks", Help: "Ticks that the windows read so far stand for.",
	})
	flushesTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "dashboard_flushes_total", Help: "Times that changes were sent to clients.",
	})
	messagesTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "dashboard_messages_total", Help: "Messages given to clients.",
	})
	snapshotsTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "dashboard_snapshots_total", Help: "Snapshots encoded.",
	})
	clients = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "dashboard_clients", Help: "Clients connected.",
	})
	latency = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "dashboard_latency_seconds",
		Help:    "Time from the reception of a tick to its arrival at the dashboard.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	})
)
