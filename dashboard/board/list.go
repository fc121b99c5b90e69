package board

import (
	"ticktape/internal/tick"
)

// Facts is what the watch list knows of a symbol.
type Facts struct {
	Name string
	// Delay is how many minutes the source's data lag behind the exchange, -1
	// where nobody has told.
	Delay int
}

// quietTime is how long a symbol that is on no list is shown after its last
// record, in milliseconds.
const quietTime = 5 * 60 * 1000

// settleTime is how long after its removal records of a symbol may still come
// that were asked for before, in milliseconds.
const settleTime = 30 * 1000

// replayed is the exchange of symbols that the replay tool makes up, which no
// watch list knows.
const replayed = "SIM"

// SetList says what is on the watch list, which decides what is shown: all that
// is on it, and what is fed by something else. A symbol that is taken off it
// disappears at once. Now is the time in milliseconds since the Unix epoch. It
// returns the symbols that it changes.
func (b *Board) SetList(list map[string]Facts, now int64, rev uint64) (changed []*Symbol) {
	old := b.list
	b.list, b.listed = list, now
	for _, s := range b.sorted {
		facts, listed := list[s.Name]
		if _, was := old[s.Name]; was && !listed {
			s.mute = now + settleTime
		}
		if listed && facts != s.facts {
			s.facts = facts
			s.InfoRev = rev
			s.touch(rev)
			changed = append(changed, s)
		}
		if b.judge(s, rev) {
			changed = append(changed, s)
		}
	}
	return changed
}

// judge shows or hides a symbol and reports whether that is a change.
func (b *Board) judge(s *Symbol, rev uint64) bool {
	hide := b.hides(s)
	if hide == s.hidden {
		return false
	}
	s.hidden, s.ShownRev = hide, rev
	s.touch(rev)
	return true
}

func (b *Board) hides(s *Symbol) bool {
	if b.list == nil {
		return false
	}
	if _, listed := b.list[s.Name]; listed {
		return false
	}
	if s.mute != 0 {
		return s.Latest.LogTime <= s.mute
	}
	fetched := s.Latest.Exchange != "" && s.Latest.Exchange != replayed && s.Latest.Source != tick.SourceUnknown
	return fetched && s.Latest.LogTime < b.listed-quietTime
}

// Shown reports whether the symbol is to be shown: a trade has been told and the
// watch list does not hide it.
func (s *Symbol) Shown() bool { return s.known && !s.hidden }

// Facts returns what the watch list knows of the symbol.
func (s *Symbol) Facts() Facts { return s.facts }

// Counts returns how many symbols are shown, and how many of those have
// simulated prices.
func (b *Board) Counts() (shown, simulated int) {
	for _, s := range b.sorted {
		if s.Shown() {
			shown++
			if s.Latest.Source == tick.SourceSimulated {
				simulated++
			}
		}
	}
	return shown, simulated
}
