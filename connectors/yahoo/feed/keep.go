package feed

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"ticktape/internal/ingest"
	"ticktape/internal/tick"
	"ticktape/internal/yahoo/stream"
)

const (
	// keepEvery is how often it is looked what there is to do about claims.
	keepEvery = 500 * time.Millisecond
	// callTimeout bounds each thing that is done about them.
	callTimeout = 10 * time.Second
	// barrierEvery bounds how often calls of fetch are asked about.
	barrierEvery = time.Second
	// sayAgain is how often the same trouble is logged.
	sayAgain = time.Minute
	// drainTime is how long Kafka has to take what waits at the end.
	drainTime = 20 * time.Second
)

// keep follows the watch list, and makes, renews and ends claims, until ctx is done.
func (f *Feed) keep(ctx context.Context) {
	look := time.NewTicker(keepEvery)
	defer look.Stop()
	var listed, failed time.Time
	for {
		if time.Since(listed) >= f.cfg.Refresh {
			if f.follow(ctx) {
				listed = time.Now()
			}
		}
		err := f.claimAll(ctx, time.Now())
		if err == nil {
			err = f.takeOver(ctx)
		}
		if err == nil {
			f.handBack(ctx, time.Now())
		}
		f.count()
		if err != nil && ctx.Err() == nil && time.Since(failed) > sayAgain {
			slog.Warn("symbols can't be taken over, trying again", "error", err)
			failed = time.Now()
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// follow brings the symbols up to date with the watch list.
func (f *Feed) follow(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := f.List.List(ctx)
	f.note(partList, "read the watch list (CASSANDRA_HOSTS)", err)
	if err != nil {
		return false
	}
	var wanted []stream.Symbol
	f.mu.Lock()
	for _, s := range f.symbols {
		s.gone = true
	}
	for i := range list {
		// What Yahoo does not know takes up a place on a connection.
		if w := &list[i]; !w.Unknown {
			s := f.symbols[w.Symbol]
			if s == nil {
				s = &symbol{name: w.Symbol}
				f.symbols[w.Symbol] = s
			}
			s.gone = false
			if w.StreamedBy != f.cfg.Owner {
				s.lose()
			}
			wanted = append(wanted, stream.Symbol{Name: w.Symbol, Exchange: w.Exchange})
		}
	}
	for name, s := range f.symbols {
		if s.gone && !s.flying {
			f.queued -= len(s.queue)
			delete(f.symbols, name)
		}
	}
	f.mu.Unlock()
	f.streams.Follow(wanted)
	return true
}

// note keeps what is in the way of all symbols, and counts it.
func (f *Feed) note(part, what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.problems, part)
	if err != nil {
		f.metrics.failures.WithLabelValues(part).Inc()
		f.problems[part] = fmt.Sprintf("%s: %v", what, err)
	}
}

// lose ends a claim that is not ours any more, or may not be: nobody knows who
// feeds the symbol meanwhile.
func (s *symbol) lose() { s.claimed, s.handed, s.sure = time.Time{}, false, false }

// pick returns the names of the symbols of which that is so.
func (f *Feed) pick(ok func(*symbol) bool) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, s := range f.symbols {
		if !s.gone && ok(s) {
			names = append(names, name)
		}
	}
	return names
}

// claimAll claims what is worth it, and renews claims in time.
func (f *Feed) claimAll(ctx context.Context, now time.Time) error {
	return f.claim(ctx, f.pick(func(s *symbol) bool {
		if !s.claimed.IsZero() && !now.Before(s.until) {
			s.lose()
		}
		return s.claimed.IsZero() && s.wanted && now.Sub(s.refusedAt) >= f.cfg.Refresh || !s.claimed.IsZero() && s.until.Sub(now) < f.cfg.ClaimTTL*3/4
	}))
}

// claim claims symbols, for the first time or again. Whatever is not ours then is
// not any more.
func (f *Feed) claim(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	claimed, err := f.List.Claim(ctx, names, f.cfg.Owner, f.cfg.ClaimTTL)
	f.note(partList, "claim symbols in the watch list (CASSANDRA_HOSTS)", err)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, name := range claimed {
		ours[name] = true
	}
	after := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		s := f.symbols[name]
		switch {
		case s == nil:
		case !ours[name]:
			s.lose()
			s.refusedAt = after
			s.problem = "another streamer has it, or it has left the watch list"
		default:
			if s.claimed.IsZero() {
				s.claimed, s.away, s.problem = after, time.Time{}, ""
			}
			s.until = began.Add(f.cfg.ClaimTTL)
		}
	}
	return nil
}

// takeOver makes sure of the symbols that are claimed: that no call of fetch is
// under way that has not seen the claim, and what was published last.
func (f *Feed) takeOver(ctx context.Context) error {
	unsure := func(s *symbol) bool { return !s.claimed.IsZero() && !s.sure && !s.flying }
	if len(f.pick(unsure)) == 0 {
		return nil
	}
	began := time.Now()
	passed := false
	waits := func(s *symbol) bool { return unsure(s) && !s.handed && began.Sub(s.claimed) < f.cfg.HandOver }
	if f.Barrier != nil && began.Sub(f.barrier) >= barrierEvery && len(f.pick(waits)) > 0 {
		f.barrier = began
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		err := f.Barrier(ctx)
		cancel()
		f.note(partBarrier, "ask fetch whether it has seen the claims (GATEWAY_URL)", err)
		passed = err == nil
	}
	names := f.pick(func(s *symbol) bool {
		s.handed = s.handed || unsure(s) && (passed && s.claimed.Before(began) || began.Sub(s.claimed) >= f.cfg.HandOver)
		return s.handed && unsure(s)
	})
	if len(names) == 0 {
		return nil
	}
	// Of two that claimed at the same moment one has lost by now.
	if err := f.claim(ctx, names); err != nil {
		return err
	}
	doubtful := map[string]bool{}
	for _, name := range f.pick(func(s *symbol) bool { return s.doubt && s.handed && unsure(s) }) {
		doubtful[name] = true
	}
	if len(doubtful) > 0 {
		// What a broker that did not answer still has in its hands comes before what
		// it is asked a moment after it has answered again.
		if _, err := f.published(ctx, names); err != nil {
			return err
		}
		select {
		case <-time.After(f.cfg.Doubt):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ticks, err := f.published(ctx, names)
	if err != nil {
		return err
	}
	last := map[string]map[bool]*ingest.Last{}
	for _, t := range ticks {
		if last[t.Symbol] == nil {
			last[t.Symbol] = map[bool]*ingest.Last{}
		}
		l := ingest.Remembered(t)
		last[t.Symbol][t.Source == tick.SourceSimulated] = &l
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	var taken []string
	for _, name := range names {
		// What came into doubt meanwhile was not read late enough.
		if s := f.symbols[name]; s != nil && s.handed && unsure(s) && now.Before(s.until) && s.doubt == doubtful[name] {
			s.last, s.sure, s.doubt = last[name], true, false
			taken = append(taken, name)
		}
	}
	if len(taken) > 0 {
		slog.Info("symbols are streamed", "count", len(taken), "symbols", taken[:min(len(taken), 20)])
		f.wake()
	}
	return nil
}

func (f *Feed) published(ctx context.Context, names []string) ([]tick.Tick, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ticks, err := f.Memory.Published(ctx, names)
	f.note(partMemory, "read what was published last (KAFKA_BROKERS, CASSANDRA_HOSTS)", err)
	return ticks, err
}

// handBack releases symbols of which nothing comes, so that they are polled, once
// all that came of them is published.
func (f *Feed) handBack(ctx context.Context, now time.Time) {
	comes := map[string]bool{}
	silent := map[string]bool{}
	for _, s := range f.streams.Status() {
		comes[s.Symbol] = s.Connected && s.State == stream.Live
		silent[s.Symbol] = s.State == stream.Silent
	}
	f.mu.Lock()
	for name, s := range f.symbols {
		switch {
		case comes[name]:
			s.away = time.Time{}
		case s.away.IsZero():
			s.away = now
		}
	}
	f.mu.Unlock()
	f.release(ctx, func(s *symbol) bool {
		return !s.away.IsZero() && (silent[s.name] || now.Sub(s.away) >= f.cfg.HandBack)
	})
}

// release ends the claims of the symbols of which that is so and nothing waits
// or is under way.
func (f *Feed) release(ctx context.Context, ok func(*symbol) bool) {
	var names []string
	f.mu.Lock()
	for name, s := range f.symbols {
		if !s.claimed.IsZero() && !s.flying && !s.doubt && (len(s.queue) == 0 || !s.sure) && ok(s) {
			names = append(names, name)
			s.lose()
			s.wanted = false
		}
	}
	f.mu.Unlock()
	if len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := f.List.Release(ctx, names, f.cfg.Owner)
	f.note(partList, "release symbols in the watch list (CASSANDRA_HOSTS)", err)
	if err != nil {
		return // they end by themselves
	}
	slog.Info("symbols are left to polling", "count", len(names), "symbols", names[:min(len(names), 20)])
}

// drain waits until what may be published is, at most drainTime.
func (f *Feed) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		now := time.Now()
		waiting := f.pick(func(s *symbol) bool {
			return s.flying || s.sure && len(s.queue) > 0 && s.until.Sub(now) >= PublishLimit
		})
		if len(waiting) == 0 {
			return
		}
		f.wake()
		select {
		case <-look.C:
		case <-ctx.Done():
			slog.Warn("Kafka does not take what is left; it is polled once this is over", "symbols", len(waiting))
			return
		}
	}
}

// releaseAll ends all claims at the end. Nothing is under way any more; what is
// left of a symbol is looked up in the log by whoever feeds it next.
func (f *Feed) releaseAll(ctx context.Context) {
	f.mu.Lock()
	for _, s := range f.symbols {
		f.queued -= len(s.queue)
		s.queue, s.doubt = nil, false
	}
	f.mu.Unlock()
	f.release(ctx, func(*symbol) bool { return true })
}

func (f *Feed) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[string]int{"polled": 0, "taking over": 0, "streamed": 0, "in doubt": 0}
	for _, s := range f.symbols {
		counts[s.fed()]++
	}
	for fed, n := range counts {
		f.metrics.fed.WithLabelValues(fed).Set(float64(n))
	}
	f.metrics.queued.Set(float64(f.queued))
}
