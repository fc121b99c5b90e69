package ask

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

const (
	first = `{"quotes":[{"symbol":"AAPL","last":136.76,"change":-0.425,"percent":-0.3098,"previous_close":137.185,"day_volume":75693830,
		"currency":"USD","exchange":"NMS","market_state":"CLOSED","source":"yahoo","event_time":"2021-02-05T21:00:02.000Z","age_ms":1}],"unknown":[],"next":"on"}`
	second = `{"quotes":[{"symbol":"ZZZ","last":12.5,"change":null,"percent":null,"previous_close":null,"day_volume":null,
		"currency":null,"exchange":null,"market_state":"UNKNOWN","source":"simulated","event_time":"2026-11-24T09:21:29.179Z","age_ms":1}],"unknown":[]}`
)

// gateway fails twice before it answers in two pages.
func gateway(t *testing.T) string {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case r.URL.Path != "/function/quotes":
			http.NotFound(w, r)
		case asked == 1:
			http.Error(w, "Cassandra is away", http.StatusServiceUnavailable)
		case asked == 2:
			fmt.Fprint(w, "<html>")
		case r.URL.Query().Get("cursor") == "on":
			fmt.Fprint(w, second)
		default:
			fmt.Fprint(w, first)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestQuotesOfAllPagesAreHandedOnOnceTheFunctionAnswers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var got []board.Quote
	c, err := New(gateway(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.FollowQuotes(ctx, func(list []board.Quote) {
		got = list
		cancel()
	}); err != nil {
		t.Fatal(err)
	}
	volume, close := int64(75_693_830), int64(13_718_500_000)
	want := []board.Quote{
		{Symbol: "AAPL", Latest: &windowpb.Latest{
			EventTime: time.Date(2021, 2, 5, 21, 0, 2, 0, time.UTC).UnixMilli(), Price: 13_676_000_000, DayVolume: &volume, PreviousClose: &close,
			Currency: "USD", Exchange: "NMS", MarketState: int32(tick.MarketClosed), Source: int32(tick.SourceYahoo),
		}},
		{Symbol: "ZZZ", Latest: &windowpb.Latest{
			EventTime: time.Date(2026, 11, 24, 9, 21, 29, 179e6, time.UTC).UnixMilli(), Price: 1_250_000_000, Source: int32(tick.SourceSimulated),
		}},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
