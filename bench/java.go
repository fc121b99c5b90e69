package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"ticktape/deploy/local/servers"
)

// java watches a Java server: Java Flight Recorder samples its methods, which
// needs jcmd and jfr of a JDK, and /proc tells what each kind of its threads
// takes, the compiler's and the garbage collector's included, which no sample shows.
type java struct {
	pid    int
	tools  string // folder of jcmd and jfr; empty where there are none
	before map[string]thread
	took   map[string]float64 // CPU seconds by kind of thread
}

// recording is that of a measurement. The one before it, which starts with the first
// backlog that warms up, goes on and is not kept: a first recording changes classes
// of Java's own, so that what uses them is compiled anew, which must be over by then.
const recording, recordingBefore = "bench", "before"

// recordJava starts recordings. Where Java came without tools only threads are
// watched.
func recordJava(ctx context.Context, pids map[string]int, name string, options ...string) (map[string]*java, error) {
	tools, err := javaTools(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]*java{}
	for server, pid := range pids {
		j := &java{pid: pid, tools: tools}
		all[server] = j
		if err := j.control(ctx, append([]string{"JFR.start", "name=" + name, "settings=profile"}, options...)...); err != nil {
			return nil, fmt.Errorf("record %s: %w", server, err)
		}
	}
	return all, nil
}

// javaTools finds the tools beside the java that runs the servers.
func javaTools(ctx context.Context) (string, error) {
	program, err := servers.Java(ctx)
	if err != nil {
		return "", err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return "", err
	}
	dir := filepath.Dir(program)
	for _, tool := range []string{"jcmd", "jfr"} {
		if _, err := os.Stat(filepath.Join(dir, tool)); errors.Is(err, os.ErrNotExist) {
			return "", nil
		} else if err != nil {
			return "", err
		}
	}
	return dir, nil
}

func (j *java) control(ctx context.Context, command ...string) error {
	if j.tools == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, filepath.Join(j.tools, "jcmd"), append([]string{fmt.Sprint(j.pid)}, command...)...).CombinedOutput()
	// jcmd says what went wrong and still ends with 0.
	if err != nil || bytes.Contains(out, []byte("Could not")) || bytes.Contains(out, []byte("Exception")) {
		return fmt.Errorf("jcmd %s: %w: %s", command[0], cmp.Or(err, errors.New("refused")), bytes.TrimSpace(out))
	}
	return nil
}

func (j *java) begin() (err error) {
	j.before, err = threads(j.pid)
	return err
}

func (j *java) end(ctx context.Context, path string) error {
	after, err := threads(j.pid)
	if err != nil {
		return err
	}
	j.took = map[string]float64{}
	for id, t := range after {
		j.took[t.kind] += t.cpu - j.before[id].cpu
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	return j.control(ctx, "JFR.stop", "name="+recording, "filename="+absolute)
}

// thread is what one thread is for, and the CPU seconds that it has taken.
type thread struct {
	kind string
	cpu  float64
}

// shared are the names of threads of one pool, each named after what it did last.
var shared = []string{"Native-Transpor", "ReadStage", "MutationStage", "CounterMutation", "RequestResponse"}

// threads lists those of a process by their numbers. Their kinds are their names,
// which Linux cuts at 15 letters, without the number at the end.
func threads(pid int) (map[string]thread, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	all := map[string]thread{}
	for _, t := range tasks {
		name, err := os.ReadFile(filepath.Join(dir, t.Name(), "comm"))
		if err != nil {
			continue // it has just ended
		}
		u, err := cpuOf(filepath.Join(dir, t.Name(), "stat"))
		if err != nil {
			continue
		}
		kind := strings.TrimRight(strings.TrimSpace(string(name)), "0123456789 -#:")
		if slices.Contains(shared, kind) {
			kind = "requests, reads and writes"
		}
		all[t.Name()] = thread{kind, u}
	}
	return all, nil
}

func (j *java) report(ctx context.Context, out io.Writer, name, path string) error {
	sum := 0.0
	for _, cpu := range j.took {
		sum += cpu
	}
	fmt.Fprintf(out, "\n## %s: CPU seconds of its threads, %.2f in all\n\n", name, sum)
	top(out, j.took, sum, "%8.2f s")
	if j.tools == "" {
		fmt.Fprintf(out, "\nIts methods are not told: jcmd and jfr are not beside java. A JDK has them (apt-get install openjdk-17-jdk-headless).\n")
		return nil
	}
	cmd := exec.CommandContext(ctx, filepath.Join(j.tools, "jfr"), "print", "--events", "jdk.ExecutionSample", "--stack-depth", "64", path)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m, err := readSamples(pipe)
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("jfr print: %w", err)
	}
	fmt.Fprintf(out, "\n## %s: methods that ran, of %.0f samples\n\n", name, m.samples)
	top(out, m.self, m.samples, "%8.0f")
	fmt.Fprintf(out, "\n## %s: methods that ran or waited for those they called\n\n", name)
	top(out, m.all, m.samples, "%8.0f")
	return nil
}

// methods counts samples.
type methods struct {
	samples   float64
	self, all map[string]float64
}

// readSamples reads what `jfr print` writes: a stack trace is a line
// "stackTrace = [", then a line a frame, the innermost first, then "]".
func readSamples(r io.Reader) (methods, error) {
	m := methods{self: map[string]float64{}, all: map[string]float64{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	inside := false
	seen := map[string]bool{}
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case strings.HasPrefix(line, "stackTrace = ["):
			inside = true
			clear(seen)
		case inside && line == "]":
			inside = false
			if len(seen) > 0 {
				m.samples++
			}
		case inside && line != "...":
			method, _, _ := strings.Cut(line, "(")
			if len(seen) == 0 {
				m.self[method]++
			}
			if !seen[method] {
				seen[method] = true
				m.all[method]++
			}
		}
	}
	return m, lines.Err()
}

// top prints the largest, with their share of the whole.
func top(out io.Writer, counts map[string]float64, whole float64, format string) {
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for _, name := range names[:min(topLines, len(names))] {
		fmt.Fprintf(out, format+" %5.1f %%  %s\n", counts[name], 100*counts[name]/max(whole, 1e-9), name)
	}
}
