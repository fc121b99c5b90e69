package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// Intervals are the lengths of the candles that are shown, in milliseconds.
var Intervals = map[string]int64{"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "1d": dayLength}

const (
	dayLength = 86_400_000

	// pageCandles is how many intervals are asked for at a time.
	pageCandles = 500
	// Where so few of them have a candle, because of a night or a weekend, more are
	// asked for, as many as a page of the candles function may sum up.
	fewCandles  = 100
	wideCandles = 8000
	wideLength  = 45_000 * 60_000
	// allDays is how far back the candles function looks for days.
	allDays = 36_000
	// MostCandles is how many of those are shown.
	MostCandles = 1500
)

// MinTime and MaxTime are the bounds of times in milliseconds, 1973 to 2200; the
// candles function refuses others too.
const (
	MinTime = 100_000_000_000
	MaxTime = 7_258_118_400_000
)

// Candle is a candle on its way to the page. Times are milliseconds since the
// Unix epoch; prices and volumes decimal text.
type Candle struct {
	Start    int64  `json:"start"`
	Open     string `json:"open"`
	High     string `json:"high"`
	Low      string `json:"low"`
	Close    string `json:"close"`
	Volume   string `json:"volume"`
	Turnover string `json:"turnover,omitempty"`
	Ticks    int64  `json:"ticks"`
	Source   string `json:"source"`
	Sealed   bool   `json:"sealed"`
}

// Page is a page of candles, oldest first.
type Page struct {
	Candles []Candle
	// More is false where nothing older is stored.
	More bool
}

// History asks the function candles, a page once for all who want it.
type History struct {
	client *Client
	once   singleflight.Group
	slots  chan struct{}

	mu    sync.Mutex
	era   int64 // changes when what is stored has
	pages map[string]kept
	size  int
}

type kept struct {
	Page
	until time.Time
}

const (
	// Pages are kept for a while, the newest ones shortly: what goes on in them the
	// stream tells.
	keepOld    = time.Minute
	keepNewest = 3 * time.Second
	// keepCandles bounds what is kept, in candles of about 200 bytes.
	keepCandles = 100_000
)

// NewHistory asks through c.
func NewHistory(c *Client) *History {
	return &History{
		client: c,
		// A page asks when a person clicks, so a few at a time are plenty.
		slots: make(chan struct{}, 8),
		pages: map[string]kept{},
	}
}

// Changed says that candles have been sealed, so that they are asked for anew.
func (h *History) Changed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.era++
	clear(h.pages)
	h.size = 0
}

// Page returns the page of candles that ends at end (ms). newest tells that it is
// the one that still grows. The error is ErrUnknown where no trade of the symbol
// was ever stored; others say in a sentence why there is no answer.
func (h *History) Page(ctx context.Context, symbol, interval string, end int64, newest bool) (Page, error) {
	h.mu.Lock()
	key := symbol + " " + interval + " " + strconv.FormatInt(end, 10)
	k, found := h.pages[key]
	era := h.era
	h.mu.Unlock()
	if found && time.Now().Before(k.until) {
		return k.Page, nil
	}
	ch := h.once.DoChan(key+" "+strconv.FormatInt(era, 10), func() (any, error) {
		// Others may wait for the same answer, so it does not end with this request.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTime)
		defer cancel()
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		case <-ctx.Done():
			return Page{}, errors.New("too many questions at once: try again")
		}
		p, err := h.page(ctx, symbol, interval, end)
		if err == nil {
			h.keep(key, p, newest, era)
		}
		return p, err
	})
	select {
	case <-ctx.Done():
		return Page{}, ctx.Err()
	case r := <-ch:
		p, _ := r.Val.(Page)
		return p, r.Err
	}
}

func (h *History) keep(key string, p Page, newest bool, era int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if era != h.era {
		return
	}
	if h.size += len(p.Candles) + 1; h.size > keepCandles {
		clear(h.pages)
		h.size = len(p.Candles) + 1
	}
	until := time.Now().Add(keepOld)
	if newest {
		until = time.Now().Add(keepNewest)
	}
	h.pages[key] = kept{p, until}
}

func (h *History) page(ctx context.Context, symbol, interval string, end int64) (Page, error) {
	length := Intervals[interval]
	list, err := h.near(ctx, symbol, interval, end)
	if err == nil && len(list) == 0 && length < dayLength {
		// Which day is the newest before, the days tell.
		var days []Candle
		days, err = h.client.Candles(ctx, symbol, "1d", end-allDays*dayLength, end)
		// The day that end is in may have its trades after it.
		for i := len(days) - 1; err == nil && len(list) == 0 && i >= max(0, len(days)-2); i-- {
			list, err = h.near(ctx, symbol, interval, min(end, (days[i].Start/length+1)*length+25*dayLength/24))
		}
	}
	return Page{list[max(0, len(list)-MostCandles):], len(list) > 0}, err
}

// near returns the candles that end at end, from farther back where few are near.
func (h *History) near(ctx context.Context, symbol, interval string, end int64) ([]Candle, error) {
	length := Intervals[interval]
	list, err := h.client.Candles(ctx, symbol, interval, end-pageCandles*length, end)
	if wide := min(wideCandles*length, wideLength); err == nil && len(list) < fewCandles && wide > pageCandles*length {
		list, err = h.client.Candles(ctx, symbol, interval, end-wide, end)
	}
	return list, err
}

// stored is the part of the function's answer that is used. Numbers stay text,
// so that prices stay exact.
type stored struct {
	Candles []struct {
		Start    time.Time   `json:"start"`
		Open     json.Number `json:"open"`
		High     json.Number `json:"high"`
		Low      json.Number `json:"low"`
		Close    json.Number `json:"close"`
		Volume   json.Number `json:"volume"`
		Turnover json.Number `json:"turnover"`
		Ticks    json.Number `json:"tick_count"`
		Source   string      `json:"source"`
		Sealed   bool        `json:"sealed"`
	} `json:"candles"`
}

// Candles asks for the candles of a symbol in from ≤ start < to (ms), the first
// 10,000 of them, oldest first. Errors are those of History.Page.
func (c *Client) Candles(ctx context.Context, symbol, interval string, from, to int64) ([]Candle, error) {
	var s stored
	err := c.get(ctx, "candles", url.Values{
		"symbol": {symbol}, "interval": {interval}, "limit": {"10000"},
		"from": {strconv.FormatInt(max(from, MinTime), 10)}, "to": {strconv.FormatInt(to, 10)},
	}, &s)
	if err != nil {
		return nil, err
	}
	list := make([]Candle, len(s.Candles))
	for i, c := range s.Candles {
		ticks, err := c.Ticks.Int64()
		if err != nil {
			return nil, fmt.Errorf("the answer of the candles function can't be read: tick_count %q", c.Ticks)
		}
		list[i] = Candle{
			Start: c.Start.UnixMilli(), Open: c.Open.String(), High: c.High.String(), Low: c.Low.String(), Close: c.Close.String(),
			Volume: c.Volume.String(), Turnover: c.Turnover.String(), Ticks: ticks, Source: c.Source, Sealed: c.Sealed,
		}
	}
	return list, nil
}
