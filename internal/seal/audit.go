package seal

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/chunk"
	"ticktape/internal/store"
	"ticktape/internal/tick"
	"ticktape/internal/window"
)

// audit compares what process has counted of one log in one window with the
// chunks. Like is compared with like: process counts records, repeated trades
// included, below the window's fence, which is read together with the counters.
// The chunks hold all of those once persist has passed that offset.
type audit struct {
	r      *run
	window store.Window
	// below is the offset below which all records must have been counted.
	below  int64
	states []store.SymbolState // by symbol
	// postponed: persist has not passed below yet, so the next call audits.
	postponed bool

	mu        sync.Mutex
	counters  []store.SymbolState // what has to be added
	registers []store.SymbolState // what they should be
	logged    int
}

// differencesLogged bounds the lines that one window and log write to the log.
const differencesLogged = 100

// readLive reads the live states of a window, one audit for each of r.logs: nil
// where the window is so old that its counters may have been deleted.
func (r *run) readLive(ctx context.Context, start int64) ([]*audit, error) {
	audits := make([]*audit, len(r.logs))
	if r.began.UnixMilli() > start+window.Length+auditLimit.Milliseconds() {
		return audits, nil
	}
	var reads errgroup.Group
	reads.SetLimit(logsAtOnce)
	for i, log := range r.logs {
		a := &audit{r: r, window: store.Window{Start: start, Log: log}}
		audits[i] = a
		reads.Go(func() (err error) {
			a.below, a.states, err = r.store.ReadWindow(ctx, a.window, nil)
			return err
		})
	}
	if err := reads.Wait(); err != nil {
		return nil, err
	}
	for _, a := range audits {
		if incarnation, partition := a.window.Log>>16, int(a.window.Log&0xffff); incarnation == r.gate.incarnation {
			if err := a.limit(ctx, partition); err != nil {
				return nil, err
			}
		}
	}
	return audits, nil
}

// limit finds out up to where records can be compared.
func (a *audit) limit(ctx context.Context, partition int) error {
	gate := a.r.gate
	a.below = max(a.below, gate.position(a.r.cfg.ProcessGroup, partition))
	if gate.position(a.r.cfg.PersistGroup, partition) >= a.below {
		return nil
	}
	if err := gate.refresh(ctx, a.r.cfg.PersistGroup); err != nil {
		return err
	}
	// A fence that two owners of the partition have both moved may stand behind the
	// log's end. Nothing more can have been counted than the log has.
	end, err := gate.end(ctx, partition)
	a.below = min(a.below, end)
	a.postponed = gate.position(a.r.cfg.PersistGroup, partition) < a.below
	return err
}

// compare finds out whether a symbol's live state is right. It is called for
// several symbols at a time.
func (a *audit) compare(symbol string, live window.State, rows []*chunk.Row, load chunk.Load) error {
	if a == nil || a.postponed {
		return nil
	}
	until := a.window.Start + window.Length + liveLimit.Milliseconds()
	truth, err := chunk.Records(rows, a.below, until, load)
	if err != nil {
		return err
	}
	if truth.Count == 0 && live.Count == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.counters) + len(a.registers)
	if live.Count != truth.Count || live.Volume != truth.Volume || live.PriceSum != truth.PriceSum || live.Turnover != truth.Turnover {
		a.log(symbol, "counters", fmt.Sprintf("%d records, volume %d", live.Count, live.Volume), fmt.Sprintf("%d records, volume %d", truth.Count, truth.Volume))
		add := truth
		add.Count -= live.Count
		add.Volume -= live.Volume
		add.PriceSum.Sub(live.PriceSum)
		add.Turnover.Sub(live.Turnover)
		a.counters = append(a.counters, store.SymbolState{Symbol: symbol, State: add})
	}
	if what, is, should := a.registersDiffer(&live, &truth); what != "" {
		a.log(symbol, what, tick.Price(is.Price).String(), tick.Price(should.Price).String())
		a.registers = append(a.registers, store.SymbolState{Symbol: symbol, State: truth})
	}
	a.r.add(func(r *Report) {
		r.Audited++
		if len(a.counters)+len(a.registers) > before {
			r.Differences++
		}
	})
	return nil
}

// registersDiffer names the first register that is not what the records say, with
// what it is and should be. A register tells its record's offset: one from behind
// below may be of a record that is being processed, and says nothing. Neither does
// one that has expired, nor one of a symbol that has no records.
func (a *audit) registersDiffer(live, truth *window.State) (name string, is, should window.Point) {
	if truth.Count == 0 {
		return "", is, should
	}
	for _, c := range []struct {
		name       string
		is, should window.Point
		same       bool
	}{
		{"open", live.Open, truth.Open, live.Open == truth.Open},
		// Of equal prices any may stay.
		{"high", live.High, truth.High, live.High.Price == truth.High.Price},
		{"low", live.Low, truth.Low, live.Low.Price == truth.Low.Price},
		{"close", live.Close, truth.Close, live.Close == truth.Close},
	} {
		if !c.same && c.is != (window.Point{}) && c.is.Offset < a.below {
			return c.name, c.is, c.should
		}
	}
	return "", is, should
}

func (a *audit) log(symbol, what string, live, ticks any) {
	if a.logged++; a.logged <= differencesLogged {
		a.r.logDifference(a.window, symbol, what, live, ticks)
	}
}

// correct brings the live state in line with the chunks. An increment whose
// answer is lost, or that comes to have its effect late, does no harm: the window
// stays on the list, so that the next call audits it again.
func (a *audit) correct(ctx context.Context) error {
	if a == nil {
		return nil
	}
	for part := range slices.Chunk(a.counters, store.MaxSymbols) {
		// The fence stays where it is.
		if err := a.r.store.Count(ctx, a.window, 0, 0, part); err != nil {
			return err
		}
	}
	if len(a.registers) == 0 {
		return nil
	}
	return a.r.store.WriteRegisters(ctx, a.window, a.registers)
}
