// Package api is the dashboard over HTTP: the page, the streams, and what the
// page asks beside them.
package api

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ticktape/dashboard/ask"
	"ticktape/dashboard/hub"
	"ticktape/dashboard/pulse"
	"ticktape/dashboard/push"
	"ticktape/dashboard/web"
	"ticktape/internal/service"
)

// Config says what the handler stands on.
type Config struct {
	Hub     *hub.Hub
	Push    *push.Server
	History *ask.History
	List    *ask.List
	// Letters tells of dead letters.
	Letters *pulse.Letters
	Health  *service.Health
	Page    http.Handler
	// Token is asked for under /api/, where it is not empty.
	Token string

	changes *rate.Limiter
}

// answerTime is how long a client may take to accept an answer that is no stream.
const answerTime = 30 * time.Second

// Handler routes the dashboard's addresses.
func Handler(c Config) http.Handler {
	c.changes = rate.NewLimiter(changesPerSecond, changesBurst)
	g := newGuard(c.Token)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/ws", c.Push.WebSocket)
	mux.HandleFunc("GET /api/stream", c.Push.Events)
	for pattern, handle := range map[string]http.HandlerFunc{
		"GET /api/status": func(w http.ResponseWriter, r *http.Request) { writeJSON(w, r, http.StatusOK, c.Hub.Status()) },
		"GET /api/snapshot": func(w http.ResponseWriter, r *http.Request) {
			if symbols, ok := symbols(w, r); ok {
				write(w, r, http.StatusOK, "application/json", c.Hub.Snapshot(symbols))
			}
		},
		"GET /api/sparklines": func(w http.ResponseWriter, r *http.Request) {
			if symbols, ok := symbols(w, r); ok {
				write(w, r, http.StatusOK, "application/json", c.Hub.Sparklines(symbols))
			}
		},
		"GET /api/candles":      c.candles,
		"GET /api/markets":      c.markets,
		"GET /api/watchlist":    c.watchlist,
		"POST /api/watchlist":   c.ours(c.change),
		"DELETE /api/watchlist": c.ours(c.change),
		"GET /api/pipeline":     c.pipeline,
		"GET /api/dead-letters": c.deadLetters,
		"POST /api/login":       c.ours(g.login),
		"POST /api/logout":      c.ours(g.logout),
		"/api/": func(w http.ResponseWriter, _ *http.Request) {
			writeProblem(w, http.StatusNotFound, "", "There is no such address. dashboard/README.md lists those there are; try /api/status.")
		},
		"/": c.Page.ServeHTTP,
	} {
		mux.Handle(pattern, hasty(handle))
	}
	admin := c.Health.Handler()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle("GET "+path, hasty(admin.ServeHTTP))
	}
	return secure(g.protect(mux))
}

// hasty ends an answer that its client does not accept, and a body that does not
// arrive.
func hasty(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Now().Add(answerTime)) // a test's recorder has none
		if r.Body != http.NoBody {
			_ = rc.SetReadDeadline(time.Now().Add(answerTime))
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next(w, r)
	})
}

// ours refuses what pages of other sites want to change.
func (c Config) ours(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !c.Push.Allowed(r) {
			writeProblem(w, http.StatusForbidden, "", "Pages of this origin may change nothing here. Add it to DASHBOARD_ORIGINS to allow it.")
			return
		}
		next(w, r)
	}
}

// symbols reads the parameter of that name. Where ok is false it has answered.
func symbols(w http.ResponseWriter, r *http.Request) (list []string, ok bool) {
	if text := r.URL.Query().Get("symbols"); text != "" {
		list = strings.Split(text, ",")
	}
	err := hub.Request{Op: "snapshot", Symbols: list}.Check()
	if err == nil && len(list) > mostSymbols {
		err = fmt.Errorf("symbols lists %d symbols: at most %d are answered at a time, or all without it", len(list), mostSymbols)
	}
	if err != nil {
		writeProblem(w, http.StatusBadRequest, "symbols", err.Error())
		return nil, false
	}
	return list, true
}

const mostSymbols = 500

func (c Config) pipeline(w http.ResponseWriter, r *http.Request) {
	body := c.Hub.Pipeline()
	if body == nil {
		w.Header().Set("Retry-After", "1")
		writeProblem(w, http.StatusServiceUnavailable, "", "The pipeline has not been measured yet: try again in a second.")
		return
	}
	write(w, r, http.StatusOK, "application/json", body)
}

func (c Config) deadLetters(w http.ResponseWriter, r *http.Request) {
	limit := pulse.MostLetters
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pulse.MostLetters {
			writeProblem(w, http.StatusBadRequest, "limit", fmt.Sprintf("limit must be a whole number from 1 to %d.", pulse.MostLetters))
			return
		}
		limit = n
	}
	writeJSON(w, r, http.StatusOK, c.Letters.Newest(limit))
}

// secure sets the headers that keep the page from doing, or being made to do,
// anything but show itself.
func secure(next http.Handler) http.Handler {
	const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
		"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		next.ServeHTTP(w, r)
	})
}

// zipFrom is the length from which an answer is compressed.
const zipFrom = 1400

func write(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	if len(body) < zipFrom {
		w.WriteHeader(status)
		_, _ = w.Write(body) // a reader that has gone is no concern of ours
		return
	}
	h.Add("Vary", "Accept-Encoding")
	if !web.Accepts(r, "gzip") {
		w.WriteHeader(status)
		_, _ = w.Write(body)
		return
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(w)
	_, _ = z.Write(body)
	_ = z.Close()
}

var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil { // the level is one
		return gzip.NewWriter(nil)
	}
	return z
}}

// writeTagged writes an answer that a client which has it already need not get again.
func writeTagged(w http.ResponseWriter, r *http.Request, v any) {
	body, err := json.Marshal(v)
	if err != nil { // plain structs always can
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(body)
	tag := `W/"` + hex.EncodeToString(sum[:8]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	write(w, r, http.StatusOK, "application/json", append(body, '\n'))
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // plain structs always can
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, r, status, "application/json", append(body, '\n'))
}

// problem is RFC 9457's problem details.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Parameter string `json:"parameter,omitempty"`
}

func writeProblem(w http.ResponseWriter, status int, parameter, detail string) {
	body, err := json.Marshal(problem{"about:blank", http.StatusText(status), status, detail, parameter})
	if err != nil { // strings always can
		body = nil
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
