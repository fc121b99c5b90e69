// Package history stores every tick: it turns batches of a log's records into
// chunks in Cassandra, keeps each symbol's latest trade, and tells seal which
// windows have ticks to add up.
//
// All it writes may be written again, in batches with the same or other ends,
// and the same trades come of it (docs/exactly-once.md). It is not for counting
// them (packages live and seal).
package history

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ticktape/internal/store"
	"ticktape/internal/trigger"
	"ticktape/internal/window"
)

// Store is what a Writer asks of Cassandra. *store.Store says what each method
// guarantees.
type Store interface {
	Incarnation(ctx context.Context, topic string, topicID [16]byte) (int32, error)
	WriteChunks(ctx context.Context, w store.Window, rows [][]store.Chunk) error
	WriteQuotes(ctx context.Context, log int32, quotes []store.Quote) error
	WriteMarks(ctx context.Context, marks []store.Mark) error
}

const (
	// callLimit bounds a call that has no deadline of its own.
	callLimit = 30 * time.Second
	// retryAfter is what the caller is asked to wait when Cassandra fails.
	retryAfter = time.Second
	// writesAtOnce bounds a batch's writes that are under way, and chunksAWrite the
	// chunks of a window that go into one. A batch may be of one window or have one
	// for each record.
	writesAtOnce = 32
	chunksAWrite = 250
	// windowsKnown bounds the memory of what is marked already.
	windowsKnown = 10_000
)

// fewestShared is how many of a window's symbols a batch must have for its chunks
// to share rows, bucket by bucket: fewer rows, of which a reader who wants one
// symbol reads some others, too.
var fewestShared = 2 * store.Buckets

// mostShared is how many records a shared row may have, so that none of its
// symbols makes the others dear to read.
var mostShared = 1_000

// Writer stores batches. It is safe for concurrent use; batches of one
// partition must come one after the other.
type Writer struct {
	store Store

	mu   sync.Mutex
	logs map[int32]*logState
}

// logState is what is known of a log since the process started.
type logState struct {
	// time is the latest log time that was met.
	time int64
	// marked holds the starts of windows that this process has marked.
	marked map[int64]struct{}
}

// New makes a Writer.
func New(s Store) *Writer {
	return &Writer{store: s, logs: map[int32]*logState{}}
}

// Persist stores the ticks of b. Records that are no ticks are returned as
// failures and stored nowhere. Persist keeps nothing of b.
//
// An error is a trigger.RetryLater: the batch, or any batches that cover its
// records, are to be stored again, in the order of the log.
func (w *Writer) Persist(ctx context.Context, b *trigger.Batch) (trigger.Failures, error) {
	failures, err := w.persist(ctx, b)
	if err != nil {
		return nil, trigger.RetryLater{After: retryAfter, Cause: err}
	}
	return failures, nil
}

func (w *Writer) persist(ctx context.Context, b *trigger.Batch) (trigger.Failures, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callLimit)
		defer cancel()
	}
	incarnation, err := w.store.Incarnation(ctx, b.Topic, b.TopicID)
	if err != nil {
		return nil, err
	}
	log := store.Log(incarnation, b.Partition)
	g := groupings.Get()
	defer g.release()
	g.group(b.Records)

	writes, writing := errgroup.WithContext(ctx)
	writes.SetLimit(writesAtOnce)
	g.chunks(func(start int64, rows [][]store.Chunk) {
		writes.Go(func() error {
			return w.store.WriteChunks(writing, store.Window{Start: start, Log: log}, rows)
		})
	})
	writes.Go(func() error { return w.store.WriteQuotes(writing, log, g.quotes()) })
	if err := writes.Wait(); err != nil {
		return nil, err
	}
	// A mark says that everything up to its offset is there, so it comes last.
	if err := w.mark(ctx, log, g); err != nil {
		return nil, err
	}
	return g.failures, nil
}

// mark marks the windows of the batch that seal has to add up, perhaps again.
//
// A window is marked when this process first meets it, which is enough for the
// records that were logged before its end: seal waits until all of those are
// stored. Each batch with later ones marks it anew. Between the two lies seal's
// LATENESS, so that neither clocks that differ nor a log whose times step back make
// a record that nobody waits for and nobody marks.
func (w *Writer) mark(ctx context.Context, log int32, g *grouping) error {
	marks := w.unmarked(log, g)
	if len(marks) == 0 {
		return nil
	}
	if err := w.store.WriteMarks(ctx, marks); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := w.logs[log]
	if len(known.marked) > windowsKnown {
		clear(known.marked)
	}
	for _, m := range marks {
		known.marked[m.Start] = struct{}{}
	}
	return nil
}

// unmarked lists the marks that the batch makes necessary. A call that timed out
// may still be here when its successor comes, hence the lock.
func (w *Writer) unmarked(log int32, g *grouping) (marks []store.Mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.logs[log]
	if !ok {
		known = &logState{marked: map[int64]struct{}{}}
		w.logs[log] = known
	}
	for _, win := range g.windows {
		known.time = max(known.time, win.time)
	}
	for _, win := range g.windows {
		late := known.time >= win.start+window.Length
		if _, met := known.marked[win.start]; !met || late {
			marks = append(marks, store.Mark{Window: store.Window{Start: win.start, Log: log}, UpTo: win.last, Late: late})
		}
	}
	return marks
}

// Service stores the batches of the function persist. It connects to Cassandra
// at the first call, with the settings of the environment.
type Service struct {
	store *store.Lazy

	mu     sync.Mutex
	writer *Writer
}

// NewService makes a Service. It does not connect.
func NewService() *Service {
	return &Service{store: store.NewLazy(store.ConfigFromEnv)}
}

// Persist is Writer.Persist, and a trigger.RetryLater where there is no
// connection.
func (s *Service) Persist(ctx context.Context, b *trigger.Batch) (trigger.Failures, error) {
	w, err := s.get(ctx)
	if err != nil {
		return nil, trigger.RetryLater{After: retryAfter, Cause: err}
	}
	return w.Persist(ctx, b)
}

func (s *Service) get(ctx context.Context) (*Writer, error) {
	db, err := s.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil {
		// Of all functions persist is the one that TICKS_TTL is for.
		if err := db.KeepTicks(ctx); err != nil {
			return nil, err
		}
		s.writer = New(db)
	}
	return s.writer, nil
}
