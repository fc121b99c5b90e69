// Command images builds Ticktape's container images, and tries them and
// compose.yaml. `make images`, `make test-images` and `make test-compose` run it; README.md beside it tells
// what each image is.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/openfaas/go-sdk/builder"
	"github.com/openfaas/go-sdk/stack"

	"ticktape/internal/service"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	cfg, err := load()
	if err != nil {
		return err
	}
	images, err := cfg.images()
	if err != nil {
		return err
	}
	if err := dockerAnswers(ctx); err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "build":
		return cfg.build(ctx, images)
	case len(args) == 1 && args[0] == "test":
		return cfg.try(ctx, images)
	case len(args) == 1 && args[0] == "compose":
		return tryCompose(ctx)
	}
	return errors.New("say what to do: build, test or compose")
}

type settings struct {
	// Registry and Tag make the names: REGISTRY/ticktape-NAME:TAG.
	Registry string `env:"REGISTRY" envDefault:"k3d-registry.localhost:5000"`
	Tag      string `env:"TAG" envDefault:"latest"`
	// Names are the images in question; all, where it is empty.
	Names string `env:"NAMES"`
	// Platforms are those to build for, as in linux/amd64,linux/arm64; that of the
	// docker engine, where it is empty.
	Platforms string `env:"PLATFORMS"`
	Push      bool   `env:"PUSH"`
	// Revision is the commit, SourceURL where the sources are.
	Revision  string `env:"GIT_REVISION"`
	SourceURL string `env:"SOURCE_URL"`
}

func load() (settings, error) {
	cfg, err := service.Load[settings]()
	if err != nil {
		return cfg, err
	}
	if cfg.Revision == "" {
		cfg.Revision = cmp.Or(git("rev-parse", "HEAD"), "unknown")
		if git("status", "--porcelain", "--untracked-files=no") != "" {
			cfg.Revision += "+dirty"
		}
	}
	if origin := git("remote", "get-url", "origin"); cfg.SourceURL == "" && strings.HasPrefix(origin, "https://") {
		cfg.SourceURL = strings.TrimSuffix(origin, ".git")
	}
	// What is built from stack.yml takes them from the environment.
	return cfg, errors.Join(os.Setenv("TAG", cfg.Tag), os.Setenv("GIT_REVISION", cfg.Revision))
}

// git is empty where there is no repository, or no such thing in it.
func git(args ...string) string {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// image is one that is built from this checkout.
type image struct {
	name string
	// function is what stack.yml says of it, or nil where it is none.
	function *stack.Function
	// dockerfile is that of all others, whose build context is the checkout.
	dockerfile string
	args       []string
	program    string // its entry point
	most       int64  // bytes that it may have
}

const mb = 1_000_000

// programs are the images that are no functions.
func programs() []image {
	var all []image
	for name, folder := range map[string]string{
		"kafka-connector": "connectors/kafka", "cron-connector": "connectors/cron", "yahoo-connector": "connectors/yahoo",
		"replay": "connectors/replay", "market": "internal/yahoo/yahootest/cmd/yahootest",
	} {
		all = append(all, image{name: name, dockerfile: "deploy/images/connector.Dockerfile", args: []string{"PROGRAM=" + folder}, program: "/program", most: 20 * mb})
	}
	all = append(all,
		image{name: "dashboard", dockerfile: "deploy/images/dashboard.Dockerfile", program: "/program", most: 20 * mb},
		image{name: "runtime", dockerfile: "deploy/images/runtime.Dockerfile", program: "/ticktape/local", most: 200 * mb},
	)
	slices.SortFunc(all, func(a, b image) int { return strings.Compare(a.name, b.name) })
	return all
}

// images are all that the settings ask for: functions, by name, and then the rest.
func (cfg *settings) images() ([]image, error) {
	services, err := stack.ParseYAMLFile("stack.yml", "", "", true)
	if err != nil {
		return nil, fmt.Errorf("read stack.yml: %w", err)
	}
	var all []image
	for name, f := range services.Functions {
		all = append(all, image{name: name, function: &f, program: "/function", most: 15 * mb})
	}
	slices.SortFunc(all, func(a, b image) int { return strings.Compare(a.name, b.name) })
	all = append(all, programs()...)
	if cfg.Names == "" {
		return all, nil
	}
	var chosen []image
	for _, name := range strings.FieldsFunc(cfg.Names, func(r rune) bool { return r == ' ' || r == ',' }) {
		i := slices.IndexFunc(all, func(im image) bool { return im.name == name })
		if i < 0 {
			return nil, service.Settingf("NAMES: there is no image %s: name some of %s", name, names(all))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func names(all []image) string {
	var list []string
	for _, im := range all {
		list = append(list, im.name)
	}
	return strings.Join(list, ", ")
}

func (cfg *settings) ref(im image) string {
	return path.Join(cfg.Registry, "ticktape-"+im.name) + ":" + cfg.Tag
}

// dockerAnswers is an error in one line where there is no docker to work with.
func dockerAnswers(ctx context.Context) error {
	if _, err := exec.LookPath("docker"); err != nil {
		return errors.New("docker is missing: install it, as docs.docker.com/engine/install tells")
	}
	if out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return fmt.Errorf("docker does not answer: start it, and see that this user may use it (%s)", firstLine(string(out)))
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func (cfg *settings) build(ctx context.Context, images []image) error {
	several := strings.Contains(cfg.Platforms, ",")
	if several && !cfg.Push {
		return service.Settingf("PLATFORMS=%s: an image of several platforms lies in a registry only: set PUSH=1, or name one platform", cfg.Platforms)
	}
	if cfg.Platforms != "" {
		// The classic builder builds for its own platform only.
		if err := exec.CommandContext(ctx, "docker", "buildx", "version").Run(); err != nil {
			return errors.New("docker's buildx is missing, which builds for PLATFORMS: install the package docker-buildx-plugin, or do without PLATFORMS")
		}
	}
	contexts, err := os.MkdirTemp("", "ticktape-images-")
	if err != nil {
		return fmt.Errorf("make a folder for build contexts: %w", err)
	}
	defer os.RemoveAll(contexts)
	for _, im := range images {
		args, err := cfg.buildCommand(im, contexts)
		if err != nil {
			return err
		}
		fmt.Printf("building %s\n", cfg.ref(im))
		if err := docker(ctx, args...); err != nil {
			return fmt.Errorf("build %s: %w", im.name, err)
		}
		if several {
			continue // pushed by buildx, and not here
		}
		size, err := inspect(ctx, cfg.ref(im), "{{.Size}}")
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil {
			return fmt.Errorf("the size of %s: %w", im.name, err)
		}
		fmt.Printf("         %.1f MB\n", float64(n)/mb)
		if cfg.Push {
			if err := docker(ctx, "push", "--quiet", cfg.ref(im)); err != nil {
				return fmt.Errorf("push %s: %w", im.name, err)
			}
		}
	}
	return nil
}

// buildCommand is what docker is asked to do for the image. The contexts of
// functions are assembled, as faas-cli does it, in a folder of contexts.
func (cfg *settings) buildCommand(im image, contexts string) ([]string, error) {
	args := []string{"build"}
	switch {
	case strings.Contains(cfg.Platforms, ","):
		args = []string{"buildx", "build", "--push", "--platform", cfg.Platforms}
	case cfg.Platforms != "":
		args = []string{"buildx", "build", "--load", "--platform", cfg.Platforms}
	}
	buildArgs := slices.Concat(im.args, []string{"VERSION=" + cfg.Tag, "GIT_REVISION=" + cfg.Revision, "SOURCE_URL=" + cfg.SourceURL})
	for _, variable := range []string{"GOPROXY", "GOFLAGS", "NPM_CONFIG_REGISTRY"} {
		if os.Getenv(variable) != "" && (variable != "NPM_CONFIG_REGISTRY" || im.name == "dashboard") {
			buildArgs = append(buildArgs, variable) // docker takes its value from the environment
		}
	}
	for _, a := range buildArgs {
		args = append(args, "--build-arg", a)
	}
	args = append(args, "--tag", cfg.ref(im))
	if im.function == nil {
		return append(args, "--file", im.dockerfile, "."), nil
	}
	services, err := stack.ParseYAMLFile("stack.yml", "", "", true)
	if err != nil {
		return nil, fmt.Errorf("read stack.yml: %w", err)
	}
	folder, err := builder.CreateBuildContext(im.name, im.function.Handler, im.function.Language, services.StackConfiguration.CopyExtraPaths, builder.WithBuildDir(contexts))
	if err != nil {
		return nil, fmt.Errorf("assemble the build context of %s: %w", im.name, err)
	}
	return append(args, folder), nil
}

// docker runs a command of docker's. What it says is shown only where it fails.
func docker(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("docker %s: %w:\n    %s", args[0], err, strings.Join(lines[max(0, len(lines)-25):], "\n    "))
	}
	return nil
}

// inspect asks docker something about an image.
func inspect(ctx context.Context, ref, format string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", format, ref).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("image %s is not here: `make images` builds it (%s)", ref, firstLine(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}
