package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ticktape/internal/service"
)

const (
	// slice is how much of a CPU profile is taken at a time: how long the work
	// will take is not known, so slices follow each other until it is done.
	slice = 2 * time.Second
	// topLines is how many functions are printed of a profile.
	topLines = 15
)

// profiler takes profiles of all processes of one measurement while the part of
// it that counts goes on.
type profiler struct {
	dir  string
	urls map[string]string // by process: where a Go process serves its profiles
	java map[string]*java

	stop context.CancelFunc
	took sync.WaitGroup

	mu     sync.Mutex
	slices map[string][]string // files
	errs   []error
}

// profileFrom makes measurements leave profiles in dir, while profiling is set.
func (r *rig) profileFrom(ctx context.Context, dir string) (stop func(), err error) {
	if err := os.Setenv("PPROF", "1"); err != nil {
		return nil, err
	}
	if r.ownProfiles, stop, err = service.StartPprof(); err != nil {
		return nil, err
	}
	r.profiles = dir
	_, err = recordJava(ctx, r.servers(), recordingBefore, "maxage=1s")
	return stop, err
}

// servers are those in Java, by their process numbers.
func (r *rig) servers() map[string]int {
	return map[string]int{"kafka": r.kafka.PID(), "cassandra": r.cassandra.PID()}
}

// profiler finds where each process serves its profiles, which rig.profiles has
// made them do, and starts to record the Java servers. It is nil where nothing is
// to be profiled; its methods do nothing then.
func (b *bench) profiler(ctx context.Context, what string) (*profiler, error) {
	if !b.profiling {
		return nil, nil
	}
	p := &profiler{dir: filepath.Join(b.profiles, what), urls: map[string]string{"gateway": b.ownProfiles}, slices: map[string][]string{}}
	if err := os.RemoveAll(p.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	for _, i := range b.provider.Instances() {
		if err := p.find(ctx, i.Function, i.Log, i.PID); err != nil {
			return nil, err
		}
	}
	var err error
	p.java, err = recordJava(ctx, b.servers(), recording)
	return p, err
}

// findProfiles is find for a program that was started.
func (b *bench) findProfiles(ctx context.Context, p *profiler, program string) error {
	return p.find(ctx, program, b.logOf(program), b.programs[program].PID())
}

// find waits until the process has said where its profiles are.
func (p *profiler) find(ctx context.Context, name, log string, pid int) error {
	if p == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if url := service.PprofURL(text, pid); url != "" {
			p.urls[name] = url
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not say in %s where it serves its profiles: %w", name, log, ctx.Err())
		}
	}
}

// begin starts to take profiles.
func (p *profiler) begin(ctx context.Context) {
	if p == nil {
		return
	}
	ctx, p.stop = context.WithCancel(ctx)
	for name, url := range p.urls {
		p.took.Go(func() { p.follow(ctx, name, url) })
	}
	for name, j := range p.java {
		p.fail(name, j.begin())
	}
}

func (p *profiler) fail(what string, err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errs = append(p.errs, fmt.Errorf("%s: %w", what, err))
}

func (p *profiler) file(name, kind string) string { return filepath.Join(p.dir, name+"."+kind) }

// follow takes slice after slice, and the heap after each, of which the last is kept.
func (p *profiler) follow(ctx context.Context, name, url string) {
	for i := 0; ; i++ {
		path := p.file(name, fmt.Sprintf("cpu.%d.pb.gz", i))
		err := download(ctx, fmt.Sprintf("%sprofile?seconds=%d", url, int(slice.Seconds())), path)
		if ctx.Err() != nil {
			_ = os.Remove(path) // the work ended in the middle of it
			return
		}
		if err != nil {
			p.fail(name, err)
			return
		}
		p.mu.Lock()
		p.slices[name] = append(p.slices[name], path)
		p.mu.Unlock()
		if err := download(ctx, url+"heap", p.file(name, "heap.pb.gz")); err != nil && ctx.Err() == nil {
			p.fail(name, err)
			return
		}
	}
}

func download(ctx context.Context, url, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// end takes no more of them.
func (p *profiler) end(ctx context.Context) {
	if p == nil || p.stop == nil {
		return
	}
	p.stop()
	p.took.Wait()
	for name, j := range p.java {
		p.fail(name, j.end(ctx, p.file(name, "jfr")))
	}
}

// report prints what takes most, and where all of it is.
func (p *profiler) report(ctx context.Context, out io.Writer) error {
	if p == nil {
		return nil
	}
	errs := p.errs
	for _, name := range slices.Sorted(maps.Keys(p.urls)) {
		errs = append(errs, p.reportGo(ctx, out, name))
	}
	for _, name := range slices.Sorted(maps.Keys(p.java)) {
		errs = append(errs, p.java[name].report(ctx, out, name, p.file(name, "jfr")))
	}
	fmt.Fprintf(out, "\nThe profiles are in %s. Look closer with\n"+
		"    go tool pprof -http 127.0.0.1:0 %s\n    go tool pprof -sample_index=alloc_space -http 127.0.0.1:0 %s\n    jfr summary %s\n",
		p.dir, p.file("process", "cpu.pb.gz"), p.file("process", "heap.pb.gz"), p.file("cassandra", "jfr"))
	return errors.Join(errs...)
}

func (p *profiler) reportGo(ctx context.Context, out io.Writer, name string) error {
	parts := p.slices[name]
	if len(parts) == 0 {
		fmt.Fprintf(out, "\n## %s\n\nIt was done before %s had passed, too soon for a profile: give it more ticks.\n", name, slice)
		return nil
	}
	cpu := p.file(name, "cpu.pb.gz")
	if _, err := goTool(ctx, append([]string{"pprof", "-proto", "-output=" + cpu}, parts...)...); err != nil {
		return err
	}
	for _, part := range parts {
		if err := os.Remove(part); err != nil {
			return err
		}
	}
	for _, view := range []struct{ title, file, index string }{
		{"CPU", cpu, "cpu"},
		{"memory in use", p.file(name, "heap.pb.gz"), "inuse_space"},
		{"memory allocated since its start", p.file(name, "heap.pb.gz"), "alloc_space"},
	} {
		text, err := goTool(ctx, "pprof", "-top", fmt.Sprintf("-nodecount=%d", topLines), "-sample_index="+view.index, view.file)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n## %s: %s\n\n%s", name, view.title, text)
	}
	return nil
}

// goTool runs one of Go's tools and returns what it prints.
func goTool(ctx context.Context, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go tool %s: %w: %s", args[0], err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
