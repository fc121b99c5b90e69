package yahootest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

func get(t *testing.T, s *Server, path, cookie string) (int, string, http.Header) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Header().Get(yahoo.SimulatedHeader) == "" {
		t.Errorf("GET %s: the answer does not say that it is simulated", path)
	}
	return w.Code, string(b), w.Header()
}

// enter gets a cookie and a crumb.
func enter(t *testing.T, s *Server) (cookie, crumb string) {
	t.Helper()
	code, _, h := get(t, s, "/", "")
	cookie, _, _ = strings.Cut(h.Get("Set-Cookie"), ";")
	if code != 404 || !strings.HasPrefix(cookie, "A3=d=") {
		t.Fatalf("cookie page: %d, cookie %q", code, cookie)
	}
	code, crumb, _ = get(t, s, "/v1/test/getcrumb", cookie)
	if code != 200 || len(crumb) != 11 {
		t.Fatalf("crumb: %d %q", code, crumb)
	}
	return cookie, crumb
}

func TestErrorsAreWordedAsYahoos(t *testing.T) {
	s := NewServer(Options{})
	cookie, crumb := enter(t, s)
	c := url.QueryEscape(crumb)
	s429 := NewServer(Options{})
	s429.Inject(TooManyRequests("7"))
	for _, c := range []struct {
		name, path, cookie string
		server             *Server
		status             int
		body               string
	}{
		{"a crumb without a cookie", "/v1/test/getcrumb", "", s, 401, `{"finance":{"error":{"code":"Unauthorized","description":"Invalid Cookie"},"result":null}}`},
		{"quotes without a cookie", "/v7/finance/quote?symbols=AAPL&crumb=" + c, "", s, 401, `{"finance":{"error":{"code":"Unauthorized","description":"Invalid Cookie"},"result":null}}`},
		{"quotes without a crumb", "/v7/finance/quote?symbols=AAPL", cookie, s, 401, `{"finance":{"error":{"code":"Unauthorized","description":"Invalid Crumb"},"result":null}}`},
		{"quotes of nothing", "/v7/finance/quote?crumb=" + c, cookie, s, 400, `{"quoteResponse":{"error":{"code":"argument-error","description":"Missing value for the \"symbols\" argument"},"result":null}}`},
		{"quotes of an unknown symbol", "/v7/finance/quote?symbols=NOSUCH&crumb=" + c, cookie, s, 200, `{"quoteResponse":{"error":null,"result":[]}}`},
		{"a chart of an unknown symbol", "/v8/finance/chart/NOSUCH?interval=1d&range=1d", "", s, 404, `{"chart":{"error":{"code":"Not Found","description":"No data found, symbol may be delisted"},"result":null}}`},
		{"a chart at an unknown interval", "/v8/finance/chart/AAPL?interval=7m&range=1d", "", s, 422, `"code":"Unprocessable Entity","description":"Invalid input - interval=7m is not supported.`},
		{"a chart over an unknown range", "/v8/finance/chart/AAPL?interval=1d&range=7d", "", s, 422, `range=7d is not supported`},
		{"a chart of too many minutes", "/v8/finance/chart/AAPL?interval=1m&range=1mo", "", s, 422, `1m data not available`},
		{"a chart from after to", "/v8/finance/chart/AAPL?interval=1d&period1=20&period2=10", "", s, 400, `start date cannot be after end date`},
		{"too many requests", "/v8/finance/chart/AAPL", "", s429, 429, "Too Many Requests\r\n"},
		{"another path", "/v6/finance/quote", "", s, 404, "404 page not found\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body, h := get(t, c.server, c.path, c.cookie)
			if status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("got %d %s, want %d %s", status, body, c.status, c.body)
			}
			if status == 429 && h.Get("Retry-After") != "7" {
				t.Errorf("header %v", h)
			}
		})
	}
}

func TestQuotesAreReadBackAsTheMarketIs(t *testing.T) {
	for _, at := range []time.Time{
		noon, noon.Add(-4 * time.Hour), noon.Add(5 * time.Hour), noon.Add(9 * time.Hour), noon.Add(-10 * time.Hour), noon.Add(72 * time.Hour),
	} {
		s := NewServer(Options{Seed: 2, Hours: ExchangeHours, Start: at, Clock: func() time.Time { return at }})
		cookie, crumb := enter(t, s)
		for _, formatted := range []string{"false", "true"} {
			status, body, _ := get(t, s, "/v7/finance/quote?formatted="+formatted+"&symbols="+url.QueryEscape(strings.Join(s.Market.Symbols(), ","))+"&crumb="+url.QueryEscape(crumb), cookie)
			quotes, failed, err := yahoo.DecodeQuotes([]byte(body))
			if status != 200 || err != nil || len(failed) > 0 || len(quotes) != 20 {
				t.Fatalf("status %d, %d quotes, failed %v, %v", status, len(quotes), failed, err)
			}
			for _, q := range quotes {
				snap, _ := s.Market.At(q.Symbol, at)
				same := func(q *yahoo.Quote, want Trade, state tick.MarketState) bool {
					return q.Price == want.Price && q.Time == want.Time/1000*1000 && q.Volume == snap.DayVolume && q.MarketState == state
				}
				ok := same(&q, snap.Regular, tick.ParseMarketState(string(snap.State))) && q.Regular == nil
				if x := snap.Extended; x != nil {
					session := tick.MarketPost
					if snap.State == Pre {
						session = tick.MarketPre
					}
					ok = same(&q, *x, session) && q.Regular != nil && same(q.Regular, snap.Regular, tick.MarketRegular)
				}
				if !ok {
					t.Errorf("%s: quote of %s: %s at %d, %s; market has %+v in state %s", at, q.Symbol, q.Price, q.Time, q.MarketState, snap.Regular, snap.State)
				}
			}
		}
	}
}

func TestNumbersAsPeopleReadThem(t *testing.T) {
	for _, c := range []struct {
		price    string
		decimals int
		want     string
	}{
		{"187.445", 2, "187.45"}, {"187", 2, "187.00"}, {"1.04899", 4, "1.0490"}, {"2910.3", 0, "2910"}, {"-0.004", 2, "0.00"}, {"-37.63", 1, "-37.6"},
	} {
		p, err := tick.ParsePrice(c.price)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(p, c.decimals); got != c.want {
			t.Errorf("%s with %d decimals is %s, want %s", c.price, c.decimals, got, c.want)
		}
	}
}

func TestChartsHaveNullsWhereNothingTraded(t *testing.T) {
	s := NewServer(Options{Seed: 4, Hours: ExchangeHours, Start: noon, Clock: func() time.Time { return noon }})
	_, body, _ := get(t, s, "/v8/finance/chart/BRK-B?interval=1m&range=1d&includePrePost=true", "")
	var doc struct {
		Chart struct {
			Result []struct {
				Timestamp  []int64
				Indicators struct {
					Quote []struct{ Close, Volume []*float64 }
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	r := doc.Chart.Result[0]
	nulls := 0
	for _, c := range r.Indicators.Quote[0].Close {
		if c == nil {
			nulls++
		}
	}
	if len(r.Timestamp) < 500 || nulls == 0 || nulls == len(r.Timestamp) || len(r.Indicators.Quote[0].Close) != len(r.Timestamp) {
		t.Errorf("%d bars with %d nulls", len(r.Timestamp), nulls)
	}
	saturday := noon.Add(72 * time.Hour)
	s = NewServer(Options{Seed: 4, Hours: ExchangeHours, Start: saturday, Clock: func() time.Time { return saturday }})
	_, body, _ = get(t, s, "/v8/finance/chart/BRK-B?interval=1m&period1="+itoa(saturday.Add(-time.Hour))+"&period2="+itoa(saturday), "")
	if !strings.Contains(body, `"indicators":{"quote":[{}]}`) || strings.Contains(body, "timestamp") {
		t.Errorf("a chart of a Saturday is %s", body)
	}
}

func itoa(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func TestDailyCharts(t *testing.T) {
	s := NewServer(Options{Seed: 4, Start: noon, Clock: func() time.Time { return noon }})
	_, body, _ := get(t, s, "/v8/finance/chart/AAPL?interval=1d&range=1mo", "")
	c, err := yahoo.DecodeChart([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Bars) < 29 || len(c.Bars) > 32 {
		t.Errorf("%d bars in a month", len(c.Bars))
	}
	for i, b := range c.Bars {
		if b.Low > b.Open || b.Low > b.Close || b.High < b.Open || b.High < b.Close || b.Volume <= 0 {
			t.Errorf("bar %d is %+v", i, b)
		}
	}
}

func TestFaultsComeInOrderAndGo(t *testing.T) {
	s := NewServer(Options{})
	s.Inject(InternalError().On("crumb").Once())
	s.Inject(Fault{Call: "cookie", Times: 2, Status: 503})
	var got []int
	for range 3 {
		code, _, _ := get(t, s, "/", "")
		got = append(got, code)
	}
	if got[0] != 503 || got[1] != 503 || got[2] != 404 {
		t.Errorf("cookie calls answered %v", got)
	}
	if code, _, _ := get(t, s, "/v1/test/getcrumb", ""); code != 500 {
		t.Errorf("crumb call answered %d", code)
	}
	if code, _, _ := get(t, s, "/v1/test/getcrumb", ""); code != 401 {
		t.Errorf("crumb call answered %d", code)
	}
	s.Inject(Page())
	s.Heal()
	if code, _, _ := get(t, s, "/v8/finance/chart/AAPL", ""); code != 200 {
		t.Errorf("healed: %d", code)
	}
	if code, body, _ := get(t, s, "/healthz", ""); code != 200 || !strings.HasPrefix(body, "ok, 20 symbols") {
		t.Errorf("healthz: %d %s", code, body)
	}
}
