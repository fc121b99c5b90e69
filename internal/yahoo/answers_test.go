package yahoo_test

import (
	"strings"
	"testing"
	"time"

	"ticktape/internal/yahoo"
	"ticktape/internal/yahoo/yahootest"
)

// TestOddAnswersOfTheStandIn asks for three symbols while one fault after the
// other befalls quotes.
func TestOddAnswersOfTheStandIn(t *testing.T) {
	for _, c := range []struct {
		fault  string
		quotes int
		kind   yahoo.Kind
		failed string // of AAPL
	}{
		{"kind=gzip", 3, 0, ""},
		{"kind=formatted", 3, 0, ""},
		{"kind=nan", 2, 0, "regularMarketPrice is text instead of a number"},
		{"kind=as-text", 2, 0, "regularMarketPrice is text instead of a number"},
		{"kind=null", 2, 0, "regularMarketPrice is missing"},
		{"kind=huge", 2, 0, `"1e300" is out of range`},
		{"kind=negative", 2, 0, "regularMarketPrice is 0"}, // a price that is smaller than any
		{"kind=gzip-cut", 0, yahoo.BadAnswer, "truncated"},
		{"kind=gzip-bomb", 0, yahoo.BadAnswer, "larger than"},
		{"kind=truncated", 0, yahoo.BadAnswer, "truncated"},
		{"kind=cut", 0, yahoo.BadAnswer, "truncated"},
		{"kind=empty", 0, yahoo.BadAnswer, "truncated"},
		{"kind=html", 0, yahoo.BadAnswer, "HTML came instead"},
		{"kind=text", 0, yahoo.BadAnswer, "not JSON"},
		{"kind=loop", 0, yahoo.BadAnswer, "redirects have no end"},
		{"kind=404", 0, yahoo.NotFound, "404"},
		{"kind=422", 0, yahoo.BadRequest, "422"},
		{"kind=invalid-crumb", 0, yahoo.Unauthorized, "Invalid Crumb"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			s, url := standIn(t, yahootest.Options{})
			f, err := yahootest.ParseFault(c.fault + "&call=quote")
			if err != nil {
				t.Fatal(err)
			}
			s.Inject(f)
			cfg := config(url)
			cfg.Attempts = 1
			a, err := client(t, cfg).Quotes(t.Context(), []string{"AAPL", "MSFT", "EURUSD=X"})
			if kindOf(err) != c.kind || len(a.Quotes) != c.quotes || len(a.Quotes)+len(a.Failed) != 3 || len(a.Unknown) > 0 {
				t.Fatalf("%+v, %v", a, err)
			}
			if c.failed != "" && (a.Failed[0].Symbol != "AAPL" || !strings.Contains(a.Failed[0].Reason, c.failed)) {
				t.Errorf("failed %v", a.Failed)
			}
			for _, q := range a.Quotes {
				// The stand-in answered a moment ago, in whole seconds.
				traded := false
				for _, tr := range s.Market.TradesBetween(q.Symbol, s.Market.Now().Add(-2*time.Minute), s.Market.Now()) {
					traded = traded || tr.Price == q.Price && tr.Time/1000*1000 == q.Time
				}
				if !traded {
					t.Errorf("%s never traded at %s", q.Symbol, q.Price)
				}
			}
		})
	}
}

func TestChartsThatNeedACrumbGetOne(t *testing.T) {
	s, url := standIn(t, yahootest.Options{})
	c := client(t, config(url))
	s.Inject(yahootest.Fault{Call: "chart", Status: 401}.Once())
	to := s.Market.Now()
	for range 2 {
		if _, err := c.Chart(t.Context(), "AAPL", yahoo.ChartQuery{Interval: "1m", From: to.Add(-10 * time.Minute), To: to}); err != nil {
			t.Fatal(err)
		}
	}
	if s.Calls("chart") != 3 || s.Calls("crumb") != 1 {
		t.Errorf("%d chart and %d crumb calls", s.Calls("chart"), s.Calls("crumb"))
	}
}

func TestSymbolsThatCantBeAskedForFailAlone(t *testing.T) {
	_, url := standIn(t, yahootest.Options{})
	c := client(t, config(url))
	bad := []string{"", "A,B", "..", "A B", "ü", strings.Repeat("A", 65)}
	a, err := c.Quotes(t.Context(), append(bad, "AAPL", "aapl", "A&B", "A%B", "A/B"))
	if err != nil || len(a.Quotes) != 1 || len(a.Failed) != len(bad) || len(a.Unknown) != 3 {
		t.Errorf("%+v, %v", a, err)
	}
	for _, s := range bad {
		if _, err := c.Chart(t.Context(), s, yahoo.ChartQuery{Interval: "1d", Range: "1d"}); kindOf(err) != yahoo.BadRequest {
			t.Errorf("chart of %q: %v", s, err)
		}
	}
	if _, err := c.Chart(t.Context(), "A%2F/&B", yahoo.ChartQuery{Interval: "1d", Range: "1d"}); kindOf(err) != yahoo.NotFound {
		t.Errorf("chart of an odd symbol: %v", err)
	}
}
