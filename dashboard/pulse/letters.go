package pulse

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"

	"ticktape/internal/bus"
	"ticktape/internal/tick/tickpb"
)

// MostLetters is how many dead letters are kept.
const MostLetters = 100

// The headers that a dead letter has besides those of its record: the contract of
// docs/design.md, which connectors/kafka keeps.
const (
	deadReason    = "dead-letter-reason"
	deadFunction  = "dead-letter-function"
	deadTopic     = "dead-letter-topic"
	deadPartition = "dead-letter-partition"
	deadOffset    = "dead-letter-offset"
	deadTimestamp = "dead-letter-timestamp"
)

// Letter is a dead letter. Times are milliseconds since the Unix epoch; numbers
// are -1 where the letter does not tell them.
type Letter struct {
	// Position is its offset in the dead-letter topic's partition.
	Position   int64  `json:"position"`
	Time       int64  `json:"time"`
	Function   string `json:"function"`
	Topic      string `json:"topic"`
	Partition  int64  `json:"partition"`
	Offset     int64  `json:"offset"`
	RecordTime int64  `json:"record_time"`
	Key        string `json:"key"`
	Reason     string `json:"reason"`
	// Value is the beginning of the record as text, in the form that Form names:
	// tick, text or bytes.
	Value string `json:"value"`
	Form  string `json:"form"`
	// Size is the length of the record's value in bytes.
	Size int `json:"size"`
}

// LettersReport is what is known of dead letters.
type LettersReport struct {
	// Total is how many the topic holds, Newest changes with each further one.
	Total   int64    `json:"total"`
	Newest  int64    `json:"newest"`
	Letters []Letter `json:"letters,omitempty"`
	Problem string   `json:"problem,omitempty"`
}

// Letters follows a dead-letter topic. It is safe for concurrent use.
type Letters struct {
	mu      sync.Mutex
	list    []Letter // oldest first
	starts  map[int]int64
	ends    map[int]int64
	problem string
}

// NewLetters makes Letters that have read nothing yet.
func NewLetters() *Letters {
	return &Letters{starts: map[int]int64{}, ends: map[int]int64{}, problem: "The dead letters have not been read yet."}
}

// Newest returns the newest dead letters, newest first, at most limit.
func (l *Letters) Newest(limit int) LettersReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reportLocked()
	r.Letters = slices.Clone(l.list[max(0, len(l.list)-limit):])
	slices.Reverse(r.Letters)
	return r
}

func (l *Letters) reportLocked() LettersReport {
	r := LettersReport{Problem: l.problem}
	if len(l.ends) == 0 { // what has been added did not come from a topic
		r.Total, r.Newest = int64(len(l.list)), int64(len(l.list))
	}
	for p, end := range l.ends {
		r.Total += end - l.starts[p]
		r.Newest += end
	}
	return r
}

// Follow reads the topic until ctx is done. Whatever goes wrong is told and tried again.
func (l *Letters) Follow(ctx context.Context, client *bus.Client, topic string) error {
	for {
		err := l.follow(ctx, client, topic)
		if ctx.Err() != nil {
			return nil
		}
		l.fail(err, topic)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
	}
}

func (l *Letters) fail(err error, topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, bus.ErrNoTopic) {
		// It is made with the first dead letter.
		l.list, l.problem = nil, ""
		clear(l.starts)
		clear(l.ends)
		return
	}
	if l.problem == "" {
		slog.Warn("the dead letters can't be read", "topic", topic, "error", err)
	}
	l.problem = "The dead letters can't be read: " + err.Error() + "."
}

func (l *Letters) follow(ctx context.Context, client *bus.Client, topic string) error {
	info, err := client.TopicInfo(ctx, topic)
	if err != nil {
		return err
	}
	firsts, err := client.OffsetsAfter(ctx, topic, time.UnixMilli(0))
	if err != nil {
		return err
	}
	partitions := make([]int, info.Partitions)
	for p := range partitions {
		partitions[p] = p
	}
	ends, err := client.Ends(ctx, topic, partitions)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.list, l.problem = nil, ""
	l.starts, l.ends = firsts, ends
	l.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	for p := range info.Partitions {
		c := client.Cursor(topic, info, p, max(firsts[p], ends[p]-MostLetters))
		g.Go(func() error { return l.read(ctx, c, p) })
	}
	return g.Wait()
}

const (
	letterWait  = 5 * time.Second
	letterBytes = 1 << 20
)

func (l *Letters) read(ctx context.Context, c *bus.Cursor, partition int) error {
	for {
		chunk, err := c.Fetch(ctx, letterWait, letterBytes)
		if err != nil {
			return err
		}
		var r bus.Record
		for {
			more, err := chunk.Next(&r)
			if err != nil {
				return err
			}
			if !more {
				break
			}
			l.Add(letter(&r))
		}
		l.mu.Lock()
		l.starts[partition] = min(chunk.Start, chunk.End)
		l.ends[partition] = chunk.End
		l.mu.Unlock()
	}
}

// Add takes in a dead letter.
func (l *Letters) Add(letter Letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.list, letter.Time+1, func(x Letter, t int64) int { return int(x.Time - t) })
	l.list = slices.Insert(l.list, i, letter)
	if len(l.list) > MostLetters {
		l.list = slices.Delete(l.list, 0, len(l.list)-MostLetters)
	}
}

const (
	mostValue  = 512 // characters
	mostReason = 1000
	mostKey    = 100
)

// letter copies what is shown of a record.
func letter(r *bus.Record) Letter {
	l := Letter{Position: r.Offset, Time: r.Timestamp, Key: plain(r.Key, mostKey), Partition: -1, Offset: -1, RecordTime: -1, Size: len(r.Value)}
	for _, h := range r.Headers {
		number := func() int64 {
			n, err := strconv.ParseInt(string(h.Value), 10, 64)
			if err != nil {
				return -1
			}
			return n
		}
		switch h.Key {
		case deadReason:
			l.Reason = plain(h.Value, mostReason)
		case deadFunction:
			l.Function = plain(h.Value, mostKey)
		case deadTopic:
			l.Topic = plain(h.Value, mostKey)
		case deadPartition:
			l.Partition = number()
		case deadOffset:
			l.Offset = number()
		case deadTimestamp:
			l.RecordTime = number()
		}
	}
	l.Value, l.Form = show(r.Value)
	return l
}

// show makes text of a record's value.
func show(value []byte) (text, form string) {
	head := value[:min(len(value), 4*mostValue)]
	if printable(head) {
		return plain(value, mostValue), "text"
	}
	var t tickpb.Tick
	if len(value) <= 4*mostValue && t.UnmarshalVT(value) == nil && utf8.ValidString(t.Symbol+t.Currency+t.Exchange) && (t.Symbol != "" || t.Price != 0) {
		if b, err := (protojson.MarshalOptions{UseProtoNames: true}).Marshal(&t); err == nil {
			return plain(b, mostValue), "tick"
		}
	}
	text = hex.EncodeToString(head[:min(len(head), mostValue/2)])
	if len(value) > mostValue/2 {
		text += "…"
	}
	return text, "bytes"
}

// printable tells text from other bytes. A character that is cut off at the end is none.
func printable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n <= 1 {
			return len(b) < utf8.UTFMax && !utf8.FullRune(b)
		}
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return false
		}
		b = b[n:]
	}
	return true
}

// plain makes text of at most n characters of bytes that may be anything, without
// what would change how the text around it reads.
func plain(b []byte, n int) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(string(b[:min(len(b), 4*n)]), "\uFFFD") {
		if n == 0 {
			break
		}
		n--
		switch {
		case r == '\n' || r == '\t':
			out.WriteRune(' ')
		case unicode.IsPrint(r):
			out.WriteRune(r)
		default:
			fmt.Fprintf(&out, "\\u%04x", r)
		}
	}
	if n == 0 && out.Len() < len(b) {
		out.WriteRune('…')
	}
	return out.String()
}
