package query

import (
	"cmp"
	"context"
	"slices"

	"ticktape/internal/tick"
)

// quote is a row of the answer of quotes. All but Symbol are absent where the
// symbol is not known, or where its source does not say.
type quote struct {
	Symbol        string   `json:"symbol"`
	Last          *Decimal `json:"last"`
	Change        *Decimal `json:"change"`
	Percent       *Decimal `json:"percent"`
	PreviousClose *Decimal `json:"previous_close"`
	DayVolume     *int64   `json:"day_volume"`
	Currency      *string  `json:"currency"`
	Exchange      *string  `json:"exchange"`
	MarketState   *string  `json:"market_state"`
	Source        *string  `json:"source"`
	EventTime     *Time    `json:"event_time"`
	AgeMS         *int64   `json:"age_ms"`
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
	records, err := r.Quotes(ctx, symbols)
	if err != nil {
		return nil, err
	}
	latest := latestBySymbol(records)

	body := quotesBody{Quotes: []quote{}, Unknown: []string{}}
	for _, s := range symbols {
		if _, ok := latest[s]; !ok && !paging {
			body.Unknown = append(body.Unknown, s)
		}
	}
	if len(symbols) > 0 && len(latest) == 0 {
		return nil, unknownSymbol("symbols", symbols[0])
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
		body.Quotes = append(body.Quotes, quoteOf(latest[s], now))
	}
	// CSV has no other place to say that a symbol is not known.
	rows := slices.Clone(body.Quotes)
	for _, s := range body.Unknown {
		rows = append(rows, quote{Symbol: s})
	}
	return &answer{body: body, rows: rows, next: body.Next}, nil
}

// latestBySymbol picks each symbol's newest trade among those of its logs.
func latestBySymbol(records []Record) map[string]*Record {
	latest := map[string]*Record{}
	for i := range records {
		r := &records[i]
		if l, ok := latest[r.Symbol]; !ok || compare(l, r) < 0 {
			latest[r.Symbol] = r
		}
	}
	return latest
}

// compare orders records by event time; those of one millisecond by their place.
func compare(a, b *Record) int {
	return cmp.Or(cmp.Compare(a.EventTime, b.EventTime), cmp.Compare(a.Log, b.Log), cmp.Compare(a.Offset, b.Offset))
}

func quoteOf(r *Record, now int64) quote {
	state, source, at, age := r.MarketState.String(), r.Source.String(), Time(r.EventTime), now-r.EventTime
	q := quote{
		Symbol: r.Symbol, Last: priceDecimal(r.Price),
		Currency: text(r.Currency), Exchange: text(r.Exchange), MarketState: &state, Source: &source,
		EventTime: &at, AgeMS: &age,
	}
	if r.PreviousClose != tick.Unknown {
		q.PreviousClose = priceDecimal(r.PreviousClose)
		q.Change = change(r.Price, r.PreviousClose)
		q.Percent = percent(r.Price, r.PreviousClose)
	}
	if r.DayVolume != tick.Unknown {
		q.DayVolume = &r.DayVolume
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
