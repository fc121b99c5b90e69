package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/connectors/yahoo/feed"
	"ticktape/deploy/local/servers"
	"ticktape/internal/bus"
	"ticktape/internal/gateway/gatewaytest"
	"ticktape/internal/ingest"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo/yahootest"
)

// The test binary is the connector where this is set, so that it can be killed.
const beConnector = "TEST_BE_CONNECTOR"

func TestMain(m *testing.M) {
	if os.Getenv(beConnector) != "" {
		main()
	}
	os.Exit(m.Run())
}

const (
	owner    = "the streamer"
	patience = 60 * time.Second
)

// rig is a market that is polled by fetch and streamed by the connector, with
// the real Kafka and Cassandra between them.
type rig struct {
	*yahootest.Server
	stopped atomic.Int64 // the clock on the wall stands here, in nanoseconds, where it is not 0
	fetch   *ingest.Service
	token   string
	topic   string
	bus     *bus.Client
	list    *watchlist.List
	admin   string // the connector's address
	streams *process
}

func newRig(t *testing.T, brokers string, symbols int) *rig {
	t.Helper()
	cassandra := testbed.Cassandra(t)
	st, err := store.Open(t.Context(), cassandra) // makes the tables
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
	r := &rig{token: "t0ken", fetch: ingest.NewService(), bus: bus.New(bus.Config{Brokers: []string{brokers}})}
	t.Cleanup(r.bus.Close)
	r.topic = fmt.Sprintf("stream_%d", time.Now().UnixNano())
	if err := r.bus.EnsureTopics(t.Context(), bus.Topic{Name: r.topic, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	// Its clock is an hour behind and quick: it never passes ours.
	r.Server = yahootest.NewServer(yahootest.Options{
		Seed: 5, Symbols: symbols, Speed: 6, Start: time.Now().Add(-2 * time.Hour),
		Clock: func() time.Time {
			if at := r.stopped.Load(); at != 0 {
				return time.Unix(0, at)
			}
			return time.Now()
		},
	})
	r.Streamer.Set(yahootest.StreamOptions{Every: 50 * time.Millisecond})
	web := httptest.NewServer(r.Server)
	t.Cleanup(web.Close)
	secrets := t.TempDir()
	if err := os.WriteFile(filepath.Join(secrets, trigger.TokenSecret), []byte(r.token), 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := gatewaytest.New(t)
	gateway.Deploy("fetch", nil, func(w http.ResponseWriter, q *http.Request) {
		res := r.call(q)
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(res.Body)
	})
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	r.admin = fmt.Sprintf("127.0.0.1:%d", port)
	for k, v := range map[string]string{
		"KAFKA_BROKERS": brokers, "TICKS_TOPIC": r.topic, "PERSIST_GROUP": r.topic + ".persist",
		"CASSANDRA_KEYSPACE": cassandra.Keyspace, "CASSANDRA_TIMEOUT": cassandra.Timeout.String(), "SECRETS_DIR": secrets,
		"YAHOO_URL": web.URL, "YAHOO_RATE": "1000", "SYMBOLS": strings.Join(r.Market.Symbols(), ","),
		"YAHOO_STREAM_URL": "ws" + strings.TrimPrefix(web.URL, "http") + "/streamer?version=2",
		"GATEWAY_URL":      gateway.URL, "METRICS_ADDR": r.admin, "STREAM_OWNER": owner, "STREAM_REFRESH": "300ms",
		"STREAM_HAND_BACK": "1s", "STREAM_DIAL_RATE": "100", "STREAM_MIN_BACKOFF": "100ms", "STREAM_DOUBT": "2s",
	} {
		t.Setenv(k, v)
	}
	r.list = watchlist.New(store.NewLazy(store.ConfigFromEnv))
	if err := r.list.Seed(t.Context(), r.Market.Symbols()); err != nil {
		t.Fatal(err)
	}
	return r
}

// call is a call of fetch, as the connector for schedules or ours makes it.
func (r *rig) call(q *http.Request) handler.Response {
	req := handler.Request{Method: http.MethodPost, Header: http.Header{trigger.HeaderToken: q.Header[trigger.HeaderToken]}}
	req.WithContext(q.Context())
	return r.fetch.Serve(req)
}

// poll calls fetch over and over until the end of the test, and returns a
// function that waits for a call that begins now.
func (r *rig) poll(t *testing.T) (once func(t *testing.T) ingest.Summary) {
	t.Helper()
	var ended sync.WaitGroup
	stop := make(chan struct{})
	once = func(t *testing.T) (sum ingest.Summary) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://fetch", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set(trigger.HeaderToken, r.token)
		res := r.call(q)
		if res.StatusCode == http.StatusOK {
			if err := json.Unmarshal(res.Body, &sum); err != nil {
				t.Errorf("fetch answers %s", res.Body)
			}
		}
		return sum
	}
	ended.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				once(t)
			}
		}
	})
	t.Cleanup(func() { close(stop); ended.Wait() })
	return once
}

// process is a connector of its own.
type process struct {
	*exec.Cmd
	out    bytes.Buffer
	exited chan struct{}
}

func (r *rig) start(t *testing.T) {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), exited: make(chan struct{})}
	p.Env = append(os.Environ(), beConnector+"=1")
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.Wait() // its code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("the connector said:\n%s", p.out.String())
		}
	})
	r.streams = p
}

func (r *rig) end(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := r.streams.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.streams.exited:
	case <-time.After(patience):
		t.Fatal("the connector does not stop")
	}
	if code := r.streams.ProcessState.ExitCode(); sig == syscall.SIGTERM && code != 0 {
		t.Errorf("the connector ended with %d", code)
	}
}

// symbols asks the connector for what it knows of them; nil where it is away.
func (r *rig) symbols() []feed.Symbol {
	res, err := http.Get("http://" + r.admin + "/symbols")
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	var body struct{ Symbols []feed.Symbol }
	if json.NewDecoder(res.Body).Decode(&body) != nil {
		return nil
	}
	return body.Symbols
}

// fed counts the symbols that are fed in that way.
func (r *rig) fed(how string) (n int) {
	for _, s := range r.symbols() {
		if s.Fed == how {
			n++
		}
	}
	return n
}

func (r *rig) await(t *testing.T, how string, n int) {
	t.Helper()
	testbed.Eventually(t, patience, fmt.Sprintf("%d symbols are %s", n, how), func() bool { return r.fed(how) >= n })
}

// published is how many trades the connector says that it has published.
func (r *rig) published() (n int64) {
	for _, s := range r.symbols() {
		n += s.Published
	}
	return n
}

// records reads the topic from its beginning, by symbol.
func (r *rig) records(t *testing.T) (map[string][]tick.Tick, error) {
	t.Helper()
	info, err := r.bus.TopicInfo(t.Context(), r.topic)
	if err != nil {
		return nil, err
	}
	all := map[string][]tick.Tick{}
	for part := range info.Partitions {
		cursor := r.bus.Cursor(r.topic, info, part, 0)
		for done := false; !done; {
			chunk, err := cursor.Fetch(t.Context(), 50*time.Millisecond, 1<<20)
			if err != nil {
				return nil, err // of a broker that was away
			}
			var rec bus.Record
			var d tick.Decoder
			for {
				more, err := chunk.Next(&rec)
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					break
				}
				var tk tick.Tick
				if err := d.Decode("", append([]byte(nil), rec.Value...), &tk); err != nil {
					t.Fatal(err)
				}
				all[tk.Symbol] = append(all[tk.Symbol], tk)
			}
			done = cursor.Next() >= chunk.End
		}
	}
	return all, nil
}

// finish stops the market, waits until the last trade of each symbol is in the
// log, and checks that each is there once, in order, with all of the volume.
func (r *rig) finish(t *testing.T, once func(*testing.T) ingest.Summary) {
	t.Helper()
	r.stopped.Store(time.Now().UnixNano())
	now := r.Market.Now()
	var all map[string][]tick.Tick
	testbed.Eventually(t, patience, "the last trade of each symbol is in the log", func() bool {
		once(t)
		var err error
		if all, err = r.records(t); err != nil {
			return false
		}
		for _, s := range r.Market.Symbols() {
			last, _ := r.Market.LastTrade(s, now.Add(-time.Millisecond))
			if n := len(all[s]); n == 0 || all[s][n-1].EventTime/1000 != last.Time/1000 || all[s][n-1].DayVolume < r.Market.DayVolume(s, time.UnixMilli(last.Time)) {
				return false
			}
		}
		return true
	})
	polled, streamed := 0, 0
	for symbol, ticks := range all {
		var sizes int64
		for i := range ticks {
			tk := &ticks[i]
			switch {
			case tk.EventTime%1000 == 0:
				polled++
			case i > 0 && tk.EventTime == ticks[i-1].EventTime:
				polled++ // a later trade of a second that was streamed before
			default:
				streamed++
				r.check(t, tk)
			}
			if tk.Source != tick.SourceSimulated || tk.Currency == "" || tk.Exchange == "" || tk.PreviousClose == 0 {
				t.Errorf("tick %+v", tk)
			}
			if i == 0 {
				continue
			}
			sizes += tk.Size
			before := &ticks[i-1]
			sameSecond := tk.EventTime/1000 == before.EventTime/1000
			switch {
			case tk.EventTime < before.EventTime,
				// A poll tells no more than the second, and the volume if there is one.
				sameSecond && tk.DayVolume != 0 && tk.DayVolume <= before.DayVolume,
				sameSecond && tk.DayVolume == 0 && (tk.EventTime%1000 == 0 || before.EventTime%1000 == 0 || tk.EventTime == before.EventTime):
				t.Errorf("%+v follows\n%+v", tk, before)
			}
		}
		if want := ticks[len(ticks)-1].DayVolume - ticks[0].DayVolume; sizes != want {
			t.Errorf("the sizes of %s add up to %d, the market traded %d", symbol, sizes, want)
		}
	}
	t.Logf("%d ticks were polled and %d streamed", polled, streamed)
	if polled == 0 || streamed == 0 {
		t.Error("only one way was taken")
	}
}

// check compares a streamed tick with the market.
func (r *rig) check(t *testing.T, tk *tick.Tick) {
	at := time.UnixMilli(tk.EventTime)
	trades := r.Market.TradesBetween(tk.Symbol, at, at.Add(time.Millisecond))
	in, _ := r.Market.Instrument(tk.Symbol)
	unit := tick.Unit
	for range in.PriceHint {
		unit /= 10
	}
	for _, trade := range trades {
		if d := tk.Price - trade.Price; d > -unit && d < unit && tk.DayVolume == r.Market.DayVolume(tk.Symbol, at) {
			return
		}
	}
	t.Errorf("%+v is none of %+v with day volume %d", tk, trades, r.Market.DayVolume(tk.Symbol, at))
}

// TestEachTradeIsPublishedOnceWhoeverSeesIt: one market is polled and streamed,
// claims come and go, connections die, and the streamer is killed.
func TestEachTradeIsPublishedOnceWhoeverSeesIt(t *testing.T) {
	r := newRig(t, testbed.Kafka(t)[0], 40)
	once := r.poll(t)
	testbed.Eventually(t, patience, "fetch polls", func() bool { return once(t).Asked == 40 })
	r.start(t)
	r.await(t, "streamed", 40)
	if sum := once(t); sum.Skipped != 40 || sum.Asked != 0 {
		t.Errorf("fetch polls what is streamed: %+v", sum)
	}

	// Connections that die all the time keep their claims.
	r.Streamer.Set(yahootest.StreamOptions{Every: 50 * time.Millisecond, DieAfter: 500 * time.Millisecond, Malformed: 7})
	r.Streamer.Cut()
	dials := len(r.Streamer.Dials())
	testbed.Eventually(t, patience, "connections died", func() bool { return len(r.Streamer.Dials()) > dials+3 })

	// Without the stream polling takes over, and gives back.
	r.Streamer.Set(yahootest.StreamOptions{Refuse: http.StatusServiceUnavailable})
	r.Streamer.Cut()
	testbed.Eventually(t, patience, "fetch polls what is not streamed", func() bool { return once(t).Asked == 40 })
	r.Streamer.Set(yahootest.StreamOptions{Every: 50 * time.Millisecond})
	r.await(t, "streamed", 30)

	// Killed in the middle of it, it goes on where it was.
	before := r.published()
	testbed.Eventually(t, patience, "ticks are published", func() bool { return r.published() > before })
	r.end(t, syscall.SIGKILL)
	r.start(t)
	r.await(t, "streamed", 30)

	// Killed, and its claims run out.
	r.end(t, syscall.SIGKILL)
	if err := r.list.Release(t.Context(), r.Market.Symbols(), owner); err != nil {
		t.Fatal(err)
	}
	if sum := once(t); sum.Asked != 40 {
		t.Errorf("fetch does not poll what nobody claims: %+v", sum)
	}
	r.start(t)
	r.await(t, "streamed", 30)

	// Symbols come and go at run time.
	if _, err := r.list.Remove(t.Context(), "AAPL"); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, patience, "AAPL is not followed", func() bool { return len(r.symbols()) == 39 && r.Streamer.Served()["AAPL"] == 0 })
	if _, err := r.list.Add(t.Context(), "AAPL", 1000); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, patience, "AAPL is streamed again", func() bool {
		for _, s := range r.symbols() {
			if s.Symbol == "AAPL" {
				return s.Fed == "streamed" && s.Published > 0
			}
		}
		return false
	})

	// Told to stop, it publishes what waits and leaves nothing claimed.
	r.end(t, syscall.SIGTERM)
	if sum := once(t); sum.Asked != 40 || sum.Skipped != 0 {
		t.Errorf("fetch after the streamer's end: %+v", sum)
	}
	r.finish(t, once)
}

// TestKafkaThatFreezesCostsNoTradeAndBringsNoneTwice: what waits for it is
// bounded, and what became of a publication is looked up when it is back, by
// another process, too.
func TestKafkaThatFreezesCostsNoTradeAndBringsNoneTwice(t *testing.T) {
	testbed.Kafka(t) // skips where there is to be none at all
	if testing.Short() {
		t.Skip("starts a Kafka of its own, which takes 10 s and 500 MiB: run without -short")
	}
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	broker, err := servers.StartKafka(t.Context(), servers.Options{Dir: t.TempDir(), Port: port, HeapMB: 256, Say: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Thaw(); _ = broker.Kill() })
	r := newRig(t, broker.Addr(), 20)
	once := r.poll(t)
	testbed.Eventually(t, patience, "fetch polls", func() bool { return once(t).Published > 0 })
	r.start(t)
	r.await(t, "streamed", 20)
	before := r.published()
	testbed.Eventually(t, patience, "ticks are published", func() bool { return r.published() > before+100 })

	if err := broker.Freeze(); err != nil {
		t.Fatal(err)
	}
	r.await(t, "in doubt", 1) // a publication was given up
	r.end(t, syscall.SIGKILL)
	r.start(t)
	if err := broker.Thaw(); err != nil {
		t.Fatal(err)
	}
	r.await(t, "streamed", 20)
	before = r.published()
	testbed.Eventually(t, patience, "ticks are published again", func() bool { return r.published() > before+50 })
	r.finish(t, once)
}
