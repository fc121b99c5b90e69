package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/tick"
	"ticktape/internal/watchlist"
	"ticktape/internal/yahoo"
)

// Quoter tells the latest trades, as *yahoo.Client does.
type Quoter interface {
	Quotes(ctx context.Context, symbols []string) (yahoo.Answer, error)
}

// Publisher writes to topic "ticks", as *bus.Producer does. An error that is a
// *bus.PublishError says which messages are not known to be written.
type Publisher interface {
	Publish(ctx context.Context, msgs []kafka.Message) error
}

// Memory tells what was published before the process began.
type Memory interface {
	// Published returns the latest published tick of each symbol, polled or
	// streamed, and apart from it the latest simulated one. It
	// must not miss one that was acknowledged before it was called.
	Published(ctx context.Context, symbols []string) ([]tick.Tick, error)
}

// Watch tells which symbols to ask for, and is told what Yahoo knows of them, as
// *watchlist.List does.
type Watch interface {
	List(ctx context.Context) ([]watchlist.Symbol, error)
	MarkUnknown(ctx context.Context, symbol, reason string) error
	Name(ctx context.Context, symbol, name, exchange string) error
	Delay(ctx context.Context, symbol string, minutes int) error
}

// Fetcher publishes new trades. Its calls take turns.
type Fetcher struct {
	watch    Watch
	quotes   Quoter
	ticks    Publisher
	memory   Memory
	encoding tick.Encoding
	now      func() time.Time

	turn   chan struct{} // holds the token of whoever uses what is below
	list   []watchlist.Symbol
	read   time.Time       // when list was read, zero where it never was
	sure   map[string]bool // symbols whose last tick is in last, or who have none
	last   map[feed]*Last
	met    map[string]bool // Yahoo has answered with it
	silent map[string]int  // for how many answers running Yahoo has left a symbol out
	said   string          // the complaints that were logged last
}

// feed is what has one order of trades: a symbol, polled or streamed, of the
// real market or of a simulated one.
type feed struct {
	simulated bool
	symbol    string
}

func feedOf(source tick.Source, symbol string) feed {
	return feed{source == tick.SourceSimulated, symbol}
}

// NewFetcher makes a Fetcher that works from a watch list.
func NewFetcher(watch Watch, quotes Quoter, ticks Publisher, memory Memory, encoding tick.Encoding) *Fetcher {
	return &Fetcher{
		watch: watch, quotes: quotes, ticks: ticks, memory: memory, encoding: encoding, now: time.Now,
		turn: make(chan struct{}, 1), sure: map[string]bool{}, last: map[feed]*Last{}, silent: map[string]int{}, met: map[string]bool{},
	}
}

// Summary is what a call has done. Each symbol of the watch list is counted once:
// published, unchanged, skipped, unknown or failed.
type Summary struct {
	// Asked is for how many symbols Yahoo was asked.
	Asked     int `json:"asked"`
	Published int `json:"published"`
	// Unchanged symbols have not traded since their last published tick, or
	// Yahoo's answer was older than that.
	Unchanged int `json:"unchanged"`
	// Skipped symbols are streamed and so not asked for.
	Skipped int `json:"skipped"`
	// Unknown are the symbols that Yahoo does not know. Those that are marked as
	// such in the watch list are asked for again from time to time only.
	Unknown []string `json:"unknown"`
	// Failed are the symbols whose quote can't be used or could not be had.
	Failed []Failure `json:"failed"`
	TookMs int64     `json:"took_ms"`
	// Source is "yahoo" or "simulated", "mixed" where quotes of both came, and
	// empty where none did.
	Source string `json:"source"`
	// Circuit is the state of Yahoo's client: closed, open where nothing is asked
	// because too much has failed, or half-open.
	Circuit string `json:"circuit,omitempty"`
	// Stale says why the watch list could not be read and of when the one is that
	// was used instead; empty where it was read.
	Stale string `json:"stale,omitempty"`
}

// Failure is a symbol that there is no tick of, and why.
type Failure struct {
	Symbol string `json:"symbol"`
	Reason string `json:"reason"`
}

// The parts that a Fetcher needs, as PartError names them.
const (
	PartYahoo  = "yahoo"
	PartKafka  = "kafka"
	PartMemory = "memory"
	PartWatch  = "watch list"
)

// PartError says that a call could not do its job, and on which part it failed.
type PartError struct {
	Part string
	Err  error
}

func (e *PartError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PartError) Unwrap() error { return e.Err }

// maxAhead is how far a trade's time may be ahead of our clock. A time far in
// the future would hide all trades until then.
const maxAhead = 5 * time.Minute

// Fetch asks for the latest trades and publishes those that have not been
// published. What is published and acknowledged is remembered even where it
// returns an error, which is a *PartError; nothing else is. The summary is
// filled as far as it came.
func (f *Fetcher) Fetch(ctx context.Context) (Summary, error) {
	began := time.Now()
	sum := Summary{Unknown: []string{}, Failed: []Failure{}}
	err := f.fetch(ctx, &sum)
	sum.TookMs = time.Since(began).Milliseconds()
	return sum, err
}

func (f *Fetcher) fetch(ctx context.Context, sum *Summary) error {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return &PartError{PartKafka, fmt.Errorf("the call before is still publishing: %w", ctx.Err())}
	}
	release := func() { <-f.turn }
	defer func() { release() }()
	if err := f.readList(ctx, sum); err != nil {
		return err
	}
	symbols, nameless := f.plan(sum)
	symbols, err := f.recall(ctx, symbols, sum)
	if err != nil || len(symbols)+len(nameless) == 0 {
		return err
	}
	polls := len(symbols) > 0
	symbols = append(symbols, nameless...)
	sum.Asked = len(symbols)
	answer, err := f.quotes.Quotes(ctx, symbols)
	if err != nil && len(answer.Quotes) == 0 {
		if !polls { // names can wait
			return nil
		}
		return &PartError{PartYahoo, err}
	}
	received := f.now()
	sum.Unknown = append(sum.Unknown, answer.Unknown...)
	for _, e := range answer.Failed {
		sum.Failed = append(sum.Failed, Failure(e))
	}
	polled := slices.DeleteFunc(slices.Clone(answer.Quotes), func(q yahoo.Quote) bool { return slices.Contains(nameless, q.Symbol) })
	fresh, messages := f.fresh(polled, received, sum)
	f.complain(sum)
	defer f.learn(ctx, &answer)
	if len(messages) == 0 {
		return nil
	}
	// A caller that leaves must not leave the end of a publication unknown. So
	// that goes on without it, bounded by the producer's own limits, and the next
	// call waits for its turn.
	done := make(chan error, 1)
	go func() { done <- f.ticks.Publish(context.WithoutCancel(ctx), messages) }()
	select {
	case err := <-done:
		return f.settle(fresh, err, sum)
	case <-ctx.Done():
		for _, l := range fresh {
			delete(f.sure, l.Symbol)
		}
		finish := release
		release = func() {}
		go func() { <-done; finish() }()
		return &PartError{PartKafka, fmt.Errorf("%d ticks are not acknowledged yet: %w", len(messages), ctx.Err())}
	}
}

// fresh makes the ticks that are to be published and their messages. A quote of
// an extended session brings the last regular trade too, where that is new.
func (f *Fetcher) fresh(quotes []yahoo.Quote, received time.Time, sum *Summary) (fresh []*Last, messages []kafka.Message) {
	for i := range quotes {
		q := &quotes[i]
		switch source := q.Source.String(); sum.Source {
		case "", source:
			sum.Source = source
		default:
			sum.Source = "mixed"
		}
		fail := func(reason string) {
			sum.Failed = append(sum.Failed, Failure{q.Symbol, reason})
		}
		if ahead := time.UnixMilli(q.Time).Sub(received); ahead > maxAhead {
			fail(fmt.Sprintf("its trade is %s in the future: check this machine's clock", ahead.Round(time.Second)))
			continue
		}
		before := f.last[feedOf(q.Source, q.Symbol)]
		unchanged := true
		for _, trade := range []*yahoo.Quote{q.Regular, q} {
			if trade == nil {
				continue
			}
			next, order := Follow(trade, before, received.UnixMilli())
			if order <= 0 {
				continue
			}
			unchanged = false
			if err := next.Validate(); err != nil {
				fail(err.Error())
				break
			}
			value, err := f.encoding.Append(nil, &next.Tick)
			if err != nil {
				fail(err.Error())
				break
			}
			before = &next
			fresh = append(fresh, &next)
			messages = append(messages, kafka.Message{
				Key: []byte(next.Symbol), Value: value,
				Headers: []kafka.Header{{Key: "content-type", Value: []byte(f.encoding.ContentType())}},
			})
		}
		if unchanged {
			sum.Unchanged++
		}
	}
	return fresh, messages
}

// settle remembers what of the fresh ticks was acknowledged.
func (f *Fetcher) settle(fresh []*Last, err error, sum *Summary) error {
	lost := map[int]bool{}
	var partial *bus.PublishError
	if errors.As(err, &partial) {
		for _, i := range partial.Failed {
			lost[i] = true
		}
	}
	failed, published := "", ""
	for i, l := range fresh {
		if err != nil && (partial == nil || lost[i]) {
			if failed != l.Symbol {
				sum.Failed = append(sum.Failed, Failure{l.Symbol, err.Error()})
			}
			failed = l.Symbol
			// It may have been written all the same: the log will tell.
			delete(f.sure, l.Symbol)
			continue
		}
		if published != l.Symbol && failed != l.Symbol {
			sum.Published++
		}
		published = l.Symbol
		f.last[feedOf(l.Source, l.Symbol)] = l
	}
	if err != nil {
		return &PartError{PartKafka, err}
	}
	return nil
}

// complain logs which symbols bring nothing, when that changes.
func (f *Fetcher) complain(sum *Summary) {
	var failed, reasons []string
	for _, e := range sum.Failed {
		failed = append(failed, e.Symbol)
		reasons = append(reasons, e.Symbol+": "+e.Reason)
	}
	said := strings.Join(sum.Unknown, ",") + "|" + strings.Join(failed, ",")
	if said == f.said {
		return
	}
	f.said = said
	if said == "|" {
		slog.Info("all symbols have quotes")
		return
	}
	slog.Warn("symbols without quotes", "unknown", sum.Unknown, "failed", reasons)
}
