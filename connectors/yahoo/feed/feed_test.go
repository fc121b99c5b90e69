package feed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/ingest"
	"ticktape/internal/service"
	"ticktape/internal/tick"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/stream"
)

// The parts of these tests are stand-ins that fail on demand, on a clock that
// waits for nobody; what happens with real ones is in ../main_test.go.

// world is a feed with all that it works with.
type world struct {
	*Feed

	mu      sync.Mutex
	symbols []string
	claims  map[string]claim
	noList  bool
	log     []tick.Tick
	logged  []time.Time                                       // when
	publish func(msgs []kafka.Message) (written int, _ error) // nil: all of them are written
	noLog   bool
	live    bool // symbols are connected and live
	barrier func() error
}

type claim struct {
	owner string
	until time.Time
}

func (w *world) List(context.Context) (list []watchlist.Symbol, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noList {
		return nil, errors.New("no Cassandra")
	}
	for _, s := range w.symbols {
		list = append(list, watchlist.Symbol{Symbol: s, Exchange: "NMS", StreamedBy: w.owner(s)})
	}
	return list, nil
}

func (w *world) owner(symbol string) string {
	if c := w.claims[symbol]; time.Now().Before(c.until) {
		return c.owner
	}
	return ""
}

func (w *world) Claim(_ context.Context, symbols []string, owner string, ttl time.Duration) (claimed []string, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noList {
		return nil, errors.New("no Cassandra")
	}
	for _, s := range symbols {
		if o := w.owner(s); slices.Contains(w.symbols, s) && (o == "" || o == owner) {
			w.claims[s] = claim{owner, time.Now().Add(ttl)}
			claimed = append(claimed, s)
		}
	}
	return claimed, nil
}

func (w *world) Release(_ context.Context, symbols []string, owner string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range symbols {
		if w.owner(s) == owner {
			delete(w.claims, s)
		}
	}
	return nil
}

func (w *world) Publish(_ context.Context, msgs []kafka.Message) error {
	w.mu.Lock()
	publish := w.publish
	w.mu.Unlock()
	n, err := len(msgs), error(nil)
	if publish != nil {
		n, err = publish(msgs)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range msgs[:n] {
		var d tick.Decoder
		var t tick.Tick
		if err := d.Decode("", m.Value, &t); err != nil {
			return err
		}
		if c := w.claims[t.Symbol]; c.owner != w.cfg.Owner || time.Until(c.until) < 0 {
			return errors.New("published without a claim")
		}
		w.log, w.logged = append(w.log, t), append(w.logged, time.Now())
	}
	return err
}

func (w *world) Published(_ context.Context, symbols []string) (latest []tick.Tick, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noLog {
		return nil, errors.New("no Kafka")
	}
	for _, s := range symbols {
		for _, t := range slices.Backward(w.log) {
			if t.Symbol == s {
				latest = append(latest, t)
				break
			}
		}
	}
	return latest, nil
}

func (w *world) Follow([]stream.Symbol) {}

func (w *world) Status() (all []stream.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.symbols {
		status := stream.Status{Symbol: s, State: stream.Waiting, Connected: w.live}
		if w.live {
			status.State = stream.Live
		}
		all = append(all, status)
	}
	return all
}

// run runs the feed in a bubble of its own time while the test lasts.
func run(t *testing.T, change func(*Config), test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		cfg, err := service.Load[Config]()
		if err != nil {
			t.Fatal(err)
		}
		cfg.Owner = "us"
		if change != nil {
			change(&cfg)
		}
		w := &world{symbols: []string{"AAPL", "MSFT"}, claims: map[string]claim{}, live: true, barrier: func() error { return nil }}
		parts := Parts{List: w, Ticks: w, Memory: w, Barrier: func(context.Context) error { return w.barrier() }}
		if w.Feed, err = New(cfg, parts, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx, w) })
		pass(time.Second) // it has read the list
		test(t, w)
		cancel()
		running.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		for s := range w.claims {
			if w.owner(s) == "us" {
				t.Errorf("%s is claimed after the end", s)
			}
		}
		last := map[string]tick.Tick{}
		for _, tk := range w.log {
			if p, ok := last[tk.Symbol]; ok && (tk.EventTime < p.EventTime || tk.EventTime == p.EventTime && tk.Seq <= p.Seq) {
				t.Errorf("%+v follows %+v", tk, p)
			}
			last[tk.Symbol] = tk
		}
	})
}

// pass lets time pass and everything come to rest.
func pass(d time.Duration) {
	time.Sleep(d) // in a bubble, where it takes no time
	synctest.Wait()
}

// offer brings a trade that happens now.
func (w *world) offer(symbol string, volume int64) {
	now := time.Now()
	w.Offer(stream.Update{Received: now, Quote: yahoo.Quote{
		Symbol: symbol, Type: "EQUITY", Price: tick.Unit, Time: now.UnixMilli(), MarketState: tick.MarketRegular,
		Volume: volume, HasVolume: true, VolumeTime: now.UnixMilli(), Exchange: "NMS", Source: tick.SourceYahooStream,
	}})
}

// volumes are the day volumes of the published ticks of AAPL.
func (w *world) volumes() (all []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.log {
		if t.Symbol == "AAPL" {
			all = append(all, t.DayVolume)
		}
	}
	return all
}

func (w *world) is(t *testing.T, fed string, want ...int64) {
	t.Helper()
	if got := w.volumes(); !slices.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
	all, _ := w.Symbols()
	if all[0].Symbol != "AAPL" || all[0].Fed != fed {
		t.Errorf("AAPL is %s, want %s", all[0].Fed, fed)
	}
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// poll publishes as fetch does.
func (w *world) poll(volume int64) {
	w.set(func() {
		w.log = append(w.log, tick.Tick{
			Symbol: "AAPL", EventTime: time.Now().Truncate(time.Second).UnixMilli(), Price: tick.Unit, Seq: volume, DayVolume: volume,
			Currency: "USD", Exchange: "NMS", MarketState: tick.MarketRegular, Source: tick.SourceYahoo,
		})
		w.logged = append(w.logged, time.Now())
	})
}

func TestASymbolIsTakenOverWhereFetchLeftIt(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		seen := make(chan struct{})
		w.set(func() { w.barrier = func() error { <-seen; return nil } })
		w.offer("AAPL", 100)
		pass(time.Second)
		w.offer("AAPL", 120)
		pass(time.Second)
		w.is(t, "taking over")
		w.poll(120) // by a call that began before the claim
		close(seen)
		pass(time.Second)
		w.is(t, "streamed", 120)
		w.offer("AAPL", 150)
		pass(time.Second)
		w.is(t, "streamed", 120, 150)
		if last := w.log[1]; last.Size != 30 || last.Currency != "USD" || last.Source != tick.SourceYahooStream {
			t.Errorf("tick %+v", last)
		}
	})
}

func TestWithoutAnAnswerOfFetchItsTimeLimitIsWaitedFor(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.set(func() { w.barrier = func() error { return errors.New("no gateway") } })
		w.offer("AAPL", 100)
		pass(w.cfg.HandOver - 2*time.Second)
		w.is(t, "taking over")
		_, problems := w.Symbols()
		if len(problems) != 1 || !strings.Contains(problems[0], "GATEWAY_URL") {
			t.Errorf("problems %v", problems)
		}
		pass(4 * time.Second)
		w.is(t, "streamed", 100)
	})
}

func TestASnapshotOfYesterdayIsNoReasonToTakeOver(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		now := time.Now()
		w.Offer(stream.Update{Snapshot: true, Received: now, Quote: yahoo.Quote{Symbol: "AAPL", Price: 1, Time: now.Add(-20 * time.Hour).UnixMilli()}})
		pass(10 * time.Second)
		w.is(t, "polled")
	})
}

func TestWhatIsInDoubtIsLookedUpInTheLog(t *testing.T) {
	for _, c := range []struct {
		name    string
		publish func(msgs []kafka.Message) (int, error)
	}{
		{"nothing was written", func([]kafka.Message) (int, error) { return 0, errors.New("time-out") }},
		{"all was written", func(msgs []kafka.Message) (int, error) { return len(msgs), errors.New("time-out") }},
		{"some was written", func(msgs []kafka.Message) (int, error) {
			e := &bus.PublishError{Cause: errors.New("time-out")}
			for i := range msgs {
				e.Failed = append(e.Failed, i)
			}
			return len(msgs) / 2, e
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, nil, func(t *testing.T, w *world) {
				w.offer("AAPL", 100)
				pass(3 * time.Second)
				w.set(func() { w.publish, w.noLog = c.publish, true })
				for v := int64(101); v <= 110; v++ {
					w.offer("AAPL", v)
				}
				pass(time.Minute)
				w.set(func() { w.publish, w.noLog = nil, false })
				if all, _ := w.Symbols(); all[0].Fed != "in doubt" {
					t.Errorf("AAPL is %s", all[0].Fed)
				}
				w.offer("AAPL", 111)
				pass(10 * time.Second)
				w.is(t, "streamed", 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111)
			})
		})
	}
}

func TestAWriteThatABrokerStillHadInItsHandsIsSeen(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.offer("AAPL", 100)
		pass(3 * time.Second)
		w.set(func() {
			w.publish = func(msgs []kafka.Message) (int, error) {
				// It is written a moment after the log has been read for the first time.
				go func() {
					time.Sleep(2 * time.Second) // of the bubble, where it takes no time
					_ = w.Publish(t.Context(), msgs)
				}()
				w.set(func() { w.publish = nil })
				return 0, errors.New("time-out")
			}
		})
		w.offer("AAPL", 101)
		pass(20 * time.Second)
		w.is(t, "streamed", 100, 101)
	})
}

// TestMemoryIsBoundedWhileKafkaIsAway: what has no room is counted by symbol, and
// its volume is in the tick after it.
func TestMemoryIsBoundedWhileKafkaIsAway(t *testing.T) {
	run(t, func(c *Config) { c.Queue = 50 }, func(t *testing.T, w *world) {
		w.offer("AAPL", 0)
		w.offer("MSFT", 0)
		pass(5 * time.Second)
		away := make(chan struct{})
		w.set(func() { w.publish = func(msgs []kafka.Message) (int, error) { <-away; return len(msgs), nil } })
		for v := int64(1); v <= 1000; v++ {
			w.offer("AAPL", v)
			if v%100 == 0 {
				w.offer("MSFT", v)
			}
			pass(10 * time.Millisecond)
		}
		all, _ := w.Symbols()
		aapl, msft := all[0], all[1]
		if aapl.Queued+msft.Queued > 50 || aapl.Dropped < 900 || msft.Dropped != 0 {
			t.Errorf("AAPL %+v\nMSFT %+v", aapl, msft)
		}
		close(away)
		pass(5 * time.Second)
		sizes := map[string]int64{}
		for _, tk := range w.log {
			sizes[tk.Symbol] += tk.Size
		}
		// The first has none that is known.
		if sizes["AAPL"] != 1000 || sizes["MSFT"] != 1000 {
			t.Errorf("sizes %v", sizes)
		}
		if all, _ := w.Symbols(); all[0].Queued != 0 || all[0].Published+all[0].Dropped != 1001 {
			t.Errorf("AAPL %+v", all[0])
		}
	})
}

func TestWithoutCassandraNothingIsPublishedOnAClaimThatMayEnd(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.offer("AAPL", 100)
		pass(3 * time.Second)
		w.set(func() { w.noList = true })
		away := time.Now()
		for v := int64(101); v < 300; v++ {
			w.offer("AAPL", v)
			pass(time.Second)
		}
		w.set(func() {
			last := w.logged[len(w.logged)-1]
			if renewed := w.claims["AAPL"].until.Add(-w.cfg.ClaimTTL); last.Sub(renewed) > w.cfg.ClaimTTL-PublishLimit || last.Before(away) {
				t.Errorf("the last tick was published %s after the claim was renewed", last.Sub(renewed))
			}
		})
		// Fetch has it meanwhile.
		w.poll(299)
		w.set(func() { w.noList = false })
		pass(time.Second)
		w.offer("AAPL", 299)
		w.offer("AAPL", 300)
		pass(10 * time.Second)
		if got := w.volumes(); got[len(got)-1] != 300 || got[len(got)-2] != 299 {
			t.Errorf("published %v", got)
		}
	})
}

func TestAnothersClaimIsRespected(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.set(func() { w.claims["AAPL"] = claim{"them", time.Now().Add(30 * time.Second)} })
		for v := range int64(20) {
			w.offer("AAPL", 100+v)
			pass(time.Second)
		}
		w.is(t, "polled")
		for v := range int64(20) {
			w.offer("AAPL", 200+v)
			pass(time.Second)
		}
		if got := w.volumes(); len(got) == 0 || got[0] < 200 {
			t.Errorf("published %v", got)
		}
		// It is taken away, as by one that claimed at the same moment.
		w.set(func() { w.claims["AAPL"] = claim{"them", time.Now().Add(time.Hour)} })
		pass(w.cfg.Refresh)
		n := len(w.volumes())
		w.offer("AAPL", 300)
		pass(time.Minute)
		if len(w.volumes()) != n {
			t.Error("what another streams was published")
		}
	})
}

func TestWhatIsNotHeardOfIsPolledAgain(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.offer("AAPL", 100)
		pass(3 * time.Second)
		w.is(t, "streamed", 100)
		w.set(func() { w.live = false })
		pass(w.cfg.HandBack - 2*time.Second)
		w.is(t, "streamed", 100)
		pass(4 * time.Second)
		w.is(t, "polled", 100)
		w.poll(130)
		w.set(func() { w.live = true })
		w.offer("AAPL", 140)
		pass(5 * time.Second)
		w.is(t, "streamed", 100, 130, 140)
	})
}

func TestASymbolThatComesBackAtOnceIsTakenOverAnew(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		w.offer("AAPL", 100)
		pass(3 * time.Second)
		w.set(func() { w.symbols = []string{"MSFT"} })
		pass(4 * time.Second)
		w.offer("AAPL", 110)
		if all, _ := w.Symbols(); len(all) != 1 {
			t.Errorf("symbols %v", all)
		}
		w.set(func() { w.symbols = []string{"AAPL", "MSFT"} })
		pass(4 * time.Second)
		w.offer("AAPL", 120)
		pass(3 * time.Second)
		w.is(t, "streamed", 100, 120)
	})
}

func TestWhatFramesLeaveOutIsCompleted(t *testing.T) {
	at := func(day, hour int) int64 { return time.Date(2024, 11, day, hour+5, 0, 0, 0, time.UTC).UnixMilli() } // in New York
	before := func(t int64, state tick.MarketState, volume int64) *ingest.Last {
		l := ingest.Remembered(tick.Tick{EventTime: t, MarketState: state, DayVolume: volume, Seq: volume, PreviousClose: 7, Currency: "USD", Exchange: "NMS"})
		return &l
	}
	for _, c := range []struct {
		name          string
		before        *ingest.Last
		state         tick.MarketState
		time          int64
		volume        int64
		size, day     int64
		wantState     tick.MarketState
		previousClose tick.Price
	}{
		{"within the session", before(at(13, 10), tick.MarketRegular, 1000), tick.MarketRegular, at(13, 11), 1300, 300, 1300, tick.MarketRegular, 7},
		{"on the next day", before(at(13, 15), tick.MarketRegular, 1000), tick.MarketRegular, at(14, 10), 50, 50, 50, tick.MarketRegular, 0},
		{"before the opening, with the end of the session before", before(at(13, 15), tick.MarketRegular, 1000), tick.MarketPre, at(14, 8), 1100, 100, 0, tick.MarketPre, 0},
		{"before the opening after a weekend", before(at(15, 15), tick.MarketRegular, 1000), tick.MarketPre, at(18, 8), 1000, 0, 0, tick.MarketPre, 0},
		{"before the opening without a volume", before(at(13, 15), tick.MarketRegular, 1000), tick.MarketPre, at(14, 8), 0, 0, 0, tick.MarketPre, 0},
		{"again before the opening", before(at(14, 8), tick.MarketPre, 0), tick.MarketPre, at(14, 9), 1000, 0, 0, tick.MarketPre, 7},
		{"the first of the session after it", before(at(14, 8), tick.MarketPre, 0), tick.MarketRegular, at(14, 10), 60, 60, 60, tick.MarketRegular, 7},
		{"a frame of the session that lacks its hours", before(at(14, 10), tick.MarketRegular, 1000), tick.MarketPre, at(14, 11), 1200, 200, 1200, tick.MarketRegular, 7},
		{"and its volume", before(at(14, 10), tick.MarketRegular, 1000), tick.MarketPre, at(14, 11), 0, 0, 1000, tick.MarketRegular, 7},
		{"after the close", before(at(14, 15), tick.MarketRegular, 1000), tick.MarketPost, at(14, 17), 1001, 1, 1001, tick.MarketPost, 7},
		{"the first of all", nil, tick.MarketPre, at(14, 8), 1000, 0, 0, tick.MarketPre, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := yahoo.Quote{
				Symbol: "AAPL", Type: "EQUITY", Price: tick.Unit, Time: c.time, VolumeTime: c.time, MarketState: c.state, Volume: c.volume,
				HasVolume: c.volume > 0 || c.state == tick.MarketPre, UTCOffset: -5 * time.Hour,
			}
			complete(&q, c.before)
			got, order := ingest.Follow(&q, c.before, 0)
			if order != 1 || got.Size != c.size || got.DayVolume != c.day || got.MarketState != c.wantState || got.PreviousClose != c.previousClose {
				t.Errorf("order %d, tick %+v", order, got)
			}
			if c.before != nil && (got.Currency != "USD" || got.Exchange != "NMS") {
				t.Errorf("tick %+v", got)
			}
		})
	}
}

func TestSettingsThatCantBeUsedAreTold(t *testing.T) {
	for variable, value := range map[string]string{
		"STREAM_CLAIM_TTL": "20s", "STREAM_HAND_OVER": "1s", "STREAM_QUEUE": "0", "TICK_ENCODING": "xml", "STREAM_REFRESH": "0s",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, value)
			cfg, err := service.Load[Config]()
			if err == nil {
				_, err = New(cfg, Parts{}, nil)
			}
			if err == nil || !strings.Contains(err.Error(), variable) {
				t.Errorf("error %v", err)
			}
		})
	}
}
