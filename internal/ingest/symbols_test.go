package ingest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

// exchange answers for the symbols that it knows, and remembers for which it was asked.
type exchange struct {
	volume int64
	knows  map[string]yahoo.Quote
	asked  []string
}

func (e *exchange) Quotes(_ context.Context, symbols []string) (a yahoo.Answer, err error) {
	e.asked = symbols
	for _, s := range symbols {
		q, ok := e.knows[s]
		if !ok {
			a.Unknown = append(a.Unknown, s)
			continue
		}
		trade := share(at(13, 10, 0, 0)+e.volume*1000, e.volume)
		trade.Name, trade.Exchange = q.Name, q.Exchange
		a.Quotes = append(a.Quotes, named(s, trade))
	}
	return a, nil
}

func TestStreamedSymbolsAreLeftAloneAndThenFollowTheStream(t *testing.T) {
	e := &exchange{volume: 100, knows: map[string]yahoo.Quote{"A": {}, "B": {}}}
	w, l := watch("A", "B"), &log{}
	f := NewFetcher(w, e, l, l, tick.Protobuf)
	fetch := func(published, unchanged, skipped int) {
		t.Helper()
		sum, err := f.Fetch(t.Context())
		if err != nil || sum.Published != published || sum.Unchanged != unchanged || sum.Skipped != skipped || sum.Asked != 2-skipped {
			t.Errorf("summary %+v, error %v", sum, err)
		}
	}
	fetch(2, 0, 0)
	w.symbols[0].StreamedBy = "the streamer"
	e.volume = 150
	fetch(1, 0, 1)
	if !slices.Equal(e.asked, []string{"B"}) {
		t.Errorf("asked for %v", e.asked)
	}
	// The stream saw the trade of volume 150, and that of 130 before it.
	for volume, size := range map[int64]int64{130: 30, 150: 20} {
		l.ticks = append(l.ticks, tick.Tick{
			Symbol: "A", EventTime: at(13, 10, 0, 0) + volume*1000 + 345, Price: 1, Seq: volume, DayVolume: volume, Size: size, Source: tick.SourceYahooStream,
		})
	}
	slices.SortFunc(l.ticks, func(a, b tick.Tick) int { return int(a.EventTime - b.EventTime) })
	w.symbols[0].StreamedBy = "" // the claim has run out
	fetch(0, 2, 0)
	e.volume = 160
	fetch(2, 0, 0)
	sums := map[string]int64{}
	for _, tk := range l.ticks {
		sums[tk.Symbol] += tk.Size
	}
	if sums["A"] != 60 || sums["B"] != 60 {
		t.Errorf("sizes add up to %v, want 60 each", sums)
	}
}

func TestTheNameOfAStreamedSymbolIsAskedForAndItsTradeIsNotPublished(t *testing.T) {
	e := &exchange{volume: 100, knows: map[string]yahoo.Quote{"A": {Name: "Able", Exchange: "NMS"}, "B": {}}}
	w, l := watch("A", "B"), &log{}
	w.symbols[0].StreamedBy, w.symbols[1].StreamedBy = "the streamer", "the streamer"
	f := NewFetcher(w, e, l, l, tick.Protobuf)
	for call, asked := range []int{2, 0} {
		sum, err := f.Fetch(t.Context())
		if err != nil || sum.Asked != asked || sum.Published != 0 || sum.Skipped != 2 || len(l.ticks) != 0 {
			t.Errorf("call %d: summary %+v, error %v, %d ticks", call, sum, err, len(l.ticks))
		}
	}
	if w.symbols[0].Name != "Able" || w.symbols[0].Exchange != "NMS" {
		t.Errorf("the list has %+v", w.symbols[0])
	}
}

func TestUnknownSymbolsAreMarkedAndRarelyAskedForAgain(t *testing.T) {
	e := &exchange{volume: 1, knows: map[string]yahoo.Quote{"A": {}}}
	w, l := watch("A", "NOSUCH"), &log{}
	f := NewFetcher(w, e, l, l, tick.Protobuf)
	now := time.Now()
	f.now = func() time.Time { return now }
	fetch := func(asked ...string) {
		t.Helper()
		sum, err := f.Fetch(t.Context())
		if err != nil || !slices.Equal(e.asked, asked) || len(sum.Unknown) != 2-len(e.knows) || sum.Asked != len(asked) {
			t.Errorf("asked for %v, summary %+v, error %v", e.asked, sum, err)
		}
	}
	fetch("A", "NOSUCH")
	s := &w.symbols[1]
	if !s.Unknown || s.Reason == "" {
		t.Errorf("marked as %+v", s)
	}
	fetch("A")
	now = now.Add(firstRecheck - time.Second)
	fetch("A")
	now = now.Add(2 * time.Second)
	fetch("A", "NOSUCH")
	if len(w.said) != 2 { // so that the time of the check is known
		t.Errorf("told %v", w.said)
	}
	for _, c := range []struct {
		age, after time.Duration
	}{{5 * time.Hour, 5 * time.Hour}, {240 * time.Hour, lastRecheck}} {
		s.AddedAt = s.CheckedAt - c.age.Milliseconds()
		if got := recheck(s).Sub(time.UnixMilli(s.CheckedAt)); got != c.after {
			t.Errorf("on the list for %s, asked for again after %s", c.age, got)
		}
	}
	s.Unknown = false // added again
	e.knows["NOSUCH"] = yahoo.Quote{Name: "There is one"}
	fetch("A", "NOSUCH")
	if s.Name != "There is one" || s.Unknown {
		t.Errorf("now known: %+v", s)
	}
	fetch("A", "NOSUCH")
	if len(w.said) != 3 {
		t.Errorf("told %v, although nothing changed", w.said)
	}
}

func TestAnAnswerThatLacksMuchMarksNothingAtOnce(t *testing.T) {
	e := &exchange{volume: 1, knows: map[string]yahoo.Quote{"A": {Name: "Alpha"}, "B": {Name: "Beta"}}}
	w, l := watch("A", "B", "C"), &log{}
	f := NewFetcher(w, e, l, l, tick.Protobuf)
	fetch := func(times int) {
		t.Helper()
		for range times {
			if _, err := f.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	unknown := func(want string) {
		t.Helper()
		var got []string
		for _, s := range w.symbols {
			if s.Unknown {
				got = append(got, s.Symbol)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("unknown are %q, want %q", text, want)
		}
	}
	known := e.knows
	e.knows = nil
	fetch(proofsDoubt - 1)
	unknown("")
	e.knows = map[string]yahoo.Quote{"A": known["A"]}
	fetch(1)
	unknown("B C") // both were left out often enough, beside A at last
	w.symbols[1].Unknown, w.symbols[1].Name = false, "Beta"
	e.knows = known
	fetch(1)
	delete(e.knows, "B")
	fetch(proofsDoubt - 1)
	unknown("C")
	fetch(1)
	unknown("B C")
}

func TestWithoutTheListTheLastOneIsUsed(t *testing.T) {
	e := &exchange{volume: 1, knows: map[string]yahoo.Quote{"A": {}, "B": {}}}
	w, l := watch("A"), &log{}
	w.away = errors.New("no Cassandra")
	f := NewFetcher(w, e, l, l, tick.Protobuf)
	var part *PartError
	if _, err := f.Fetch(t.Context()); !errors.As(err, &part) || part.Part != PartWatch || !errors.Is(err, w.away) {
		t.Errorf("error %v", err)
	}
	w.away = nil
	if sum, err := f.Fetch(t.Context()); err != nil || sum.Published != 1 || sum.Stale != "" {
		t.Errorf("summary %+v, error %v", sum, err)
	}
	w.away = errors.New("no Cassandra")
	e.volume = 2
	if sum, err := f.Fetch(t.Context()); err != nil || sum.Published != 1 || !strings.Contains(sum.Stale, "no Cassandra") {
		t.Errorf("summary %+v, error %v", sum, err)
	}
	// A symbol of which nothing is known waits, and holds up no other.
	w.away, w.symbols = nil, watch("A", "B").symbols
	f.memory = noMemory{}
	e.volume = 3
	sum, err := f.Fetch(t.Context())
	if err != nil || sum.Published != 1 || len(sum.Failed) != 1 || sum.Failed[0].Symbol != "B" || sum.Asked != 1 {
		t.Errorf("summary %+v, error %v", sum, err)
	}
	f.memory = l
	if sum, err := f.Fetch(t.Context()); err != nil || sum.Published != 1 || sum.Unchanged != 1 {
		t.Errorf("summary %+v, error %v", sum, err)
	}
	// What is off the list leaves nothing behind.
	w.symbols = nil
	if sum, err := f.Fetch(t.Context()); err != nil || sum.Asked != 0 || len(f.last)+len(f.sure)+len(f.silent) > 0 {
		t.Errorf("summary %+v, error %v, kept %v %v %v", sum, err, f.last, f.sure, f.silent)
	}
}
