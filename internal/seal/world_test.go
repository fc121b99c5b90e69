package seal

import (
	"context"
	"crypto/rand"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/history"
	"ticktape/internal/live"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

// world is a topic in memory whose records go through the real process and
// persist into a real Cassandra, at times and in batches that a test chooses.
type world struct {
	t     testing.TB
	store *store.Store
	cfg   Config
	now   time.Time

	topic   string
	id      [16]byte
	records [][]trigger.Record // by partition
	// done is how far each group has come, by partition.
	done map[string][]int64

	live    *live.Processor
	history *history.Writer
	sealer  *Sealer
	truth   []truth
}

// truth is a tick that was published, and when.
type truth struct {
	tick.Tick
	log     int32
	offset  int64
	logTime int64
}

type quiet struct{}

func (quiet) Publish(context.Context, []kafka.Message) error { return nil }

func newWorld(t testing.TB, s *store.Store, partitions int, now time.Time) *world {
	w := &world{
		t: t, store: s, now: now, topic: "ticks",
		cfg: Config{
			Topic: "ticks", ProcessGroup: "process", PersistGroup: "persist",
			Lateness: 5 * time.Second, Rate: 1e6, Time: time.Minute,
		},
		live:    &live.Processor{Store: s, Windows: quiet{}, Quiet: time.Millisecond},
		history: history.New(s),
	}
	w.remake(partitions)
	w.sealer = w.newSealer(s)
	return w
}

func (w *world) newSealer(s Store) *Sealer {
	sealer := New(w.cfg, s, w)
	sealer.now = func() time.Time { return w.now }
	return sealer
}

// remake deletes the topic and makes it again.
func (w *world) remake(partitions int) {
	rand.Read(w.id[:])
	w.records = make([][]trigger.Record, partitions)
	w.done = map[string][]int64{"process": make([]int64, partitions), "persist": make([]int64, partitions)}
}

func (w *world) TopicInfo(context.Context, string) (bus.Info, error) {
	return bus.Info{ID: w.id, Partitions: len(w.records)}, nil
}

func (w *world) Committed(_ context.Context, group, _ string) (map[int]int64, error) {
	offsets := map[int]int64{}
	for p, o := range w.done[group] {
		if o > 0 {
			offsets[p] = o
		}
	}
	return offsets, nil
}

func (w *world) OffsetsAfter(_ context.Context, _ string, at time.Time) (map[int]int64, error) {
	offsets := map[int]int64{}
	for p, records := range w.records {
		n, _ := slices.BinarySearchFunc(records, at.UnixMilli()+1, func(r trigger.Record, t int64) int { return int(r.Timestamp - t) })
		offsets[p] = int64(n)
	}
	return offsets, nil
}

// publish appends ticks to a partition at a time.
func (w *world) publish(partition int, at time.Time, ticks ...tick.Tick) {
	w.t.Helper()
	incarnation, err := w.store.Incarnation(w.t.Context(), w.topic, w.id)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, tk := range ticks {
		offset := int64(len(w.records[partition]))
		value, err := tick.Protobuf.Append(nil, &tk)
		if err != nil {
			w.t.Fatal(err)
		}
		w.records[partition] = append(w.records[partition], trigger.Record{Offset: offset, Timestamp: at.UnixMilli(), Value: value})
		w.truth = append(w.truth, truth{tk, store.Log(incarnation, partition), offset, at.UnixMilli()})
	}
}

// deliver calls a function with the records from ≤ offset < to of a partition.
func (w *world) deliver(group string, partition int, from, to int64) {
	w.t.Helper()
	b := &trigger.Batch{Topic: w.topic, TopicID: w.id, Partition: partition, Records: w.records[partition][from:to]}
	do := w.history.Persist
	if group == "process" {
		do = w.live.Process
	}
	if failures, err := do(w.t.Context(), b); err != nil || len(failures) > 0 {
		w.t.Fatal(failures, err)
	}
	w.done[group][partition] = max(w.done[group][partition], to)
}

// catchUp delivers to a group what it has not done yet.
func (w *world) catchUp(groups ...string) {
	w.t.Helper()
	for _, group := range groups {
		for p, records := range w.records {
			if from, to := w.done[group][p], int64(len(records)); from < to {
				w.deliver(group, p, from, to)
			}
		}
	}
}

// seal runs the sealer, which must succeed.
func (w *world) seal() Report {
	w.t.Helper()
	r, err := w.sealer.Run(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	r.TookMS = 0
	return r
}

// expect is what a candle should be, of trades in from ≤ event time < to.
func (w *world) expect(symbol string, from, to int64) (c store.Candle, any bool) {
	c = store.Candle{Symbol: symbol, Start: from}
	seen := map[tick.ID]bool{}
	list := slices.Clone(w.truth)
	slices.SortStableFunc(list, func(a, b truth) int {
		if a.log != b.log {
			return int(a.log - b.log)
		}
		return int(a.offset - b.offset)
	})
	latest := int64(math.MinInt64)
	for _, tr := range list {
		if tr.Symbol != symbol || tr.EventTime < from || tr.EventTime >= to {
			continue
		}
		if tr.EventTime >= latest {
			latest, c.Exchange, c.Source = tr.EventTime, tr.Exchange, tr.Source
		}
		if !seen[tr.ID()] {
			seen[tr.ID()] = true
			c.State.Add(window.Point{EventTime: tr.EventTime, Offset: tr.offset, Price: int64(tr.Price)}, tr.Size)
		}
	}
	for _, p := range []*window.Point{&c.Open, &c.High, &c.Low, &c.Close} {
		p.Offset = 0
	}
	c.High.EventTime, c.Low.EventTime = 0, 0
	return c, len(seen) > 0
}

// checkCandles compares all candles of an interval with the truth. Windows that
// start at or after until must have none.
func (w *world) checkCandles(interval store.Interval, until time.Time) {
	w.t.Helper()
	var want, got []store.Candle
	symbols := map[string]bool{}
	for _, tr := range w.truth {
		symbols[tr.Symbol] = true
	}
	for symbol := range symbols {
		starts := map[int64]int64{}
		first, last := int64(math.MaxInt64), int64(0)
		for _, tr := range w.truth {
			if tr.Symbol == symbol {
				start, end := window.Start(tr.EventTime), window.Start(tr.EventTime)+window.Length
				if interval == store.Day {
					start, end = window.Day(tr.Exchange, tr.EventTime)
				}
				starts[start] = end
				first, last = min(first, start), max(last, end)
			}
		}
		for start, end := range starts {
			if c, any := w.expect(symbol, start, end); any && start < until.UnixMilli() {
				want = append(want, c)
			}
		}
		list, err := w.store.ReadCandles(w.t.Context(), symbol, interval, first, last, 10_000)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range list {
			c.SealedAt = 0
			got = append(got, c)
		}
	}
	order := func(a, b store.Candle) int {
		if a.Symbol != b.Symbol {
			if a.Symbol < b.Symbol {
				return -1
			}
			return 1
		}
		return int(a.Start - b.Start)
	}
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("candles %s (-want +got):\n%s", interval, diff)
	}
}

// checkNothingIsLeft holds that no window or day is on a list that is due.
func (w *world) checkNothingIsLeft() {
	w.t.Helper()
	marks, _, err := w.store.ReadMarks(w.t.Context())
	if err != nil || len(marks) > 0 {
		w.t.Errorf("marks %v are left, error %v", marks, err)
	}
}

// trade makes a tick. Its seq tells it from all others.
func trade(symbol string, at time.Time, price, size, seq int64) tick.Tick {
	return tick.Tick{
		Symbol: symbol, EventTime: at.UnixMilli(), Price: tick.Price(price), Size: size, Seq: seq,
		Currency: "USD", Exchange: "NMS", Source: tick.SourceYahoo,
	}
}
