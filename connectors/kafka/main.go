// Command kafka triggers OpenFaaS functions with the records of Kafka topics.
// README.md says how to run it and docs/trigger.md what functions see.
package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"ticktape/connectors/kafka/delivery"
	"ticktape/internal/bus"
	"ticktape/internal/gateway"
	"ticktape/internal/service"
)

type settings struct {
	Gateway  gateway.Config
	Delivery delivery.Config
	Metrics  string `env:"METRICS_ADDR" envDefault:":8081"`
}

func main() { service.Main("kafka-connector", run) }

func run(ctx context.Context) error {
	cfg, err := service.Load[settings]()
	if err != nil {
		return err
	}
	if err := cfg.Delivery.Check(); err != nil {
		return err
	}
	kafka, err := bus.ConfigFromEnv()
	if err != nil {
		return err
	}
	gw, err := gateway.New(cfg.Gateway, "kafka-connector")
	if err != nil {
		return err
	}
	admin, err := service.Listen(ctx, "METRICS_ADDR", cfg.Metrics)
	if err != nil {
		return err
	}
	limitMemory()
	client := bus.New(kafka)
	defer client.Close()
	connector := delivery.New(cfg.Delivery, client, gw, delivery.NewMetrics(prometheus.DefaultRegisterer))

	var health service.Health
	listed, reached := health.Flag("gateway"), health.Flag("kafka")
	listed.NotReady("the functions are not listed yet")
	adminCtx, endAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer endAdmin()
	var g errgroup.Group
	g.Go(func() error { return service.Serve(adminCtx, admin, health.Handler()) })
	g.Go(func() error {
		awaitKafka(ctx, client, reached)
		return nil
	})
	gw.Watch(ctx, func(functions []gateway.Function) {
		connector.Update(ctx, functions)
		listed.Ready()
	})
	listed.NotReady("stopping")
	connector.Close()
	endAdmin()
	return g.Wait()
}

// awaitKafka waits until Kafka can be reached for the first time.
func awaitKafka(ctx context.Context, client *bus.Client, reached *service.Flag) {
	for told := false; ctx.Err() == nil; told = true {
		_, err := client.TopicInfo(ctx, "ticktape-ping")
		if err == nil || errors.Is(err, bus.ErrNoTopic) {
			reached.Ready()
			return
		}
		reached.NotReady(err.Error())
		if !told && ctx.Err() == nil {
			slog.Warn("Kafka can't be reached, waiting for it (KAFKA_BROKERS)", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// limitMemory keeps garbage from adding to the batches, whose size is bounded,
// unless GOMEMLIMIT says otherwise.
func limitMemory() {
	const limit = 220 << 20
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(limit)
	}
}
