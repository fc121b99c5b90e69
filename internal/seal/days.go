package seal

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/store"
	"ticktape/internal/window"
)

// markDay puts the day of a symbol on the list, unless this process has done so
// since it was last sealed.
func (r *run) markDay(ctx context.Context, d store.DayMark, version int64) error {
	r.Sealer.mu.Lock()
	_, marked := r.days[d]
	r.Sealer.mu.Unlock()
	if marked {
		return nil
	}
	if err := r.pace.Wait(ctx); err != nil {
		return err
	}
	if err := r.store.WriteDayMark(ctx, d, version); err != nil {
		return err
	}
	r.Sealer.mu.Lock()
	defer r.Sealer.mu.Unlock()
	r.days[d] = struct{}{}
	return nil
}

// sealDays adds up the minutes of exchange days that are over. It is called when
// no window waits; one that is sealed later, with a late trade, puts its day on the
// list again.
func (r *run) sealDays(ctx context.Context) error {
	lateness := r.cfg.Lateness.Milliseconds()
	days, err := r.store.ReadDayMarks(ctx, r.began.UnixMilli()-lateness)
	if err != nil {
		return err
	}
	slices.SortStableFunc(days, func(a, b store.DayMark) int { return cmp.Compare(a.End, b.End) })
	n, err := r.gate.search(ctx, len(days), func(i int) int64 { return days[i].End + lateness }, r.cfg.ProcessGroup, r.cfg.PersistGroup)
	if err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(symbolsAtOnce)
	for _, d := range days[:n] {
		if r.now().Sub(r.began) >= r.cfg.Time || ctx.Err() != nil {
			break
		}
		version := r.version()
		work.Go(func() error { return r.sealDay(ctx, d, version) })
	}
	return work.Wait()
}

func (r *run) sealDay(ctx context.Context, d store.DayMark, version int64) error {
	if err := r.pace.Wait(ctx); err != nil {
		return err
	}
	r.Sealer.mu.Lock()
	delete(r.days, d)
	r.Sealer.mu.Unlock()
	minutes, err := r.store.ReadCandles(ctx, d.Symbol, store.Minute, d.Start, d.End, int((d.End-d.Start)/window.Length))
	if err != nil {
		return err
	}
	// A day of which there are no ticks is left to the chart that has it.
	if slices.ContainsFunc(minutes, func(c store.Candle) bool { return !c.Charted() }) {
		c := minutes[len(minutes)-1]
		for i := range minutes[:len(minutes)-1] {
			c.Merge(&minutes[i])
		}
		c.Start, c.SealedAt = d.Start, r.now().UnixMilli()
		if err := r.store.WriteCandle(ctx, store.Day, &c, version); err != nil {
			return err
		}
		r.add(func(r *Report) { r.Days++ })
	}
	return r.store.DeleteDayMark(ctx, d, version)
}

// deleteCounters deletes the counters of windows that process will not count in
// again: it has passed their end by more than the time for which it does. A deleted
// counter that is incremented comes back with its old value.
func (r *run) deleteCounters(ctx context.Context) error {
	after := window.Length + countersLimit.Milliseconds()
	counted, err := r.store.ReadCounted(ctx, r.began.UnixMilli()-after)
	if err != nil {
		return err
	}
	n, err := r.gate.search(ctx, len(counted), func(i int) int64 { return counted[i].Start + after }, r.cfg.ProcessGroup)
	if err != nil {
		return err
	}
	for _, w := range counted[:n] {
		if r.now().Sub(r.began) >= r.cfg.Time {
			break
		}
		if err := r.pace.Wait(ctx); err != nil {
			return err
		}
		if err := r.store.DeleteCounters(ctx, w, r.version()); err != nil {
			return err
		}
		r.report.CountersDeleted++
	}
	return nil
}
