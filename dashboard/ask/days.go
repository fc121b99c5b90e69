package ask

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/tick"
)

// Days is what has days with gaps: the hub.
type Days interface {
	Gaps(after string, n int) []board.Gap
	Fill(g board.Gap, minutes []board.Minute) bool
}

const (
	// gapsAtOnce is how many gaps are looked up between two looks at what there is.
	gapsAtOnce = 16
	gapsPause  = time.Second
	gapsRetry  = 10 * time.Second
	// barren is how long a day is looked up of which nothing is stored. The history
	// of a symbol comes from charts a while after the symbol.
	barren = 10 * time.Minute
)

// look is what a gap was filled with when it was looked up first, or with more
// than before.
type look struct {
	gap     board.Gap
	minutes int
	at      time.Time
}

// FollowDays fills gaps of days with the candles that are stored, one after the
// other, until ctx is done.
func (c *Client) FollowDays(ctx context.Context, days Days) error {
	after, told := "", false
	looks := map[string]look{}
	unsettled := false
	for {
		wait := gapsPause
		gaps := days.Gaps(after, gapsAtOnce)
		for _, g := range gaps {
			settled, err := c.fill(ctx, days, g, looks)
			unsettled = unsettled || !settled
			if ctx.Err() != nil {
				return nil
			}
			after = g.Symbol // one that can't be filled holds up no other
			if err != nil {
				wait = c.retry
				if !told {
					slog.Warn("the day so far is not known of all symbols yet", "symbol", g.Symbol, "error", err)
					told = true
				}
				break
			}
			told = false
		}
		switch {
		case len(gaps) < gapsAtOnce:
			after = ""
			if unsettled {
				wait, unsettled = c.retry, false
			}
		case wait == gapsPause:
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// fill fills a gap once two looks agree on what is stored of it: what is being
// stored meanwhile is not taken for all there is.
func (c *Client) fill(ctx context.Context, days Days, g board.Gap, looks map[string]look) (settled bool, err error) {
	list, err := c.Candles(ctx, g.Symbol, "1m", g.From, g.To)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return false, err
	}
	before, looked := looks[g.Symbol]
	switch {
	case !looked || before.gap != g || before.minutes != len(list):
		looks[g.Symbol] = look{g, len(list), time.Now()}
		return false, nil
	case len(list) == 0 && time.Since(before.at) < barren:
		return false, nil
	}
	minutes := make([]board.Minute, 0, len(list))
	for _, c := range list {
		m, err := c.minute()
		if err != nil {
			return false, err
		}
		minutes = append(minutes, m)
	}
	delete(looks, g.Symbol)
	days.Fill(g, minutes) // where it is another gap by now, it comes again
	return true, nil
}

func (c *Candle) minute() (m board.Minute, err error) {
	m.Start = c.Start
	var problems [4]error
	m.High, problems[0] = tick.ParsePrice(c.High)
	m.Low, problems[1] = tick.ParsePrice(c.Low)
	m.Close, problems[2] = tick.ParsePrice(c.Close)
	if c.Turnover != "" {
		m.Turnover, problems[3] = board.ParseSum(c.Turnover)
	}
	if err := errors.Join(problems[:]...); err != nil {
		return m, fmt.Errorf("the candle of %d: %w", c.Start, err)
	}
	return m, nil
}
