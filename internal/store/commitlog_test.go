package store

import (
	"errors"
	"testing"
)

func TestCommitlogSync(t *testing.T) {
	for _, c := range []struct {
		name, mode string
		allow      bool
		want       error
	}{
		{"group keeps what it acknowledges", "group", false, nil},
		{"batch keeps what it acknowledges", "batch", false, nil},
		{"periodic is refused", "periodic", false, ErrPeriodic},
		{"periodic passes where it is allowed", "periodic", true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := (Config{AllowPeriodic: c.allow}).acceptCommitlog(c.mode); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
