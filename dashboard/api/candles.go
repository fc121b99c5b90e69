package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"

	"ticktape/dashboard/hub"
	"ticktape/internal/window"
)

// intervals are the lengths of the candles that are shown, in milliseconds.
var intervals = map[string]int64{"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}

const (
	// pageCandles is how many intervals are asked for at a time.
	pageCandles = 500
	// Where so few of them have a candle, because of a night or a weekend, more are
	// asked for, as many as a page of the candles function may sum up.
	fewCandles  = 100
	wideCandles = 8000
	wideLength  = 45_000 * 60_000
	// mostCandles is how many of those are shown.
	mostCandles = 1500
)

// History asks the query function "candles" for what lies before the windows
// that the dashboard holds itself.
type History struct {
	gateway string
	client  *http.Client
	once    singleflight.Group
	slots   chan struct{}
}

// NewHistory asks through the OpenFaaS gateway at that address.
func NewHistory(gateway string) *History {
	return &History{
		gateway: gateway,
		client:  &http.Client{Timeout: 10 * time.Second},
		// A page asks when a person clicks, so a few at a time are plenty.
		slots: make(chan struct{}, 8),
	}
}

// Times outside of 1973 to 2200 are no times in milliseconds; the candles function
// refuses them too.
const (
	minTime = 100_000_000_000
	maxTime = 7_258_118_400_000
)

// maxAnswer is more than a page of candles takes.
const maxAnswer = 4 << 20

// stored is the part of the function's answer that is used. Numbers stay text,
// so that prices stay exact.
type stored struct {
	Candles []struct {
		Start  time.Time   `json:"start"`
		Open   json.Number `json:"open"`
		High   json.Number `json:"high"`
		Low    json.Number `json:"low"`
		Close  json.Number `json:"close"`
		Volume json.Number `json:"volume"`
		Ticks  json.Number `json:"tick_count"`
		Source string      `json:"source"`
		Sealed bool        `json:"sealed"`
	} `json:"candles"`
}

// candle is a candle on its way to the page. Times are milliseconds since the
// Unix epoch; prices and volumes decimal text.
type candle struct {
	Start  int64  `json:"start"`
	Open   string `json:"open"`
	High   string `json:"high"`
	Low    string `json:"low"`
	Close  string `json:"close"`
	Volume string `json:"volume"`
	Ticks  int64  `json:"ticks"`
	Source string `json:"source"`
	Sealed bool   `json:"sealed"`
}

// errUnknown is the answer that no trade of the symbol was ever stored.
var errUnknown = errors.New("symbol unknown to history")

// candles returns the page of candles that ends at end (ms), oldest first.
func (h *History) candles(ctx context.Context, symbol, interval string, end int64) ([]candle, error) {
	key := symbol + " " + interval + " " + strconv.FormatInt(end, 10)
	ch := h.once.DoChan(key, func() (any, error) {
		// Others may wait for the same answer, so it does not end with this request.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		case <-ctx.Done():
			return nil, errors.New("too many questions at once: try again")
		}
		length := intervals[interval]
		list, err := h.ask(ctx, symbol, interval, end-pageCandles*length, end)
		if wide := min(wideCandles*length, wideLength); err == nil && len(list) < fewCandles && wide > pageCandles*length {
			list, err = h.ask(ctx, symbol, interval, end-wide, end)
		}
		return list[max(0, len(list)-mostCandles):], err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-ch:
		list, _ := r.Val.([]candle)
		return list, r.Err
	}
}

func (h *History) ask(ctx context.Context, symbol, interval string, from, to int64) ([]candle, error) {
	q := url.Values{
		"symbol": {symbol}, "interval": {interval}, "limit": {strconv.Itoa(wideCandles)},
		"from": {strconv.FormatInt(max(from, minTime), 10)}, "to": {strconv.FormatInt(to, 10)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.gateway+"/function/candles?"+q.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("GATEWAY_URL %q can't be used: %w", h.gateway, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := h.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("the candles function at %s does not answer: %w", h.gateway, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of the candles function: %w", err)
	case len(body) > maxAnswer:
		return nil, errors.New("the answer of the candles function is too long")
	case resp.StatusCode == http.StatusNotFound && resp.Header.Get("Content-Type") == "application/problem+json":
		return nil, errUnknown
	case resp.StatusCode != http.StatusOK:
		var p problem
		if json.Unmarshal(body, &p) == nil && p.Detail != "" {
			return nil, fmt.Errorf("the candles function answers %d: %s", resp.StatusCode, p.Detail)
		}
		return nil, fmt.Errorf("the candles function answers %s", resp.Status)
	}
	var s stored
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("the answer of the candles function can't be read: %w", err)
	}
	list := make([]candle, len(s.Candles))
	for i, c := range s.Candles {
		ticks, err := c.Ticks.Int64()
		if err != nil {
			return nil, fmt.Errorf("the answer of the candles function can't be read: tick_count %q", c.Ticks)
		}
		list[i] = candle{
			Start: c.Start.UnixMilli(), Open: c.Open.String(), High: c.High.String(), Low: c.Low.String(), Close: c.Close.String(),
			Volume: c.Volume.String(), Ticks: ticks, Source: c.Source, Sealed: c.Sealed,
		}
	}
	return list, nil
}

// span is a time from Start until before End, in milliseconds since the Unix epoch.
type span struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// candlesAnswer is the answer of /api/candles. The page lays the windows, which
// the stream goes on with, over the candles, which end where they may.
type candlesAnswer struct {
	Symbol   string          `json:"symbol"`
	Interval string          `json:"interval"`
	Epoch    string          `json:"epoch"`
	Seq      uint64          `json:"seq"`
	Candles  []candle        `json:"candles"`
	Windows  json.RawMessage `json:"windows"`
	// Day is the newest day of the symbol's exchange, where the interval is 1d.
	Day *span `json:"day,omitempty"`
	// Problem says why Candles are missing.
	Problem string `json:"problem,omitempty"`
}

// newest returns the end of the newest window, or of the minute where there is none.
func newest(v hub.View) int64 {
	if n := len(v.Windows); n > 0 {
		return v.Windows[n-1].Start + window.Length
	}
	return window.Start(time.Now().UnixMilli()) + window.Length
}

func (c Config) candles(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	symbol, interval := q.Get("symbol"), q.Get("interval")
	if err := (hub.Request{Op: "snapshot", Symbols: []string{symbol}}).Check(); err != nil {
		writeProblem(w, http.StatusBadRequest, "symbol", "Say which symbol, as in symbol=AAPL.")
		return
	}
	if _, ok := intervals[interval]; !ok {
		writeProblem(w, http.StatusBadRequest, "interval", "interval must be 1m, 5m, 15m, 1h or 1d.")
		return
	}
	var before int64
	if text := q.Get("before"); text != "" {
		var err error
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before <= minTime || before > maxTime {
			writeProblem(w, http.StatusBadRequest, "before", "before must be a time in milliseconds since 1970.")
			return
		}
	}
	end := before
	if end == 0 {
		end = newest(c.Hub.View(symbol))
	}
	list, err := c.History.candles(r.Context(), symbol, interval, end)
	// The windows are read after the history, so that nothing falls between them.
	view := c.Hub.View(symbol)
	a := candlesAnswer{
		Symbol: symbol, Interval: interval, Epoch: c.Hub.Epoch(), Seq: view.Seq,
		Candles: list, Windows: json.RawMessage("[]"),
	}
	switch {
	case errors.Is(err, errUnknown) && !view.Known:
		writeProblem(w, http.StatusNotFound, "symbol", fmt.Sprintf("No trade of %s was ever seen. Symbols are case-sensitive.", symbol))
		return
	case err != nil && !errors.Is(err, errUnknown):
		a.Problem = "History can't be shown: " + err.Error() + "."
	}
	if a.Candles == nil {
		a.Candles = []candle{}
	}
	if before == 0 && len(view.Windows) > 0 {
		a.Windows = append(hub.AppendWindows([]byte("["), view.Windows, 0), ']')
	}
	if interval == "1d" {
		start, end := window.Day(view.Exchange, end-1)
		a.Day = &span{start, end}
	}
	writeJSON(w, http.StatusOK, a)
}
