package query

import (
	"context"
	"slices"

	"ticktape/internal/tick"
)

// quote is a row of the answer of quotes. All but Symbol are absent where the
// symbol is not known, or where its source does not say.
type quote struct {
	Symbol        string      `json:"symbol"`
	Last          *tick.Price `json:"last"`
	Change        *Decimal    `json:"change"`
	Percent       *Decimal    `json:"percent"`
	PreviousClose *tick.Price `json:"previous_close"`
	DayVolume     *int64      `json:"day_volume"`
	Currency      *string     `json:"currency"`
	Exchange      *string     `json:"exchange"`
	MarketState   *string     `json:"market_state"`
	Source        *string     `json:"source"`
	EventTime     *Time       `json:"event_time"`
	AgeMS         *int64      `json:"age_ms"`
}

type quotesBody struct {
	Quotes  []quote  `json:"quotes"`
	Unknown []string `json:"unknown"`
	Next    string   `json:"next,omitempty"`
}

func (a *API) quotes(ctx context.Context, f form) (*answer, error) {
	symbols, err := f.symbols()
	if err != nil {
		return nil, err
	}
	limit, err := f.limit()
	if err != nil {
		return nil, err
	}
	pos, paging, err := f.cursor()
	if err != nil {
		return nil, err
	}
	r, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	latest, err := r.LatestQuotes(ctx, symbols)
	if err != nil {
		return nil, err
	}

	body := quotesBody{Quotes: []quote{}, Unknown: []string{}}
	for _, s := range symbols {
		if _, ok := latest[s]; !ok && !paging {
			body.Unknown = append(body.Unknown, s)
		}
	}
	if len(symbols) > 0 && len(latest) == 0 {
		return nil, unknownSymbol("symbols", symbols...)
	}
	names := make([]string, 0, len(latest))
	for s := range latest {
		if s > pos.Symbol {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	if len(names) > limit {
		names = names[:limit]
		body.Next = (&position{Symbol: names[limit-1]}).encode(f.identity())
	}
	now := a.now().UnixMilli()
	for _, s := range names {
		t := latest[s]
		body.Quotes = append(body.Quotes, quoteOf(&t, now))
	}
	// CSV has no other place to say that a symbol is not known.
	rows := slices.Clone(body.Quotes)
	for _, s := range body.Unknown {
		rows = append(rows, quote{Symbol: s})
	}
	return &answer{body: body, rows: rows, next: body.Next}, nil
}

func quoteOf(t *tick.Tick, now int64) quote {
	state, source, at, age := t.MarketState.String(), t.Source.String(), Time(t.EventTime), now-t.EventTime
	q := quote{
		Symbol: t.Symbol, Last: &t.Price,
		Currency: text(t.Currency), Exchange: text(t.Exchange), MarketState: &state, Source: &source,
		EventTime: &at, AgeMS: &age,
	}
	if t.PreviousClose != tick.Unknown {
		q.PreviousClose = &t.PreviousClose
		q.Change = change(t.Price, t.PreviousClose)
		q.Percent = percent(t.Price, t.PreviousClose)
	}
	if t.DayVolume != tick.Unknown {
		q.DayVolume = &t.DayVolume
	}
	return q
}

// text is absent where it is empty.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
