// Package delivery brings records of Kafka to functions: a consumer group for
// each function, a pair of goroutines for each partition, and what becomes of
// records that a function does not take. The contract that it keeps is
// docs/trigger.md.
package delivery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ticktape/connectors/kafka/subscription"
	"ticktape/internal/bus"
	"ticktape/internal/deadletter"
	"ticktape/internal/gateway"
	"ticktape/internal/service"
)

// Config is how calls are made. Its fields are set by the environment variables
// in their tags.
type Config struct {
	// CallTimeout is the longest that a call may take. It must be above the limits
	// of the functions, or their ends are never heard.
	CallTimeout time.Duration `env:"CALL_TIMEOUT" envDefault:"40s"`
	// SessionTimeout is after how long of silence Kafka takes a connector for dead
	// and gives its partitions to others. It must be above CallTimeout: no call is
	// made that might not be back by then.
	SessionTimeout time.Duration `env:"SESSION_TIMEOUT" envDefault:"45s"`
	// Instance names this connector to Kafka, so that it gets its partitions back
	// at once when it is started again after a crash. No two connectors that run at
	// the same time may have the same.
	Instance string `env:"KAFKA_INSTANCE"`
	// RetryMin and RetryMax bound the wait before a call is made again.
	RetryMin time.Duration `env:"RETRY_MIN" envDefault:"200ms"`
	RetryMax time.Duration `env:"RETRY_MAX" envDefault:"30s"`
	// Watch is how often topics are looked at for partitions added, and the lag is read.
	Watch time.Duration `env:"WATCH_INTERVAL" envDefault:"5s"`
	// BatchMemory is the memory for all batches together. Batches are sent before
	// they are full where there is not room for more.
	BatchMemory service.Bytes `env:"BATCH_MEMORY" envDefault:"112MiB"`
	// FetchBytes is about how much one fetch of a partition reads.
	FetchBytes service.Bytes `env:"FETCH_BYTES" envDefault:"1MiB"`
}

// Check says what is wrong with the settings.
func (c *Config) Check() error {
	switch {
	case c.CallTimeout <= 0:
		return service.Settingf("CALL_TIMEOUT must be above 0")
	case c.SessionTimeout < c.CallTimeout+time.Second:
		return service.Settingf("SESSION_TIMEOUT=%s must be at least 1s above CALL_TIMEOUT=%s, or Kafka gives partitions away while their calls are out", c.SessionTimeout, c.CallTimeout)
	case c.SessionTimeout < 6*time.Second || c.SessionTimeout > 30*time.Minute:
		return service.Settingf("SESSION_TIMEOUT=%s is not what Kafka takes: between 6s and 30m", c.SessionTimeout)
	case c.RetryMin <= 0 || c.RetryMax < c.RetryMin:
		return service.Settingf("RETRY_MIN=%s must be above 0 and not above RETRY_MAX=%s", c.RetryMin, c.RetryMax)
	case c.Watch <= 0:
		return service.Settingf("WATCH_INTERVAL must be above 0")
	case c.BatchMemory < 1<<20 || c.BatchMemory > 64<<30:
		return service.Settingf("BATCH_MEMORY=%s must be between 1MiB and 64GiB", c.BatchMemory)
	case c.FetchBytes < 1<<10 || c.FetchBytes > 64<<20:
		return service.Settingf("FETCH_BYTES=%s must be between 1KiB and 64MiB", c.FetchBytes)
	}
	return nil
}

// shared is what all partitions use.
type shared struct {
	cfg         Config
	bus         *bus.Client
	gateway     *gateway.Client
	metrics     *Metrics
	deadLetters *deadletter.Publisher
	budget      *budget
}

// Connector triggers functions. Make one with New, and Close it in the end.
type Connector struct {
	shared
	running map[string]*consumer
	wrong   map[string]string
}

// New makes a connector that triggers nothing yet.
func New(cfg Config, kafka *bus.Client, gw *gateway.Client, metrics *Metrics) *Connector {
	return &Connector{
		shared:  shared{cfg: cfg, bus: kafka, gateway: gw, metrics: metrics, deadLetters: deadletter.NewPublisher(kafka), budget: &budget{bytes: int(cfg.BatchMemory)}},
		running: map[string]*consumer{},
		wrong:   map[string]string{},
	}
}

// consumer is the consumer group's member for one function.
type consumer struct {
	sub    *subscription.Subscription
	cancel context.CancelFunc
	// stopping is set when cancel was called because of an Update.
	stopping bool
	done     chan struct{}
}

// Update makes the functions that are triggered those that are listed. It does
// not wait: a function that is gone finishes its calls in flight, and one whose
// annotations have changed starts after that. It is not for concurrent use.
func (c *Connector) Update(ctx context.Context, functions []gateway.Function) {
	subs, wrong := subscription.Resolve(functions)
	for name, err := range wrong {
		if c.wrong[name] != err.Error() {
			slog.Error("function is not triggered: its annotations are wrong", "function", name, "error", err)
		}
	}
	clear(c.wrong)
	for name, err := range wrong {
		c.wrong[name] = err.Error()
	}
	for name, k := range c.running {
		if sub := subs[name]; !k.stopping && (sub == nil || !sub.Same(k.sub)) {
			slog.Info("function is no longer triggered as it was", "function", name, "listed", sub != nil)
			k.stopping = true
			k.cancel()
		}
	}
	for name, sub := range subs {
		before := c.running[name]
		if before != nil && !before.stopping {
			continue
		}
		slog.Info("function is triggered", "function", name, "topics", sub.Topics, "group", sub.Group)
		c.running[name] = c.start(ctx, sub, before)
	}
	for name, k := range c.running {
		if subs[name] == nil && k.ended() {
			delete(c.running, name)
		}
	}
	c.metrics.functions.WithLabelValues("triggered").Set(float64(len(subs)))
	c.metrics.functions.WithLabelValues("rejected").Set(float64(len(wrong)))
}

func (k *consumer) ended() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// Close waits until all calls in flight are finished and their offsets
// committed, after the contexts of Update are done.
func (c *Connector) Close() {
	for _, k := range c.running {
		k.cancel()
	}
	for _, k := range c.running {
		<-k.done
	}
}

// start triggers a function, once the consumer that it had before has ended.
func (c *Connector) start(ctx context.Context, sub *subscription.Subscription, before *consumer) *consumer {
	ctx, cancel := context.WithCancel(ctx)
	k := &consumer{sub: sub, cancel: cancel, done: make(chan struct{})}
	log := slog.With("function", sub.Function.String(), "group", sub.Group)
	go func() {
		defer close(k.done)
		if before != nil {
			<-before.done
		}
		c.bus.Consume(ctx, bus.GroupConfig{
			Group: sub.Group, Topics: sub.Topics, Start: sub.Start, Instance: c.cfg.Instance, Window: window(sub),
			SessionTimeout: c.cfg.SessionTimeout, Longest: c.cfg.CallTimeout, WatchInterval: c.cfg.Watch, Log: log,
		}, func(ctx context.Context, g *bus.Generation) { c.generation(ctx, sub, g, log) })
	}()
	return k
}

// generation delivers all partitions of a generation until it ends.
func (c *Connector) generation(ctx context.Context, sub *subscription.Subscription, g *bus.Generation, log *slog.Logger) {
	c.metrics.generations.WithLabelValues(sub.Group).Inc()
	c.budget.partitions.Add(int64(len(g.Assigned)))
	defer c.budget.partitions.Add(-int64(len(g.Assigned)))
	var wg sync.WaitGroup
	var parts []*partition
	for _, at := range g.Assigned {
		p := newPartition(&c.shared, sub, g, at, log)
		parts = append(parts, p)
		wg.Go(func() { p.run(ctx) })
	}
	wg.Go(func() { c.watchLag(ctx, parts) })
	<-ctx.Done() // also where nothing is assigned
	wg.Wait()
}

// watchLag keeps the lag known while nothing is fetched because a function is slow.
func (c *Connector) watchLag(ctx context.Context, parts []*partition) {
	byTopic := map[string][]*partition{}
	for _, p := range parts {
		byTopic[p.at.Topic] = append(byTopic[p.at.Topic], p)
	}
	for {
		for topic, ps := range byTopic {
			var ids []int
			for _, p := range ps {
				ids = append(ids, p.at.Partition)
			}
			ends, err := c.bus.Ends(ctx, topic, ids)
			if err != nil {
				continue // fetches tell when Kafka is gone
			}
			for _, p := range ps {
				p.m.lag.Set(float64(max(0, ends[p.at.Partition]-p.done.Load())))
			}
		}
		sleep(ctx, c.cfg.Watch)
		if ctx.Err() != nil {
			return
		}
	}
}
