package ask

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
	"ticktape/internal/window/windowpb"
)

const (
	// soon is the wait after a question that was not answered, and idle the one
	// after an answer: what trades comes by the topic of windows.
	soon = time.Second
	idle = 30 * time.Second
	// mostPages bounds an answer: 10,000 symbols are all that a dashboard shows.
	mostPages = 20
)

// FollowQuotes asks for the latest trade of every symbol, also of those that have
// not traded for so long that no live window tells of them: on a Sunday that is
// every share. It does so until ctx is done, and hands each answer to seed.
func (c *Client) FollowQuotes(ctx context.Context, seed func([]board.Quote)) error {
	told := false
	for {
		list, err := c.quotes(ctx)
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

func (c *Client) quotes(ctx context.Context) ([]board.Quote, error) {
	var list []board.Quote
	query := url.Values{"limit": {"1000"}}
	for range mostPages {
		var a answer
		if err := c.get(ctx, "quotes", query, &a); err != nil {
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
