package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/types"
	"github.com/openfaas/go-sdk/stack"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/process"
	"ticktape/deploy/local/provider"
	"ticktape/deploy/local/run"
	"ticktape/deploy/local/servers"
	"ticktape/internal/bus"
	"ticktape/internal/store"
)

// rig is what all measurements share: the programs, built, and one Kafka and one
// Cassandra, durable as in production.
type rig struct {
	cfg              run.Config
	dir              string
	say              func(string)
	functions        map[string]stack.Function
	kafka, cassandra *servers.Server
	// profiles is the folder for profiles, empty where none are taken, and
	// ownProfiles where this process, which is the gateway, serves its own.
	profiles, ownProfiles string
	profiling             bool
}

func newRig(ctx context.Context, say func(string)) (*rig, error) {
	cfg, err := run.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	r := &rig{cfg: cfg, dir: filepath.Join(cfg.Cache, "bench"), say: say}
	if err := os.RemoveAll(r.dir); err != nil {
		return nil, err
	}
	services, err := stack.ParseYAMLFile(filepath.Join(cfg.Root, "stack.yml"), "", "", true)
	if err != nil {
		return nil, fmt.Errorf("read stack.yml: %w", err)
	}
	r.functions = services.Functions
	var g errgroup.Group
	g.Go(func() error { return run.BuildWithoutPage(ctx, cfg, say) })
	g.Go(func() error { return r.serve(ctx) })
	if err := g.Wait(); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// serve starts the servers that do not run: all at first, later those that died.
func (r *rig) serve(ctx context.Context) error {
	var g errgroup.Group
	for _, s := range []struct {
		name   string
		server **servers.Server
		start  func(context.Context, servers.Options) (*servers.Server, error)
		heap   run.Heap
	}{
		{"kafka", &r.kafka, servers.StartKafka, r.cfg.KafkaHeap},
		{"cassandra", &r.cassandra, servers.StartCassandra, r.cfg.CassandraHeap},
	} {
		if *s.server != nil {
			select {
			case <-(*s.server).Done():
			default:
				continue
			}
		}
		r.say("starting " + s.name)
		g.Go(func() (err error) {
			*s.server, err = startServer(ctx, s.start, servers.Options{Dir: filepath.Join(r.dir, s.name), HeapMB: int(s.heap), Cache: r.cfg.Cache})
			return err
		})
	}
	return g.Wait()
}

func startServer(ctx context.Context, start func(context.Context, servers.Options) (*servers.Server, error), o servers.Options) (*servers.Server, error) {
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	o.Port = port
	return start(ctx, o)
}

func (r *rig) close() {
	var g errgroup.Group
	for _, s := range []*servers.Server{r.cassandra, r.kafka} {
		if s != nil {
			g.Go(s.Stop)
		}
	}
	if err := g.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: stop the servers:", err)
	}
}

// bench is one measurement's own topics, keyspace and processes on the rig.
type bench struct {
	*rig
	bus      bus.Config
	client   *bus.Client
	store    *store.Store
	env      []string
	provider *provider.Provider
	gateway  *http.Server
	url      string // of the gateway
	programs map[string]*process.Process
}

// token is what triggered functions want to see.
const token = "bench"

var benches int

// begin makes topics and a keyspace and starts the functions. Nothing flows
// before the Kafka connector is started.
func (r *rig) begin(ctx context.Context, partitions int, functions ...string) (*bench, error) {
	return r.beginWith(ctx, partitions, nil, functions...)
}

// beginWith is begin with settings of the functions that go over stack.yml's.
func (r *rig) beginWith(ctx context.Context, partitions int, settings map[string]string, functions ...string) (b *bench, err error) {
	benches++
	name := fmt.Sprintf("bench%d", benches)
	b = &bench{rig: r, programs: map[string]*process.Process{}}
	if err := r.serve(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.end()
		}
	}()
	b.bus = bus.Config{
		Brokers: []string{r.kafka.Addr()}, TicksTopic: name + ".ticks", WindowsTopic: name + ".windows", DeadTopic: name + ".dead",
		TickPartitions: partitions,
	}
	b.client = bus.New(b.bus)
	if err := b.client.EnsureTopics(ctx, bus.StandardTopics(b.bus)...); err != nil {
		return b, err
	}
	if err := run.SyncTopics(ctx, b.bus, b.bus.TicksTopic, b.bus.DeadTopic); err != nil {
		return b, err
	}
	cfg, err := store.ConfigFromEnv()
	if err != nil {
		return b, err
	}
	cfg.Hosts, cfg.Keyspace, cfg.Timeout = []string{r.cassandra.Addr()}, name, time.Minute
	if b.store, err = store.Open(ctx, cfg); err != nil {
		return b, err
	}

	port, err := servers.FreePort()
	if err != nil {
		return b, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return b, err
	}
	b.url = "http://" + listener.Addr().String()
	dir := filepath.Join(r.dir, name)
	b.env = []string{
		"KAFKA_BROKERS=" + r.kafka.Addr(), "CASSANDRA_HOSTS=" + r.cassandra.Addr(), "CASSANDRA_KEYSPACE=" + name,
		"TICKS_TOPIC=" + b.bus.TicksTopic, "WINDOWS_TOPIC=" + b.bus.WindowsTopic, "DEAD_TOPIC=" + b.bus.DeadTopic,
		"TICK_PARTITIONS=" + strconv.Itoa(partitions), "GATEWAY_URL=" + b.url,
		"SECRETS_DIR=" + filepath.Join(dir, "secrets"), "METRICS_ADDR=127.0.0.1:0",
		// The connectors end before the functions, so there are no calls to wait for.
		"healthcheck_interval=0s",
	}
	if r.profiling {
		b.env = append(b.env, "PPROF=1", "PPROF_ADDR=127.0.0.1:0")
	}
	b.provider, err = provider.New(provider.Config{
		Dir: dir, WorkDir: r.cfg.Root, Env: process.Environ(), Force: b.env,
		Binary: func(_ context.Context, image string) (string, bool, error) {
			return filepath.Join(r.cfg.Bin, "functions", image), true, nil
		},
	})
	if err != nil {
		return b, err
	}
	b.gateway = &http.Server{Handler: b.provider.Handler()}
	go func() {
		if err := b.gateway.Serve(listener); err != http.ErrServerClosed {
			fmt.Fprintln(os.Stderr, "bench: gateway:", err)
		}
	}()
	if err := b.provider.SetSecret("trigger-token", []byte(token)); err != nil {
		return b, err
	}
	for _, name := range functions {
		f := r.functions[name]
		annotations := map[string]string{}
		if f.Annotations != nil {
			annotations = maps.Clone(*f.Annotations) // each run has a topic of its own
		}
		if annotations["topic"] == "ticks" {
			annotations["topic"] = b.bus.TicksTopic
			annotations["kafka.dead-letter-topic"] = b.bus.DeadTopic
		}
		environment := map[string]string{}
		maps.Copy(environment, f.Environment)
		maps.Copy(environment, settings)
		if err := b.provider.Deploy(ctx, types.FunctionDeployment{
			Service: name, Image: name, EnvVars: environment, Secrets: f.Secrets, Annotations: &annotations,
		}); err != nil {
			return b, err
		}
	}
	return b, nil
}

// logOf is the file that has what a program says.
func (b *bench) logOf(program string) string {
	return filepath.Join(b.dir, b.bus.TicksTopic+"."+program+".log")
}

// start runs a program of the checkout.
func (b *bench) start(name string, env []string, args ...string) error {
	log, err := process.OpenLog(b.logOf(name))
	if err != nil {
		return err
	}
	p, err := process.Start(process.Spec{
		Name: name, Path: filepath.Join(b.cfg.Bin, name), Args: args, Dir: b.cfg.Root, Log: log, StopTimeout: time.Minute,
		Env: append(process.Environ(b.env...), env...),
	})
	if err != nil {
		return err
	}
	b.programs[name] = p
	return nil
}

// end stops the processes, and drops what the measurement stored so that later
// ones find the servers as this one did.
func (b *bench) end() {
	complain := func(what string, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", what, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, p := range b.programs {
		complain("stop "+name, p.Stop())
	}
	if b.provider != nil {
		complain("stop the functions", b.provider.Close())
	}
	if b.gateway != nil {
		complain("stop the gateway", b.gateway.Shutdown(ctx))
	}
	if b.store != nil {
		complain("drop the keyspace", b.store.DropKeyspace(ctx))
		b.store.Close()
	}
	if b.client != nil {
		_, err := b.client.Kafka().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{b.bus.TicksTopic, b.bus.WindowsTopic, b.bus.DeadTopic}})
		complain("delete the topics", err)
		b.client.Close()
	}
}

// pids names every process that a measurement is charged for. The gateway runs
// in this one.
func (b *bench) pids() map[string]int {
	pids := map[string]int{"kafka": b.kafka.PID(), "cassandra": b.cassandra.PID(), "gateway": os.Getpid()}
	for name, p := range b.programs {
		pids[strings.ReplaceAll(name, "-", " ")] = p.PID()
	}
	for _, i := range b.provider.Instances() {
		pids["function "+i.Function] = i.PID
	}
	return pids
}
