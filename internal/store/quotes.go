package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/gocql/gocql"
	"golang.org/x/sync/errgroup"

	"ticktape/internal/tick"
)

// Quote is the latest trade of a symbol in a log.
type Quote struct {
	Offset int64
	tick.Tick
}

// quoteChunk bounds a request's size.
const quoteChunk = 1_000

const quoteStmt = "UPDATE quotes USING TIMESTAMP ? SET tick = ? WHERE log = ? AND symbol = ?"

// WriteQuotes brings trades into the latest quotes of a log. A quote is one cell
// that begins with its offset and is written at the time of its trade: of all
// values ever written, in whatever order and however often, the one with the latest
// event time stays, and of several of one millisecond the one with the highest
// offset, because between cells of one write time Cassandra keeps the one with the
// larger bytes. Idempotent and commutative.
func (s *Store) WriteQuotes(ctx context.Context, log int32, quotes []Quote) error {
	for part := range slices.Chunk(quotes, quoteChunk) {
		b := s.batch(ctx, gocql.UnloggedBatch, len(part))
		values := newValues(1+4*len(part), 4+150*len(part))
		key := values.int(log)
		for i := range part {
			q := &part[i]
			from := len(values.bytes)
			values.bytes = binary.BigEndian.AppendUint64(values.bytes, uint64(q.Offset))
			var err error
			if values.bytes, err = tick.Protobuf.Append(values.bytes, &q.Tick); err != nil {
				return fmt.Errorf("write quotes of log %d: %w", log, err)
			}
			cell := values.end(from)
			b.Entries = append(b.Entries, gocql.BatchEntry{Stmt: quoteStmt, Args: values.args(values.bigint(q.EventTime*1000), cell, key, values.text(q.Symbol))})
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			return fmt.Errorf("write %d quotes of log %d: %w", len(part), log, err)
		}
	}
	return nil
}

// LatestQuotes returns the latest trade of each of the symbols, or of all where
// symbols is nil, over all logs. Symbols that never traded are absent. Idempotent.
func (s *Store) LatestQuotes(ctx context.Context, symbols []string) (map[string]tick.Tick, error) {
	logs, err := s.FedLogs(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]map[string]tick.Tick, len(logs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, log := range logs {
		g.Go(func() error {
			found[i] = map[string]tick.Tick{}
			if symbols == nil {
				return s.quotes(gctx, log, nil, found[i])
			}
			for part := range slices.Chunk(symbols, quoteChunk) {
				if err := s.quotes(gctx, log, part, found[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	latest := map[string]tick.Tick{}
	for _, quotes := range found { // in the order of logs, so that of trades of one millisecond the newest topic's stays
		for symbol, t := range quotes {
			if other, ok := latest[symbol]; !ok || t.EventTime >= other.EventTime {
				latest[symbol] = t
			}
		}
	}
	return latest, nil
}

// quotes reads the quotes of one log.
func (s *Store) quotes(ctx context.Context, log int32, symbols []string, into map[string]tick.Tick) error {
	q := s.session.Query("SELECT symbol, tick FROM quotes WHERE log = ?", log)
	if symbols != nil {
		q = s.session.Query("SELECT symbol, tick FROM quotes WHERE log = ? AND symbol IN ?", log, textList(symbols))
	}
	it := q.WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	var err error
	var symbol string
	var decoder tick.Decoder
	for err == nil {
		var cell []byte // the tick's strings alias it
		if !it.Scan(&symbol, &cell) {
			break
		}
		var t tick.Tick
		if len(cell) < 8 {
			err = fmt.Errorf("the quote of %s: %w: it has %d bytes", symbol, tick.ErrTick, len(cell))
		} else if err = decoder.Decode(tick.ContentProtobuf, cell[8:], &t); err != nil {
			err = fmt.Errorf("the quote of %s: %w", symbol, err)
		}
		into[symbol] = t
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("read quotes of log %d: %w", log, err)
	}
	return nil
}

// FedLogs lists the logs that persist has ever stored a tick of, in ascending
// order: all that can hold chunks. Idempotent.
func (s *Store) FedLogs(ctx context.Context) ([]int32, error) {
	it := s.session.Query("SELECT DISTINCT log FROM quotes").WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	var logs []int32
	for log := int32(0); it.Scan(&log); {
		logs = append(logs, log)
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("list the logs that have ticks: %w", err)
	}
	slices.Sort(logs)
	return logs, nil
}

// SymbolLogs lists, in ascending order, the logs that persist has ever stored a
// tick of the symbol from: mostly one. Idempotent.
func (s *Store) SymbolLogs(ctx context.Context, symbol string) ([]int32, error) {
	logs, err := s.FedLogs(ctx)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	it := s.session.Query("SELECT log FROM quotes WHERE log IN ? AND symbol = ?", logs, symbol).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).Iter()
	logs = logs[:0]
	for log := int32(0); it.Scan(&log); {
		logs = append(logs, log)
	}
	if err := it.Close(); err != nil {
		return nil, fmt.Errorf("list the logs that have ticks of %s: %w", symbol, err)
	}
	slices.Sort(logs)
	return logs, nil
}
