package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"ticktape/dashboard/tail"
	"ticktape/deploy/local/servers"
	"ticktape/internal/replay"
	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

// paced is a stream of ticks that come at a rate: does the pipeline keep up, and
// how long does a trade take to the window in Cassandra and to a browser?
type paced struct {
	rate       float64 // ticks a second
	duration   time.Duration
	encoding   tick.Encoding
	partitions int
	symbols    int
}

func (p paced) String() string {
	return fmt.Sprintf("%.0f ticks/s for %s, %s, %d partitions, %d symbols", p.rate, p.duration, p.encoding.ContentType(), p.partitions, p.symbols)
}

// delays collects how long things took.
type delays struct {
	mu  sync.Mutex
	all []time.Duration
}

// since adds what has passed since the event time, in milliseconds since the
// Unix epoch, of a tick that this process published: one clock for both ends.
func (d *delays) since(eventTime int64) {
	d.mu.Lock()
	d.all = append(d.all, time.Since(time.UnixMilli(eventTime)))
	d.mu.Unlock()
}

func (d *delays) reset() {
	d.mu.Lock()
	d.all = d.all[:0]
	d.mu.Unlock()
}

func (d *delays) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return "none seen"
	}
	slices.Sort(d.all)
	at := func(q float64) time.Duration { return d.all[int(q*float64(len(d.all)-1))].Round(time.Millisecond) }
	return fmt.Sprintf("p50 %s, p95 %s, p99 %s, max %s of %d", at(0.5), at(0.95), at(0.99), at(1), len(d.all))
}

// pacedResult is what one paced run came to.
type pacedResult struct {
	published int64
	window    delays // trade → window in Cassandra, published
	browser   delays // trade → client of the dashboard
	lag       []int64
	drained   time.Duration
	cpu       map[string]float64 // seconds per second
	peak      map[string]int64
}

// warmUp is not measured.
const warmUp = 5 * time.Second

func (p paced) run(ctx context.Context, r *rig) (res *pacedResult, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.duration+limit)
	defer cancel()
	res = &pacedResult{}
	b, err := r.begin(ctx, p.partitions, "process", "persist")
	if err != nil {
		return nil, err
	}
	defer b.end()
	port, err := servers.FreePort()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if err := b.start("dashboard", "DASHBOARD_ADDR="+addr); err != nil {
		return nil, err
	}
	if err := b.start("kafka-connector"); err != nil {
		return nil, err
	}
	conn, err := dialDashboard(ctx, addr)
	if err != nil {
		return nil, err
	}

	watching, stop := context.WithCancel(ctx)
	var watchers errgroup.Group
	watchers.Go(func() error { return watchBrowser(watching, conn, &res.browser) })
	watchers.Go(func() error {
		return tail.Run(watching, tail.Config{
			Client: b.client, Topic: b.bus.WindowsTopic, Report: func(tail.State) {},
			Apply: func(updates []*windowpb.Update) {
				for _, u := range updates {
					res.window.since(u.Latest.EventTime)
				}
			},
		})
	})
	defer func() {
		stop()
		conn.Close()
		if werr := watchers.Wait(); err == nil && !errors.Is(werr, context.Canceled) {
			err = werr
		}
	}()

	market := replay.Market{Seed: 1, Symbols: p.symbols, Ticks: int64(p.rate * (warmUp + p.duration).Seconds()), Start: time.Now()}
	before := usages(b.pids())
	published := make(chan error, 1)
	go func() {
		_, err := b.publish(ctx, market, replay.Options{Encoding: p.encoding, Rate: p.rate, Live: true})
		published <- err
	}()
	begun := time.Now()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for warm := false; ; {
		select {
		case err := <-published:
			if err != nil {
				return nil, err
			}
			return res, p.drain(ctx, b, res, market.Ticks, begun, before)
		case <-second.C:
		}
		if !warm && time.Since(begun) > warmUp {
			warm = true
			res.window.reset()
			res.browser.reset()
			res.lag = nil
		}
		behind, err := b.behind(ctx)
		if err != nil {
			return nil, err
		}
		res.lag = append(res.lag, behind)
	}
}

// drain waits until all is done after the last tick was published.
func (p paced) drain(ctx context.Context, b *bench, res *pacedResult, ticks int64, begun time.Time, before map[string]usage) error {
	end := time.Now()
	res.published = ticks
	res.cpu, res.peak = map[string]float64{}, map[string]int64{}
	for name, u := range usages(b.pids()) {
		res.cpu[name] = (u.cpu - before[name].cpu) / end.Sub(begun).Seconds()
		res.peak[name] = u.peak
	}
	for {
		done, err := b.done(ctx, []string{"process", "persist"})
		if err != nil {
			return err
		}
		if done == ticks {
			res.drained = time.Since(end)
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s: %d of %d ticks were done when the time was up: %w", p, done, ticks, ctx.Err())
		}
	}
}

// behind is how many records process has not done.
func (b *bench) behind(ctx context.Context) (int64, error) {
	done, err := b.done(ctx, []string{"process"})
	if err != nil {
		return 0, err
	}
	ends, err := b.client.OffsetsAfter(ctx, b.bus.TicksTopic, time.Now())
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, end := range ends {
		sum += end
	}
	return max(sum-done, 0), nil
}

// dialDashboard connects as a browser does, as soon as the dashboard listens.
func dialDashboard(ctx context.Context, addr string) (*websocket.Conn, error) {
	for {
		conn, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+"/api/ws", nil)
		if err == nil {
			resp.Body.Close()
			return conn, conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"subscribe"}`))
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the dashboard: %w", err)
		}
	}
}

func watchBrowser(ctx context.Context, conn *websocket.Conn, d *delays) error {
	for {
		_, data, err := conn.ReadMessage()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the dashboard's client: %w", err)
		}
		var m struct {
			Type   string `json:"type"`
			Quotes []struct {
				Time int64 `json:"time"`
			} `json:"quotes"`
		}
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("the dashboard's client: %w", err)
		}
		if m.Type != "delta" {
			continue
		}
		for _, q := range m.Quotes {
			d.since(q.Time)
		}
	}
}
