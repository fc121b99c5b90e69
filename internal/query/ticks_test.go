package query

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	handler "github.com/openfaas/templates-sdk/go-http"
	"pgregory.net/rapid"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/window"
)

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

// get asks for JSON and returns it decoded, failing the test unless it is a success.
func get[T any](t failer, answer func(handler.Request) handler.Response, query string) (body T) {
	t.Helper()
	res := answer(handler.Request{Method: http.MethodGet, QueryString: query})
	if res.StatusCode != http.StatusOK {
		t.Fatalf("?%s: %d %s", query, res.StatusCode, res.Body)
	}
	if err := json.Unmarshal(res.Body, &body); err != nil {
		t.Fatalf("?%s: %v in %s", query, err, res.Body)
	}
	return body
}

type tickPage struct {
	Ticks []struct {
		Log    int32
		Offset int64
	}
	Next string
}

func TestPagesOfTicksHoldEachTradeOfTheRangeOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &memory{chunks: map[store.Window][][]chunk.Record{}, newest: testRecord(0, testStart+5*window.Length, 0).Tick}
		// Few milliseconds and few seqs, so that trades share both and repeat.
		var all []record
		m.logs = rapid.SliceOfNDistinct(rapid.Int32Range(65536, 65539), 1, 3, rapid.ID).Draw(t, "logs")
		for _, log := range m.logs {
			n := rapid.IntRange(0, 60).Draw(t, "n")
			byWindow := map[int64][]chunk.Record{}
			for offset := range n {
				at := testStart + rapid.Int64Range(0, 5).Draw(t, "window")*window.Length + rapid.Int64Range(0, 3).Draw(t, "ms")
				r := testRecord(int64(offset), at, rapid.Int64Range(0, 2).Draw(t, "seq"))
				all = append(all, record{log, r})
				byWindow[window.Start(at)] = append(byWindow[window.Start(at)], r)
			}
			for start, records := range byWindow {
				at := store.Window{Start: start, Log: log}
				for i := 0; i < len(records); {
					n := rapid.IntRange(1, 8).Draw(t, "chunk")
					end := min(i+n, len(records))
					m.chunks[at] = append(m.chunks[at], records[i:end])
					i = end - rapid.IntRange(0, end-i-1).Draw(t, "overlap")
					if end == len(records) {
						break
					}
				}
			}
		}
		from := testStart + rapid.Int64Range(-10, 200_000).Draw(t, "from")
		to := from + rapid.Int64Range(1, 400_000).Draw(t, "length")
		slices.SortFunc(all, func(a, b record) int { return compare(&a, &b) })
		seen := map[any]bool{}
		var want []string
		for _, r := range all {
			if !seen[r.ID()] && r.EventTime >= from && r.EventTime < to {
				want = append(want, fmt.Sprint(r.log, "/", r.Offset))
			}
			seen[r.ID()] = true
		}

		api := m.api()
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		query := fmt.Sprintf("symbol=AAPL&from=%d&to=%d&limit=%d", from, to, limit)
		var got []string
		for cursor := ""; ; {
			page := get[tickPage](t, api.Ticks, query+cursor)
			for _, tr := range page.Ticks {
				got = append(got, fmt.Sprint(tr.Log, "/", tr.Offset))
			}
			if len(page.Ticks) > limit || len(got) > len(want) {
				t.Fatalf("pages have %q, want %q", got, want)
			}
			if page.Next == "" {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(page.Next)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("pages have %q, want %q", got, want)
		}
	})
}

func TestALongQuietRangeIsReadOverSeveralPages(t *testing.T) {
	const days = 20
	last := int64(testStart + days*dayLength)
	r := testRecord(1, last, 0)
	m := &memory{newest: r.Tick, logs: []int32{65536}, chunks: map[store.Window][][]chunk.Record{{Start: last, Log: 65536}: {{r}}}}
	api := m.api()
	query := fmt.Sprintf("symbol=AAPL&from=%d&to=%d", int64(testStart), last+1)
	pages, trades := 0, 0
	for cursor := ""; ; pages++ {
		m.reads = 0
		page := get[tickPage](t, api.Ticks, query+cursor)
		if m.reads > maxReads+64 {
			t.Fatalf("a page took %d reads", m.reads)
		}
		trades += len(page.Ticks)
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	if trades != 1 || pages < 3 {
		t.Errorf("%d trades on %d pages", trades, pages)
	}
}

func TestAWindowOfAnySizeTakesTheMemoryOfAPage(t *testing.T) {
	c := &collector{from: testStart, to: testStart + window.Length, keep: 101}
	most := 0
	var b chunk.Builder
	for offset := int64(0); offset < 200_000; {
		b.Reset("AAPL")
		for range 1_000 {
			r := testRecord(offset, testStart+(offset*7919)%window.Length, offset)
			b.Add(&r)
			offset++
		}
		s := b.Summary()
		if err := c.add(65536, &s, b.Append(nil)); err != nil {
			t.Fatal(err)
		}
		most = max(most, cap(c.records))
	}
	if most > 4*c.keep {
		t.Errorf("%d records were kept for a page of %d", most, c.keep)
	}
	if page := c.page(); len(page) != c.keep || page[0].EventTime != testStart {
		t.Errorf("the page has %d records", len(page))
	}
}
