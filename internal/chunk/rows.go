package chunk

import (
	"cmp"
	"math"
	"slices"

	"ticktape/internal/window"
)

// Row is a stored chunk of one symbol in one window: its place, its summary and,
// where they have been read, its records.
type Row struct {
	Log         int32
	Symbol      string
	First, Last int64 // offsets
	Summary
	Records []Record // nil until they are read
}

// Load reads the records of a row whose Records are nil.
type Load func(*Row) ([]Record, error)

func (r *Row) load(load Load) error {
	if r.Records != nil {
		return nil
	}
	records, err := load(r)
	r.Records = records
	return err
}

// Trades adds up the trades that the rows of one symbol in one window stand for,
// of all logs, each trade once: a record that several rows hold, because batches
// were delivered again with other boundaries, counts once, and so does a trade
// that several records hold, because a producer published it again. repeats is the
// number of records that such a repetition made.
//
// It uses the summaries of the rows that can't share a record or a trade with
// another one and loads the records of the others. The order of the rows does not
// matter; rows are reordered.
func Trades(rows []*Row, load Load) (state window.State, repeats int64, err error) {
	var tangled []*Row
	for _, r := range tangles(rows) {
		if !r.tangled {
			state.Merge(&r.State)
			continue
		}
		if err := r.load(load); err != nil {
			return window.State{}, 0, err
		}
		tangled = append(tangled, r.Row)
	}
	var records, distinct int64
	each(tangled, func(r *Record, repeat bool) {
		records++
		if !repeat {
			distinct++
			state.Add(r.Point(), r.Size)
		}
	})
	return state, records - distinct, nil
}

type tangle struct {
	*Row
	tangled bool
}

// tangles finds the rows that have to be decoded: those that overlap another by
// offset, by the range of their trades' keys, or that repeat a trade themselves.
// Rows are returned in the order of logs and offsets.
func tangles(rows []*Row) []tangle {
	list := make([]tangle, len(rows))
	for i, r := range rows {
		list[i] = tangle{r, r.Repeats > 0}
	}
	// Sorted by their lower ends, a range overlaps an earlier one just if it
	// starts at or before the highest end so far; that one is remembered.
	sweep := func(order func(a, b tangle) int, reaches func(far, next *Row) bool, further func(far, next *Row) bool) {
		slices.SortFunc(list, order)
		far := 0
		for i := 1; i < len(list); i++ {
			if reaches(list[far].Row, list[i].Row) {
				list[far].tangled, list[i].tangled = true, true
			}
			if further(list[far].Row, list[i].Row) {
				far = i
			}
		}
	}
	sweep(
		func(a, b tangle) int {
			lowA, _ := a.Keys()
			lowB, _ := b.Keys()
			return cmp.Or(cmp.Compare(lowA.EventTime, lowB.EventTime), cmp.Compare(lowA.Seq, lowB.Seq))
		},
		func(far, next *Row) bool {
			_, high := far.Keys()
			low, _ := next.Keys()
			return !high.less(low)
		},
		func(far, next *Row) bool {
			_, high := far.Keys()
			_, other := next.Keys()
			return high.less(other)
		},
	)
	sweep(
		func(a, b tangle) int { return byPlace(a.Row, b.Row) },
		func(far, next *Row) bool { return far.Log == next.Log && far.Last >= next.First },
		func(far, next *Row) bool { return far.Log != next.Log || far.Last < next.Last },
	)
	return list
}

func byPlace(a, b *Row) int {
	return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
}

// each calls f with every distinct record of the rows, whose records have been
// read, in the order of logs and offsets, and tells whether its trade has been seen.
func each(rows []*Row, f func(r *Record, repeat bool)) {
	slices.SortFunc(rows, byPlace)
	type id struct {
		Key
		source int32
	}
	n := 0
	for _, r := range rows {
		n += len(r.Records)
	}
	seen := make(map[id]struct{}, n)
	for len(rows) > 0 {
		log := rows[0].Log
		n := 1
		for n < len(rows) && rows[n].Log == log {
			n++
		}
		for _, r := range merged(rows[:n]) {
			k := id{Key{r.EventTime, r.Seq}, int32(r.Source)}
			_, repeat := seen[k]
			seen[k] = struct{}{}
			f(r, repeat)
		}
		rows = rows[n:]
	}
}

// merged returns the distinct records of rows of one log by offset.
func merged(rows []*Row) []*Record {
	var all []*Record
	sorted := true
	for _, r := range rows {
		for i := range r.Records {
			sorted = sorted && (len(all) == 0 || all[len(all)-1].Offset < r.Records[i].Offset)
			all = append(all, &r.Records[i])
		}
	}
	if sorted {
		return all
	}
	slices.SortStableFunc(all, func(a, b *Record) int { return cmp.Compare(a.Offset, b.Offset) })
	return slices.CompactFunc(all, func(a, b *Record) bool { return a.Offset == b.Offset })
}

// Ticks returns the trades of rows of one symbol in one window, of all logs,
// each once, by event time, then log and offset. The rows' records must have been
// read; rows are reordered.
func Ticks(rows []*Row) []Record {
	var list []Record
	each(rows, func(r *Record, repeat bool) {
		if !repeat {
			list = append(list, *r)
		}
	})
	slices.SortStableFunc(list, func(a, b Record) int { return cmp.Compare(a.EventTime, b.EventTime) })
	return list
}

// Records adds up the records below the offset next that the rows of one symbol
// in one window and one log stand for and whose log time is not after until,
// repeated trades included: what process counted. It loads the records of rows
// that overlap or that the limits cut.
func Records(rows []*Row, next, until int64, load Load) (state window.State, err error) {
	slices.SortFunc(rows, byPlace)
	for len(rows) > 0 {
		n, last := 1, rows[0].Last
		for n < len(rows) && rows[n].First <= last {
			last = max(last, rows[n].Last)
			n++
		}
		run := rows[:n]
		rows = rows[n:]
		if run[0].First >= next {
			break
		}
		if n == 1 && last < next && run[0].LastLogTime <= until {
			state.Merge(&run[0].State)
			continue
		}
		for _, r := range run {
			if err := r.load(load); err != nil {
				return window.State{}, err
			}
		}
		for _, r := range merged(run) {
			if r.Offset < next && r.LogTime <= until {
				state.Add(r.Point(), r.Size)
			}
		}
	}
	return state, nil
}

// Everything stands for no limit of Records.
const Everything = math.MaxInt64
