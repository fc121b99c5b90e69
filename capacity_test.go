package ticktape_test

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// cells returns the cells of the Markdown tables' rows that begin with a text,
// without what only decorates them.
func cells(t *testing.T, page, first string) []string {
	t.Helper()
	for line := range strings.Lines(page) {
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range row {
			row[i] = strings.TrimSpace(strings.ReplaceAll(row[i], "*", ""))
		}
		if len(row) > 1 && row[0] == first {
			return row[1:]
		}
	}
	t.Fatalf("docs/capacity.md has no row %q", first)
	return nil
}

// value reads the number that a cell begins with: "1.86 (replicated: × 3)" is 1.86.
func value(t *testing.T, cell string) float64 {
	t.Helper()
	text := regexp.MustCompile(`^[\d.,]+`).FindString(cell)
	v, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", ""), 64)
	if err != nil {
		t.Fatalf("docs/capacity.md has %q where a number should be", cell)
	}
	return v
}

// TestCapacityIsWhatItsFormulasSay does the sums of docs/capacity.md again: from
// the costs and assumptions in its own tables to the machines in the last one.
func TestCapacityIsWhatItsFormulasSay(t *testing.T) {
	b, err := os.ReadFile("docs/capacity.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	of := func(row string) float64 { return value(t, cells(t, page, row)[0]) }

	rf, busy := of("n"), of("u")/100
	perMillion := rf*of("Cassandra") + rf*of("Kafka") + of("process") + of("persist") + of("Kafka connector") + of("gateway")
	day, ttl, retention := of("h")*3600, of("d"), of("k")
	rates := []float64{1e6, 10e6, 100e6}
	threes := func(x float64) float64 { return math.Max(3, math.Ceil(x/3)*3) }
	with := map[string]func(r float64) float64{
		"CPU seconds a second":        func(r float64) float64 { return r / 1e6 * perMillion },
		"cores, all together":         func(r float64) float64 { return math.Ceil(r / 1e6 * perMillion / busy) },
		"partitions of ticks":         func(r float64) float64 { return math.Max(12, math.Ceil(r/of("p")/12)*12) },
		"Cassandra: cores":            func(r float64) float64 { return math.Ceil(r / 1e6 * rf * of("Cassandra") / busy) },
		"Cassandra: history, TB":      func(r float64) float64 { return r * day * ttl * of("c") * rf / 1e12 },
		"Cassandra: nodes for CPU":    func(r float64) float64 { return threes(r / 1e6 * rf * of("Cassandra") / busy / of("v")) },
		"Cassandra: nodes for disk":   func(r float64) float64 { return threes(r * day * ttl * of("c") * rf / 1e12 / of("D")) },
		"Kafka: cores":                func(r float64) float64 { return math.Ceil(r / 1e6 * rf * of("Kafka") / busy) },
		"Kafka: log, TB":              func(r float64) float64 { return r * day * retention * of("b") * rf / 1e12 },
		"Kafka: out of brokers, MB/s": func(r float64) float64 { return r * of("b") * (rf - 1 + 2) / 1e6 },
		"process: cores":              func(r float64) float64 { return math.Ceil(r / 1e6 * of("process") / busy) },
		"persist: cores":              func(r float64) float64 { return math.Ceil(r / 1e6 * of("persist") / busy) },
		"Kafka connector: cores":      func(r float64) float64 { return math.Ceil(r / 1e6 * of("Kafka connector") / busy) },
		"through the gateway, MB/s":   func(r float64) float64 { return 2 * r * of("w") / 1e6 },
		"persist: cores each of five": func(r float64) float64 { return math.Ceil(r / 1e6 * of("persist") / busy / 5) },
		"Cassandra: written, MB/s":    func(r float64) float64 { return r * of("c") * rf / 1e6 },
		"ticks a day, billions":       func(r float64) float64 { return r * day / 1e9 },
	}
	for row, f := range with {
		for i, cell := range cells(t, page, row)[:len(rates)] {
			got, want := value(t, cell), f(rates[i])
			// The page rounds to three digits.
			if rounded, _ := strconv.ParseFloat(fmt.Sprintf("%.3g", want), 64); math.Abs(got-rounded) > rounded*0.0001 && got != want {
				t.Errorf("%s at %.0f ticks/s: the page has %v, its formulas %v", row, rates[i], got, want)
			}
		}
	}
}
