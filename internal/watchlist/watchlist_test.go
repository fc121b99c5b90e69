package watchlist

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
)

func TestTheListKeepsWhatItIsTold(t *testing.T) {
	cfg := testbed.Cassandra(t)
	lazy := store.NewLazy(func() (store.Config, error) { return cfg, nil })
	ctx := t.Context()
	l := New(lazy)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	have := func(want ...Symbol) {
		t.Helper()
		got, err := l.List(ctx)
		do(err)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Symbol{}, "AddedAt", "CheckedAt"), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		for _, s := range got {
			if age := time.Since(time.UnixMilli(s.AddedAt)); age < 0 || age > time.Hour {
				t.Errorf("%s was added %s ago", s.Symbol, age)
			}
		}
	}

	have()
	do(l.Seed(ctx, []string{"MSFT", "AAPL", "NO,SUCH"}))
	have(Symbol{Symbol: "AAPL"}, Symbol{Symbol: "MSFT"})

	removed, err := l.Remove(ctx, "AAPL")
	do(err)
	again, err := l.Remove(ctx, "AAPL")
	do(err)
	if !removed || again {
		t.Errorf("removed: %v, then %v", removed, again)
	}
	// Another process that found the list unseeded a moment before.
	s, err := lazy.Get(ctx)
	do(err)
	do(s.SeedWatched(ctx, list, []string{"AAPL", "MSFT"}, time.Now().UnixMilli()))
	have(Symbol{Symbol: "MSFT"})

	// What is said of a symbol that was just removed does not bring it back.
	do(l.Name(ctx, "AAPL", "Apple Inc.", "NMS"))
	do(l.MarkUnknown(ctx, "AAPL", "silence"))
	have(Symbol{Symbol: "MSFT"})
	claimed, err := l.Claim(ctx, []string{"AAPL", "MSFT"}, "one", time.Minute)
	do(err)
	if !slices.Equal(claimed, []string{"MSFT"}) {
		t.Errorf("claimed %v", claimed)
	}

	// A claim is one owner's until it is released or has run out.
	claimed, err = l.Claim(ctx, []string{"MSFT"}, "two", time.Minute)
	do(err)
	do(l.Release(ctx, []string{"MSFT"}, "two"))
	if len(claimed) != 0 {
		t.Errorf("a second owner claimed %v", claimed)
	}
	have(Symbol{Symbol: "MSFT", StreamedBy: "one"})
	do(l.Release(ctx, []string{"MSFT"}, "one"))
	have(Symbol{Symbol: "MSFT"})
	_, err = l.Claim(ctx, []string{"MSFT"}, "two", time.Second)
	do(err)
	testbed.Eventually(t, 20*time.Second, "the claim has run out", func() bool {
		got, err := l.List(ctx)
		return err == nil && got[0].StreamedBy == ""
	})

	do(l.Name(ctx, "MSFT", "Microsoft", "NMS"))
	do(l.MarkUnknown(ctx, "MSFT", "silence"))
	have(Symbol{Symbol: "MSFT", Name: "Microsoft", Exchange: "NMS", Unknown: true, Reason: "silence"})
	add := func(symbol string, want bool) {
		t.Helper()
		added, err := l.Add(ctx, symbol, 2)
		do(err)
		if added != want {
			t.Errorf("adding %s: %v", symbol, added)
		}
	}
	add("MSFT", true) // asked for again
	add("MSFT", false)
	add("AAPL", true)
	have(Symbol{Symbol: "AAPL", Name: "Apple Inc.", Exchange: "NMS"}, Symbol{Symbol: "MSFT", Name: "Microsoft", Exchange: "NMS"})
	_, err = l.Add(ctx, "KO", 2)
	if full := FullError(0); !errors.As(err, &full) || full != 2 {
		t.Errorf("adding to a full list: %v", err)
	}

	// A list that was emptied stays empty for whoever starts afterwards.
	for _, symbol := range []string{"AAPL", "MSFT"} {
		_, err := l.Remove(ctx, symbol)
		do(err)
	}
	l = New(lazy)
	do(l.Seed(ctx, []string{"AAPL"}))
	have()
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"AAPL": "AAPL", " brk-b ": "BRK-B", "^gspc": "^GSPC", "EURUSD=X": "EURUSD=X", "M&M.NS": "M&M.NS", "0700.HK": "0700.HK",
		"NIFTY_MID.NS": "NIFTY_MID.NS", "AAPL250117C00150000": "AAPL250117C00150000",
		"": "", " ": "", "A,B": "", "A B": "", "A\nB": "", `A"`: "", "ÄÖ": "", "A/B": "", "../..": "", "...": "", "A%2F": "",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456": "",
	} {
		got, err := Parse(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("^gspc")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(s); err != nil || again != s {
			t.Errorf("%q is %q, then %q, %v", text, s, again, err)
		}
		if list := ParseList(s); len(list) != 1 || list[0] != s {
			t.Errorf("a list of %q is %q", s, list)
		}
	})
}

func TestParseList(t *testing.T) {
	got := ParseList(" aapl,MSFT;^GSPC\nAAPL,, ")
	if want := []string{"AAPL", "MSFT", "^GSPC"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := ParseList(" , "); len(got) != 20 {
		t.Errorf("%d default symbols", len(got))
	}
}

func FuzzSymbolOf(f *testing.F) {
	f.Add("symbol=aapl", []byte(nil))
	f.Add("", []byte(`{"symbol":"^gspc"}`))
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		s, err := symbolOf(query, body)
		if err != nil {
			return
		}
		if again, err := Parse(s); err != nil || again != s {
			t.Errorf("%q of %q and %q: %v", s, query, body, err)
		}
	})
}
