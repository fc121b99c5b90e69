package run

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/go-sdk/stack"

	"ticktape/deploy/local/process"
)

func TestSettingsAreReadAndRefusedByName(t *testing.T) {
	t.Setenv("KAFKA_HEAP", "768m")
	t.Setenv("CASSANDRA_HEAP", "2G")
	t.Setenv("FUNCTIONS_PORT", "0")
	t.Setenv("DASHBOARD_PORT", "8090")
	c, err := ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	if c.KafkaHeap != 768 || c.CassandraHeap != 2048 || !filepath.IsAbs(c.Dir) {
		t.Errorf("settings: %+v", c)
	}
	if err := c.choosePorts(); err != nil || c.FunctionsPort == 0 || c.DashboardPort != 8090 {
		t.Errorf("ports: %d and %d, %v", c.FunctionsPort, c.DashboardPort, err)
	}
	for name, value := range map[string]string{"KAFKA_HEAP": "9x", "CASSANDRA_HEAP": "64m", "SOURCE": "guess", "DASHBOARD_PORT": "http", "MARKET_SPEED": "fast"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := ConfigFromEnv(); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), value) {
				t.Errorf("%s=%s: %v", name, value, err)
			}
		})
	}
}

func TestServersWithAddressesAreNotOurs(t *testing.T) {
	c := Config{KafkaPort: 1, CassandraPort: 2, FunctionsPort: 3}
	if got := strings.Join(c.addresses(), " "); got != "KAFKA_BROKERS=127.0.0.1:1 CASSANDRA_HOSTS=127.0.0.1:2 GATEWAY_URL=http://127.0.0.1:3" {
		t.Error(got)
	}
	ours := c.need()
	c.KafkaBrokers, c.CassandraHosts = "a:1,b:2", "c"
	if got := strings.Join(c.addresses()[:2], " "); got != "KAFKA_BROKERS=a:1,b:2 CASSANDRA_HOSTS=c" || c.ownKafka() || c.ownCassandra() {
		t.Error(got)
	}
	if c.need() >= ours {
		t.Error("servers of others take none of our memory")
	}
}

func TestATakenPortIsToldWithWhoHasItAndTheRemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{Source: "yahoo", DashboardPort: l.Addr().(*net.TCPAddr).Port, KafkaBrokers: "a", CassandraHosts: "b"}
	err = c.checkPorts()
	if err == nil {
		t.Fatal("the port was found free")
	}
	want := []string{"dashboard", "DASHBOARD_PORT="}
	if _, err := os.Stat("/proc/net/tcp"); err == nil {
		want = append(want, "run.test")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
}

func TestTheLackOfDiskIsToldWithTheRemedy(t *testing.T) {
	c := Config{Dir: t.TempDir()}
	if free := freeDisk(c.Dir); free <= 0 {
		t.Errorf("free: %d", free)
	}
	if freeDisk("/no/such/folder") != -1 {
		t.Error("a folder that is not there has room")
	}
}

func TestImagesAreKnownByTheirRepository(t *testing.T) {
	for image, want := range map[string]string{
		"registry.localhost:5000/ticktape-fetch:latest": "registry.localhost:5000/ticktape-fetch",
		"registry.localhost:5000/ticktape-fetch":        "registry.localhost:5000/ticktape-fetch",
		"fetch:v1":                                      "fetch",
		"fetch:v1@sha256:abc":                           "fetch",
		"a/b/c":                                         "a/b/c",
	} {
		if got := repository(image); got != want {
			t.Errorf("%s is of %s, want %s", image, got, want)
		}
	}
	b := &builder{functions: map[string]stack.Function{"fetch": {Image: "r:5000/fetch:latest"}, "other": {Image: "r:5000/other", SkipBuild: true}}}
	if name, ok := b.byImage("r:5000/fetch:v7"); !ok || name != "fetch" {
		t.Errorf("found %q", name)
	}
	for _, image := range []string{"fetch", "r:5000/other", ""} {
		if name, ok := b.byImage(image); ok {
			t.Errorf("%q is taken for %s", image, name)
		}
	}
}

func TestAnOverlayPutsTheHandlerInTheSamplesPlace(t *testing.T) {
	write := func(dir string, files ...string) {
		t.Helper()
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	sample, handler := t.TempDir(), t.TempDir()
	if _, err := Overlay(sample, handler); err == nil {
		t.Error("a handler without files was taken")
	}
	write(sample, "handler.go", "helper.go", "handler_test.go")
	write(handler, "handler.go", "more.go", "handler_test.go")
	text, err := Overlay(sample, handler)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"handler.go": filepath.Join(handler, "handler.go"), "more.go": filepath.Join(handler, "more.go"), "helper.go": ""}
	if len(got.Replace) != len(want) {
		t.Errorf("replaced: %v", got.Replace)
	}
	for name, file := range want {
		if r, ok := got.Replace[filepath.Join(sample, name)]; !ok || r != file {
			t.Errorf("%s is replaced by %q, want %q", name, r, file)
		}
	}
}

func TestEveryFunctionOfTheStackIsDeployedAsFaasCliWould(t *testing.T) {
	c, err := ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	services, err := c.stackFile()
	if err != nil {
		t.Fatal(err)
	}
	d := deployment("process", services.Functions["process"].Image, services.Functions["process"])
	if d.Service != "process" || (*d.Annotations)["topic"] == "" || !slices.Contains(d.Secrets, "trigger-token") || d.EnvVars["exec_timeout"] == "" || d.Limits.Memory == "" {
		t.Errorf("deployment: %+v", d)
	}
	if strings.Contains(d.Image, "$") {
		t.Errorf("a variable is left in the image %s", d.Image)
	}
}

func TestStagesStopInTheOppositeOrderAndAllOfThemStop(t *testing.T) {
	say := NewProgress(devNull(t))
	defer say.Close()
	r := &runtime{say: say}
	var order []string
	for _, name := range []string{"servers", "functions", "connectors"} {
		r.onStop(name, func() error {
			order = append(order, name)
			if name == "functions" {
				return errors.New("stuck")
			}
			return nil
		})
	}
	if err := r.stopAll(); err == nil || !strings.Contains(err.Error(), "stuck") {
		t.Errorf("error: %v", err)
	}
	if got := strings.Join(order, " "); got != "connectors functions servers" {
		t.Errorf("order: %s", got)
	}
}

func devNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAFolderServesOneRuntimeAtATime(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "make stop") {
		t.Errorf("the second: %v", err)
	}
	unlock()
	again, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestWhatAKilledRuntimeLeftIsEndedAndNothingElse(t *testing.T) {
	start := func() *process.Process {
		t.Helper()
		p, err := process.Start(process.Spec{Name: "child", Path: "/bin/sleep", Args: []string{"1000"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		return p
	}
	ours, stranger := start(), start()
	s := State{PID: 1 << 30, Birth: "long ago", Parts: []Part{
		{Name: "kafka", PID: ours.PID(), Birth: process.Birth(ours.PID())},
		// Its pid was used again.
		{Name: "dashboard", PID: stranger.PID(), Birth: "long ago"},
		{Name: "market"},
	}}
	dir := t.TempDir()
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	say := NewProgress(devNull(t))
	defer say.Close()
	if err := Stop(t.Context(), Config{Dir: dir}, say); err != nil {
		t.Fatal(err)
	}
	<-ours.Done()
	if !stranger.Running() {
		t.Error("a process that is not ours was ended")
	}
	if _, ok, err := ReadState(dir); ok || err != nil {
		t.Errorf("state.json is still there, %v", err)
	}
	if err := Stop(t.Context(), Config{Dir: dir}, say); err != nil {
		t.Errorf("a stop where nothing runs: %v", err)
	}
}

func TestStatusShowsEachPart(t *testing.T) {
	dir := t.TempDir()
	pid := os.Getpid()
	s := State{PID: pid, Birth: process.Birth(pid), Started: time.Now(), Ready: true, Simulated: true, Dashboard: "http://127.0.0.1:1", Parts: []Part{
		{Kind: "server", Name: "kafka", State: process.Ready, PID: pid, Birth: process.Birth(pid), Port: 4711, Restarts: 2, Ending: "signal: killed"},
		{Kind: "function", Name: "fetch", State: process.Down},
	}}
	if err := s.write(dir); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := Status(Config{Dir: dir}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ready", "SIMULATED", "kafka", "4711", "MiB", "signal: killed", "function fetch", "down", "total"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := Status(Config{Dir: t.TempDir()}, &out); err != nil || !strings.Contains(out.String(), "make run") {
		t.Errorf("where nothing runs: %q, %v", out.String(), err)
	}
}

func TestProgressTellsWhatWasDoneAndWhatGoesOn(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := NewProgress(file)
	step := p.Begin("starting Kafka")
	step.Detail("12 files")
	said := func() string {
		b, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for end := time.Now().Add(20 * time.Second); !strings.Contains(said(), "… starting Kafka (12 files)"); {
		if time.Now().After(end) {
			t.Fatalf("it was not told what goes on: %q", said())
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
	step.End("Kafka is ready")
	step.End("")
	p.Close()
	if !strings.Contains(said(), "Kafka is ready\n") {
		t.Errorf("said: %q", said())
	}
}

func TestMemoryThatIsClearlyTooLittleIsAnErrorAndTightMemoryAWarning(t *testing.T) {
	free := availableMemory()
	if free == 0 {
		t.Skip("this system does not say how much memory is free")
	}
	for name, c := range map[string]struct {
		heap            int64
		warned, refused bool
	}{
		"plenty": {1, false, false},
		"tight":  {free/mib - 800, true, false},
		"none":   {4 * free / mib, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.heap < 1 {
				t.Skip("this machine has too little memory free for a test that is tight")
			}
			warning, err := (&Config{KafkaHeap: Heap(c.heap), CassandraHosts: "there"}).checkMemory()
			if (warning != "") != c.warned || (err != nil) != c.refused {
				t.Errorf("warning %q, error %v", warning, err)
			}
		})
	}
}
