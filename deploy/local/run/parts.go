package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/types"
	"github.com/openfaas/go-sdk/stack"
	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/process"
	"ticktape/deploy/local/provider"
	"ticktape/deploy/local/servers"
	"ticktape/internal/bus"
	"ticktape/internal/service"
	"ticktape/internal/store"
)

func (r *runtime) startKafka(ctx context.Context) error {
	if !r.cfg.ownKafka() {
		return r.ensureTopics(ctx)
	}
	log, err := r.openLog("kafka")
	if err != nil {
		return err
	}
	step := r.say.Begin("starting Kafka")
	defer step.End("")
	err = r.keep(ctx, "server", "kafka", log, func(ctx context.Context) (process.Plan, error) {
		return servers.Kafka(ctx, servers.Options{
			Dir: filepath.Join(r.source.data(r.cfg.Dir), "kafka"), Port: r.cfg.KafkaPort, HeapMB: int(r.cfg.KafkaHeap),
			Cache: r.cfg.Cache, Log: log, Say: step.Detail,
		})
	})
	if err != nil {
		return err
	}
	if err := r.ensureTopics(ctx); err != nil {
		return err
	}
	step.End("Kafka is ready on " + r.cfg.brokers())
	return nil
}

func (r *runtime) ensureTopics(ctx context.Context) error {
	cfg, err := bus.ConfigFromEnv()
	if err != nil {
		return err
	}
	cfg.Brokers = strings.Split(r.cfg.brokers(), ",")
	client := bus.New(cfg)
	defer client.Close()
	if err := client.EnsureTopics(ctx, bus.StandardTopics(cfg)...); err != nil || !r.cfg.ownKafka() && !r.cfg.KafkaSync {
		return err
	}
	return SyncTopics(ctx, cfg, cfg.TicksTopic, cfg.DeadTopic)
}

// SyncTopics has Kafka write these topics to the disk before it acknowledges. A
// cluster keeps a record through a power cut on its other machines; here the
// last records would be lost, their offsets given to others, and those taken for
// what has been counted already.
func SyncTopics(ctx context.Context, cfg bus.Config, topics ...string) error {
	client := &kafka.Client{Addr: kafka.TCP(cfg.Brokers...), Timeout: 10 * time.Second}
	req := &kafka.IncrementalAlterConfigsRequest{}
	for _, topic := range topics {
		req.Resources = append(req.Resources, kafka.IncrementalAlterConfigsRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "flush.messages", Value: "1", ConfigOperation: kafka.ConfigOperationSet}},
		})
	}
	resp, err := client.IncrementalAlterConfigs(ctx, req)
	if err != nil {
		return fmt.Errorf("have Kafka sync its topics: %w", err)
	}
	for _, r := range resp.Resources {
		if r.Error != nil {
			return fmt.Errorf("have Kafka sync topic %s: %w", r.ResourceName, r.Error)
		}
	}
	return nil
}

func (r *runtime) startCassandra(ctx context.Context) error {
	step := r.say.Begin("starting Cassandra")
	defer step.End("")
	if r.cfg.ownCassandra() {
		log, err := r.openLog("cassandra")
		if err != nil {
			return err
		}
		err = r.keep(ctx, "server", "cassandra", log, func(ctx context.Context) (process.Plan, error) {
			return servers.Cassandra(ctx, servers.Options{
				Dir: filepath.Join(r.source.data(r.cfg.Dir), "cassandra"), Port: r.cfg.CassandraPort, HeapMB: int(r.cfg.CassandraHeap),
				Cache: r.cfg.Cache, Log: log, Say: step.Detail,
			})
		})
		if err != nil {
			return err
		}
	}
	step.Detail("creating tables")
	cfg, err := store.ConfigFromEnv()
	if err != nil {
		return err
	}
	cfg.Hosts = strings.Split(r.cfg.hosts(), ",")
	// Tables are made one after another on a machine that is busy starting.
	cfg.Timeout = 20 * time.Second
	s, err := store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	s.Close()
	step.End("Cassandra is ready on " + r.cfg.hosts())
	return nil
}

// plan is how a program of the checkout is run.
func (r *runtime) plan(name string, log *process.Log, port int, ready func(context.Context) error, env ...string) process.Plan {
	env = append(append(process.Environ(provider.GoMaxProcs(), "SECRETS_DIR="+r.cfg.secretsDir()), r.cfg.addresses()...), env...)
	return process.Plan{
		Spec: process.Spec{
			Name: name, Path: r.build.program(name), Env: env, Dir: r.cfg.Dir, Log: log,
			// Above the longest call that a connector has to finish.
			StopTimeout: 75 * time.Second,
		},
		Port: port, Ready: ready, ReadyTimeout: time.Minute,
	}
}

// makeSecrets makes up the secrets that are not there yet.
func (r *runtime) makeSecrets() error {
	if err := os.MkdirAll(r.cfg.secretsDir(), 0o700); err != nil {
		return fmt.Errorf("make the folder of secrets: %w", err)
	}
	for name, make := range map[string]func() string{
		"trigger-token":       randomText,
		"basic-auth-user":     func() string { return "admin" },
		"basic-auth-password": randomText,
	} {
		if name != "trigger-token" && !r.cfg.BasicAuth {
			continue
		}
		f, err := os.OpenFile(filepath.Join(r.cfg.secretsDir(), name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err == nil {
			_, err = f.WriteString(make())
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fmt.Errorf("make secret %s: %w", name, err)
		}
	}
	return nil
}

func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (r *runtime) startFunctions(ctx context.Context) error {
	step := r.say.Begin("starting the functions")
	defer step.End("")
	env := process.Environ(r.source.env...)
	var credentials *auth.BasicAuthCredentials
	if r.cfg.BasicAuth {
		var err error
		reader := auth.ReadBasicAuthFromDisk{SecretMountPath: r.cfg.secretsDir()}
		if credentials, err = reader.Read(); err != nil {
			return fmt.Errorf("read the password of the functions' API: %w", err)
		}
	}
	p, err := provider.New(provider.Config{
		Dir: filepath.Join(r.cfg.Dir, "functions"), WorkDir: r.cfg.Root,
		Binary: func(ctx context.Context, image string) (string, bool, error) {
			name, ok := r.build.byImage(image)
			if !ok {
				return "", false, nil
			}
			path, err := r.build.freshFunction(ctx, name)
			return path, true, err
		},
		Env: env, Force: append(r.cfg.addresses(), "host=127.0.0.1", "healthcheck_interval=0s"),
		Credentials: credentials, Version: service.Revision(), Watcher: r.watch,
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", r.cfg.serving(r.cfg.FunctionsPort))
	if err != nil {
		return fmt.Errorf("serve the functions: %w", err)
	}
	server := &http.Server{Handler: p.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	r.mu.Lock()
	r.provider = p
	r.mu.Unlock()
	r.onStop("the functions", func() error {
		grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close() // those who follow logs never leave by themselves
		}
		<-served
		return errors.Join(err, p.Close())
	})

	var g errgroup.Group
	for name, f := range r.build.functions {
		g.Go(func() error {
			if err := p.Deploy(ctx, deployment(name, f.Image, f)); err != nil {
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := p.Restore(ctx); err != nil {
		return err
	}
	step.End(fmt.Sprintf("%d functions are ready on %s", len(r.build.functions), r.cfg.gatewayURL()))
	return nil
}

func (r *runtime) startRest(ctx context.Context) error {
	step := r.say.Begin("starting the dashboard and the connectors")
	defer step.End("")
	addr := local(r.cfg.DashboardPort)
	log, err := r.openLog("dashboard")
	if err != nil {
		return err
	}
	names := []string{"kafka-connector", "cron-connector"}
	if r.streams() {
		names = append(names, "yahoo-connector")
	}
	// Connectors keep their ports, where the dashboard reads their metrics.
	ports, targets := map[string]int{}, make([]string, len(names))
	for i, name := range names {
		if ports[name], err = servers.FreePort(); err != nil {
			return err
		}
		targets[i] = fmt.Sprintf("%s=http://%s/metrics", name, local(ports[name]))
	}
	err = r.keep(ctx, "dashboard", "dashboard", log, func(context.Context) (process.Plan, error) {
		return r.plan("dashboard", log, r.cfg.DashboardPort, awaitDial(addr), "DASHBOARD_ADDR="+addr, "PULSE_TARGETS="+strings.Join(targets, ",")), nil
	})
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, name := range names {
		port := ports[name]
		g.Go(func() error {
			log, err := r.openLog(name)
			if err != nil {
				return err
			}
			return r.keep(ctx, name, name, log, func(context.Context) (process.Plan, error) {
				// A name of its own lets the Kafka connector go on at once after a crash.
				return r.plan(name, log, port, awaitDial(local(port)), slices.Concat(r.source.env, []string{"METRICS_ADDR=" + local(port), "KAFKA_INSTANCE=local"})...), nil
			})
		})
	}
	return g.Wait()
}

// awaitDial waits until somebody listens at addr.
func awaitDial(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		var d net.Dialer
		for {
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err == nil {
				return conn.Close()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("nothing listens on %s: %w", addr, err)
			}
		}
	}
}

// deployment says of a function in stack.yml what faas-cli deploy says of it.
func deployment(name, image string, f stack.Function) types.FunctionDeployment {
	d := types.FunctionDeployment{
		Service: name, Image: image, EnvProcess: f.FProcess, EnvVars: map[string]string{},
		Secrets: f.Secrets, Labels: f.Labels, Annotations: f.Annotations, ReadOnlyRootFilesystem: f.ReadOnlyRootFilesystem,
	}
	for k, v := range f.Environment {
		d.EnvVars[k] = v
	}
	if f.Limits != nil {
		d.Limits = &types.FunctionResources{Memory: f.Limits.Memory, CPU: f.Limits.CPU}
	}
	if f.Constraints != nil {
		d.Constraints = *f.Constraints
	}
	return d
}
