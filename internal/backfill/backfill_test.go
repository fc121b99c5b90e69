package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/watchlist"
	"ticktape/internal/window"
	"ticktape/internal/yahoo"
)

// charts is a Yahoo that trades every minute of every day, and remembers for what
// it was asked.
type charts struct {
	asked []string
	price tick.Price
	fail  func(symbol string, q yahoo.ChartQuery) error
}

func (c *charts) Chart(_ context.Context, symbol string, q yahoo.ChartQuery) (*yahoo.Chart, error) {
	c.asked = append(c.asked, fmt.Sprint(symbol, " ", q.Interval, " ", q.From.UTC().Format("01-02T15:04"), " ", q.To.UTC().Format("01-02T15:04")))
	if c.fail != nil {
		if err := c.fail(symbol, q); err != nil {
			return nil, err
		}
	}
	iv, err := intervalOf(q.Interval)
	if err != nil {
		return nil, err
	}
	chart := &yahoo.Chart{Symbol: symbol, Exchange: "CCC", Timezone: "UTC", Interval: q.Interval, Currency: "USD", Source: tick.SourceYahoo}
	for start := q.From.UnixMilli() / iv.length * iv.length; start < q.To.UnixMilli(); start += iv.length {
		chart.Bars = append(chart.Bars, yahoo.Bar{Start: start, Open: c.price, High: c.price, Low: c.price, Close: c.price, Volume: 5})
	}
	chart.Dividends = []yahoo.Dividend{{Time: q.From.UnixMilli(), Amount: 1}}
	return chart, nil
}

type rig struct {
	*testing.T
	*Runner
	store   *store.Store
	charts  *charts
	symbols []watchlist.Symbol
}

func newRig(t *testing.T, s *store.Store, added string) *rig {
	r := &rig{T: t, store: s, charts: &charts{price: 7}}
	runner, err := New(Config{Added: added, Time: 20 * time.Second, Rate: 1e6}, s, func(context.Context) ([]watchlist.Symbol, error) { return r.symbols, nil }, r.charts)
	r.must(err)
	r.Runner = runner
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) ask(symbol, interval, reach string) store.BackfillKey {
	r.Helper()
	b, err := request(symbol, interval, reach, true, true, r.now())
	r.must(err)
	r.must(r.Ask(r.Context(), []*store.Backfill{b}))
	return b.BackfillKey
}

func (r *rig) state(key store.BackfillKey) store.Backfill {
	r.Helper()
	list, err := r.store.ReadBackfills(r.Context(), key.Symbol)
	r.must(err)
	for _, b := range list {
		if b.BackfillKey == key {
			return b
		}
	}
	r.Fatalf("there is no %+v", key)
	return store.Backfill{}
}

func own(symbol string, start, price int64) store.Candle {
	c := store.Candle{Symbol: symbol, Start: start, Exchange: "CCC", Source: tick.SourceYahoo, SealedAt: start + 65_000}
	c.Add(window.Point{EventTime: start + 5, Price: price}, 3)
	c.Add(window.Point{EventTime: start + 6, Price: price + 1}, 4)
	return c
}

func TestBackfill(t *testing.T) {
	s := testbed.Store(t)

	t.Run("a candle of ticks wins over a chart's, whichever comes first or beside it, and all its cells are of one", func(t *testing.T) {
		ctx := t.Context()
		charted := store.Candle{Symbol: "A", Exchange: "X", Source: tick.SourceYahooChart, SealedAt: 9, State: window.State{
			Volume: 1 << 40, Open: window.Point{EventTime: 8, Price: 1 << 40}, High: window.Point{Price: 1 << 40}, Low: window.Point{Price: 1 << 39}, Close: window.Point{EventTime: 9, Price: 1 << 40},
		}}
		lease := func(name string) store.Lease {
			l, err := s.TakeLease(ctx, name, "me", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		sealing, filling := lease("seal"), lease(leaseName)
		first := at("2026-03-04T00:00:00")
		chart := func(start, step int64) error {
			c := charted
			c.Start = start
			return s.WriteChart(ctx, store.Minute, []store.Candle{c}, filling.ChartVersion(step))
		}
		seal := func(start int64) error {
			c := own("A", start, 3)
			return s.WriteCandle(ctx, store.Minute, &c, sealing.Version(1))
		}
		for i := range int64(60) {
			start := first + i*window.Length
			var err error
			switch i % 3 {
			case 0:
				err = errors.Join(chart(start, 1000), seal(start))
			case 1:
				err = errors.Join(seal(start), chart(start, 1000))
			case 2:
				var both sync.WaitGroup
				errs := make([]error, 2)
				both.Go(func() { errs[0] = chart(start, 1000) })
				both.Go(func() { errs[1] = seal(start) })
				both.Wait()
				err = errors.Join(errs...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		list, err := s.ReadCandles(ctx, "A", store.Minute, first, first+60*window.Length, 100)
		if err != nil || len(list) != 60 {
			t.Fatalf("%d candles, %v", len(list), err)
		}
		for _, c := range list {
			want := own("A", c.Start, 3)
			want.Open.Offset, want.Close.Offset, want.High.EventTime, want.Low.EventTime = 0, 0, 0, 0
			if diff := cmp.Diff(want, c); diff != "" {
				t.Fatal(diff)
			}
		}
		// Of two charts the later one's stays, also where it says less.
		day := first - 86_400_000
		later := charted
		later.Start, later.Volume = day, 1
		if err := errors.Join(s.WriteChart(ctx, store.Day, []store.Candle{later}, filling.ChartVersion(7)), chart(day, 6)); err != nil {
			t.Fatal(err)
		}
		earlier := charted
		earlier.Start = day
		if err := s.WriteChart(ctx, store.Day, []store.Candle{earlier}, filling.ChartVersion(6)); err != nil {
			t.Fatal(err)
		}
		if list, err := s.ReadCandles(ctx, "A", store.Day, day, day+1, 1); err != nil || list[0].Volume != 1 {
			t.Errorf("%+v %v", list, err)
		}
		for _, l := range []store.Lease{sealing, filling} {
			if err := s.EndLease(ctx, l); err != nil {
				t.Fatal(err)
			}
		}
	})

	t.Run("windows with ticks of our own are left alone, sealed or not, and their days are added up again", func(t *testing.T) {
		r := newRig(t, s, "none")
		r.now = func() time.Time { return now }
		ctx := t.Context()
		sealed := at("2026-03-03T12:00:00")
		r.must(s.WriteSealedUntil(ctx, sealed))
		mine := own("B", sealed-window.Length, 3)
		r.must(s.WriteCandle(ctx, store.Minute, &mine, 1<<60))
		// Ticks that seal has still to do: of a window that it has not come to, and late ones.
		log := int32(1 << 16)
		pending := []int64{sealed + 5*window.Length, sealed - 1000*window.Length}
		for _, start := range pending {
			var b chunk.Builder
			b.Reset("B")
			b.Add(&chunk.Record{Offset: 1, Tick: tick.Tick{Symbol: "B", EventTime: start + 1, Price: 1, Source: tick.SourceYahoo}})
			summary := b.Summary()
			r.must(s.WriteChunks(ctx, store.Window{Start: start, Log: log}, [][]store.Chunk{{{Symbol: "B", First: 1, Last: 1, Summary: summary.Append(nil), Ticks: b.Append(nil)}}}))
			r.must(s.WriteQuotes(ctx, log, []store.Quote{{Offset: 1, Tick: tick.Tick{Symbol: "B", EventTime: start + 1, Price: 1}}}))
		}
		r.must(s.WriteMarks(ctx, []store.Mark{{Window: store.Window{Start: pending[1], Log: log}, UpTo: 1}}))

		key := r.ask("B", "1m", "5d")
		r.must(r.Work(ctx, key))
		b := r.state(key)
		all := (now.UnixMilli()/60_000*60_000 - b.From) / 60_000
		if b.State != store.BackfillDone || b.Kept != 3 || b.Candles != all-3 || b.Events != 1 {
			t.Errorf("%+v of %d", b, all)
		}
		list, err := s.ReadCandles(ctx, "B", store.Minute, b.From, b.To, 20_000)
		r.must(err)
		charted, gaps := 0, 0
		for _, c := range list {
			if c.Source == tick.SourceYahooChart {
				charted++
			}
			if slices.Contains(pending, c.Start) {
				gaps++
			}
		}
		if int64(charted) != all-3 || gaps != 0 || len(list) != charted+1 {
			t.Errorf("%d candles, %d of the chart, %d of windows that have ticks", len(list), charted, gaps)
		}
		days, err := s.ReadDayMarks(ctx, now.UnixMilli())
		r.must(err)
		if want := []store.DayMark{{Symbol: "B", Start: at("2026-03-03T00:00:00"), End: at("2026-03-04T00:00:00")}}; !slices.Equal(days, want) {
			t.Errorf("days marked: %+v", days)
		}
		// That day is seal's, so the chart's is not written.
		key = r.ask("B", "1d", "5d")
		r.must(r.Work(ctx, key))
		if b := r.state(key); b.Kept != 1 || b.Candles != 6 {
			t.Errorf("days: %+v", b)
		}
		if actions, err := s.ReadActions(ctx, "B", b.From, b.To); err != nil || len(actions) != 1 {
			t.Errorf("actions %+v %v", actions, err)
		}
	})

	t.Run("a call that dies is gone on with, part by part", func(t *testing.T) {
		r := newRig(t, s, "none")
		r.now = func() time.Time { return now }
		ctx, die := context.WithCancel(t.Context())
		r.charts.fail = func(string, yahoo.ChartQuery) error {
			if len(r.charts.asked) == 3 {
				die()
				return &yahoo.Error{Kind: yahoo.Unreachable, Err: context.Canceled}
			}
			return nil
		}
		key := r.ask("C", "1m", "max")
		if err := r.Work(ctx, key); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if b := r.state(key); b.State != store.BackfillQueued || b.DoneTo != b.From+14*86_400_000 || b.Tries != 0 {
			t.Errorf("%+v", b)
		}
		r.charts.fail = nil
		again := newRig(t, s, "none")
		again.now, again.charts.price = r.now, 8
		again.ask("C", "1m", "max") // asking again does not begin again
		again.must(again.Work(t.Context(), key))
		asked := slices.Concat(r.charts.asked, again.charts.asked)
		want := []string{
			"C 1m 02-02T21:00 02-09T21:00", "C 1m 02-09T21:00 02-16T21:00", "C 1m 02-16T21:00 02-23T21:00",
			"C 1m 02-16T21:00 02-23T21:00", "C 1m 02-23T21:00 03-02T21:00", "C 1m 03-02T21:00 03-04T19:30",
		}
		if !slices.Equal(asked, want) {
			t.Errorf("asked for %q", asked)
		}
		b := again.state(key)
		list, err := s.ReadCandles(t.Context(), "C", store.Minute, b.From, b.To, 50_000)
		r.must(err)
		if int64(len(list)) != b.Candles || b.State != store.BackfillDone || len(list) < 42_000 {
			t.Errorf("%d candles, %+v", len(list), b)
		}
		// Once done, asking again brings it all anew.
		again.ask("C", "1m", "5d")
		key = again.ask("C", "1m", "5d")
		again.must(again.Work(t.Context(), key))
		again.ask("C", "1m", "5d")
		if b := again.state(key); b.State != store.BackfillQueued || b.Candles != 0 {
			t.Errorf("%+v", b)
		}
		again.must(again.Work(t.Context(), key))
	})

	t.Run("what Yahoo refuses waits, and what it does not have is not asked for again", func(t *testing.T) {
		r := newRig(t, s, "1d:5d,1m:5d")
		clock := now
		r.now = func() time.Time { return clock }
		r.symbols = []watchlist.Symbol{
			{Symbol: "D", AddedAt: now.UnixMilli() - 2},
			{Symbol: "NOSUCH", AddedAt: now.UnixMilli() - 1},
			{Symbol: "GONE", AddedAt: now.UnixMilli(), Unknown: true},
		}
		var refusal error = &yahoo.Error{Kind: yahoo.RateLimited, RetryAfter: time.Minute}
		r.charts.fail = func(symbol string, q yahoo.ChartQuery) error {
			if refusal == nil && symbol == "NOSUCH" {
				return &yahoo.Error{Kind: yahoo.NotFound, Description: "No data found"}
			}
			return refusal
		}
		work := func(charts int) {
			t.Helper()
			r.charts.asked = nil
			r.must(r.Work(t.Context()))
			if len(r.charts.asked) != charts {
				t.Errorf("asked for %q", r.charts.asked)
			}
		}
		work(1) // the first refusal is for all
		clock = clock.Add(30 * time.Second)
		refusal = nil
		work(3) // all but the one that was told to wait
		clock = clock.Add(31 * time.Second)
		work(1)
		work(0)
		key := store.BackfillKey{Symbol: "NOSUCH", Interval: store.Day, Range: "5d", PrePost: true}
		if b := r.state(key); b.State != store.BackfillFailed || b.Reason == "" {
			t.Errorf("%+v", b)
		}
		r.symbols[1].AddedAt = clock.UnixMilli() + 1
		clock = clock.Add(time.Second)
		work(2) // it was added again
		if list, err := s.ReadBackfills(t.Context(), "GONE"); err != nil || len(list) > 0 {
			t.Errorf("%+v %v", list, err)
		}
		// What can't be read is tried again, but not for ever.
		r.charts.fail = func(string, yahoo.ChartQuery) error { return &yahoo.Error{Kind: yahoo.BadAnswer} }
		key = r.ask("D", "1h", "1mo")
		for range maxTries {
			work(1)
			clock = clock.Add(lastPause)
		}
		work(0)
		if b := r.state(key); b.State != store.BackfillFailed {
			t.Errorf("%+v", b)
		}
		// Of a share that was listed lately there is nothing at first.
		r.charts.fail = func(_ string, q yahoo.ChartQuery) error {
			if q.From.Before(now.Add(-10 * day)) {
				return &yahoo.Error{Kind: yahoo.BadRequest, Description: "Data doesn't exist for startDate"}
			}
			return nil
		}
		key = r.ask("D", "1m", "1mo")
		work(5)
		if b := r.state(key); b.State != store.BackfillDone || b.Candles == 0 {
			t.Errorf("%+v", b)
		}
	})

	t.Run("one call works at a time, and another waits for what it asked for", func(t *testing.T) {
		r, other := newRig(t, s, "none"), newRig(t, s, "none")
		key := r.ask("E", "1d", "1y")
		begun, goOn := make(chan struct{}), make(chan struct{})
		other.charts.fail = func(string, yahoo.ChartQuery) error {
			close(begun)
			<-goOn
			return nil
		}
		var working sync.WaitGroup
		errs := make([]error, 3)
		working.Go(func() { errs[0] = other.Work(t.Context()) })
		<-begun
		errs[1] = r.Work(t.Context()) // the schedule's, which has nobody waiting
		working.Go(func() { errs[2] = r.Work(t.Context(), key) })
		close(goOn)
		working.Wait()
		r.must(errors.Join(errs...))
		if b := r.state(key); b.State != store.BackfillDone || len(r.charts.asked) != 0 {
			t.Errorf("%+v, asked for %q", b, r.charts.asked)
		}
	})
}
