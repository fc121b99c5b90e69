// Package pulse measures the pipeline: how much flows, who lags behind and by how
// much, how long a trade takes from stage to stage, what was refused and why, and
// how each part is. Each figure comes from who knows it best: positions from Kafka,
// calls from the connectors' metrics, sealing from seal's, and what can't be read is
// told to be unknown.
package pulse

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/dashboard/ask"
	"ticktape/dashboard/hub"
	"ticktape/internal/bus"
)

// Log is what is asked of Kafka. *bus.Client says what each method does.
type Log interface {
	TopicInfo(ctx context.Context, topic string) (bus.Info, error)
	Committed(ctx context.Context, group, topic string) (map[int]int64, error)
	Ends(ctx context.Context, topic string, partitions []int) (map[int]int64, error)
}

// Config says what to measure.
type Config struct {
	Log Log
	// Topic is that of ticks.
	Topic string
	// Groups are consumer groups of it, which have the names of their functions.
	Groups []string
	// Functions are those whose health is asked for.
	Functions []string
	Targets   []Target
	Ask       *ask.Client
	Letters   *Letters
	Latency   *Latency
	Hub       *hub.Hub
	// Sealed is called when seal has done something.
	Sealed func()
	// HealthEvery is the time between two looks at the functions, and SealEvery at
	// seal's metrics, for tests to shorten: 0 is 5 s and 3 s.
	HealthEvery, SealEvery time.Duration
}

const (
	// every is the time between two looks while somebody watches, idle while nobody does.
	every       = time.Second
	idle        = 5 * time.Second
	healthEvery = 5 * time.Second
	sealEvery   = 3 * time.Second
	// rateTime is what rates and percentiles of calls are of.
	rateTime = 10 * time.Second
	askTime  = 3 * time.Second
)

// Pulse measures. Make one with New and let Run run.
type Pulse struct {
	cfg  Config
	http *http.Client

	mu       sync.Mutex
	parts    map[string]*part
	order    []string
	lag      []lagSample // newest last
	kafka    string      // what is wrong with Kafka, "" where nothing is
	problems map[string]string
	readings []readingSample
	seal     *sealReport
}

type lagSample struct {
	at        time.Time
	ends      map[int]int64
	committed map[string]map[int]int64
}

type readingSample struct {
	at         time.Time
	byFunction map[string]*reading
}

// New makes a Pulse.
func New(cfg Config) *Pulse {
	p := &Pulse{
		cfg: cfg, http: &http.Client{Timeout: scrapeTime},
		parts: map[string]*part{}, problems: map[string]string{}, kafka: "Kafka has not been reached yet.",
	}
	p.set("kafka", server, Unknown, "Kafka has not been asked yet.")
	p.set("cassandra", server, Unknown, "No function that reads Cassandra has been asked yet.")
	p.set("gateway", server, Unknown, "The gateway has not been asked yet.")
	for _, name := range []string{kafkaConnector, cronConnector} {
		p.set(name, connectorKind, Unknown, "PULSE_TARGETS does not say where its metrics are.")
	}
	for _, name := range cfg.Functions {
		p.set(name, function, Unknown, "The function has not been asked yet.")
	}
	p.set("dashboard", process, Up, "")
	return p
}

const (
	kafkaConnector = "kafka-connector"
	cronConnector  = "cron-connector"
)

// Run measures until ctx is done.
func (p *Pulse) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.loop(ctx, p.readKafka, p.pace) })
	g.Go(func() error { return p.loop(ctx, p.readTargets, p.pace) })
	g.Go(func() error { return p.loop(ctx, p.readFunctions, fixed(cmp.Or(p.cfg.HealthEvery, healthEvery))) })
	g.Go(func() error { return p.loop(ctx, p.readSeal, fixed(cmp.Or(p.cfg.SealEvery, sealEvery))) })
	g.Go(func() error { return p.loop(ctx, p.publish, p.pace) })
	return g.Wait()
}

func fixed(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// pace is how long to wait: what nobody sees is measured less often.
func (p *Pulse) pace() time.Duration {
	if p.cfg.Hub.Watchers() > 0 {
		return every
	}
	return idle
}

// loop does something again and again. A wait ends early where the pace has quickened.
func (p *Pulse) loop(ctx context.Context, do func(context.Context), pace func() time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		last := time.Now()
		do(ctx)
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
			if time.Since(last) >= pace()-every/2 {
				break
			}
		}
	}
}

// readKafka reads where the topic of ticks ends and how far the groups are.
func (p *Pulse) readKafka(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	s := lagSample{at: time.Now(), committed: map[string]map[int]int64{}}
	problems := map[string]string{}
	info, err := p.cfg.Log.TopicInfo(ctx, p.cfg.Topic)
	if err == nil {
		// Ends are read after the commits, or a group could seem to be past them.
		for _, group := range p.cfg.Groups {
			offsets, err := p.cfg.Log.Committed(ctx, group, p.cfg.Topic)
			if err != nil {
				problems[group] = "Its position can't be read: " + err.Error() + "."
				continue
			}
			s.committed[group] = offsets
		}
		partitions := make([]int, info.Partitions)
		for i := range partitions {
			partitions[i] = i
		}
		s.ends, err = p.cfg.Log.Ends(ctx, p.cfg.Topic, partitions)
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = problems
	switch {
	case errors.Is(err, bus.ErrNoTopic):
		p.kafka = fmt.Sprintf("Kafka has no topic %q yet.", p.cfg.Topic)
		p.setLocked("kafka", server, Degraded, p.kafka)
	case err != nil:
		p.kafka = "Kafka does not answer: " + err.Error() + "."
		p.setLocked("kafka", server, Down, p.kafka)
	default:
		p.kafka = ""
		p.setLocked("kafka", server, Up, "")
		if n := len(p.lag); n > 0 && total(p.lag[n-1].ends) > total(s.ends) {
			p.lag = nil // another incarnation of the topic
		}
		p.lag = append(p.lag, s)
		p.lag = slices.DeleteFunc(p.lag, func(x lagSample) bool { return s.at.Sub(x.at) > rateTime })
	}
}

func total(offsets map[int]int64) (sum int64) {
	for _, o := range offsets {
		sum += o
	}
	return sum
}

// readTargets reads the connectors' metrics.
func (p *Pulse) readTargets(ctx context.Context) {
	if len(p.cfg.Targets) == 0 {
		return
	}
	lists := map[string][]families{}
	failed := map[string]error{}
	for _, t := range p.cfg.Targets {
		list, err := scrape(ctx, p.http, t)
		if err != nil {
			failed[t.Name] = err
			continue
		}
		lists[t.Name] = append(lists[t.Name], list...)
	}
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.cfg.Targets {
		err := failed[t.Name]
		switch {
		case err != nil && len(lists[t.Name]) == 0:
			p.setLocked(t.Name, connectorKind, Down, err.Error()+".")
		case err != nil:
			p.setLocked(t.Name, connectorKind, Degraded, "One of its replicas does not answer: "+err.Error()+".")
		default:
			p.setLocked(t.Name, connectorKind, Up, "")
		}
	}
	if failed[kafkaConnector] == nil && len(lists[kafkaConnector]) > 0 {
		s := readingSample{time.Now(), connector(lists[kafkaConnector])}
		p.readings = append(p.readings, s)
		p.readings = slices.DeleteFunc(p.readings, func(x readingSample) bool { return s.at.Sub(x.at) > rateTime+every })
		for f, r := range s.byFunction {
			if len(r.stopped) > 0 {
				p.setLocked(kafkaConnector, connectorKind, Degraded, fmt.Sprintf("Nothing more is read of partitions %v for function %s; its log says why.", r.stopped, f))
			}
		}
	} else {
		p.readings = nil
	}
	if list := lists[cronConnector]; len(list) > 0 {
		p.judgeFetchLocked(list)
	}
}

// staleFetch is how long ago a successful fetch may be. It is called every few seconds.
const staleFetch = time.Minute

// judgeFetchLocked tells from the cron connector's metrics whether prices are
// being fetched.
func (p *Pulse) judgeFetchLocked(list []families) {
	last := 0.0
	for _, fs := range list {
		if at, found := fs.value("cron_connector_last_success_timestamp_seconds", map[string]string{"function": "fetch"}); found {
			last = max(last, at)
		}
	}
	if age := time.Since(time.UnixMilli(int64(last * 1000))).Round(time.Second); last > 0 && age > staleFetch {
		p.setLocked(cronConnector, connectorKind, Degraded, fmt.Sprintf("The last successful call of fetch was %s ago.", age))
	}
}

// readFunctions asks each function whether it lives.
func (p *Pulse) readFunctions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	type result struct {
		problem string
		reached bool
	}
	results := make([]result, len(p.cfg.Functions))
	var g errgroup.Group
	g.SetLimit(4)
	for i, f := range p.cfg.Functions {
		g.Go(func() error {
			results[i].problem, results[i].reached = p.cfg.Ask.Alive(ctx, f)
			return nil
		})
	}
	_ = g.Wait() // none fails
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	cassandra, read := p.cfg.Ask.Cassandra()
	p.mu.Lock()
	defer p.mu.Unlock()
	gateway := Down
	why := ""
	for i, f := range p.cfg.Functions {
		switch r := results[i]; {
		case r.problem == "":
			gateway = Up
			p.setLocked(f, function, Up, "")
		case r.reached:
			gateway = Up
			p.setLocked(f, function, Down, sentence(r.problem))
		default:
			why = r.problem
			p.setLocked(f, function, Unknown, sentence(r.problem))
		}
	}
	if gateway == Up {
		why = ""
	}
	p.setLocked("gateway", server, gateway, sentence(why))
	switch {
	case !read:
	case gateway == Down:
		p.setLocked("cassandra", server, Unknown, "The functions that read it can't be asked.")
	case cassandra == "":
		p.setLocked("cassandra", server, Up, "")
	default:
		p.setLocked("cassandra", server, Degraded, sentence(cassandra))
	}
	for _, f := range p.cfg.Groups {
		if part := p.parts[f]; part != nil && part.State == Up && p.stuckLocked(f) {
			p.setLocked(f, function, Degraded, "Records wait and none has been done for 10 seconds.")
		}
	}
}

// stuckLocked reports whether a group has not moved over all samples although
// there was something to do.
func (p *Pulse) stuckLocked(group string) bool {
	if len(p.lag) < 2 {
		return false
	}
	first, last := p.lag[0], p.lag[len(p.lag)-1]
	return last.at.Sub(first.at) > rateTime-2*every && total(first.committed[group]) == total(last.committed[group]) &&
		total(first.ends) > total(first.committed[group]) && len(last.committed[group]) > 0
}

// sentence begins with a capital and ends with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	b := []byte(text)
	if b[0] >= 'a' && b[0] <= 'z' {
		b[0] -= 'a' - 'A'
	}
	if b[len(b)-1] != '.' {
		b = append(b, '.')
	}
	return string(b)
}

type sealReport struct {
	Windows       int64   `json:"windows"`
	Again         int64   `json:"again"`
	Candles       int64   `json:"candles"`
	Audited       int64   `json:"audited"`
	Differences   int64   `json:"differences"`
	Repeats       int64   `json:"repeats"`
	BehindSeconds float64 `json:"behind_seconds"`
	Since         int64   `json:"since"`
}

// readSeal reads the metrics of seal, of which one process runs at a time.
func (p *Pulse) readSeal(ctx context.Context) {
	if !slices.Contains(p.cfg.Functions, "seal") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var report *sealReport
	if text, err := p.cfg.Ask.Metrics(ctx, "seal"); err == nil {
		if fs, err := parseMetrics(text); err == nil {
			report = sealOf(fs)
		}
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	p.mu.Lock()
	old := p.seal
	p.seal = report
	p.mu.Unlock()
	if report == nil {
		p.cfg.Hub.SetSeal(nil)
		return
	}
	if old == nil || old.Windows != report.Windows || old.Again != report.Again || old.Differences != report.Differences || old.Since != report.Since {
		p.cfg.Sealed()
	}
	p.cfg.Hub.SetSeal(&hub.Seal{Windows: report.Windows, Again: report.Again, Differences: report.Differences})
}

// sealOf returns nil where seal has not sealed yet, or it is not seal's metrics.
func sealOf(fs families) *sealReport {
	if _, found := fs.value("seal_audited_total", nil); !found {
		return nil
	}
	count := func(name string, labels map[string]string) int64 {
		v, _ := fs.value(name, labels)
		return int64(v)
	}
	r := &sealReport{
		Windows: count("seal_windows_total", map[string]string{"kind": "first"}), Again: count("seal_windows_total", map[string]string{"kind": "again"}),
		Candles: count("seal_candles_total", nil), Audited: count("seal_audited_total", nil),
		Differences: count("seal_differences_total", nil), Repeats: count("seal_repeated_trades_total", nil),
	}
	r.BehindSeconds, _ = fs.value("seal_behind_seconds", nil)
	started, _ := fs.value("process_start_time_seconds", nil)
	r.Since = int64(started * 1000)
	return r
}

func (p *Pulse) publish(context.Context) {
	b, err := json.Marshal(p.report(time.Now()))
	if err != nil { // plain structs always can, as long as no figure is infinite
		return
	}
	p.cfg.Hub.SetPipeline(b)
}
