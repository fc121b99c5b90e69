package store_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/window"
)

func TestSealsBooks(t *testing.T) {
	s := testbed.Store(t)
	t.Run("a mark that is written again after it was read outlives its deletion", func(t *testing.T) {
		first := store.Mark{Window: store.Window{Start: aMinute, Log: 7}, UpTo: 3}
		second := store.Mark{Window: store.Window{Start: aMinute, Log: 7}, UpTo: 9, Late: true}
		marks := func() []store.Mark {
			list, horizon, err := s.ReadMarks(t.Context())
			if err != nil || horizon != math.MaxInt64 {
				t.Fatal(horizon, err)
			}
			return list
		}
		check := func(got []store.Mark, want ...store.Mark) {
			t.Helper()
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(store.Mark{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		}
		write := func(m ...store.Mark) {
			t.Helper()
			if err := s.WriteMarks(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		write(first, second)
		read := marks()
		check(read, first, second)
		write(second)
		if err := s.DeleteMarks(t.Context(), read); err != nil {
			t.Fatal(err)
		}
		rest := marks()
		check(rest, second)
		if err := s.DeleteMarks(t.Context(), rest); err != nil {
			t.Fatal(err)
		}
		check(marks())
	})
	t.Run("of more marks than are read at a time the horizon tells which are all there", func(t *testing.T) {
		const hours, per = 1100 * 16, 16 // 1,100 hours of each of the 16 shards
		var marks []store.Mark
		for h := range int64(hours) {
			marks = append(marks, store.Mark{Window: store.Window{Start: h * 3_600_000, Log: 1}})
		}
		if err := s.WriteMarks(t.Context(), marks); err != nil {
			t.Fatal(err)
		}
		for left := hours; left > 0; {
			read, horizon, err := s.ReadMarks(t.Context())
			if err != nil || len(read) == 0 {
				t.Fatal(len(read), err)
			}
			n := 0
			for _, m := range read {
				if want := marks[hours-left+n].Start; m.Start != want && m.Start < horizon {
					t.Fatalf("mark %d starts at %d, want %d", n, m.Start, want)
				}
				n++
			}
			if whole := n == left; whole != (horizon == math.MaxInt64) {
				t.Fatalf("%d of %d marks are read, the horizon is %d", n, left, horizon)
			}
			byShard := map[int64][]store.Mark{}
			for _, m := range read {
				byShard[m.Start/3_600_000%per] = append(byShard[m.Start/3_600_000%per], m)
			}
			for _, list := range byShard {
				if err := s.DeleteMarks(t.Context(), list); err != nil {
					t.Fatal(err)
				}
			}
			left -= n
		}
	})
	t.Run("progress only grows", func(t *testing.T) {
		if got, err := s.SealedUntil(t.Context()); got != 0 || err != nil {
			t.Error(got, err)
		}
		for _, at := range []int64{aMinute, aMinute + window.Length, aMinute} {
			if err := s.WriteSealedUntil(t.Context(), at); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.SealedUntil(t.Context()); got != aMinute+window.Length || err != nil {
			t.Error(got, err)
		}
	})
	t.Run("a day that is marked as of a higher version stays on the list", func(t *testing.T) {
		d := store.DayMark{Symbol: "AAPL", Start: aMinute, End: aMinute + 86_400_000}
		for _, c := range []struct{ marked, deleted, left int64 }{{5, 6, 0}, {8, 7, 1}, {8, 8, 0}} {
			if err := errors.Join(s.WriteDayMark(t.Context(), d, c.marked), s.DeleteDayMark(t.Context(), d, c.deleted)); err != nil {
				t.Fatal(err)
			}
			got, err := s.ReadDayMarks(t.Context(), d.End)
			if int64(len(got)) != c.left || err != nil {
				t.Errorf("marked as of %d and deleted as of %d: %v, error %v", c.marked, c.deleted, got, err)
			}
		}
		if err := s.WriteDayMark(t.Context(), d, 9); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ReadDayMarks(t.Context(), d.End-1); len(got) != 0 || err != nil {
			t.Errorf("a day that is not over: %v, error %v", got, err)
		}
	})
	t.Run("a lease is one holder's, and versions grow from lease to lease", func(t *testing.T) {
		var last store.Lease
		for _, c := range []struct {
			holder string
			held   bool
		}{{"a", false}, {"b", true}, {"a", false}, {"end", false}, {"b", false}, {"a", true}} {
			if c.holder == "end" {
				if err := s.EndLease(t.Context(), last); err != nil {
					t.Fatal(err)
				}
				continue
			}
			l, err := s.TakeLease(t.Context(), "books", c.holder, time.Minute)
			if held := errors.Is(err, store.ErrHeld); held != c.held || !held && err != nil {
				t.Fatalf("%s takes it: %v", c.holder, err)
			}
			if c.held {
				continue
			}
			if l.Version(0) <= last.Version(math.MaxInt64) || l.Previous != last.Term {
				t.Errorf("%s follows %+v with %+v", c.holder, last, l)
			}
			last = l
		}
		if now := time.Now().UnixMicro(); last.Version(0) > now+10_000_000 || last.Version(0) < now-60_000_000 {
			t.Errorf("version %d is not near the time, %d", last.Version(0), now)
		}
	})
}
