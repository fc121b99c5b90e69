package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/internal/replay"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

func TestAnObserverLearnsOfEveryTradeFromCountsAlone(t *testing.T) {
	l := newLedger()
	l.base = window.Start(time.Now().UnixMilli()) - 10_000
	minuteOne, minuteTwo := l.base+10_000-60_000, l.base+10_000
	for _, after := range []int64{100, 200, 300, 10_100, 10_200} {
		l.add("A", l.base+after)
	}
	l.add("B", l.base+150)
	o := l.observer(newDelays(150 * time.Millisecond)) // the first trade warms up
	for _, step := range []struct {
		name          string
		symbol        string
		start, ticks  int64
		seen, counted int64
	}{
		{"the first trade is seen and not timed", "A", minuteOne, 1, 1, 0},
		{"two more at once are two delays", "A", minuteOne, 3, 3, 2},
		{"an older state says nothing new", "A", minuteOne, 2, 3, 2},
		{"the next window is counted from its own first trade", "A", minuteTwo, 1, 4, 3},
		{"another symbol", "B", minuteOne, 1, 5, 4},
		{"a symbol that is not of the stream", "C", minuteOne, 1, 5, 4},
		{"a window that is not of the stream", "A", minuteTwo + 60_000, 1, 5, 4},
		{"more than were published are no more", "A", minuteTwo, 9, 6, 5},
	} {
		o.window(step.symbol, step.start, step.ticks)
		if o.arrived() != step.seen || o.delays.count != step.counted {
			t.Errorf("%s: %d seen, %d timed; want %d and %d", step.name, o.arrived(), o.delays.count, step.seen, step.counted)
		}
	}
}

func TestQuantilesOfDelays(t *testing.T) {
	d := newDelays(0)
	for i := range int32(100) {
		d.add(10, 10+i+1) // 1 to 100 ms
	}
	d.add(10, 5) // a clock that was set back is no delay
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 50 * time.Millisecond, 0.99: 99 * time.Millisecond, 1: 100 * time.Millisecond} {
		if got := d.at(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	d.add(0, 1<<30)
	if got := d.at(1); got != 59_999*time.Millisecond {
		t.Errorf("what is above all is told as %v", got)
	}
}

func TestAPacedSourceIsAsLateAsItsReader(t *testing.T) {
	market := replay.Market{Seed: 1, Symbols: 3, Ticks: 50, Start: time.Now()}
	source, err := market.Open()
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger()
	p := &pacedSource{Source: source, rate: 1000, ledger: l}
	// It began a while ago, so all ticks are due and late.
	p.begun = time.Now().Add(-time.Second)
	var got []tick.Tick
	var tk tick.Tick
	for p.Next(&tk) == nil {
		got = append(got, tk)
	}
	for i := range got {
		if want := p.begun.Add(time.Duration(i) * time.Millisecond).UnixMilli(); got[i].EventTime != want || got[i].ReceivedTime != want {
			t.Fatalf("tick %d is of %d, want %d", i, got[i].EventTime, want)
		}
	}
	if source, err = market.Open(); err != nil {
		t.Fatal(err)
	}
	a := &again{Source: source, ledger: l, next: map[string]int{}}
	for i := range got {
		if err := a.Next(&tk); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got[i], tk); diff != "" {
			t.Fatalf("tick %d is another when it is told again:\n%s", i, diff)
		}
	}
}

func TestLagThatGrowsIsNotBounded(t *testing.T) {
	for _, c := range []struct {
		name      string
		lag       []int64
		published time.Duration
		want      bool
	}{
		{"a steady lag", []int64{900, 1100, 1000, 900, 1000, 1100}, 60 * time.Second, true},
		{"a lag that shrinks", []int64{9000, 5000, 100, 0, 0, 0}, 60 * time.Second, true},
		{"a lag that grows", []int64{0, 1000, 2000, 3000, 4000, 5000}, 60 * time.Second, false},
		{"ticks that could not be published in time", []int64{0, 0, 0, 0, 0, 0}, 66 * time.Second, false},
	} {
		r := &pacedResult{ticks: 60_000, published: c.published, lag: c.lag}
		if got := r.bounded(1000); got != c.want {
			t.Errorf("%s: bounded is %v", c.name, got)
		}
	}
}

func TestATruthFindsWhatIsWrong(t *testing.T) {
	source, err := replay.Market{Seed: 1, Symbols: 5, Ticks: 1000, Start: time.Now().Truncate(time.Minute), Span: 3 * time.Minute}.Open()
	if err != nil {
		t.Fatal(err)
	}
	tr, err := truthOf(source)
	if err != nil || tr.ticks != 1000 || len(tr.starts) != 3 || len(tr.latest) != 5 {
		t.Fatalf("%d ticks, %d windows, %d symbols, %v", tr.ticks, len(tr.starts), len(tr.latest), err)
	}
	copied := func() map[minute]*window.State {
		m := map[minute]*window.State{}
		for k, s := range tr.windows {
			c := *s
			m[k] = &c
		}
		return m
	}
	if err := compare("window", tr.windows, copied()); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(s *window.State){
		"a tick too many":     func(s *window.State) { s.Count++ },
		"a volume":            func(s *window.State) { s.Volume-- },
		"a register":          func(s *window.State) { s.Close.Price++ },
		"a sum of prices":     func(s *window.State) { s.PriceSum.Lo++ },
		"a turnover far away": func(s *window.State) { s.Turnover.Hi++ },
	} {
		m := copied()
		for _, s := range m {
			spoil(s)
			break
		}
		if compare("window", tr.windows, m) == nil {
			t.Errorf("%s was not found", name)
		}
	}
	m := copied()
	for k := range m {
		delete(m, k)
		break
	}
	if compare("window", tr.windows, m) == nil {
		t.Error("a window that is not there was not found")
	}
}

const wrkSays = `Running 2s test @ http://127.0.0.1:8080/function/quotes
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   149.36ms   62.90ms   1.05s    71.20%
    Req/Sec   106.33     32.67   240.00     65.31%
  Latency Distribution
     50%  640.00us
     75%  185.62ms
     90%  229.41ms
     99%  345.35ms
  1062 requests in 10.01s, 2.95MB read
Requests/sec:    106.06
Transfer/sec:    301.96KB
`

func TestWrkIsUnderstood(t *testing.T) {
	got, err := parseWrk(wrkSays)
	want := answered{perSecond: 106.06, p50: 640 * time.Microsecond, p90: 229410 * time.Microsecond, p99: 345350 * time.Microsecond, most: 1050 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for name, text := range map[string]string{
		"answers that failed":   wrkSays + "  Non-2xx or 3xx responses: 7\n",
		"connections that fail": wrkSays + "  Socket errors: connect 0, read 0, write 0, timeout 3\n",
		"something else":        "unable to connect",
	} {
		if _, err := parseWrk(text); err == nil {
			t.Errorf("%s is taken for a result", name)
		}
	}
}

func TestSamplesOfJavaAreCountedByMethod(t *testing.T) {
	got, err := readSamples(strings.NewReader(`jdk.ExecutionSample {
  startTime = 10:15:30.123
  sampledThread = "a" (javaThreadId = 33)
  state = "STATE_RUNNABLE"
  stackTrace = [
    a.B.inner(int, Object) line: 651
    a.B.outer() line: 12
    a.B.outer() line: 13
    ...
  ]
}

jdk.ExecutionSample {
  stackTrace = [
    a.B.outer() line: 12
  ]
}
jdk.ExecutionSample {
  stackTrace = [
  ]
}
`))
	want := methods{samples: 2, self: map[string]float64{"a.B.inner": 1, "a.B.outer": 1}, all: map[string]float64{"a.B.inner": 1, "a.B.outer": 2}}
	if err != nil || !cmp.Equal(got, want, cmp.AllowUnexported(methods{})) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheTablesSayWhatWasMeasuredAndWhatWasMissed(t *testing.T) {
	rs := &results{}
	run := func(c capacity, perSecond, cpu float64, peak int64) {
		rs.capacity(c, result{
			ticks: c.ticks, took: time.Duration(float64(c.ticks) / perSecond * float64(time.Second)), whole: time.Minute, published: time.Second,
			cpu: costs{"kafka": 1, "function process": cpu - 1}, peak: peaks{"kafka": 1 << 40, "function process": peak << 20},
		})
	}
	base := standard(true, tick.Protobuf)
	for _, rate := range []float64{390_000, 410_000, 900_000} {
		run(base, rate, 4, 200)
	}
	json := standard(true, tick.JSON)
	run(json, 400_000, 5, 300)
	many := base
	many.symbols = 10_000
	run(many, 200_000, 9, 100)
	short, long := base, base
	short.ticks, long.ticks = shorter*base.ticks, longer*base.ticks
	run(short, 500_000, 4, 100)
	run(long, 450_000, 4, 100)
	stream := &pacedResult{ticks: 20_000 * 70, published: 70 * time.Second, kafka: newDelays(0), window: newDelays(0), browser: newDelays(0), lag: []int64{1}}
	stream.browser.add(0, 251)
	rs.streams = append(rs.streams, told[paced, *pacedResult]{paced{rate: 20_000, duration: time.Minute}, stream})
	rs.failures = append(rs.failures, told[string, error]{"queries", errors.New("several\nlines")})
	var out strings.Builder
	rs.write(&out)
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"**410,000** | 390,000 to 900,000 (3)",
		"| windows and history, protobuf | ≥ 400,000 ticks/s | 410,000 ticks/s | yes |",
		"| windows and history, json | ≥ 250,000 ticks/s | 400,000 ticks/s | yes |",
		"| Protobuf against JSON, windows and history | ≥ 1.30 × | 1.03 × | **NO** |",
		"| CPU of all processes, windows and history, Protobuf | ≤ 5.00 s per million | 4.00 s per million | yes |",
		"in CPU | ≤ 2.00 × | 2.25 × | **NO** |",
		"| time for 4 × the backlog | 3.60 to 4.40 × | 4.44 × | **NO** |",
		"| 20,000 ticks/s: trade → browser p99 | ≤ 250 ms | 251 ms | **NO** |",
		"(function process) | ≤ 256 MiB | 300 MiB | **NO** |",
		"- queries: several lines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568", -12345: "-12,345"} {
		if got := thousands(n); got != want {
			t.Errorf("%v is written %s, want %s", n, got, want)
		}
	}
}
