// Package seal turns windows that are over into candles, exact to the last
// trade: it waits until everything that belongs to a window is stored, adds up its
// chunks, compares the result with the live counters, and writes. A window that gets
// a late trade is done again.
//
// All it does may be cut off between any two writes and be done again, by itself or
// by another, and the same candles come of it (docs/exactly-once.md). It knows no
// watermarks: whether a window is complete is told by offsets.
package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sort"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ticktape/internal/bus"
	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/window"
)

// Store is what a Sealer asks of Cassandra. *store.Store says what each method
// guarantees.
type Store interface {
	Incarnation(ctx context.Context, topic string, topicID [16]byte) (int32, error)
	TakeLease(ctx context.Context, name, holder string, d time.Duration) (store.Lease, error)
	EndLease(ctx context.Context, l store.Lease) error

	ReadMarks(ctx context.Context) (marks []store.Mark, horizon int64, err error)
	DeleteMarks(ctx context.Context, marks []store.Mark) error
	MarkRange(ctx context.Context, from, to, upTo int64) error
	SealedUntil(ctx context.Context) (int64, error)
	WriteSealedUntil(ctx context.Context, start int64) error

	TicksTTL(ctx context.Context) (time.Duration, error)
	FedLogs(ctx context.Context) ([]int32, error)
	Summaries(ctx context.Context, w store.Window) *store.Summaries
	ReadChunk(ctx context.Context, start int64, row *chunk.Row) ([]chunk.Record, error)
	ReadWindow(ctx context.Context, w store.Window, symbols []string) (fence int64, states []store.SymbolState, err error)
	Count(ctx context.Context, w store.Window, from, to int64, states []store.SymbolState) error
	WriteRegisters(ctx context.Context, w store.Window, states []store.SymbolState) error

	ReadCandles(ctx context.Context, symbol string, interval store.Interval, from, to int64, limit int) ([]store.Candle, error)
	WriteCandle(ctx context.Context, interval store.Interval, c *store.Candle, version int64) error

	ReadDayMarks(ctx context.Context, by int64) ([]store.DayMark, error)
	WriteDayMark(ctx context.Context, d store.DayMark, version int64) error
	DeleteDayMark(ctx context.Context, d store.DayMark, version int64) error

	ReadCounted(ctx context.Context, before int64) ([]store.Window, error)
	WriteCounted(ctx context.Context, windows []store.Window, version int64) error
	DeleteCounters(ctx context.Context, w store.Window, version int64) error
}

// Log is what a Sealer asks of Kafka. *bus.Client says what each method does.
type Log interface {
	TopicInfo(ctx context.Context, topic string) (bus.Info, error)
	Committed(ctx context.Context, group, topic string) (map[int]int64, error)
	OffsetsAfter(ctx context.Context, topic string, t time.Time) (map[int]int64, error)
}

// Config is how to seal. Its fields are set by the environment variables in
// their tags.
type Config struct {
	// Topic holds the ticks; the groups are those of process and persist.
	Topic        string `env:"TICKS_TOPIC" envDefault:"ticks"`
	ProcessGroup string `env:"PROCESS_GROUP" envDefault:"process"`
	PersistGroup string `env:"PERSIST_GROUP" envDefault:"persist"`
	// Lateness is how long after its end a window is first sealed. Trades that are
	// logged even later are added by sealing it again. It must exceed what the clocks
	// of seal's machine and of Kafka's brokers differ by.
	Lateness time.Duration `env:"LATENESS" envDefault:"5s"`
	// Rate paces the writes, in statements a second, so that a minute's candles
	// don't hold up the live windows.
	Rate float64 `env:"SEAL_RATE" envDefault:"2000"`
	// Time is how long one call may go on; the next one goes on from there.
	Time time.Duration `env:"SEAL_TIME" envDefault:"30s"`
}

const (
	// leaseTime is the longest that a call works. It exceeds Config.Time by what a
	// window may take that was begun just before.
	leaseTime = 60 * time.Second
	// leaseMargin is left of a lease when the last request may be sent.
	leaseMargin = 5 * time.Second
	// liveLimit is how long after a window's end, in log time, process still counts
	// its records (live.LateLimit), and countersLimit is when they are deleted. A
	// window is audited in between at the latest, by the clock.
	liveLimit     = 23 * time.Hour
	auditLimit    = 24 * time.Hour
	countersLimit = 25 * time.Hour
	// expiryMargin is taken off the time for which ticks are kept: windows older
	// than that may have lost some.
	expiryMargin = 24 * time.Hour
	// rebuildLimit is how many windows can be put on the list at a time.
	rebuildLimit = 31 * 24 * 60
	// symbolsAtOnce and logsAtOnce bound what of a window is worked on side by side.
	symbolsAtOnce = 8
	logsAtOnce    = 16
)

// Report is what a call did.
type Report struct {
	// Busy: another call holds the lease, and nothing was done.
	Busy bool `json:"busy,omitempty"`
	// Marked windows are those that a rebuild put on the list.
	Marked int64 `json:"marked,omitempty"`
	// Sealed windows, of which Dirty had been sealed before, and what was written.
	Sealed  int64 `json:"sealed"`
	Dirty   int64 `json:"dirty"`
	Candles int64 `json:"candles"`
	Days    int64 `json:"days"`
	// Repeats counts records that repeat a trade, which candles leave out.
	Repeats int64 `json:"repeats"`
	// Audited live states of symbols in windows, and those that differed.
	Audited     int64 `json:"audited"`
	Differences int64 `json:"differences"`
	// Expired candles were left as they are because some of their ticks are gone.
	Expired int64 `json:"expired,omitempty"`
	// CountersDeleted windows' counters were too old to be incremented again.
	CountersDeleted int64 `json:"counters_deleted,omitempty"`
	// Left windows could be sealed and were not, for want of time.
	Left int64 `json:"left"`
	// BehindMS is how long ago the oldest window ended, plus lateness, that is
	// waiting for process, persist or time; 0 where none is.
	BehindMS int64 `json:"behind_ms"`
	TookMS   int64 `json:"took_ms"`
}

// Sealer seals. It is safe for concurrent use; of calls at one time, in any number
// of processes, one works.
type Sealer struct {
	cfg   Config
	store Store
	log   Log
	now   func() time.Time

	// holder names this Sealer as the lease's holder, of which it is one run at a time.
	holder  string
	working sync.Mutex

	mu sync.Mutex
	// days holds what this process has marked during the leases up to term.
	days map[store.DayMark]struct{}
	term int64
}

// New makes a Sealer.
func New(cfg Config, s Store, l Log) *Sealer {
	return &Sealer{cfg: cfg, store: s, log: l, now: time.Now, holder: rand.Text(), days: map[store.DayMark]struct{}{}}
}

// Run seals what can be sealed, within Config.Time. After an error, what was
// done stays done and the rest is for the next call.
func (s *Sealer) Run(ctx context.Context) (Report, error) {
	r := &run{Sealer: s, began: s.now()}
	err := r.leased(ctx)
	r.report.TookMS = s.now().Sub(r.began).Milliseconds()
	r.count()
	return r.report, err
}

// RangeError says why a range can't be rebuilt.
type RangeError string

func (e RangeError) Error() string { return string(e) }

// Rebuild puts all windows in from ≤ start < to on the list of what has to be
// sealed, then works like Run. It is a RangeError where the ticks of some of them may
// have expired, or where none is in the range.
func (s *Sealer) Rebuild(ctx context.Context, from, to time.Time) (Report, error) {
	now := s.now()
	ttl, err := s.store.TicksTTL(ctx)
	if err != nil {
		return Report{}, err
	}
	if ttl > 0 { // ticks are not kept for ever
		oldest := now.Add(-max(ttl-expiryMargin, 0)).Truncate(time.Minute).Add(time.Minute)
		if from.Before(oldest) {
			return Report{}, RangeError(fmt.Sprintf("from is %s: ticks are kept for %s, so windows can be rebuilt from %s on",
				from.UTC().Format(time.RFC3339), ttl, oldest.UTC().Format(time.RFC3339)))
		}
	}
	start, end := window.Start(max(from.UnixMilli(), 0)), window.Start(min(to.UnixMilli()+window.Length-1, now.UnixMilli()))
	if start >= end {
		return Report{}, RangeError("no window that is over lies between from and to")
	}
	if (end-start)/window.Length > rebuildLimit {
		return Report{}, RangeError(fmt.Sprintf("from and to are more than %d days apart: rebuild in several parts", rebuildLimit/(24*60)))
	}
	if err := s.store.MarkRange(ctx, start, end, now.UnixMilli()); err != nil {
		return Report{}, err
	}
	report, err := s.Run(ctx)
	report.Marked = (end - start) / window.Length
	return report, err
}

// run is one call.
type run struct {
	*Sealer
	began  time.Time
	lease  store.Lease
	gate   *gate
	logs   []int32
	pace   *rate.Limiter
	step   int64
	mu     sync.Mutex // guards report while a window's symbols are worked on
	report Report
}

func (r *run) leased(ctx context.Context) error {
	if !r.working.TryLock() {
		r.report.Busy = true
		return nil
	}
	defer r.working.Unlock()
	lease, err := r.store.TakeLease(ctx, "seal", r.holder, leaseTime)
	if errors.Is(err, store.ErrHeld) {
		r.report.Busy = true
		return nil
	}
	if err != nil {
		return err
	}
	r.lease = lease
	r.takeTerm()
	work, cancel := context.WithDeadline(ctx, lease.Until.Add(-leaseMargin))
	defer cancel()
	err = r.work(work)

	// The lease is given back even where the caller has gone.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseMargin)
	defer cancel()
	return errors.Join(err, r.store.EndLease(end, lease))
}

// takeTerm forgets which days are marked if others have had the lease meanwhile,
// who may have sealed them.
func (r *run) takeTerm() {
	r.Sealer.mu.Lock()
	defer r.Sealer.mu.Unlock()
	if r.term != r.lease.Previous {
		clear(r.days)
	}
	r.term = r.lease.Term
}

// version returns a number above all that were returned before, by anybody. What
// is read after the call may be written with it.
func (r *run) version() int64 {
	r.step++
	return r.lease.Version(r.step)
}

// windowMarks are the marks of one window.
type windowMarks struct {
	start int64
	marks []store.Mark
}

func (r *run) work(ctx context.Context) error {
	r.pace = rate.NewLimiter(rate.Limit(r.cfg.Rate), symbolsAtOnce)
	var err error
	if r.gate, err = r.openGate(ctx); err != nil {
		return err
	}
	marks, horizon, err := r.store.ReadMarks(ctx)
	if err != nil {
		return err
	}
	// Whoever wrote a mark had written a quote of its log before.
	if r.logs, err = r.store.FedLogs(ctx); err != nil {
		return err
	}
	sealed, err := r.store.SealedUntil(ctx)
	if err != nil {
		return err
	}
	due, err := r.due(ctx, marks, sealed)
	if err != nil {
		return err
	}
	err = r.windows(ctx, due, sealed)
	if progress := r.progress(ctx, due, sealed, horizon); err == nil {
		err = progress
	}
	if err == nil && due.open == len(due.list) {
		err = r.sealDays(ctx)
	}
	if err == nil {
		err = r.deleteCounters(ctx)
	}
	return err
}

// worklist is what is on the list, windows that were never sealed first.
type worklist struct {
	// list has the windows whose time has come. Those before ready can be sealed;
	// the rest waits for process or persist. Those before open are done.
	list        []windowMarks
	ready, open int
}

func (r *run) due(ctx context.Context, marks []store.Mark, sealed int64) (*worklist, error) {
	var list []windowMarks
	for _, m := range marks {
		if n := len(list); n == 0 || list[n-1].start != m.Start {
			if m.Start+window.Length+r.cfg.Lateness.Milliseconds() > r.began.UnixMilli() {
				break
			}
			list = append(list, windowMarks{start: m.Start})
		}
		w := &list[len(list)-1]
		w.marks = append(w.marks, m)
	}
	ready, err := r.gate.search(ctx, len(list), func(i int) int64 {
		return list[i].start + window.Length + r.cfg.Lateness.Milliseconds()
	}, r.cfg.ProcessGroup, r.cfg.PersistGroup)
	if err != nil {
		return nil, err
	}
	// Users wait for new windows, so late trades of old ones stand back.
	slices.SortStableFunc(list[:ready], func(a, b windowMarks) int {
		switch fresh, other := a.start >= sealed, b.start >= sealed; {
		case fresh == other:
			return 0
		case fresh:
			return -1
		}
		return 1
	})
	return &worklist{list: list, ready: ready}, nil
}

// windows seals the windows that are ready, as long as there is time.
func (r *run) windows(ctx context.Context, due *worklist, sealed int64) error {
	for due.open < due.ready && r.now().Sub(r.began) < r.cfg.Time {
		w := due.list[due.open]
		dirty := w.start < sealed
		if err := r.window(ctx, w, dirty); err != nil {
			return fmt.Errorf("seal window %s: %w", stamp(w.start), err)
		}
		due.open++
		r.report.Sealed++
		if dirty {
			r.report.Dirty++
		}
	}
	return nil
}

// progress finds out and writes up to where windows have been sealed, and how
// far behind that is.
func (r *run) progress(ctx context.Context, due *worklist, sealed, horizon int64) error {
	r.report.Left = int64(due.ready - due.open)
	lateness := r.cfg.Lateness.Milliseconds()
	oldest := int64(math.MaxInt64)
	for _, w := range due.list[due.open:] {
		oldest = min(oldest, w.start)
	}
	if oldest != math.MaxInt64 {
		r.report.BehindMS = r.began.UnixMilli() - (oldest + window.Length + lateness)
	}
	behindSeconds.Set(float64(r.report.BehindMS) / 1000)
	// All windows that end by now are sealed if both groups have passed that end,
	// and those on the list are done.
	until := window.Start(r.began.UnixMilli() - lateness)
	passed, err := r.gate.passed(ctx, until+lateness, r.cfg.ProcessGroup, r.cfg.PersistGroup)
	if err != nil {
		return err
	}
	if !passed {
		until = sealed
		for _, w := range due.list[:due.ready] {
			until = max(until, w.start+window.Length)
		}
	}
	for _, w := range due.list[due.open:] {
		if w.start >= sealed {
			until = min(until, w.start)
		}
	}
	until = min(until, max(horizon, sealed))
	if until <= sealed {
		return nil
	}
	return r.store.WriteSealedUntil(ctx, until)
}

func stamp(start int64) string {
	return time.UnixMilli(start).UTC().Format("2006-01-02T15:04Z")
}

// add changes the report from a symbol's goroutine.
func (r *run) add(f func(*Report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.report)
}

// gate tells what the groups have passed.
type gate struct {
	*run
	info        bus.Info
	incarnation int32
	// first is each partition's first offset: what was deleted can't be waited for.
	first     map[int]int64
	committed map[string]map[int]int64 // by group
}

func (r *run) openGate(ctx context.Context) (*gate, error) {
	g := &gate{run: r, committed: map[string]map[int]int64{}}
	var err error
	if g.info, err = r.log.TopicInfo(ctx, r.cfg.Topic); err != nil {
		return nil, err
	}
	if g.incarnation, err = r.store.Incarnation(ctx, r.cfg.Topic, g.info.ID); err != nil {
		return nil, err
	}
	if g.first, err = r.log.OffsetsAfter(ctx, r.cfg.Topic, time.UnixMilli(0)); err != nil {
		return nil, err
	}
	for _, group := range []string{r.cfg.ProcessGroup, r.cfg.PersistGroup} {
		if err := g.refresh(ctx, group); err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *gate) refresh(ctx context.Context, group string) (err error) {
	g.committed[group], err = g.log.Committed(ctx, group, g.cfg.Topic)
	return err
}

// position is the offset below which the group has done all there is.
func (g *gate) position(group string, partition int) int64 {
	return max(g.committed[group][partition], g.first[partition])
}

// end is a partition's end.
func (g *gate) end(ctx context.Context, partition int) (int64, error) {
	// No record is as late as that.
	ends, err := g.log.OffsetsAfter(ctx, g.cfg.Topic, g.now().Add(365*24*time.Hour))
	return ends[partition], err
}

// passed tells whether the groups have done all records whose log time is not
// after the time at, in milliseconds since the Unix epoch.
func (g *gate) passed(ctx context.Context, at int64, groups ...string) (bool, error) {
	if at > g.now().UnixMilli() {
		return false, nil
	}
	need, err := g.log.OffsetsAfter(ctx, g.cfg.Topic, time.UnixMilli(at))
	if err != nil {
		return false, err
	}
	for p, offset := range need {
		for _, group := range groups {
			if g.position(group, p) < offset {
				return false, nil
			}
		}
	}
	return true, nil
}

// search returns how many of n times, which grow, the groups have passed.
func (g *gate) search(ctx context.Context, n int, at func(i int) int64, groups ...string) (int, error) {
	var failed error
	passed := func(i int) bool {
		ok, err := g.passed(ctx, at(i), groups...)
		if err != nil {
			failed = err
		}
		return ok
	}
	// Mostly all have been passed, which one question tells.
	if n > 0 && !passed(n-1) && failed == nil {
		n = sort.Search(n-1, func(i int) bool { return failed != nil || !passed(i) })
	}
	return n, failed
}

func (r *run) logDifference(w store.Window, symbol, what string, live, ticks any) {
	slog.Warn("live window differs from the stored ticks", "window", stamp(w.Start), "log", w.Log, "symbol", symbol, "what", what, "live", live, "ticks", ticks)
}
