package live

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"ticktape/internal/store"
)

var (
	recordsTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "process_records_total",
		Help: "Records delivered, by what became of them: counted; again, below the fence because an earlier delivery counted them; late, left to seal; refused, no ticks.",
	}, []string{"result"})
	counted = recordsTotal.WithLabelValues("counted")
	again   = recordsTotal.WithLabelValues("again")
	late    = recordsTotal.WithLabelValues("late")
	refused = recordsTotal.WithLabelValues("refused")

	batchesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "process_batches_total",
		Help: "Batches, by how they ended: done; later, to be delivered again; doubt, to be delivered again as resumed.",
	}, []string{"result"})
	done  = batchesTotal.WithLabelValues("done")
	later = batchesTotal.WithLabelValues("later")
	doubt = batchesTotal.WithLabelValues("doubt")

	updatesTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "process_updates_total",
		Help: "States of a symbol in a window that were published.",
	})
)

func countOf(states []store.SymbolState) (n int64) {
	for i := range states {
		n += states[i].Count
	}
	return n
}
