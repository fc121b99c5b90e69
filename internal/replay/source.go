// Package replay publishes ticks that do not come from Yahoo: from a CSV file,
// or from a seeded market whose every tick can be computed again. It is the load
// of the benchmarks, and a way for users to put a history of their own through
// the pipeline.
//
// It keys and encodes as fetch does, so nothing downstream can tell the
// difference but by the tick's source.
package replay

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"ticktape/internal/tick"
)

// Source gives ticks in the order in which they shall be published.
type Source interface {
	// Next fills in t. It returns io.EOF after the last tick. The strings of t
	// stay valid.
	Next(t *tick.Tick) error
}

// Market describes a seeded market: the same Market always gives the same ticks.
type Market struct {
	Seed uint64
	// Symbols is how many there are. How often each trades follows Zipf's law,
	// as it does in real markets: few symbols make most of the trades.
	Symbols int
	Ticks   int64
	// Start is the event time of the first tick and Span the time that all of
	// them take; in between they are evenly spaced.
	Start time.Time
	Span  time.Duration
}

// zipf is the exponent of the law: with 500 symbols the busiest makes about a
// sixth of all trades.
const zipf = 1.05

// Open starts the market.
func (m Market) Open() (Source, error) {
	switch {
	case m.Symbols < 1 || m.Symbols > 1_000_000:
		return nil, fmt.Errorf("a market of %d symbols: there must be 1 to 1,000,000", m.Symbols)
	case m.Ticks < 0:
		return nil, fmt.Errorf("a market of %d ticks: there can't be fewer than none", m.Ticks)
	case m.Span < 0 || m.Start.UnixMilli() <= 0:
		return nil, errors.New("a market must start after 1970 and not end before it starts")
	}
	r := rand.New(rand.NewPCG(m.Seed, 0x7469636b74617065))
	s := &market{Market: m, random: r, start: m.Start.UnixMilli(), symbols: make([]listing, m.Symbols)}
	for i := range s.symbols {
		// From a few dollars to a few hundred, in whole cents.
		cents := 500 + r.Int64N(50_000)
		s.symbols[i] = listing{name: fmt.Sprintf("SIM%05d", i), price: tick.Price(cents) * cent}
		s.symbols[i].close = s.symbols[i].price
	}
	s.zipf = rand.NewZipf(r, zipf, 1, uint64(m.Symbols-1))
	return s, nil
}

const cent = tick.Unit / 100

type listing struct {
	name         string
	price, close tick.Price
	volume       int64
}

type market struct {
	Market
	random  *rand.Rand
	zipf    *rand.Zipf
	start   int64
	symbols []listing
	n       int64
}

func (m *market) Next(t *tick.Tick) error {
	if m.n == m.Ticks {
		return io.EOF
	}
	l := &m.symbols[m.zipf.Uint64()]
	bits := m.random.Uint64()
	l.price = max(l.price+tick.Price(int64(bits%5)-2)*cent, cent)
	size := int64(1+bits>>8%40) * 25
	l.volume += size
	*t = tick.Tick{
		Symbol:    l.name,
		EventTime: m.start + m.n*m.Span.Milliseconds()/max(m.Ticks, 1),
		Price:     l.price, Size: size, Seq: m.n, DayVolume: l.volume, PreviousClose: l.close,
		Currency: "USD", Exchange: "SIM", MarketState: tick.MarketRegular, Source: tick.SourceSimulated,
	}
	m.n++
	return nil
}

// columns are the names that a CSV file's first row can have, those of the CSV
// that the query function ticks answers with; others are passed over.
var columns = map[string]func(t *tick.Tick, text string) error{
	"symbol":         func(t *tick.Tick, s string) error { t.Symbol = s; return nil },
	"event_time":     func(t *tick.Tick, s string) (err error) { t.EventTime, err = parseTime(s); return err },
	"price":          func(t *tick.Tick, s string) (err error) { t.Price, err = tick.ParsePrice(s); return err },
	"size":           func(t *tick.Tick, s string) (err error) { t.Size, err = parseInt(s); return err },
	"seq":            func(t *tick.Tick, s string) (err error) { t.Seq, err = parseInt(s); return err },
	"day_volume":     func(t *tick.Tick, s string) (err error) { t.DayVolume, err = parseInt(s); return err },
	"previous_close": func(t *tick.Tick, s string) (err error) { t.PreviousClose, err = parsePrice(s); return err },
	"currency":       func(t *tick.Tick, s string) error { t.Currency = s; return nil },
	"exchange":       func(t *tick.Tick, s string) error { t.Exchange = s; return nil },
	"market_state":   func(t *tick.Tick, s string) error { t.MarketState = tick.ParseMarketState(s); return nil },
	"source":         func(t *tick.Tick, s string) error { t.Source = tick.ParseSource(s); return nil },
}

func parseInt(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	return strconv.ParseInt(s, 10, 64)
}

func parsePrice(s string) (tick.Price, error) {
	if s == "" {
		return tick.Unknown, nil
	}
	return tick.ParsePrice(s)
}

// parseTime takes milliseconds since the Unix epoch or RFC 3339.
func parseTime(s string) (int64, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return ms, nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("%.40q is neither milliseconds since 1970 nor RFC 3339", s)
	}
	return at.UnixMilli(), nil
}

// OpenCSV reads ticks from CSV with a header row that has at least the columns
// event_time and price. symbol is that of all rows where there is no column
// symbol, as in the CSV of the query function ticks; else it is not used. A row without a source is simulated: whoever
// replays what really came from Yahoo says so in the column source. Where there is
// no column seq the number of the row stands in, so that no two rows are the same
// trade.
func OpenCSV(r io.Reader, symbol string) (Source, error) {
	rows := csv.NewReader(bufio.NewReaderSize(r, 1<<20))
	rows.ReuseRecord = true
	header, err := rows.Read()
	if err != nil {
		return nil, fmt.Errorf("read the header row: %w", err)
	}
	f := &file{rows: rows, names: slices.Clone(header), symbol: symbol, set: make([]func(*tick.Tick, string) error, len(header))}
	for i, name := range header {
		f.set[i] = columns[name]
	}
	for _, name := range []string{"event_time", "price", "symbol"} {
		if !slices.Contains(header, name) && (name != "symbol" || symbol == "") {
			return nil, fmt.Errorf("the header row has no column %q; it has %q", name, header)
		}
	}
	f.numbered = !slices.Contains(header, "seq")
	return f, nil
}

type file struct {
	rows     *csv.Reader
	names    []string
	symbol   string
	set      []func(*tick.Tick, string) error
	numbered bool
	n        int64
}

func (f *file) Next(t *tick.Tick) error {
	row, err := f.rows.Read()
	if err != nil {
		return err
	}
	f.n++
	*t = tick.Tick{Symbol: f.symbol}
	line, _ := f.rows.FieldPos(0)
	for i, text := range row {
		if f.set[i] == nil {
			continue
		}
		if err := f.set[i](t, text); err != nil {
			return fmt.Errorf("line %d, column %s: %w", line, f.names[i], err)
		}
	}
	if f.numbered {
		t.Seq = f.n
	}
	if t.Source == tick.SourceUnknown {
		t.Source = tick.SourceSimulated
	}
	if err := t.Validate(); err != nil {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return nil
}
