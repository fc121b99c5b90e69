// Package monitoring_test holds alerts and Grafana dashboard to the metrics that
// the programs have: a metric or a label that no code registers is an alert that
// never fires.
package monitoring_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are names with the labels that each may have.
type metrics map[string][]string

// target are the labels that scraping gives every metric (prometheus.yml).
var target = []string{"part", "kind", "instance", "job", "pod"}

// registered reads from the programs' source which metrics they register. What
// client_golang adds by itself is asked of it.
func registered(t *testing.T) metrics {
	t.Helper()
	found := metrics{"up": nil}
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		found[f.GetName()] = []string{"version", "quantile"}
	}
	root := "../.."
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found.read(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var constructor = regexp.MustCompile(`^New(Counter|Gauge|Histogram)(Vec|Func)?$`)

// read adds what a file registers.
func (m metrics) read(file *ast.File) {
	lists := map[string][]string{} // variables that hold label names
	ast.Inspect(file, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == 1 && len(a.Rhs) == 1 {
			if name, ok := a.Lhs[0].(*ast.Ident); ok {
				lists[name.Name] = texts(a.Rhs[0], nil)
			}
		}
		return true
	})
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		fun, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if fun.Sel.Name == "NewDesc" && len(call.Args) > 2 {
			if name := text(call.Args[0]); name != "" {
				m[name] = texts(call.Args[2], lists)
			}
			return true
		}
		kind := constructor.FindStringSubmatch(fun.Sel.Name)
		opts, ok := call.Args[0].(*ast.CompositeLit)
		if kind == nil || !ok {
			return true
		}
		name, labels := "", []string(nil)
		for _, e := range opts.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			switch fmt.Sprint(kv.Key) {
			case "Name":
				name = text(kv.Value)
			case "ConstLabels":
				if c, ok := kv.Value.(*ast.CompositeLit); ok {
					for _, e := range c.Elts {
						labels = append(labels, text(e.(*ast.KeyValueExpr).Key))
					}
				}
			}
		}
		if len(call.Args) > 1 && kind[2] == "Vec" {
			labels = append(labels, texts(call.Args[1], lists)...)
		}
		if kind[1] == "Histogram" {
			m[name+"_bucket"] = append([]string{"le"}, labels...)
			m[name+"_sum"], m[name+"_count"] = labels, labels
			return true
		}
		m[name] = labels
		return true
	})
}

func text(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		s, _ := strconv.Unquote(lit.Value)
		return s
	}
	return ""
}

func texts(e ast.Expr, known map[string][]string) (list []string) {
	switch e := e.(type) {
	case *ast.CompositeLit:
		for _, x := range e.Elts {
			list = append(list, text(x))
		}
	case *ast.Ident:
		return known[e.Name]
	}
	return list
}

var (
	quoted   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	window   = regexp.MustCompile(`\[[^\]]*\]`)
	grouping = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	selector = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\(?)`)
	label    = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)`)
	keywords = []string{"and", "or", "unless", "bool", "offset", "inf", "Inf", "NaN"}
	number   = regexp.MustCompile(`\b\d[\w.+-]*`)
)

// check says what an expression asks for that is not there. It is no parser,
// which promtool has: it looks at names.
func (m metrics) check(expr string) (wrong []string) {
	plain := window.ReplaceAllString(quoted.ReplaceAllString(expr, `""`), "")
	var groups []string
	plain = grouping.ReplaceAllStringFunc(plain, func(g string) string {
		for _, l := range strings.Split(grouping.FindStringSubmatch(g)[2], ",") {
			groups = append(groups, strings.TrimSpace(l))
		}
		return " "
	})
	plain = number.ReplaceAllString(plain, " ")
	var labels []string // of all metrics of the expression
	for _, s := range selector.FindAllStringSubmatch(plain, -1) {
		name, rest := s[1], s[2]
		if rest == "(" || slices.Contains(keywords, name) {
			continue
		}
		has, ok := m[name]
		if !ok {
			wrong = append(wrong, "no metric "+name)
			continue
		}
		has = slices.Concat(has, target)
		labels = append(labels, has...)
		for _, l := range label.FindAllStringSubmatch(rest, -1) {
			if !slices.Contains(has, l[1]) {
				wrong = append(wrong, fmt.Sprintf("%s has no label %s", name, l[1]))
			}
		}
	}
	for _, g := range groups {
		if !slices.Contains(labels, g) {
			wrong = append(wrong, "nothing here has the label "+g)
		}
	}
	return wrong
}

// rule is one of rules.yml, as far as a look at its lines tells; promtool reads
// the file as YAML.
type rule struct{ record, alert, expr, severity, summary, description, runbook string }

func rules(t *testing.T) (list []rule) {
	t.Helper()
	b, err := os.ReadFile("rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`^(\s*)(?:- )?(record|alert|expr|labels|summary|description|runbook): ?(.*)$`)
	block := false
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		f := field.FindStringSubmatch(line)
		if f == nil {
			if block && strings.HasPrefix(line, "          ") {
				list[len(list)-1].expr += " " + strings.TrimSpace(line)
				continue
			}
			block = false
			continue
		}
		block = false
		value := strings.Trim(f[3], `"`)
		if f[2] == "record" || f[2] == "alert" {
			list = append(list, rule{})
		}
		r := &list[len(list)-1]
		switch f[2] {
		case "record":
			r.record = value
		case "alert":
			r.alert = value
		case "expr":
			if block = strings.HasPrefix(value, "|"); !block {
				r.expr = value
			}
		case "labels":
			r.severity = strings.TrimSuffix(strings.TrimPrefix(value, "{severity: "), "}")
		case "summary":
			r.summary = value
		case "description":
			r.description = value
		case "runbook":
			r.runbook = value
		}
	}
	return list
}

func TestRulesAskForWhatTheProgramsTell(t *testing.T) {
	known := registered(t)
	list := rules(t)
	for _, r := range list {
		if r.record != "" {
			known[r.record] = []string{"function", "group", "topic"}
		}
	}
	tested, err := os.ReadFile("rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	headings := headings(t, "../../docs/deploy.md")
	for _, r := range list {
		name := r.record + r.alert
		if r.expr == "" {
			t.Errorf("%s: no expression was read", name)
		}
		for _, w := range known.check(r.expr) {
			t.Errorf("%s: %s", name, w)
		}
		if r.alert == "" {
			continue
		}
		if !slices.Contains([]string{"critical", "warning"}, r.severity) || r.summary == "" || r.description == "" {
			t.Errorf("%s: severity %q, summary %q, description %q", name, r.severity, r.summary, r.description)
		}
		if at, ok := strings.CutPrefix(r.runbook, "docs/deploy.md#"); !ok || !slices.Contains(headings, at) {
			t.Errorf("%s: the runbook %q is no heading of docs/deploy.md", name, r.runbook)
		}
		if !regexp.MustCompile(`alertname: ` + r.alert + `\n +exp_alerts:\n +- exp_labels:`).Match(tested) {
			t.Errorf("%s: rules_test.yml does not show it firing", name)
		}
	}
	if len(list) < 30 {
		t.Errorf("%d rules were read", len(list))
	}
}

// headings are the anchors of a Markdown file, as GitHub makes them.
func headings(t *testing.T, file string) (list []string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(b), -1) {
		anchor := regexp.MustCompile(`[^\p{L}\p{N} -]`).ReplaceAllString(strings.ToLower(h[1]), "")
		list = append(list, strings.ReplaceAll(anchor, " ", "-"))
	}
	return list
}

func TestNamesThatAreNotThereAreFound(t *testing.T) {
	known := metrics{"up": nil, "lag": {"group"}, "calls_bucket": {"le", "code"}}
	for expr, want := range map[string][]string{
		`sum by (group) (rate(lag{group=~"a|b"}[5m])) > 1e9`:                              nil,
		`histogram_quantile(0.99, sum by (le) (rate(calls_bucket{code!~"2.."}[5m])))`:     nil,
		`absent(up{part="x"}) or lag unless on (group) lag == 0`:                          nil,
		`sum by (group) (rate(lags[5m]))`:                                                 {"no metric lags", "nothing here has the label group"},
		`lag{state="open"} > 0`:                                                           {"lag has no label state"},
		`sum by (topic) (lag)`:                                                            {"nothing here has the label topic"},
		`max_over_time(lag{group="nothing {here} is = a label"}[5m]) and calls_count > 1`: {"no metric calls_count"},
	} {
		if got := known.check(expr); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// board is what Grafana reads, as far as it is checked here.
type board struct {
	UID           string
	SchemaVersion int
	Templating    struct{ List []struct{ Name, Type string } }
	Panels        []panel
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Datasource  *struct{ UID string }
	Targets     []struct{ RefID, Expr string }
}

func dashboard(t *testing.T) (d board) {
	t.Helper()
	b, err := os.ReadFile("grafana/ticktape.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheGrafanaDashboardIsWhole(t *testing.T) {
	known, d := registered(t), dashboard(t)
	const columns = 24
	if d.UID == "" || d.SchemaVersion < 36 || len(d.Templating.List) != 1 || d.Templating.List[0].Name != "datasource" || d.Templating.List[0].Type != "datasource" {
		t.Errorf("uid %q, schema version %d, variables %v", d.UID, d.SchemaVersion, d.Templating.List)
	}
	ids := map[int]string{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if other, again := ids[p.ID]; again || p.ID <= 0 || p.Title == "" {
			t.Errorf("panel %q has the id %d, as has %q", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X < 0 || g.X+g.W > columns {
			t.Errorf("panel %q stands outside: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, is := taken[[2]int{x, y}]; is {
					t.Fatalf("panel %q stands on %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q: datasource %v, %d targets", p.Title, p.Datasource, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if q.RefID == "" || refs[q.RefID] {
				t.Errorf("panel %q: the reference %q is not its own", p.Title, q.RefID)
			}
			refs[q.RefID] = true
			for _, w := range known.check(q.Expr) {
				t.Errorf("panel %q: %s", p.Title, w)
			}
		}
	}
}

// TestPromtool is what make test-monitoring runs: Prometheus' own tool reads the
// rules and the dashboard's expressions, and tries each alert.
func TestPromtool(t *testing.T) {
	promtool := os.Getenv("PROMTOOL")
	if promtool == "" {
		t.Skip("make test-monitoring runs this: it needs promtool, of the Debian package prometheus")
	}
	run := func(args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("%s", out)
	}
	run("check", "rules", "rules.yml")
	run("test", "rules", "rules_test.yml")
	for _, file := range []string{"prometheus-local.yml", "prometheus-compose.yml"} {
		run("check", "config", file)
	}
	var text strings.Builder
	text.WriteString("groups:\n  - name: panels\n    rules:\n")
	n := 0
	for _, p := range dashboard(t).Panels {
		for _, q := range p.Targets {
			expr := strings.ReplaceAll(q.Expr, "$__rate_interval", "1m")
			n++
			fmt.Fprintf(&text, "      - {record: panel_%d_%s, expr: %q}\n", p.ID, q.RefID, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "panels.yml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d expressions of the dashboard", n)
	run("check", "rules", file)
}

func TestEveryMetricOfTheProgramsIsRead(t *testing.T) {
	found := registered(t)
	for _, want := range []string{"kafka_connector_lag_records", "kafka_connector_call_seconds_bucket", "dashboard_market_open", "ticktape_ready", "process_records_total", "http_requests_total", "yahoo_circuit_state", "go_goroutines"} {
		if _, ok := found[want]; !ok {
			t.Errorf("%s is not found in the source; found are %v", want, slices.Sorted(maps.Keys(found)))
		}
	}
	if got := found["kafka_connector_lag_records"]; !slices.Equal(got, []string{"function", "group", "topic", "partition"}) {
		t.Errorf("the labels of kafka_connector_lag_records are %v", got)
	}
}
