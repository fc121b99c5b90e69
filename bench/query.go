package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// queried is the query functions under load from wrk, while ticks flow at a rate.
type queried struct {
	stream      paced
	connections int
	duration    time.Duration // of the load on each function
}

func (q queried) String() string {
	return fmt.Sprintf("query functions, wrk with %d connections for %s each, beside %s ticks/s", q.connections, inSeconds(q.duration), thousands(q.stream.rate))
}

// answered is what wrk says of one address.
type answered struct {
	what                string
	perSecond           float64
	p50, p90, p99, most time.Duration
}

// queryResult is what the load came to.
type queryResult struct {
	answers []answered
	window  *delays // of the ticks meanwhile
	cpu     costs   // CPUs
	peak    peaks
}

// errNoWrk tells what to do about it.
var errNoWrk = errors.New("wrk is not installed: apt-get install wrk (deploy/local/tools.sh bench does it as root)")

func (q queried) run(ctx context.Context, r *rig) (res *queryResult, err error) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		return nil, errNoWrk
	}
	busiest, rest := "SIM00000", "SIM00001,SIM00002,SIM00003,SIM00004,SIM00005,SIM00006,SIM00007,SIM00008,SIM00009"
	addresses := []struct{ what, path string }{
		{"quotes of 10 symbols", "/function/quotes?symbols=" + busiest + "," + rest},
		{"candles, 1m, one symbol", "/function/candles?interval=1m&symbol=" + busiest},
		{"ticks, the first 100 of 15 minutes", "/function/ticks?limit=100&symbol=" + busiest},
	}
	// The stream begins before the first address and ends behind the last.
	p := q.stream
	p.duration = time.Duration(len(addresses))*(q.duration+2*time.Second) + 5*time.Second
	ctx, cancel := context.WithTimeout(ctx, p.duration+5*time.Minute)
	defer cancel()
	s, err := p.open(ctx, r, "seal", "quotes", "candles", "ticks")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.start("cron-connector", nil); err != nil {
		return nil, err
	}
	res = &queryResult{}
	total := warmUp + p.duration
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	var m *meter
	var since time.Time
	go func() {
		loaded <- func() error {
			select {
			case <-time.After(warmUp):
			case <-loading.Done():
				return loading.Err()
			}
			m, since = s.meter(), time.Now()
			for _, a := range addresses {
				answer, err := load(loading, wrk, s.url+a.path, q.connections, q.duration)
				if err != nil {
					return fmt.Errorf("%s: %w", a.what, err)
				}
				answer.what = a.what
				res.answers = append(res.answers, answer)
			}
			return nil
		}()
	}()
	_, err = s.flow(ctx, total, func() error { return nil })
	stop()
	if err := errors.Join(err, <-loaded); err != nil {
		return nil, err
	}
	if res.cpu, res.peak, err = m.read(s.bench, time.Since(since).Seconds()); err != nil {
		return nil, err
	}
	if _, err := s.settle(ctx, total); err != nil {
		return nil, err
	}
	res.window = s.window.delays
	// What is answered, added up, is what was published.
	want := int64(len(s.ledger.symbols[busiest].due))
	if got, err := s.candleTicks(ctx, busiest); err != nil {
		return nil, err
	} else if got != want {
		return nil, wrong{fmt.Errorf("the candles of %s hold %d ticks, want %d", busiest, got, want)}
	}
	return res, nil
}

// candleTicks asks for the minutes of a symbol and adds up their ticks.
func (b *bench) candleTicks(ctx context.Context, symbol string) (sum int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/function/candles?interval=1m&symbol="+symbol, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, errors.Join(err, fmt.Errorf("candles of %s: %s %s", symbol, resp.Status, text))
	}
	var body struct {
		Candles []struct {
			TickCount int64 `json:"tick_count"`
		} `json:"candles"`
	}
	err = json.Unmarshal(text, &body)
	for _, c := range body.Candles {
		sum += c.TickCount
	}
	return sum, err
}

// load runs wrk against an address for so long.
func load(ctx context.Context, wrk, url string, connections int, d time.Duration) (a answered, err error) {
	cmd := exec.CommandContext(ctx, wrk, "-t1", fmt.Sprint("-c", connections), fmt.Sprintf("-d%ds", int(d.Seconds())), "--latency", "--timeout", "10s", url)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return a, fmt.Errorf("wrk: %w: %s", err, lastLine(out))
	}
	return parseWrk(string(out))
}

var (
	wrkRate    = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)
	wrkPercent = regexp.MustCompile(`(?m)^\s+(50|90|99)%\s+([0-9.]+[a-z]+)`)
	wrkLatency = regexp.MustCompile(`(?m)^\s+Latency\s+\S+\s+\S+\s+([0-9.]+[a-z]+)`)
	wrkBad     = regexp.MustCompile(`Non-2xx or 3xx responses: \d+|Socket errors: .*`)
)

// parseWrk reads what wrk prints. Answers that are no success make it an error.
func parseWrk(text string) (a answered, err error) {
	if bad := wrkBad.FindString(text); bad != "" {
		return a, errors.New(bad)
	}
	rate, latency := wrkRate.FindStringSubmatch(text), wrkLatency.FindStringSubmatch(text)
	percents := wrkPercent.FindAllStringSubmatch(text, -1)
	if rate == nil || latency == nil || len(percents) != 3 {
		return a, fmt.Errorf("wrk said what is not understood: %q", text)
	}
	if a.perSecond, err = strconv.ParseFloat(rate[1], 64); err != nil {
		return a, err
	}
	for i, to := range []*time.Duration{&a.p50, &a.p90, &a.p99} {
		if *to, err = wrkTime(percents[i][2]); err != nil {
			return a, err
		}
	}
	a.most, err = wrkTime(latency[1])
	return a, err
}

// wrkTime reads "640.00us", "1.20ms", "1.05s" or "1.20m".
func wrkTime(text string) (time.Duration, error) {
	return time.ParseDuration(strings.Replace(text, "us", "µs", 1))
}
