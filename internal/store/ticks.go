package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gocql/gocql"

	"ticktape/internal/chunk"
)

// Chunk is a chunk to write: its place within a window's partition, and the
// stored forms of its summary and its ticks.
type Chunk struct {
	Symbol      string
	First, Last int64 // offsets
	Summary     []byte
	Ticks       []byte
}

// chunkRows and chunkBytes bound one batch of chunks; a node refuses a mutation
// above half a commit log segment (16 MiB), and smaller ones keep its latency even.
const (
	chunkRows  = 250
	chunkBytes = 512 << 10
)

const chunkStmt = "INSERT INTO ticks (window_start, log, symbol, first_offset, last_offset, summary, chunk) VALUES (?, ?, ?, ?, ?, ?, ?)"

// WriteChunks stores chunks of one window as a few batches to one partition,
// each applied whole. Idempotent: a chunk's key is its place in the log, and the
// same place holds the same ticks.
func (s *Store) WriteChunks(ctx context.Context, w Window, chunks []Chunk) error {
	for len(chunks) > 0 {
		n, size := 0, 0
		for n < len(chunks) && n < chunkRows && (n == 0 || size+len(chunks[n].Ticks) <= chunkBytes) {
			size += len(chunks[n].Ticks)
			n++
		}
		b := s.batch(ctx, gocql.UnloggedBatch, n)
		values := newValues(2+7*n, 16+40*n)
		start, log := values.bigint(w.Start), values.int(w.Log)
		for i := range chunks[:n] {
			c := &chunks[i]
			b.Entries = append(b.Entries, gocql.BatchEntry{Stmt: chunkStmt, Args: values.args(
				start, log, values.text(c.Symbol), values.bigint(c.First), values.bigint(c.Last), values.blob(c.Summary), values.blob(c.Ticks))})
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			return fmt.Errorf("write %d chunks of window %s: %w", n, w, err)
		}
		chunks = chunks[n:]
	}
	return nil
}

// TicksTTL returns for how long ticks that are stored now are kept. Idempotent.
func (s *Store) TicksTTL(ctx context.Context) (time.Duration, error) {
	var seconds int
	err := s.session.Query("SELECT default_time_to_live FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'ticks'", s.cfg.Keyspace).
		WithContext(ctx).Scan(&seconds)
	if err != nil {
		return 0, fmt.Errorf("read how long ticks are kept: %w", err)
	}
	return time.Duration(seconds) * time.Second, nil
}

// KeepTicks has ticks that are stored from now on kept for Config.TicksTTL, as
// tables that were made with another setting do not. Idempotent.
func (s *Store) KeepTicks(ctx context.Context) error {
	have, err := s.TicksTTL(ctx)
	if err != nil || have == s.cfg.TicksTTL.Truncate(time.Second) {
		return err
	}
	for _, table := range []string{"unsealed_windows", "ticks"} {
		err := s.session.Query(fmt.Sprintf("ALTER TABLE %s WITH default_time_to_live = %d", table, s.cfg.TicksTTL/time.Second)).WithContext(ctx).Exec()
		if err != nil {
			return fmt.Errorf("keep %s for TICKS_TTL: %w", table, err)
		}
	}
	return nil
}

// ReadChunks returns the chunks of one symbol in a window, with their records,
// in the order of their offsets. They may overlap: package chunk makes trades of
// them. Idempotent.
func (s *Store) ReadChunks(ctx context.Context, w Window, symbol string) ([]*chunk.Row, error) {
	it := s.session.Query("SELECT first_offset, last_offset, summary, chunk FROM ticks WHERE window_start = ? AND log = ? AND symbol = ?", w.Start, w.Log, symbol).
		WithContext(ctx).Consistency(s.cfg.ReadConsistency).PageSize(200).Iter()
	var rows []*chunk.Row
	var err error
	var decoder chunk.Decoder
	var summary, ticks []byte
	for err == nil {
		row := &chunk.Row{Log: w.Log, Symbol: symbol}
		if !it.Scan(&row.First, &row.Last, &summary, &ticks) {
			break
		}
		if row.Summary, err = chunk.DecodeSummary(summary); err == nil {
			row.Records, err = decoder.Decode(nil, ticks)
		}
		rows = append(rows, row)
	}
	if err := errors.Join(it.Close(), err); err != nil {
		return nil, fmt.Errorf("read the ticks of %s in window %s: %w", symbol, w, err)
	}
	return rows, nil
}

// ReadChunk returns the records of the chunk that row names. Idempotent.
func (s *Store) ReadChunk(ctx context.Context, start int64, row *chunk.Row) ([]chunk.Record, error) {
	var ticks []byte
	err := s.session.Query("SELECT chunk FROM ticks WHERE window_start = ? AND log = ? AND symbol = ? AND first_offset = ? AND last_offset = ?",
		start, row.Log, row.Symbol, row.First, row.Last).WithContext(ctx).Consistency(s.cfg.ReadConsistency).Scan(&ticks)
	var records []chunk.Record
	if err == nil {
		records, err = new(chunk.Decoder).Decode(nil, ticks)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ticks of %s from offset %d in window %s: %w", row.Symbol, row.First, Window{start, row.Log}, err)
	}
	return records, nil
}
