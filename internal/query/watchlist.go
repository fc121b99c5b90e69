package query

import (
	"context"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/store"
)

// watched is a row of the answer of watchlist. What is not known is absent.
type watched struct {
	Symbol   string  `json:"symbol"`
	Name     *string `json:"name"`
	Exchange *string `json:"exchange"`
	// State is "active", or "unknown" where Yahoo does not know the symbol.
	State      string  `json:"state"`
	Reason     *string `json:"reason"`
	AddedAt    Time    `json:"added_at"`
	CheckedAt  *Time   `json:"checked_at"`
	StreamedBy *string `json:"streamed_by"`
	// DelayedBy is how many minutes Yahoo's data of it lag behind the exchange.
	DelayedBy *int `json:"delayed_by"`
}

type watchlistBody struct {
	Symbols []watched `json:"symbols"`
	// Limit is how many symbols the list may have.
	Limit int `json:"limit"`
}

// Watchlist answers GET: the symbols of the list that read returns, which may have
// limit of them.
func (a *API) Watchlist(req handler.Request, limit int, read func(context.Context) ([]store.Watched, error)) handler.Response {
	return a.serve(req, function{"watchlist", []string{"format"}, func(_ *API, ctx context.Context, _ form) (*answer, error) {
		list, err := read(ctx)
		if err != nil {
			return nil, err
		}
		rows := []watched{}
		for i := range list {
			rows = append(rows, watchedOf(&list[i]))
		}
		return &answer{body: watchlistBody{rows, limit}, rows: rows}, nil
	}})
}

func watchedOf(s *store.Watched) watched {
	w := watched{
		Symbol: s.Symbol, Name: text(s.Name), Exchange: text(s.Exchange), State: "active",
		Reason: text(s.Reason), AddedAt: Time(s.AddedAt), StreamedBy: text(s.StreamedBy), DelayedBy: s.Delay,
	}
	if s.Unknown {
		w.State = "unknown"
	}
	if s.CheckedAt != 0 {
		at := Time(s.CheckedAt)
		w.CheckedAt = &at
	}
	return w
}
