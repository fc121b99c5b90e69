package k3d

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openfaas/go-sdk/stack"
	"go.yaml.in/yaml/v4"

	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

const registry = "k3d-registry.localhost:5000"

// all renders an overlay with every component.
func all(t *testing.T, overlay string) []object {
	t.Helper()
	objects := render(t, "overlays/"+overlay, nil)
	for _, component := range []string{"node-ports", "simulated", "monitoring"} {
		objects = render(t, "components/"+component, objects)
	}
	return objects
}

func eachOverlay(t *testing.T, f func(t *testing.T, objects []object)) {
	for _, overlay := range []string{"single", "ha"} {
		t.Run(overlay, func(t *testing.T) { f(t, all(t, overlay)) })
	}
}

func find(t *testing.T, objects []object, kind, name string) object {
	t.Helper()
	i := slices.IndexFunc(objects, func(o object) bool { return o.kind() == kind && o.name() == name })
	if i < 0 {
		t.Fatalf("there is no %s %s", kind, name)
	}
	return objects[i]
}

func workloads(objects []object) (all []object) {
	for _, o := range objects {
		if o.kind() == "Deployment" || o.kind() == "StatefulSet" {
			all = append(all, o)
		}
	}
	return all
}

// value is a container's variable.
func value(container object, name string) string {
	for _, e := range container.list("env") {
		if e.text("name") == name {
			return e.text("value")
		}
	}
	return ""
}

func container(o object) object { return o.list("spec", "template", "spec", "containers")[0] }

func functions(t *testing.T) *stack.Services {
	t.Helper()
	s, err := stack.ParseYAMLFile("../../stack.yml", "", "", true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func bytesOf(t *testing.T, text string) service.Bytes {
	t.Helper()
	b, err := service.ParseBytes(strings.TrimSuffix(text, "B") + "B")
	if err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return b
}

func TestEveryFileIsReadableAndUsed(t *testing.T) {
	used := map[string]bool{}
	note := func(file string) { used[filepath.Clean(file)] = true }
	for _, f := range []string{"cluster.yaml", "openfaas.yaml", "openfaas-namespaces.yaml"} {
		note(f)
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "kustomization.yaml" {
			return err
		}
		note(path)
		k := documents(t, path)[0]
		for _, key := range []string{"resources", "components"} {
			l, _ := k.at(key).([]any)
			for _, e := range l {
				note(filepath.Join(filepath.Dir(path), e.(string)))
			}
		}
		for _, p := range k.list("patches") {
			note(filepath.Join(filepath.Dir(path), p.text("path")))
		}
		for _, g := range k.list("configMapGenerator") {
			files, _ := g.at("files").([]any)
			for _, f := range files {
				_, name, _ := strings.Cut("="+f.(string), "=")
				if i := strings.LastIndex(name, "="); i >= 0 {
					name = name[i+1:]
				}
				note(filepath.Join(filepath.Dir(path), name))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Ext(path) {
		case ".yaml":
			documents(t, path)
		case ".properties", ".xml":
		default:
			return nil
		}
		if !used[path] {
			t.Errorf("%s is used by nothing", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestObjectsSayWhatTheyAreOnce(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []object) {
		seen := map[string]bool{}
		for _, o := range objects {
			key := o.kind() + "/" + o.name()
			if o.text("apiVersion") == "" || o.kind() == "" || o.name() == "" || seen[key] {
				t.Errorf("%q stands there twice, or lacks apiVersion, kind or name", key)
			}
			seen[key] = true
			if n := o.text("metadata", "namespace"); n != "" && n != "ticktape" {
				t.Errorf("%s is in namespace %s", key, n)
			}
		}
	})
}

func TestEveryPodIsLockedUpAndBounded(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(objects) {
			pod := w.object("spec", "template", "spec")
			if pod.text("serviceAccountName") != "ticktape" || pod.at("automountServiceAccountToken") != false || pod.at("enableServiceLinks") != false {
				t.Errorf("%s: its service account is not ticktape without a token and without service links", w.name())
			}
			if pod.at("securityContext", "runAsNonRoot") != true || pod.number("securityContext", "runAsUser") == 0 || pod.text("securityContext", "seccompProfile", "type") != "RuntimeDefault" {
				t.Errorf("%s may run as root, or any system call", w.name())
			}
			if pod.number("terminationGracePeriodSeconds") == 0 {
				t.Errorf("%s: it is not said how long it may take to end", w.name())
			}
			main := container(w)
			for _, probe := range []string{"readinessProbe", "livenessProbe"} {
				if main.object(probe) == nil {
					t.Errorf("%s has no %s", w.name(), probe)
				}
			}
			for _, c := range slices.Concat(pod.list("initContainers"), pod.list("containers")) {
				s := c.object("securityContext")
				drop, _ := s.at("capabilities", "drop").([]any)
				if s.at("readOnlyRootFilesystem") != true || s.at("allowPrivilegeEscalation") != false || !slices.Equal(drop, []any{"ALL"}) {
					t.Errorf("%s/%s: its root can be written, or it may gain rights", w.name(), c.text("name"))
				}
				r := c.object("resources")
				if r.text("requests", "cpu") == "" || r.text("requests", "memory") == "" || r.text("limits", "memory") == "" {
					t.Errorf("%s/%s lacks requests, or a limit of memory", w.name(), c.text("name"))
					continue
				}
				limit := bytesOf(t, r.text("limits", "memory"))
				if soft := value(c, "GOMEMLIMIT"); soft != "" {
					if s := bytesOf(t, soft); s < limit*8/10 || s > limit*95/100 {
						t.Errorf("%s: GOMEMLIMIT %s is not within 80 and 95 %% of its limit", w.name(), soft)
					}
				}
				heap := value(c, "MAX_HEAP_SIZE")
				if m := regexp.MustCompile(`-Xmx(\w+)`).FindStringSubmatch(value(c, "KAFKA_HEAP_OPTS")); m != nil {
					heap = m[1]
				}
				if heap != "" && bytesOf(t, strings.ToUpper(heap)+"i") > limit*6/10 {
					t.Errorf("%s: a heap of %s leaves too little of %s for what Java needs beside it", w.name(), heap, r.text("limits", "memory"))
				}
			}
			if w.kind() == "Deployment" && w.name() != "market" {
				if p := main.text("livenessProbe", "httpGet", "path"); p != "/healthz" {
					t.Errorf("%s: liveness by %q", w.name(), p)
				}
				if p := main.text("readinessProbe", "httpGet", "path"); p != "/readyz" {
					t.Errorf("%s: readiness by %q", w.name(), p)
				}
			}
			if w.name() != "market" {
				b := find(t, objects, "PodDisruptionBudget", w.name())
				if b.number("spec", "maxUnavailable") != 1 || !covers(b.object("spec", "selector", "matchLabels"), w) {
					t.Errorf("%s: its disruption budget is another's, or not one pod", w.name())
				}
			}
		}
	})
}

// covers tells whether the labels are among those of the workload's pods.
func covers(labels object, w object) bool {
	have := w.object("spec", "template", "metadata", "labels")
	for k, v := range labels {
		if have[k] != v {
			return false
		}
	}
	return len(labels) > 0
}

func TestImagesAreOursOrOfficialOnesOfTheVersionsThatAreTested(t *testing.T) {
	official := map[string]string{}
	for _, server := range []struct{ image, pom, artifact string }{
		{"apache/kafka", "pom-kafka.xml", "kafka_2.13"}, {"cassandra", "pom-cassandra.xml", "cassandra-all"},
	} {
		m := regexp.MustCompile(`(?s)<artifactId>` + server.artifact + `</artifactId>\s*<version>([\d.]+)</version>`).FindStringSubmatch(read(t, "../local/servers/"+server.pom))
		if m == nil {
			t.Fatalf("%s names no version of %s", server.pom, server.artifact)
		}
		official[server.image+":"+m[1]] = server.image
	}
	builds := read(t, "../images/main.go")
	eachOverlay(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(objects) {
			for _, c := range slices.Concat(w.list("spec", "template", "spec", "initContainers"), w.list("spec", "template", "spec", "containers")) {
				image := c.text("image")
				name, ours := strings.CutPrefix(image, registry+"/ticktape-")
				switch {
				case ours && name == w.name()+":latest" && c.text("imagePullPolicy") == "Always":
					if !strings.Contains(builds, strconv.Quote(w.name())) {
						t.Errorf("`make images` makes no %s", w.name())
					}
					if !regexp.MustCompile(`for name in [a-z -]*\b` + w.name() + `\b`).MatchString(read(t, "up.sh")) {
						t.Errorf("up.sh builds no image %s", w.name())
					}
				case official[image] == "":
					t.Errorf("%s: image %s is neither ours nor of the version that deploy/local runs", w.name(), image)
				}
			}
		}
	})
}

func TestTheProgramsInTheImagesAreThoseOfMakeImages(t *testing.T) {
	up, builds := read(t, "up.sh"), read(t, "../images/main.go")
	for name, folder := range map[string]string{
		"kafka-connector": "connectors/kafka", "cron-connector": "connectors/cron", "yahoo-connector": "connectors/yahoo",
		"market": "internal/yahoo/yahootest/cmd/yahootest",
	} {
		if !strings.Contains(builds, fmt.Sprintf("%q: %q", name, folder)) {
			t.Errorf("make images builds %s of something else than %s", name, folder)
		}
		if rule := strings.Replace(folder, strings.TrimSuffix(name, "-connector"), "${name%-connector}", 1); !strings.Contains(up, "program="+folder) && !strings.Contains(up, "program="+rule) {
			t.Errorf("up.sh builds %s of something else than %s", name, folder)
		}
	}
}

// address checks that host:port, as pods write it, leads to a port that a
// container listens on.
func address(t *testing.T, objects []object, hostport string) {
	t.Helper()
	host, port, ok := strings.Cut(hostport, ":")
	name, namespace, _ := strings.Cut(host, ".")
	if !ok || namespace != "ticktape" {
		t.Errorf("%s is no service of namespace ticktape with its port", hostport)
		return
	}
	for _, p := range find(t, objects, "Service", name).list("spec", "ports") {
		if strconv.Itoa(p.number("port")) == port {
			return
		}
	}
	t.Errorf("service %s has no port %s", name, port)
}

func TestAddressesLeadSomewhere(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []object) {
		for name, f := range functions(t).Functions {
			for _, variable := range []string{"KAFKA_BROKERS", "CASSANDRA_HOSTS"} {
				if f.Environment[variable] == "" {
					t.Errorf("function %s has no %s", name, variable)
				}
				address(t, objects, f.Environment[variable])
			}
		}
		for _, w := range workloads(objects) {
			c := container(w)
			for _, variable := range []string{"KAFKA_BROKERS", "CASSANDRA_HOSTS"} {
				if v := value(c, variable); v != "" {
					address(t, objects, v)
				}
			}
			if v := value(c, "GATEWAY_URL"); v != "" && v != "http://gateway.openfaas:8080" {
				t.Errorf("%s looks for the gateway at %s", w.name(), v)
			}
			if v := value(c, "PULSE_TARGETS"); v != "" {
				for target := range strings.SplitSeq(v, ",") {
					name, url, _ := strings.Cut(target, "=")
					hostport := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/metrics")
					if !strings.HasPrefix(hostport, name+".") {
						t.Errorf("the metrics of %s are sought at %s", name, url)
					}
					address(t, objects, hostport)
				}
			}
		}
		market := "market.ticktape:8099"
		address(t, objects, market)
		if v := value(container(find(t, objects, "Deployment", "yahoo-connector")), "YAHOO_STREAM_URL"); !strings.Contains(v, "//"+market+"/") {
			t.Errorf("the streamer looks for the market at %s", v)
		}
		if !strings.Contains(read(t, "up.sh"), "YAHOO_URL=http://"+market) {
			t.Errorf("up.sh tells the functions of another market than %s", market)
		}

		for _, o := range objects {
			if o.kind() != "Service" {
				continue
			}
			var behind []object
			for _, w := range workloads(objects) {
				if covers(o.object("spec", "selector"), w) {
					behind = append(behind, w)
				}
			}
			if len(behind) != 1 {
				t.Errorf("service %s leads to %d workloads", o.name(), len(behind))
				continue
			}
			for _, p := range o.list("spec", "ports") {
				port := slices.IndexFunc(container(behind[0]).list("ports"), func(c object) bool { return c.text("name") == p.text("targetPort") })
				if port < 0 || container(behind[0]).list("ports")[port].number("containerPort") != p.number("port") {
					t.Errorf("service %s: port %d leads to no port of that number", o.name(), p.number("port"))
				}
			}
		}
	})
}

func TestScrapeAnnotationsNameThePortOfMetrics(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []object) {
		for _, w := range workloads(objects) {
			a := w.object("spec", "template", "metadata", "annotations")
			if w.kind() == "StatefulSet" || w.name() == "market" {
				continue // they have no metrics of ours
			}
			if a.text("prometheus.io/scrape") != "true" || a.text("prometheus.io/path") != "/metrics" || a.text("prometheus.io/port") != strconv.Itoa(container(w).list("ports")[0].number("containerPort")) {
				t.Errorf("%s: annotations %v", w.name(), a)
			}
		}
	})
}

func TestWhoIsNotNamedIsRefused(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []object) {
		deny := find(t, objects, "NetworkPolicy", "default-deny").object("spec")
		if types, _ := deny.at("policyTypes").([]any); len(deny.object("podSelector")) != 0 || !slices.Equal(types, []any{"Ingress", "Egress"}) || deny.at("ingress") != nil || deny.at("egress") != nil {
			t.Errorf("default-deny lets something through: %v", deny)
		}
		names := map[string]bool{}
		for _, w := range workloads(objects) {
			names[w.name()] = true
		}
		policy := map[string]bool{}
		for _, o := range objects {
			if o.kind() != "NetworkPolicy" {
				continue
			}
			policy[o.name()] = true
			// A name that no pod has would silently let nobody through.
			text, err := yaml.Marshal(map[string]any(o.object("spec")))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`app\.kubernetes\.io/name: (\S+)`).FindAllStringSubmatch(string(text), -1) {
				if !names[m[1]] {
					t.Errorf("policy %s names %s, which there is not", o.name(), m[1])
				}
			}
			for _, rule := range slices.Concat(o.list("spec", "ingress"), o.list("spec", "egress")) {
				for _, e := range slices.Concat(rule.list("from"), rule.list("to")) {
					for _, x := range e.list("podSelector", "matchExpressions") {
						for _, v := range x["values"].([]any) {
							if x.text("key") == "app.kubernetes.io/name" && !names[v.(string)] {
								t.Errorf("policy %s names %s, which there is not", o.name(), v)
							}
						}
					}
				}
			}
		}
		for _, w := range workloads(objects) {
			if w.kind() == "StatefulSet" && !policy[w.name()] {
				t.Errorf("nobody is let through to %s", w.name())
			}
		}
	})
}

func TestSecretsAreThoseThatUpMakes(t *testing.T) {
	up := read(t, "up.sh")
	eachOverlay(t, func(t *testing.T, objects []object) {
		for _, o := range objects {
			if o.kind() == "Secret" {
				t.Errorf("secret %s is in the repository", o.name())
			}
		}
		for _, w := range workloads(objects) {
			var mounted []string
			for _, v := range w.list("spec", "template", "spec", "volumes") {
				for _, s := range v.list("projected", "sources") {
					mounted = append(mounted, s.text("secret", "name"))
				}
			}
			var want []string
			switch w.text("spec", "template", "metadata", "labels", "app.kubernetes.io/component") {
			case "connector":
				want = []string{trigger.TokenSecret, "basic-auth"}
			case "dashboard":
				want = []string{trigger.TokenSecret}
			}
			if !slices.Equal(mounted, want) {
				t.Errorf("%s has the secrets %v, want %v", w.name(), mounted, want)
			}
			for _, name := range mounted {
				if !strings.Contains(up, "put_secret "+name+" ") {
					t.Errorf("up.sh makes no secret %s", name)
				}
			}
		}
	})
	for name, f := range functions(t).Functions {
		for _, secret := range f.Secrets {
			if !strings.Contains(up, "faas secret create "+secret) {
				t.Errorf("up.sh creates no secret %s for function %s", secret, name)
			}
		}
	}
}

func TestTimeLimitsGrowFromTheInsideOut(t *testing.T) {
	values := documents(t, "openfaas.yaml")[0]
	duration := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		return d
	}
	upstream := duration(values.text("gateway", "upstreamTimeout"))
	for name, f := range functions(t).Functions {
		if write := duration(f.Environment["write_timeout"]); write >= upstream {
			t.Errorf("%s: write_timeout %v is not below the gateway's %v", name, write, upstream)
		}
	}
	for _, keys := range [][]string{{"gateway", "readTimeout"}, {"gateway", "writeTimeout"}, {"faasnetes", "readTimeout"}, {"faasnetes", "writeTimeout"}} {
		if d := duration(values.text(keys...)); d <= upstream {
			t.Errorf("%v %v is not above upstreamTimeout %v", keys, d, upstream)
		}
	}
	// The defaults of CALL_TIMEOUT, which connectors' READMEs tell.
	for _, connector := range []string{"kafka", "cron"} {
		m := regexp.MustCompile("`CALL_TIMEOUT` \\| `(\\w+)`").FindStringSubmatch(read(t, "../../connectors/"+connector+"/README.md"))
		if m == nil {
			t.Fatalf("connectors/%s/README.md tells no CALL_TIMEOUT", connector)
		}
		call := duration(m[1])
		if call >= upstream {
			t.Errorf("the %s connector's CALL_TIMEOUT %v is not below the gateway's %v", connector, call, upstream)
		}
		eachOverlay(t, func(t *testing.T, objects []object) {
			w := find(t, objects, "Deployment", connector+"-connector")
			if v := value(container(w), "CALL_TIMEOUT"); v != "" {
				t.Errorf("%s sets CALL_TIMEOUT, which this test takes from its README", w.name())
			}
			if grace := w.number("spec", "template", "spec", "terminationGracePeriodSeconds"); time.Duration(grace)*time.Second < call+10*time.Second {
				t.Errorf("%s is killed after %d s, while a call may take %v", w.name(), grace, call)
			}
		})
	}
}

func TestFunctionsKeepToTheLimitsOfTheCommunityEdition(t *testing.T) {
	s := functions(t)
	if len(s.Functions) > 15 {
		t.Errorf("%d functions, and it takes 15", len(s.Functions))
	}
	for name, f := range s.Functions {
		if f.Namespace != "" || f.Constraints != nil {
			t.Errorf("%s has a namespace or constraints", name)
		}
		if !strings.HasPrefix(f.Image, registry+"/") {
			t.Errorf("%s: image %s is not in the cluster's registry", name, f.Image)
		}
		labels, annotations := map[string]string{}, map[string]string{}
		if f.Labels != nil {
			labels = *f.Labels
		}
		if f.Annotations != nil {
			annotations = *f.Annotations
		}
		if most, err := strconv.Atoi(labels["com.openfaas.scale.max"]); err != nil || most > 5 {
			t.Errorf("%s: at most %q replicas, and 5 are what it takes", name, labels["com.openfaas.scale.max"])
		}
		if labels["com.openfaas.scale.zero"] != "" {
			t.Errorf("%s is to scale to zero, which it does not", name)
		}
		if strings.Contains(annotations["topic"], ",") {
			t.Errorf("%s: topic %q has a comma", name, annotations["topic"])
		}
	}
}

func TestPortsAreTheSameEverywhere(t *testing.T) {
	cluster, values := documents(t, "cluster.yaml")[0], documents(t, "openfaas.yaml")[0]
	ports := map[string]string{}
	for _, p := range cluster.list("ports") {
		outside, node, ok := strings.Cut(strings.TrimPrefix(p.text("port"), "127.0.0.1:"), ":")
		if !ok || !strings.HasPrefix(p.text("port"), "127.0.0.1:") {
			t.Errorf("port %s is not on loopback", p.text("port"))
		}
		ports["http://127.0.0.1:"+outside] = node
	}
	if gateway := functions(t).Provider.GatewayURL; ports[gateway] != strconv.Itoa(values.number("gateway", "nodePort")) {
		t.Errorf("stack.yml's gateway %s is not the chart's node port %d", gateway, values.number("gateway", "nodePort"))
	}
	dashboard := find(t, all(t, "single"), "Service", "dashboard-external").list("spec", "ports")[0].number("nodePort")
	if ports["http://127.0.0.1:8090"] != strconv.Itoa(dashboard) {
		t.Errorf("127.0.0.1:8090 is not the dashboard's node port %d", dashboard)
	}
	if use, _ := cluster.at("registries", "use").([]any); !slices.Equal(use, []any{registry}) {
		t.Errorf("the cluster uses the registries %v", use)
	}
	up := read(t, "up.sh")
	for _, p := range []string{"8080", "8090"} {
		if !strings.Contains(up, `127\.0\.0\.1:`+p+":") {
			t.Errorf("up.sh can't move port %s", p)
		}
	}
}

func TestThreeOfEachKeepWhatOneHeld(t *testing.T) {
	objects := all(t, "ha")
	for _, name := range []string{"kafka", "cassandra"} {
		w := find(t, objects, "StatefulSet", name)
		rules := w.list("spec", "template", "spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
		if w.number("spec", "replicas") != 3 || len(rules) != 1 || rules[0].text("topologyKey") != "kubernetes.io/hostname" || !covers(rules[0].object("labelSelector", "matchLabels"), w) {
			t.Errorf("%s is not three pods on three machines", name)
		}
	}
	kafka := container(find(t, objects, "StatefulSet", "kafka"))
	for variable, want := range map[string]string{
		"KAFKA_DEFAULT_REPLICATION_FACTOR": "3", "KAFKA_MIN_INSYNC_REPLICAS": "2", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "3",
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "3", "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "2",
		"KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "",
	} {
		if v := value(kafka, variable); v != want {
			t.Errorf("%s=%s, want %q", variable, v, want)
		}
	}
	settings := cassandraSettings(t, "ha")
	if settings["default_keyspace_rf"] != 3 || settings["minimum_replication_factor_fail_threshold"] != 3 || settings["hinted_handoff_enabled"] != true {
		t.Errorf("Cassandra's settings are %v", settings)
	}
	for name, f := range functions(t).Functions {
		for _, variable := range []string{"CASSANDRA_REPLICATION", "CASSANDRA_READ_CONSISTENCY", "CASSANDRA_WRITE_CONSISTENCY", "KAFKA_REPLICATION"} {
			if v := f.Environment[variable]; v != "" {
				t.Errorf("function %s: %s=%s overrides what the overlay says", name, variable, v)
			}
		}
	}
}

func TestOneBrokerSyncsWhatItAcknowledges(t *testing.T) {
	if v := value(container(find(t, all(t, "single"), "StatefulSet", "kafka")), "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES"); v != "1" {
		t.Errorf("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES=%q: a power cut would take acknowledged records", v)
	}
}

func TestBrokersAreFoundByTheNamesThatTheyTell(t *testing.T) {
	eachOverlay(t, func(t *testing.T, objects []object) {
		set := find(t, objects, "StatefulSet", "kafka")
		nodes := find(t, objects, "Service", set.text("spec", "serviceName"))
		if nodes.text("spec", "clusterIP") != "None" || nodes.at("spec", "publishNotReadyAddresses") != true {
			t.Error("a broker that is not ready has no name, so the controllers never find each other")
		}
		domain := "." + nodes.name() + ".ticktape.svc.cluster.local"
		c := container(set)
		if got, want := value(c, "KAFKA_ADVERTISED_LISTENERS"), "CLIENT://$(POD_NAME)"+domain+":9092"; got != want {
			t.Errorf("advertised as %s, want %s", got, want)
		}
		var voters []string
		for i := range set.number("spec", "replicas") {
			voters = append(voters, fmt.Sprintf("%d@kafka-%d%s:9093", i, i, domain))
		}
		if got, want := value(c, "KAFKA_CONTROLLER_QUORUM_VOTERS"), strings.Join(voters, ","); got != want {
			t.Errorf("voters %s, want %s", got, want)
		}
		// Where the variable is not set, the image sets it, and overrides the file.
		if v := value(c, "KAFKA_LISTENERS"); v != "CLIENT://:9092,CONTROLLER://:9093" {
			t.Errorf("KAFKA_LISTENERS=%s", v)
		}
		if id := value(c, "CLUSTER_ID"); len(id) != 22 {
			t.Errorf("CLUSTER_ID %q is not 16 bytes in base64", id)
		}
	})
	// Java reads it in the platform's encoding, which in a container may be ASCII.
	for _, r := range read(t, "base/files/kafka.properties") {
		if r > 127 {
			t.Errorf("kafka.properties has %q, which is not ASCII", r)
		}
	}
}

// cassandraSettings is what the init container makes of the two files.
func cassandraSettings(t *testing.T, overlay string) object {
	t.Helper()
	var o object
	if err := yaml.Unmarshal([]byte(read(t, "base/files/cassandra.yaml")+read(t, "overlays/"+overlay+"/cluster.yaml")), &o); err != nil {
		t.Fatalf("overlay %s: %v", overlay, err)
	}
	return o
}

func TestCassandraKeepsWhatItAcknowledges(t *testing.T) {
	for _, overlay := range []string{"single", "ha"} {
		s := cassandraSettings(t, overlay)
		want := object{"commitlog_sync": "group", "commitlog_sync_group_window": "5ms", "disk_failure_policy": "die", "commit_failure_policy": "die"}
		for k, v := range want {
			if s[k] != v {
				t.Errorf("%s: %s is %v, want %v", overlay, k, s[k], v)
			}
		}
		// The image's entry point fills them in, where they are.
		for _, k := range []string{"listen_address", "broadcast_address", "rpc_address", "broadcast_rpc_address", "num_tokens"} {
			if _, ok := s[k]; !ok {
				t.Errorf("%s: there is no line %s for the entry point", overlay, k)
			}
		}
	}
}

func TestStepsAreTheSameEverywhere(t *testing.T) {
	up := read(t, "up.sh")
	m := regexp.MustCompile(`(?m)^STEPS="(.*)"$`).FindStringSubmatch(up)
	if m == nil {
		t.Fatal("up.sh has no STEPS")
	}
	there := map[string]bool{}
	for _, f := range regexp.MustCompile(`(?m)^step_(\w+)\(\)`).FindAllStringSubmatch(up, -1) {
		there[f[1]] = true
	}
	readme := read(t, "README.md")
	steps := strings.Fields(m[1])
	for _, step := range steps {
		if !there[step] || !strings.Contains(readme, "| `"+step+"` |") {
			t.Errorf("step %s is not in up.sh or not in README.md", step)
		}
		delete(there, step)
	}
	if len(there) > 0 {
		t.Errorf("steps that nobody calls: %v", slices.Collect(maps.Keys(there)))
	}
}

// script runs one of the scripts where only the tools that it is given exist.
func script(t *testing.T, name string, tools []string, env ...string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	for _, tool := range []string{"bash", "dirname"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool := range tools {
		if err := os.WriteFile(filepath.Join(bin, tool), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("bash", name)
	cmd.Env = append([]string{"PATH=" + bin}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestWhatIsMissingOrWrongIsToldInOneLineWithARemedy(t *testing.T) {
	every := []string{"docker", "k3d", "kubectl", "helm", "faas-cli", "curl"}
	for _, c := range []struct {
		name, script string
		tools, env   []string
		want         []string
	}{
		{"nothing is installed", "up.sh", nil, nil, []string{"docker (", "k3d (", "kubectl (", "helm (", "faas-cli (", "install"}},
		{"one tool is missing", "up.sh", []string{"docker", "k3d", "kubectl", "faas-cli", "curl"}, nil, []string{"missing: helm (", "install"}},
		{"an overlay that there is not", "up.sh", every, []string{"OVERLAY=three"}, []string{"OVERLAY=three", "single", "ha"}},
		{"a source that there is not", "up.sh", every, []string{"SOURCE=auto"}, []string{"SOURCE=auto", "yahoo", "simulated"}},
		{"a step that there is not", "up.sh", every, []string{"STEP=all"}, []string{"STEP=all", "cluster", "check"}},
		{"a docker that does not answer", "up.sh", every, []string{"STEP=cluster"}, []string{"docker does not answer", "start it"}},
		{"nothing to take down with", "down.sh", nil, nil, []string{"docker (", "k3d (", "install"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := script(t, c.script, c.tools, c.env...)
			if err == nil {
				t.Error("it went on")
			}
			lines := strings.Split(strings.TrimSpace(out), "\n")
			last := lines[len(lines)-1]
			for _, w := range c.want {
				if !strings.Contains(last, w) {
					t.Errorf("it says %q; want %q in it", out, w)
				}
			}
		})
	}
}
