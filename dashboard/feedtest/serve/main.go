// Serve serves the dashboard on a made-up market, without Kafka or functions: for
// work on the page. POST /control/STATE shows a state, GET /control/ lists them.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"ticktape/dashboard/feedtest/stage"
	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

type settings struct {
	Addr    string `env:"STAGE_ADDR" envDefault:"127.0.0.1:8099"`
	Symbols int    `env:"STAGE_SYMBOLS" envDefault:"20"`
	// Rate is in trades a second.
	Rate int `env:"STAGE_RATE" envDefault:"45"`
}

func main() { service.Main("stage", run) }

func run(ctx context.Context) error {
	cfg, err := service.Load[settings]()
	if err != nil {
		return err
	}
	// Changing the watch list takes a token, which the made-up function does not check.
	if os.Getenv("SECRETS_DIR") == "" {
		dir, err := secrets()
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	s, err := stage.New(cfg.Symbols, cfg.Rate)
	if err != nil {
		return err
	}
	defer s.Close()
	ln, err := service.Listen(ctx, "STAGE_ADDR", cfg.Addr)
	if err != nil {
		return err
	}
	slog.Info("a made-up dashboard is served", "url", "http://"+ln.Addr().String(), "states", "http://"+ln.Addr().String()+"/control/")
	return service.Serve(ctx, ln, s)
}

// secrets makes a folder of secrets and names it in the environment.
func secrets() (string, error) {
	dir, err := os.MkdirTemp("", "ticktape-stage-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the token: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("made-up"), 0o600); err != nil {
		return dir, fmt.Errorf("write the token: %w", err)
	}
	return dir, os.Setenv("SECRETS_DIR", dir)
}
