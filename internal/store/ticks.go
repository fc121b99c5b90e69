package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gocql/gocql"
	"google.golang.org/protobuf/encoding/protowire"

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
// each applied whole. A row is one chunk, or several of symbols of one bucket (see
// Bucket), in the order of the symbols: then all that the log has of the bucket in the
// window between the first and the last of their offsets. Idempotent: a row's key
// is its place in the log, and the same place holds the same ticks.
func (s *Store) WriteChunks(ctx context.Context, w Window, rows [][]Chunk) error {
	for len(rows) > 0 {
		n, size, chunks := 0, 0, 0
		for n < len(rows) && n < chunkRows {
			more := 0
			for i := range rows[n] {
				more += len(rows[n][i].Summary) + len(rows[n][i].Ticks)
			}
			if n > 0 && size+more > chunkBytes {
				break
			}
			size, chunks = size+more, chunks+len(rows[n])
			n++
		}
		shared := 0
		if chunks > n {
			shared = size + 32*chunks
		}
		b := s.batch(ctx, gocql.UnloggedBatch, n)
		values := newValues(2+5*n, 16+40*n+shared)
		start, log := values.bigint(w.Start), values.int(w.Log)
		for _, row := range rows[:n] {
			c := row[0]
			summary, ticks := values.blob(c.Summary), values.blob(c.Ticks)
			if len(row) > 1 {
				c.Symbol = bucketNames[Bucket(c.Symbol)]
				for i := range row {
					c.First, c.Last = min(c.First, row[i].First), max(c.Last, row[i].Last)
				}
				summary, ticks = values.sharedRow(c.First, row)
			}
			b.Entries = append(b.Entries, gocql.BatchEntry{Stmt: chunkStmt, Args: values.args(
				start, log, values.text(c.Symbol), values.bigint(c.First), values.bigint(c.Last), summary, ticks)})
		}
		if err := s.session.ExecuteBatch(b); err != nil {
			return fmt.Errorf("write %d chunks of window %s: %w", chunks, w, err)
		}
		rows = rows[n:]
	}
	return nil
}

// sharedRow makes the cells of a row of several chunks, which starts at the
// offset first. Of each chunk the summary's cell has the symbol, its first offset
// from that of the row, its last one from its first, and the summary; the other cell
// has its ticks. Texts and bytes come after their lengths, and all numbers are varints.
func (v *values) sharedRow(first int64, row []Chunk) (summary, ticks *encoded) {
	from := len(v.bytes)
	for i := range row {
		c := &row[i]
		v.bytes = protowire.AppendString(v.bytes, c.Symbol)
		v.bytes = protowire.AppendVarint(v.bytes, uint64(c.First-first))
		v.bytes = protowire.AppendVarint(v.bytes, uint64(c.Last-c.First))
		v.bytes = protowire.AppendBytes(v.bytes, c.Summary)
	}
	summary = v.end(from)
	from = len(v.bytes)
	for i := range row {
		v.bytes = protowire.AppendBytes(v.bytes, row[i].Ticks)
	}
	return summary, v.end(from)
}

// eachShared calls f with each chunk of a row that sharedRow made, until f returns
// false. Where ticks is nil, they have not been read, and the chunks' are nil. The
// chunks point into the cells. Errors wrap chunk.ErrChunk.
func eachShared(first int64, summaries []byte, ticks *[]byte, f func(c *sharedChunk) bool) error {
	var rest []byte
	if ticks != nil {
		rest = *ticks
	}
	for len(summaries) > 0 {
		var c sharedChunk
		var from, length uint64
		r := cellReader{b: summaries}
		c.Symbol, from, length, c.Summary = r.bytes(), r.varint(), r.varint(), r.bytes()
		summaries = r.b
		if ticks != nil {
			t := cellReader{b: rest, err: r.err}
			c.Ticks = t.bytes()
			rest, r.err = t.b, t.err
		}
		if r.err != nil {
			return fmt.Errorf("%w: a row of several symbols: %w", chunk.ErrChunk, r.err)
		}
		c.First = first + int64(from)
		c.Last = c.First + int64(length)
		if !f(&c) {
			return nil
		}
	}
	return nil
}

// sharedChunk is a chunk as it is read from a row of several.
type sharedChunk struct {
	Symbol, Summary, Ticks []byte
	First, Last            int64
}

// cellReader reads the parts of a cell one after the other, up to its first error.
type cellReader struct {
	b   []byte
	err error
}

func (r *cellReader) varint() uint64 {
	v, n := protowire.ConsumeVarint(r.b)
	if !r.take(n) {
		return 0
	}
	return v
}

func (r *cellReader) bytes() []byte {
	v, n := protowire.ConsumeBytes(r.b)
	if !r.take(n) {
		return nil
	}
	return v
}

func (r *cellReader) take(n int) bool {
	if r.err != nil || n < 0 {
		r.err = cmp.Or(r.err, protowire.ParseError(n))
		return false
	}
	r.b = r.b[n:]
	return true
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
// in the order of their first offsets. They may overlap: package chunk makes trades of
// them. Idempotent.
func (s *Store) ReadChunks(ctx context.Context, w Window, symbol string) ([]*chunk.Row, error) {
	var rows []*chunk.Row
	var decoder chunk.Decoder
	err := s.eachChunk(ctx, w, symbol, func(c *sharedChunk) (err error) {
		row := &chunk.Row{Log: w.Log, Symbol: symbol, First: c.First, Last: c.Last}
		if row.Summary, err = chunk.DecodeSummary(c.Summary); err == nil {
			row.Records, err = decoder.Decode(nil, c.Ticks)
		}
		rows = append(rows, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// ReadChunk returns the records of the chunk that row, which Summaries gave, names.
// Idempotent.
func (s *Store) ReadChunk(ctx context.Context, start int64, row *chunk.Row) (records []chunk.Record, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("read the ticks of %s from offset %d in window %s: %w", row.Symbol, row.First, Window{start, row.Log}, err)
		}
	}()
	shared := row.Shared != [2]int64{}
	name, first, last := row.Symbol, row.First, row.Last
	if shared {
		name, first, last = bucketNames[Bucket(row.Symbol)], row.Shared[0], row.Shared[1]
	}
	var summary, ticks []byte
	err = s.session.Query("SELECT summary, chunk FROM ticks WHERE window_start = ? AND log = ? AND symbol = ? AND first_offset = ? AND last_offset = ?",
		start, row.Log, name, first, last).WithContext(ctx).Consistency(s.cfg.ReadConsistency).Scan(&summary, &ticks)
	if err != nil {
		return nil, err
	}
	if shared {
		all := ticks
		ticks = nil
		if err := eachShared(first, summary, &all, func(c *sharedChunk) bool {
			if string(c.Symbol) == row.Symbol {
				ticks = c.Ticks
			}
			return ticks == nil
		}); err != nil {
			return nil, err
		}
		if ticks == nil {
			return nil, fmt.Errorf("%w: its row has others only", chunk.ErrChunk)
		}
	}
	return new(chunk.Decoder).Decode(nil, ticks)
}
