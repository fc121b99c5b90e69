package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ticktape/deploy/local/servers"
	"ticktape/internal/tick"
)

// results are what was measured so far.
type results struct {
	order      []capacity // in which they were first measured
	capacities map[capacity][]result
	streams    []told[paced, *pacedResult]
	ingestion  []told[fmt.Stringer, *ingested]
	queries    []told[queried, *queryResult]
	audiences  []told[audience, *audienceResult]
	failures   []told[string, error]
}

// told is a measurement and what it came to.
type told[M, R any] struct {
	what M
	came R
}

func (rs *results) capacity(c capacity, r result) {
	if rs.capacities == nil {
		rs.capacities = map[capacity][]result{}
	}
	if rs.capacities[c] == nil {
		rs.order = append(rs.order, c)
	}
	rs.capacities[c] = append(rs.capacities[c], r)
}

// median is the run with the middle rate, with the lowest and highest.
func (rs *results) median(c capacity) (m result, low, high float64, ok bool) {
	runs := slices.Clone(rs.capacities[c])
	if len(runs) == 0 {
		return m, 0, 0, false
	}
	slices.SortFunc(runs, func(a, b result) int { return cmp.Compare(a.rate(), b.rate()) })
	// Of an even number, the worse of the two in the middle.
	return runs[(len(runs)-1)/2], runs[0].rate(), runs[len(runs)-1].rate(), true
}

// write prints all tables, as Markdown.
func (rs *results) write(out io.Writer) {
	rs.writeCapacities(out)
	rs.writeStreams(out)
	rs.writeIngestion(out)
	rs.writeQueries(out)
	rs.writeAudiences(out)
	rs.writeTargets(out)
	if len(rs.failures) > 0 {
		fmt.Fprintf(out, "\n## FAILED\n\n")
		for _, f := range rs.failures {
			fmt.Fprintf(out, "- %s: %v\n", f.what, oneLine(f.came))
		}
	}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func (rs *results) writeCapacities(out io.Writer) {
	if len(rs.order) == 0 {
		return
	}
	speed := [][]string{{"a backlog", "bytes a tick", "ticks/s", "lowest to highest (runs)", "from the connector's start", "published at", "CPU s per million"}}
	var cost, memory breakdown
	for _, c := range rs.order {
		m, low, high, _ := rs.median(c)
		speed = append(speed, []string{
			c.String(), fmt.Sprintf("%.0f", m.bytes), "**" + thousands(m.rate()) + "**",
			fmt.Sprintf("%s to %s (%d)", thousands(low), thousands(high), len(rs.capacities[c])),
			thousands(float64(c.ticks) / m.whole.Seconds()), thousands(float64(c.ticks) / m.published.Seconds()), fmt.Sprintf("**%.2f**", m.cpu.together()),
		})
		cost.add(c.String(), m.cpu, 1, "%.2f")
		memory.add(c.String(), m.peak, 1<<20, "%.0f")
	}
	fmt.Fprintf(out, "\n## Capacity: a backlog becomes windows and history\n\nEach result verified exact. Rates are from the first commit seen to the last.\n\n")
	markdown(out, speed)
	cost.write(out, "CPU seconds per million ticks", true)
	memory.write(out, "Most memory, MiB", false)
}

func (rs *results) writeStreams(out io.Writer) {
	if len(rs.streams) == 0 {
		return
	}
	rows := [][]string{{"a stream", "lag", "records behind: at first, at last, most", "trade → Kafka p50/p95/p99/max", "→ window in Cassandra", "→ dashboard's client"}}
	var cost, memory breakdown
	for _, t := range rs.streams {
		r := t.came
		lag := "bounded"
		if !r.bounded(t.what.rate) {
			lag = fmt.Sprintf("**NOT bounded**, published at %s, %s after the last tick", thousands(float64(r.ticks)/r.published.Seconds()), r.drained.Round(10*time.Millisecond))
		}
		first, last := r.trend()
		rows = append(rows, []string{
			t.what.String(), lag, fmt.Sprintf("%s, %s, %s", thousands(first), thousands(last), thousands(slices.Max(append(r.lag, 0)))),
			quantiles(r.kafka), quantiles(r.window), quantiles(r.browser),
		})
		cost.add(t.what.String(), r.cpu, 1, "%.2f")
		memory.add(t.what.String(), r.peak, 1<<20, "%.0f")
	}
	fmt.Fprintf(out, "\n## Latency: a stream at a rate\n\nMilliseconds from the moment that a trade was due, of every trade. Each result verified exact, and every trade seen by the client.\n\n")
	markdown(out, rows)
	cost.write(out, "CPUs in use", true)
	memory.write(out, "Most memory, MiB", false)
}

func quantiles(d *delays) string {
	return fmt.Sprintf("%d / %d / %d / %d", d.at(0.5).Milliseconds(), d.at(0.95).Milliseconds(), d.at(0.99).Milliseconds(), d.at(1).Milliseconds())
}

func (rs *results) writeIngestion(out io.Writer) {
	if len(rs.ingestion) == 0 {
		return
	}
	rows := [][]string{{"a way into Kafka", "ticks/s", "", "CPU s per million"}}
	var cost breakdown
	for _, t := range rs.ingestion {
		rows = append(rows, []string{t.what.String(), "**" + thousands(t.came.rate()) + "**", t.came.note, fmt.Sprintf("%.2f", t.came.cpu.together())})
		cost.add(t.what.String(), t.came.cpu, 1, "%.2f")
	}
	fmt.Fprintf(out, "\n## Ingestion: ticks into Kafka\n\nVerified: every tick is in the topic once, in its symbol's order.\n\n")
	markdown(out, rows)
	cost.write(out, "CPU seconds per million ticks", true)
}

func (rs *results) writeQueries(out io.Writer) {
	for _, t := range rs.queries {
		rows := [][]string{{"what is asked", "answers/s", "p50", "p90", "p99", "max"}}
		ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
		for _, a := range t.came.answers {
			rows = append(rows, []string{a.what, "**" + thousands(a.perSecond) + "**", ms(a.p50), ms(a.p90), ms(a.p99), ms(a.most)})
		}
		fmt.Fprintf(out, "\n## Queries: %s\n\nNo answer failed. Meanwhile a trade took to its window in Cassandra (p50/p95/p99/max): %s ms.\n\n", t.what, quantiles(t.came.window))
		markdown(out, rows)
		var cost, memory breakdown
		cost.add("", t.came.cpu, 1, "%.2f")
		cost.write(out, "CPUs in use", true)
		memory.add("", t.came.peak, 1<<20, "%.0f")
		memory.write(out, "Most memory, MiB", false)
	}
}

func (rs *results) writeAudiences(out io.Writer) {
	if len(rs.audiences) == 0 {
		return
	}
	rows := [][]string{{"clients", "trade → client p50/p95/p99/max, ms", "memory a client", "bytes/s a client", "dashboard's CPUs", "connected in"}}
	for _, t := range rs.audiences {
		r := t.came
		rows = append(rows, []string{
			t.what.String(), quantiles(r.delays), fmt.Sprintf("%.1f KiB", r.memory/1024), thousands(r.bytes), fmt.Sprintf("%.2f", r.cpu["dashboard"]), r.connected.Round(100 * time.Millisecond).String(),
		})
	}
	fmt.Fprintf(out, "\n## The dashboard's clients\n\nAll on one process. One in %d reads what it gets, so that it can be timed, and has seen every trade; no connection broke.\n\n", readEvery)
	markdown(out, rows)
}

// breakdown is a table with a column for each process.
type breakdown struct {
	rows  []string
	cells []map[string]string
	sums  []string
}

func (b *breakdown) add(row string, values any, unit float64, format string) {
	cells, sum := map[string]string{}, 0.0
	each := func(name string, v float64) {
		cells[name] = fmt.Sprintf(format, v/unit)
		sum += v / unit
	}
	switch v := values.(type) {
	case costs:
		for name, x := range v {
			each(name, x)
		}
	case peaks:
		for name, x := range v {
			each(name, float64(x))
		}
	}
	b.rows, b.cells, b.sums = append(b.rows, row), append(b.cells, cells), append(b.sums, fmt.Sprintf(format, sum))
}

func (b *breakdown) write(out io.Writer, title string, together bool) {
	names := map[string]bool{}
	for _, cells := range b.cells {
		for name := range cells {
			names[name] = true
		}
	}
	columns := slices.Sorted(maps.Keys(names))
	head := append([]string{title}, columns...)
	if together {
		head = append(head, "together")
	}
	rows := [][]string{head}
	for i, row := range b.rows {
		line := []string{row}
		for _, name := range columns {
			line = append(line, cmp.Or(b.cells[i][name], "–"))
		}
		if together {
			line = append(line, "**"+b.sums[i]+"**")
		}
		rows = append(rows, line)
	}
	fmt.Fprintln(out)
	markdown(out, rows)
}

// markdown prints a table whose first row is its head, with columns that line up.
func markdown(out io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(out, "| %s%s ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(out, "|")
		if n == 0 {
			for _, w := range widths {
				fmt.Fprintf(out, "|%s", strings.Repeat("-", w+2))
			}
			fmt.Fprintln(out, "|")
		}
	}
}

// thousands writes a number as people read it: 1,234,567.
func thousands[N int | int64 | float64](n N) string {
	digits := fmt.Sprintf("%.0f", float64(n))
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// inSeconds writes a duration that people gave: 60 s.
func inSeconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }

func encodingName(e tick.Encoding) string {
	if e == tick.JSON {
		return "json"
	}
	return "protobuf"
}

// machine says on what was measured, in a few lines of Markdown.
func machine(ctx context.Context, command string) string {
	grep := func(path, key string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			return "unknown"
		}
		for line := range bytes.Lines(text) {
			if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == key {
				return strings.TrimSpace(value)
			}
			if name, value, ok := strings.Cut(string(line), "="); ok && name == key {
				return strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
		return "unknown"
	}
	said := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(strings.SplitN(string(out), "\n", 2)[0])
	}
	memory := "unknown"
	if kib, err := strconv.ParseInt(strings.TrimSuffix(grep("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
	}
	java := "unknown"
	if program, err := servers.Java(ctx); err == nil {
		java = strings.ReplaceAll(said(program, "-version"), `"`, "")
	}
	return fmt.Sprintf("`%s`, %s, commit %s.\n%d CPUs (%s), memory %s, %s, %s, %s; Kafka %s and Cassandra %s, with all else on the same machine.\n",
		command, time.Now().Format("2006-01-02 15:04"), said("git", "rev-parse", "--short=10", "HEAD"),
		runtime.NumCPU(), grep("/proc/cpuinfo", "model name"), memory, grep("/etc/os-release", "PRETTY_NAME"), runtime.Version(), java,
		servers.KafkaVersion, servers.CassandraVersion)
}
