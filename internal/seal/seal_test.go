package seal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// begin is the start of a window; each test has an hour of its own behind it.
var begin = time.Date(2026, 3, 2, 14, 0, 0, 0, time.UTC)

const minute = time.Minute

// cases share one keyspace, which takes Cassandra seconds to make. Each gets a
// world with a topic of its own and leaves no window on the list.
func TestSealing(t *testing.T) {
	s := testbed.Store(t)
	for i, c := range []struct {
		name string
		do   func(t *testing.T, s *store.Store, at time.Time)
	}{
		{"a window is sealed when both groups have passed its end and lateness", waitsForBoth},
		{"a late trade has its window sealed again", late},
		{"redelivery in other batches makes the same candles", redelivery},
		{"a trade that was published again counts once, also in another log", repeats},
		{"a seal that dies between any two writes leaves nothing wrong", dies},
		{"the audit finds and corrects a counter that is wrong", auditCounters},
		{"the audit compares records with records", auditLikeWithLike},
		{"the audit adds what a fence that is too far ahead kept out", auditFence},
		{"one seals at a time", alone},
		{"the candle of a day is of the exchange's day", days},
		{"minutes of charts belong to the day of ticks, and give way to late ones", charts},
		{"counters go when nobody will count in them again", sweep},
		{"a range is rebuilt from the ticks", rebuild},
		{"time runs out and the next call goes on", outOfTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.do(t, s, begin.Add(time.Duration(i)*7*24*time.Hour))
		})
	}
}

func waitsForBoth(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 3, at)
	w.publish(0, at.Add(time.Second), trade("WAIT", at, 100, 1, 1))
	w.publish(1, at.Add(time.Second), trade("WAITER", at.Add(30*time.Second), 50, 2, 1))
	w.catchUp("process", "persist")
	for _, c := range []struct {
		name   string
		now    time.Duration
		before func()
		sealed int64
		behind time.Duration
	}{
		{"before its end", 59 * time.Second, nil, 0, 0},
		{"before lateness has passed", minute + 4*time.Second, nil, 0, 0},
		{"process has a record to do that may belong to it", minute + 5*time.Second, func() {
			w.publish(0, at.Add(minute+4*time.Second), trade("WAIT", at.Add(time.Second), 101, 1, 2))
			w.catchUp("persist")
		}, 0, 0},
		{"persist has one", minute + 7*time.Second, func() {
			w.publish(1, at.Add(minute+5*time.Second), trade("WAITER", at, 49, 1, 2))
			w.catchUp("process")
		}, 0, 2 * time.Second},
		{"what is left to do was logged later", minute + 8*time.Second, func() {
			w.catchUp("persist")
			w.publish(1, at.Add(minute+5*time.Second+time.Millisecond), trade("LATER", at.Add(minute), 5, 1, 2))
		}, 1, 0},
	} {
		w.now = at.Add(c.now)
		if c.before != nil {
			c.before()
		}
		r := w.seal()
		if r.Sealed != c.sealed || r.BehindMS != c.behind.Milliseconds() {
			t.Errorf("%s: %+v, want %d sealed, behind %s", c.name, r, c.sealed, c.behind)
		}
	}
	w.checkCandles(store.Minute, at.Add(minute))
	until, err := s.SealedUntil(t.Context())
	if err != nil || until != at.Add(minute).UnixMilli() {
		t.Errorf("sealed until %s, error %v", time.UnixMilli(until).UTC(), err)
	}
	w.catchUp("process", "persist")
	w.now = at.Add(3 * minute)
	w.seal()
	w.checkNothingIsLeft()
}

func late(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 2, at.Add(2*minute))
	w.publish(0, at.Add(time.Second), trade("LATE", at, 100, 1, 1))
	w.catchUp("process", "persist")
	w.seal()
	w.checkCandles(store.Minute, at.Add(minute))
	w.checkNothingIsLeft()
	for i, after := range []time.Duration{3 * minute, time.Hour, 22 * time.Hour, 40 * time.Hour} {
		w.now = at.Add(after)
		w.publish(i%2, w.now, trade("LATE", at.Add(time.Second), 100+int64(i), 10, 10+int64(i)))
		w.catchUp("process", "persist")
		r := w.seal()
		if r.Sealed != 1 || r.Dirty != 1 || r.Differences != 0 {
			t.Errorf("%s after: %+v, want 1 window sealed again", after, r)
		}
		w.checkCandles(store.Minute, at.Add(minute))
		w.checkNothingIsLeft()
	}
	if until, err := s.SealedUntil(t.Context()); err != nil || until < at.Add(2*minute).UnixMilli() {
		t.Errorf("late trades took progress back to %s, error %v", time.UnixMilli(until).UTC(), err)
	}
}

// market publishes random trades of some minutes to all partitions.
func (w *world) market(r *rand.Rand, at time.Time, minutes, n int) {
	seq := int64(0)
	last := map[int]tick.Tick{}
	for i := range n {
		logged := at.Add(time.Duration(i) * time.Duration(minutes) * minute / time.Duration(n))
		p := r.IntN(len(w.records))
		seq += r.Int64N(3) // some share a millisecond and a seq
		tk := trade(fmt.Sprintf("M%d", p+r.IntN(2)*len(w.records)), logged.Add(-time.Duration(r.IntN(3000))*time.Millisecond), 1+r.Int64N(50), r.Int64N(9), seq)
		if tk.EventTime < at.UnixMilli() {
			tk.EventTime = at.UnixMilli()
		}
		if old, ok := last[p]; ok && r.IntN(10) == 0 { // a producer's second try
			tk = old
		}
		last[p] = tk
		w.publish(p, logged, tk)
	}
}

func redelivery(t *testing.T, s *store.Store, at time.Time) {
	r := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t, s, 3, at.Add(10*minute))
	w.market(r, at, 3, 300)
	for _, group := range []string{"persist", "process"} {
		for range 2 {
			for p, records := range w.records {
				for from := 0; from < len(records); {
					to := min(len(records), from+1+r.IntN(30))
					w.deliver(group, p, int64(max(0, from-r.IntN(20))), int64(to))
					from = to
				}
			}
		}
	}
	report := w.seal()
	if report.Differences != 0 || report.Sealed != 3 || report.Repeats == 0 {
		t.Errorf("%+v, want 3 windows without differences, and repeats", report)
	}
	w.checkCandles(store.Minute, w.now)
	w.checkNothingIsLeft()
}

func repeats(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 2, at.Add(10*minute))
	again := trade("TWICE", at.Add(time.Second), 100, 7, 1)
	w.publish(0, at.Add(time.Second), again, again, trade("TWICE", at.Add(2*time.Second), 90, 1, 2))
	w.publish(1, at.Add(time.Second), again)
	w.catchUp("process")
	w.deliver("persist", 0, 0, 2) // both in one chunk
	w.deliver("persist", 0, 2, 3)
	w.catchUp("persist")
	w.publish(0, at.Add(3*time.Second), again) // in a chunk of its own
	w.catchUp("process", "persist")
	w.remake(1)
	w.publish(0, at.Add(5*time.Second), again, trade("TWICE", at.Add(3*time.Second), 95, 1, 3))
	w.catchUp("process", "persist")
	r := w.seal()
	if r.Repeats != 4 || r.Differences != 0 || r.Candles != 1 {
		t.Errorf("%+v, want 4 repeats, no difference, 1 candle", r)
	}
	w.checkCandles(store.Minute, w.now)
	if c, _ := w.expect("TWICE", at.UnixMilli(), at.Add(minute).UnixMilli()); c.Count != 3 || c.Volume != 9 {
		t.Errorf("the test's own truth is %+v", c)
	}
}

// mortal is a store that fails for good at one of its writes, before or after
// the write has its effect.
type mortal struct {
	*store.Store
	left    int
	applied bool
}

var errDead = errors.New("killed")

func (m *mortal) write(f func() error) error {
	m.left--
	switch {
	case m.left > 0:
		return f()
	case m.left == 0 && m.applied:
		return errors.Join(f(), errDead)
	}
	return errDead
}

func (m *mortal) DeleteMarks(ctx context.Context, marks []store.Mark) error {
	return m.write(func() error { return m.Store.DeleteMarks(ctx, marks) })
}

func (m *mortal) WriteSealedUntil(ctx context.Context, start int64) error {
	return m.write(func() error { return m.Store.WriteSealedUntil(ctx, start) })
}

func (m *mortal) Count(ctx context.Context, w store.Window, from, to int64, states []store.SymbolState) error {
	return m.write(func() error { return m.Store.Count(ctx, w, from, to, states) })
}

func (m *mortal) WriteRegisters(ctx context.Context, w store.Window, states []store.SymbolState) error {
	return m.write(func() error { return m.Store.WriteRegisters(ctx, w, states) })
}

func (m *mortal) WriteCandle(ctx context.Context, interval store.Interval, c *store.Candle, version int64) error {
	return m.write(func() error { return m.Store.WriteCandle(ctx, interval, c, version) })
}

func (m *mortal) WriteDayMark(ctx context.Context, d store.DayMark, version int64) error {
	return m.write(func() error { return m.Store.WriteDayMark(ctx, d, version) })
}

func (m *mortal) DeleteDayMark(ctx context.Context, d store.DayMark, version int64) error {
	return m.write(func() error { return m.Store.DeleteDayMark(ctx, d, version) })
}

func (m *mortal) WriteCounted(ctx context.Context, windows []store.Window, version int64) error {
	return m.write(func() error { return m.Store.WriteCounted(ctx, windows, version) })
}

func (m *mortal) DeleteCounters(ctx context.Context, w store.Window, version int64) error {
	return m.write(func() error { return m.Store.DeleteCounters(ctx, w, version) })
}

// EndLease is not called by a process that was killed; its lease runs out, which
// a test need not wait for.
func (m *mortal) EndLease(ctx context.Context, l store.Lease) error { return m.Store.EndLease(ctx, l) }

func dies(t *testing.T, s *store.Store, at time.Time) {
	at = at.Truncate(24 * time.Hour).Add(20 * time.Hour)
	for _, applied := range []bool{false, true} {
		died := true
		for step := 1; died; step++ {
			if step > 60 {
				t.Fatal("it never gets through")
			}
			start := at.Add(time.Duration(step) * 10 * minute)
			w := newWorld(t, s, 1, start.Add(30*time.Hour)) // the day is over as well, the counters are old
			symbol := fmt.Sprintf("DIES%d%t", step, applied)
			w.publish(0, start, trade(symbol, start, 100, 1, 1), trade(symbol, start.Add(minute), 101, 2, 2))
			w.catchUp("process", "persist")
			m := &mortal{Store: s, left: step, applied: applied}
			_, err := w.newSealer(m).Run(t.Context())
			if died = err != nil; died && !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			// A late trade comes before somebody goes on.
			w.publish(0, w.now, trade(symbol, start.Add(time.Second), 90, 4, 3))
			w.catchUp("process", "persist")
			w.seal()
			w.checkCandles(store.Minute, w.now)
			w.checkCandles(store.Day, w.now)
			w.checkNothingIsLeft()
			if days, err := s.ReadDayMarks(t.Context(), w.now.UnixMilli()); err != nil || len(days) > 0 {
				t.Errorf("days %v are left, error %v", days, err)
			}
			if counted, err := s.ReadCounted(t.Context(), w.now.Add(-26*time.Hour).UnixMilli()); err != nil || len(counted) > 0 {
				t.Errorf("counters of %v are left, error %v", counted, err)
			}
			if t.Failed() {
				t.Fatalf("after a death at step %d, applied: %t", step, applied)
			}
		}
	}
}

func auditCounters(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 2, at.Add(2*minute))
	w.publish(0, at, trade("AUD", at, 100, 1, 1), trade("OTHER", at, 7, 7, 1), trade("AUD", at.Add(time.Second), -300, 1_000_000, 2))
	w.publish(1, at, trade("FINE", at, 100, 1, 1))
	w.catchUp("process", "persist")
	incarnation, err := s.Incarnation(t.Context(), w.topic, w.id)
	if err != nil {
		t.Fatal(err)
	}
	win := store.Window{Start: at.UnixMilli(), Log: store.Log(incarnation, 0)}
	fence, right, err := s.ReadWindow(t.Context(), win, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, wrong := range map[string]store.SymbolState{
		"too much":       {Symbol: "AUD", State: window.State{Count: 2, Volume: 5, PriceSum: window.Sum{Lo: 1 << 40}, Turnover: window.Sum{Hi: 3, Lo: 9}}},
		"too little":     {Symbol: "AUD", State: window.State{Count: -1, Volume: -5, PriceSum: window.Sum{Hi: -1, Lo: 1 << 63}, Turnover: window.Sum{Hi: -1}}},
		"what is not so": {Symbol: "NOTHING", State: window.State{Count: 1, Volume: 5, PriceSum: window.Sum{Lo: 3}}},
	} {
		if err := s.Count(t.Context(), win, 0, 0, []store.SymbolState{wrong}); err != nil {
			t.Fatal(err)
		}
		if err := s.MarkRange(t.Context(), win.Start, win.Start+1, 1); err != nil {
			t.Fatal(err)
		}
		audited := int64(3)
		if wrong.Symbol == "NOTHING" {
			audited = 4
		}
		if r := w.seal(); r.Differences != 1 || r.Audited != audited || r.Candles != 3 {
			t.Errorf("%s: %+v, want 1 difference", name, r)
		}
		w.checkCandles(store.Minute, w.now)
		if r := w.seal(); r.Differences != 0 || r.Audited != 3 {
			t.Errorf("%s, afterwards: %+v, want another audit without difference", name, r)
		}
		if r := w.seal(); r.Sealed != 0 {
			t.Errorf("%s, after all is well: %+v, want nothing to do", name, r)
		}
		f, got, err := s.ReadWindow(t.Context(), win, []string{"AUD", "OTHER"})
		if diff := cmp.Diff(right, got); diff != "" || err != nil || f != fence {
			t.Errorf("%s: corrected to %s, fence %d, want %d, error %v", name, diff, f, fence, err)
		}
	}
}

func auditLikeWithLike(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 1, at.Add(2*minute))
	again := trade("LIKE", at, 100, 1, 1)
	w.publish(0, at, again, again)
	w.catchUp("process", "persist")
	if r := w.seal(); r.Differences != 0 || r.Audited != 1 || r.Repeats != 1 {
		t.Errorf("a trade published again: %+v, want no difference", r)
	}
	w.publish(0, w.now, trade("LIKE", at, 50, 1, 2), trade("LIKE", at.Add(time.Second), 200, 1, 3))
	w.deliver("process", 0, 0, 3)
	w.deliver("persist", 0, 2, 4)
	if r := w.seal(); r.Differences != 0 {
		t.Errorf("a record that process has still to do: %+v, want no difference", r)
	}
	w.checkCandles(store.Minute, w.now)
	w.catchUp("process")
	w.publish(0, w.now, trade("LIKE", at, 20, 1, 5), trade("LIKE", at, 10, 1, 4))
	w.deliver("persist", 0, 4, 5)
	w.catchUp("process")
	if r := w.seal(); r.Differences != 0 || r.Audited != 0 {
		t.Errorf("a record that persist has still to do: %+v, want the audit put off", r)
	}
	w.catchUp("persist")
	if r := w.seal(); r.Differences != 0 || r.Audited != 1 {
		t.Errorf("after that: %+v, want an audit", r)
	}
	w.checkCandles(store.Minute, w.now)
	w.now = at.Add(minute + 23*time.Hour + time.Minute)
	w.publish(0, at.Add(minute+23*time.Hour), trade("LIKE", at, 1000, 1, 6))
	w.publish(0, at.Add(minute+23*time.Hour+time.Millisecond), trade("LIKE", at, 2000, 1, 7))
	w.catchUp("process", "persist")
	if r := w.seal(); r.Differences != 0 || r.Audited != 1 {
		t.Errorf("a record that process leaves alone: %+v, want no difference", r)
	}
	w.checkCandles(store.Minute, w.now)
	w.checkNothingIsLeft()
}

func auditFence(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 1, at.Add(2*minute))
	w.publish(0, at, trade("FENCE", at, 100, 1, 1))
	w.catchUp("process", "persist")
	incarnation, err := s.Incarnation(t.Context(), w.topic, w.id)
	if err != nil {
		t.Fatal(err)
	}
	win := store.Window{Start: at.UnixMilli(), Log: store.Log(incarnation, 0)}
	// Two owners have counted the same batch.
	if err := s.Count(t.Context(), win, 0, 100, nil); err != nil {
		t.Fatal(err)
	}
	if r := w.seal(); r.Differences != 0 || r.Audited != 1 {
		t.Errorf("before it kept anything out: %+v", r)
	}
	w.publish(0, w.now, trade("FENCE", at, 90, 5, 2))
	w.catchUp("process", "persist")
	if r := w.seal(); r.Differences != 1 {
		t.Errorf("after that: %+v, want 1 difference", r)
	}
	if r := w.seal(); r.Differences != 0 || r.Audited != 1 {
		t.Errorf("after the correction: %+v, want none", r)
	}
	_, got, err := s.ReadWindow(t.Context(), win, nil)
	if err != nil || len(got) != 1 || got[0].Count != 2 || got[0].Volume != 6 {
		t.Errorf("the window is %+v, error %v", got, err)
	}
	w.checkNothingIsLeft()
}

func alone(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 1, at.Add(2*minute))
	w.publish(0, at, trade("ALONE", at, 100, 1, 1))
	w.catchUp("process", "persist")
	lease, err := s.TakeLease(t.Context(), "seal", "another", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.seal(); !r.Busy || r.Sealed != 0 {
		t.Errorf("while another seals: %+v", r)
	}
	if err := s.EndLease(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	if r := w.seal(); r.Busy || r.Sealed != 1 {
		t.Errorf("after that: %+v", r)
	}
	next, err := s.TakeLease(t.Context(), "seal", "another", 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if next.Term < lease.Term+2 || next.Version(0) <= lease.Version(1<<30) {
		t.Errorf("terms %d and %d with one between them", lease.Term, next.Term)
	}
	// Its holder dies; the lease runs out by itself.
	testbed.Eventually(t, 20*time.Second, "the lease of a dead holder has run out", func() bool { return !w.seal().Busy })
	if err := s.EndLease(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	// A run of its own that could not give the lease back does not stop it.
	if _, err := s.TakeLease(t.Context(), "seal", w.sealer.holder, time.Minute); err != nil {
		t.Fatal(err)
	}
	if r := w.seal(); r.Busy {
		t.Errorf("its own lease stops it: %+v", r)
	}
	w.checkNothingIsLeft()
}

func days(t *testing.T, s *store.Store, at time.Time) {
	// The night in which New York's clocks are put back, and London's are not.
	day := time.Date(at.Year(), 11, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, s, 2, day.Add(47*time.Hour))
	of := func(symbol, exchange string, hours ...float64) {
		for i, h := range hours {
			tk := trade(symbol, day.Add(time.Duration(h*float64(time.Hour))), int64(100+7*i%5), int64(i), int64(i))
			tk.Exchange = exchange
			w.publish(0, time.UnixMilli(tk.EventTime), tk)
		}
		w.catchUp("process", "persist")
		w.seal()
	}
	of("DAYNY", "NYQ", 3.99, 4, 5.5, 6.5, 28.9, 29, 30) // from 4:00Z, 25 hours
	w.records, w.done = nil, nil
	w.remake(2)
	of("DAYLON", "LSE", -0.1, 0, 23.99, 24)
	w.remake(2)
	of("DAYBTC", "CCC", -1, 0, 12, 24)
	w.checkNothingIsLeft()
	// The last days are not over before their ends have passed.
	w.checkDays("DAYNY", day.Add(29*time.Hour))
	w.checkDays("DAYLON", day.Add(24*time.Hour))
	w.checkDays("DAYBTC", day.Add(24*time.Hour))

	// A late trade makes its day anew.
	w.remake(1)
	tk := trade("DAYNY", day.Add(28*time.Hour), 999, 3, 77)
	tk.Exchange = "NYQ"
	w.publish(0, w.now, tk)
	w.catchUp("process", "persist")
	if r := w.seal(); r.Days != 1 || r.Dirty != 1 {
		t.Errorf("%+v, want one day", r)
	}
	w.checkDays("DAYNY", day.Add(29*time.Hour))

	w.now = day.Add(60 * time.Hour)
	w.seal()
	w.checkCandles(store.Minute, w.now)
	w.checkCandles(store.Day, w.now)
}

func charts(t *testing.T, s *store.Store, at time.Time) {
	day := at.Truncate(24 * time.Hour)
	w := newWorld(t, s, 1, day.Add(30*time.Hour))
	tk := trade("CHARTED", day.Add(12*time.Hour), 100, 3, 1)
	tk.Exchange = "CCC"
	w.publish(0, day.Add(12*time.Hour), tk)
	chart := func(hour time.Duration, price, version int64) {
		t.Helper()
		start := day.Add(hour * time.Hour).UnixMilli()
		c := store.Candle{Symbol: "CHARTED", Start: start, Exchange: "CCC", Source: tick.SourceYahooChart, SealedAt: 1, State: window.State{
			Volume: 40, Open: window.Point{EventTime: start, Price: price}, High: window.Point{Price: price}, Low: window.Point{Price: price}, Close: window.Point{EventTime: start + 1, Price: price},
		}}
		if err := s.WriteChart(t.Context(), store.Minute, []store.Candle{c}, version); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want store.Candle) {
		t.Helper()
		list, err := s.ReadCandles(t.Context(), "CHARTED", store.Day, day.UnixMilli(), day.UnixMilli()+1, 1)
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v %v", list, err)
		}
		c := list[0]
		got := store.Candle{Source: c.Source, State: window.State{Count: c.Count, Volume: c.Volume, Open: window.Point{Price: c.Open.Price}, Close: window.Point{Price: c.Close.Price}}}
		if got != want {
			t.Errorf("the day is %+v, want %+v", got, want)
		}
	}
	of := func(source tick.Source, count, volume, open, shut int64) store.Candle {
		return store.Candle{Source: source, State: window.State{Count: count, Volume: volume, Open: window.Point{Price: open}, Close: window.Point{Price: shut}}}
	}
	w.catchUp("process", "persist")
	w.seal()
	price := int64(tk.Price)
	check(of(tk.Source, 1, 3, price, price))
	// A chart brings the rest of the day, and seal adds it up again although it has done so.
	chart(9, 5, 1)
	if err := s.MarkDays(t.Context(), []store.DayMark{{Symbol: "CHARTED", Start: day.UnixMilli(), End: day.Add(24 * time.Hour).UnixMilli()}}); err != nil {
		t.Fatal(err)
	}
	if r := w.seal(); r.Days != 1 {
		t.Errorf("%+v, want one day", r)
	}
	check(of(tick.SourceYahoo, 0, 43, 5, price))
	// A late trade of the chart's minute makes its candle, and the day's.
	late := trade("CHARTED", day.Add(9*time.Hour), 7, 2, 9)
	late.Exchange = "CCC"
	w.publish(0, w.now, late)
	w.catchUp("process", "persist")
	if r := w.seal(); r.Days != 1 || r.Candles != 1 || r.Expired != 0 {
		t.Errorf("%+v, want one day and one candle", r)
	}
	check(of(tk.Source, 2, 5, int64(late.Price), price))
	// A day that only a chart has is left to it.
	elsewhere := store.DayMark{Symbol: "UNTRADED", Start: day.UnixMilli(), End: day.Add(24 * time.Hour).UnixMilli()}
	if err := s.MarkDays(t.Context(), []store.DayMark{elsewhere}); err != nil {
		t.Fatal(err)
	}
	if r := w.seal(); r.Days != 0 {
		t.Errorf("%+v, want no day", r)
	}
	w.checkNothingIsLeft()
}

// checkDays holds that the days of a symbol that end by until, and no others,
// have right candles.
func (w *world) checkDays(symbol string, until time.Time) {
	w.t.Helper()
	whole := w.truth
	defer func() { w.truth = whole }()
	w.truth = nil
	for _, tr := range whole {
		if _, end := window.Day(tr.Exchange, tr.EventTime); tr.Symbol == symbol && end <= until.UnixMilli() {
			w.truth = append(w.truth, tr)
		}
	}
	w.checkCandles(store.Day, w.now)
	rest, err := w.store.ReadCandles(w.t.Context(), symbol, store.Day, until.UnixMilli(), w.now.UnixMilli(), 10)
	if err != nil || len(rest) > 0 {
		w.t.Errorf("days that are not over have candles: %v, error %v", rest, err)
	}
}

func sweep(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 2, at.Add(2*minute))
	w.publish(0, at, trade("SWEEP", at, 100, 1, 1))
	w.publish(1, at, trade("SWEPT", at, 100, 1, 1))
	w.catchUp("process", "persist")
	w.seal()
	incarnation, err := s.Incarnation(t.Context(), w.topic, w.id)
	if err != nil {
		t.Fatal(err)
	}
	counters := func() (n int) {
		for p := range 2 {
			_, states, err := s.ReadWindow(t.Context(), store.Window{Start: at.UnixMilli(), Log: store.Log(incarnation, p)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			n += len(states)
		}
		return n
	}
	w.now = at.Add(minute + 25*time.Hour + time.Second)
	w.publish(0, at.Add(minute+25*time.Hour), trade("SWEEP", at, 100, 1, 2))
	w.catchUp("persist")
	if r := w.seal(); r.CountersDeleted != 0 || counters() != 2 {
		t.Errorf("process has a record to do that was logged before: %+v, %d counters", r, counters())
	}
	w.catchUp("process")
	if r := w.seal(); r.CountersDeleted != 2 || counters() != 0 || r.Differences != 0 {
		t.Errorf("after that: %+v, %d counters, want both deleted", r, counters())
	}
	if r := w.seal(); r.CountersDeleted != 0 || r.Sealed != 0 {
		t.Errorf("once more: %+v, want nothing to do", r)
	}
	w.checkCandles(store.Minute, w.now)
}

func rebuild(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 1, at.Add(10*minute+5*time.Second))
	for i := range int64(4) {
		start := at.Add(time.Duration(i) * minute)
		w.publish(0, start, trade("BUILT", start, 100+i, 1, i))
	}
	w.catchUp("process", "persist")
	w.seal()
	// Somebody has written over the candles, with a version that seal gives next.
	for i := range int64(4) {
		wrong := store.Candle{Symbol: "BUILT", Start: at.Add(time.Duration(i) * minute).UnixMilli(), State: window.State{Count: 7}, SealedAt: 1}
		lease, err := s.TakeLease(t.Context(), "seal", "somebody", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.WriteCandle(t.Context(), store.Minute, &wrong, lease.Version(0)), s.EndLease(t.Context(), lease)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := w.sealer.Rebuild(t.Context(), at.Add(minute+time.Second), at.Add(2*minute+time.Second))
	if err != nil || r.Marked != 2 || r.Sealed != 2 || r.Dirty != 2 {
		t.Errorf("the second and the third minute: %+v, error %v", r, err)
	}
	got, err := s.ReadCandles(t.Context(), "BUILT", store.Minute, 0, w.now.UnixMilli(), 10)
	if err != nil || len(got) != 4 || got[0].Count != 7 || got[1].Count != 1 || got[2].Count != 1 || got[3].Count != 7 {
		t.Errorf("rebuilt the second and the third to %+v, error %v", got, err)
	}
	if r, err := w.sealer.Rebuild(t.Context(), at, w.now); err != nil || r.Marked != 10 || r.Sealed != 10 {
		t.Errorf("all: %+v, error %v", r, err)
	}
	w.checkCandles(store.Minute, w.now)
	w.checkNothingIsLeft()

	for name, c := range map[string]struct{ from, to time.Time }{
		"ticks that may have expired": {w.now.Add(-29 * 24 * time.Hour).Add(-minute), w.now},
		"a window that is not over":   {w.now.Add(time.Hour), w.now.Add(2 * time.Hour)},
		"a time before 1970":          {time.UnixMilli(-1), w.now},
		"an empty range":              {at, at},
	} {
		var bad RangeError
		if r, err := w.sealer.Rebuild(t.Context(), c.from, c.to); !errors.As(err, &bad) {
			t.Errorf("%s: %+v, error %v, want a RangeError", name, r, err)
		}
	}
	w.checkNothingIsLeft()

	// Months later a trade of the old window turns up. Its ticks have expired, so
	// the candle stays, whether it had more trades or as many others.
	w.now = at.Add(60 * 24 * time.Hour)
	for i, count := range []int64{5, 2} {
		full := store.Candle{Symbol: "BUILT", Start: at.UnixMilli(), State: window.State{Count: count, Volume: 77}, SealedAt: 1}
		lease, err := s.TakeLease(t.Context(), "seal", "somebody", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.WriteCandle(t.Context(), store.Minute, &full, lease.Version(0)), s.EndLease(t.Context(), lease)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			w.publish(0, w.now, trade("BUILT", at.Add(time.Second), 1, 1, 99))
			w.catchUp("process", "persist")
		} else if err := s.WriteMarks(t.Context(), []store.Mark{{Window: store.Window{Start: at.UnixMilli(), Log: 1}}}); err != nil {
			t.Fatal(err)
		}
		if r := w.seal(); r.Expired != 1 || r.Candles != 0 {
			t.Errorf("%+v, want one candle left as it is", r)
		}
		if got, err := s.ReadCandles(t.Context(), "BUILT", store.Minute, at.UnixMilli(), at.UnixMilli()+1, 1); err != nil || len(got) != 1 || got[0].Count != count {
			t.Errorf("the candle became %+v, error %v", got, err)
		}
		w.checkNothingIsLeft()
	}
}

func outOfTime(t *testing.T, s *store.Store, at time.Time) {
	w := newWorld(t, s, 1, at.Add(20*minute))
	for i := range int64(5) {
		start := at.Add(time.Duration(i) * minute)
		w.publish(0, start, trade("SLOW", start, 100+i, 1, i))
	}
	w.catchUp("process", "persist")
	// The clock runs on by 10 s whenever it is read, once work has begun.
	w.cfg.Time = 30 * time.Second
	w.sealer = New(w.cfg, s, w)
	w.sealer.now = func() time.Time { w.now = w.now.Add(10 * time.Second); return w.now }
	calls, sealed := 0, int64(0)
	for ; calls < 20; calls++ {
		r := w.seal()
		sealed += r.Sealed
		if r.Left == 0 {
			break
		}
		if r.BehindMS == 0 {
			t.Errorf("%+v leaves windows and is not behind", r)
		}
	}
	if sealed != 5 || calls == 0 {
		t.Errorf("%d windows sealed in %d further calls, want 5 in several", sealed, calls)
	}
	w.checkCandles(store.Minute, w.now)
	w.checkNothingIsLeft()
}
