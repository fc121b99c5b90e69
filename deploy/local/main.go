// Command local is the one-machine runtime behind `make run`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"ticktape/deploy/local/run"
	"ticktape/deploy/local/servers"
	"ticktape/internal/service"
)

func main() {
	if done, code := service.Answer("ticktape", os.Args[1:], os.Stdout); done {
		os.Exit(code)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	log.SetOutput(io.Discard) // libraries that tell of every request
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal has its usual effect: we die at once, and all children with us.
	context.AfterFunc(ctx, stop)
	if err := command(ctx, os.Args[1:]); errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "ticktape: interrupted")
		os.Exit(1)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "ticktape:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	name := ""
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if name == "servers" {
		return runServers(ctx, args)
	}
	if err := service.ReadEnvFile(); err != nil {
		return err
	}
	cfg, err := run.ConfigFromEnv()
	if err != nil {
		return err
	}
	say := run.NewProgress(os.Stdout)
	defer say.Close()
	switch name {
	case "run":
		return run.Run(ctx, cfg, say)
	case "stop":
		return run.Stop(ctx, cfg, say)
	case "status":
		return run.Status(cfg, os.Stdout)
	case "clean":
		return run.Clean(ctx, cfg, say)
	case "test":
		return runTests(ctx, cfg, say)
	case "build":
		return run.Build(ctx, cfg, func(what string) { say.Say("%s", what) })
	case "programs":
		return run.BuildRuntime(ctx, cfg, args, func(what string) { say.Say("%s", what) })
	case "prepare":
		return prepare(ctx, cfg, args, say)
	case "functions":
		return run.Functions(ctx, cfg, say)
	case "ready":
		return run.Ready(cfg)
	}
	return fmt.Errorf("unknown command %q: want run, stop, status, clean, build, test or servers, or, in a container, prepare, functions or ready", name)
}

// prepare is what has to be done before the containers of compose.yaml start.
func prepare(ctx context.Context, cfg run.Config, args []string, say *run.Progress) error {
	flags := flag.NewFlagSet("prepare", flag.ContinueOnError)
	var c run.Choice
	flags.StringVar(&c.File, "file", "", "where to write the settings that are chosen")
	flags.StringVar(&c.Market, "market", "", "where the containers reach the simulated market")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if c.File == "" || c.Market == "" {
		return errors.New("prepare needs -file and -market; what follows them are the servers that store data")
	}
	c.Servers = flags.Args()
	return run.Prepare(ctx, cfg, c, say)
}

// runServers runs Kafka and Cassandra alone until it is told to stop, for those
// who work on the parts that use them.
func runServers(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("servers", flag.ContinueOnError)
	dir := flags.String("dir", "build/servers", "folder for data and logs")
	kafkaPort := flags.Int("kafka-port", 9092, "where Kafka's clients connect")
	cassandraPort := flags.Int("cassandra-port", 9042, "where Cassandra's clients connect")
	kafkaHeap := flags.Int("kafka-heap", 0, "Kafka's heap in MiB (0: 512)")
	cassandraHeap := flags.Int("cassandra-heap", 0, "Cassandra's heap in MiB (0: 1024)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	say := func(s string) { fmt.Println(s) }
	var kafka, cassandra *servers.Server
	var g errgroup.Group
	g.Go(func() (err error) {
		kafka, err = servers.StartKafka(ctx, servers.Options{Dir: filepath.Join(*dir, "kafka"), Port: *kafkaPort, HeapMB: *kafkaHeap, Say: say})
		return err
	})
	g.Go(func() (err error) {
		cassandra, err = servers.StartCassandra(ctx, servers.Options{Dir: filepath.Join(*dir, "cassandra"), Port: *cassandraPort, HeapMB: *cassandraHeap, Say: say})
		return err
	})
	err := g.Wait()
	if err == nil {
		fmt.Printf("Kafka serves %s and Cassandra %s; Ctrl-C stops both.\n", kafka.Addr(), cassandra.Addr())
		select {
		case <-ctx.Done():
		case <-kafka.Done():
			err = fmt.Errorf("kafka ended by itself: see %s", filepath.Join(*dir, "kafka", "kafka.log"))
		case <-cassandra.Done():
			err = fmt.Errorf("cassandra ended by itself: see %s", filepath.Join(*dir, "cassandra", "cassandra.log"))
		}
	}
	var stop errgroup.Group
	for _, s := range []*servers.Server{cassandra, kafka} {
		if s != nil {
			stop.Go(s.Stop)
		}
	}
	if stopped := stop.Wait(); err == nil {
		err = stopped
	}
	return err
}
