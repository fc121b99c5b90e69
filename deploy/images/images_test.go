package main

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/openfaas/go-sdk/stack"
	"go.yaml.in/yaml/v4"

	"ticktape/deploy/local/servers"
	"ticktape/internal/bus"
	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

const root = "../.."

// tracked are the files that git knows, below the root of the checkout.
func tracked(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return strings.Fields(string(out))
}

func exists(files []string, name string) bool {
	name = path.Clean(name)
	return slices.ContainsFunc(files, func(f string) bool { return f == name || strings.HasPrefix(f, name+"/") })
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// instructions are the lines of a Dockerfile with continuations joined.
func instructions(text string) (lines []string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

func services(t *testing.T) *stack.Services {
	t.Helper()
	s, err := stack.ParseYAMLFile(filepath.Join(root, "stack.yml"), "", "", true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDockerfilesCopyWhatThereIsAndEndInAnImageWithNothingElse(t *testing.T) {
	files, ignore := tracked(t), read(t, ".dockerignore")
	all := programs()
	all = append(all, image{name: "function", dockerfile: "template/ticktape-go/Dockerfile", program: "/function"})
	for _, im := range all {
		t.Run(im.name, func(t *testing.T) {
			text := read(t, im.dockerfile)
			for _, a := range im.args {
				name, value, _ := strings.Cut(a, "=")
				text = strings.ReplaceAll(text, "${"+name+"}", value)
			}
			last, stage := "", ""
			labels := map[string]bool{}
			entry := ""
			for _, line := range instructions(text) {
				words := strings.Fields(line)
				switch words[0] {
				case "FROM":
					last = words[len(words)-1]
					if words[1] != "scratch" && words[1] != "--platform=${BUILDPLATFORM:-linux}" {
						t.Errorf("%s: a stage that builds for other machines runs on this one", line)
					}
					stage = words[1]
				case "RUN":
					if strings.Contains(line, "go build") && !strings.Contains(line, "GOOS=${TARGETOS} GOARCH=${TARGETARCH}") && !strings.Contains(line, "-o /builder") {
						t.Errorf("%s: it builds for the machine that builds", line)
					}
				case "COPY":
					if im.name == "function" || strings.HasPrefix(words[1], "--from=") {
						continue // stack_test.go does what docker would with the former
					}
					for _, source := range words[1 : len(words)-1] {
						if !exists(files, source) {
							t.Errorf("%s: %s is not in git", line, source)
						}
						if !regexp.MustCompile(`(?m)^!` + strings.Split(source, "/")[0] + `\b`).MatchString(ignore) {
							t.Errorf("%s: .dockerignore keeps %s away", line, source)
						}
					}
				case "LABEL":
					for _, m := range regexp.MustCompile(`org\.opencontainers\.image\.(\w+)=`).FindAllStringSubmatch(line, -1) {
						labels[m[1]] = true
					}
				case "ENTRYPOINT":
					entry = line
				}
			}
			if last != "scratch" || stage != "scratch" {
				t.Errorf("the image is made from %q, not from nothing", last)
			}
			if !strings.Contains(text, "\nUSER "+nonroot+"\n") || entry != `ENTRYPOINT ["`+im.program+`"]` {
				t.Errorf("its user is not %s, or its entry point, %s, not %s", nonroot, entry, im.program)
			}
			for _, label := range []string{"version", "revision", "source", "licenses"} {
				if !labels[label] {
					t.Errorf("it lacks the label %s", label)
				}
			}
		})
	}
}

func TestWhatIsBuiltIsAskedOfDockerWithItsArguments(t *testing.T) {
	t.Chdir(root)
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "")
	t.Setenv("NPM_CONFIG_REGISTRY", "")
	t.Setenv("NAMES", "yahoo-connector quotes")
	t.Setenv("PLATFORMS", "linux/arm64")
	t.Setenv("TAG", "v7")
	t.Setenv("REGISTRY", "registry.example:5000/team")
	t.Setenv("GIT_REVISION", "abc")
	t.Setenv("SOURCE_URL", "https://example.com/ticktape")
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	all, err := cfg.images()
	if err != nil || len(all) != 2 {
		t.Fatalf("images %v, %v", all, err)
	}
	const common = "--build-arg VERSION=v7 --build-arg GIT_REVISION=abc --build-arg SOURCE_URL=https://example.com/ticktape --build-arg GOPROXY"
	contexts := t.TempDir()
	for i, want := range []string{
		"buildx build --load --platform linux/arm64 --build-arg PROGRAM=connectors/yahoo " + common + " --tag registry.example:5000/team/ticktape-yahoo-connector:v7 --file deploy/images/connector.Dockerfile .",
		"buildx build --load --platform linux/arm64 " + common + " --tag registry.example:5000/team/ticktape-quotes:v7 " + filepath.Join(contexts, "quotes"),
	} {
		args, err := cfg.buildCommand(all[i], contexts)
		if got := strings.Join(args, " "); err != nil || got != want {
			t.Errorf("docker %s (%v)\nwant   %s", got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(contexts, "quotes", "function", "handler.go")); err != nil {
		t.Errorf("the context of quotes: %v", err)
	}
	t.Setenv("PLATFORMS", "linux/amd64,linux/arm64")
	if cfg, err = load(); err != nil {
		t.Fatal(err)
	}
	if err := cfg.build(t.Context(), all); err == nil || !strings.Contains(err.Error(), "PUSH=1") {
		t.Errorf("several platforms that go nowhere: %v", err)
	}
	t.Setenv("NAMES", "nothing")
	if cfg, err = load(); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.images(); err == nil || !strings.Contains(err.Error(), "quotes, seal") {
		t.Errorf("a name that there is not: %v", err)
	}
}

type composed struct {
	Image, Restart string
	Build          struct {
		Context, Dockerfile string
		Args                map[string]string
	}
	Command     []string
	Environment map[string]string
	Ports       []string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	ReadOnly    bool                                  `yaml:"read_only"`
	CapDrop     []string                              `yaml:"cap_drop"`
	MemLimit    string                                `yaml:"mem_limit"`
	Healthcheck struct{ Test []string }
	Logging     struct{ Options map[string]string }
}

func TestComposeAgreesWithWhatItRuns(t *testing.T) {
	files := tracked(t)
	var compose struct {
		Services map[string]composed
		Volumes  map[string]any
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	of := func(name string) composed {
		s, ok := compose.Services[name]
		if !ok {
			t.Fatalf("there is no service %s", name)
		}
		return s
	}
	if got := []string{of("kafka").Image, of("cassandra").Image}; !slices.Equal(got, []string{"apache/kafka:" + servers.KafkaVersion, "cassandra:" + servers.CassandraVersion}) {
		t.Errorf("the servers are %q, which are not those of the tests", got)
	}
	settings := settingsOf(t)
	inImage := func(name string) image {
		i := slices.IndexFunc(programs(), func(im image) bool { return im.name == name })
		if i < 0 {
			t.Fatalf("there is no image %s", name)
		}
		return programs()[i]
	}
	for name, s := range compose.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.MemLimit == "" || s.Logging.Options["max-size"] == "" || s.Restart != map[bool]string{true: "no", false: "unless-stopped"}[name == "prepare"] {
			t.Errorf("%s may write, do or take more than it should, or is not started again: %+v", name, s)
		}
		if (s.Healthcheck.Test == nil) != (name == "prepare") {
			t.Errorf("%s: health check %v", name, s.Healthcheck.Test)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s is open to others", name, p)
			}
		}
		for on, d := range s.DependsOn {
			if (d.Condition == "service_completed_successfully") != (on == "prepare") || of(on).Image == "" {
				t.Errorf("%s waits for %s: %s", name, on, d.Condition)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if _, declared := compose.Volumes[from]; !declared && !exists(files, from) {
				t.Errorf("%s: %s is neither a volume nor a file of git", name, from)
			}
		}
		if s.Build.Dockerfile == "" {
			continue
		}
		built, _, _ := strings.Cut(strings.TrimPrefix(s.Image, "ticktape/"), ":")
		im := inImage(built)
		if s.Build.Dockerfile != im.dockerfile || s.Build.Context != "." || len(im.args) == 1 && im.args[0] != "PROGRAM="+s.Build.Args["PROGRAM"] {
			t.Errorf("%s is built from %+v, and make images builds %+v", name, s.Build, im)
		}
		for key, value := range s.Environment {
			if !settings[key] {
				t.Errorf("%s: no program reads %s", name, key)
			}
			if addresses := map[string]string{"KAFKA_BROKERS": "kafka:9092", "CASSANDRA_HOSTS": "cassandra:9042", "GATEWAY_URL": "http://functions:8080"}; addresses[key] != "" && value != addresses[key] {
				t.Errorf("%s: %s=%s, want %s", name, key, value, addresses[key])
			}
		}
	}

	// The dashboard reads metrics where the connectors' own defaults put them.
	var targets []string
	for _, kind := range []string{"kafka", "cron", "yahoo"} {
		name := kind + "-connector"
		port := regexp.MustCompile(`env:"METRICS_ADDR" envDefault:"(:\d+)"`).FindStringSubmatch(read(t, "connectors/"+kind+"/main.go"))
		if port == nil {
			t.Fatalf("%s tells no METRICS_ADDR", name)
		}
		targets = append(targets, fmt.Sprintf("%s=http://%s%s/metrics", name, name, port[1]))
		if want := []string{"CMD", "/program", "-check", "http://127.0.0.1" + port[1] + "/readyz"}; !slices.Equal(of(name).Healthcheck.Test, want) {
			t.Errorf("%s: health check %q, want %q", name, of(name).Healthcheck.Test, want)
		}
	}
	if got := of("dashboard").Environment["PULSE_TARGETS"]; got != strings.Join(targets, ",") {
		t.Errorf("PULSE_TARGETS is %s, want %s", got, strings.Join(targets, ","))
	}
	if u, err := url.Parse(of("dashboard").Healthcheck.Test[3]); err != nil || !strings.HasSuffix(of("dashboard").Ports[0], ":"+u.Port()) {
		t.Errorf("the dashboard's health is asked at %v, its port is %v", u, of("dashboard").Ports)
	}

	// The functions get what stack.yml promises them.
	var sum service.Bytes
	for name, f := range services(t).Functions {
		limit, err := service.ParseBytes(f.Limits.Memory + "B")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sum += limit
		topics, err := bus.ConfigFromEnv()
		if err != nil {
			t.Fatal(err)
		}
		if a := f.Annotations; a != nil && (*a)["topic"] != "" && (*a)["topic"] != trigger.CronTopic && (*a)["topic"] != topics.TicksTopic {
			t.Errorf("%s is triggered by topic %s, and the programs of compose.yaml write %s", name, (*a)["topic"], topics.TicksTopic)
		}
	}
	limit, err := service.ParseBytes(strings.ToUpper(of("functions").MemLimit) + "iB")
	if err != nil || limit < sum {
		t.Errorf("mem_limit of functions is %v (%v), less than the %v of stack.yml", limit, err, sum)
	}
	if market := of("functions").Environment["MARKET_PORT"]; !slices.Contains(of("prepare").Command, "functions:"+market) {
		t.Errorf("the market listens on port %s, and others are told %v", market, of("prepare").Command)
	}
	if !slices.Equal(of("prepare").Command[len(of("prepare").Command)-2:], []string{"kafka:9092", "cassandra:9042"}) {
		t.Errorf("prepare does not know the servers: %v", of("prepare").Command)
	}
}

// settingsOf are the names of environment variables in the programs' sources.
func settingsOf(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{"GOMEMLIMIT": true}
	names := regexp.MustCompile(`"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)[",]`)
	for _, folder := range []string{"internal", "connectors", "dashboard", "deploy/local"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(file string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() && d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			text, err := os.ReadFile(file)
			for _, m := range names.FindAllSubmatch(text, -1) {
				found[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
