package push

import (
	"context"
	"errors"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"ticktape/dashboard/hub"
)

var (
	droppedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "dashboard_dropped_clients_total",
		Help: "Clients that were sent away: full, no room for them or for what they subscribe to; slow, they accepted nothing for 10 seconds. Those that leave are not counted.",
	}, []string{"reason"})
	droppedFull = droppedTotal.WithLabelValues("full")
	droppedSlow = droppedTotal.WithLabelValues("slow")
)

// countEnd counts a stream that its client did not end.
func countEnd(stop context.Context, err error) {
	var n net.Error
	switch {
	case stop.Err() != nil:
	case errors.Is(err, hub.ErrBusy), errors.Is(err, hub.ErrSymbols):
		droppedFull.Inc()
	case errors.As(err, &n) && n.Timeout():
		droppedSlow.Inc()
	}
}
