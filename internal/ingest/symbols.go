package ingest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo"
)

const (
	// A symbol that Yahoo does not know is asked for again after as long as it has
	// been on the list, but within these limits.
	firstRecheck = time.Hour
	lastRecheck  = 24 * time.Hour
	// An answer without a symbol is proof that Yahoo does not know it if it has
	// others in it. In doubt, where Yahoo knew the symbol before or knows none at
	// all, it takes several answers running.
	proofs      = 1
	proofsDoubt = 12
	// marksAtOnce bounds the writes to the watch list that are under way.
	marksAtOnce = 8
	// maxName is how much of a name is kept.
	maxName = 120
)

// ClaimNotice is how long a claim is there before its owner publishes, unless a
// call of fetch has read it: so one that a fetcher has not seen has published
// nothing if the fetcher reads the list that often.
const ClaimNotice = 30 * time.Second

// readList brings the watch list up to date. Where it can't be read the last one
// goes on to be used: trades of now matter more than changes of the list. A claim
// that is in it counts for as long, which loses no trade twice: without Cassandra
// nothing can be claimed anew.
func (f *Fetcher) readList(ctx context.Context, sum *Summary) error {
	list, err := f.watch.List(ctx)
	if err == nil {
		if f.now().Sub(f.read) > ClaimNotice {
			clear(f.sure) // a claim may have come and gone unseen
		}
		f.list, f.read = list, f.now()
		f.forget()
		return nil
	}
	if f.read.IsZero() {
		return &PartError{PartWatch, err}
	}
	sum.Stale = fmt.Sprintf("the list of %s ago is used, because it can't be read: %v", f.now().Sub(f.read).Round(time.Second), err)
	return nil
}

// forget drops what is known of symbols that are not on the list any more.
func (f *Fetcher) forget() {
	listed := make(map[string]bool, len(f.list))
	for i := range f.list {
		listed[f.list[i].Symbol] = true
	}
	gone := func(symbol string) bool { return !listed[symbol] }
	maps.DeleteFunc(f.sure, func(symbol string, _ bool) bool { return gone(symbol) })
	maps.DeleteFunc(f.met, func(symbol string, _ bool) bool { return gone(symbol) })
	maps.DeleteFunc(f.silent, func(symbol string, _ int) bool { return gone(symbol) })
	maps.DeleteFunc(f.last, func(k feed, _ *Last) bool { return gone(k.symbol) })
}

// plan picks from the watch list what to ask for. What is streamed meanwhile may
// trade, so that the last published tick is not known any more; it is asked for
// only where nobody knows its name yet, which the streamer is not told.
func (f *Fetcher) plan(sum *Summary) (symbols, nameless []string) {
	for i := range f.list {
		s := &f.list[i]
		switch form, err := watchlist.Parse(s.Symbol); {
		case err != nil:
			sum.Failed = append(sum.Failed, Failure{s.Symbol, err.Error()})
		case form != s.Symbol:
			sum.Failed = append(sum.Failed, Failure{s.Symbol, "it is on the watch list in another form than " + form})
		case s.StreamedBy != "":
			sum.Skipped++
			delete(f.sure, s.Symbol)
			if s.Name == "" && !s.Unknown && !f.met[s.Symbol] {
				nameless = append(nameless, s.Symbol)
			}
		case s.Unknown && f.now().Before(recheck(s)):
			sum.Unknown = append(sum.Unknown, s.Symbol)
		default:
			symbols = append(symbols, s.Symbol)
		}
	}
	return symbols, nameless
}

// recheck is when an unknown symbol is asked for again.
func recheck(s *watchlist.Symbol) time.Time {
	age := time.Duration(s.CheckedAt-s.AddedAt) * time.Millisecond
	return time.UnixMilli(s.CheckedAt).Add(max(firstRecheck, min(age, lastRecheck)))
}

// recall reads what was last published of the symbols of which that is not known:
// at the start, after a publication whose end is in doubt, and of those that were
// streamed until now. It returns the symbols that can be asked for.
func (f *Fetcher) recall(ctx context.Context, symbols []string, sum *Summary) (able []string, err error) {
	var missing []string
	for _, s := range symbols {
		if f.sure[s] {
			able = append(able, s)
		} else {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 {
		return able, nil
	}
	published, err := f.memory.Published(ctx, missing)
	if err != nil {
		if len(able) == 0 {
			return nil, &PartError{PartMemory, err}
		}
		for _, s := range missing {
			sum.Failed = append(sum.Failed, Failure{s, fmt.Sprintf("it can't be told what is already published: %v", err)})
		}
		return able, nil
	}
	for _, s := range missing {
		f.sure[s] = true
		delete(f.last, feed{false, s})
		delete(f.last, feed{true, s})
	}
	for _, t := range published {
		l := Remembered(t)
		f.last[feedOf(t.Source, t.Symbol)] = &l
	}
	return symbols, nil
}

// learn brings what an answer says of the symbols themselves to the watch list.
// What can't be written is tried again with the next answer.
func (f *Fetcher) learn(ctx context.Context, answer *yahoo.Answer) {
	if ctx.Err() != nil {
		return
	}
	list := make(map[string]*watchlist.Symbol, len(f.list))
	for i := range f.list {
		list[f.list[i].Symbol] = &f.list[i]
	}
	marks, ctx := errgroup.WithContext(ctx)
	marks.SetLimit(marksAtOnce)
	for i := range answer.Quotes {
		q := &answer.Quotes[i]
		delete(f.silent, q.Symbol)
		f.met[q.Symbol] = true
		s := list[q.Symbol]
		if s == nil {
			continue
		}
		name, exchange := cmp.Or(shorten(q.Name), s.Name), cmp.Or(q.Exchange, s.Exchange)
		if s.Unknown || name != s.Name || exchange != s.Exchange {
			marks.Go(func() error { return f.watch.Name(ctx, s.Symbol, name, exchange) })
		}
		if minutes := int(q.Delay.Minutes()); s.Delay == nil || *s.Delay != minutes {
			marks.Go(func() error { return f.watch.Delay(ctx, s.Symbol, minutes) })
		}
	}
	for _, symbol := range answer.Unknown {
		f.silent[symbol]++
		s := list[symbol]
		if s == nil {
			continue
		}
		needed := proofs
		if !s.Unknown && (s.Name != "" || len(answer.Quotes) == 0) {
			needed = proofsDoubt
		}
		if f.silent[symbol] >= needed {
			marks.Go(func() error { return f.watch.MarkUnknown(ctx, symbol, "Yahoo has no quote of it") })
		}
	}
	if err := marks.Wait(); err != nil {
		slog.Warn("the watch list can't be told what Yahoo knows of its symbols; the next call tries again", "error", err)
	}
}

// shorten bounds a name that is kept.
func shorten(name string) string {
	if r := []rune(name); len(r) > maxName {
		return string(r[:maxName-1]) + "…"
	}
	return name
}
