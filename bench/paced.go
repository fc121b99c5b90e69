package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
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
// how long does a trade take to Kafka, to its window in Cassandra and to a browser?
type paced struct {
	rate       float64 // ticks a second
	duration   time.Duration
	encoding   tick.Encoding
	partitions int
	symbols    int
}

func (p paced) String() string {
	return fmt.Sprintf("%s ticks/s for %s, %s, %d partitions, %s symbols", thousands(p.rate), inSeconds(p.duration), encodingName(p.encoding), p.partitions, thousands(p.symbols))
}

// pacedResult is what one paced run came to. All delays are from the moment that
// a tick was due.
type pacedResult struct {
	published time.Duration
	ticks     int64
	kafka     *delays       // → acknowledged by Kafka
	window    *delays       // → in Cassandra, and so published to topic windows
	browser   *delays       // → at a client of the dashboard
	lag       []int64       // each second: records that the slower function has not done
	drained   time.Duration // from the last tick until all were done
	cpu       costs         // CPUs
	peak      peaks
}

// warmUp is not measured.
const warmUp = 10 * time.Second

// stream is a bench with the whole pipeline on it and ticks that flow through.
type stream struct {
	*bench
	paced
	ledger  *ledger
	kafka   *delays
	window  *observer
	browser *observer
	address string // of the dashboard

	stop     context.CancelFunc
	watchers errgroup.Group
	conn     *websocket.Conn
}

// open starts the functions, those named besides process and persist too, the
// dashboard and the connector, and somebody who watches.
func (p paced) open(ctx context.Context, r *rig, functions ...string) (s *stream, err error) {
	b, err := r.begin(ctx, p.partitions, append([]string{"process", "persist"}, functions...)...)
	if err != nil {
		return nil, err
	}
	l := newLedger()
	s = &stream{bench: b, paced: p, ledger: l, stop: func() {}}
	defer func() {
		if err != nil {
			_ = s.close() // the first error is the one to tell
		}
	}()
	port, err := servers.FreePort()
	if err != nil {
		return s, err
	}
	s.address = fmt.Sprintf("127.0.0.1:%d", port)
	if err := b.start("dashboard", []string{"DASHBOARD_ADDR=" + s.address}); err != nil {
		return s, err
	}
	if err := b.start("kafka-connector", nil); err != nil {
		return s, err
	}
	if s.conn, err = dialDashboard(ctx, s.address); err != nil {
		return s, err
	}
	// The ledger begins with the first tick, so that nothing of the start is measured.
	l.base = time.Now().UnixMilli()
	s.kafka, s.window, s.browser = newDelays(warmUp), l.observer(newDelays(warmUp)), l.observer(newDelays(warmUp))
	watching, stop := context.WithCancel(ctx)
	s.stop = stop
	s.watchers.Go(func() error { return watchBrowser(watching, s.conn, s.browser) })
	s.watchers.Go(func() error {
		return tail.Run(watching, tail.Config{
			Client: b.client, Topic: b.bus.WindowsTopic, Report: func(tail.State) {},
			Apply: func(updates []*windowpb.Update) {
				for _, u := range updates {
					s.window.window(u.Symbol, u.Start, u.TickCount)
				}
			},
		})
	})
	return s, nil
}

// close ends what open has begun. Its error is that of who watches.
func (s *stream) close() error {
	s.stop()
	if s.conn != nil {
		s.conn.Close()
	}
	err := s.watchers.Wait()
	s.end()
	return err
}

func (s *stream) market(d time.Duration) replay.Market {
	return replay.Market{Seed: 1, Symbols: s.symbols, Ticks: max(int64(s.rate*d.Seconds()), 1), Start: time.UnixMilli(s.ledger.base)}
}

// flow publishes for so long and returns when Kafka has acknowledged the last
// tick. Each second it calls each.
func (s *stream) flow(ctx context.Context, d time.Duration, each func() error) (took time.Duration, err error) {
	market := s.market(d)
	source, err := market.Open()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	published := make(chan error, 1)
	go func() {
		var err error
		took, _, err = s.publish(ctx, &pacedSource{Source: source, rate: s.rate, ledger: s.ledger}, market.Ticks,
			replay.Options{Encoding: s.encoding, Rate: s.rate}, func(n int) { s.ledger.acked(n, s.kafka) })
		published <- err
	}()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case err := <-published:
			cancel()
			return took, err
		case <-second.C:
			if err := each(); err != nil {
				cancel()
				<-published
				return 0, err
			}
		}
	}
}

// settle waits until every tick is done and seen, and then holds the results
// against the ticks themselves.
func (s *stream) settle(ctx context.Context, d time.Duration) (drained time.Duration, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	ticks := s.market(d).Ticks
	for {
		done, err := s.done(ctx, []string{"process", "persist"})
		if err != nil {
			return 0, err
		}
		if done >= ticks && drained == 0 {
			drained = time.Since(begun)
		}
		if drained > 0 && s.window.arrived() >= ticks && s.browser.arrived() >= ticks {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("of %d ticks %d were done, %d seen in the topic of windows and %d by the dashboard's client when the time was up: %w",
				ticks, done, s.window.arrived(), s.browser.arrived(), ctx.Err())
		}
	}
	source, err := s.market(d).Open()
	if err != nil {
		return 0, err
	}
	// The time for draining is no limit for this.
	if err := s.verify(context.WithoutCancel(ctx), &again{Source: source, ledger: s.ledger, next: map[string]int{}}, true); err != nil {
		return 0, wrong{err}
	}
	return drained, nil
}

func (p paced) run(ctx context.Context, r *rig) (res *pacedResult, err error) {
	s, err := p.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	res = &pacedResult{}
	total := warmUp + p.duration
	res.ticks = s.market(total).Ticks
	profiler, err := s.profiler(ctx, "paced")
	if err != nil {
		return nil, err
	}
	for name := range s.programs {
		if err := s.findProfiles(ctx, profiler, name); err != nil {
			return nil, err
		}
	}
	begun := time.Now()
	var m *meter
	var since time.Time
	res.published, err = s.flow(ctx, total, func() error {
		if time.Since(begun) < warmUp {
			return nil
		}
		if m == nil {
			m, since = s.meter(), time.Now()
			profiler.begin(ctx)
		}
		behind, err := s.behind(ctx)
		res.lag = append(res.lag, behind)
		return err
	})
	profiler.end(ctx)
	if err != nil {
		return nil, err
	}
	if res.cpu, res.peak, err = m.read(s.bench, time.Since(since).Seconds()); err != nil {
		return nil, err
	}
	if res.drained, err = s.settle(ctx, total); err != nil {
		return nil, err
	}
	res.kafka, res.window, res.browser = s.kafka, s.window.delays, s.browser.delays
	return res, profiler.report(ctx, os.Stdout)
}

// bounded says whether the lag stayed within bounds: it did not grow, from the
// first third of the time to the last, by more than what comes in half a second,
// and the ticks could be published at their rate.
func (res *pacedResult) bounded(rate float64) bool {
	first, last := res.trend()
	return last-first <= rate/2 && float64(res.ticks)/res.published.Seconds() >= 0.98*rate
}

// trend is the mean lag in the first and the last third of the time.
func (res *pacedResult) trend() (first, last float64) {
	third := max(len(res.lag)/3, 1)
	mean := func(part []int64) float64 {
		sum := 0.0
		for _, n := range part {
			sum += float64(n)
		}
		return sum / float64(max(len(part), 1))
	}
	return mean(res.lag[:min(third, len(res.lag))]), mean(res.lag[max(len(res.lag)-third, 0):])
}

// behind is how many records the slower function has not done.
func (b *bench) behind(ctx context.Context) (int64, error) {
	done, err := b.done(ctx, []string{"process", "persist"})
	if err != nil {
		return 0, err
	}
	total, err := b.records(ctx)
	return max(total-done, 0), err
}

// records is how many records the topic of ticks has.
func (b *bench) records(ctx context.Context) (int64, error) {
	ends, err := b.client.OffsetsAfter(ctx, b.bus.TicksTopic, time.Now())
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, end := range ends {
		sum += end
	}
	return sum, nil
}

// dialDashboard connects as a browser does, as soon as the dashboard listens.
func dialDashboard(ctx context.Context, addr string) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	dialer := websocket.Dialer{EnableCompression: true, HandshakeTimeout: 10 * time.Second}
	for {
		conn, resp, err := dialer.DialContext(ctx, "ws://"+addr+"/api/ws", http.Header{})
		if err == nil {
			resp.Body.Close()
			return conn, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the dashboard: %w", err)
		}
	}
}

// message is what a client of the dashboard needs of its messages to know what has arrived.
type message struct {
	Type   string `json:"type"`
	Quotes []struct {
		Symbol  string `json:"symbol"`
		Windows []struct {
			Start int64 `json:"start"`
			Ticks int64 `json:"ticks"`
		} `json:"windows"`
	} `json:"quotes"`
}

// take notes what a message says.
func (o *observer) take(data []byte) error {
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("a message of the dashboard: %w", err)
	}
	for _, q := range m.Quotes {
		for _, w := range q.Windows {
			o.window(q.Symbol, w.Start, w.Ticks)
		}
	}
	return nil
}

func watchBrowser(ctx context.Context, conn *websocket.Conn, o *observer) error {
	for {
		_, data, err := conn.ReadMessage()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the dashboard's client: %w", err)
		}
		if err := o.take(data); err != nil {
			return err
		}
	}
}
