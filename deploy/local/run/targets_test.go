package run

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ticktape/deploy/local/process"
)

func TestPrometheusIsToldWhereThePartsAre(t *testing.T) {
	dir := t.TempDir()
	s := State{Parts: []Part{
		{Kind: "server", Name: "kafka", Port: 9092},
		{Kind: "market", Name: "market", Port: 4712},
		{Kind: "dashboard", Name: "dashboard", Port: 8090},
		{Kind: "function", Name: "process", Port: 4713},
		{Kind: "function", Name: "fetch", State: process.Down},
	}}
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "prometheus.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got []targetGroup
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := []targetGroup{
		{[]string{"127.0.0.1:8090"}, map[string]string{"part": "dashboard", "kind": "service"}},
		{[]string{"127.0.0.1:4713"}, map[string]string{"part": "process", "kind": "function"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := forget(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("what is left of a run that has ended: %v, %v", left, err)
	}
	if err := forget(dir); err != nil {
		t.Errorf("forgetting what is gone: %v", err)
	}
}
