package run

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"ticktape/deploy/local/process"
	"ticktape/internal/service"
	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

// source is where prices come from.
type source struct {
	simulated bool
	market    bool     // the stand-in has to be started
	env       []string // for the parts that ask
}

// data is the folder of what the servers store. Simulated prices never share one
// with real ones: neither would know the other's from its own.
func (s source) data(dir string) string {
	if s.simulated {
		return filepath.Join(dir, "simulated")
	}
	return filepath.Join(dir, "yahoo")
}

// streams tells whether prices are streamed: where nobody has decided, real ones
// are, because polls show only some of the trades. Those of the simulated market
// are as good either way.
func (r *runtime) streams() bool {
	if r.cfg.Stream != nil {
		return *r.cfg.Stream
	}
	return !r.source.simulated
}

// chooseSource finds out whether Yahoo is asked or its stand-in.
func (r *runtime) chooseSource(ctx context.Context) source {
	if r.cfg.Prices != "" && r.cfg.Source == "auto" {
		return source{simulated: r.cfg.Prices == "simulated", env: []string{"SOURCE=auto"}}
	}
	switch r.cfg.Source {
	case "yahoo":
		return source{env: []string{"SOURCE=yahoo"}}
	case "auto":
		step := r.say.Begin("asking whether Yahoo answers")
		simulated, err := yahooAnswers(ctx)
		if err == nil {
			said := "Yahoo answers: the prices are real"
			if simulated {
				said = "YAHOO_URL answers and is not Yahoo: the prices are SIMULATED"
			}
			step.End(said)
			return source{simulated: simulated, env: []string{"SOURCE=auto"}}
		}
		reason, _, _ := strings.Cut(err.Error(), "\n")
		step.End(fmt.Sprintf("Yahoo does not answer (%s): the prices are SIMULATED", reason))
	}
	return source{simulated: true, market: true, env: marketEnv(local(r.cfg.MarketPort))}
}

// marketEnv are the settings of parts that ask the simulated market at addr.
func marketEnv(addr string) []string {
	return []string{
		"SOURCE=simulated", "YAHOO_URL=http://" + addr, "YAHOO_COOKIE_URL=",
		"YAHOO_STREAM_URL=ws://" + addr + "/streamer?version=2",
	}
}

// startMarket starts the stand-in where it is wanted, once it is built.
func (r *runtime) startMarket(ctx context.Context, built <-chan struct{}) error {
	if !r.source.market {
		return nil
	}
	select {
	case <-built:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	log, err := r.openLog("market")
	if err != nil {
		return err
	}
	addr := r.cfg.serving(r.cfg.MarketPort)
	return r.keep(ctx, "market", "market", log, func(context.Context) (process.Plan, error) {
		plan := r.plan("market", log, r.cfg.MarketPort, awaitDial(addr))
		plan.Spec.Args = []string{
			"-addr", addr, fmt.Sprint("-symbols=", r.cfg.MarketSymbols), fmt.Sprint("-speed=", r.cfg.MarketSpeed),
			fmt.Sprint("-seed=", r.cfg.MarketSeed), fmt.Sprint("-exchange-hours=", r.cfg.MarketHours),
		}
		return plan, nil
	})
}

const yahooPatience = 5 * time.Second

// yahooAnswers asks for one quote as the function fetch does.
func yahooAnswers(ctx context.Context) (simulated bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, yahooPatience)
	defer cancel()
	cfg, err := service.Load[yahoo.Config]()
	if err != nil {
		return false, err
	}
	client, err := yahoo.New(cfg)
	if err != nil {
		return false, err
	}
	defer client.Close()
	answer, err := client.Quotes(ctx, []string{"AAPL"})
	switch {
	case ctx.Err() != nil:
		return false, fmt.Errorf("not within %s", yahooPatience)
	case err != nil:
		return false, err
	}
	for _, q := range answer.Quotes {
		simulated = q.Source == tick.SourceSimulated
	}
	return simulated, nil
}
