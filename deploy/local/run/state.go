package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"ticktape/deploy/local/process"
)

// State is what state.json in the run's folder says: it is rewritten, whole,
// whenever a part changes, and stays when the runtime is killed.
type State struct {
	PID     int       `json:"pid"` // of the runtime
	Birth   string    `json:"birth"`
	Started time.Time `json:"started"`
	// Ready is true once the first tick has reached the dashboard.
	Ready     bool   `json:"ready"`
	Simulated bool   `json:"simulated"`
	Functions string `json:"functions_url"`
	Dashboard string `json:"dashboard_url"`
	Kafka     string `json:"kafka_brokers"`
	Cassandra string `json:"cassandra_hosts"`
	Secrets   string `json:"secrets_dir"`
	Profiles  string `json:"profiles_url,omitempty"` // of the runtime itself, where PPROF=1
	Parts     []Part `json:"parts"`
}

// Part is one child process.
type Part struct {
	Kind     string        `json:"kind"` // server, market, function, dashboard, kafka-connector, cron-connector, yahoo-connector
	Name     string        `json:"name"` // kafka, cassandra, or a function's name; several parts of one name are its replicas
	State    process.State `json:"state"`
	PID      int           `json:"pid,omitempty"`
	Birth    string        `json:"birth,omitempty"`
	Port     int           `json:"port,omitempty"`
	Restarts int           `json:"restarts"`
	Ending   string        `json:"last_ending,omitempty"` // how the process before this one ended
	Started  time.Time     `json:"started,omitzero"`
	Log      string        `json:"log,omitempty"`
}

func stateFile(dir string) string { return filepath.Join(dir, "state.json") }

// ReadState reads state.json in dir. Where there is none, ok is false.
func ReadState(dir string) (s State, ok bool, err error) {
	text, err := os.ReadFile(stateFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, false, fmt.Errorf("read what runs: %w; remove %s if that stays so", err, stateFile(dir))
	}
	return s, true, nil
}

func (s *State) write(dir string) error {
	if err := errors.Join(replace(stateFile(dir), s), replace(targetsFile(dir), s.targets())); err != nil {
		return fmt.Errorf("write what runs: %w", err)
	}
	return nil
}

// replace makes content, as JSON, the file's, so that readers see the old or the
// new one and nothing between.
func replace(file string, content any) error {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// forget removes what write has written.
func forget(dir string) error {
	for _, file := range []string{stateFile(dir), targetsFile(dir)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Running says whether the runtime that wrote the state is alive.
func (s *State) Running() bool { return alive(s.PID, s.Birth) }

// alive says whether the very process is there, and not another that got its pid later.
func alive(pid int, birth string) bool {
	return pid > 0 && birth != "" && process.Birth(pid) == birth
}

// killLeftovers ends the children of a runtime that is gone.
func (s *State) killLeftovers() (killed []string) {
	for _, part := range s.Parts {
		if alive(part.PID, part.Birth) {
			_ = syscall.Kill(-part.PID, syscall.SIGKILL)
			killed = append(killed, fmt.Sprintf("%s (pid %d)", part.Name, part.PID))
		}
	}
	return killed
}
