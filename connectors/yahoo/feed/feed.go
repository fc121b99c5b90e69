// Package feed makes ticks of what Yahoo's streamer brings: it takes symbols over
// from polling and hands them back, publishes each trade once, and bounds what
// waits while Kafka is away.
//
// A symbol is fed by one source at a time. Who streams it has a claim of it in the
// watch list, and fetch leaves claimed symbols alone. Between the two lies the
// hand-over: a call of fetch that began before the claim may still publish, so the
// feed waits until that is over, reads what was published last, and goes on with the
// trades after it. It does the same wherever it can't be sure what is in the log.
//
// It is not for connections and frames (internal/yahoo/stream).
package feed

import (
	"cmp"
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/ingest"
	"ticktape/internal/service"
	"ticktape/internal/tick"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo/stream"
)

// Config is how symbols are taken over. Its fields are set by the environment
// variables in their tags.
type Config struct {
	// Owner is the name of this process in claims, which no other has at the same
	// time; a process that is started again goes on under it. Default: the host's name.
	Owner string `env:"STREAM_OWNER"`
	// ClaimTTL is after how long without a renewal polling takes over.
	ClaimTTL time.Duration `env:"STREAM_CLAIM_TTL" envDefault:"60s"`
	// HandOver is the longest that a call of fetch may still publish a symbol after
	// it was claimed: its FETCH_TIMEOUT and what Kafka's client takes then.
	HandOver time.Duration `env:"STREAM_HAND_OVER" envDefault:"65s"`
	// HandBack is how long a symbol's connection may be away before it is released.
	HandBack time.Duration `env:"STREAM_HAND_BACK" envDefault:"15s"`
	// Refresh is how often the watch list is read.
	Refresh time.Duration `env:"STREAM_REFRESH" envDefault:"3s"`
	// Queue is how many trades may wait for Kafka, about 250 bytes each.
	Queue int `env:"STREAM_QUEUE" envDefault:"100000"`
	// Doubt is how long Kafka must have answered again before it is believed what
	// it says of a publication that failed.
	Doubt time.Duration `env:"STREAM_DOUBT" envDefault:"3s"`
	// Encoding is the wire form of ticks: protobuf or json.
	Encoding string `env:"TICK_ENCODING"`
}

// PublishLimit is longer than a publication takes to end, whatever Kafka does:
// nothing is published with a claim that may not last as long.
const PublishLimit = 30 * time.Second

// publishTime is when we give up a publication. What Kafka has got until then it
// writes, or refuses, within the rest of PublishLimit.
const publishTime = PublishLimit - 5*time.Second

// Watchlist is what is to be followed and who feeds it: *watchlist.List.
type Watchlist interface {
	List(ctx context.Context) ([]watchlist.Symbol, error)
	Claim(ctx context.Context, symbols []string, owner string, ttl time.Duration) (claimed []string, err error)
	Release(ctx context.Context, symbols []string, owner string) error
}

// Publisher writes to topic "ticks" and never tries again by itself:
// *bus.Producer. An error that is a *bus.PublishError says which messages are not
// known to be written.
type Publisher interface {
	Publish(ctx context.Context, msgs []kafka.Message) error
}

// Streamer follows symbols: *stream.Pool.
type Streamer interface {
	Follow(symbols []stream.Symbol)
	Status() []stream.Status
}

// Parts are what a Feed works with.
type Parts struct {
	List   Watchlist
	Ticks  Publisher
	Memory ingest.Memory
	// Barrier, if not nil, returns nil when no call of fetch is under way that
	// began before it was called. Then the hand-over need not be waited for.
	Barrier func(ctx context.Context) error
}

// Feed takes trades by Offer and publishes them. It is safe for concurrent use.
type Feed struct {
	cfg      Config
	encoding tick.Encoding
	Parts
	metrics *metrics
	ready   chan struct{} // holds one: there may be something to publish
	barrier time.Time     // when Barrier was last called

	complained time.Time // when a publication that failed was last logged

	mu       sync.Mutex
	streams  Streamer
	symbols  map[string]*symbol
	queued   int               // trades that wait, of all symbols
	problems map[string]string // what is in the way of all, by part
}

// symbol is one of the watch list. It is polled until it is claimed, and published
// from when it is sure.
type symbol struct {
	name, exchange string
	// wanted: trades come, so that it is worth claiming.
	wanted bool
	// claimed is when the claim was made, zero where there is none, and until is
	// how long it lasts.
	claimed, until time.Time
	// refusedAt is when a claim was last refused.
	refusedAt time.Time
	// handed: nobody else publishes since the claim. doubt: what became of our own
	// publication is not known. sure: what was published last is known, too.
	handed, doubt, sure bool
	// last is what was published last, of the real market and of a simulated one.
	last   map[bool]*ingest.Last
	queue  []stream.Update
	flying bool      // a publication is under way
	away   time.Time // since when its connection brings nothing
	gone   bool      // it is not on the list any more

	published, dropped, known, refused int64
	problem                            string
}

// New checks the settings, whose errors name the variable to change.
func New(cfg Config, parts Parts, reg prometheus.Registerer) (*Feed, error) {
	encoding, err := tick.ParseEncoding(cfg.Encoding)
	if err != nil {
		return nil, service.Settingf("TICK_ENCODING: %v", err)
	}
	if cfg.Owner == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, service.Settingf("STREAM_OWNER is not set and this host has no name: %v", err)
		}
		cfg.Owner = "yahoo-stream@" + host
	}
	// A claim is renewed four times in its life, and what is published begins
	// PublishLimit before its end at the latest.
	if cfg.ClaimTTL < 2*PublishLimit {
		return nil, service.Settingf("STREAM_CLAIM_TTL=%s is too short: a publication takes up to %s, so give at least %s", cfg.ClaimTTL, PublishLimit, 2*PublishLimit)
	}
	for name, bad := range map[string]bool{
		"STREAM_HAND_OVER": cfg.HandOver < ingest.ClaimNotice, "STREAM_HAND_BACK": cfg.HandBack <= 0, "STREAM_REFRESH": cfg.Refresh <= 0,
		"STREAM_QUEUE": cfg.Queue < 1, "STREAM_DOUBT": cfg.Doubt < 0,
	} {
		if bad {
			return nil, service.Settingf("%s is too small", name)
		}
	}
	return &Feed{
		cfg: cfg, encoding: encoding, Parts: parts, metrics: newMetrics(reg), ready: make(chan struct{}, 1), symbols: map[string]*symbol{}, problems: map[string]string{},
	}, nil
}

// Run follows the watch list through streams, and publishes, until ctx is done.
// Then what waits is published, as far as Kafka takes it within 20 seconds, and all
// claims are released; what streams bring after that is left to polling.
func (f *Feed) Run(ctx context.Context, streams Streamer) {
	f.mu.Lock()
	f.streams = streams
	f.mu.Unlock()
	publishing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var publisher sync.WaitGroup
	publisher.Go(func() { f.publishAll(publishing) })
	f.keep(ctx)
	f.drain(context.WithoutCancel(ctx))
	stop()
	publisher.Wait()
	f.releaseAll(context.WithoutCancel(ctx))
}

// isNews tells whether an update shows that a symbol trades as we look. A
// snapshot of an older trade only tells that it is served.
func isNews(u *stream.Update) bool {
	return !u.Snapshot || u.Received.Sub(time.UnixMilli(u.Time)) < time.Minute
}

// Offer takes a trade. It does not wait.
func (f *Feed) Offer(u stream.Update) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.symbols[u.Symbol]
	if s == nil || s.gone {
		return
	}
	// What waits must not hold the frame it came in.
	u.Symbol, u.Name = s.name, ""
	if u.Exchange != "" {
		if s.exchange != u.Exchange {
			s.exchange = string([]byte(u.Exchange))
		}
		u.Exchange = s.exchange
	}
	if u.Currency != "" {
		u.Currency = string([]byte(u.Currency))
	}
	s.wanted = s.wanted || isNews(&u)
	if s.claimed.IsZero() {
		// It is polled; the latest is what matters if it is taken over.
		f.queued -= len(s.queue)
		s.queue = s.queue[:0]
	}
	for f.queued >= f.cfg.Queue {
		f.dropOldest(s)
	}
	s.queue = append(s.queue, u)
	f.queued++
	f.wake()
}

func (f *Feed) wake() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// dropOldest makes room for a trade of s where the queue is full: by that symbol's
// oldest trade where it has its share of the queue, else by the oldest of the
// symbol that has the most. What the dropped trade had of the volume is in the
// size of the symbol's next.
func (f *Feed) dropOldest(s *symbol) {
	victim := s
	if len(s.queue) < max(1, f.cfg.Queue/len(f.symbols)) {
		for _, o := range f.symbols {
			if len(o.queue) > len(victim.queue) {
				victim = o
			}
		}
	}
	victim.queue[0] = stream.Update{}
	victim.queue = victim.queue[1:]
	f.queued--
	if victim.claimed.IsZero() {
		return // it is polled
	}
	victim.dropped++
	f.metrics.ticks.WithLabelValues(resultDropped).Inc()
}

// Symbol is what is known of a symbol's way.
type Symbol struct {
	stream.Status
	// Fed is who feeds it: "polled", "taking over", "streamed", or "in doubt" where
	// it waits to hear from Kafka what became of a publication.
	Fed string `json:"fed"`
	// Published, Known, Dropped and Refused count its trades: those that became
	// ticks, that were published before, that had no room while Kafka was away, and
	// that are no valid ticks.
	Published int64  `json:"published"`
	Known     int64  `json:"known"`
	Dropped   int64  `json:"dropped"`
	Refused   int64  `json:"refused"`
	Queued    int    `json:"queued"`
	Trouble   string `json:"trouble,omitempty"`
}

// Symbols tells of each symbol, in the order of their names, and what is in the
// way of all, if anything.
func (f *Feed) Symbols() (all []Symbol, problems []string) {
	f.mu.Lock()
	streams := f.streams
	f.mu.Unlock()
	byName := map[string]stream.Status{}
	if streams != nil {
		for _, s := range streams.Status() {
			byName[s.Symbol] = s
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.symbols {
		status, ok := byName[name]
		if !ok {
			status = stream.Status{Symbol: name, State: stream.Waiting}
		}
		all = append(all, Symbol{
			Status: status, Fed: s.fed(), Published: s.published, Known: s.known, Dropped: s.dropped, Refused: s.refused,
			Queued: len(s.queue), Trouble: s.problem,
		})
	}
	slices.SortFunc(all, func(a, b Symbol) int { return cmp.Compare(a.Symbol, b.Symbol) })
	return all, slices.Sorted(maps.Values(f.problems))
}

func (s *symbol) fed() string {
	switch {
	case s.claimed.IsZero():
		return "polled"
	case s.doubt:
		return "in doubt"
	case !s.sure:
		return "taking over"
	}
	return "streamed"
}
