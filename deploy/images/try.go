package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ticktape/internal/trigger"
)

// try runs each image with what a cluster would allow it: a root file system that
// can't be written, no capabilities, its own user. It says for each what is wrong.
func (cfg *settings) try(ctx context.Context, images []image) error {
	secrets, err := os.MkdirTemp("", "ticktape-secrets-")
	if err != nil {
		return fmt.Errorf("make a folder for secrets: %w", err)
	}
	defer os.RemoveAll(secrets)
	// The user of the images is not ours.
	if err := errors.Join(os.Chmod(secrets, 0o755), os.WriteFile(filepath.Join(secrets, trigger.TokenSecret), []byte(token), 0o644)); err != nil {
		return fmt.Errorf("write a secret: %w", err)
	}
	failed := 0
	for _, im := range images {
		_, err := inspect(ctx, cfg.ref(im), "{{.Id}}")
		problems := []error{err}
		if err == nil {
			problems = append(cfg.look(ctx, im), cfg.start(ctx, im, secrets)...)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(problems) == 0 {
			fmt.Println("ok   ", im.name)
			continue
		}
		failed++
		fmt.Println("FAIL ", im.name)
		for _, p := range problems {
			fmt.Println("        ", p)
		}
	}
	fmt.Printf("%d passed, %d failed\n", len(images)-failed, failed)
	if failed > 0 {
		return errors.New("see above")
	}
	return nil
}

const (
	token    = "a-token-of-this-test"
	nonroot  = "65532:65532"
	patience = 30 * time.Second
)

// look compares what docker says of the image with what is promised of it.
func (cfg *settings) look(ctx context.Context, im image) (problems []error) {
	text, err := inspect(ctx, cfg.ref(im), "{{json .}}")
	if err != nil {
		return []error{err}
	}
	var about struct {
		Size   int64
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(text), &about); err != nil {
		return []error{fmt.Errorf("what docker says of it: %w", err)}
	}
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if about.Size > im.most {
		add("it has %.1f MB, more than %d", float64(about.Size)/mb, im.most/mb)
	}
	if about.Config.User != nonroot {
		add("its user is %q, not %s", about.Config.User, nonroot)
	}
	if !slices.Equal(about.Config.Entrypoint, []string{im.program}) {
		add("its entry point is %q, not %s", about.Config.Entrypoint, im.program)
	}
	label := func(name string) string { return about.Config.Labels["org.opencontainers.image."+name] }
	if label("version") != cfg.Tag || label("licenses") != "MIT" || label("revision") == "" {
		add("its labels are %v", about.Config.Labels)
	}
	said, err := exec.CommandContext(ctx, "docker", "run", "--rm", "--read-only", cfg.ref(im), "-version").CombinedOutput()
	if want := label("version") + " (revision " + label("revision") + ","; err != nil || !strings.Contains(string(said), want) {
		add("-version says %q (%v), not %q", firstLine(string(said)), err, want)
	}
	return problems
}

// start runs the image and asks it something.
func (cfg *settings) start(ctx context.Context, im image, secrets string) []error {
	if im.name == "replay" || im.name == "runtime" {
		return nil // they do nothing without servers: compose.yaml tries the runtime
	}
	const admin = "9999"
	args := []string{
		"run", "--detach", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--publish", "127.0.0.1::" + admin,
		"--volume", secrets + ":/var/openfaas/secrets:ro", "--env", "port=" + admin, "--env", "METRICS_ADDR=:" + admin, "--env", "DASHBOARD_ADDR=:" + admin,
		"--env", "healthcheck_interval=0s",
	}
	if im.function != nil {
		for k, v := range im.function.Environment {
			args = append(args, "--env", k+"="+v)
		}
		args = append(args, "--memory", strings.ToLower(strings.TrimSuffix(im.function.Limits.Memory, "i")))
	}
	args = append(args, cfg.ref(im))
	if im.name == "market" {
		args = append(args, "-addr", ":"+admin)
	}
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return []error{fmt.Errorf("it does not start: %s", firstLine(string(exit.Stderr)))}
		}
		return []error{fmt.Errorf("it does not start: %w", err)}
	}
	container := strings.TrimSpace(string(out))
	defer func() {
		// Also where the test was interrupted; the container goes away by force.
		_ = exec.Command("docker", "rm", "--force", container).Run()
	}()
	published, err := exec.CommandContext(ctx, "docker", "port", container, admin).Output()
	if err != nil {
		return []error{fmt.Errorf("it ended at once: %s", logs(ctx, container))}
	}
	base := "http://" + firstLine(string(published))
	if err := cfg.ask(ctx, im, container, base); err != nil {
		return []error{fmt.Errorf("%w; the end of its log: %s", err, logs(ctx, container))}
	}
	begun := time.Now()
	if err := docker(ctx, "stop", "-t", "20", container); err != nil {
		return []error{err}
	}
	code, err := exec.CommandContext(ctx, "docker", "inspect", "--format", "{{.State.ExitCode}}", container).Output()
	if err != nil || strings.TrimSpace(string(code)) != "0" {
		return []error{fmt.Errorf("on SIGTERM it ended after %s with code %s (%v); the end of its log: %s", time.Since(begun).Round(time.Second), strings.TrimSpace(string(code)), err, logs(ctx, container))}
	}
	return nil
}

// ask waits until the process answers, and sends a function what it must refuse.
func (cfg *settings) ask(ctx context.Context, im image, container, base string) error {
	health, expect := "/healthz", http.StatusOK
	switch {
	case im.function != nil:
		health = "/_/health"
	case im.name == "market":
		health, expect = "/", 0
	}
	limit, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := request(limit, http.MethodGet, base+health)
		if err == nil && (expect == 0 || status == expect) {
			break
		}
		select {
		case <-tick.C:
		case <-limit.Done():
			return fmt.Errorf("%s answers %d (%v) within %s", health, status, err, patience)
		}
	}
	if id, err := exec.CommandContext(ctx, "docker", "top", container, "-eo", "uid,gid").Output(); err == nil {
		if fields := strings.Fields(string(id)); len(fields) < 4 || fields[2]+":"+fields[3] != nonroot {
			return fmt.Errorf("it runs as %v, not %s", fields, nonroot)
		}
	}
	if im.function == nil {
		return nil
	}
	method, refused, what := http.MethodGet, http.StatusBadRequest, "a bad request"
	if slices.Contains(im.function.Secrets, trigger.TokenSecret) {
		method, refused, what = http.MethodPost, http.StatusUnauthorized, "a call without the token"
	}
	status, err := request(ctx, method, base+"/?symbols=%00&symbol=%00&interval=7m")
	if err != nil || status != refused {
		return fmt.Errorf("%s is answered with %d (%v), not %d", what, status, err, refused)
	}
	return nil
}

func request(ctx context.Context, method, url string) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// logs is the end of a container's log, in one line.
func logs(ctx context.Context, container string) string {
	out, err := exec.CommandContext(ctx, "docker", "logs", "--tail", "3", container).CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), " | ")
}
