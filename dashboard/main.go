// Dashboard shows the market live in a browser: it follows the topic of windows
// and serves a page that moves with it.
package main

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/dashboard/api"
	"ticktape/dashboard/hub"
	"ticktape/dashboard/push"
	"ticktape/dashboard/quotes"
	"ticktape/dashboard/tail"
	"ticktape/dashboard/web"
	"ticktape/internal/bus"
	"ticktape/internal/service"
)

type settings struct {
	Addr    string `env:"DASHBOARD_ADDR" envDefault:":8090"`
	Gateway string `env:"GATEWAY_URL" envDefault:"http://127.0.0.1:8080"`
	// Origins are further sites whose pages may connect, such as https://example.com.
	Origins []string `env:"DASHBOARD_ORIGINS"`
	Clients int      `env:"DASHBOARD_CLIENTS" envDefault:"20000"`
	// Lookback is how much of the topic's past is read at start.
	Lookback time.Duration `env:"DASHBOARD_LOOKBACK" envDefault:"48h"`
}

func main() { service.Main("dashboard", run) }

func run(ctx context.Context) error {
	cfg, err := service.Load[settings]()
	if err != nil {
		return err
	}
	kafka, err := bus.ConfigFromEnv()
	if err != nil {
		return err
	}
	page, err := web.Handler()
	if err != nil {
		return err
	}
	ln, err := service.Listen(ctx, "DASHBOARD_ADDR", cfg.Addr)
	if err != nil {
		return err
	}
	client := bus.New(kafka)
	defer client.Close()

	g, ctx := errgroup.WithContext(ctx)
	h := hub.New(hub.Config{Clients: cfg.Clients})
	streams := push.New(ctx, h, cfg.Origins)
	var health service.Health
	ready := health.Flag("windows")
	g.Go(func() error { return h.Run(ctx) })
	g.Go(func() error {
		return tail.Run(ctx, tail.Config{
			Client: client, Topic: kafka.WindowsTopic, Lookback: cfg.Lookback,
			Apply: h.Apply,
			Report: func(s tail.State) {
				h.SetSource(hub.Source(s))
				switch {
				case s.CaughtUp:
					ready.Ready() // Kafka away leaves the page as useful as it can be
				case s.Problem != "":
					ready.NotReady(s.Problem)
				default:
					ready.NotReady("reading what is in the topic")
				}
			},
		})
	})
	gateway := strings.TrimRight(cfg.Gateway, "/")
	g.Go(func() error { return quotes.Follow(ctx, gateway, h.Seed) })
	g.Go(func() error {
		return service.Serve(ctx, ln, api.Handler(api.Config{
			Hub: h, Push: streams, Health: &health, Page: page,
			History: api.NewHistory(gateway),
		}))
	})
	slog.Info("the dashboard is served", "addr", ln.Addr().String())
	err = g.Wait()
	streams.Wait()
	return err
}
