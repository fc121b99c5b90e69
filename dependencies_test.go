package ticktape_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// modules returns the modules that the code of this one imports.
func modules(t *testing.T) []string {
	t.Helper()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var required []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v`).FindAllSubmatch(mod, -1) {
		required = append(required, string(m[1]))
	}
	used := map[string]bool{}
	for _, p := range packages(t) {
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			module := ""
			for _, m := range required {
				if under(imp, m) && len(m) > len(module) {
					module = m
				}
			}
			if module != "" {
				used[module] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(used))
}

func npmPackages(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("dashboard/web/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var page struct{ Dependencies, DevDependencies map[string]string }
	if err := json.Unmarshal(b, &page); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for name := range page.Dependencies {
		all[name] = true
	}
	for name := range page.DevDependencies {
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// explained returns the names in the first column of the tables below the
// headings that start so.
func explained(t *testing.T, heading string) []string {
	t.Helper()
	b, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	inside := false
	for line := range strings.Lines(string(b)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			inside = strings.HasPrefix(title, heading)
		}
		if cells := strings.Split(line, "|"); inside && len(cells) > 3 {
			for name := range strings.SplitSeq(cells[1], ",") {
				names[strings.TrimSpace(name)] = true
			}
		}
	}
	for _, of := range []string{"module", "package", "---"} { // the heads of the tables
		delete(names, of)
	}
	return slices.Sorted(maps.Keys(names))
}

func TestEachDependencyIsExplained(t *testing.T) {
	for _, c := range []struct {
		heading string
		used    []string
	}{
		{"Go modules", modules(t)},
		{"The page", npmPackages(t)},
	} {
		told := explained(t, c.heading)
		for _, name := range c.used {
			if !slices.Contains(told, name) {
				t.Errorf("%s is used: docs/dependencies.md (%s) has to say why it is there and what it replaces", name, c.heading)
			}
		}
		for _, name := range told {
			if !slices.Contains(c.used, name) {
				t.Errorf("%s is in docs/dependencies.md (%s) and used by nothing", name, c.heading)
			}
		}
	}
}
