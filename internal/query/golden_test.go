package query

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/query/querytest"
	"ticktape/internal/testbed"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestAnswersOnARealStore asks about the market of querytest and compares each
// answer with testdata/NAME.golden, which shows what was asked and what came back.
func TestAnswersOnARealStore(t *testing.T) {
	s := testbed.Store(t)
	querytest.Fill(t, s)
	api := newAPI(func(context.Context) (reader, error) { return s, nil })
	api.now = func() time.Time { return time.UnixMilli(querytest.Start + 7*minuteLength) }
	spec := querytest.Load(t)

	for _, c := range []struct{ name, function, query, accept string }{
		{"quotes of all symbols", "quotes", "", ""},
		{"quotes of some symbols, one unknown", "quotes", "symbols=AAPL,^GSPC,NOPE", ""},
		{"quotes as CSV", "quotes", "symbols=BRK-B,AAPL,NOPE&format=csv", ""},
		{"quotes by the page", "quotes", "limit=2", ""},
		{"quotes of unknown symbols", "quotes", "symbols=NOPE,NADA", ""},
		{"candles by the minute to the open one", "candles", "symbol=AAPL&interval=1m", ""},
		{"candles of five minutes", "candles", "symbol=AAPL&interval=5m&from=2026-03-02T14:31:00Z&to=2026-03-02T14:36:00Z", ""},
		{"candles of the hour as CSV", "candles", "symbol=AAPL&interval=1h&from=2026-03-02", "text/csv"},
		{"candles of days to the open one", "candles", "symbol=AAPL&interval=1d", ""},
		{"candles without volume", "candles", "symbol=%5EGSPC&interval=15m", ""},
		{"candles by the page", "candles", "symbol=AAPL&interval=1m&limit=2&from=1772461800000&to=1772462100000", ""},
		{"candles of a time without trades", "candles", "symbol=AAPL&interval=1m&from=2025-01-01&to=2025-01-02", ""},
		{"ticks of a minute", "ticks", "symbol=AAPL&from=2026-03-02T14:31:00Z&to=2026-03-02T14:32:00Z", ""},
		{"ticks by the page as CSV", "ticks", "symbol=AAPL&limit=2", "text/csv;q=0.9, application/json;q=0.1"},
		{"ticks of a symbol that says little", "ticks", "symbol=BRK-B", ""},

		{"no symbol", "candles", "interval=5m", ""},
		{"an unknown symbol", "candles", "symbol=NOPE&interval=5m", ""},
		{"a symbol in the wrong case", "ticks", "symbol=aapl", ""},
		{"a symbol with a line break", "ticks", "symbol=AA%0APL", ""},
		{"no interval", "candles", "symbol=AAPL", ""},
		{"interval=7m", "candles", "symbol=AAPL&interval=7m", ""},
		{"from after to", "candles", "symbol=AAPL&interval=5m&from=2026-03-03&to=2026-03-02", ""},
		{"from equal to to", "ticks", "symbol=AAPL&from=2026-03-02&to=2026-03-02", ""},
		{"a time in seconds", "ticks", "symbol=AAPL&from=1772461800", ""},
		{"a range too wide for minutes", "candles", "symbol=AAPL&interval=1m&from=2026-01-01&to=2026-03-02", ""},
		{"a range too wide for ticks", "ticks", "symbol=AAPL&from=2020-01-01", ""},
		{"a limit of a million", "ticks", "symbol=AAPL&limit=1000000", ""},
		{"a limit of zero", "quotes", "limit=0", ""},
		{"a made-up cursor", "ticks", "symbol=AAPL&cursor=AQIDBAUGBwg", ""},
		{"a misspelt parameter", "candles", "symbol=AAPL&intervall=5m", ""},
		{"a parameter given twice", "ticks", "symbol=AAPL&symbol=MSFT", ""},
		{"a parameter without a value", "quotes", "symbols=", ""},
		{"an empty symbol in the list", "quotes", "symbols=AAPL,,MSFT", ""},
		{"a format that there is not", "quotes", "format=xml", ""},
		{"a query string that can't be read", "quotes", "symbols=%zz", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := http.Header{}
			if c.accept != "" {
				header.Set("Accept", c.accept)
			}
			res := spec.Ask(t, handleOf(api, c.function), c.function, c.query, header)
			compareGolden(t, c.name, golden(c.function, c.query, c.accept, res))
		})
	}

	t.Run("the pages of each function come to the whole", func(t *testing.T) {
		for _, c := range []struct{ function, query string }{
			{"quotes", "format=csv"},
			{"candles", "symbol=AAPL&interval=1m&format=csv"},
			{"candles", "symbol=AAPL&interval=1d&format=csv"},
			{"ticks", "symbol=AAPL&format=csv"},
		} {
			handle := handleOf(api, c.function)
			whole := spec.Ask(t, handle, c.function, c.query, nil)
			head, _, _ := bytes.Cut(whole.Body, []byte("\r\n"))
			var pages []byte
			for query := c.query + "&limit=1"; ; {
				page := spec.Ask(t, handle, c.function, query, nil)
				if page.StatusCode != http.StatusOK {
					t.Fatalf("%s?%s: %s", c.function, query, page.Body)
				}
				pages = append(pages, bytes.TrimPrefix(page.Body, append(slices.Clone(head), "\r\n"...))...)
				next, ok := strings.CutPrefix(page.Header.Get("Link"), "<?")
				if !ok {
					break
				}
				query, _, _ = strings.Cut(next, ">")
			}
			if got := string(head) + "\r\n" + string(pages); got != string(whole.Body) {
				t.Errorf("%s?%s: pages come to\n%s, not to\n%s", c.function, c.query, got, whole.Body)
			}
		}
	})
	t.Run("a cursor is refused by another query", func(t *testing.T) {
		page := get[tickPage](t, api.Ticks, "symbol=AAPL&limit=2")
		res := api.Ticks(handler.Request{Method: http.MethodGet, QueryString: "symbol=%5EGSPC&cursor=" + url.QueryEscape(page.Next)})
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(res.Body), `"parameter":"cursor"`) {
			t.Errorf("%d %s", res.StatusCode, res.Body)
		}
	})
}

func handleOf(api *API, function string) func(handler.Request) (handler.Response, error) {
	answer := map[string]func(handler.Request) handler.Response{"quotes": api.Quotes, "candles": api.Candles, "ticks": api.Ticks}[function]
	return func(req handler.Request) (handler.Response, error) { return answer(req), nil }
}

// golden shows a request and its answer.
func golden(function, query, accept string, res handler.Response) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /function/%s?%s\n", function, query)
	if accept != "" {
		fmt.Fprintf(&b, "Accept: %s\n", accept)
	}
	fmt.Fprintf(&b, "\n%d %s\n", res.StatusCode, http.StatusText(res.StatusCode))
	for _, name := range []string{"Content-Type", "Cache-Control", "Link"} {
		if v := res.Header.Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	b.WriteByte('\n')
	b.Write(res.Body)
	return b.Bytes()
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", strings.NewReplacer(" ", "-", ",", "", "=", "-", "'", "").Replace(name)+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run go test ./internal/query -update and read what it wrote", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}
