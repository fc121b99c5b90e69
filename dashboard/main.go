// Dashboard shows the market live in a browser: it follows the topic of windows
// and serves a page that moves with it.
package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"ticktape/dashboard/api"
	"ticktape/dashboard/ask"
	"ticktape/dashboard/hub"
	"ticktape/dashboard/pulse"
	"ticktape/dashboard/push"
	"ticktape/dashboard/tail"
	"ticktape/dashboard/web"
	"ticktape/internal/bus"
	"ticktape/internal/service"
	"ticktape/internal/window/windowpb"
)

type settings struct {
	Addr    string `env:"DASHBOARD_ADDR" envDefault:":8090"`
	Gateway string `env:"GATEWAY_URL" envDefault:"http://127.0.0.1:8080"`
	// Origins are further sites whose pages may connect, such as https://example.com.
	Origins []string `env:"DASHBOARD_ORIGINS"`
	Clients int      `env:"DASHBOARD_CLIENTS" envDefault:"20000"`
	// Token, where it is not empty, has to be told by who wants data.
	Token string `env:"DASHBOARD_TOKEN,unset"`
	// Targets are processes whose metrics are shown: name=url, with commas between.
	Targets []string `env:"PULSE_TARGETS"`
	// Groups are the consumer groups of the topic of ticks whose lag is shown, and
	// Functions those whose health is.
	Groups    []string `env:"PULSE_GROUPS" envDefault:"process,persist"`
	Functions []string `env:"PULSE_FUNCTIONS" envDefault:"fetch,process,persist,seal,quotes,candles,ticks,watchlist,backfill"`
	// Lookback is how much of the topic's past is read at start.
	Lookback time.Duration `env:"DASHBOARD_LOOKBACK" envDefault:"48h"`
}

func main() { service.Main("dashboard", run) }

func run(ctx context.Context) error {
	cfg, err := service.Load[settings]()
	if err != nil {
		return err
	}
	if cfg.Token != "" && len(cfg.Token) < shortestToken {
		return service.Settingf("DASHBOARD_TOKEN has %d characters: give it at least %d, as from openssl rand -hex 16", len(cfg.Token), shortestToken)
	}
	targets, err := pulse.ParseTargets(cfg.Targets)
	if err != nil {
		return err
	}
	functions, err := ask.New(cfg.Gateway)
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
	history := ask.NewHistory(functions)
	list := ask.NewList(functions, h.SetList)
	letters, latency := pulse.NewLetters(), &pulse.Latency{}
	pipeline := pulse.New(pulse.Config{
		Log: client, Topic: kafka.TicksTopic, Groups: cfg.Groups, Functions: cfg.Functions, Targets: targets,
		Ask: functions, Letters: letters, Latency: latency, Hub: h, Sealed: history.Changed,
	})
	prometheus.MustRegister(api.MarketMetrics(h))
	var health service.Health
	ready := health.Flag("windows")
	var live atomic.Bool
	g.Go(func() error { return h.Run(ctx) })
	g.Go(func() error {
		return tail.Run(ctx, tail.Config{
			Client: client, Topic: kafka.WindowsTopic, Lookback: cfg.Lookback,
			Apply: h.Apply,
			Logged: func(updates []*windowpb.Update, at []int64) {
				if live.Load() { // what was in the topic at start says nothing about how fast things are
					latency.Add(updates, at)
				}
			},
			Report: func(s tail.State) {
				h.SetSource(hub.Source(s))
				live.Store(s.CaughtUp)
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
	g.Go(func() error { return list.Follow(ctx) })
	g.Go(func() error { return functions.FollowQuotes(ctx, h.Seed) })
	g.Go(func() error { return functions.FollowDays(ctx, h) })
	g.Go(func() error { return letters.Follow(ctx, client, kafka.DeadTopic) })
	g.Go(func() error { return pipeline.Run(ctx) })
	g.Go(func() error {
		return service.Serve(ctx, ln, api.Handler(api.Config{
			Hub: h, Push: streams, Health: &health, Page: page, Token: cfg.Token,
			History: history, List: list, Letters: letters,
		}))
	})
	slog.Info("the dashboard is served", "addr", ln.Addr().String(), "token", cfg.Token != "")
	err = g.Wait()
	streams.Wait()
	return err
}

// shortestToken is what can't be guessed within the tries that are allowed.
const shortestToken = 12
