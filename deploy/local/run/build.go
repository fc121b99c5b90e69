package run

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/openfaas/go-sdk/stack"
)

// programs are the mains of this checkout that are no functions, by name.
var programs = map[string]string{
	"kafka-connector": "./connectors/kafka",
	"cron-connector":  "./connectors/cron",
	"yahoo-connector": "./connectors/yahoo",
	"dashboard":       "./dashboard",
	"replay":          "./connectors/replay",
	"market":          "./internal/yahoo/yahootest/cmd/yahootest",
}

// builder builds the programs of the checkout. One go command at a time: each
// uses all cores by itself.
type builder struct {
	cfg       *Config
	functions map[string]stack.Function
	flags     []string // of go build
	// built is true where the programs have been built before and Go may not be here.
	built bool

	mu    sync.Mutex
	fresh map[string]bool // functions built by all and not deployed since
}

func (b *builder) program(name string) string  { return filepath.Join(b.cfg.Bin, name) }
func (b *builder) function(name string) string { return filepath.Join(b.cfg.Bin, "functions", name) }

// Build makes every program, so that a start has nothing to wait for.
func Build(ctx context.Context, cfg Config, say func(string)) error {
	services, err := cfg.stackFile()
	if err != nil {
		return err
	}
	b := &builder{cfg: &cfg, functions: services.Functions}
	return b.all(ctx, say)
}

// BuildWithoutPage makes every program for those who need no browser. A dashboard
// that has no page yet is built without it.
func BuildWithoutPage(ctx context.Context, cfg Config, say func(string)) error {
	services, err := cfg.stackFile()
	if err != nil {
		return err
	}
	b := &builder{cfg: &cfg, functions: services.Functions}
	return b.binaries(ctx, say)
}

// BuildRuntime makes what Functions needs: the functions, the simulated market,
// and this program itself as "local". The flags go to each go build.
func BuildRuntime(ctx context.Context, cfg Config, flags []string, say func(string)) error {
	services, err := cfg.stackFile()
	if err != nil {
		return err
	}
	b := &builder{cfg: &cfg, functions: services.Functions, flags: append([]string{"-trimpath"}, flags...)}
	say("building the runtime")
	if err := b.goBuild(ctx, b.program("local"), "./deploy/local"); err != nil {
		return fmt.Errorf("build the runtime: %w", err)
	}
	return b.build(ctx, []string{"market"}, say)
}

func (b *builder) all(ctx context.Context, say func(string)) error {
	// The page comes first: it is embedded in the dashboard.
	if err := b.page(ctx, say); err != nil {
		return err
	}
	return b.binaries(ctx, say)
}

func (b *builder) binaries(ctx context.Context, say func(string)) error {
	say("downloading Go modules")
	if err := b.cfg.goTool(ctx, "mod", "download"); err != nil {
		return fmt.Errorf("download Go modules: %w", err)
	}
	return b.build(ctx, sorted(programs), say)
}

// build builds the programs of these names, and all functions.
func (b *builder) build(ctx context.Context, programs []string, say func(string)) error {
	for _, name := range programs {
		say("building " + name)
		if err := b.buildProgram(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range sorted(b.functions) {
		if b.functions[name].SkipBuild {
			continue
		}
		say("building function " + name)
		if _, err := b.buildFunction(ctx, name); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fresh = map[string]bool{}
	for name := range b.functions {
		b.fresh[name] = true
	}
	return nil
}

// freshFunction builds the function from its sources as they are, which takes
// no time where all has just done so.
func (b *builder) freshFunction(ctx context.Context, name string) (string, error) {
	if b.built {
		return b.function(name), nil
	}
	b.mu.Lock()
	fresh := b.fresh[name]
	delete(b.fresh, name)
	b.mu.Unlock()
	if fresh {
		return b.function(name), nil
	}
	return b.buildFunction(ctx, name)
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (b *builder) buildProgram(ctx context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.goBuild(ctx, b.program(name), programs[name]); err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	return nil
}

// buildFunction builds the function through its template's main, which imports
// the sample handler that lies beside it: an overlay puts the function's files
// in the sample's place, so that nothing is copied.
func (b *builder) buildFunction(ctx context.Context, name string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.functions[name]
	template := filepath.Join(b.cfg.Root, "template", f.Language)
	overlay, err := Overlay(filepath.Join(template, "function"), filepath.Join(b.cfg.Root, f.Handler))
	if err != nil {
		return "", fmt.Errorf("build function %s: %w", name, err)
	}
	file := b.function(name) + ".overlay.json"
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", fmt.Errorf("build function %s: %w", name, err)
	}
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return "", fmt.Errorf("build function %s: %w", name, err)
	}
	if err := b.goBuild(ctx, b.function(name), "./template/"+f.Language, "-overlay", file); err != nil {
		return "", fmt.Errorf("build function %s: %w", name, err)
	}
	return b.function(name), nil
}

// goBuild builds a package of the checkout.
func (b *builder) goBuild(ctx context.Context, to, pkg string, flags ...string) error {
	return b.cfg.goTool(ctx, slices.Concat([]string{"build"}, b.flags, flags, []string{"-o", to, pkg})...)
}

// Overlay is what `go build -overlay` reads: the sample's files are replaced by
// the handler's, and those that the handler has no file for vanish.
func Overlay(sample, handler string) ([]byte, error) {
	replace := map[string]string{}
	for dir, use := range map[string]bool{sample: false, handler: true} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("there are no Go files in %s", dir)
		}
		for _, file := range files {
			target := filepath.Join(sample, filepath.Base(file))
			switch {
			case strings.HasSuffix(file, "_test.go"):
			case use:
				replace[target] = file
			case replace[target] == "":
				replace[target] = ""
			}
		}
	}
	return json.Marshal(map[string]any{"Replace": replace})
}

// byImage finds the function of this checkout that stack.yml gives the image.
// Its tag does not matter: there is one build here.
func (b *builder) byImage(image string) (name string, ok bool) {
	for _, name := range sorted(b.functions) {
		if f := b.functions[name]; !f.SkipBuild && repository(f.Image) == repository(image) {
			return name, true
		}
	}
	return "", false
}

func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}

// page builds the dashboard's web page where its sources have changed since.
func (b *builder) page(ctx context.Context, say func(string)) error {
	web := filepath.Join(b.cfg.Root, "dashboard", "web")
	if _, err := os.Stat(filepath.Join(web, "package.json")); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	sum, err := sourcesSum(web)
	if err != nil {
		return fmt.Errorf("build the web page: %w", err)
	}
	stamp := filepath.Join(b.cfg.Root, "build", "web.sum")
	if old, err := os.ReadFile(stamp); err == nil && string(old) == sum {
		if _, err := os.Stat(filepath.Join(web, "dist", "page", "index.html")); err == nil {
			return nil
		}
	}
	if _, err := exec.LookPath("npm"); err != nil {
		return errors.New("the web page is built with npm, which is not installed: run `make tools`, or install Node.js 18 or later with npm")
	}
	say("fetching the web page's packages")
	if err := command(ctx, web, os.Environ(), "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
		return fmt.Errorf("fetch the web page's packages: %w", err)
	}
	say("building the web page")
	if err := command(ctx, web, os.Environ(), "npm", "run", "build"); err != nil {
		return fmt.Errorf("build the web page: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(stamp), 0o755); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(sum), 0o644)
}

// sourcesSum is a sum over names and contents of what the page is built from.
func sourcesSum(web string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(web, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "node_modules" || name == "dist" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintf(sum, "%s\x00", path)
		_, err = io.Copy(sum, f)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)), err
}

// command runs a tool to its end. Its error has the end of what the tool said.
func command(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// Its own group, so that what it started ends with it and a Ctrl-C reaches only us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) > 20 {
			// Compilers complain at the end, npm at the beginning.
			lines = slices.Concat(lines[:8], []string{"…"}, lines[len(lines)-12:])
		}
		return fmt.Errorf("%s %s: %w:\n    %s", name, args[0], err, strings.Join(lines, "\n    "))
	}
	return nil
}
