package run

import (
	"net"
	"path/filepath"
	"strconv"
)

// targetsFile is what Prometheus reads to find the parts (file_sd_configs in
// deploy/monitoring/prometheus-local.yml).
func targetsFile(dir string) string { return filepath.Join(dir, "prometheus.json") }

// targetGroup is Prometheus' form for a target with its labels.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// targets are the parts that have metrics. Those that are down are among them,
// as long as they are to run.
func (s *State) targets() []targetGroup {
	groups := []targetGroup{}
	for _, p := range s.Parts {
		if p.Port == 0 || p.Kind == "server" || p.Kind == "market" {
			continue
		}
		kind := "service"
		if p.Kind == "function" {
			kind = p.Kind
		}
		groups = append(groups, targetGroup{
			Targets: []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port))},
			Labels:  map[string]string{"part": p.Name, "kind": kind},
		})
	}
	return groups
}
