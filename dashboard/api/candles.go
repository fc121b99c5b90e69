package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"ticktape/dashboard/ask"
	"ticktape/dashboard/hub"
	"ticktape/internal/window"
)

// span is a time from Start until before End, in milliseconds since the Unix epoch.
type span struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// candlesAnswer is the answer of /api/candles. The page lays the windows, which
// the stream goes on with, over the candles, which end where they may.
type candlesAnswer struct {
	Symbol   string       `json:"symbol"`
	Interval string       `json:"interval"`
	Epoch    string       `json:"epoch"`
	Seq      uint64       `json:"seq"`
	Candles  []ask.Candle `json:"candles"`
	// More is false where nothing older is stored.
	More    bool            `json:"more"`
	Windows json.RawMessage `json:"windows"`
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
	if ask.Intervals[interval] == 0 {
		writeProblem(w, http.StatusBadRequest, "interval", "interval must be 1m, 5m, 15m, 1h or 1d.")
		return
	}
	var before int64
	if text := q.Get("before"); text != "" {
		var err error
		if before, err = strconv.ParseInt(text, 10, 64); err != nil || before <= ask.MinTime || before > ask.MaxTime {
			writeProblem(w, http.StatusBadRequest, "before", "before must be a time in milliseconds since 1970.")
			return
		}
	}
	end := before
	if end == 0 {
		end = newest(c.Hub.View(symbol))
	}
	page, err := c.History.Page(r.Context(), symbol, interval, end, before == 0)
	// The windows are read after the history, so that nothing falls between them.
	view := c.Hub.View(symbol)
	a := candlesAnswer{Symbol: symbol, Interval: interval, Candles: page.Candles, More: page.More, Windows: json.RawMessage("[]")}
	switch {
	case errors.Is(err, ask.ErrUnknown) && !view.Known:
		writeProblem(w, http.StatusNotFound, "symbol", fmt.Sprintf("No trade of %s was ever seen. Symbols are case-sensitive.", symbol))
		return
	case err != nil && !errors.Is(err, ask.ErrUnknown):
		a.Problem = "History can't be shown: " + err.Error() + "."
	}
	if a.Candles == nil {
		a.Candles = []ask.Candle{}
	}
	if interval == "1d" {
		start, end := window.Day(view.Exchange, end-1)
		a.Day = &span{start, end}
	}
	if before == 0 {
		a.Epoch, a.Seq = c.Hub.Epoch(), view.Seq
		if len(view.Windows) > 0 {
			a.Windows = append(hub.AppendWindows([]byte("["), view.Windows, 0), ']')
		}
	}
	writeTagged(w, r, a)
}
