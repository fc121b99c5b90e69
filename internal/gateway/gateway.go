// Package gateway speaks to an OpenFaaS gateway, or to anything that has its
// API: it lists functions and calls them. It knows nothing of what triggers them.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/openfaas/faas-provider/types"

	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

// Config is how to reach the gateway. Its fields are set by the environment
// variables in their tags.
type Config struct {
	URL string `env:"GATEWAY_URL" envDefault:"http://127.0.0.1:8080"`
	// Namespaces are those whose functions are triggered, or "*" for all. Empty is
	// the gateway's default namespace.
	Namespaces []string `env:"NAMESPACES"`
	// Refresh is how often the functions are listed anew.
	Refresh time.Duration `env:"REFRESH_INTERVAL" envDefault:"30s"`
	// SecretsDir has the files basic-auth-user and basic-auth-password where the
	// gateway wants them, and trigger-token.
	SecretsDir string `env:"SECRETS_DIR" envDefault:"/var/openfaas/secrets"`
}

// Function is a function as the gateway lists it.
type Function struct {
	Name string
	// Namespace is empty for the default one, which calls need not name.
	Namespace   string
	Annotations map[string]string
}

// String is how the function is called: "name" or "name.namespace".
func (f Function) String() string {
	if f.Namespace == "" {
		return f.Name
	}
	return f.Name + "." + f.Namespace
}

// Client is a connection to a gateway, for concurrent use.
type Client struct {
	cfg       Config
	base      *url.URL
	connector string
	http      *http.Client
	token     atomic.Pointer[string]
}

// New makes a client for the connector of that name, which its calls carry in
// X-Connector. It does not connect.
func New(cfg Config, connector string) (*Client, error) {
	base, err := url.Parse(strings.TrimSuffix(cfg.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, service.Settingf("GATEWAY_URL=%q is no address: write it like http://127.0.0.1:8080", cfg.URL)
	}
	if cfg.Refresh <= 0 {
		return nil, service.Settingf("REFRESH_INTERVAL must be above 0")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConns = 0 // no limit: one call is in flight for each partition and function
	transport.MaxIdleConnsPerHost = 1024
	transport.WriteBufferSize = 64 << 10
	transport.DisableCompression = true
	c := &Client{cfg: cfg, base: base, connector: connector, http: &http.Client{
		Transport: transport,
		// A POST that is redirected comes out as a GET without its records.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return c, c.readToken()
}

// readToken reads the secret trigger-token, without which calls carry none.
func (c *Client) readToken() error {
	token, err := c.secret(trigger.TokenSecret)
	if err != nil {
		return err
	}
	if old := c.token.Swap(&token); token == "" && (old == nil || *old != "") {
		slog.Warn("there is no secret trigger-token: functions that ask for it will refuse calls", "folder", c.cfg.SecretsDir)
	}
	return nil
}

// secret is empty where there is none.
func (c *Client) secret(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.cfg.SecretsDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Watch calls changed with the functions as they are listed, over and over until
// ctx is done: soon and often at first, then every Refresh. A listing that fails
// is logged and tried again; what was listed before it stands meanwhile.
func (c *Client) Watch(ctx context.Context, changed func([]Function)) {
	const settling = 30 * time.Second
	started := time.Now()
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 500*time.Millisecond, min(10*time.Second, c.cfg.Refresh)
	for failing := false; ; {
		functions, err := c.List(ctx)
		wait := c.cfg.Refresh
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = retry.NextBackOff()
			slog.Warn("can't list the functions, trying again", "error", err, "wait", wait)
			failing = true
		default:
			if failing {
				slog.Info("the functions can be listed again")
			}
			failing = false
			retry.Reset()
			changed(functions)
			if time.Since(started) < settling {
				wait = min(wait, 2*time.Second)
			}
		}
		if err := c.readToken(); err != nil {
			slog.Warn("keeping the token that was read before", "error", err)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// List asks for the functions, sorted by name. It fails as a whole where one
// namespace can't be listed, so that none seems to be gone.
func (c *Client) List(ctx context.Context) ([]Function, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	namespaces := c.cfg.Namespaces
	if slices.Contains(namespaces, "*") {
		namespaces = nil
		if err := c.get(ctx, "/system/namespaces", &namespaces); err != nil {
			return nil, err
		}
	}
	functions, err := c.list(ctx, "", "")
	if err != nil {
		return nil, err
	}
	if len(namespaces) > 0 {
		home := ""
		for _, f := range functions {
			home = f.Namespace
		}
		var all []Function
		for _, ns := range namespaces {
			in, err := c.list(ctx, ns, home)
			if err != nil {
				return nil, err
			}
			all = append(all, in...)
		}
		functions = all
	} else {
		for i := range functions {
			functions[i].Namespace = ""
		}
	}
	slices.SortFunc(functions, func(a, b Function) int { return strings.Compare(a.String(), b.String()) })
	return functions, nil
}

// list lists a namespace; functions of home, the default one, come out without it.
func (c *Client) list(ctx context.Context, namespace, home string) ([]Function, error) {
	path := "/system/functions"
	if namespace != "" {
		path += "?namespace=" + url.QueryEscape(namespace)
	}
	var listed []types.FunctionStatus
	if err := c.get(ctx, path, &listed); err != nil {
		return nil, err
	}
	var functions []Function
	for _, s := range listed {
		f := Function{Name: s.Name, Namespace: s.Namespace}
		if home != "" && f.Namespace == home {
			f.Namespace = ""
		}
		if s.Annotations != nil {
			f.Annotations = *s.Annotations
		}
		functions = append(functions, f)
	}
	return functions, nil
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.String()+path, nil)
	if err != nil {
		return err
	}
	user, err := c.secret("basic-auth-user")
	if err != nil {
		return err
	}
	password, err := c.secret("basic-auth-password")
	if err != nil {
		return err
	}
	if user != "" || password != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("reach the gateway (GATEWAY_URL): %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("the gateway at %s wants a login: put the secrets basic-auth-user and basic-auth-password into %s", c.cfg.URL, c.cfg.SecretsDir)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("the gateway answers %s with %s: %.200q", path, res.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read the gateway's answer to %s: %w", path, err)
	}
	return nil
}

// Answer is a function's answer.
type Answer struct {
	Status int
	Header http.Header
	// Body is its beginning, up to 1 MiB.
	Body []byte
}

const maxAnswer = 1 << 20

// Call sends a POST to the function. parts follow each other in its body, and are
// not read any more when Call has returned. headers are added to those that name
// the connector and carry the token. An error means that no answer came.
func (c *Client) Call(ctx context.Context, f Function, headers http.Header, parts ...[]byte) (*Answer, error) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	var bodies []*body
	defer func() {
		for _, b := range bodies {
			_ = b.Close() // never fails
		}
	}()
	open := func() (io.ReadCloser, error) {
		b := newBody(parts)
		bodies = append(bodies, b)
		return b, nil
	}
	first, err := open()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.String()+"/function/"+f.String(), first)
	if err != nil {
		return nil, err
	}
	req.ContentLength, req.GetBody = int64(size), open
	if size == 0 {
		req.Body, req.GetBody = http.NoBody, nil
	}
	for k, v := range headers {
		req.Header[k] = v
	}
	req.Header.Set(trigger.HeaderConnector, c.connector)
	req.Header.Set("User-Agent", "ticktape-"+c.connector)
	if token := *c.token.Load(); token != "" {
		req.Header.Set(trigger.HeaderToken, token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err == nil {
		_, err = io.CopyN(io.Discard, res.Body, 4*maxAnswer) // so that the connection can be used again
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", f, err)
	}
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}
