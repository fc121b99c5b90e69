// Package api is the dashboard over HTTP: the page, the streams, and what the
// page asks beside them.
package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"ticktape/dashboard/hub"
	"ticktape/dashboard/push"
	"ticktape/internal/service"
)

// Config says what the handler stands on.
type Config struct {
	Hub     *hub.Hub
	Push    *push.Server
	History *History
	Health  *service.Health
	Page    http.Handler
}

// Handler routes the dashboard's addresses.
func Handler(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/ws", c.Push.WebSocket)
	mux.HandleFunc("GET /api/stream", c.Push.Events)
	mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, c.Hub.Status())
	})
	mux.HandleFunc("GET /api/snapshot", func(w http.ResponseWriter, r *http.Request) {
		req := hub.Request{Op: "snapshot"}
		if list := r.URL.Query().Get("symbols"); list != "" {
			req.Symbols = strings.Split(list, ",")
		}
		if err := req.Check(); err != nil {
			writeProblem(w, http.StatusBadRequest, "symbols", err.Error())
			return
		}
		write(w, http.StatusOK, "application/json", c.Hub.Snapshot(req.Symbols))
	})
	mux.HandleFunc("GET /api/candles", c.candles)
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusNotFound, "", "There is no such address. Try /api/status, /api/snapshot, /api/candles, /api/stream or /api/ws.")
	})
	admin := c.Health.Handler()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		mux.Handle("GET "+path, admin)
	}
	mux.Handle("/", c.Page)
	return secure(mux)
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

func write(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a reader that has gone is no concern of ours
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // plain structs always can
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, status, "application/json", append(body, '\n'))
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
	write(w, status, "application/problem+json", body)
}
