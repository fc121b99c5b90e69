package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"
)

const (
	project      = "ticktape-test"
	startsWithin = 10 * time.Minute
	tickWithin   = 2 * time.Minute
)

// tryCompose starts compose.yaml with a simulated market under a name, ports and
// volumes of its own, waits for a tick, and finds what was stored when it has been
// taken down and up again. It removes all of it.
func tryCompose(ctx context.Context) (err error) {
	if out, err := exec.CommandContext(ctx, "docker", "compose", "version").CombinedOutput(); err != nil {
		return fmt.Errorf("docker compose is missing: install the package docker-compose-plugin (%s)", firstLine(string(out)))
	}
	functions, dashboard := "http://127.0.0.1:18880", "http://127.0.0.1:18890"
	if err := errors.Join(os.Setenv("SOURCE", "simulated"), os.Setenv("FUNCTIONS_PORT", "18880"), os.Setenv("DASHBOARD_PORT", "18890")); err != nil {
		return err
	}
	compose := func(ctx context.Context, args ...string) error {
		return docker(ctx, append([]string{"compose", "--project-name", project}, args...)...)
	}
	defer func() {
		fmt.Println("removing it")
		removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Minute)
		defer cancel()
		err = errors.Join(err, compose(removing, "down", "--volumes"))
	}()

	fmt.Println("starting compose.yaml")
	if err := up(ctx, compose, "--build"); err != nil {
		return err
	}
	var status struct {
		LiveTicks int  `json:"live_ticks"`
		Simulated bool `json:"simulated"`
	}
	err = await(ctx, tickWithin, "a tick in the dashboard", func() (bool, error) {
		err := get(ctx, dashboard+"/api/status", &status)
		return status.LiveTicks > 0, err
	})
	if err != nil {
		return err
	}
	if !status.Simulated {
		return errors.New("the prices are simulated and the dashboard does not say so")
	}
	fmt.Println("a tick is in the dashboard")

	before, err := sealed(ctx, functions, func(candle) bool { return true })
	if err != nil {
		return err
	}
	fmt.Println("a candle is sealed; down, and up again")
	if err := compose(ctx, "down"); err != nil {
		return err
	}
	if err := up(ctx, compose); err != nil {
		return err
	}
	after, err := sealed(ctx, functions, func(c candle) bool { return c.Start == before.Start })
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("a candle was %+v and is %+v", before, after)
	}
	fmt.Println("the data are there: ok")
	return nil
}

type candle struct {
	Start  string  `json:"start"`
	Close  float64 `json:"close"`
	Volume int64   `json:"volume"`
	Ticks  int64   `json:"tick_count"`
	Sealed bool    `json:"sealed"`
}

// sealed waits for a candle of ticks that is final, among those that are wanted.
func sealed(ctx context.Context, functions string, wanted func(candle) bool) (found candle, err error) {
	err = await(ctx, 3*time.Minute, "a candle that is sealed", func() (bool, error) {
		var answer struct{ Candles []candle }
		if err := get(ctx, functions+"/function/candles?symbol=AAPL&interval=1m&limit=500", &answer); err != nil {
			return false, err
		}
		for _, c := range answer.Candles {
			if c.Sealed && c.Ticks > 0 && wanted(c) {
				found = c
				return true, nil
			}
		}
		return false, nil
	})
	return found, err
}

func up(ctx context.Context, compose func(context.Context, ...string) error, more ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	return compose(ctx, append([]string{"up", "--detach", "--wait"}, more...)...)
}

// await asks every second until the answer is yes.
func await(ctx context.Context, limit time.Duration, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		ok, err := holds()
		if ok && err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s did not come within %s (%v)", what, limit, err)
		}
	}
}

func get(ctx context.Context, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(into)
}
