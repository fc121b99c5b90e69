package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/bus"
	"ticktape/internal/service"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo"
)

// Config is what is fetched. Its fields are set by the environment variables in
// their tags; those of Yahoo, Kafka and Cassandra are with their packages.
type Config struct {
	// Symbols are Yahoo's, with commas or spaces between them: the first ones of
	// the watch list.
	Symbols string `env:"SYMBOLS"`
	// Encoding is the wire form of ticks: protobuf or json.
	Encoding string `env:"TICK_ENCODING"`
	// PersistGroup is the consumer group of function persist.
	PersistGroup string `env:"PERSIST_GROUP" envDefault:"persist"`
	// Timeout is the longest that a call may take. It is below the function's
	// own limit, so that the caller hears what was waited for.
	Timeout time.Duration `env:"FETCH_TIMEOUT" envDefault:"15s"`
}

// Service is a Fetcher over Yahoo, Kafka and Cassandra, as the environment says,
// that connects when it is first called, and tries again at the next call where
// that fails. It is safe for concurrent use.
type Service struct {
	mu      sync.Mutex
	fetcher *Fetcher
	yahoo   *yahoo.Client
	timeout time.Duration
	brokers []string
}

// NewService makes a Service. It reads nothing and does not connect.
func NewService() *Service { return &Service{} }

// Serve answers a call: 401 without the token; 200 with a Summary; 502 where
// Yahoo and 503 where Kafka, Cassandra or a pause that Yahoo asked for kept it
// from its job, with problem details that say which and what to do.
func (s *Service) Serve(req handler.Request) handler.Response {
	if err := trigger.Authorised(req.Header); err != nil {
		return trigger.Refuse(err)
	}
	f, err := s.connect()
	if err != nil {
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	ctx := req.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	sum, err := f.Fetch(ctx)
	sum.Circuit = s.yahoo.Status().Circuit
	if err != nil {
		return s.problem(&sum, err)
	}
	body, err := json.Marshal(sum)
	if err != nil {
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	return handler.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
}

// problem is an answer with problem details (RFC 9457) that has the counts of a
// Summary too.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	*Summary
}

// problem says which part failed and what to do about it.
func (s *Service) problem(sum *Summary, err error) handler.Response {
	slog.Warn("fetch failed", "published", sum.Published, "error", err)
	status, detail, after := http.StatusServiceUnavailable, err.Error(), time.Duration(0)
	var part *PartError
	if errors.As(err, &part) {
		switch part.Part {
		case PartYahoo:
			var y *yahoo.Error
			status = http.StatusBadGateway
			advice := "Check the network, YAHOO_URL and the proxy (YAHOO_PROXY, HTTPS_PROXY); SOURCE=simulated make run needs no Yahoo."
			if errors.As(err, &y) && y.RetryAfter > 0 {
				status, after = http.StatusServiceUnavailable, y.RetryAfter
				if y.Cause() != yahoo.Unreachable {
					advice = "It is asked again after the pause; fewer symbols or a slower schedule help where this goes on."
				}
			}
			detail = fmt.Sprintf("No quotes came from Yahoo: %v. %s", err, advice)
		case PartKafka:
			detail = fmt.Sprintf("Not all new ticks could be published; %d were, and the next call tries the others: %v. Check that Kafka runs at %s (KAFKA_BROKERS).",
				sum.Published, err, strings.Join(s.brokers, ","))
		case PartWatch:
			detail = fmt.Sprintf("It can't be told what to ask for: %v. Check that Cassandra runs (CASSANDRA_HOSTS).", err)
		case PartMemory:
			detail = fmt.Sprintf("It can't be told what is already published: %v. Check that Kafka (KAFKA_BROKERS) and Cassandra (CASSANDRA_HOSTS) run.", err)
		}
	}
	body, err := json.Marshal(problem{"about:blank", http.StatusText(status), status, detail, sum})
	if err != nil {
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	res := handler.Response{StatusCode: status, Body: body, Header: http.Header{"Content-Type": {"application/problem+json"}}}
	if after > 0 {
		res.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	return res
}

func (s *Service) connect() (*Fetcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetcher != nil {
		return s.fetcher, nil
	}
	cfg, err := service.Load[Config]()
	if err != nil {
		return nil, err
	}
	encoding, err := tick.ParseEncoding(cfg.Encoding)
	if err != nil {
		return nil, fmt.Errorf("TICK_ENCODING: %w", err)
	}
	yahooCfg, err := service.Load[yahoo.Config]()
	if err != nil {
		return nil, err
	}
	client, err := yahoo.New(yahooCfg)
	if err != nil {
		return nil, err
	}
	busCfg, err := bus.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	kafka := bus.New(busCfg)
	cassandra := store.NewLazy(store.ConfigFromEnv)
	memory := NewMemory(kafka, bus.StandardTopics(busCfg)[0], cfg.PersistGroup, cassandra)
	watch := watchlist.NewSeeded(cassandra, watchlist.ParseList(cfg.Symbols))
	s.fetcher = NewFetcher(watch, client, kafka.Producer(busCfg.TicksTopic), memory, encoding)
	s.yahoo, s.timeout, s.brokers = client, cfg.Timeout, busCfg.Brokers
	return s.fetcher, nil
}
