// Package quotes asks the query function "quotes" for the latest trade of every
// symbol, also of those that have not traded for so long that no live window tells
// of them: on a Sunday that is every share.
package quotes

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

const (
	// soon is the wait after a question that was not answered, and idle the one
	// after an answer: what trades comes by the topic of windows.
	soon = 2 * time.Second
	idle = 30 * time.Second
	// mostPages bounds an answer: 10,000 symbols are all that a dashboard shows.
	mostPages = 20
	maxPage   = 4 << 20
)

// Follow asks through the OpenFaaS gateway until ctx is done, and hands each
// answer to seed.
func Follow(ctx context.Context, gateway string, seed func([]board.Quote)) error {
	told := false
	for {
		list, err := ask(ctx, gateway)
		wait := idle
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = soon
			if !told {
				slog.Warn("the latest trades of quiet symbols are not known yet", "error", err)
				told = true
			}
		default:
			told = false
			seed(list)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

var client = &http.Client{Timeout: 10 * time.Second}

// answer is what is used of the function's answer.
type answer struct {
	Quotes []struct {
		Symbol        string      `json:"symbol"`
		Last          tick.Price  `json:"last"`
		PreviousClose *tick.Price `json:"previous_close"`
		DayVolume     *int64      `json:"day_volume"`
		Currency      string      `json:"currency"`
		Exchange      string      `json:"exchange"`
		MarketState   string      `json:"market_state"`
		Source        string      `json:"source"`
		EventTime     time.Time   `json:"event_time"`
	} `json:"quotes"`
	Next string `json:"next"`
}

func ask(ctx context.Context, gateway string) ([]board.Quote, error) {
	var list []board.Quote
	query := url.Values{"limit": {"1000"}}
	for range mostPages {
		a, err := page(ctx, gateway+"/function/quotes?"+query.Encode())
		if err != nil {
			return nil, err
		}
		for _, q := range a.Quotes {
			list = append(list, board.Quote{Symbol: q.Symbol, Latest: &windowpb.Latest{
				EventTime: q.EventTime.UnixMilli(), Price: int64(q.Last), DayVolume: q.DayVolume, PreviousClose: (*int64)(q.PreviousClose),
				Currency: q.Currency, Exchange: q.Exchange,
				MarketState: int32(tick.ParseMarketState(q.MarketState)), Source: int32(tick.ParseSource(q.Source)),
			}})
		}
		if a.Next == "" {
			break
		}
		query.Set("cursor", a.Next)
	}
	return list, nil
}

func page(ctx context.Context, address string) (a answer, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return a, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage))
	if err != nil {
		return a, err
	}
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("the function quotes answers %s: %.200s", resp.Status, body)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return a, fmt.Errorf("the answer of the function quotes: %w", err)
	}
	return a, nil
}
