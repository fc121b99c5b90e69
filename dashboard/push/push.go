// Package push brings the hub's stream to browsers, over WebSockets and, where
// those are blocked, as server-sent events. What is sent when is the same for
// both and is decided here; each transport is a file of its own.
package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ticktape/dashboard/hub"
)

const (
	// acceptTime is how long a client may take to accept a message.
	acceptTime = 10 * time.Second
	// keepAlive is the time between two signs of life, of which a client may miss two.
	keepAlive = 20 * time.Second
)

// Server serves the hub's stream.
type Server struct {
	hub     *hub.Hub
	origins []string
	accept  time.Duration
	stop    context.Context //nolint:containedctx // the life of the server, which outlives each request
	running sync.WaitGroup
}

// New makes a server whose streams end when ctx is done. Pages of the same host
// may connect, and those of the given origins ("https://example.com"); "*" is any.
func New(ctx context.Context, h *hub.Hub, origins []string) *Server {
	return &Server{hub: h, origins: origins, accept: acceptTime, stop: ctx}
}

// Wait returns when no stream is left, after the server's context was done.
func (s *Server) Wait() { s.running.Wait() }

// transport is a way to one browser. Its methods are called by one goroutine.
type transport interface {
	// send returns when the network has taken the message, or fails after the server's accept time.
	send(m *hub.Message) error
	// alive gives a sign of life and fails where the client has given none.
	alive() error
	// requests yields what the client says, nil where it can't, and is closed when
	// the client has gone.
	requests() <-chan hub.Request
}

// errGone is the end of a stream whose client went away.
var errGone = errors.New("the client has gone")

// pump sends f's messages until the client goes or ctx is done. The message on
// its way is all that is ever queued: what changes meanwhile waits in the hub.
func (s *Server) pump(ctx context.Context, t transport, f *hub.Feed) (err error) {
	defer func() {
		f.Close()
		countEnd(s.stop, err)
	}()
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		messages, more := f.Take()
		for _, m := range messages {
			if err := t.send(m); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.stop.Done():
			return s.stop.Err()
		case <-more:
		case <-tick.C:
			if err := t.alive(); err != nil {
				return err
			}
		case r, ok := <-t.requests():
			if !ok {
				return errGone
			}
			if r.Op == "snapshot" {
				f.Resync()
				continue
			}
			if err := f.Subscribe(r); err != nil {
				return err
			}
		}
	}
}

// begin admits a client by its first request, which is in the address:
// ?symbols=AAPL,MSFT&epoch=…&since=…, all optional. Where it returns nil it has
// answered already.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) *hub.Feed {
	if !s.Allowed(r) {
		http.Error(w, "This origin may not connect. Add it to DASHBOARD_ORIGINS to allow it.", http.StatusForbidden)
		return nil
	}
	req, err := parseQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		req.Epoch, req.Since = parseEventID(id)
	}
	f, err := s.hub.Subscribe(req)
	switch {
	case errors.Is(err, hub.ErrClients), errors.Is(err, hub.ErrBusy):
		droppedFull.Inc()
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return nil
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil
	}
	return f
}

func parseQuery(q url.Values) (hub.Request, error) {
	r := hub.Request{Op: "subscribe", Epoch: q.Get("epoch"), Pipeline: q.Get("pipeline") == "1"}
	if list := q.Get("symbols"); list != "" {
		r.Symbols = strings.Split(list, ",")
	}
	if since := q.Get("since"); since != "" {
		n, err := strconv.ParseUint(since, 10, 64)
		if err != nil {
			return r, fmt.Errorf("since is %.30q, not a whole number", since)
		}
		r.Since = n
	}
	return r, r.Check()
}

// eventID and parseEventID name a place in the stream in SSE's terms.
func eventID(m *hub.Message) string { return m.Epoch + "-" + strconv.FormatUint(m.Seq, 10) }

func parseEventID(id string) (epoch string, since uint64) {
	epoch, seq, _ := strings.Cut(id, "-")
	since, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return "", 0 // a snapshot is always right
	}
	return epoch, since
}

// Allowed keeps other sites' pages from reading the stream, and from changing
// anything, with a visitor's network access. What is no browser sends no Origin.
func (s *Server) Allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.origins, "*") || slices.Contains(s.origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}
