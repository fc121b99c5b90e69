package chunk

import (
	"cmp"
	"slices"

	"ticktape/internal/window"
)

// Row is a stored chunk of one symbol in one window: its place, its summary and,
// where they have been read, its records.
type Row struct {
	Log         int32
	Symbol      string
	First, Last int64 // offsets
	// Shared is where the row of the store is that holds this chunk with those of
	// other symbols: that row's first and last offset. Zero where it has its own.
	Shared [2]int64
	Summary
	Records []Record // nil until they are read
}

// Load reads the records of a row whose Records are nil.
type Load func(*Row) ([]Record, error)

// Trades adds up the trades that the rows of one symbol in one window stand for,
// of all logs, each trade once: a record that several rows hold, because batches
// were delivered again with other ends, counts once, and so does a trade that
// several records hold, because a producer published it again. The first of those
// is the trade. repeats is the number of the others.
//
// It uses the summaries of rows that share no trade with another one, as the
// ranges of their keys tell, and loads the records of the others, a few rows at a
// time. The order of the rows does not matter; they are reordered.
func Trades(rows []*Row, load Load) (state window.State, repeats int64, err error) {
	var tangled []*Row
	for i, t := range tangles(rows) {
		if t {
			tangled = append(tangled, rows[i])
		} else {
			state.Merge(&rows[i].State)
		}
	}
	low := func(r *Row) Key { k, _ := r.Keys(); return k }
	key := func(r *Record) Key { return Key{r.EventTime, r.Seq} }
	err = sweep(tangled, load, low, key, func(same []entry) {
		state.Add(same[0].point, same[0].size)
		for i := 1; i < len(same); i++ {
			if same[i].log != same[i-1].log || same[i].point.Offset != same[i-1].point.Offset {
				repeats++
			}
		}
	})
	if err != nil {
		return window.State{}, 0, err
	}
	return state, repeats, nil
}

// tangles sorts the rows by their lowest keys and tells of each whether its range
// of keys overlaps another's or it repeats a trade itself. Rows that share a record
// share its key.
func tangles(rows []*Row) []bool {
	slices.SortFunc(rows, func(a, b *Row) int {
		low, _ := a.Keys()
		other, _ := b.Keys()
		return low.compare(other)
	})
	// A range overlaps an earlier one just if it starts at or before the highest
	// end so far, which is that of rows[far].
	tangled := make([]bool, len(rows))
	far := 0
	for i, r := range rows {
		tangled[i] = tangled[i] || r.Repeats > 0
		if i == 0 {
			continue
		}
		low, high := r.Keys()
		_, end := rows[far].Keys()
		if low.compare(end) <= 0 {
			tangled[far], tangled[i] = true, true
		}
		if high.compare(end) > 0 {
			far = i
		}
	}
	return tangled
}

// Records adds up the records below the offset next that the rows of one symbol
// in one window and one log stand for and whose log time is not after until,
// repeated trades included: what process counts. It loads the records of rows that
// overlap or that the limits cut. The rows are reordered.
func Records(rows []*Row, next, until int64, load Load) (state window.State, err error) {
	slices.SortFunc(rows, func(a, b *Row) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last)) })
	low := func(r *Row) Key { return Key{r.First, 0} }
	key := func(r *Record) Key { return Key{r.Offset, 0} }
	for len(rows) > 0 {
		n, last := 1, rows[0].Last
		for n < len(rows) && rows[n].First <= last {
			last = max(last, rows[n].Last)
			n++
		}
		run := rows[:n]
		rows = rows[n:]
		if n == 1 && last < next && run[0].LastLogTime <= until {
			state.Merge(&run[0].State)
			continue
		}
		err := sweep(run, load, low, key, func(same []entry) {
			if e := &same[0]; e.point.Offset < next && e.logTime <= until {
				state.Add(e.point, e.size)
			}
		})
		if err != nil {
			return window.State{}, err
		}
	}
	return state, nil
}

// entry is what sums need of a record.
type entry struct {
	key     Key
	source  int32
	log     int32
	point   window.Point
	size    int64
	logTime int64
}

func (e *entry) compare(o *entry) int {
	return cmp.Or(e.key.compare(o.key), cmp.Compare(e.source, o.source), cmp.Compare(e.log, o.log), cmp.Compare(e.point.Offset, o.point.Offset))
}

// sweep calls each with the records of the rows that have the same key and
// source, group by group, those of a group in the order of logs and offsets; a
// record that several rows hold occurs as often. The rows come in the order of their
// lowest keys, so only those whose ranges overlap are held at a time.
func sweep(rows []*Row, load Load, low func(*Row) Key, key func(*Record) Key, each func(same []entry)) error {
	var held []entry
	flush := func(below func(Key) bool) {
		slices.SortFunc(held, func(a, b entry) int { return a.compare(&b) })
		done := 0
		for done < len(held) && below(held[done].key) {
			n := done + 1
			for n < len(held) && held[n].key == held[done].key && held[n].source == held[done].source {
				n++
			}
			each(held[done:n])
			done = n
		}
		held = slices.Delete(held, 0, done)
	}
	for _, r := range rows {
		start := low(r)
		flush(func(k Key) bool { return k.compare(start) < 0 })
		records := r.Records
		if records == nil {
			var err error
			if records, err = load(r); err != nil {
				return err
			}
		}
		for i := range records {
			rec := &records[i]
			held = append(held, entry{key(rec), int32(rec.Source), r.Log, rec.Point(), rec.Size, rec.LogTime})
		}
	}
	flush(func(Key) bool { return true })
	return nil
}

// Ticks returns the trades of rows of one symbol in one window, of all logs,
// each once, by event time, then log and offset. The rows' records must have been
// read.
func Ticks(rows []*Row) []Record {
	type placed struct {
		log int32
		*Record
	}
	var all []placed
	for _, r := range rows {
		for i := range r.Records {
			all = append(all, placed{r.Log, &r.Records[i]})
		}
	}
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.log, b.log), cmp.Compare(a.Offset, b.Offset))
	})
	type id struct {
		Key
		source int32
	}
	seen := make(map[id]bool, len(all))
	var list []Record
	for _, p := range all {
		k := id{Key{p.EventTime, p.Seq}, int32(p.Source)}
		if !seen[k] {
			seen[k] = true
			list = append(list, *p.Record)
		}
	}
	slices.SortStableFunc(list, func(a, b Record) int { return cmp.Compare(a.EventTime, b.EventTime) })
	return list
}
