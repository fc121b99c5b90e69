package backfill

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/service"
	"ticktape/internal/store"
	"ticktape/internal/trigger"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo"
)

// retryAfter is what the caller is asked to wait where Cassandra fails, or where
// history is still being brought.
const retryAfter = 5 * time.Second

// Service answers the calls of the function backfill. It connects at the first
// call, with the settings of the environment.
type Service struct {
	store *store.Lazy

	mu     sync.Mutex
	runner *Runner
}

// NewService makes a Service. It does not connect.
func NewService() *Service { return &Service{store: store.NewLazy(store.ConfigFromEnv)} }

func (s *Service) get(ctx context.Context) (*Runner, error) {
	db, err := s.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runner != nil {
		return s.runner, nil
	}
	cfg, err := service.Load[Config]()
	if err != nil {
		return nil, err
	}
	yahooCfg, err := service.Load[yahoo.Config]()
	if err != nil {
		return nil, err
	}
	client, err := yahoo.New(yahooCfg)
	if err != nil {
		return nil, err
	}
	s.runner, err = New(cfg, db, watchlist.NewSeeded(s.store, watchlist.ParseList(cfg.Symbols)).List, client)
	return s.runner, err
}

// job is how far a backfill has come, as users are told.
type job struct {
	Symbol   string `json:"symbol"`
	Interval string `json:"interval"`
	Range    string `json:"range"`
	PrePost  bool   `json:"prepost"`
	// State is queued, running, done or failed.
	State string `json:"state"`
	// From ≤ start < To are the candles that are asked for; those before DoneTo are there.
	From   string `json:"from"`
	To     string `json:"to"`
	DoneTo string `json:"done_to"`
	// Candles written; Kept are those that ticks of our own had made.
	Candles int64  `json:"candles"`
	Kept    int64  `json:"kept"`
	Events  int64  `json:"events"`
	Reason  string `json:"reason,omitempty"`
	RetryAt string `json:"retry_at,omitempty"`
}

func jobOf(b *store.Backfill) job {
	j := job{
		Symbol: b.Symbol, Interval: string(b.Interval), Range: b.Range, PrePost: b.PrePost, State: string(b.State),
		From: stamp(b.From), To: stamp(b.To), DoneTo: stamp(b.DoneTo), Candles: b.Candles, Kept: b.Kept, Events: b.Events, Reason: b.Reason,
	}
	if b.State == store.BackfillQueued && b.DoneTo > b.From {
		j.State = "running"
	}
	if b.State == store.BackfillQueued && b.RetryAt != 0 {
		j.RetryAt = stamp(b.RetryAt)
	}
	return j
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// body is the answer: the backfills that were asked for or, where none were, those
// that are not done.
type body struct {
	Jobs []job `json:"jobs"`
}

// Serve answers POST ?symbol=AAPL&interval=1m&range=5d by bringing that history,
// and days of the same range with it: 200 where it is there, 202 where it goes on
// without the caller, 404 or 502 where it can't be had. POST without parameters
// works on what is on the list, and GET shows it, or all of one symbol. POST is
// refused without the token.
func (s *Service) Serve(req handler.Request) handler.Response {
	ctx := req.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	values, err := url.ParseQuery(req.QueryString)
	if err != nil {
		return trigger.Problem(http.StatusBadRequest, "the query string can't be read: write name=value, joined by &, with other characters as %XX")
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return s.show(ctx, values)
	case http.MethodPost:
	default:
		res := trigger.Problem(http.StatusMethodNotAllowed, "backfill is called with POST; GET shows how far it has come.")
		res.Header.Set("Allow", "GET, HEAD, POST")
		return res
	}
	if err := trigger.Authorised(req.Header); err != nil {
		return trigger.Refuse(err)
	}
	asked, err := parse(values, time.Now())
	if err != nil {
		return trigger.Problem(http.StatusBadRequest, err.Error())
	}
	r, err := s.get(ctx)
	if err == nil && len(asked) > 0 {
		err = r.Ask(ctx, asked)
	}
	if err != nil {
		return unavailable(ctx, err)
	}
	var keys []store.BackfillKey
	symbol := ""
	for _, b := range asked {
		keys, symbol = append(keys, b.BackfillKey), b.Symbol
	}
	worked := r.Work(ctx, keys...)
	list, err := r.store.ReadBackfills(context.WithoutCancel(ctx), symbol)
	if err := errors.Join(worked, err); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return unavailable(ctx, err)
	}
	list = slices.DeleteFunc(list, func(b store.Backfill) bool {
		if len(keys) > 0 {
			return !slices.Contains(keys, b.BackfillKey)
		}
		return b.State != store.BackfillQueued
	})
	if len(keys) == 0 {
		return answer(http.StatusOK, list)
	}
	return answerAsked(list)
}

// answerAsked says what became of backfills that somebody waits for.
func answerAsked(list []store.Backfill) handler.Response {
	for i := range list {
		b := &list[i]
		if b.State == store.BackfillFailed {
			return trigger.Problem(http.StatusBadGateway, fmt.Sprintf("Yahoo has no bars of %s of %s for range %s: %s.", b.Interval, b.Symbol, b.Range, b.Reason))
		}
	}
	for i := range list {
		if list[i].State != store.BackfillDone {
			res := answer(http.StatusAccepted, list)
			after := max(retryAfter, time.Until(time.UnixMilli(list[i].RetryAt)))
			res.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
			return res
		}
	}
	return answer(http.StatusOK, list)
}

func answer(status int, list []store.Backfill) handler.Response {
	out := body{Jobs: []job{}}
	for i := range list {
		out.Jobs = append(out.Jobs, jobOf(&list[i]))
	}
	b, err := json.Marshal(out)
	if err != nil { // a body always can be written
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	return handler.Response{StatusCode: status, Body: append(b, '\n'), Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}}
}

func unavailable(ctx context.Context, err error) handler.Response {
	var settings *service.SettingsError
	if errors.As(err, &settings) {
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	slog.WarnContext(ctx, "bringing history was cut off", "error", err)
	res := trigger.Problem(http.StatusServiceUnavailable, "bringing history was cut off, the next call goes on: "+err.Error())
	res.Header.Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	return res
}

// show answers GET.
func (s *Service) show(ctx context.Context, values url.Values) handler.Response {
	symbol := values.Get("symbol")
	if err := only(values, "symbol"); err != nil {
		return trigger.Problem(http.StatusBadRequest, err.Error())
	}
	if values.Has("symbol") {
		var err error
		if symbol, err = watchlist.Parse(symbol); err != nil {
			return trigger.Problem(http.StatusBadRequest, err.Error())
		}
	}
	r, err := s.get(ctx)
	if err != nil {
		return unavailable(ctx, err)
	}
	list, err := r.store.ReadBackfills(ctx, symbol)
	if err != nil {
		return unavailable(ctx, err)
	}
	if symbol == "" {
		list = slices.DeleteFunc(list, func(b store.Backfill) bool { return b.State != store.BackfillQueued })
	}
	return answer(http.StatusOK, list)
}

// only refuses parameters that are not among the names, or given twice.
func only(values url.Values, names ...string) error {
	for name, v := range values {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no parameter %.40q; there are %v", name, names)
		}
		if len(v) > 1 {
			return fmt.Errorf("%s is given %d times: give it once", name, len(v))
		}
	}
	return nil
}

// parse reads which backfills are asked for: none without parameters, else the one
// of the interval, and that of the days of its range, without which candles of 1d
// would have gaps.
func parse(values url.Values, now time.Time) ([]*store.Backfill, error) {
	if err := only(values, "symbol", "interval", "range", "prepost"); err != nil || len(values) == 0 {
		return nil, err
	}
	prePost := true
	if text := values.Get("prepost"); text != "" {
		var err error
		if prePost, err = strconv.ParseBool(text); err != nil {
			return nil, fmt.Errorf("prepost is %.20q; it must be true or false", text)
		}
	}
	name, reach := cmp.Or(values.Get("interval"), "1m"), cmp.Or(values.Get("range"), "5d")
	b, err := request(values.Get("symbol"), name, reach, prePost, true, now)
	if err != nil || b.Interval == store.Day {
		return []*store.Backfill{b}, err
	}
	days := *b
	days.Interval = store.Day
	return []*store.Backfill{b, &days}, nil
}
