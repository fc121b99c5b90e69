package replay

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
)

func all(t *testing.T, s Source) []tick.Tick {
	t.Helper()
	var list []tick.Tick
	for {
		var tk tick.Tick
		if err := s.Next(&tk); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, tk)
	}
}

func small() Market {
	return Market{Seed: 7, Symbols: 50, Ticks: 10_000, Start: time.UnixMilli(1_789_000_000_000), Span: 10 * time.Minute}
}

func open(t *testing.T, m Market) Source {
	t.Helper()
	s, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAMarketIsTheSameAgainForItsSeed(t *testing.T) {
	a, b := all(t, open(t, small())), all(t, open(t, small()))
	if diff := cmp.Diff(a, b); diff != "" {
		t.Fatal(diff)
	}
	other := small()
	other.Seed++
	if cmp.Equal(a, all(t, open(t, other))) {
		t.Error("another seed gives the same market")
	}
}

func TestAMarketKeepsWhatItPromises(t *testing.T) {
	m := small()
	ticks := all(t, open(t, m))
	if len(ticks) != int(m.Ticks) {
		t.Fatalf("%d ticks", len(ticks))
	}
	count, volume, ids := map[string]int{}, map[string]int64{}, map[tick.ID]bool{}
	end := m.Start.Add(m.Span).UnixMilli()
	for i := range ticks {
		tk := &ticks[i]
		if err := tk.Validate(); err != nil {
			t.Fatal(err)
		}
		if i > 0 && tk.EventTime < ticks[i-1].EventTime || tk.EventTime < m.Start.UnixMilli() || tk.EventTime >= end {
			t.Fatalf("tick %d is at %d", i, tk.EventTime)
		}
		if volume[tk.Symbol] += tk.Size; volume[tk.Symbol] != tk.DayVolume {
			t.Fatalf("the day volume of %s is %d after %d traded", tk.Symbol, tk.DayVolume, volume[tk.Symbol])
		}
		count[tk.Symbol]++
		ids[tk.ID()] = true
	}
	if len(ids) != len(ticks) {
		t.Errorf("%d identities of %d ticks", len(ids), len(ticks))
	}
	if first, tenth := count["SIM00000"], count["SIM00009"]; first < 5*tenth {
		t.Errorf("the first symbol trades %d times, the tenth %d: not Zipf's law", first, tenth)
	}
}

func TestMarketsThatCannotBeAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Market){
		"no symbols":       func(m *Market) { m.Symbols = 0 },
		"too many symbols": func(m *Market) { m.Symbols = 2_000_000 },
		"fewer than none":  func(m *Market) { m.Ticks = -1 },
		"a negative span":  func(m *Market) { m.Span = -1 },
		"no start":         func(m *Market) { m.Start = time.Time{} },
	} {
		m := small()
		change(&m)
		if _, err := m.Open(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestCSVIsReadAsTheTicksFunctionWritesIt(t *testing.T) {
	s, err := OpenCSV(strings.NewReader("event_time,price,size,seq,day_volume,previous_close,currency,exchange,market_state,source,received_time,log,offset\r\n"+
		"2026-09-10T00:26:40.123Z,187.44,300,5,1000,186.5,USD,NMS,REGULAR,yahoo,,65536,7\r\n"+
		"1789000000124,-0.5,,,,,,,,,,,\r\n"), "AAPL")
	if err != nil {
		t.Fatal(err)
	}
	want := []tick.Tick{{
		Symbol: "AAPL", EventTime: 1_789_000_000_123, Price: 18_744_000_000, Size: 300, Seq: 5, DayVolume: 1000, PreviousClose: 18_650_000_000,
		Currency: "USD", Exchange: "NMS", MarketState: tick.MarketRegular, Source: tick.SourceYahoo,
	}, {
		Symbol: "AAPL", EventTime: 1_789_000_000_124, Price: -50_000_000, Source: tick.SourceSimulated,
	}}
	if diff := cmp.Diff(want, all(t, s)); diff != "" {
		t.Error(diff)
	}
}

func TestRowsWithoutASeqAreTradesOfTheirOwn(t *testing.T) {
	s, err := OpenCSV(strings.NewReader("symbol,event_time,price\nA,1789000000000,1\nA,1789000000000,1\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	ticks := all(t, s)
	if len(ticks) != 2 || ticks[0].ID() == ticks[1].ID() {
		t.Errorf("%+v", ticks)
	}
}

func TestBadCSVIsRefusedWithItsPlace(t *testing.T) {
	for text, place := range map[string]string{
		"":                   "header",
		"symbol,price\n":     "event_time",
		"event_time,price\n": "symbol",
		"symbol,event_time,price\nA,1789000000000\n":              "line 2",
		"symbol,event_time,price\nA,yesterday,1\n":                "line 2, column event_time",
		"symbol,event_time,price\nA,1789000000000,1\nA,1,x\n":     "line 3, column price",
		"symbol,event_time,price,size\nA,1789000000000,1,-1\n":    "line 2",
		"symbol,event_time,price\nA B,1789000000000,1\n":          "line 2",
		"symbol,event_time,price\n\"A,1789000000000,1\n":          "line 2",
		"symbol,event_time,price,seq\nA,1789000000000,1,1000.5\n": "line 2, column seq",
	} {
		s, err := OpenCSV(strings.NewReader(text), "")
		for err == nil {
			err = s.Next(new(tick.Tick))
		}
		if errors.Is(err, io.EOF) && place != "header" || !strings.Contains(err.Error(), place) {
			t.Errorf("%q: %v; want an error that names %q", text, err, place)
		}
	}
}

func FuzzCSV(f *testing.F) {
	f.Add("symbol,event_time,price\nA,1789000000000,1\n", "")
	f.Add("event_time,price,size,seq\n2026-09-10T00:26:40.123Z,187.44,300,5\n", "AAPL")
	f.Fuzz(func(t *testing.T, text, symbol string) {
		s, err := OpenCSV(strings.NewReader(text), symbol)
		for err == nil {
			var tk tick.Tick
			if err = s.Next(&tk); err == nil {
				if err := tk.Validate(); err != nil {
					t.Fatalf("a bad tick was let through: %v", err)
				}
			}
		}
	})
}

// flaky takes what it is given, but for the messages at the indices in fail,
// once.
type flaky struct {
	fail map[int]bool
	got  []string
}

func (f *flaky) Publish(_ context.Context, msgs []kafka.Message) error {
	var failed []int
	for i, m := range msgs {
		if f.fail[i] {
			failed = append(failed, i)
			continue
		}
		f.got = append(f.got, string(m.Value))
	}
	f.fail = nil
	if failed == nil {
		return nil
	}
	return &bus.PublishError{Failed: failed, Cause: errors.New("flaky")}
}

func TestOnlyWhatKafkaDidNotTakeIsPublishedAgain(t *testing.T) {
	to := &flaky{fail: map[int]bool{3: true, 9_999: true}}
	n, err := Publish(t.Context(), to, open(t, small()), Options{})
	if err != nil || n != 10_000 {
		t.Fatalf("%d, %v", n, err)
	}
	seen := map[string]bool{}
	for _, v := range to.got {
		seen[v] = true
	}
	if len(to.got) != 10_000 || len(seen) != 10_000 {
		t.Errorf("%d messages, %d different", len(to.got), len(seen))
	}
}

func TestAReplayStopsWhenItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := small()
	m.Ticks = 1 << 40
	_, err := Publish(ctx, &flaky{}, open(t, m), Options{Rate: 1000, Progress: func(int64) { cancel() }})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestEveryTickArrivesInOrderOfItsSymbol(t *testing.T) {
	topic := testbed.Topic(t, "replay", 4)
	client := bus.New(bus.Config{Brokers: testbed.Kafka(t)})
	defer client.Close()
	producer := client.Producer(topic)
	for _, encoding := range []tick.Encoding{tick.Protobuf, tick.JSON} {
		if n, err := Publish(t.Context(), producer, open(t, small()), Options{Encoding: encoding}); err != nil || n != 10_000 {
			t.Fatalf("%d, %v", n, err)
		}
	}
	got := map[string][]tick.Tick{}
	for p := range 4 {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: testbed.Kafka(t), Topic: topic, Partition: p, MaxWait: 100 * time.Millisecond})
		defer reader.Close()
		for lag := int64(1); lag > 0; {
			m, err := reader.ReadMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			lag = m.HighWaterMark - m.Offset - 1
			var tk tick.Tick
			if err := new(tick.Decoder).Decode("", m.Value, &tk); err != nil {
				t.Fatal(err)
			}
			if string(m.Key) != tk.Symbol {
				t.Fatalf("the key of a tick of %s is %s", tk.Symbol, m.Key)
			}
			got[tk.Symbol] = append(got[tk.Symbol], tk)
		}
	}
	want := map[string][]tick.Tick{}
	for range 2 {
		for _, tk := range all(t, open(t, small())) {
			want[tk.Symbol] = append(want[tk.Symbol], tk)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkEncode(b *testing.B) {
	m := small()
	m.Ticks = 1 << 40
	source, err := m.Open()
	if err != nil {
		b.Fatal(err)
	}
	keys := map[string][]byte{}
	var blk block
	b.ReportAllocs()
	for b.Loop() {
		blk.messages, blk.values = blk.messages[:0], blk.values[:0]
		if err := blk.fill(source, Options{}, 1000, keys); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/tick")
}
