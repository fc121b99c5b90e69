package query

import (
	"context"
	"slices"
	"strings"

	"ticktape/internal/store"
	"ticktape/internal/tick"
)

// event is a dividend or a split.
type event struct {
	Time Time   `json:"time"`
	Kind string `json:"kind"`
	// Amount of a dividend for each share.
	Amount   *tick.Price `json:"amount,omitempty"`
	Currency string      `json:"currency,omitempty"`
	// Of a split, Denominator shares became Numerator ones.
	Numerator   *tick.Price `json:"numerator,omitempty"`
	Denominator *tick.Price `json:"denominator,omitempty"`
	Source      string      `json:"source"`
}

// eventKinds maps what the parameter events may list to the kinds that are stored.
var eventKinds = map[string]string{"dividends": store.Dividend, "splits": store.Split}

// events returns the kinds of events that are asked for, nil where none are.
func (f form) events() (kinds []string, err error) {
	text, ok := f["events"]
	if !ok {
		return nil, nil
	}
	for _, name := range strings.Split(text, ",") {
		kind, ok := eventKinds[name]
		if !ok {
			p := badParameter("events", "There are no events called %.40q: list dividends, splits or both, as in events=dividends,splits.", name)
			p.Allowed = []string{"dividends", "splits"}
			return nil, p
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

// events reads the dividends and splits in from ≤ time < to.
func (k *known) events(ctx context.Context, kinds []string, from, to int64) ([]event, error) {
	actions, err := k.ReadActions(ctx, k.symbol, from, to)
	if err != nil {
		return nil, err
	}
	list := []event{}
	for i := range actions {
		a := &actions[i]
		if !slices.Contains(kinds, a.Kind) {
			continue
		}
		e := event{Time: Time(a.Time), Kind: a.Kind, Source: a.Source.String()}
		if a.Kind == store.Split {
			e.Numerator, e.Denominator = &a.Numerator, &a.Denominator
		} else {
			e.Amount, e.Currency = &a.Amount, a.Currency
		}
		list = append(list, e)
	}
	return list, nil
}
