// Command yahoo streams prices: it follows the watch list over Yahoo's WebSockets
// and publishes each trade that it hears of to topic "ticks". README.md says how to
// run it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	_ "time/tzdata" // images without a time zone database

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"ticktape/connectors/yahoo/feed"
	"ticktape/internal/bus"
	"ticktape/internal/gateway"
	"ticktape/internal/ingest"
	"ticktape/internal/service"
	"ticktape/internal/store"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo/stream"
)

type settings struct {
	Stream  stream.Config
	Feed    feed.Config
	Gateway gateway.Config
	// Fetch is the name of the function that polls, PersistGroup the consumer group
	// of the one that stores ticks.
	Fetch        string `env:"FETCH_FUNCTION" envDefault:"fetch"`
	PersistGroup string `env:"PERSIST_GROUP" envDefault:"persist"`
	Metrics      string `env:"METRICS_ADDR" envDefault:":8084"`
}

func main() { service.Main("yahoo-connector", run) }

func run(ctx context.Context) error {
	cfg, err := service.Load[settings]()
	if err != nil {
		return err
	}
	busCfg, err := bus.ConfigFromEnv()
	if err != nil {
		return err
	}
	gw, err := gateway.New(cfg.Gateway, "yahoo-connector")
	if err != nil {
		return err
	}
	kafka := bus.New(busCfg)
	defer kafka.Close()
	ticks := kafka.OnceProducer(busCfg.TicksTopic)
	cassandra := store.NewLazy(store.ConfigFromEnv)
	f, err := feed.New(cfg.Feed, feed.Parts{
		List: watchlist.New(cassandra), Ticks: ticks,
		Memory:  ingest.NewMemory(kafka, bus.StandardTopics(busCfg)[0], cfg.PersistGroup, cassandra),
		Barrier: func(ctx context.Context) error { return seen(ctx, gw, cfg.Fetch) },
	}, prometheus.DefaultRegisterer)
	if err != nil {
		return err
	}
	pool, err := stream.New(cfg.Stream, f.Offer, prometheus.DefaultRegisterer)
	if err != nil {
		return err
	}
	admin, err := service.Listen(ctx, "METRICS_ADDR", cfg.Metrics)
	if err != nil {
		return err
	}

	var health service.Health
	mux := http.NewServeMux()
	mux.Handle("/", health.Handler())
	mux.HandleFunc("GET /symbols", func(w http.ResponseWriter, _ *http.Request) {
		symbols, problems := f.Symbols()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"symbols": symbols, "problems": problems}) // else the client has left
	})
	adminCtx, endAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer endAdmin()
	var g errgroup.Group
	g.Go(func() error { return service.Serve(adminCtx, admin, mux) })
	g.Go(func() error {
		defer endAdmin()
		var streaming errgroup.Group
		streaming.Go(func() error { pool.Run(ctx); return nil })
		f.Run(ctx, pool)
		_ = streaming.Wait() // it has no errors
		return nil
	})
	return g.Wait()
}

// seen returns nil once a call of fetch that begins now has read the watch list
// and ended. Its calls take turns, so none is under way then that began before.
func seen(ctx context.Context, gw *gateway.Client, function string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	answer, err := gw.Call(ctx, gateway.Function{Name: function}, http.Header{"Content-Type": {"application/json"}})
	if err != nil {
		return err
	}
	var sum ingest.Summary
	switch {
	case answer.Status != http.StatusOK:
		return fmt.Errorf("function %s answers %d: %.200q", function, answer.Status, answer.Body)
	case json.Unmarshal(answer.Body, &sum) != nil:
		return fmt.Errorf("function %s answers something else than a summary: %.200q", function, answer.Body)
	case sum.Stale != "":
		return fmt.Errorf("function %s has not read the watch list: %s", function, sum.Stale)
	}
	return nil
}
