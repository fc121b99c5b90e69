package store

import (
	"os"
	"testing"

	"github.com/gocql/gocql"
)

func TestARingThatHasLostItsLastNodeIsNoPanic(t *testing.T) {
	if os.Getenv("CASSANDRA_HOSTS") == "" {
		t.Skip("needs a real Cassandra: CASSANDRA_HOSTS is not set; run `make test`, which starts one")
	}
	cfg, err := ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := cfg.cluster("system")
	if err != nil {
		t.Fatal(err)
	}
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	policy := cluster.PoolConfig.HostSelectionPolicy
	// A query with a routing key, for which the policy looks at the ring.
	ask := func() error {
		var key string
		return session.Query("SELECT key FROM system.local WHERE key = ?", "local").Scan(&key)
	}
	var nodes []*gocql.HostInfo
	for next := policy.Pick(nil); ; {
		h := next()
		if h == nil {
			break
		}
		nodes = append(nodes, h.Info())
	}
	if err := ask(); err != nil || len(nodes) == 0 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	for _, n := range nodes {
		policy.RemoveHost(n)
	}
	if err := ask(); err == nil {
		t.Error("a node answered that the policy does not know")
	}
	for _, n := range nodes {
		policy.AddHost(n)
	}
	if err := ask(); err != nil {
		t.Errorf("the nodes are back, and %v", err)
	}
}
