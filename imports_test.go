package ticktape_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// ours cuts a path of this module down to what is below its root, and reports
// whether it is one.
func ours(path string) (string, bool) { return strings.CutPrefix(path, "ticktape/") }

func under(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// allowed says whether code in from may import to, both below the root. Who is
// not named here (bench, e2e) stands above everything.
func allowed(from, to string) bool {
	parts := strings.Split(from, "/")
	switch parts[0] {
	case "internal":
		switch own := strings.Join(parts[:min(2, len(parts))], "/"); own {
		case "internal/tick", "internal/window":
			return under(to, own)
		}
		return under(to, "internal")
	case "functions", "connectors", "template":
		return under(to, "internal") || under(to, strings.Join(parts[:min(2, len(parts))], "/"))
	case "dashboard", "deploy":
		return under(to, "internal") || under(to, parts[0])
	}
	return true
}

// allowedInTests lets tests look across to what they compare with, and to the
// servers they run against.
func allowedInTests(from, to string) bool {
	return allowed(from, to) || under(to, "internal") || under(to, "deploy/local")
}

func TestDependenciesPointDownwardsOnly(t *testing.T) {
	all := packages(t)
	if len(all) < 5 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	for _, p := range all {
		from, ok := ours(p.ImportPath)
		if !ok {
			continue
		}
		for _, imp := range p.Imports {
			if to, ok := ours(imp); ok && !allowed(from, to) {
				t.Errorf("%s imports %s: docs/design.md (The house) lets nothing point that way", from, to)
			}
		}
		for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
			if to, ok := ours(imp); ok && !allowedInTests(from, to) {
				t.Errorf("a test of %s imports %s: docs/design.md (The house) lets nothing point that way", from, to)
			}
		}
	}
}

func TestTheRuleItself(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"internal/tick", "internal/tick/tickpb", true},
		{"internal/tick", "internal/window", false},
		{"internal/window", "internal/window/windowpb", true},
		{"internal/window", "internal/tick", false},
		{"internal/windowsill", "internal/tick", true},
		{"internal/live", "internal/store", true},
		{"internal/live", "functions/process", false},
		{"internal/testbed", "deploy/local/servers", false},
		{"functions/process", "internal/live", true},
		{"functions/process", "functions/persist", false},
		{"connectors/kafka", "connectors/cron", false},
		{"connectors/kafka", "dashboard", false},
		{"dashboard", "dashboard/hub", true},
		{"template/ticktape-go", "template/ticktape-go/function", true},
		{"template/ticktape-go", "template/aws-lambda", false},
		{"deploy/local", "template/ticktape-go", false},
		{"deploy/local", "internal/service", true},
		{"e2e", "deploy/local", true},
	} {
		if got := allowed(c.from, c.to); got != c.want {
			t.Errorf("%s may import %s: %v, want %v", c.from, c.to, got, c.want)
		}
	}
}
