package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ticktape/internal/tick"
)

// standard is the job that the targets speak of.
func standard(history bool, encoding tick.Encoding) capacity {
	return capacity{history: history, encoding: encoding, partitions: 4, symbols: 500, ticks: standardTicks}
}

const standardTicks = 5_000_000

// target is a figure that Ticktape is held to.
type target struct {
	what, want, got string
	met             bool
}

// writeTargets prints those targets that what was measured says something of.
func (rs *results) writeTargets(out io.Writer) {
	targets := slices.Concat(rs.capacityTargets(), rs.latencyTargets(), rs.otherTargets())
	if len(targets) == 0 {
		return
	}
	rows := [][]string{{"target", "wanted", "measured", "met"}}
	missed := 0
	for _, t := range targets {
		met := "yes"
		if !t.met {
			met = "**NO**"
			missed++
		}
		rows = append(rows, []string{t.what, t.want, t.got, met})
	}
	fmt.Fprintf(out, "\n## Targets\n\n")
	markdown(out, rows)
	if missed > 0 {
		fmt.Fprintf(out, "\n%d of %d are missed.\n", missed, len(targets))
	}
}

func atLeast(what string, want, got float64, format func(float64) string) target {
	return target{what, "≥ " + format(want), format(got), got >= want}
}

func atMost(what string, want, got float64, format func(float64) string) target {
	return target{what, "≤ " + format(want), format(got), got <= want}
}

func decimals(unit string) func(float64) string {
	return func(x float64) string { return fmt.Sprintf("%.2f%s", x, unit) }
}

func perSecond(x float64) string { return thousands(x) + " ticks/s" }

func milliseconds(x float64) string { return fmt.Sprintf("%.0f ms", x) }

func (rs *results) capacityTargets() (targets []target) {
	for _, w := range []struct {
		name    string
		history bool
		rates   map[tick.Encoding]float64
	}{
		{"windows alone", false, map[tick.Encoding]float64{tick.Protobuf: 700_000, tick.JSON: 350_000}},
		{"windows and history", true, map[tick.Encoding]float64{tick.Protobuf: 400_000, tick.JSON: 250_000}},
	} {
		medians := map[tick.Encoding]float64{}
		for _, e := range []tick.Encoding{tick.Protobuf, tick.JSON} {
			if m, _, _, ok := rs.median(standard(w.history, e)); ok {
				medians[e] = m.rate()
				targets = append(targets, atLeast(w.name+", "+encodingName(e), w.rates[e], m.rate(), perSecond))
			}
		}
		if len(medians) == 2 {
			targets = append(targets, atLeast("Protobuf against JSON, "+w.name, 1.3, medians[tick.Protobuf]/medians[tick.JSON], decimals(" ×")))
		}
	}
	base := standard(true, tick.Protobuf)
	m, _, _, ok := rs.median(base)
	if !ok {
		return targets
	}
	targets = append(targets, atMost("CPU of all processes, windows and history, Protobuf", 5, m.cpu.together(), decimals(" s per million")))
	many := base
	many.symbols = 10_000
	if n, _, _, ok := rs.median(many); ok {
		targets = append(targets,
			atMost("cost of a tick with 10,000 symbols against 500, in CPU", 2, n.cpu.together()/m.cpu.together(), decimals(" ×")),
			atMost("cost of a tick with 10,000 symbols against 500, in time", 2, m.rate()/n.rate(), decimals(" ×")))
	}
	short, long := base, base
	short.ticks, long.ticks = shorter*base.ticks, longer*base.ticks
	m, _, _, ok = rs.median(short)
	if n, _, _, found := rs.median(long); ok && found {
		ratio := n.took.Seconds() / float64(n.ticks) * float64(long.ticks) / (m.took.Seconds() / float64(m.ticks) * float64(short.ticks))
		targets = append(targets, target{"time for 4 × the backlog", "3.60 to 4.40 ×", fmt.Sprintf("%.2f ×", ratio), ratio >= 3.6 && ratio <= 4.4})
	}
	return targets
}

func (rs *results) latencyTargets() (targets []target) {
	for _, t := range rs.streams {
		name := fmt.Sprintf("%s ticks/s: trade → browser p99", thousands(t.what.rate))
		p99 := float64(t.came.browser.at(0.99).Milliseconds())
		switch t.what.rate {
		case 1:
			targets = append(targets, atMost(name, 150, p99, milliseconds))
		case 20_000:
			targets = append(targets, atMost(name, 250, p99, milliseconds))
		case 200_000:
			bounded := target{"200,000 ticks/s: lag", "bounded for " + inSeconds(time.Minute), "bounded for " + inSeconds(t.what.duration), t.came.bounded(t.what.rate) && t.what.duration >= time.Minute}
			if !t.came.bounded(t.what.rate) {
				bounded.got = "grows"
			}
			targets = append(targets, bounded, atMost(name, 1000, p99, milliseconds))
		}
	}
	return targets
}

// otherTargets are those of memory, ingestion and the dashboard.
func (rs *results) otherTargets() (targets []target) {
	most, who := int64(0), ""
	look := func(p peaks) {
		for name, bytes := range p {
			if (strings.HasPrefix(name, "function ") || strings.HasSuffix(name, " connector")) && bytes > most {
				most, who = bytes, name
			}
		}
	}
	for _, runs := range rs.capacities {
		for _, r := range runs {
			look(r.peak)
		}
	}
	for _, t := range rs.streams {
		look(t.came.peak)
	}
	for _, t := range rs.queries {
		look(t.came.peak)
	}
	if who != "" {
		targets = append(targets, atMost("most memory of a function or connector ("+who+")", 256, float64(most)/(1<<20), func(x float64) string { return fmt.Sprintf("%.0f MiB", x) }))
	}
	for _, t := range rs.ingestion {
		if _, ok := t.what.(replayed); ok {
			targets = append(targets, atLeast("ingestion, "+t.what.String(), 500_000, t.came.rate(), perSecond))
		}
	}
	return targets
}
