package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTheCommandPrintsItsAddressServesAndStops(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "yahootest")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-addr", "127.0.0.1:0", "-symbols", "3")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(strings.TrimSpace(url) + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || !strings.HasPrefix(string(body), "ok, 3 symbols, seed 1,") {
		t.Errorf("healthz: %s, %v", body, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}

	for _, args := range [][]string{
		{"-fault", "kind=none"}, {"-replay", "nowhere"}, {"-at", "noon"}, {"-symbols", "0"}, {"-speed", "-1"}, {"more"}, {"-addr", "nowhere"},
	} {
		if err := exec.CommandContext(t.Context(), binary, args...).Run(); err == nil {
			t.Errorf("%v: started", args)
		}
	}
}
