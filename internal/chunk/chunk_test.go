package chunk

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// anyRecords draws what a log could hold of one symbol, at its most awkward.
func anyRecords(t *rapid.T) []Record {
	var list []Record
	offset := rapid.Int64Range(0, 1<<40).Draw(t, "first offset")
	for range rapid.IntRange(1, 40).Draw(t, "records") {
		list = append(list, Record{
			Offset: offset, LogTime: rapid.Int64().Draw(t, "log time"),
			Tick: tick.Tick{
				Symbol: "AAPL", EventTime: rapid.Int64().Draw(t, "event time"), Price: tick.Price(rapid.Int64().Draw(t, "price")),
				Size: rapid.Int64().Draw(t, "size"), Seq: rapid.Int64Range(0, 3).Draw(t, "seq"),
				DayVolume: rapid.Int64().Draw(t, "day volume"), PreviousClose: tick.Price(rapid.Int64().Draw(t, "previous close")),
				Currency:    rapid.SampledFrom([]string{"", "USD", "EUR"}).Draw(t, "currency"),
				Exchange:    rapid.SampledFrom([]string{"", "NMS", "LSE"}).Draw(t, "exchange"),
				MarketState: tick.MarketState(rapid.Int32().Draw(t, "market state")), Source: tick.Source(rapid.Int32().Draw(t, "source")),
				ReceivedTime: rapid.Int64().Draw(t, "received"),
			},
		})
		offset += rapid.Int64Range(1, 1000).Draw(t, "gap")
	}
	return list
}

func build(records []Record) (Summary, []byte) {
	var b Builder
	b.Reset(records[0].Symbol)
	for i := range records {
		b.Add(&records[i])
	}
	return b.Summary(), b.Append(nil)
}

func TestAChunkGivesBackExactlyTheRecordsItWasMadeOf(t *testing.T) {
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecords(t)
		_, b := build(want)
		got, err := d.Decode(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestABuilderCanBeUsedAgain(t *testing.T) {
	var b Builder
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		want := anyRecords(t)
		b.Reset("AAPL")
		for i := range want {
			b.Add(&want[i])
		}
		got, err := d.Decode([]Record{{Offset: 7}}, b.Append([]byte("before"))[len("before"):])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append([]Record{{Offset: 7}}, want...), got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRecordsOfABatchAreAddedAsEachByItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var records []Record
		for len(records) < 3*near {
			records = append(records, anyRecords(t)...)
		}
		var order []int32
		var some []Record
		for i := range records {
			records[i].Offset = int64(i)
			if rapid.Bool().Draw(t, "is the symbol's") {
				order, some = append(order, int32(i)), append(some, records[i])
			}
		}
		if len(order) == 0 {
			return
		}
		var b Builder
		b.Reset("AAPL")
		b.AddAll(records, order)
		wantSummary, want := build(some)
		if diff := cmp.Diff(wantSummary, b.Summary()); diff != "" {
			t.Fatal(diff)
		}
		if got := b.Append(nil); !bytes.Equal(got, want) {
			t.Fatalf("%x, want %x", got, want)
		}
	})
}

func TestASummaryIsStoredExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, _ := build(anyRecords(t))
		got, err := DecodeSummary(want.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestConstantColumnsCostNothingPerRecord(t *testing.T) {
	size := func(n int) int {
		var list []Record
		for i := range n {
			list = append(list, Record{Offset: int64(i), LogTime: 1_700_000_000_000, Tick: tick.Tick{
				Symbol: "AAPL", EventTime: 1_700_000_000_000 + int64(i), Price: 18_744_000_000 + tick.Price(i%7), Size: 100, Seq: 1,
				Currency: "USD", Exchange: "NMS", Source: tick.SourceYahoo, PreviousClose: 18_700_000_000,
			}})
		}
		_, b := build(list)
		return len(b)
	}
	if perRecord := size(1001) - size(1); perRecord > 3*1000+20 {
		t.Errorf("1,000 further records take %d bytes; offset, event time and price change, one byte each", perRecord)
	}
}

func TestADecoderRefusesWhatNoBuilderWrites(t *testing.T) {
	raw := func(fields ...any) []byte { // field number, packed zig-zag values of one byte
		var b []byte
		for i := 0; i < len(fields); i += 2 {
			v := fields[i+1].(string)
			b = append(append(b, byte(fields[i].(int)<<3|2), byte(len(v))), v...)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"offsets that stand still":           raw(2, "", 3, "\x02\x00"),
		"offsets that go back":               raw(2, "", 3, "\x02\x01"),
		"a column longer than the offsets":   raw(2, "", 3, "\x02", 6, "\x02\x02"),
		"records without texts":              raw(3, "\x02"),
		"a currency that is not there":       raw(2, "", 3, "\x02", 14, "\x02"),
		"an exchange below zero":             raw(2, "", 3, "\x02", 15, "\x01"),
		"a source that does not fit":         raw(2, "", 3, "\x02", 13, "\xfe\xff\xff\xff\xff\x01"),
		"a length past the end":              {3<<3 | 2, 100, 1},
		"more records than a chunk can hold": append([]byte{3<<3 | 2, 0x81, 0x80, 0x01}, make([]byte, MaxRecords+1)...),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := new(Decoder).Decode(nil, b); !errors.Is(err, ErrChunk) {
				t.Errorf("decoded %v with error %v", got, err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	for n := 1; n < 4; n++ {
		var list []Record
		for i := range n {
			list = append(list, Record{Offset: int64(i * i), LogTime: 5, Tick: tick.Tick{Symbol: "A", EventTime: int64(n), Price: 3, Currency: fmt.Sprint(i)}})
		}
		_, b := build(list)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := new(Decoder).Decode(nil, b)
		if err != nil {
			return
		}
		if len(records) > len(b) || len(records) > MaxRecords {
			t.Fatalf("%d bytes made %d records", len(b), len(records))
		}
		if len(records) == 0 {
			return
		}
		_, again := build(records)
		got, err := new(Decoder).Decode(nil, again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeSummary(f *testing.F) {
	s := Summary{State: window.State{Count: 3, Volume: 5, PriceSum: window.Sum{Hi: -1, Lo: math.MaxUint64}}, Exchange: "NMS"}
	f.Add(s.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeSummary(b)
		if err != nil {
			return
		}
		got, err := DecodeSummary(s.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got); diff != "" {
			t.Fatal(diff)
		}
	})
}
