package store

import "github.com/gocql/gocql"

// hostPolicy prefers a node that has what is asked for, of this data centre.
func hostPolicy(datacenter string) gocql.HostSelectionPolicy {
	return gocql.TokenAwareHostPolicy(nilSafe{gocql.DCAwareRoundRobinPolicy(datacenter)})
}

// nilSafe answers a question that gocql 1.7 asks of no host at all: when the last
// node of the ring is gone, its token-aware policy takes the nil that it finds
// there for a replica, and the process would panic. That is so for a moment
// whenever a node that is a cluster by itself comes back under another address,
// as a pod does.
type nilSafe struct{ gocql.HostSelectionPolicy }

func (p nilSafe) IsLocal(host *gocql.HostInfo) bool {
	return host != nil && p.HostSelectionPolicy.IsLocal(host)
}
