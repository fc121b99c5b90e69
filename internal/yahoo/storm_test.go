package yahoo_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/yahootest"
)

// inBubble runs a test by a clock that jumps to the next moment at which
// something happens, with the settings that a process has by default.
func inBubble(t *testing.T, f func(t *testing.T, s *yahootest.Server, c *yahoo.Client)) {
	synctest.Test(t, func(t *testing.T) {
		s := yahootest.NewServer(yahootest.Options{Symbols: 50})
		transport, stop := yahootest.Pipe(s)
		defer stop()
		c, err := yahoo.New(yahoo.Config{
			URL: "http://yahoo.test", UserAgent: "test", Source: "auto", Timeout: 8 * time.Second, InFlight: 4, Rate: 4,
			SymbolsPerCall: 100, Attempts: 3, MaxBackoff: time.Minute, CircuitFailures: 5, Transport: transport,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f(t, s, c)
	})
}

// fetch asks as the function of that name does: within 15 seconds.
func fetch(t *testing.T, c *yahoo.Client) error {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	_, err := c.Quotes(ctx, []string{"AAPL", "MSFT"})
	return err
}

func metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestAStormOf429OfTenMinutesIsSurvived(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault yahootest.Fault
		most  int // requests that the storm may see
		told  int // of about 100 callers are told at least that the circuit is open
	}{
		{"on all calls", yahootest.TooManyRequests(""), 25, 50},
		{"on quotes", yahootest.TooManyRequests("").On("quote"), 25, 50},
		{"with a Retry-After that is too short", yahootest.TooManyRequests("1"), 25, 50},
		{"with a Retry-After of two minutes", yahootest.TooManyRequests("120"), 7, 5}, // the fifth comes late
		// These ask for cookies before each crumb.
		{"that is a crumb's text", yahootest.Answer("Too Many Requests\r\n").On("crumb"), 60, 50},
		{"that is an outage", yahootest.InternalError(), 60, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *yahootest.Server, client *yahoo.Client) {
				if c.fault.Call == "quote" {
					if err := fetch(t, client); err != nil {
						t.Fatal(err)
					}
				}
				calls := func() int {
					return s.Calls("cookie") + s.Calls("crumb") + s.Calls("quote")
				}
				before, began := calls(), time.Now()
				const storm = 10 * time.Minute
				s.Inject(c.fault.During(storm))
				opens := metric(t, "yahoo_circuit_opens_total", "")
				open := 0
				schedule := time.NewTicker(5 * time.Second)
				defer schedule.Stop()
				for time.Since(began) < storm-time.Minute {
					asked := time.Now()
					err := fetch(t, client)
					var e *yahoo.Error
					if !errors.As(err, &e) || time.Since(asked) > 15*time.Second {
						t.Fatalf("after %s: %v", time.Since(asked), err)
					}
					if e.Kind == yahoo.CircuitOpen {
						open++
						if e.RetryAfter <= 0 || client.Status().Circuit != "open" || metric(t, "yahoo_circuit_state", "open") != 1 {
							t.Fatalf("open: %v, %+v", err, client.Status())
						}
					}
					<-schedule.C
				}
				if n := calls() - before; n > c.most || n < 4 {
					t.Errorf("%d requests were sent during the storm, want at most %d", n, c.most)
				}
				if open < c.told || metric(t, "yahoo_circuit_opens_total", "") != opens+1 {
					t.Errorf("%d callers were told that the circuit is open, which it was %g times", open, metric(t, "yahoo_circuit_opens_total", "")-opens)
				}
				for fetch(t, client) != nil {
					<-schedule.C
				}
				if after := time.Since(began) - storm; after > 3*time.Minute {
					t.Errorf("it went on %s after the storm", after)
				}
				if s := client.Status(); s.Circuit != "closed" || s.Failures != 0 || metric(t, "yahoo_circuit_state", "closed") != 1 {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

// TestAnOpenCircuitIsToldAtOnce: nobody waits for a turn within YAHOO_RATE, nor
// for who waits for Yahoo, to hear that nothing is asked.
func TestAnOpenCircuitIsToldAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, s *yahootest.Server, c *yahoo.Client) {
		s.Inject(yahootest.TooManyRequests("60"))
		for c.Status().Circuit != "open" {
			_, _ = c.Quotes(t.Context(), []string{"AAPL"})
		}
		var calls sync.WaitGroup
		began := time.Now()
		for range 50 {
			calls.Go(func() {
				if _, err := c.Quotes(t.Context(), []string{"AAPL"}); kindOf(err) != yahoo.CircuitOpen {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("told after %s", took)
		}
	})
}

func TestAHostThatDoesNotAnswerOpensTheCircuit(t *testing.T) {
	inBubble(t, func(t *testing.T, s *yahootest.Server, c *yahoo.Client) {
		if err := fetch(t, c); err != nil {
			t.Fatal(err)
		}
		before := s.Calls("quote")
		s.Inject(yahootest.Fault{Call: "quote", Delay: time.Hour}.During(10 * time.Minute))
		for range 60 {
			if err := fetch(t, c); err == nil {
				t.Fatal("answered")
			}
			time.Sleep(5 * time.Second)
		}
		if n := s.Calls("quote") - before; n > 20 {
			t.Errorf("%d requests in ten minutes", n)
		}
		if kind := kindOf(fetch(t, c)); kind != yahoo.CircuitOpen && kind != yahoo.Unreachable {
			t.Errorf("kind %s", kind)
		}
		time.Sleep(15 * time.Minute)
		if err := fetch(t, c); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}

func TestAThousandSymbolsGoWithinRateAndInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := yahootest.NewServer(yahootest.Options{Symbols: 1200})
		var longest atomic.Int64
		transport, stop := yahootest.Pipe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			longest.Store(max(longest.Load(), int64(len(r.RequestURI))))
			s.ServeHTTP(w, r)
		}))
		defer stop()
		cfg := config("http://yahoo.test")
		cfg.Rate, cfg.Transport = 2, transport
		c, err := yahoo.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s.Inject(yahootest.Fault{Call: "quote", Delay: 3 * time.Second})
		began := time.Now()
		a, err := c.Quotes(t.Context(), s.Market.Symbols())
		if err != nil || len(a.Quotes) != 1200 || s.Calls("quote") != 12 || s.Calls("crumb") != 1 {
			t.Errorf("%d quotes by %d calls, %v", len(a.Quotes), s.Calls("quote"), err)
		}
		if took := time.Since(began); s.MostInFlight() != 4 || took < 9*time.Second || took > 20*time.Second {
			t.Errorf("%d in flight, %s", s.MostInFlight(), took)
		}
		// Long symbols of odd signs make more requests, none of them too long.
		s.Heal()
		var odd []string
		for i := range 300 {
			odd = append(odd, fmt.Sprintf("^%s&%%=%d", strings.Repeat("^", 50), i))
		}
		if a, err := c.Quotes(t.Context(), odd); err != nil || len(a.Unknown) != 300 {
			t.Errorf("%d unknown, %v", len(a.Unknown), err)
		}
		if longest.Load() > 5000 {
			t.Errorf("an address of %d characters", longest.Load())
		}
	})
}

func TestOneRenewalServesAllCallersEvenWhereItFails(t *testing.T) {
	inBubble(t, func(t *testing.T, s *yahootest.Server, c *yahoo.Client) {
		slow := yahootest.Page().On("crumb")
		slow.Delay = time.Second // until when all callers wait
		s.Inject(slow)
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				if err := fetch(t, c); kindOf(err) != yahoo.BadAnswer && kindOf(err) != yahoo.CircuitOpen {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if n := s.Calls("crumb"); n > 2 {
			t.Errorf("%d crumb calls for 20 callers, want one a cookie page", n)
		}
		s.Heal()
		time.Sleep(2 * time.Minute)
		if err := fetch(t, c); err != nil {
			t.Error(err)
		}
	})
}
