package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/gocql/gocql"
)

// Claim says, before any of them is applied, that a call is about to apply the
// records of the log with offsets of at least first and below next. It reports
// whether they are fresh: the calls before ended at first, the last of them well
// (Settle), and none has claimed a record from first on. Then no earlier call can
// have applied any of them, nor have a write under way.
//
// After an error nothing may be applied: the claim may not stand, and a later call
// would take the records for fresh. Of two calls that claim the same records at
// one time, at most one is told that they are fresh.
func (s *Store) Claim(ctx context.Context, log int32, first, next int64) (fresh bool, err error) {
	fail := func(err error) (bool, error) {
		return false, fmt.Errorf("claim offsets %d to %d of log %d: %w", first, next-1, log, err)
	}
	fresh, claimed, err := s.claim(ctx, next, log, "UPDATE claims SET claimed = ? WHERE log = ? IF claimed = ? AND settled = ?", first, first)
	if err != nil {
		return fail(err)
	}
	if fresh {
		return true, nil
	}
	for range claimTries {
		if claimed >= next {
			return false, nil
		}
		var before any // null
		if claimed > 0 {
			before = claimed
		}
		applied, now, err := s.claim(ctx, next, log, "UPDATE claims SET claimed = ? WHERE log = ? IF claimed = ?", before)
		if err != nil {
			return fail(err)
		}
		if applied {
			return false, nil
		}
		claimed = now
	}
	return fail(errors.New("others were quicker each time"))
}

// claim makes one transaction and returns what is claimed where it was not
// applied; 0 stands for nothing.
func (s *Store) claim(ctx context.Context, next int64, log int32, stmt string, expected ...any) (applied bool, claimed int64, err error) {
	row := map[string]any{}
	applied, err = s.session.Query(stmt, append([]any{next, log}, expected...)...).WithContext(ctx).Consistency(s.cfg.WriteConsistency).
		SerialConsistency(gocql.LocalSerial).RetryPolicy(nil).MapScanCAS(row)
	claimed, _ = row["claimed"].(int64)
	return applied, claimed, err
}

// Settle says that a call which claimed the records below next has ended well: all
// of them are applied, and no write is under way. It comes after the call and
// before the next Claim. Where it fails or is left out, the next records are not
// taken for fresh. Idempotent.
func (s *Store) Settle(ctx context.Context, log int32, next int64) error {
	err := s.session.Query("UPDATE claims SET settled = ? WHERE log = ?", next, log).WithContext(ctx).Consistency(s.cfg.WriteConsistency).Exec()
	if err != nil {
		return fmt.Errorf("settle log %d up to offset %d: %w", log, next-1, err)
	}
	return nil
}
