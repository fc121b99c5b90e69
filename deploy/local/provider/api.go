package provider

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/openfaas/faas-provider/auth"
	"github.com/openfaas/faas-provider/logs"
	"github.com/openfaas/faas-provider/types"

	"ticktape/deploy/local/process"
)

// Handler serves the provider API and the functions, on the paths of an OpenFaaS gateway.
func (p *Provider) Handler() http.Handler {
	guarded := func(h http.HandlerFunc) http.HandlerFunc {
		if p.cfg.Credentials == nil {
			return h
		}
		return auth.DecorateWithBasicAuth(h, p.cfg.Credentials)
	}
	// FaaSHandlers is the list of what a provider has to offer.
	h := types.FaaSHandlers{
		ListNamespaces: guarded(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, []string{Namespace}) }),
		FunctionProxy:  p.invoke(newProxy()),
		FunctionLister: guarded(p.list),
		DeployFunction: guarded(p.deploy),
		UpdateFunction: guarded(p.update),
		DeleteFunction: guarded(p.remove),
		FunctionStatus: guarded(p.status),
		ScaleFunction:  guarded(p.scale),
		Secrets:        guarded(p.secrets),
		Logs:           guarded(p.logs(logs.NewLogHandlerFunc(requester{p}, time.Hour))),
		Health:         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		Info:           guarded(p.info),
	}
	m := http.NewServeMux()
	m.HandleFunc("GET /system/functions", h.FunctionLister)
	m.HandleFunc("POST /system/functions", h.DeployFunction)
	m.HandleFunc("PUT /system/functions", h.UpdateFunction)
	m.HandleFunc("DELETE /system/functions", h.DeleteFunction)
	m.HandleFunc("GET /system/function/{name}", h.FunctionStatus)
	m.HandleFunc("POST /system/scale-function/{name}", h.ScaleFunction)
	m.HandleFunc("/system/secrets", h.Secrets)
	m.HandleFunc("GET /system/logs", h.Logs)
	m.HandleFunc("GET /system/namespaces", h.ListNamespaces)
	m.HandleFunc("GET /system/info", h.Info)
	m.HandleFunc("GET /healthz", h.Health)
	m.HandleFunc("/async-function/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, http.StatusNotImplemented, "there are no asynchronous calls on one machine: call /function/ in place of /async-function/")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A ServeMux redirects paths that it finds untidy; a function gets them as they are.
		if strings.HasPrefix(r.URL.Path, "/function/") {
			h.FunctionProxy(w, r)
			return
		}
		m.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The caller has gone where this fails, and there is nobody to tell.
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var c *clientError
	if errors.As(err, &c) {
		status = c.status
	} else {
		slog.Error("the functions' API failed", "error", err)
	}
	http.Error(w, err.Error(), status)
}

func read[T any](w http.ResponseWriter, r *http.Request) (T, bool) {
	var v T
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err == nil {
		err = json.Unmarshal(body, &v)
	}
	if err != nil {
		fail(w, clientErrorf(http.StatusBadRequest, "the body can't be read: %v", err))
		return v, false
	}
	return v, true
}

func (p *Provider) list(w http.ResponseWriter, r *http.Request) {
	list := []types.FunctionStatus{}
	if checkNamespace(r.URL.Query().Get("namespace")) == nil {
		p.mu.RLock()
		for _, f := range p.functions {
			list = append(list, f.statusNow())
		}
		p.mu.RUnlock()
	}
	slices.SortFunc(list, func(a, b types.FunctionStatus) int { return strings.Compare(a.Name, b.Name) })
	answer(w, http.StatusOK, list)
}

func (f *function) statusNow() types.FunctionStatus {
	d := f.deployment
	f.mu.Lock()
	var memory int64
	for _, r := range f.replicas {
		memory += r.rss()
	}
	replicas := len(f.replicas)
	f.mu.Unlock()
	return types.FunctionStatus{
		Name: d.Service, Image: d.Image, Namespace: Namespace, EnvProcess: d.EnvProcess, EnvVars: d.EnvVars,
		Constraints: d.Constraints, Secrets: d.Secrets, Labels: d.Labels, Annotations: d.Annotations,
		Limits: d.Limits, Requests: d.Requests, ReadOnlyRootFilesystem: d.ReadOnlyRootFilesystem,
		InvocationCount: float64(f.calls.Load()), Replicas: uint64(replicas), AvailableReplicas: uint64(f.available()),
		CreatedAt: f.created, Usage: &types.FunctionUsage{TotalMemoryBytes: float64(memory)},
	}
}

func (p *Provider) status(w http.ResponseWriter, r *http.Request) {
	name := plainName(r.PathValue("name"))
	err := checkNamespace(r.URL.Query().Get("namespace"))
	f := p.function(name)
	if err == nil && f == nil {
		err = notFound(name)
	}
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, f.statusNow())
}

func (p *Provider) deploy(w http.ResponseWriter, r *http.Request) {
	d, ok := read[types.FunctionDeployment](w, r)
	if !ok {
		return
	}
	// The deployment goes on when its caller gives up, so that no half of one stays.
	if err := p.Deploy(context.WithoutCancel(r.Context()), d); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (p *Provider) update(w http.ResponseWriter, r *http.Request) {
	d, ok := read[types.FunctionDeployment](w, r)
	if !ok {
		return
	}
	if p.function(plainName(d.Service)) == nil {
		fail(w, notFound(d.Service))
		return
	}
	if err := p.Deploy(context.WithoutCancel(r.Context()), d); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (p *Provider) remove(w http.ResponseWriter, r *http.Request) {
	d, ok := read[types.DeleteFunctionRequest](w, r)
	if !ok {
		return
	}
	err := checkNamespace(d.Namespace)
	if err == nil {
		err = p.Remove(d.FunctionName)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (p *Provider) scale(w http.ResponseWriter, r *http.Request) {
	s, ok := read[types.ScaleServiceRequest](w, r)
	if !ok {
		return
	}
	const huge = 1 << 20 // Scale refuses far less; this keeps the conversion whole
	if err := p.Scale(context.WithoutCancel(r.Context()), r.PathValue("name"), int(min(s.Replicas, huge))); err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func (p *Provider) secrets(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		names, err := p.secretNames()
		if err != nil {
			fail(w, err)
			return
		}
		list := []types.Secret{}
		for _, name := range names {
			list = append(list, types.Secret{Name: name, Namespace: Namespace})
		}
		answer(w, http.StatusOK, list)
		return
	}
	s, ok := read[types.Secret](w, r)
	if !ok {
		return
	}
	value := []byte(s.Value)
	if s.Value == "" {
		value = s.RawValue
	}
	err := checkNamespace(s.Namespace)
	status := http.StatusAccepted
	switch {
	case err != nil:
	case r.Method == http.MethodPost && p.hasSecret(s.Name):
		err = clientErrorf(http.StatusConflict, "secret %s exists already", s.Name)
	case r.Method == http.MethodPost:
		status = http.StatusCreated
		err = p.SetSecret(s.Name, value)
	case r.Method == http.MethodPut && !p.hasSecret(s.Name):
		err = clientErrorf(http.StatusNotFound, "secret %s does not exist", s.Name)
	case r.Method == http.MethodPut:
		err = p.SetSecret(s.Name, value)
	case r.Method == http.MethodDelete:
		err = p.removeSecret(s.Name)
	default:
		err = clientErrorf(http.StatusMethodNotAllowed, "%s is not for secrets", r.Method)
	}
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(status)
}

func (p *Provider) info(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, types.ProviderInfo{
		Name: "ticktape", Orchestration: "processes", Version: &types.VersionInfo{Release: p.cfg.Version},
	})
}

// logs answers for functions that are not there, which the library calls a failure of its own.
func (p *Provider) logs(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := plainName(r.URL.Query().Get("name"))
		if p.function(name) == nil {
			fail(w, notFound(name))
			return
		}
		next(w, r)
	}
}

// requester answers `faas-cli logs`.
type requester struct{ p *Provider }

// Query gives the lines kept in memory and, where asked to follow, those that come.
func (q requester) Query(ctx context.Context, r logs.Request) (<-chan logs.Message, error) {
	f := q.p.function(plainName(r.Name))
	if f == nil {
		return nil, notFound(r.Name)
	}
	tail := r.Tail
	if tail <= 0 {
		tail = 1 << 20
	}
	past, next, cancel := f.log.Follow(tail)
	out := make(chan logs.Message)
	instance := f.instanceName()
	go func() {
		defer close(out)
		defer cancel()
		send := func(line process.Line) bool {
			if r.Since != nil && line.Time.Before(*r.Since) {
				return true
			}
			select {
			case out <- logs.Message{Name: f.deployment.Service, Namespace: Namespace, Instance: instance, Timestamp: line.Time, Text: line.Text}:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for _, line := range past {
			if !send(line) {
				return
			}
		}
		for r.Follow {
			select {
			case line, open := <-next:
				if !open || !send(line) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
