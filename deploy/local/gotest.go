package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// goTestEvent is a line of `go test -json` (go doc cmd/test2json).
type goTestEvent struct {
	Action     string
	Package    string
	ImportPath string // of a build
	Test       string
	Output     string
}

// goTestLines turns the events of `go test -json` into the lines that go test
// would print without it, a package's as soon as it is done rather than in the
// packages' order, with the reasons of skipped tests.
type goTestLines struct {
	out io.Writer

	mu       sync.Mutex
	packages map[string]*goTestPackage
}

type goTestPackage struct {
	begun  time.Time
	output map[string][]string // by test, "" for what belongs to none
	order  []string            // of tests that failed or were skipped, as they ended
}

func newGoTestLines(out io.Writer) *goTestLines {
	return &goTestLines{out: out, packages: map[string]*goTestPackage{}}
}

// read goes on until the events end. A line that is no event is passed on as it is.
func (g *goTestLines) read(events io.Reader) {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e goTestEvent
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprint(g.out, string(line))
			} else {
				g.event(e)
			}
		}
		if err != nil {
			return
		}
	}
}

func (g *goTestLines) event(e goTestEvent) {
	if e.Action == "build-output" {
		fmt.Fprint(g.out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.packages[e.Package]
	if p == nil {
		p = &goTestPackage{begun: time.Now(), output: map[string][]string{}}
		g.packages[e.Package] = p
	}
	switch {
	case e.Action == "output":
		p.output[e.Test] = append(p.output[e.Test], e.Output)
	case e.Test != "":
		switch e.Action {
		case "pass":
			delete(p.output, e.Test)
		case "fail", "skip":
			p.order = append(p.order, e.Test)
		}
	case e.Action == "pass", e.Action == "fail", e.Action == "skip":
		g.end(p, e.Action == "fail")
		delete(g.packages, e.Package)
	}
}

// end prints what there is to say of a package that is done.
func (g *goTestLines) end(p *goTestPackage, failed bool) {
	for _, test := range p.order {
		g.print(p.output[test], "=== ")
		delete(p.output, test)
	}
	own := p.output[""]
	delete(p.output, "")
	if failed {
		// A panic or a time-out leaves tests without an end; they tell what happened.
		for _, test := range slices.Sorted(maps.Keys(p.output)) {
			g.print(p.output[test])
		}
	}
	// Without -v go test says neither of these of a package.
	g.print(own, "PASS\n", "testing: warning: no tests to run")
}

func (g *goTestLines) print(lines []string, but ...string) {
	for _, line := range lines {
		if !slices.ContainsFunc(but, func(prefix string) bool { return strings.HasPrefix(line, prefix) }) {
			fmt.Fprint(g.out, line)
		}
	}
}

// underWay names the packages that are being tested.
func (g *goTestLines) underWay() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []string
	for _, name := range slices.Sorted(maps.Keys(g.packages)) {
		all = append(all, fmt.Sprintf("%s (%.0f s)", strings.TrimPrefix(name, "ticktape/"), time.Since(g.packages[name].begun).Seconds()))
	}
	if len(all) == 0 {
		return "compiling"
	}
	return strings.Join(all, ", ")
}

// goTest runs go test with the arguments. Its error says only that it failed:
// the reasons have been printed.
func (s *shower) goTest(ctx context.Context, env []string, dir string, args ...string) error {
	r, w := io.Pipe()
	lines := newGoTestLines(s.out)
	s.what = lines.underWay
	defer func() { s.what = nil }()
	var reading sync.WaitGroup
	reading.Go(func() { lines.read(r) })
	err := s.run(ctx, w, env, dir, "go", append([]string{"test", "-json"}, args...)...)
	w.Close()
	reading.Wait()
	return err
}
