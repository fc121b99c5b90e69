package bus

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var commitFailures = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "kafka_commit_failures_total",
	Help: "Commits of offsets that failed. They are tried again, and what can't be committed is delivered again.",
}, []string{"group"})
