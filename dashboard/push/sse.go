package push

import (
	"net/http"
	"time"

	"ticktape/dashboard/hub"
)

// Events serves the stream as server-sent events, for networks that let no
// WebSocket through. A client that reconnects goes on where its Last-Event-ID
// says; one that wants a snapshot or other symbols connects anew.
func (s *Server) Events(w http.ResponseWriter, r *http.Request) {
	f := s.begin(w, r)
	if f == nil {
		return
	}
	s.running.Add(1)
	defer s.running.Done()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies must not hold events back
	_ = s.pump(r.Context(), &events{w: w, rc: http.NewResponseController(w), accept: s.accept}, f)
}

type events struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	accept time.Duration
}

func (e *events) send(m *hub.Message) error {
	text := make([]byte, 0, len(m.Data)+64)
	if m.Seq != 0 {
		text = append(text, "id: "...)
		text = append(text, eventID(m)...)
		text = append(text, '\n')
	}
	text = append(text, "data: "...)
	text = append(text, m.Data...) // JSON on one line
	return e.write(append(text, "\n\n"...))
}

func (e *events) write(text []byte) error {
	if err := e.rc.SetWriteDeadline(time.Now().Add(e.accept)); err != nil {
		return err
	}
	if _, err := e.w.Write(text); err != nil {
		return err
	}
	return e.rc.Flush()
}

func (e *events) alive() error { return e.write([]byte(":\n\n")) }

func (e *events) requests() <-chan hub.Request { return nil }
