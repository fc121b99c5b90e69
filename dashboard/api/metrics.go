package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ticktape/dashboard/hub"
)

var (
	marketOpen = prometheus.NewDesc("dashboard_market_open",
		"1 while the regular session of an exchange is open, 0 while not; absent where that is not known.", []string{"exchange"}, nil)
	marketTick = prometheus.NewDesc("dashboard_market_last_tick_timestamp_seconds",
		"When the latest tick of an exchange's symbols was written to Kafka.", []string{"exchange"}, nil)
	marketSymbols = prometheus.NewDesc("dashboard_market_symbols", "Symbols of an exchange that are shown.", []string{"exchange"}, nil)
)

// MarketMetrics returns the collector of what /api/markets says.
func MarketMetrics(h *hub.Hub) prometheus.Collector { return marketMetrics{h} }

type marketMetrics struct{ hub *hub.Hub }

func (marketMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- marketOpen
	ch <- marketTick
	ch <- marketSymbols
}

func (m marketMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, exchange string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, exchange)
	}
	now := time.Now()
	for _, x := range m.hub.Markets() {
		gauge(marketSymbols, float64(x.Symbols), x.Exchange)
		if x.Received != 0 {
			gauge(marketTick, float64(x.Received)/1000, x.Exchange)
		}
		switch describe(x, now).Session {
		case "unknown":
		case "open":
			gauge(marketOpen, 1, x.Exchange)
		default:
			gauge(marketOpen, 0, x.Exchange)
		}
	}
}
