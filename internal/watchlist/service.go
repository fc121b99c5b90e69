package watchlist

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/query"
	"ticktape/internal/service"
	"ticktape/internal/store"
	"ticktape/internal/trigger"
)

// Config is how the list is edited. Its fields are set by the environment
// variables in their tags.
type Config struct {
	// Symbols are the first ones of the list, with commas or spaces between them.
	Symbols string `env:"SYMBOLS"`
	// Limit is how many symbols may be on the list.
	Limit int `env:"WATCHLIST_LIMIT" envDefault:"2000"`
}

// deadline is the most time that an edit may take, below what a gateway waits for.
const deadline = 8 * time.Second

// retryAfter is when to ask again while Cassandra is away, in seconds.
const retryAfter = "2"

const methods = "GET, HEAD, OPTIONS, POST, DELETE"

// Service answers the calls of the function watchlist. It is safe for concurrent use.
type Service struct {
	api   *query.API
	store *store.Lazy

	mu    sync.Mutex
	list  *List
	limit int
}

// NewService makes a Service that reads its settings and connects when it is
// first called.
func NewService() *Service {
	s := store.NewLazy(store.ConfigFromEnv)
	return &Service{api: query.New(s), store: s}
}

func (s *Service) configure() (*List, int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		cfg, err := service.Load[Config]()
		if err != nil {
			return nil, 0, err
		}
		if cfg.Limit < 1 {
			return nil, 0, service.Settingf("WATCHLIST_LIMIT must be above 0")
		}
		s.list, s.limit = NewSeeded(s.store, ParseList(cfg.Symbols)), cfg.Limit
	}
	return s.list, s.limit, nil
}

// Serve answers GET with the list, POST {"symbol":"AAPL"} or ?symbol=AAPL by
// adding a symbol and DELETE ?symbol=AAPL by removing one. The latter two are refused
// without the token. Whatever is no success is a problem document.
func (s *Service) Serve(req handler.Request) handler.Response {
	list, limit, err := s.configure()
	if err != nil {
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	switch req.Method {
	case http.MethodPost, http.MethodDelete:
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return s.api.Watchlist(req, limit, list.List)
	default:
		res := trigger.Problem(http.StatusMethodNotAllowed, "watchlist is read with GET, added to with POST and removed from with DELETE.")
		res.Header.Set("Allow", methods)
		return res
	}
	if err := trigger.Authorised(req.Header); err != nil {
		return trigger.Refuse(err)
	}
	symbol, err := symbolOf(req.QueryString, req.Body)
	if err != nil {
		return trigger.Problem(http.StatusBadRequest, err.Error())
	}
	ctx := req.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if req.Method == http.MethodDelete {
		removed, err := list.Remove(ctx, symbol)
		return s.answer(ctx, http.StatusOK, map[string]any{"symbol": symbol, "removed": removed}, err)
	}
	added, err := list.Add(ctx, symbol, limit)
	status := http.StatusOK
	if added {
		status = http.StatusCreated
	}
	return s.answer(ctx, status, map[string]any{"symbol": symbol, "added": added}, err)
}

func (s *Service) answer(ctx context.Context, status int, body any, err error) handler.Response {
	var full FullError
	switch {
	case errors.As(err, &full):
		return trigger.Problem(http.StatusConflict, fmt.Sprintf("The watch list is full: it has %d symbols. Remove one, or raise WATCHLIST_LIMIT.", int(full)))
	case err != nil:
		slog.WarnContext(ctx, "the watch list was not changed for sure", "error", err)
		res := trigger.Problem(http.StatusServiceUnavailable, "The database does not answer. Send it again in "+retryAfter+" seconds; it may be sent any number of times.")
		res.Header.Set("Retry-After", retryAfter)
		return res
	}
	b, err := json.Marshal(body)
	if err != nil { // no value that is passed here can cause it
		return trigger.Problem(http.StatusInternalServerError, err.Error())
	}
	return handler.Response{StatusCode: status, Body: append(b, '\n'), Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}}
}

// symbolOf reads which symbol a request is about: from its query string, or else
// from its body.
func symbolOf(rawQuery string, body []byte) (string, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return "", errors.New("the query string can't be read: write symbol=AAPL, with other characters as %XX")
	}
	for name, v := range values {
		if name != "symbol" || len(v) != 1 {
			return "", fmt.Errorf("give the parameter symbol, once, and no other; %.40q is too much", name)
		}
	}
	if values.Has("symbol") {
		return Parse(values.Get("symbol"))
	}
	var doc struct {
		Symbol *string `json:"symbol"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil || doc.Symbol == nil || dec.Decode(&struct{}{}) != io.EOF {
		return "", errors.New(`say which symbol: as a parameter, symbol=AAPL, or as a JSON body, {"symbol":"AAPL"}`)
	}
	return Parse(*doc.Symbol)
}
