// Package service is what every long-running process of Ticktape does alike:
// it reads settings from the environment, logs, answers health and metrics,
// and stops when it is told to.
//
// It is not a framework: a main says what runs and in which order, and takes
// from here only what would otherwise be written the same way many times.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// The exit codes of Main. A supervisor restarts what failed, and need not
// restart what can't start with the settings it has.
const (
	ExitStopped  = 0 // run returned nil, or was stopped by a signal and returned cleanly
	ExitFailed   = 1 // run returned an error, or a second signal came
	ExitSettings = 2 // a setting can't be used: see SettingsError
)

// Main runs a process and does not return. It reads ENV_FILE, sets up the default
// logger (LOG_LEVEL, LOG_FORMAT, attribute service=name), logs which version this
// is, serves profiles as StartPprof does, and calls run with a context that SIGINT
// or SIGTERM cancels.
// A second signal exits at once. The error of run is logged in one line.
//
// run returns when the work in hand is done after the context was cancelled;
// context.Canceled is then no failure.
//
// Started with -version it only says what it is, and with -check URL it only asks
// whether a process is well, as Answer tells.
func Main(name string, run func(ctx context.Context) error) {
	if done, code := Answer(name, os.Args[1:], os.Stdout); done {
		os.Exit(code)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(execute(name, run, signals, os.Stderr, os.Exit))
}

func execute(name string, run func(ctx context.Context) error, signals <-chan os.Signal, out io.Writer, exit func(int)) int {
	err := ReadEnvFile()
	var logger *slog.Logger
	if err == nil {
		logger, err = newLogger(name, out)
	}
	if err != nil {
		fmt.Fprintf(out, "%s: %s\n", name, oneLine(err))
		return ExitSettings
	}
	slog.SetDefault(logger)
	logger.Info("starting", "version", Version(), "revision", Revision())
	registerBuildInfo(name)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// This goroutine is the one that nobody waits for: it has to outlive
	// everything else to answer a second signal, and ends with the process.
	go func() {
		sig := <-signals
		logger.Info("stopping", "signal", sig.String())
		cancel()
		sig = <-signals
		logger.Error("exiting at once on a second signal", "signal", sig.String())
		exit(ExitFailed)
	}()

	_, stopPprof, err := StartPprof()
	if err == nil {
		defer stopPprof()
		err = run(ctx)
	}
	var settings *SettingsError
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return ExitStopped
	case errors.As(err, &settings):
		logger.Error("can't start with these settings", "error", oneLine(err))
		return ExitSettings
	default:
		logger.Error("failed", "error", oneLine(err))
		return ExitFailed
	}
}

// oneLine puts an error of several lines, such as errors.Join makes, into one.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "; ")
}

func registerBuildInfo(name string) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "ticktape_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"service": name, "version": Version(), "revision": Revision()},
	})
	g.Set(1)
	// A second registration is the same process's tests, and harmless.
	_ = prometheus.Register(g)
}
