package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestInABrowser runs web/test/browser: the page on the real service with a
// made-up market (feedtest/serve), in a real Chromium. Its screenshots are in
// build/screenshots/dashboard, those of what failed too.
func TestInABrowser(t *testing.T) {
	node, chromium := tools(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	shots := filepath.Join(root, "build", "screenshots", "dashboard")
	// Old pictures would be taken for this run's.
	if err := os.RemoveAll(shots); err != nil {
		t.Fatal(err)
	}
	serve := filepath.Join(t.TempDir(), "serve")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", serve, "./feedtest/serve").CombinedOutput(); err != nil {
		t.Fatalf("build the made-up dashboard: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 18*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, filepath.Join("web", "test", "browser", "run.mjs"))
	cmd.Env = append(os.Environ(), "SERVE="+serve, "SHOTS="+shots, "CHROMIUM="+chromium)
	// Its own group: the browser and the services are children of node's.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the browser's test: %v; screenshots are in %s", err, shots)
	}
}

// tools finds what the browser's test needs, or skips it.
func tools(t *testing.T) (node, chromium string) {
	t.Helper()
	const hint = "; `make test` sees to it"
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs Node.js: node is not on PATH" + hint)
	}
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if chromium, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if chromium == "" {
		t.Skip("needs Chromium: it is neither on PATH nor named by CHROMIUM" + hint)
	}
	for path, how := range map[string]string{
		"web/node_modules/playwright-core": "run npm ci in dashboard/web",
		"web/node_modules/axe-core":        "run npm ci in dashboard/web",
		"web/dist/page/index.html":         "run npm run build in dashboard/web",
	} {
		if _, err := os.Stat(filepath.FromSlash(path)); err != nil {
			t.Skip("needs dashboard/" + path + ": " + how + hint)
		}
	}
	return node, chromium
}
