// Package ask asks the functions, through an OpenFaaS gateway, for what the topic
// of windows can't tell: the latest trades of symbols that have not traded for
// long, the part of a day and the candles from before the topic, the watch list.
package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

// CallTime bounds a call.
const CallTime = 10 * time.Second

// maxAnswer is more than a page of candles takes.
const maxAnswer = 4 << 20

// Client calls functions. It is safe for concurrent use.
type Client struct {
	gateway string
	http    *http.Client
	retry   time.Duration // between two looks at what failed or is not settled

	mu        sync.Mutex
	asked     bool
	cassandra string
}

// Cassandra returns what the last function that reads Cassandra complained of, ""
// where it did not; asked is false where none has answered yet.
func (c *Client) Cassandra() (problem string, asked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cassandra, c.asked
}

// learn keeps what an answer tells of Cassandra, on which the query functions stand.
func (c *Client) learn(a Answer, function string) {
	problem := ""
	switch {
	case a.Status >= 500:
		problem = a.problem(function).Error()
	case a.Status >= 300 && !a.isProblem():
		return // a gateway's
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked, c.cassandra = true, problem
}

// New makes a client of the gateway at that address. It does not connect.
func New(gateway string) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(gateway, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, service.Settingf("GATEWAY_URL=%q is no address: write it like http://127.0.0.1:8080", gateway)
	}
	return &Client{gateway: base.String(), http: &http.Client{Timeout: CallTime}, retry: gapsRetry}, nil
}

// Answer is what a function has answered.
type Answer struct {
	Status      int
	ContentType string
	RetryAfter  string
	Body        []byte
}

// ErrToken says that a call needs the token that the function shares with its callers.
var ErrToken = errors.New("the dashboard has no token for the functions")

// call calls a function. The error tells, in words for people, that it can't be
// reached; any answer is none.
func (c *Client) call(ctx context.Context, method, function string, query url.Values, body []byte, token string) (Answer, error) {
	address := c.gateway + "/function/" + function
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("GATEWAY_URL %q can't be used: %w", c.gateway, err)
	}
	req.Header.Set("Accept", "application/json")
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set(trigger.HeaderToken, token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return Answer{}, fmt.Errorf("the %s function at %s does not answer: %w", name(function), c.gateway, err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := Answer{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), RetryAfter: resp.Header.Get("Retry-After")}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return a, fmt.Errorf("read the answer of the %s function: %w", name(function), err)
	case len(a.Body) > maxAnswer:
		return a, fmt.Errorf("the answer of the %s function is too long", name(function))
	}
	return a, nil
}

// name is the function of a path.
func name(path string) string {
	n, _, _ := strings.Cut(path, "/")
	return n
}

// problem reads an answer that is none of the wanted ones.
func (a Answer) problem(function string) error {
	var p struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal(a.Body, &p) == nil && p.Detail != "" {
		return fmt.Errorf("the %s function answers %d: %s", function, a.Status, p.Detail)
	}
	if a.Status == http.StatusNotFound {
		return fmt.Errorf("the %s function is not deployed: the gateway answers 404", function)
	}
	return fmt.Errorf("the %s function answers %d %s", function, a.Status, http.StatusText(a.Status))
}

// isProblem tells an answer of the function itself from one of a gateway or proxy.
func (a Answer) isProblem() bool {
	kind, _, err := mime.ParseMediaType(a.ContentType)
	return err == nil && kind == "application/problem+json"
}

// get asks a query function and reads its answer into v.
func (c *Client) get(ctx context.Context, function string, query url.Values, v any) error {
	a, err := c.call(ctx, http.MethodGet, function, query, nil, "")
	if err != nil {
		return err
	}
	c.learn(a, function)
	switch {
	case a.Status == http.StatusNotFound && a.isProblem():
		return ErrUnknown
	case a.Status != http.StatusOK:
		return a.problem(function)
	}
	if err := json.Unmarshal(a.Body, v); err != nil {
		return fmt.Errorf("the answer of the %s function can't be read: %w", function, err)
	}
	return nil
}

// ErrUnknown is the answer that no trade of the symbol was ever stored.
var ErrUnknown = errors.New("symbol unknown to history")

// Alive asks a function's process whether it lives, and returns "" where it does,
// else a sentence that says what it or the gateway answered. reached is false
// where not even the gateway did.
func (c *Client) Alive(ctx context.Context, function string) (problem string, reached bool) {
	a, err := c.call(ctx, http.MethodGet, function+"/_/health", nil, nil, "")
	switch {
	case err != nil:
		return err.Error(), false
	case a.Status == http.StatusOK:
		return "", true
	}
	return a.problem(function).Error(), true
}

// Metrics returns the metrics of a function's process, in Prometheus' text form:
// of any one where there are several.
func (c *Client) Metrics(ctx context.Context, function string) ([]byte, error) {
	a, err := c.call(ctx, http.MethodGet, function+"/metrics", nil, nil, "")
	switch {
	case err != nil:
		return nil, err
	case a.Status != http.StatusOK:
		return nil, a.problem(function)
	}
	return a.Body, nil
}
