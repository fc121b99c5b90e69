package ingest

import (
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ticktape/internal/service"
	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/yahootest"
)

// noon is a Wednesday, 12:00 in New York.
var noon = time.Date(2025, 3, 5, 17, 0, 0, 0, time.UTC)

// market is a stand-in whose clock the test sets, and a client of it.
type market struct {
	*yahootest.Server
	passed atomic.Int64 // of the clock on the wall, in nanoseconds
	client *yahoo.Client
}

func newMarket(t *testing.T, o yahootest.Options) (m *market, stop func()) {
	t.Helper()
	m = &market{}
	o.Clock = func() time.Time { return noon.Add(time.Duration(m.passed.Load())) }
	m.Server = yahootest.NewServer(o)
	web := httptest.NewServer(m.Server)
	cfg, err := service.Load[yahoo.Config]()
	if err != nil {
		t.Fatal(err)
	}
	cfg.URL, cfg.Rate, cfg.Attempts, cfg.MaxBackoff = web.URL, 100_000, 1, time.Millisecond
	client, err := yahoo.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.client = client
	return m, func() { client.Close(); web.Close() }
}

// TestSizesAddUpToTheMarketsVolume: whenever the market is polled, and whenever
// the function is started anew, the sizes of the published ticks add up to what
// the market traded from the first poll to the last. What no one can know from
// Yahoo is left out: trades after the last poll of a day that ends at midnight
// sharp.
func TestSizesAddUpToTheMarketsVolume(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		hours := yahootest.Hours(rapid.IntRange(0, 1).Draw(rt, "hours"))
		symbols := []string{"AAPL", "BRK-B", "SAP.DE", "SPY", "^GSPC"}
		if hours == yahootest.AlwaysOpen {
			symbols = append(symbols, "GC=F", "BTC-USD", "EURUSD=X")
		}
		start := noon.Add(time.Duration(rapid.IntRange(-72*3600, 72*3600).Draw(rt, "start")) * time.Second)
		m, stop := newMarket(t, yahootest.Options{Seed: rapid.Uint64().Draw(rt, "seed"), Hours: hours, Start: start})
		defer stop()

		l := &log{}
		f := NewFetcher(watch(symbols...), m.client, l, l, tick.Protobuf)
		want := map[string]int64{}
		before := time.Time{}
		for range rapid.IntRange(2, 25).Draw(rt, "polls") {
			gap := rapid.OneOf(rapid.IntRange(1, 10_000), rapid.IntRange(1, 2*3_600_000)).Draw(rt, "gap")
			m.passed.Add(int64(gap) * int64(time.Millisecond))
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				f = NewFetcher(watch(symbols...), m.client, l, l, tick.Protobuf)
			}
			sum, err := f.Fetch(t.Context())
			if err != nil || sum.Published+sum.Unchanged != len(symbols) {
				rt.Fatalf("summary %+v, error %v", sum, err)
			}
			now := m.Market.Now()
			for _, s := range symbols {
				if !before.IsZero() {
					want[s] += grown(rt, m.Market, s, before, now, hours)
				}
			}
			before = now
		}

		got := map[string]int64{}
		latest := map[string]tick.Tick{}
		for _, tk := range l.ticks {
			got[tk.Symbol] += tk.Size
			if p, ok := latest[tk.Symbol]; ok && (tk.EventTime < p.EventTime || tk.EventTime == p.EventTime && tk.Seq <= p.Seq) {
				rt.Fatalf("%+v was published after %+v", tk, p)
			}
			latest[tk.Symbol] = tk
		}
		for _, s := range symbols {
			if got[s] != want[s] {
				rt.Errorf("sizes of %s add up to %d, the market traded %d", s, got[s], want[s])
			}
		}
	})
}

// grown is what can be known to have traded after a and up to b.
func grown(t *rapid.T, m *yahootest.Market, symbol string, a, b time.Time, hours yahootest.Hours) int64 {
	in, _ := m.Instrument(symbol)
	zone, err := time.LoadLocation(in.Timezone)
	if err != nil {
		t.Fatal(err)
	}
	y, mo, d := a.In(zone).Date()
	midnight := time.Date(y, mo, d+1, 0, 0, 0, 0, zone)
	if b.Before(midnight) {
		return m.DayVolume(symbol, b) - m.DayVolume(symbol, a)
	}
	if rest := m.DayVolume(symbol, midnight.Add(-time.Millisecond)) - m.DayVolume(symbol, a); hours == yahootest.ExchangeHours && rest != 0 {
		t.Fatalf("%s traded %d between %s and midnight", symbol, rest, a)
	}
	return m.DayVolume(symbol, b)
}

func TestTicksOfTheExtendedSessionsCarryTheirState(t *testing.T) {
	start := noon.Add(-5 * time.Hour) // 7:00 in New York
	m, stop := newMarket(t, yahootest.Options{Seed: 3, Hours: yahootest.ExchangeHours, Start: start})
	defer stop()
	l := &log{}
	f := NewFetcher(watch("AAPL"), m.client, l, l, tick.Protobuf)
	for _, c := range []struct {
		after time.Duration
		state tick.MarketState
	}{
		{0, tick.MarketPre},
		{4 * time.Hour, tick.MarketRegular},
		{10 * time.Hour, tick.MarketPost},
	} {
		m.passed.Store(int64(c.after))
		if sum, err := f.Fetch(t.Context()); err != nil || sum.Published != 1 {
			t.Fatalf("summary %+v, error %v", sum, err)
		}
		got := l.ticks[len(l.ticks)-1]
		want, _ := m.Market.LastTrade("AAPL", start.Add(c.after))
		if got.MarketState != c.state || got.Price != want.Price || got.EventTime != want.Time/1000*1000 || got.Source != tick.SourceSimulated {
			t.Errorf("tick %+v of trade %+v, want state %v", got, want, c.state)
		}
	}
	// The regular session's last trade was published beside the first one after it.
	closing, _ := m.Market.At("AAPL", start.Add(10*time.Hour))
	before := l.ticks[len(l.ticks)-2]
	if before.MarketState != tick.MarketRegular || before.Price != closing.Regular.Price || before.EventTime != closing.Regular.Time/1000*1000 {
		t.Errorf("the last regular trade is %+v, want %+v", before, closing.Regular)
	}
	for i, after := range []time.Duration{14 * time.Hour, 38 * time.Hour} { // 21:00, and the night after
		m.passed.Store(int64(after))
		if sum, err := f.Fetch(t.Context()); err != nil || sum.Published != 1 {
			t.Fatalf("after the post-market: %+v, %v", sum, err)
		}
		got := l.ticks[len(l.ticks)-1]
		if want, _ := m.Market.LastTrade("AAPL", start.Add(after)); got.MarketState != tick.MarketPost || got.Price != want.Price {
			t.Errorf("tick %+v of night %d, want %+v", got, i, want)
		}
		if sum, err := f.Fetch(t.Context()); err != nil || sum.Published != 0 || sum.Unchanged != 1 {
			t.Errorf("asked again: %+v, %v", sum, err)
		}
	}
}
