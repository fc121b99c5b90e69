package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/service"
)

// Functions serves the functions, and the simulated market where prices are
// simulated, beside servers, connectors and a dashboard that others run: what a
// container of compose.yaml does. It waits for Kafka and Cassandra, which
// KAFKA_BROKERS and CASSANDRA_HOSTS have to name, and runs programs that
// BuildRuntime has built. It returns as Run does.
func Functions(ctx context.Context, cfg Config, say *Progress) error {
	if cfg.ownKafka() || cfg.ownCassandra() {
		return service.Settingf("KAFKA_BROKERS and CASSANDRA_HOSTS have to name the servers: the functions are run alone")
	}
	cfg.alone = true
	return Run(ctx, cfg, say)
}

func (r *runtime) startAlone(ctx context.Context) error {
	services, err := r.cfg.stackFile()
	if err != nil {
		return err
	}
	r.build = &builder{cfg: &r.cfg, functions: services.Functions, built: true}
	r.onStop("the simulated market", func() error { return r.stopParts("market") })
	r.source = r.chooseSource(ctx)
	r.update(func(s *State) { s.Simulated = r.source.simulated })
	if err := r.makeSecrets(); err != nil {
		return err
	}
	built := make(chan struct{})
	close(built)
	g, waiting := errgroup.WithContext(ctx)
	g.Go(func() error { return r.insist(waiting, "Kafka at "+r.cfg.brokers(), r.ensureTopics) })
	g.Go(func() error { return r.insist(waiting, "Cassandra at "+r.cfg.hosts(), r.startCassandra) })
	g.Go(func() error { return r.startMarket(waiting, built) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.startFunctions(ctx); err != nil {
		return err
	}
	r.update(func(s *State) { s.Ready = true })
	prices := "Yahoo's"
	if r.source.simulated {
		prices = "SIMULATED"
	}
	r.say.Say("ready; the prices are %s", prices)
	return nil
}

// insist does it again every second until it works or can't: the servers are
// started beside us. It says once what is waited for.
func (r *runtime) insist(ctx context.Context, what string, do func(context.Context) error) error {
	for told := false; ; {
		err := do(ctx)
		var settings *service.SettingsError
		switch {
		case err == nil || errors.As(err, &settings):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !told:
			r.say.Say("waiting for %s: %v", what, err)
			told = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// Ready is nil where a runtime on cfg.Dir says that it is ready.
func Ready(cfg Config) error {
	s, ok, err := ReadState(cfg.Dir)
	switch {
	case err != nil:
		return err
	case !ok || !s.Running():
		return fmt.Errorf("nothing runs on %s", cfg.Dir)
	case !s.Ready:
		return errors.New("it is still starting")
	}
	return nil
}

// Choice is what Prepare has to know.
type Choice struct {
	// File is where the settings go, for ENV_FILE and for shells: lines NAME=value.
	File string
	// Market is where other machines reach the simulated market, "functions:8085".
	Market string
	// Servers are addresses of those that store data. While one of them listens, a
	// choice that was made before stands: its data are of those prices.
	Servers []string
}

// Prepare makes the secrets that are missing and chooses, as Run does, where
// prices come from. It writes the choice to a file for parts that can't know it
// when they are described, with PRICES (yahoo or simulated) for those that store
// data: simulated prices must not lie among real ones.
func Prepare(ctx context.Context, cfg Config, c Choice, say *Progress) error {
	r := &runtime{cfg: cfg, say: say}
	if err := r.makeSecrets(); err != nil {
		return err
	}
	if _, err := os.Stat(c.File); err == nil {
		for _, addr := range c.Servers {
			if listens(ctx, addr) {
				say.Say("%s is running: where prices come from stays as it is", addr)
				return nil
			}
		}
	}
	s := r.chooseSource(ctx)
	prices := "yahoo"
	if s.simulated {
		prices = "simulated"
	}
	settings := s.env
	if s.market {
		settings = marketEnv(c.Market)
	}
	text := "# Where prices come from, chosen at the start.\nPRICES=" + prices + "\n" + strings.Join(settings, "\n") + "\n"
	tmp := c.File + ".new"
	if err := os.MkdirAll(filepath.Dir(c.File), 0o755); err != nil {
		return fmt.Errorf("make the folder of settings: %w", err)
	}
	// Servers read it as users of their own.
	if err := errors.Join(os.WriteFile(tmp, []byte(text), 0o644), os.Rename(tmp, c.File)); err != nil {
		return fmt.Errorf("write where prices come from: %w", err)
	}
	say.Say("prices: %s", prices)
	return nil
}

// listens tells whether somebody listens at addr.
func listens(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
