// Command cron triggers OpenFaaS functions on a schedule. README.md says how to
// run it and docs/trigger.md what functions see.
package main

import (
	"context"
	"time"
	_ "time/tzdata" // images without a time zone database

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"ticktape/connectors/cron/schedule"
	"ticktape/internal/gateway"
	"ticktape/internal/service"
)

type settings struct {
	Gateway gateway.Config
	// CallTimeout is the longest that a call may take.
	CallTimeout time.Duration `env:"CALL_TIMEOUT" envDefault:"60s"`
	Metrics     string        `env:"METRICS_ADDR" envDefault:":8082"`
}

func main() { service.Main("cron-connector", run) }

func run(ctx context.Context) error {
	cfg, err := service.Load[settings]()
	if err != nil {
		return err
	}
	if cfg.CallTimeout <= 0 {
		return service.Settingf("CALL_TIMEOUT must be above 0")
	}
	gw, err := gateway.New(cfg.Gateway, "cron-connector")
	if err != nil {
		return err
	}
	admin, err := service.Listen(ctx, "METRICS_ADDR", cfg.Metrics)
	if err != nil {
		return err
	}
	scheduler := schedule.New(gw, cfg.CallTimeout, schedule.NewMetrics(prometheus.DefaultRegisterer))

	var health service.Health
	listed := health.Flag("gateway")
	listed.NotReady("the functions are not listed yet")
	adminCtx, endAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer endAdmin()
	var g errgroup.Group
	g.Go(func() error { return service.Serve(adminCtx, admin, health.Handler()) })
	gw.Watch(ctx, func(functions []gateway.Function) {
		scheduler.Update(ctx, functions)
		listed.Ready()
	})
	listed.NotReady("stopping")
	scheduler.Close()
	endAdmin()
	return g.Wait()
}
