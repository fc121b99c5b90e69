package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"ticktape/dashboard/ask"
)

const (
	// maxBody bounds what a page sends.
	maxBody = 4 << 10

	// A person changes the list by hand.
	changesPerSecond = 5
	changesBurst     = 50
)

type watchlistAnswer struct {
	Rev     int64    `json:"rev"`
	Symbols []listed `json:"symbols"`
	Problem string   `json:"problem,omitempty"`
}

type listed struct {
	ask.Listed
	Shown bool `json:"shown"`
}

func (c Config) watchlist(w http.ResponseWriter, r *http.Request) {
	symbols, problem := c.List.Last()
	names := make([]string, len(symbols))
	for i, s := range symbols {
		names[i] = s.Symbol
	}
	shown := c.Hub.Shown(names)
	a := watchlistAnswer{Rev: c.Hub.ListRev(), Symbols: make([]listed, len(symbols)), Problem: problem}
	for i, s := range symbols {
		a.Symbols[i] = listed{s, shown[s.Symbol]}
	}
	writeJSON(w, r, http.StatusOK, a)
}

// change passes a change of the list on to the function, and its answer back.
func (c Config) change(w http.ResponseWriter, r *http.Request) {
	if !c.changes.Allow() {
		w.Header().Set("Retry-After", "1")
		writeProblem(w, http.StatusTooManyRequests, "", "The watch list is being changed too often: wait a second.")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		writeProblem(w, http.StatusBadRequest, "", "The body is too long or did not arrive.")
		return
	}
	query := url.Values{}
	if s := r.URL.Query().Get("symbol"); s != "" {
		query.Set("symbol", s)
	}
	ctx, cancel := context.WithTimeout(r.Context(), ask.CallTime)
	defer cancel()
	answer, err := c.List.Change(ctx, r.Method, query, body)
	switch {
	case errors.Is(err, ask.ErrToken):
		writeProblem(w, http.StatusServiceUnavailable, "", err.Error())
	case err != nil:
		writeProblem(w, http.StatusServiceUnavailable, "", "The watch list can't be changed: "+err.Error()+".")
	default:
		if answer.Status < 300 {
			c.List.Refresh()
		}
		if answer.RetryAfter != "" {
			w.Header().Set("Retry-After", answer.RetryAfter)
		}
		write(w, r, answer.Status, answer.ContentType, answer.Body)
	}
}
