package backfill

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"

	"ticktape/internal/store"
	"ticktape/internal/watchlist"
	"ticktape/internal/window"
	"ticktape/internal/yahoo"
)

var (
	candlesTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "backfill_candles_total", Help: "Candles written from charts, by interval.",
	}, []string{"interval"})
	keptTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "backfill_kept_total", Help: "Bars of charts that were not written because ticks of our own have made their candles.",
	})
	failuresTotal = promauto.NewCounter(prometheus.CounterOpts{
		Name: "backfill_failures_total", Help: "Charts that could not be had.",
	})
	waiting = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "backfill_waiting", Help: "Backfills that are not done.",
	})
)

// Store is what a Runner asks of Cassandra. *store.Store says what each method
// guarantees.
type Store interface {
	TakeLease(ctx context.Context, name, holder string, d time.Duration) (store.Lease, error)
	EndLease(ctx context.Context, l store.Lease) error
	ReadBackfills(ctx context.Context, symbol string) ([]store.Backfill, error)
	WriteBackfill(ctx context.Context, b *store.Backfill) error

	ReadCandles(ctx context.Context, symbol string, interval store.Interval, from, to int64, limit int) ([]store.Candle, error)
	WriteChart(ctx context.Context, interval store.Interval, candles []store.Candle, version int64) error
	WriteActions(ctx context.Context, actions []store.Action, version int64) error
	SealedUntil(ctx context.Context) (int64, error)
	ReadMarks(ctx context.Context) (marks []store.Mark, horizon int64, err error)
	HaveTicks(ctx context.Context, symbol string, starts []int64) (map[int64]bool, error)
	ReadDayMarks(ctx context.Context, by int64) ([]store.DayMark, error)
	MarkDays(ctx context.Context, days []store.DayMark) error
}

// Charts gives the history of a symbol, as *yahoo.Client does.
type Charts interface {
	Chart(ctx context.Context, symbol string, q yahoo.ChartQuery) (*yahoo.Chart, error)
}

// Config is how history is brought. Its fields are set by the environment
// variables in their tags.
type Config struct {
	// Symbols are the first ones of the watch list, with commas or spaces between them.
	Symbols string `env:"SYMBOLS"`
	// Added is what is brought of each symbol on the watch list: interval:range, with
	// commas between them, or none.
	Added string `env:"BACKFILL_ADDED" envDefault:"1d:5y,1m:5d,5m:1mo,1h:1y"`
	// Time is how long a call goes on that somebody waits for; the schedule's goes on
	// from there.
	Time time.Duration `env:"BACKFILL_TIME" envDefault:"20s"`
	// Rate paces the writes, in candles a second.
	Rate float64 `env:"BACKFILL_RATE" envDefault:"4000"`
}

const (
	leaseName = "backfill"
	// leaseTime is the longest that a call works: Config.Time and what a chart may
	// take that was begun just before.
	leaseTime   = 60 * time.Second
	leaseMargin = 5 * time.Second
	// scheduledTime is how long a call goes on that nobody waits for: less than there
	// is between two of the schedule's.
	scheduledTime = 8 * time.Second
	// look is how often a call looks for what has been asked for since it began, and
	// turn how often one that waits for its turn tries to get it.
	look = 2 * time.Second
	turn = 500 * time.Millisecond
	// firstPause and lastPause bound the pauses after failures, and maxTries is how
	// often what Yahoo answers in a way that can't be used is asked for.
	firstPause, lastPause = 10 * time.Second, 10 * time.Minute
	maxTries              = 5
)

// Runner works on the backfills. It is safe for concurrent use; of calls at one
// time, in any number of processes, one works.
type Runner struct {
	cfg    Config
	specs  []spec
	store  Store
	watch  func(context.Context) ([]watchlist.Symbol, error)
	charts Charts
	now    func() time.Time
	pace   *rate.Limiter

	holder  string
	working sync.Mutex
}

// New makes a Runner. Watch returns the symbols of the watch list.
func New(cfg Config, s Store, watch func(context.Context) ([]watchlist.Symbol, error), charts Charts) (*Runner, error) {
	specs, err := parseSpecs(cfg.Added)
	if err != nil {
		return nil, err
	}
	if cfg.Rate <= 0 || cfg.Time <= 0 || cfg.Time > leaseTime/2 {
		return nil, fmt.Errorf("BACKFILL_RATE must be above 0, and BACKFILL_TIME above 0 and at most %s", leaseTime/2)
	}
	return &Runner{
		cfg: cfg, specs: specs, store: s, watch: watch, charts: charts, now: time.Now,
		pace: rate.NewLimiter(rate.Limit(cfg.Rate), writeChunk), holder: rand.Text(),
	}, nil
}

// Ask puts backfills on the list, unless they are on it and not done, in which
// case they go on, sooner if they were waiting. It returns them as they then stand.
func (r *Runner) Ask(ctx context.Context, asked []*store.Backfill) error {
	for _, b := range asked {
		have, err := r.store.ReadBackfills(ctx, b.Symbol)
		if err != nil {
			return err
		}
		for i := range have {
			if have[i].BackfillKey == b.BackfillKey && have[i].State == store.BackfillQueued {
				*b = have[i]
				b.Manual, b.RetryAt = true, 0
			}
		}
		if err := r.store.WriteBackfill(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// Work works on the list until it is done or its time has passed, or where keys
// names some only on those, which are waited for while another call works.
func (r *Runner) Work(ctx context.Context, keys ...store.BackfillKey) error {
	end := r.now().Add(r.cfg.Time)
	if len(keys) == 0 {
		end = r.now().Add(min(r.cfg.Time, scheduledTime))
	}
	for {
		busy, err := r.leased(ctx, end, keys)
		if err != nil || len(keys) == 0 || r.now().After(end) {
			return err
		}
		list, err := r.store.ReadBackfills(ctx, keys[0].Symbol)
		if err != nil {
			return err
		}
		open := false
		for i := range list {
			if slices.Contains(keys, list[i].BackfillKey) {
				open = open || list[i].State == store.BackfillQueued && !r.paused(&list[i])
			}
		}
		if !open || !busy {
			return nil
		}
		select {
		case <-time.After(turn):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Runner) paused(b *store.Backfill) bool { return b.RetryAt > r.now().UnixMilli() }

// leased works on the list while there is time, if no other call does.
func (r *Runner) leased(ctx context.Context, end time.Time, keys []store.BackfillKey) (busy bool, err error) {
	next, err := r.next(ctx, keys)
	if err != nil || len(next) == 0 {
		return false, err
	}
	if !r.working.TryLock() {
		return true, nil
	}
	defer r.working.Unlock()
	lease, err := r.store.TakeLease(ctx, leaseName, r.holder, leaseTime)
	if errors.Is(err, store.ErrHeld) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	work, cancel := context.WithDeadline(ctx, lease.Until.Add(-leaseMargin))
	defer cancel()
	err = r.work(work, &lease, keys, end)
	// The lease is given back even where the caller has gone.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseMargin)
	defer cancel()
	return false, errors.Join(err, r.store.EndLease(last, lease))
}

func (r *Runner) work(ctx context.Context, lease *store.Lease, keys []store.BackfillKey, end time.Time) (err error) {
	var next []store.Backfill
	var looked time.Time
	for step := int64(1); r.now().Before(end); step++ {
		// Read again under the lease, because another may have worked before.
		if len(next) == 0 || r.now().Sub(looked) > look {
			if next, err = r.next(ctx, keys); err != nil || len(next) == 0 {
				return err
			}
			looked = r.now()
		}
		b := &next[0]
		goOn, err := r.step(ctx, b, lease.ChartVersion(step))
		if err != nil || !goOn {
			return err
		}
		if b.State != store.BackfillQueued || r.paused(b) {
			next = next[1:]
		}
	}
	return nil
}

// next returns what can be worked on, of keys if there are any, in this order: what
// somebody waits for, then what was added last, so that no new symbol waits for a
// long list. Symbols that were added to the watch list get their backfills; those of
// symbols that are not on it any more, or that Yahoo does not know, rest.
func (r *Runner) next(ctx context.Context, keys []store.BackfillKey) ([]store.Backfill, error) {
	symbols, err := r.watch(ctx)
	if err != nil {
		return nil, err
	}
	all, err := r.store.ReadBackfills(ctx, "")
	if err != nil {
		return nil, err
	}
	have := make(map[store.BackfillKey]int64, len(all))
	for i := range all {
		have[all[i].BackfillKey] = all[i].RequestedAt
	}
	watched := make(map[string]bool, len(symbols))
	now := r.now()
	for i := range symbols {
		s := &symbols[i]
		watched[s.Symbol] = !s.Unknown
		for _, spec := range r.specs {
			b, err := request(s.Symbol, spec.interval, spec.reach, true, false, now)
			if err != nil {
				slog.Warn("a symbol of the watch list has no history to bring", "symbol", s.Symbol, "error", err)
				break
			}
			if s.Unknown || have[b.BackfillKey] >= s.AddedAt {
				continue
			}
			if err := r.store.WriteBackfill(ctx, b); err != nil {
				return nil, err
			}
			all = append(all, *b)
			have[b.BackfillKey] = b.RequestedAt
		}
	}
	var list []store.Backfill
	open := 0
	for i := range all {
		b := &all[i]
		// Of one that was asked for anew the row of before is still in the list.
		if b.State != store.BackfillQueued || b.RequestedAt != have[b.BackfillKey] || !b.Manual && !watched[b.Symbol] {
			continue
		}
		open++
		if !r.paused(b) && (len(keys) == 0 || slices.Contains(keys, b.BackfillKey)) {
			list = append(list, *b)
		}
	}
	waiting.Set(float64(open))
	slices.SortStableFunc(list, func(a, b store.Backfill) int {
		if a.Manual != b.Manual {
			if a.Manual {
				return -1
			}
			return 1
		}
		if a.Manual {
			return cmp.Compare(a.RequestedAt, b.RequestedAt)
		}
		return cmp.Compare(b.RequestedAt, a.RequestedAt)
	})
	return list, nil
}

// step brings the next part of a backfill and writes how far it has come. It
// reports whether others are worth trying now.
func (r *Runner) step(ctx context.Context, b *store.Backfill, version int64) (goOn bool, err error) {
	iv, err := intervalOf(string(b.Interval))
	if err != nil {
		return true, r.fail(ctx, b, err.Error())
	}
	now := r.now()
	// What was asked for may have come out of reach meanwhile.
	from := max(b.DoneTo, iv.oldest(now).UnixMilli())
	if from >= b.To {
		return true, r.done(ctx, b)
	}
	to := min(b.To, from+iv.request.Milliseconds())
	// The last bar of a part, which no later one follows, must have settled.
	if rest := b.To - to; rest > 0 && rest < 2*settled.Milliseconds() {
		to -= 2 * settled.Milliseconds()
	}
	chart, err := r.charts.Chart(ctx, b.Symbol, yahoo.ChartQuery{
		Interval: string(b.Interval), From: time.UnixMilli(from), To: time.UnixMilli(to), PrePost: b.PrePost && iv.name != store.Day,
	})
	if err == nil && chart.Interval != "" && chart.Interval != string(b.Interval) && !(chart.Interval == "60m" && iv.name == store.Hour) {
		err = &yahoo.Error{Kind: yahoo.BadAnswer, Call: "chart", Err: fmt.Errorf("its bars are of %.10q, not of %s", chart.Interval, b.Interval)}
	}
	if err != nil {
		return r.failed(ctx, b, to, err)
	}
	chart.Symbol = b.Symbol
	for _, odd := range chart.Odd[:min(len(chart.Odd), 3)] {
		slog.Warn("part of a chart can't be used", "symbol", b.Symbol, "interval", string(b.Interval), "reason", odd, "parts", len(chart.Odd))
	}
	written, kept, err := r.keep(ctx, iv, chart, version)
	if err != nil {
		return false, err
	}
	events := actions(chart)
	if err := r.store.WriteActions(ctx, events, version); err != nil {
		return false, err
	}
	candlesTotal.WithLabelValues(string(iv.name)).Add(float64(written))
	keptTotal.Add(float64(kept))
	b.Candles, b.Kept, b.Events = b.Candles+int64(written), b.Kept+int64(kept), b.Events+int64(len(events))
	b.DoneTo, b.Tries, b.RetryAt, b.Reason = to, 0, 0, ""
	if to >= b.To {
		return true, r.done(ctx, b)
	}
	return true, r.store.WriteBackfill(ctx, b)
}

func (r *Runner) done(ctx context.Context, b *store.Backfill) error {
	b.State, b.DoneTo = store.BackfillDone, b.To
	slog.Info("history is there", "symbol", b.Symbol, "interval", string(b.Interval), "range", b.Range, "candles", b.Candles, "kept", b.Kept, "events", b.Events)
	return r.store.WriteBackfill(ctx, b)
}

func (r *Runner) fail(ctx context.Context, b *store.Backfill, reason string) error {
	b.State, b.Reason = store.BackfillFailed, reason
	slog.Warn("history can't be had", "symbol", b.Symbol, "interval", string(b.Interval), "range", b.Range, "reason", reason)
	return r.store.WriteBackfill(ctx, b)
}

// failed decides what becomes of a backfill whose part up to to could not be had.
func (r *Runner) failed(ctx context.Context, b *store.Backfill, to int64, cause error) (goOn bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err() // the caller's time is up: the next call asks again
	}
	failuresTotal.Inc()
	var y *yahoo.Error
	if !errors.As(cause, &y) {
		return false, cause
	}
	b.Reason = cause.Error()
	switch y.Kind {
	case yahoo.NotFound:
		return true, r.fail(ctx, b, b.Reason)
	case yahoo.BadRequest:
		// It has nothing of this part, as of the time before a share was listed.
		if to < b.To {
			b.DoneTo = to
			return true, r.store.WriteBackfill(ctx, b)
		}
		if b.Candles+b.Kept > 0 {
			return true, r.done(ctx, b)
		}
		return true, r.fail(ctx, b, b.Reason)
	case yahoo.BadAnswer, yahoo.Unauthorized:
		if b.Tries++; b.Tries >= maxTries {
			return true, r.fail(ctx, b, b.Reason)
		}
		goOn = true
	default: // what ails Yahoo or the way there ails all others too
		b.Tries++
	}
	pause := max(y.RetryAfter, min(firstPause<<min(b.Tries-1, 10), lastPause))
	b.RetryAt = r.now().Add(pause).UnixMilli()
	return goOn, r.store.WriteBackfill(ctx, b)
}

// writeChunk is how many candles are written between two looks at the pace.
const writeChunk = 200

// keep writes the candles of a chart that no ticks of our own have made.
func (r *Runner) keep(ctx context.Context, iv *interval, chart *yahoo.Chart, version int64) (written, kept int, err error) {
	list := candles(chart, iv, r.now())
	if len(list) == 0 {
		return 0, 0, nil
	}
	var own map[int64]bool
	switch iv.name {
	case store.Minute:
		own, err = r.ownMinutes(ctx, list)
	case store.Day:
		own, err = r.ownDays(ctx, list)
	}
	if err != nil {
		return 0, 0, err
	}
	all := len(list)
	list = slices.DeleteFunc(list, func(c store.Candle) bool { return own[c.Start] })
	for part := range slices.Chunk(list, writeChunk) {
		if err := r.pace.WaitN(ctx, len(part)); err != nil {
			return 0, 0, err
		}
		if err := r.store.WriteChart(ctx, iv.name, part, version); err != nil {
			return 0, 0, err
		}
	}
	if iv.name == store.Minute && len(list) > 0 {
		if err := r.markDays(ctx, list); err != nil {
			return 0, 0, err
		}
	}
	return len(list), all - len(list), nil
}

// ownMinutes returns which of the minutes' windows ticks of our own are in: those
// that have made a candle, and, of the windows that seal has still to do, those of
// which there are ticks.
func (r *Runner) ownMinutes(ctx context.Context, list []store.Candle) (map[int64]bool, error) {
	from, to := list[0].Start, list[len(list)-1].Start+window.Length
	have, err := r.minutes(ctx, list[0].Symbol, from, to)
	if err != nil {
		return nil, err
	}
	own := ofTicks(have)
	sealed, err := r.store.SealedUntil(ctx)
	if err != nil {
		return nil, err
	}
	marks, horizon, err := r.store.ReadMarks(ctx)
	if err != nil {
		return nil, err
	}
	marked := map[int64]bool{}
	for _, m := range marks {
		marked[m.Start] = true
	}
	var open []int64
	for i := range list {
		if s := list[i].Start; !own[s] && (s >= sealed || s >= horizon || marked[s]) {
			open = append(open, s)
		}
	}
	ticks, err := r.store.HaveTicks(ctx, list[0].Symbol, open)
	for s := range ticks {
		own[s] = true
	}
	return own, err
}

// ofTicks returns the starts of the candles that ticks have made.
func ofTicks(list []store.Candle) map[int64]bool {
	own := map[int64]bool{}
	for i := range list {
		if !list[i].Source.Chart() {
			own[list[i].Start] = true
		}
	}
	return own
}

// ownDays returns which of the days ticks of our own are in: those that have made
// a candle, and those that seal has still to add up.
func (r *Runner) ownDays(ctx context.Context, list []store.Candle) (map[int64]bool, error) {
	symbol := list[0].Symbol
	have, err := r.store.ReadCandles(ctx, symbol, store.Day, list[0].Start, list[len(list)-1].Start+1, 1<<20)
	if err != nil {
		return nil, err
	}
	own := ofTicks(have)
	marks, err := r.store.ReadDayMarks(ctx, r.now().UnixMilli())
	if err != nil {
		return nil, err
	}
	for _, m := range marks {
		if m.Symbol != symbol || own[m.Start] {
			continue
		}
		if own[m.Start], err = r.traded(ctx, m); err != nil {
			return nil, err
		}
	}
	return own, nil
}

// markDays has seal add up again the days of which it has added up ticks of our
// own: the minutes that were just written belong to them.
func (r *Runner) markDays(ctx context.Context, list []store.Candle) error {
	var days []store.DayMark
	for i := range list {
		start, end := window.Day(list[i].Exchange, list[i].Start)
		if d := (store.DayMark{Symbol: list[i].Symbol, Start: start, End: end}); len(days) == 0 || days[len(days)-1] != d {
			days = append(days, d)
		}
	}
	var own []store.DayMark
	for _, d := range days {
		traded, err := r.traded(ctx, d)
		if err != nil {
			return err
		}
		if traded {
			own = append(own, d)
		}
	}
	return r.store.MarkDays(ctx, own)
}

// traded tells whether ticks of our own made a candle of a minute of the day.
func (r *Runner) traded(ctx context.Context, d store.DayMark) (bool, error) {
	have, err := r.minutes(ctx, d.Symbol, d.Start, d.End)
	return len(ofTicks(have)) > 0, err
}

func (r *Runner) minutes(ctx context.Context, symbol string, from, to int64) ([]store.Candle, error) {
	return r.store.ReadCandles(ctx, symbol, store.Minute, from, to, int((to-from)/window.Length))
}
