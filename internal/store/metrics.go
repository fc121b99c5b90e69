package store

import (
	"github.com/gocql/gocql"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	connectionsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "cassandra_connections_total",
		Help: "Connections to nodes of Cassandra that were begun, by result: ok or failed. A node that is away is tried every second.",
	}, []string{"result"})
	connected     = connectionsTotal.WithLabelValues("ok")
	connectFailed = connectionsTotal.WithLabelValues("failed")
)

// connects counts what the driver connects to.
type connects struct{}

func (connects) ObserveConnect(c gocql.ObservedConnect) {
	if c.Err != nil {
		connectFailed.Inc()
		return
	}
	connected.Inc()
}
