package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/yahoo/yahootest"
)

// call is one of the connector for schedules, with the secret's token.
func call(t *testing.T, s *Service, token string) (status int, body map[string]any, header http.Header) {
	t.Helper()
	req := handler.Request{Method: http.MethodPost, Header: http.Header{}}
	req.WithContext(t.Context())
	if token != "" {
		req.Header.Set(trigger.HeaderToken, token)
	}
	res := s.Serve(req)
	if err := json.Unmarshal(res.Body, &body); err != nil {
		t.Fatalf("body %q: %v", res.Body, err)
	}
	if status, ok := body["status"]; ok && (int(status.(float64)) != res.StatusCode || res.Header.Get("Content-Type") != "application/problem+json") {
		t.Errorf("status %d, header %v, problem %v", res.StatusCode, res.Header, body)
	}
	return res.StatusCode, body, res.Header
}

func secrets(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, trigger.TokenSecret), []byte("let me in\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SECRETS_DIR", dir)
}

const token = "let me in"

func TestCallsWithoutTheTokenAreRefused(t *testing.T) {
	secrets(t)
	for _, given := range []string{"", "wrong"} {
		if status, body, _ := call(t, NewService(), given); status != 401 {
			t.Errorf("token %q: %d %v", given, status, body)
		}
	}
	t.Setenv("SECRETS_DIR", t.TempDir())
	if status, body, _ := call(t, NewService(), token); status != 503 || !strings.Contains(body["detail"].(string), "trigger-token") {
		t.Errorf("without the secret: %d %v", status, body)
	}
}

func TestSettingsThatCantBeUsedAreTold(t *testing.T) {
	secrets(t)
	for name, value := range map[string]string{"TICK_ENCODING": "xml", "SOURCE": "real", "YAHOO_URL": "yahoo", "FETCH_TIMEOUT": "soon", "YAHOO_RATE": "0"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if status, body, _ := call(t, NewService(), token); status != 500 || !strings.Contains(body["detail"].(string), name) {
				t.Errorf("%d %v", status, body)
			}
		})
	}
}

// pipeline is a Kafka topic, a keyspace and a market, with the environment set
// so that each new Service is fetch started anew.
type pipeline struct {
	*yahootest.Server
	url    string
	passed atomic.Int64
	topic  string
	group  string
	bus    *bus.Client
	store  *store.Store
}

func newPipeline(t *testing.T) *pipeline {
	t.Helper()
	brokers := testbed.Kafka(t)
	cassandra := testbed.Cassandra(t)
	st, err := store.Open(t.Context(), cassandra)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	p := &pipeline{topic: testbed.Topic(t, "fetch", 3), bus: bus.New(bus.Config{Brokers: brokers}), store: st}
	p.group = p.topic + ".persist"
	t.Cleanup(p.bus.Close)
	p.Server = yahootest.NewServer(yahootest.Options{
		Seed: 11, Start: noon, Clock: func() time.Time { return noon.Add(time.Duration(p.passed.Load())) },
	})
	web := httptest.NewServer(p.Server)
	t.Cleanup(web.Close)
	p.url = web.URL
	secrets(t)
	for k, v := range map[string]string{
		"CASSANDRA_KEYSPACE": cassandra.Keyspace, "CASSANDRA_TIMEOUT": cassandra.Timeout.String(), "FETCH_TIMEOUT": "60s",
		"TICKS_TOPIC": p.topic, "PERSIST_GROUP": p.group, "YAHOO_URL": web.URL, "YAHOO_RATE": "1000", "YAHOO_MAX_BACKOFF": "10ms",
	} {
		t.Setenv(k, v)
	}
	return p
}

func (p *pipeline) fetch(t *testing.T, s *Service, published, unchanged int) {
	t.Helper()
	status, body, _ := call(t, s, token)
	if status != 200 || body["circuit"] != "closed" || body["published"] != float64(published) || body["unchanged"] != float64(unchanged) || body["source"] != "simulated" {
		t.Errorf("%d %v, want %d published and %d unchanged", status, body, published, unchanged)
	}
}

// records reads the topic from its beginning.
func (p *pipeline) records(t *testing.T) (ticks []tick.Tick, offsets map[int][]int64) {
	t.Helper()
	info, err := p.bus.TopicInfo(t.Context(), p.topic)
	if err != nil {
		t.Fatal(err)
	}
	offsets = map[int][]int64{}
	for part := range info.Partitions {
		cursor := p.bus.Cursor(p.topic, info, part, 0)
		for done := false; !done; {
			chunk, err := cursor.Fetch(t.Context(), 50*time.Millisecond, 1<<20)
			var passing kafka.Error
			if errors.As(err, &passing) && passing.Temporary() { // the topic is new
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			var r bus.Record
			var d tick.Decoder
			for {
				more, err := chunk.Next(&r)
				if err != nil {
					t.Fatal(err)
				}
				if !more {
					break
				}
				var tk tick.Tick
				if err := d.Decode(string(r.Headers[0].Value), append([]byte(nil), r.Value...), &tk); err != nil || string(r.Key) != tk.Symbol {
					t.Fatalf("record %+v: %v", r, err)
				}
				ticks = append(ticks, tk)
				offsets[part] = append(offsets[part], r.Offset)
			}
			done = cursor.Next() >= chunk.End
		}
	}
	return ticks, offsets
}

// persist does what the function of that name does to a partition, as far as it
// matters here: the table first, then the commit.
func (p *pipeline) persist(t *testing.T, part int, upTo int64, commit bool) {
	t.Helper()
	info, err := p.bus.TopicInfo(t.Context(), p.topic)
	if err != nil {
		t.Fatal(err)
	}
	incarnation, err := p.store.Incarnation(t.Context(), p.topic, info.ID)
	if err != nil {
		t.Fatal(err)
	}
	cursor := p.bus.Cursor(p.topic, info, part, 0)
	chunk, err := cursor.Fetch(t.Context(), time.Second, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var r bus.Record
	var d tick.Decoder
	var quotes []store.Quote
	for {
		more, err := chunk.Next(&r)
		if err != nil {
			t.Fatal(err)
		}
		if !more || r.Offset >= upTo {
			break
		}
		q := store.Quote{Offset: r.Offset}
		if err := d.Decode("", append([]byte(nil), r.Value...), &q.Tick); err != nil {
			t.Fatal(err)
		}
		quotes = append(quotes, q)
	}
	if err := p.store.WriteQuotes(t.Context(), store.Log(incarnation, part), quotes); err != nil {
		t.Fatal(err)
	}
	if !commit {
		return
	}
	client := &kafka.Client{Addr: kafka.TCP(testbed.Kafka(t)...), Timeout: 20 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	testbed.Eventually(t, 20*time.Second, "the offset is committed", func() bool {
		res, err := client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
			GroupID: p.group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{p.topic: {{Partition: part, Offset: upTo}}},
		})
		return err == nil && res.Topics[p.topic][0].Error == nil
	})
}

func TestNothingIsPublishedTwiceAcrossRestarts(t *testing.T) {
	p := newPipeline(t)
	p.fetch(t, NewService(), 20, 0)
	again := func(when string) {
		t.Helper()
		p.fetch(t, NewService(), 0, 20)
		if ticks, _ := p.records(t); len(ticks) != 20 {
			t.Errorf("%s: the log has %d records, want 20", when, len(ticks))
		}
	}
	again("persist has not begun")
	_, offsets := p.records(t)
	p.persist(t, 0, int64(len(offsets[0])), true)
	again("persist has done one partition")
	p.persist(t, 1, int64(len(offsets[1]))/2, true)
	again("persist is in the middle of another")
	p.persist(t, 2, int64(len(offsets[2])), false)
	again("persist has done the third but not committed")
	p.persist(t, 1, int64(len(offsets[1])), true)
	p.persist(t, 2, int64(len(offsets[2])), true)
	again("persist has done all")

	t.Setenv("TICKS_TOPIC", testbed.Topic(t, "fetch", 3))
	p.fetch(t, NewService(), 0, 20)
}

func TestSizesInTheLogAddUpOverRestartsAndFailures(t *testing.T) {
	p := newPipeline(t)
	s := NewService()
	p.fetch(t, s, 20, 0)
	first := p.Market.Now()
	for i := range 12 {
		p.passed.Add(int64(7 * time.Second))
		switch i {
		case 3, 8:
			s = NewService()
		case 4:
			t.Setenv("TICK_ENCODING", "json")
			s = NewService()
		case 5:
			p.ExpireCrumbs()
		case 6:
			p.Inject(yahootest.InternalError().Once())
		case 7:
			p.Inject(yahootest.Page().On("quote"))
			if status, body, _ := call(t, s, token); status != 502 || !strings.Contains(body["detail"].(string), "HTML came instead") {
				t.Errorf("%d %v", status, body)
			}
			p.Heal()
			continue
		}
		if status, body, _ := call(t, s, token); status != 200 || len(body["failed"].([]any)) > 0 {
			t.Errorf("call %d: %d %v", i, status, body)
		}
	}
	got := map[string]int64{}
	ticks, _ := p.records(t)
	seen := map[tick.ID]bool{}
	for _, tk := range ticks {
		if seen[tk.ID()] {
			t.Errorf("%+v is there twice", tk)
		}
		seen[tk.ID()] = true
		got[tk.Symbol] += tk.Size
	}
	for _, symbol := range p.Market.Symbols() {
		if want := p.Market.DayVolume(symbol, p.Market.Now()) - p.Market.DayVolume(symbol, first); got[symbol] != want {
			t.Errorf("sizes of %s add up to %d, the market traded %d", symbol, got[symbol], want)
		}
	}
}

// TestWhatFailsIsNamed: none of these publishes anything, so they share a keyspace.
func TestWhatFailsIsNamed(t *testing.T) {
	p := newPipeline(t)
	t.Setenv("YAHOO_ATTEMPTS", "1")
	failing := func(t *testing.T, s *Service, detail string) (body map[string]any, header http.Header) {
		t.Helper()
		status, body, header := call(t, s, token)
		if status != 503 || body["published"] != 0.0 || !strings.Contains(body["detail"].(string), detail) {
			t.Errorf("%d %v, want %q", status, body, detail)
		}
		return body, header
	}
	t.Run("a refusal, with Retry-After", func(t *testing.T) {
		p.Inject(yahootest.TooManyRequests("120"))
		defer p.Heal()
		s := NewService()
		for range 2 { // the second is not sent
			_, header := failing(t, s, "rate limited")
			if seconds, _ := strconv.Atoi(header.Get("Retry-After")); seconds < 100 || seconds > 120 {
				t.Errorf("header %v", header)
			}
		}
		if n := p.Calls("cookie"); n != 1 {
			t.Errorf("%d calls, want one", n)
		}
	})
	t.Run("an open circuit, with what helps against its cause", func(t *testing.T) {
		t.Setenv("YAHOO_CIRCUIT_FAILURES", "1")
		t.Setenv("YAHOO_MAX_BACKOFF", "1m")
		p.Inject(yahootest.InternalError())
		defer p.Heal()
		broken := NewService()
		t.Setenv("YAHOO_URL", "http://127.0.0.1:1")
		away := NewService()
		for range 2 { // the second is not sent
			if body, _ := failing(t, away, "YAHOO_PROXY"); body["circuit"] != "open" {
				t.Errorf("away: %v", body)
			}
		}
		t.Setenv("YAHOO_URL", p.url)
		for range 2 {
			if body, _ := failing(t, broken, "slower schedule"); body["circuit"] != "open" {
				t.Errorf("broken: %v", body)
			}
		}
	})
	t.Run("Cassandra that is away at the start", func(t *testing.T) {
		t.Setenv("CASSANDRA_HOSTS", "127.0.0.1:1")
		failing(t, NewService(), "CASSANDRA_HOSTS")
	})
	t.Run("Kafka that is away at the start", func(t *testing.T) {
		t.Setenv("KAFKA_BROKERS", "127.0.0.1:1")
		failing(t, NewService(), "KAFKA_BROKERS")
	})
	if ticks, _ := p.records(t); len(ticks) > 0 {
		t.Errorf("%d records", len(ticks))
	}
}
