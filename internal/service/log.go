package service

import (
	"io"
	"log/slog"
)

type logSettings struct {
	Level  slog.Level `env:"LOG_LEVEL" envDefault:"INFO"`
	Format string     `env:"LOG_FORMAT" envDefault:"text"`
}

func newLogger(name string, out io.Writer) (*slog.Logger, error) {
	cfg, err := Load[logSettings]()
	if err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: cfg.Level}
	var h slog.Handler
	switch cfg.Format {
	case "text":
		h = slog.NewTextHandler(out, opts)
	case "json":
		h = slog.NewJSONHandler(out, opts)
	default:
		return nil, Settingf("LOG_FORMAT=%q is neither text nor json: set it to one of them", cfg.Format)
	}
	return slog.New(h).With("service", name), nil
}
