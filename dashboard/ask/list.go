package ask

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"ticktape/dashboard/board"
	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

// listEvery is the time between two looks at the watch list, which others may
// change too.
const listEvery = 5 * time.Second

// Listed is a symbol of the watch list. Times are milliseconds since the Unix
// epoch, 0 where they are not known.
type Listed struct {
	Symbol   string `json:"symbol"`
	Name     string `json:"name"`
	Exchange string `json:"exchange"`
	// State is active, or unknown where the source does not know the symbol, which
	// Reason says how.
	State      string `json:"state"`
	Reason     string `json:"reason"`
	AddedAt    moment `json:"added_at"`
	CheckedAt  moment `json:"checked_at"`
	StreamedBy string `json:"streamed_by"`
	// DelayedBy is how many minutes the source's data lag behind the exchange, nil
	// where it is not known.
	DelayedBy *int `json:"delayed_by,omitempty"`
}

// moment is read from RFC 3339 or milliseconds and written as milliseconds.
type moment int64

func (m *moment) UnmarshalJSON(b []byte) error {
	if !bytes.HasPrefix(b, []byte(`"`)) {
		return json.Unmarshal(b, (*int64)(m))
	}
	var t time.Time
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	if *m = 0; !t.IsZero() {
		*m = moment(t.UnixMilli())
	}
	return nil
}

// List follows the function watchlist.
type List struct {
	// Every is the time between two looks, for tests to shorten before Follow; 0 is 5 s.
	Every time.Duration

	client *Client
	set    func(map[string]board.Facts)
	poke   chan struct{}

	mu      sync.Mutex
	last    []Listed
	problem string
}

// NewList makes a list that hands what it reads to set.
func NewList(c *Client, set func(map[string]board.Facts)) *List {
	return &List{client: c, set: set, poke: make(chan struct{}, 1), problem: "The watch list has not been read yet."}
}

// Last returns what was read last, and a sentence that says why it is not newer,
// empty where it is.
func (l *List) Last() (symbols []Listed, problem string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.problem
}

// Refresh has the list read at once.
func (l *List) Refresh() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// Follow reads the list until ctx is done.
func (l *List) Follow(ctx context.Context) error {
	every := cmp.Or(l.Every, listEvery)
	told := ""
	for {
		err := l.read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		problem := ""
		if err != nil {
			problem = "The watch list can't be read: " + strings.TrimSuffix(err.Error(), ".") + "."
		}
		if problem != told && problem != "" {
			slog.Warn("the watch list can't be read", "error", err)
		}
		told = problem
		l.mu.Lock()
		l.problem = problem
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-l.poke:
		case <-time.After(every):
		}
	}
}

func (l *List) read(ctx context.Context) error {
	var body struct {
		Symbols []Listed `json:"symbols"`
	}
	if err := l.client.get(ctx, "watchlist", nil, &body); err != nil {
		return err
	}
	facts := make(map[string]board.Facts, len(body.Symbols))
	for _, s := range body.Symbols {
		f := board.Facts{Name: s.Name, Delay: -1}
		if s.DelayedBy != nil {
			f.Delay = *s.DelayedBy
		}
		facts[s.Symbol] = f
	}
	l.mu.Lock()
	l.last = body.Symbols
	l.mu.Unlock()
	l.set(facts)
	return nil
}

// Change passes a change on to the function and returns its answer. The error is
// ErrToken, or says in a sentence that the function can't be reached.
func (l *List) Change(ctx context.Context, method string, query url.Values, body []byte) (Answer, error) {
	token, err := service.Secret(trigger.TokenSecret)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	a, err := l.client.call(ctx, method, "watchlist", query, body, token)
	switch {
	case err != nil:
		return a, err
	case a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden || a.Status == http.StatusNotFound && !a.isProblem():
		// These are about the dashboard's deployment, not about who asked it.
		return a, a.problem("watchlist")
	}
	return a, nil
}
