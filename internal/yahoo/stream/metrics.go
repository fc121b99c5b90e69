package stream

import "github.com/prometheus/client_golang/prometheus"

// kinds are the values of the label kind of ticktape_stream_frames_total.
const (
	kindTrade     = "trade"
	kindHeartbeat = "heartbeat"
	kindStale     = "stale"
	kindUnasked   = "unasked"
)

type metrics struct {
	frames  *prometheus.CounterVec
	dials   *prometheus.CounterVec
	moves   prometheus.Counter
	symbols *prometheus.GaugeVec
	open    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		frames: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticktape_stream_frames_total", Help: "Frames of Yahoo's streamer: trade, heartbeat, stale (a snapshot older than a day), unasked, and bad ones by what was wrong with them.",
		}, []string{"kind"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ticktape_stream_dials_total", Help: "Connections that were begun, by result: ok or failed.",
		}, []string{"result"}),
		moves: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ticktape_stream_moves_total", Help: "Symbols that were silent while their market was open and were moved to another connection.",
		}),
		symbols: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ticktape_stream_symbols", Help: "Symbols by what is heard of them: live, silent, stale, waiting, unplaced.",
		}, []string{"state"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "ticktape_stream_connections", Help: "Open connections to Yahoo's streamer."}),
	}
	for _, k := range []string{kindTrade, kindHeartbeat, kindStale, kindUnasked, bad(BadFrame), bad(BadMessage), bad(BadPrice), bad(BadTrade)} {
		m.frames.WithLabelValues(k)
	}
	if reg != nil {
		reg.MustRegister(m.frames, m.dials, m.moves, m.symbols, m.open)
	}
	return m
}

func bad(r Reason) string { return "bad_" + string(r) }
