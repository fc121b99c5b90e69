package chunk

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// placed is a record with its log.
type placed struct {
	log int32
	Record
}

// anyLogs draws records of one symbol in one window in two logs, some of which
// repeat a trade, in any order of event times.
func anyLogs(t *rapid.T) []placed {
	var list []placed
	disorder := rapid.Int64Range(0, 20).Draw(t, "disorder")
	for log := range int32(2) {
		offset := rapid.Int64Range(0, 5).Draw(t, "first offset")
		for i := range rapid.Int64Range(0, 40).Draw(t, "records") {
			r := Record{
				Offset: offset, LogTime: 1000 + i,
				Tick: tick.Tick{
					Symbol: "A", EventTime: max(1, i*3+rapid.Int64Range(-disorder, disorder).Draw(t, "event time")),
					Seq: rapid.Int64Range(0, 1).Draw(t, "seq"), Source: tick.Source(rapid.Int32Range(1, 2).Draw(t, "source")),
					Size: rapid.Int64Range(0, 100).Draw(t, "size"), Price: tick.Price(rapid.Int64Range(-50, 50).Draw(t, "price")),
				},
			}
			if len(list) > 0 && rapid.IntRange(0, 9).Draw(t, "again") == 0 {
				r.Tick = list[rapid.IntRange(0, len(list)-1).Draw(t, "which")].Tick
			}
			list = append(list, placed{log, r})
			offset += rapid.Int64Range(1, 3).Draw(t, "gap")
		}
	}
	return list
}

// anyRows draws batches that cover the logs, overlap and repeat, and makes their
// rows, in any order.
func anyRows(t *rapid.T, logs []placed) (rows []*Row, load Load) {
	stored := map[*Row][]Record{}
	for log := range int32(2) {
		var records []Record
		for _, p := range logs {
			if p.log == log {
				records = append(records, p.Record)
			}
		}
		for round := range 2 {
			for at := 0; at < len(records); {
				from := max(0, at-round*rapid.IntRange(0, 10).Draw(t, "back"))
				to := min(len(records), at+rapid.IntRange(1, 10).Draw(t, "length"))
				part := records[from:to]
				at = to
				if round == 1 && rapid.Bool().Draw(t, "not again") {
					continue
				}
				summary, _ := build(part)
				row := &Row{Log: log, Symbol: "A", First: part[0].Offset, Last: part[len(part)-1].Offset, Summary: summary}
				if slices.ContainsFunc(rows, func(o *Row) bool { return o.Log == log && o.First == row.First && o.Last == row.Last }) {
					continue // it has the same key
				}
				rows = append(rows, row)
				stored[row] = part
			}
		}
	}
	rows = rapid.Permutation(rows).Draw(t, "order")
	return rows, func(r *Row) ([]Record, error) { return stored[r], nil }
}

func TestAnyChunksOfLogsAddUpToTheTradesAndToTheRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logs := anyLogs(t)
		rows, load := anyRows(t, logs)

		var want window.State
		var ticks []Record
		seen := map[tick.ID]bool{}
		for _, p := range logs {
			if !seen[p.ID()] {
				seen[p.ID()] = true
				want.Add(p.Point(), p.Size)
				ticks = append(ticks, p.Record)
			}
		}
		got, repeats, err := Trades(rows, load)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("trades: %s", diff)
		}
		if want := int64(len(logs) - len(seen)); repeats != want {
			t.Fatalf("%d repeats, want %d", repeats, want)
		}

		next := rapid.Int64Range(0, 120).Draw(t, "next")
		until := rapid.Int64Range(995, 1045).Draw(t, "until")
		for log := range int32(2) {
			var want window.State
			for _, p := range logs {
				if p.log == log && p.Offset < next && p.LogTime <= until {
					want.Add(p.Point(), p.Size)
				}
			}
			var own []*Row
			for _, r := range rows {
				if r.Log == log {
					own = append(own, r)
				}
			}
			got, err := Records(own, next, until, load)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("records of log %d below %d until %d: %s", log, next, until, diff)
			}
		}

		for _, r := range rows {
			if r.Records, err = load(r); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortStableFunc(ticks, func(a, b Record) int { return int(a.EventTime - b.EventTime) })
		if diff := cmp.Diff(ticks, Ticks(rows)); diff != "" {
			t.Fatalf("ticks: %s", diff)
		}
	})
}

func TestSummariesSufficeWhereBatchesFollowEachOther(t *testing.T) {
	var rows []*Row
	var want window.State
	for n := range int64(5) {
		var part []Record
		for i := range int64(10) {
			// The last trade of a chunk and the first of the next are of one millisecond.
			r := Record{Offset: n*10 + i, LogTime: 5, Tick: tick.Tick{Symbol: "A", EventTime: 1 + (n*10+i+1)/10, Seq: i, Price: 7, Size: 1}}
			r.Seq = r.Offset
			part = append(part, r)
			want.Add(r.Point(), r.Size)
		}
		summary, _ := build(part)
		rows = append(rows, &Row{Symbol: "A", First: part[0].Offset, Last: part[9].Offset, Summary: summary})
	}
	load := func(*Row) ([]Record, error) { return nil, errors.New("a chunk is decoded") }
	got, repeats, err := Trades(rows, load)
	if diff := cmp.Diff(want, got); diff != "" || repeats != 0 || err != nil {
		t.Errorf("trades: %s, %d repeats, error %v", diff, repeats, err)
	}
	got, err = Records(rows, 1000, 1000, load)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("records: %s, error %v", diff, err)
	}
}

func TestAChunkThatCannotBeReadIsAnErrorNotASmallerSum(t *testing.T) {
	unread := errors.New("no answer")
	load := func(*Row) ([]Record, error) { return nil, unread }
	summary, _ := build([]Record{
		{Offset: 1, Tick: tick.Tick{Symbol: "A", EventTime: 1, Price: 1}},
		{Offset: 2, Tick: tick.Tick{Symbol: "A", EventTime: 1, Price: 1}},
	})
	rows := []*Row{{Symbol: "A", First: 1, Last: 2, Summary: summary}}
	if state, _, err := Trades(rows, load); !errors.Is(err, unread) || state.Count != 0 {
		t.Errorf("trades: %+v, error %v", state, err)
	}
	if state, err := Records(rows, 2, 9, load); !errors.Is(err, unread) || state.Count != 0 {
		t.Errorf("records: %+v, error %v", state, err)
	}
}
