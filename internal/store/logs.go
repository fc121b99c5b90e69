package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

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

// claimTries bounds how often rivals may keep a claim from its end, and
// claimPause is the mean wait before it is tried again.
const (
	claimTries = 20
	claimPause = 50 * time.Millisecond
)

// claimIncarnation tries until the topic has a number. After a transaction or a
// serial read that rivals kept from its end it waits for a time that differs from
// theirs, and reads again what has come of it.
func (s *Store) claimIncarnation(ctx context.Context, topic string, id gocql.UUID) (n int32, err error) {
	for range claimTries {
		var done bool
		n, done, err = s.tryClaim(ctx, topic, id)
		if done || err != nil && !lost(err) {
			return n, err
		}
		select {
		case <-time.After(rand.N(2 * claimPause)):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if err == nil {
		err = errors.New("others were quicker each time")
	}
	return 0, err
}

// tryClaim takes the next number from the row with the nil id, then writes it to
// the topic's row. A number that was taken and not written, because of a crash or
// a rival, is lost, which does no harm.
func (s *Store) tryClaim(ctx context.Context, topic string, id gocql.UUID) (n int32, done bool, err error) {
	given, err := s.readIncarnation(ctx, id)
	if err != nil {
		return 0, false, err
	}
	if given != nil {
		return *given, true, nil
	}
	taken, err := s.readIncarnation(ctx, gocql.UUID{})
	if err != nil {
		return 0, false, err
	}
	next := int32(1)
	if taken != nil {
		next = *taken + 1
	}
	row := map[string]any{}
	applied, err := s.session.Query("UPDATE logs SET incarnation = ? WHERE topic_id = ? IF incarnation = ?", next, gocql.UUID{}, taken).
		SerialConsistency(gocql.LocalSerial).WithContext(ctx).MapScanCAS(row)
	if err != nil || !applied {
		return 0, false, err
	}
	applied, err = s.session.Query("UPDATE logs SET incarnation = ?, topic = ? WHERE topic_id = ? IF incarnation = null", next, topic, id).
		SerialConsistency(gocql.LocalSerial).WithContext(ctx).MapScanCAS(row)
	return next, applied, err
}

// readIncarnation returns the number in a row, nil where there is none. The read
// is serial: it sees every transaction that has ended.
func (s *Store) readIncarnation(ctx context.Context, id gocql.UUID) (n *int32, err error) {
	err = s.session.Query("SELECT incarnation FROM logs WHERE topic_id = ?", id).
		Consistency(gocql.Consistency(gocql.LocalSerial)).WithContext(ctx).Scan(&n)
	if err == gocql.ErrNotFound {
		return nil, nil
	}
	return n, err
}

// lost tells a transaction, or a serial read, which ends those of others first,
// that rivals kept from its end. Whether it took place shows when its row is read
// again.
func lost(err error) bool {
	var write *gocql.RequestErrWriteTimeout
	var read *gocql.RequestErrReadTimeout
	var unknown *gocql.RequestErrCASWriteUnknown
	return errors.As(err, &write) || errors.As(err, &read) || errors.As(err, &unknown)
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
