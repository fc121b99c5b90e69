package reuse

import (
	"runtime"
	"testing"
)

func TestWhatIsPutBackIsThereAfterCollections(t *testing.T) {
	made := 0
	l := New(2, func() *[]int { made++; return new([]int) })
	a, b, c := l.Get(), l.Get(), l.Get()
	if made != 3 || a == b || b == c || a == c {
		t.Fatalf("%d were made for three users", made)
	}
	*a = append(*a, 1)
	for _, v := range []*[]int{a, b, c} { // the third is one too many
		l.Put(v)
	}
	for range 3 { // a sync.Pool is empty after two
		runtime.GC()
	}
	if got := l.Get(); got != a || len(*got) != 1 {
		t.Error("what was put back first is gone")
	}
	if got := l.Get(); got != b {
		t.Error("what was put back second is gone")
	}
	if l.Get() == c || made != 4 {
		t.Errorf("more are kept than two, or %d were made", made)
	}
}
