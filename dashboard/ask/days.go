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
)

// FollowDays fills gaps of days with the candles that are stored, one after the
// other, until ctx is done.
func (c *Client) FollowDays(ctx context.Context, days Days) error {
	after, told := "", false
	for {
		wait := gapsPause
		gaps := days.Gaps(after, gapsAtOnce)
		for _, g := range gaps {
			err := c.fill(ctx, days, g)
			if ctx.Err() != nil {
				return nil
			}
			after = g.Symbol // one that can't be filled holds up no other
			if err != nil {
				wait = gapsRetry
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

func (c *Client) fill(ctx context.Context, days Days, g board.Gap) error {
	list, err := c.Candles(ctx, g.Symbol, "1m", g.From, g.To)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	minutes := make([]board.Minute, 0, len(list))
	for _, c := range list {
		m, err := c.minute()
		if err != nil {
			return err
		}
		minutes = append(minutes, m)
	}
	days.Fill(g, minutes) // where it is another gap by now, it comes again
	return nil
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
