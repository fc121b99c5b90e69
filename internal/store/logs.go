package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/gocql/gocql"
)

// Incarnation returns the small number of a topic's incarnation, which is named
// by Kafka's topic id. The first to ask gives it a number through a lightweight
// transaction; from then on it never changes. Idempotent.
func (s *Store) Incarnation(ctx context.Context, topic string, topicID [16]byte) (int32, error) {
	id := gocql.UUID(topicID)
	if id == (gocql.UUID{}) {
		return 0, fmt.Errorf("topic %s has no id", topic)
	}
	s.mu.Lock()
	n, ok := s.logs[id]
	s.mu.Unlock()
	if ok {
		return n, nil
	}
	// The partitions of a new topic ask all at once, and rivals for one row make
	// each other's transactions time out.
	s.naming.Lock()
	defer s.naming.Unlock()
	s.mu.Lock()
	n, ok = s.logs[id]
	s.mu.Unlock()
	if ok {
		return n, nil
	}
	n, err := s.claimIncarnation(ctx, topic, id)
	if err != nil {
		return 0, fmt.Errorf("number the incarnation of topic %s: %w", topic, err)
	}
	s.mu.Lock()
	s.logs[id] = n
	s.mu.Unlock()
	return n, nil
}

// claimIncarnation takes the next number from the row with the nil id, then
// writes it to the topic's row. A number that was taken and not written, because
// of a crash or a rival, is lost, which does no harm.
func (s *Store) claimIncarnation(ctx context.Context, topic string, id gocql.UUID) (int32, error) {
	read := func() (n *int32, err error) {
		err = s.session.Query("SELECT incarnation FROM logs WHERE topic_id = ?", id).
			Consistency(gocql.Consistency(gocql.LocalSerial)).WithContext(ctx).Scan(&n)
		if err == gocql.ErrNotFound {
			return nil, nil
		}
		return n, err
	}
	for ctx.Err() == nil {
		n, err := read()
		if err != nil {
			return 0, err
		}
		if n != nil {
			return *n, nil
		}
		var taken *int32
		err = s.session.Query("SELECT incarnation FROM logs WHERE topic_id = ?", gocql.UUID{}).
			Consistency(gocql.Consistency(gocql.LocalSerial)).WithContext(ctx).Scan(&taken)
		if err != nil && err != gocql.ErrNotFound {
			return 0, err
		}
		next := int32(1)
		if taken != nil {
			next = *taken + 1
		}
		row := map[string]any{}
		applied, err := s.session.Query("UPDATE logs SET incarnation = ? WHERE topic_id = ? IF incarnation = ?", next, gocql.UUID{}, taken).
			SerialConsistency(gocql.LocalSerial).WithContext(ctx).MapScanCAS(row)
		if lost(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if !applied {
			continue
		}
		applied, err = s.session.Query("UPDATE logs SET incarnation = ?, topic = ? WHERE topic_id = ? IF incarnation = null", next, topic, id).
			SerialConsistency(gocql.LocalSerial).WithContext(ctx).MapScanCAS(row)
		if lost(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if applied {
			return next, nil
		}
	}
	return 0, ctx.Err()
}

// lost tells a transaction that rivals kept from its end. Whether it took place
// shows when its row is read again.
func lost(err error) bool {
	var timeout *gocql.RequestErrWriteTimeout
	var unknown *gocql.RequestErrCASWriteUnknown
	return errors.As(err, &timeout) || errors.As(err, &unknown)
}

// Log returns the number that stands for a topic's incarnation and a partition
// in every key. There is room for 32,767 incarnations of 65,536 partitions; Log
// panics beyond, where its number would be another log's.
func Log(incarnation int32, partition int) int32 {
	if incarnation < 0 || incarnation > 1<<15-1 || partition < 0 || partition > 1<<16-1 {
		panic(fmt.Sprintf("incarnation %d and partition %d of a topic are out of range: there is no number for such a log", incarnation, partition))
	}
	return incarnation<<16 + int32(partition)
}
