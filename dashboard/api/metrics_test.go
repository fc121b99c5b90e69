package api

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestMetricsTellWhichMarketsAreOpenAndWhenTheyLastTraded(t *testing.T) {
	b := start(t, nil)
	b.hub.Apply(b.market.Past(20*time.Minute, 2))
	registry := prometheus.NewRegistry()
	registry.MustRegister(MarketMetrics(b.hub))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	of := func(name, exchange string) float64 {
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == name && label(m) == exchange {
					return m.GetGauge().GetValue()
				}
			}
		}
		t.Errorf("no %s of %s", name, exchange)
		return 0
	}
	if of("dashboard_market_open", "CCC") != 1 { // it never closes
		t.Error("the market of crypto currencies is said to be closed")
	}
	for _, m := range b.hub.Markets() {
		if n := of("dashboard_market_symbols", m.Exchange); n != float64(m.Symbols) {
			t.Errorf("%s: %v symbols, want %d", m.Exchange, n, m.Symbols)
		}
		if at := of("dashboard_market_last_tick_timestamp_seconds", m.Exchange); at != float64(m.Received)/1000 || at == 0 {
			t.Errorf("%s: last tick at %v, want %d ms", m.Exchange, at, m.Received)
		}
	}
}

func label(m *dto.Metric) string { return m.GetLabel()[0].GetValue() }
