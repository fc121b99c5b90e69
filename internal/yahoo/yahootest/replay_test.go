package yahootest

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

// recorded writes files of recorded answers and returns their folder.
func recorded(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"quotes.json": `{"request":"/v7/finance/quote?symbols=ACME%2CBETA&crumb=CRUMB","status":200,"contentType":"application/json;charset=utf-8","recorded":"today","body":
			{"quoteResponse":{"result":[
				{"symbol":"ACME","regularMarketPrice":12.340,"regularMarketTime":1731600000,"regularMarketVolume":5},
				{"symbol":"BETA","regularMarketPrice":1.0489877123,"regularMarketTime":1731600000}],"error":null}}}`,
		"list.json": `[{"request":"/v7/finance/quote?symbols=GAMMA","body":{"quoteResponse":{"result":[{"symbol":"GAMMA","regularMarketPrice":3,"regularMarketTime":1731600000}],"error":null}}},
			{"request":"/v7/finance/quote?symbols=GONE","body":{"quoteResponse":{"result":[],"error":null}}},
			{"request":"/v1/test/getcrumb","contentType":"text/plain;charset=utf-8","body":"abcDEF12.gh"}]`,
		"series.json": `{"request":"/v8/finance/chart/ACME?interval=1d&range=1d&events=div","status":422,"contentType":"application/json","body":{"chart":{"result":null,"error":{"code":"Unprocessable Entity","description":"not yet"}}}}
			{"request":"/v8/finance/chart/ACME?interval=1d&range=1d","body":{"chart":{"result":[{"meta":{"symbol":"ACME"},"timestamp":[60],"indicators":{"quote":[{"open":[1],"high":[2],"low":[1],"close":[2],"volume":[7]}]}}],"error":null}}}`,
		"notes.txt": "no recorded answer",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRecordedAnswersAreServedAsTheyAre(t *testing.T) {
	recordings, err := LoadRecordings(recorded(t))
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(NewReplay(recordings))
	defer web.Close()
	c, err := yahoo.New(yahoo.Config{
		URL: web.URL, Source: "yahoo", Timeout: 5 * time.Second, InFlight: 4, Rate: 1000, SymbolsPerCall: 100, Attempts: 1, MaxBackoff: time.Second, CircuitFailures: 9,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	a, err := c.Quotes(t.Context(), []string{"BETA", "ACME"})
	if err != nil || len(a.Quotes) != 2 || a.Quotes[1].Price.String() != "1.04898771" || a.Quotes[0].Source != tick.SourceYahoo {
		t.Errorf("the same symbols in another order: %+v, %v", a, err)
	}
	a, err = c.Quotes(t.Context(), []string{"acme", "GAMMA", "NOSUCH"})
	if err != nil || len(a.Quotes) != 2 || len(a.Unknown) != 1 || a.Quotes[0].Price.String() != "12.34" {
		t.Errorf("symbols in other company: %+v, %v", a, err)
	}
	if a, err = c.Quotes(t.Context(), []string{"GONE"}); err != nil || len(a.Unknown) != 1 {
		t.Errorf("a symbol that was recorded as unknown: %+v, %v", a, err)
	}
	if _, err = c.Quotes(t.Context(), []string{"NOSUCH"}); err == nil || !strings.Contains(err.Error(), "No answer was recorded to /v7/finance/quote?symbols=NOSUCH. Recorded were: ") {
		t.Errorf("a symbol that was not recorded: %v", err)
	}
	day := yahoo.ChartQuery{Interval: "1d", Range: "1d"}
	if _, err = c.Chart(t.Context(), "ACME", day); err == nil || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("the first of two answers: %v", err)
	}
	for range 2 {
		if chart, err := c.Chart(t.Context(), "ACME", day); err != nil || len(chart.Bars) != 1 {
			t.Errorf("the second of two answers: %v, %v", chart, err)
		}
	}
	if _, err = c.Chart(t.Context(), "ACME", yahoo.ChartQuery{Interval: "1m", Range: "1d"}); err == nil || !strings.Contains(err.Error(), "No answer was recorded to /v8/finance/chart/ACME?interval=1m&range=1d") {
		t.Errorf("a chart that was not recorded: %v", err)
	}
	res, err := web.Client().Get(web.URL + "/v10/other")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 404 || res.Header.Get(yahoo.SimulatedHeader) != "" {
		t.Errorf("another path: %d, %v", res.StatusCode, res.Header)
	}
}

func TestFilesThatAreNoRecordedAnswersAreTold(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":          {"quotes", "invalid character"},
		"no request":       {`{"body":{}}`, `request "" is no path`},
		"an address":       {`{"request":"https://query1.finance.yahoo.com/x\u0000"}`, "is no path"},
		"an odd status":    {`{"request":"/x","status":42}`, "has the status 42"},
		"nothing":          {``, "there are no recorded answers"},
		"half":             {`{"request":"/x","body":{`, "unexpected"},
		"a status as text": {`[{"request":"/x","status":"200"}]`, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".json")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadRecordings(file); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := LoadRecordings(filepath.Join(dir, "missing.json")); err == nil {
		t.Error("a file that is not there was read")
	}
}
