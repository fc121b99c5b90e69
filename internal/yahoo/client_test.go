package yahoo_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/yahootest"
)

// config is for a client that is not slowed down, of the host at url.
func config(url string) yahoo.Config {
	return yahoo.Config{
		URL: url, UserAgent: "test", Source: "auto", Timeout: 5 * time.Second, InFlight: 4, Rate: 1000,
		SymbolsPerCall: 100, Attempts: 3, MaxBackoff: 10 * time.Millisecond, CircuitFailures: 100,
	}
}

func client(t *testing.T, cfg yahoo.Config) *yahoo.Client {
	t.Helper()
	c, err := yahoo.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func standIn(t *testing.T, o yahootest.Options) (*yahootest.Server, string) {
	t.Helper()
	s := yahootest.NewServer(o)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return s, web.URL
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func kindOf(err error) yahoo.Kind {
	var e *yahoo.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

func TestQuotesOfSymbolsThatAreKnownAndNot(t *testing.T) {
	s, url := standIn(t, yahootest.Options{Seed: 7})
	c := client(t, config(url))
	asked := []string{"AAPL", "NOSUCH", "^GSPC", "EURUSD=X", "GC=F", "BRK-B", "AAPL", "SAP.DE", "0700.HK"}
	a, err := c.Quotes(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, q := range a.Quotes {
		got = append(got, q.Symbol)
		if q.Source != tick.SourceSimulated {
			t.Errorf("%s: source is %v", q.Symbol, q.Source)
		}
		snap, _ := s.Market.At(q.Symbol, s.Market.Now())
		if q.PreviousClose != snap.PreviousClose || q.Currency != snap.Instrument.Currency || q.MarketState != tick.MarketRegular || q.Name != snap.Instrument.Name {
			t.Errorf("quote %+v", q)
		}
	}
	if want := []string{"AAPL", "^GSPC", "EURUSD=X", "GC=F", "BRK-B", "SAP.DE"}; !slices.Equal(got, want) {
		t.Errorf("quotes of %v, want %v", got, want)
	}
	if want := []string{"NOSUCH", "0700.HK"}; !slices.Equal(a.Unknown, want) || len(a.Failed) > 0 {
		t.Errorf("unknown %v, want %v; failed %v", a.Unknown, want, a.Failed)
	}
	if s.Calls("quote") != 1 {
		t.Errorf("%d quote calls, want one for all symbols", s.Calls("quote"))
	}
}

func TestManySymbolsAreAskedForInFewCalls(t *testing.T) {
	s, url := standIn(t, yahootest.Options{Symbols: 250})
	cfg := config(url)
	cfg.SymbolsPerCall = 60
	c := client(t, cfg)
	a, err := c.Quotes(t.Context(), s.Market.Symbols())
	if err != nil || len(a.Quotes) != 250 {
		t.Fatalf("%d quotes, %v", len(a.Quotes), err)
	}
	if s.Calls("quote") != 5 || s.Calls("crumb") != 1 {
		t.Errorf("%d quote calls and %d crumb calls, want 5 and 1", s.Calls("quote"), s.Calls("crumb"))
	}
}

func TestOneOfSeveralCallsFails(t *testing.T) {
	s, url := standIn(t, yahootest.Options{})
	cfg := config(url)
	cfg.SymbolsPerCall = 10
	cfg.InFlight = 1
	c := client(t, cfg)
	s.Inject(yahootest.Answer(`{"quoteResponse":{}`).On("quote").Once())
	s.Inject(yahootest.Answer(`{"x":1}`).On("quote").Once())
	a, err := c.Quotes(t.Context(), s.Market.Symbols())
	if kindOf(err) != yahoo.BadAnswer || len(a.Quotes) != 10 || len(a.Failed) != 10 || strings.Contains(err.Error(), "\n") {
		t.Errorf("%d quotes, %d failed, %v", len(a.Quotes), len(a.Failed), err)
	}
}

func TestOddAnswersDoNotSpoilOthers(t *testing.T) {
	s, url := standIn(t, yahootest.Options{})
	c := client(t, config(url))
	s.Inject(yahootest.Answer(`{"quoteResponse":{"result":[
		{"symbol":"A","regularMarketPrice":"12","regularMarketTime":1731600000},
		{"symbol":"b","regularMarketPrice":12.5,"regularMarketTime":1731600000},
		{"symbol":"B","regularMarketPrice":99,"regularMarketTime":1731600000},
		{"symbol":"UNASKED","regularMarketPrice":12.5,"regularMarketTime":1731600000},
		17],"error":null}}`).On("quote"))
	a, err := c.Quotes(t.Context(), []string{"A", "B", "C"})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Quotes) != 1 || a.Quotes[0].Symbol != "B" || a.Quotes[0].Price.String() != "12.5" {
		t.Errorf("quotes %+v", a.Quotes)
	}
	// C may be the entry that can't be read, so it is not called unknown.
	if len(a.Failed) != 2 || a.Failed[0].Symbol != "A" || a.Failed[1].Symbol != "C" || len(a.Unknown) > 0 {
		t.Errorf("failed %v, unknown %v", a.Failed, a.Unknown)
	}
}

func TestASessionServesManyCallsAndIsRenewedOnceWhenRefused(t *testing.T) {
	s, url := standIn(t, yahootest.Options{})
	c := client(t, config(url))
	ask := func() error {
		_, err := c.Quotes(t.Context(), []string{"AAPL"})
		return err
	}
	for range 5 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if s.Calls("cookie") != 1 || s.Calls("crumb") != 1 || s.Calls("quote") != 5 {
		t.Errorf("calls: cookie %d, crumb %d, quote %d", s.Calls("cookie"), s.Calls("crumb"), s.Calls("quote"))
	}
	s.ExpireCrumbs()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if s.Calls("cookie") != 2 || s.Calls("crumb") != 2 {
		t.Errorf("after the crumb expired: cookie %d, crumb %d calls, want 2 and 2", s.Calls("cookie"), s.Calls("crumb"))
	}
}

func TestASessionThatIsRefusedWhenNewIsNotRenewedAgain(t *testing.T) {
	s, url := standIn(t, yahootest.Options{})
	cfg := config(url)
	cfg.MaxBackoff = time.Minute
	c := client(t, cfg)
	s.Inject(yahootest.Fault{Call: "quote", Status: 401, Body: `{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}`})
	_, err := c.Quotes(t.Context(), []string{"AAPL"})
	var e *yahoo.Error
	if !errors.As(err, &e) || e.Kind != yahoo.Unauthorized || e.Description != "Invalid Crumb" || e.RetryAfter <= 0 {
		t.Errorf("error %v", err)
	}
	if s.Calls("quote") != 2 || s.Calls("crumb") != 2 {
		t.Errorf("%d quote and %d crumb calls, want 2 and 2", s.Calls("quote"), s.Calls("crumb"))
	}
	// The next caller does not ask at all before the pause is over.
	if _, err := c.Quotes(within(t, 50*time.Millisecond), []string{"AAPL"}); kindOf(err) != yahoo.Unauthorized || s.Calls("quote") != 2 {
		t.Errorf("error %v after %d calls", err, s.Calls("quote"))
	}
}

func TestCrumbsThatAreErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		f    yahootest.Fault
		kind yahoo.Kind
	}{
		{"too many requests under status 200", yahootest.Answer("Too Many Requests\r\n"), yahoo.RateLimited},
		{"too many requests under status 429", yahootest.TooManyRequests(""), yahoo.RateLimited},
		{"a page", yahootest.Page(), yahoo.BadAnswer},
		{"nothing", yahootest.Answer(""), yahoo.BadAnswer},
		{"an error document", yahootest.Answer(`{"finance":{"error":{"code":"x"}}}`), yahoo.BadAnswer},
		{"not there any more", yahootest.Fault{Status: 404}, yahoo.NotFound},
		{"not what was to be sent", yahootest.Fault{Status: 400}, yahoo.BadRequest},
		{"refused", yahootest.Fault{Status: 401, Body: `{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Cookie"}}}`}, yahoo.Unauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, url := standIn(t, yahootest.Options{})
			cfg := config(url)
			cfg.Attempts = 1
			cl := client(t, cfg)
			s.Inject(c.f.On("crumb"))
			_, err := cl.Quotes(t.Context(), []string{"AAPL"})
			if kindOf(err) != c.kind || s.Calls("quote") != 0 {
				t.Errorf("error %v, %d quote calls", err, s.Calls("quote"))
			}
			if cl.Status().Failures == 0 {
				t.Error("nothing holds the next caller back")
			}
			s.Heal()
			if a, err := cl.Quotes(t.Context(), []string{"AAPL"}); err != nil || len(a.Quotes) != 1 {
				t.Errorf("healed: %v", err)
			}
		})
	}
}

func TestCookiesComeFromTheFirstPageThatSetsOne(t *testing.T) {
	t.Run("the first page sets none", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		s.Inject(yahootest.Page().On("cookie").Once())
		if _, err := client(t, config(url)).Quotes(t.Context(), []string{"AAPL"}); err != nil || s.Calls("cookie") != 2 {
			t.Errorf("%d cookie calls, %v", s.Calls("cookie"), err)
		}
	})
	t.Run("the first page fails", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		s.Inject(yahootest.InternalError().On("cookie").Once())
		if _, err := client(t, config(url)).Quotes(t.Context(), []string{"AAPL"}); err != nil || s.Calls("cookie") != 2 {
			t.Errorf("%d cookie calls, %v", s.Calls("cookie"), err)
		}
	})
	t.Run("the first page can't be reached", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		cfg := config(url)
		cfg.CookieURLs = []string{"http://127.0.0.1:1/", url + "/quote/AAPL"}
		if _, err := client(t, cfg).Quotes(t.Context(), []string{"AAPL"}); err != nil || s.Calls("cookie") != 1 {
			t.Errorf("%d cookie calls, %v", s.Calls("cookie"), err)
		}
	})
	t.Run("a page on another host", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		cfg := config(url)
		cfg.CookieURLs = []string{strings.Replace(url, "127.0.0.1", "localhost", 1) + "/"}
		if _, err := client(t, cfg).Quotes(t.Context(), []string{"AAPL"}); err != nil || s.Calls("cookie") != 1 {
			t.Errorf("%d cookie calls, %v", s.Calls("cookie"), err)
		}
	})
	t.Run("no page sets one", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		s.Inject(yahootest.Page().On("cookie"))
		_, err := client(t, config(url)).Quotes(t.Context(), []string{"AAPL"})
		if kindOf(err) != yahoo.Unauthorized || !strings.Contains(err.Error(), "YAHOO_COOKIE_URL") {
			t.Errorf("error %v", err)
		}
	})
}

func TestRefusalsHoldAllCallersBack(t *testing.T) {
	for _, c := range []struct {
		name string
		f    yahootest.Fault
		kind yahoo.Kind
		hold time.Duration // at least
	}{
		{"429 with Retry-After", yahootest.TooManyRequests("1"), yahoo.RateLimited, time.Second},
		{"429 without", yahootest.TooManyRequests(""), yahoo.RateLimited, 500 * time.Millisecond},
		{"500", yahootest.InternalError(), yahoo.Unavailable, 500 * time.Millisecond},
		{"429 with a date in Retry-After", yahootest.TooManyRequests("Sat, 01 Jan 2000 00:01:30 GMT"), yahoo.RateLimited, 80 * time.Second}, // a bubble's clock begins in 2000
		{"503 with Retry-After", yahootest.Fault{Status: 503, Header: http.Header{"Retry-After": {"1"}}}, yahoo.Unavailable, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *yahootest.Server, cl *yahoo.Client) {
				if _, err := cl.Quotes(t.Context(), []string{"AAPL"}); err != nil {
					t.Fatal(err)
				}
				s.Inject(c.f.On("quote").Once())
				began := time.Now()
				_, err := cl.Quotes(within(t, 400*time.Millisecond), []string{"AAPL"})
				var e *yahoo.Error
				if !errors.As(err, &e) || e.Kind != c.kind || e.RetryAfter <= 0 {
					t.Fatalf("a caller without the time to wait: %v", err)
				}
				var callers sync.WaitGroup
				for range 6 {
					callers.Go(func() {
						if _, err := cl.Quotes(t.Context(), []string{"AAPL"}); err != nil {
							t.Error(err)
						}
						if took := time.Since(began); took < c.hold {
							t.Errorf("a caller was let through after %s", took)
						}
					})
				}
				callers.Wait()
				if n := s.Calls("quote"); n != 8 {
					t.Errorf("%d quote calls, want 1 before, 1 refused and 6 after", n)
				}
			})
		})
	}
}

func TestAnswersThatCantBeUsed(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     yahootest.Fault
		kind  yahoo.Kind
		text  string
		calls int
	}{
		{"HTML instead of JSON", yahootest.Page(), yahoo.BadAnswer, `HTML came instead: "Yahoo is part of the family"`, 1},
		{"HTML that says it is JSON", yahootest.Answer("<html><body>oops"), yahoo.BadAnswer, "HTML came instead", 1},
		{"an empty body", yahootest.Answer(""), yahoo.BadAnswer, "truncated", 3},
		{"half a document", yahootest.Answer(`{"quoteResponse":{"result":[{"sym`), yahoo.BadAnswer, "truncated", 3},
		{"a body that is cut off", yahootest.Fault{Cut: true}, yahoo.BadAnswer, "truncated", 3},
		{"too many requests under status 200", yahootest.Answer("Too Many Requests\r\n"), yahoo.RateLimited, "Too Many Requests", 3},
		{"text", yahootest.Answer("Service temporarily away"), yahoo.BadAnswer, "not JSON", 1},
		{"an error document under 200", yahootest.Answer(`{"quoteResponse":{"result":null,"error":{"code":"argument-error","description":"bad"}}}`), yahoo.BadRequest, "bad", 1},
		{"404", yahootest.Fault{Status: 404, Body: "nothing here"}, yahoo.NotFound, "HTTP 404 Not Found: nothing here", 1},
		{"400", yahootest.Fault{Status: 400, Body: `{"quoteResponse":{"result":null,"error":{"code":"argument-error","description":"Missing value"}}}`}, yahoo.BadRequest, "argument-error: Missing value", 1},
		{"a redirect that goes round", yahootest.Fault{Status: 302, Header: http.Header{"Location": {"/v7/finance/quote"}}}, yahoo.BadAnswer, "the redirects have no end", 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, url := standIn(t, yahootest.Options{})
			cl := client(t, config(url))
			s.Inject(c.f.On("quote"))
			a, err := cl.Quotes(t.Context(), []string{"AAPL", "MSFT"})
			if kindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "crumb=") {
				t.Errorf("error %v", err)
			}
			if n := s.Calls("quote"); c.calls >= 0 && n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
			if len(a.Failed) != 2 || len(a.Quotes) > 0 {
				t.Errorf("answer %+v", a)
			}
			s.Heal()
			if _, err := cl.Quotes(t.Context(), []string{"AAPL"}); err != nil {
				t.Errorf("healed: %v", err)
			}
		})
	}
}

func TestACutBodyIsAskedForAgain(t *testing.T) {
	s, url := standIn(t, yahootest.Options{})
	c := client(t, config(url))
	s.Inject(yahootest.Fault{Call: "quote", Times: 2, Cut: true})
	if a, err := c.Quotes(t.Context(), []string{"AAPL"}); err != nil || len(a.Quotes) != 1 {
		t.Errorf("%v", err)
	}
}

func TestAHostThatIsAwayOrSlowIsUnreachable(t *testing.T) {
	t.Run("away", func(t *testing.T) {
		_, err := client(t, config("http://127.0.0.1:1")).Quotes(t.Context(), []string{"AAPL"})
		if kindOf(err) != yahoo.Unreachable || !strings.Contains(err.Error(), "refused") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("slow", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		cfg := config(url)
		cfg.Timeout = 50 * time.Millisecond
		cfg.Attempts = 2
		s.Inject(yahootest.Fault{Call: "quote", Delay: time.Minute})
		_, err := client(t, cfg).Quotes(t.Context(), []string{"AAPL"})
		if kindOf(err) != yahoo.Unreachable || s.Calls("quote") != 2 {
			t.Errorf("%d calls, error %v", s.Calls("quote"), err)
		}
	})
	t.Run("the caller has had enough", func(t *testing.T) {
		s, url := standIn(t, yahootest.Options{})
		s.Inject(yahootest.Fault{Call: "quote", Delay: time.Minute})
		_, err := client(t, config(url)).Quotes(within(t, 50*time.Millisecond), []string{"AAPL"})
		if !errors.Is(err, context.DeadlineExceeded) || kindOf(err) != yahoo.Unreachable {
			t.Errorf("error %v", err)
		}
	})
}

func TestAtMostFourRequestsAreInFlight(t *testing.T) {
	s, url := standIn(t, yahootest.Options{Symbols: 40})
	cfg := config(url)
	cfg.SymbolsPerCall = 2
	c := client(t, cfg)
	s.Inject(yahootest.Fault{Call: "quote", Delay: 20 * time.Millisecond})
	a, err := c.Quotes(t.Context(), s.Market.Symbols())
	if err != nil || len(a.Quotes) != 40 || s.MostInFlight() > 4 || s.MostInFlight() < 2 {
		t.Errorf("%d quotes with %d in flight, %v", len(a.Quotes), s.MostInFlight(), err)
	}
}

// fixed answers cookie and crumb, and quotes through f.
func fixed(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "A3", Value: "d=1", Path: "/"})
	})
	mux.HandleFunc("/v1/test/getcrumb", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a1b2c3d4/.+") })
	mux.HandleFunc("/v7/finance/quote", f)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return web.URL
}

const oneQuote = `{"quoteResponse":{"result":[{"symbol":"^GSPC","regularMarketPrice":6000.25,"regularMarketTime":1731600000,"regularMarketVolume":5}],"error":null}}`

func TestRequestsAreWhatYahooExpects(t *testing.T) {
	var got *http.Request
	url := fixed(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, oneQuote) // as text/plain, which some stand-ins send
	})
	a, err := client(t, config(url)).Quotes(t.Context(), []string{"^GSPC", "EURUSD=X", "GC=F", "BRK-B"})
	if err != nil || len(a.Quotes) != 1 {
		t.Fatal(err)
	}
	if want := "symbols=%5EGSPC%2CEURUSD%3DX%2CGC%3DF%2CBRK-B&crumb=a1b2c3d4%2F.%2B"; got.URL.RawQuery != want {
		t.Errorf("query is %s, want %s", got.URL.RawQuery, want)
	}
	if got.Header.Get("Cookie") != "A3=d=1" || got.UserAgent() != "test" || !strings.Contains(got.Header.Get("Accept-Encoding"), "gzip") {
		t.Errorf("header %v", got.Header)
	}
}

func TestCompressedAnswers(t *testing.T) {
	for _, cut := range []bool{false, true} {
		url := fixed(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "application/json")
			var b strings.Builder
			z := gzip.NewWriter(&b)
			_, _ = io.WriteString(z, oneQuote)
			_ = z.Close()
			body := b.String()
			if cut {
				body = body[:len(body)-12]
			}
			_, _ = io.WriteString(w, body)
		})
		a, err := client(t, config(url)).Quotes(t.Context(), []string{"^GSPC"})
		if !cut && (err != nil || len(a.Quotes) != 1) {
			t.Errorf("whole: %v", err)
		}
		if cut && kindOf(err) != yahoo.BadAnswer {
			t.Errorf("cut: %v", err)
		}
	}
}

func TestSimulatedDataAreNeverCalledReal(t *testing.T) {
	plain := fixed(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, oneQuote) })
	_, marked := standIn(t, yahootest.Options{})
	for _, c := range []struct {
		name, source, url string
		want              tick.Source
	}{
		{"a host that is not Yahoo's", "auto", plain, tick.SourceSimulated},
		{"a host that is said to pass on Yahoo's answers", "yahoo", plain, tick.SourceYahoo},
		{"a host that is said to simulate", "simulated", plain, tick.SourceSimulated},
		{"the stand-in", "auto", marked, tick.SourceSimulated},
		{"the stand-in, said to be Yahoo", "yahoo", marked, tick.SourceSimulated},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(c.url)
			cfg.Source = c.source
			a, err := client(t, cfg).Quotes(t.Context(), []string{"^GSPC"})
			if err != nil || len(a.Quotes) != 1 || a.Quotes[0].Source != c.want {
				t.Errorf("got %+v, %v; want source %v", a.Quotes, err, c.want)
			}
		})
	}
}

func TestSettingsThatCantBeUsedAreNamed(t *testing.T) {
	for want, change := range map[string]func(*yahoo.Config){
		"YAHOO_URL":              func(c *yahoo.Config) { c.URL = "query1.finance.yahoo.com" },
		"YAHOO_COOKIE_URL":       func(c *yahoo.Config) { c.CookieURLs = []string{"ftp://x"} },
		"SOURCE":                 func(c *yahoo.Config) { c.Source = "real" },
		"YAHOO_TIMEOUT":          func(c *yahoo.Config) { c.Timeout = 0 },
		"YAHOO_IN_FLIGHT":        func(c *yahoo.Config) { c.InFlight = 0 },
		"YAHOO_RATE":             func(c *yahoo.Config) { c.Rate = -1 },
		"YAHOO_SYMBOLS_PER_CALL": func(c *yahoo.Config) { c.SymbolsPerCall = 0 },
		"YAHOO_ATTEMPTS":         func(c *yahoo.Config) { c.Attempts = 0 },
		"YAHOO_CIRCUIT_FAILURES": func(c *yahoo.Config) { c.CircuitFailures = 0 },
		"YAHOO_PROXY":            func(c *yahoo.Config) { c.Proxy = "ftp://proxy" },
		"YAHOO_MAX_BACKOFF":      func(c *yahoo.Config) { c.MaxBackoff = -time.Second },
	} {
		cfg := config("http://127.0.0.1:1")
		change(&cfg)
		if _, err := yahoo.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
	}
}

func TestChart(t *testing.T) {
	s, url := standIn(t, yahootest.Options{Seed: 3})
	c := client(t, config(url))
	for _, symbol := range []string{"^GSPC", "EURUSD=X"} {
		chart, err := c.Chart(t.Context(), symbol, yahoo.ChartQuery{Interval: "5m", Range: "1d"})
		if err != nil {
			t.Fatal(err)
		}
		if chart.Symbol != symbol || chart.Source != tick.SourceSimulated || len(chart.Bars) < 280 {
			t.Errorf("chart of %s %v with %d bars", chart.Symbol, chart.Source, len(chart.Bars))
		}
	}
	to := s.Market.Now().Truncate(time.Minute)
	chart, err := c.Chart(t.Context(), "AAPL", yahoo.ChartQuery{Interval: "1m", From: to.Add(-10 * time.Minute), To: to})
	if err != nil || len(chart.Bars) != 10 {
		t.Fatalf("%d bars, %v", len(chart.Bars), err)
	}
	for _, b := range chart.Bars {
		trades := s.Market.TradesBetween("AAPL", time.UnixMilli(b.Start), time.UnixMilli(b.Start).Add(time.Minute))
		volume := int64(0)
		for _, tr := range trades {
			volume += tr.Size
		}
		if b.Open != trades[0].Price || b.Close != trades[len(trades)-1].Price || b.Volume != volume {
			t.Errorf("bar %+v of %d trades", b, len(trades))
		}
	}
	for name, q := range map[string]struct {
		symbol string
		q      yahoo.ChartQuery
		kind   yahoo.Kind
	}{
		"an unknown symbol":      {"NOSUCH", yahoo.ChartQuery{Interval: "1d", Range: "1d"}, yahoo.NotFound},
		"an unknown interval":    {"AAPL", yahoo.ChartQuery{Interval: "7m", Range: "1d"}, yahoo.BadRequest},
		"minutes of a year":      {"AAPL", yahoo.ChartQuery{Interval: "1m", Range: "1y"}, yahoo.BadRequest},
		"a range that runs back": {"AAPL", yahoo.ChartQuery{Interval: "1d", From: to, To: to.Add(-time.Hour)}, yahoo.BadRequest},
	} {
		if _, err := c.Chart(t.Context(), q.symbol, q.q); kindOf(err) != q.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}
