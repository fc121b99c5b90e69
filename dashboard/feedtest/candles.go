package feedtest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// lengths are the intervals of candles, in milliseconds.
var lengths = map[string]int64{"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "1d": 86_400_000}

// historyLength is how far back made-up candles go, in milliseconds.
const historyLength = 400 * 86_400_000

type candle struct {
	Start     time.Time   `json:"start"`
	Open      tick.Price  `json:"open"`
	High      tick.Price  `json:"high"`
	Low       tick.Price  `json:"low"`
	Close     tick.Price  `json:"close"`
	Volume    int64       `json:"volume"`
	Turnover  json.Number `json:"turnover"`
	TickCount int64       `json:"tick_count"`
	Source    string      `json:"source"`
	Sealed    bool        `json:"sealed"`
}

// Gateway answers as the candles function behind a gateway, from the market's
// windows and, for what lies before them, from made-up candles.
func (m *Market) Gateway() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		m.mu.Lock()
		defer m.mu.Unlock()
		i := slices.IndexFunc(m.symbols, func(s *state) bool { return s.Name == q.Get("symbol") })
		if r.URL.Path != "/function/candles" || lengths[q.Get("interval")] == 0 || i < 0 || len(m.symbols[i].windows) == 0 {
			notFound(w, fmt.Sprintf("No trade of symbol %q was ever seen.", q.Get("symbol")))
			return
		}
		to := time.Now().UnixMilli()
		if t, err := strconv.ParseInt(q.Get("to"), 10, 64); err == nil {
			to = t
		}
		from := to - 500*lengths[q.Get("interval")]
		if t, err := strconv.ParseInt(q.Get("from"), 10, 64); err == nil {
			from = t
		}
		list := m.candles(m.symbols[i], q.Get("interval"), from, to)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"symbol": q.Get("symbol"), "interval": q.Get("interval"), "candles": list})
	})
}

func notFound(w http.ResponseWriter, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusNotFound)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": http.StatusNotFound, "detail": detail})
}

// candles returns those that begin in from ≤ start < to, 10,000 at most.
func (m *Market) candles(s *state, interval string, from, to int64) []candle {
	around := func(t int64) (start, end int64) {
		if interval == "1d" {
			return window.Day(s.Exchange, t)
		}
		start = t - t%lengths[interval]
		return start, start + lengths[interval]
	}
	first := int64(math.MaxInt64)
	sums := map[int64]*window.State{}
	for start, state := range s.windows {
		first = min(first, start)
		bucket, _ := around(start)
		if sums[bucket] == nil {
			sums[bucket] = &window.State{}
		}
		sums[bucket].Merge(state)
	}
	opening := s.windows[first].Open.Price
	list := []candle{}
	start, end := around(max(from, time.Now().UnixMilli()-historyLength))
	for ; start < to && len(list) < 10_000; start, end = around(end) {
		sum := sums[start]
		if start < first {
			if sum == nil {
				sum = &window.State{}
			}
			m.pretend(s, sum, start, min(end, first), first, opening)
		}
		if sum == nil {
			continue
		}
		list = append(list, candle{
			time.UnixMilli(start).UTC(), tick.Price(sum.Open.Price), tick.Price(sum.High.Price), tick.Price(sum.Low.Price), tick.Price(sum.Close.Price),
			sum.Volume, json.Number(board.AppendSum(nil, sum.Turnover)), sum.Count, m.Source.String(), end <= first,
		})
	}
	return list
}

// pretend adds made-up trades from start to end to a sum. Whatever the interval,
// they are of the same curve, which meets the market's first trade.
func (m *Market) pretend(s *state, sum *window.State, start, end, first, opening int64) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.Name))
	phase := float64(h.Sum32())
	curve := func(t int64) float64 {
		v := 0.0
		for i, hours := range []float64{0.05, 0.21, 0.9, 4, 19, 83, 411, 2900} {
			v += 0.0011 * math.Sqrt(hours) * math.Sin(2*math.Pi*float64(t)/(hours*3_600_000)+phase*float64(i+1))
		}
		return v
	}
	at := func(t int64) tick.Price {
		return s.round(float64(opening) / float64(tick.Unit) * math.Exp(curve(t)-curve(first)))
	}
	const points = 6
	size := int64(0)
	if !s.NoVolume {
		size = (end-start)/2000 + int64(h.Sum32()%1000)
	}
	for i := range int64(points) {
		t := start + (end-1-start)*i/(points-1)
		sum.Add(window.Point{EventTime: t, Offset: -1, Price: int64(at(t))}, size)
	}
}
