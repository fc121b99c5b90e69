// Package query answers the functions that users and programs ask: quotes,
// candles and ticks. It reads parameters, gathers the answer from the store with
// a bounded amount of work and memory a request, and writes it as JSON or CSV, or
// says as a problem document (RFC 9457) what is wrong with the request.
//
// It is not for computing candles or deciding what is final (package seal), and
// it writes nothing. All times are milliseconds since the Unix epoch, all ranges
// half-open: from ≤ t < to.
package query

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/store"
)

// deadline is the most time that one request may take. It is below the 10
// seconds after which an OpenFaaS gateway gives up.
const deadline = 8 * time.Second

// retryAfter is when a client should ask again while Cassandra is away, in seconds.
const retryAfter = 2

// inFlight bounds the requests that are worked on at a time, and with them the
// memory, of which one takes up to 30 MB, and the reads that Cassandra gets at
// once; more wait for their turn.
const inFlight = 8

// API answers the query functions. It is safe for concurrent use.
type API struct {
	open  func(context.Context) (reader, error)
	now   func() time.Time
	turns chan struct{} // holds one element a request
}

// New returns an API that reads from the store, which it connects to when it
// first has to.
func New(s *store.Lazy) *API {
	return newAPI(func(ctx context.Context) (reader, error) { return s.Get(ctx) })
}

func newAPI(open func(context.Context) (reader, error)) *API {
	return &API{open: open, now: time.Now, turns: make(chan struct{}, inFlight)}
}

// function is one of the query functions: its parameters, and how it gathers
// its answer from a form that has no others.
type function struct {
	name       string
	parameters []string
	answer     func(*API, context.Context, form) (*answer, error)
}

// Quotes answers ?symbols=AAPL,MSFT: the latest trade of each symbol.
func (a *API) Quotes(req handler.Request) handler.Response {
	return a.serve(req, function{"quotes", []string{"symbols", "limit", "cursor", "format"}, (*API).quotes})
}

// Candles answers ?symbol=AAPL&interval=5m&from=…&to=…: the candles that start in the range.
func (a *API) Candles(req handler.Request) handler.Response {
	return a.serve(req, function{"candles", []string{"symbol", "interval", "from", "to", "events", "limit", "cursor", "format"}, (*API).candles})
}

// Ticks answers ?symbol=AAPL&from=…&to=…: the trades in the range, each once.
func (a *API) Ticks(req handler.Request) handler.Response {
	return a.serve(req, function{"ticks", []string{"symbol", "from", "to", "limit", "cursor", "format"}, (*API).ticks})
}

var methods = []string{http.MethodGet, http.MethodHead, http.MethodOptions}

func (a *API) serve(req handler.Request, fn function) handler.Response {
	switch req.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		return options()
	default:
		p := problem(http.StatusMethodNotAllowed, "%s only reads: ask with GET (faas-cli invoke %s --method GET).", fn.name, fn.name)
		res := p.response()
		res.Header.Set("Allow", strings.Join(methods, ", "))
		return res
	}
	ctx := req.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	res, err := a.get(ctx, req, fn)
	if err != nil {
		res = failure(ctx, fn.name, err)
	}
	return res // of HEAD too: the server that carries it drops the body and keeps its length
}

func (a *API) get(ctx context.Context, req handler.Request, fn function) (handler.Response, error) {
	f, err := parseForm(req.QueryString, fn.parameters...)
	if err != nil {
		return handler.Response{}, err
	}
	asCSV, err := f.csv(req.Header.Values("Accept"))
	if err != nil {
		return handler.Response{}, err
	}
	if _, asked := f["events"]; asked && asCSV {
		return handler.Response{}, badParameter("events", "CSV has no place for events: ask for JSON, or leave events out.")
	}
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return handler.Response{}, fmt.Errorf("%w: %w", errBusy, ctx.Err())
	}
	ans, err := fn.answer(a, ctx, f)
	if err != nil {
		return handler.Response{}, err
	}
	return ans.response(asCSV, req.QueryString)
}

var errBusy = errors.New("no turn came while other queries were worked on")

// failure answers for an error: a Problem as it is; any other is the store's, which
// may be back soon unless what it holds is damaged.
func failure(ctx context.Context, name string, err error) handler.Response {
	var p *Problem
	if errors.As(err, &p) {
		return p.response()
	}
	if corrupt(err) {
		slog.ErrorContext(ctx, "a query met damaged data", "function", name, "error", err)
		return problem(http.StatusInternalServerError, "The stored data can't be read. The log of %s says which.", name).response()
	}
	if !errors.Is(err, context.Canceled) { // then the client has gone
		slog.WarnContext(ctx, "a query was not answered in time", "function", name, "error", err)
	}
	reason := "The database does not answer."
	if errors.Is(err, errBusy) {
		reason = "Too many queries are under way."
	}
	res := problem(http.StatusServiceUnavailable, "%s Ask again in %d seconds.", reason, retryAfter).response()
	res.Header.Set("Retry-After", strconv.Itoa(retryAfter))
	return res
}

// options answers a preflight request, or somebody who is curious.
func options() handler.Response {
	res := respond(http.StatusNoContent)
	allow := strings.Join(methods, ", ")
	res.Header.Set("Allow", allow)
	res.Header.Set("Access-Control-Allow-Methods", allow)
	res.Header.Set("Access-Control-Allow-Headers", "Accept, Content-Type")
	res.Header.Set("Access-Control-Max-Age", "86400")
	return res
}
