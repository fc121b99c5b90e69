package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"ticktape/internal/bus"
	"ticktape/internal/service"
	"ticktape/internal/store"
	"ticktape/internal/trigger"
)

var (
	sealedTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "seal_windows_total", Help: "Windows sealed: for the first time, or again because of late trades or a rebuild.",
	}, []string{"kind"})
	candlesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "seal_candles_total", Help: "Candles written, by interval.",
	}, []string{"interval"})
	repeatsTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "seal_repeated_trades_total", Help: "Records that repeat a trade, which candles leave out.",
	})
	auditedTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "seal_audited_total", Help: "Live states of a symbol in a window that were compared with the stored ticks.",
	})
	differencesTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "seal_differences_total", Help: "Live states that differed from the stored ticks and were corrected.",
	})
	behindSeconds = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "seal_behind_seconds", Help: "How long ago the oldest window could have been sealed that is not; 0 where none waits.",
	})
)

// count brings the metrics up to the report of a run.
func (r *run) count() {
	sealedTotal.WithLabelValues("first").Add(float64(r.report.Sealed - r.report.Dirty))
	sealedTotal.WithLabelValues("again").Add(float64(r.report.Dirty))
	candlesTotal.WithLabelValues(string(store.Minute)).Add(float64(r.report.Candles))
	candlesTotal.WithLabelValues(string(store.Day)).Add(float64(r.report.Days))
	repeatsTotal.Add(float64(r.report.Repeats))
	auditedTotal.Add(float64(r.report.Audited))
	differencesTotal.Add(float64(r.report.Differences))
}

// retryAfter is what the caller is asked to wait when Cassandra or Kafka fails, in seconds.
const retryAfter = 5

// Service answers the calls of the function seal. It connects to Cassandra and
// Kafka at the first call, with the settings of the environment.
type Service struct {
	store *store.Lazy

	mu     sync.Mutex
	sealer *Sealer
}

// NewService makes a Service. It does not connect.
func NewService() *Service {
	return &Service{store: store.NewLazy(store.ConfigFromEnv)}
}

func (s *Service) get(ctx context.Context) (*Sealer, error) {
	db, err := s.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sealer != nil {
		return s.sealer, nil
	}
	cfg, err := service.Load[Config]()
	if err != nil {
		return nil, err
	}
	if cfg.Lateness < 0 || cfg.Rate <= 0 || cfg.Time <= 0 || cfg.Time > leaseTime-2*leaseMargin {
		return nil, service.Settingf("LATENESS must not be negative, SEAL_RATE must be above 0, and SEAL_TIME above 0 and at most %s", leaseTime-2*leaseMargin)
	}
	kafka, err := bus.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	s.sealer = New(cfg, db, bus.New(kafka))
	return s.sealer, nil
}

// Serve answers a call: it seals what can be sealed, or rebuilds the range of
// the parameters from and to, and returns the Report. Calls without the token are
// refused.
func (s *Service) Serve(req handler.Request) handler.Response {
	if err := trigger.Authorised(req.Header); err != nil {
		return trigger.Refuse(err)
	}
	if req.Method != http.MethodPost {
		res := trigger.Problem(http.StatusMethodNotAllowed, "seal is called with POST")
		res.Header.Set("Allow", http.MethodPost)
		return res
	}
	from, to, ranged, err := parseRange(req.QueryString)
	if err != nil {
		return trigger.Problem(http.StatusBadRequest, err.Error())
	}
	ctx := req.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	report, err := s.call(ctx, from, to, ranged)
	var bad RangeError
	if errors.As(err, &bad) {
		return trigger.Problem(http.StatusBadRequest, bad.Error())
	}
	if err != nil {
		slog.WarnContext(ctx, "sealing was cut off", "error", err, "sealed", report.Sealed, "candles", report.Candles)
		res := trigger.Problem(http.StatusServiceUnavailable, "sealing was cut off, the next call goes on: "+err.Error())
		res.Header.Set("Retry-After", strconv.Itoa(retryAfter))
		return res
	}
	body, err := json.Marshal(report)
	if err != nil { // a Report always can be written
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	return handler.Response{StatusCode: http.StatusOK, Body: body, Header: http.Header{"Content-Type": {"application/json"}}}
}

func (s *Service) call(ctx context.Context, from, to time.Time, ranged bool) (Report, error) {
	sealer, err := s.get(ctx)
	switch {
	case err != nil:
		return Report{}, err
	case ranged:
		return sealer.Rebuild(ctx, from, to)
	}
	return sealer.Run(ctx)
}

// parseRange reads the parameters from and to, which come together or not at all.
func parseRange(query string) (from, to time.Time, given bool, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return from, to, false, errors.New("the query can't be read: write ?from=2026-03-02T14:30:00Z&to=2026-03-02T15:30:00Z")
	}
	for name, list := range values {
		if name != "from" && name != "to" {
			return from, to, false, fmt.Errorf("there is no parameter %.40q: seal takes from and to", name)
		}
		if len(list) > 1 {
			return from, to, false, fmt.Errorf("%s is given %d times: give it once", name, len(list))
		}
	}
	if len(values) == 0 {
		return from, to, false, nil
	}
	if len(values) != 2 {
		return from, to, false, errors.New("from and to go together: give both, or none to seal what is due")
	}
	if from, err = parseTime("from", values.Get("from")); err == nil {
		to, err = parseTime("to", values.Get("to"))
	}
	if err == nil && !from.Before(to) {
		err = fmt.Errorf("from (%s) must be before to (%s)", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	return from, to, true, err
}

func parseTime(name, text string) (time.Time, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 && ms < 1<<43 {
		return time.UnixMilli(ms), nil
	}
	// A plus sign that was not written as %2B arrives as a space.
	if t, err := time.Parse(time.RFC3339, strings.Replace(text, " ", "+", 1)); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%s is %.40q; write RFC 3339 (2026-03-02T14:30:00Z), a date (2026-03-02, midnight UTC) or milliseconds since 1970", name, text)
}
