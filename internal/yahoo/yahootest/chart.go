package yahootest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ticktape/internal/tick"
)

const (
	dayMs = 24 * 60 * minuteMs
	yrMs  = 365 * dayMs
)

// interval is a chart's granularity and what Yahoo lets one ask of it.
type interval struct {
	name    string
	length  int64
	request int64 // the longest span in one request
	history int64 // how far back there is anything
}

var intervals = []interval{
	{"1m", minuteMs, 8 * dayMs, 30 * dayMs},
	{"2m", 2 * minuteMs, 60 * dayMs, 60 * dayMs},
	{"5m", 5 * minuteMs, 60 * dayMs, 60 * dayMs},
	{"15m", 15 * minuteMs, 60 * dayMs, 60 * dayMs},
	{"30m", 30 * minuteMs, 60 * dayMs, 60 * dayMs},
	{"60m", 60 * minuteMs, 730 * dayMs, 730 * dayMs},
	{"90m", 90 * minuteMs, 60 * dayMs, 60 * dayMs},
	{"1h", 60 * minuteMs, 730 * dayMs, 730 * dayMs},
	{"1d", dayMs, 100 * yrMs, 10 * yrMs},
	{"5d", 5 * dayMs, 100 * yrMs, 10 * yrMs},
	{"1wk", 7 * dayMs, 100 * yrMs, 10 * yrMs},
	{"1mo", 30 * dayMs, 100 * yrMs, 10 * yrMs},
	{"3mo", 91 * dayMs, 100 * yrMs, 10 * yrMs},
}

var ranges = map[string]int64{
	"1d": dayMs, "5d": 5 * dayMs, "1mo": 30 * dayMs, "3mo": 91 * dayMs, "6mo": 182 * dayMs, "1y": yrMs,
	"2y": 2 * yrMs, "5y": 5 * yrMs, "10y": 10 * yrMs, "max": 10 * yrMs,
}

func (s *Server) chart(w http.ResponseWriter, r *http.Request) {
	refuse := func(format string, args ...any) {
		fail(w, http.StatusUnprocessableEntity, "chart", "Unprocessable Entity", fmt.Sprintf(format, args...))
	}
	series, ok := s.Market.all[strings.ToUpper(r.PathValue("symbol"))]
	if !ok {
		fail(w, http.StatusNotFound, "chart", "Not Found", "No data found, symbol may be delisted")
		return
	}
	q := r.URL.Query()
	name := q.Get("interval")
	if name == "" {
		name = "1d"
	}
	var iv *interval
	var names []string
	for i := range intervals {
		names = append(names, intervals[i].name)
		if intervals[i].name == name {
			iv = &intervals[i]
		}
	}
	if iv == nil {
		refuse("Invalid input - interval=%s is not supported. Valid intervals: %v", name, names)
		return
	}
	now := s.Market.Now().UnixMilli()
	from, to := now-dayMs, now
	switch rng := q.Get("range"); {
	case rng == "ytd":
		from = time.Date(s.Market.Now().Year(), 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	case rng != "":
		span, ok := ranges[rng]
		if !ok {
			refuse("Invalid input - range=%s is not supported", rng)
			return
		}
		from = now - span
	case q.Get("period1") != "" || q.Get("period2") != "":
		p1, err1 := strconv.ParseInt(q.Get("period1"), 10, 64)
		p2, err2 := strconv.ParseInt(q.Get("period2"), 10, 64)
		if err1 != nil || err2 != nil || p1 >= p2 {
			fail(w, http.StatusBadRequest, "chart", "Bad Request", "Invalid input - start date cannot be after end date. startDate = "+q.Get("period1")+", endDate = "+q.Get("period2"))
			return
		}
		const farthest = 1 << 40 // seconds
		from, to = max(p1, -farthest)*1000, min(p2, farthest)*1000
	}
	if iv.history < 10*yrMs && (to-from > iv.request || from < now-iv.history) {
		refuse("%s data not available for startTime=%d and endTime=%d. Only %d days of %s data are allowed to be fetched per request, and the requested range must be within the last %d days.",
			name, from/1000, to/1000, iv.request/dayMs, name, iv.history/dayMs)
		return
	}
	from, to = max(from, now-iv.history), min(to, now)
	send(w, http.StatusOK, map[string]any{"chart": map[string]any{"error": nil, "result": []any{series.chart(iv, from, to, now, q.Get("includePrePost") == "true")}}})
}

// exact is the longest chart that is made from every trade. Longer ones are
// drawn through samples: their volumes are exact, their prices approximate.
const exact = 9 * dayMs

func (s *series) chart(iv *interval, from, to, now int64, prePost bool) map[string]any {
	var times []int64
	var open, high, low, shut []*tick.Price
	volumes := []*int64{}
	wanted := func(state State) bool { return state == Regular || prePost && (state == Pre || state == Post) }
	start := s.align(iv, from)
	for ; start < to; start += iv.length {
		var b [4]tick.Price
		var volume int64
		traded, opened := false, false
		point := func(p tick.Price) {
			if !traded {
				b = [4]tick.Price{p, p, p, p}
				traded = true
			}
			b[1], b[2], b[3] = max(b[1], p), min(b[2], p), p
		}
		step := max(1, iv.length/minuteMs/64) * minuteMs
		for m := start; m < start+iv.length && m < to; m += minuteMs {
			n, v, state := s.plan(m)
			if !wanted(state) {
				continue
			}
			opened = true
			if n == 0 {
				continue
			}
			if to-from <= exact || m+minuteMs > to {
				for _, t := range s.trades(m) {
					if t.Time < to {
						point(t.Price)
						if !t.Extended {
							volume += t.Size
						}
					}
				}
				continue
			}
			if (m-start)%step == 0 || m+minuteMs == start+iv.length {
				point(s.price(m, hash(s.seed, 12, uint64(m))))
			}
			if state == Regular {
				volume += v
			}
		}
		if !opened {
			continue
		}
		times = append(times, start/1000)
		if !traded {
			open, high, low, shut, volumes = append(open, nil), append(high, nil), append(low, nil), append(shut, nil), append(volumes, nil)
			continue
		}
		open, high, low, shut, volumes = append(open, &b[0]), append(high, &b[1]), append(low, &b[2]), append(shut, &b[3]), append(volumes, &volume)
	}
	last, _ := s.last(now, Regular)
	zone, offset := time.UnixMilli(now).In(s.zone).Zone()
	doc := map[string]any{
		"meta": map[string]any{
			"currency": s.Currency, "symbol": s.Symbol, "exchangeName": s.Exchange, "fullExchangeName": s.Venue, "instrumentType": s.Type,
			"regularMarketTime": last.Time / 1000, "regularMarketPrice": last.Price, "regularMarketVolume": s.volume(last.Time),
			"chartPreviousClose": s.previousClose(max(from, now-10*yrMs)), "gmtoffset": offset, "timezone": zone, "exchangeTimezoneName": s.Timezone,
			"longName": s.Name, "shortName": s.Name, "priceHint": s.PriceHint, "dataGranularity": iv.name, "range": "",
			"hasPrePostMarketData": s.calendar.Extends(),
		},
		"indicators": map[string]any{"quote": []any{map[string]any{}}},
	}
	if len(times) > 0 {
		doc["timestamp"] = times
		doc["indicators"] = map[string]any{"quote": []any{map[string]any{"open": open, "high": high, "low": low, "close": shut, "volume": volumes}}}
	}
	return doc
}

// align finds the beginning of the bar that t is in: days are the exchange's.
func (s *series) align(iv *interval, t int64) int64 {
	if iv.length < dayMs {
		return floorDiv(t, iv.length) * iv.length
	}
	start, _ := s.dayOf(t)
	return start
}
