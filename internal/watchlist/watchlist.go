// Package watchlist is the list of symbols that Ticktape works from: what fetch
// asks for, what the streamer subscribes to and what backfill brings the history of.
// It lives in Cassandra, so that all of them see the same, and what a user takes off
// stays off.
//
// It also holds who feeds a symbol. A claim says that the streamer does; whoever
// polls leaves claimed symbols alone.
package watchlist

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"ticktape/internal/store"
)

// list is the name of the only list there is.
const list = "default"

// DefaultSymbols are on the list at first where SYMBOLS names none: shares, an
// ETF, an index, a currency pair, a future and a crypto pair.
const DefaultSymbols = "AAPL,MSFT,NVDA,AMZN,GOOGL,META,TSLA,BRK-B,JPM,V,WMT,KO,NFLX,AMD,SAP.DE,SPY,^GSPC,EURUSD=X,GC=F,BTC-USD"

// Symbol is an entry of the list.
type Symbol = store.Watched

// List is the watch list. It is safe for concurrent use, by any number of
// processes. Its errors are Cassandra's unless a method says otherwise; after one,
// what was written may have taken effect.
type List struct {
	store *store.Lazy
	seeds []string
	// seeded is set once the list is known to have had its first symbols.
	seeded atomic.Bool
}

// New makes a List that connects when it is first used.
func New(s *store.Lazy) *List { return &List{store: s} }

// NewSeeded makes a List that seeds itself when it is first read.
func NewSeeded(s *store.Lazy, symbols []string) *List { return &List{store: s, seeds: symbols} }

// List returns all entries in the order of their symbols' bytes, those that the
// source does not know included. Idempotent.
func (l *List) List(ctx context.Context) ([]Symbol, error) {
	if l.seeds != nil {
		if err := l.Seed(ctx, l.seeds); err != nil {
			return nil, err
		}
	}
	s, err := l.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	symbols, _, err := s.ReadWatched(ctx, list)
	return symbols, err
}

// Seed gives the list its first symbols, once in its life: a list that somebody
// has emptied stays empty. What is no symbol is logged and left out. Idempotent; it
// costs nothing after the first time.
func (l *List) Seed(ctx context.Context, symbols []string) error {
	if l.seeded.Load() {
		return nil
	}
	s, err := l.store.Get(ctx)
	if err != nil {
		return err
	}
	_, seeded, err := s.ReadWatched(ctx, list)
	if err != nil {
		return err
	}
	if !seeded {
		var sound, bad []string
		for _, name := range symbols {
			if _, err := Parse(name); err != nil {
				bad = append(bad, name)
				continue
			}
			sound = append(sound, name)
		}
		if len(bad) > 0 {
			slog.Warn("SYMBOLS names what can't be a symbol; it is left out of the watch list", "symbols", bad)
		}
		if err := s.SeedWatched(ctx, list, sound, time.Now().UnixMilli()); err != nil {
			return err
		}
		slog.Info("the watch list has its first symbols", "symbols", len(sound))
	}
	l.seeded.Store(true)
	return nil
}

// FullError says that the list has as many symbols as it may have.
type FullError int

func (e FullError) Error() string {
	return fmt.Sprintf("the watch list is full: it has %d symbols, which is the limit (WATCHLIST_LIMIT)", int(e))
}

// Add puts a symbol, in the form that Parse returns, on the list and tells
// whether that changed it. One that is there stays as it is, unless the source did
// not know it: then it is as if it were new, and asked for again. The error is a
// FullError where the list has limit symbols already; those who add at the same
// moment may exceed it together. Idempotent.
func (l *List) Add(ctx context.Context, symbol string, limit int) (added bool, err error) {
	symbols, err := l.List(ctx)
	if err != nil {
		return false, err
	}
	for i := range symbols {
		if symbols[i].Symbol != symbol {
			continue
		}
		if !symbols[i].Unknown {
			return false, nil
		}
		limit = len(symbols) + 1
	}
	if len(symbols) >= limit {
		return false, FullError(limit)
	}
	s, err := l.store.Get(ctx)
	if err != nil {
		return false, err
	}
	return true, s.WriteWatched(ctx, list, symbol, time.Now().UnixMilli())
}

// Remove takes a symbol off the list and tells whether it was on it. Idempotent.
func (l *List) Remove(ctx context.Context, symbol string) (removed bool, err error) {
	symbols, err := l.List(ctx)
	if err != nil {
		return false, err
	}
	for i := range symbols {
		removed = removed || symbols[i].Symbol == symbol
	}
	s, err := l.store.Get(ctx)
	if err != nil {
		return false, err
	}
	return removed, s.DeleteWatched(ctx, list, symbol)
}

// MarkUnknown says that the source does not know a symbol, and why that is
// believed. It stays on the list. Idempotent.
func (l *List) MarkUnknown(ctx context.Context, symbol, reason string) error {
	s, err := l.store.Get(ctx)
	if err != nil {
		return err
	}
	return s.MarkWatchedUnknown(ctx, list, symbol, reason, time.Now().UnixMilli())
}

// Name says that the source knows a symbol, and by which name and at which
// exchange. Call it where that differs from what the list has. Idempotent.
func (l *List) Name(ctx context.Context, symbol, name, exchange string) error {
	s, err := l.store.Get(ctx)
	if err != nil {
		return err
	}
	return s.NameWatched(ctx, list, symbol, name, exchange, time.Now().UnixMilli())
}

// Delay says how many minutes the source's data of a symbol lag behind its
// exchange, 0 where they do not. Call it where that differs from what the list has.
// Idempotent.
func (l *List) Delay(ctx context.Context, symbol string, minutes int) error {
	s, err := l.store.Get(ctx)
	if err != nil {
		return err
	}
	return s.DelayWatched(ctx, list, symbol, minutes)
}

// Claim says that owner, a name that no other process has, feeds the symbols from
// now on for the time ttl (whole seconds), and returns those of which that is so:
// without the ones that another owner has a live claim of, or that are not on the
// list. Fetch leaves them alone from its next call on. A call that began before may
// still publish, so an owner publishes nothing of a symbol until the longest time
// that such a call takes has passed, and it has read again what was published last.
//
// A claim is renewed by claiming again, well before ttl is over; an owner that did
// not manage to stops publishing before ttl is over. Of two owners that claim at the
// same moment both may be told that they succeeded; one of them loses the symbols
// at its next renewal, so that each should have renewed once before it publishes.
func (l *List) Claim(ctx context.Context, symbols []string, owner string, ttl time.Duration) (claimed []string, err error) {
	claimed, err = l.claimable(ctx, symbols, func(s *Symbol) bool { return s.StreamedBy == "" || s.StreamedBy == owner })
	if err != nil || len(claimed) == 0 {
		return nil, err
	}
	s, err := l.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.ClaimWatched(ctx, list, claimed, owner, ttl); err != nil {
		return nil, err
	}
	return claimed, nil
}

// Release ends the claims that owner has of the symbols. Whoever feeds them next
// may begin at once, so nothing may be published after it is called. Idempotent.
func (l *List) Release(ctx context.Context, symbols []string, owner string) error {
	owned, err := l.claimable(ctx, symbols, func(s *Symbol) bool { return s.StreamedBy == owner })
	if err != nil || len(owned) == 0 {
		return err
	}
	s, err := l.store.Get(ctx)
	if err != nil {
		return err
	}
	return s.ReleaseWatched(ctx, list, owned)
}

// claimable returns those of the symbols that are on the list and as asked for.
func (l *List) claimable(ctx context.Context, symbols []string, ok func(*Symbol) bool) ([]string, error) {
	all, err := l.List(ctx)
	if err != nil {
		return nil, err
	}
	fit := map[string]bool{}
	for i := range all {
		fit[all[i].Symbol] = ok(&all[i])
	}
	var out []string
	for _, s := range symbols {
		if fit[s] {
			out = append(out, s)
		}
	}
	return out, nil
}

// maxSymbol is the most characters that a symbol has; Yahoo's longest, of
// options, have about 21.
const maxSymbol = 32

// Parse returns a symbol in capital letters, or an error that says what is wrong
// with its form. Yahoo's symbols are letters, digits and a few signs: BRK-B,
// SAP.DE, ^GSPC, EURUSD=X, M&M.NS.
func Parse(text string) (string, error) {
	s := strings.ToUpper(strings.TrimSpace(text))
	if s == "" {
		return "", fmt.Errorf("the symbol is empty: give one, such as AAPL")
	}
	if len(s) > maxSymbol {
		return "", fmt.Errorf("symbol %.40q is too long: at most %d characters", s, maxSymbol)
	}
	letters := false
	for i := range len(s) {
		c := s[i]
		letter := c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		letters = letters || letter
		if !letter && !strings.ContainsRune(".-^=&_$", rune(c)) {
			return "", fmt.Errorf("symbol %.40q has a character that no symbol has: letters, digits and . - ^ = & _ $ are allowed", s)
		}
	}
	if !letters {
		return "", fmt.Errorf("symbol %q has no letter or digit", s)
	}
	return s, nil
}

// ParseList reads the value of SYMBOLS: symbols with commas, semicolons or white
// space between them. It returns them in capital letters and each once, whatever
// their form; an empty list means DefaultSymbols.
func ParseList(text string) []string {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || r <= ' ' })
	}
	fields := split(text)
	if len(fields) == 0 {
		fields = split(DefaultSymbols)
	}
	var symbols []string
	seen := map[string]bool{}
	for _, f := range fields {
		f = strings.ToUpper(f)
		if !seen[f] {
			seen[f] = true
			symbols = append(symbols, f)
		}
	}
	return symbols
}
