package store

import (
	"context"
	"fmt"
)

// DropKeyspace deletes the keyspace with everything in it: for tests and
// benchmarks, which have one of their own. Idempotent.
func (s *Store) DropKeyspace(ctx context.Context) error {
	if err := s.session.Query(fmt.Sprintf("DROP KEYSPACE IF EXISTS %q", s.cfg.Keyspace)).WithContext(ctx).Exec(); err != nil {
		return fmt.Errorf("drop keyspace %s: %w", s.cfg.Keyspace, err)
	}
	return nil
}
