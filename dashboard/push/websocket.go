package push

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"ticktape/dashboard/hub"
)

const (
	// A person who clicks fast sends a few requests a second.
	requestsPerSecond = 5
	requestsBurst     = 20

	// compressFrom is the length from which deflating pays.
	compressFrom = 1024

	// socketBuffer bounds what the kernel holds for a slow client, which is
	// old by the time it is read.
	socketBuffer = 128 << 10
)

var writeBuffers sync.Pool

// WebSocket serves the stream over a WebSocket. The client may send requests
// (hub.Request) as text messages.
func (s *Server) WebSocket(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{
		HandshakeTimeout:  s.accept,
		ReadBufferSize:    1024,
		WriteBufferSize:   8 << 10,
		WriteBufferPool:   &writeBuffers,
		EnableCompression: true,
		CheckOrigin:       s.Allowed,
	}
	if !websocket.IsWebSocketUpgrade(r) {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "This address speaks WebSocket. Server-sent events are at /api/stream.", http.StatusUpgradeRequired)
		return
	}
	f := s.begin(w, r)
	if f == nil {
		return
	}
	s.running.Add(1)
	defer s.running.Done()
	conn, err := upgrader.Upgrade(w, r, nil) // answers by itself when it fails
	if err != nil {
		f.Close()
		return
	}
	if tcp, ok := conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(socketBuffer) // else the kernel's own choice stays
	}
	ws := &webSocket{conn: conn, accept: s.accept, in: make(chan hub.Request)}
	// The request's context ends with the upgrade.
	ctx, cancel := context.WithCancel(s.stop)
	var reader sync.WaitGroup
	reader.Add(1)
	go func() {
		defer reader.Done()
		ws.read(ctx)
	}()
	err = s.pump(ctx, ws, f)
	cancel()
	switch {
	case s.stop.Err() != nil:
		ws.bye(websocket.CloseServiceRestart, "the dashboard is stopping")
	case errors.Is(err, hub.ErrSymbols):
		ws.bye(websocket.ClosePolicyViolation, err.Error())
	}
	_ = conn.Close()
	reader.Wait()
}

type webSocket struct {
	conn   *websocket.Conn
	accept time.Duration
	in     chan hub.Request
}

func (ws *webSocket) send(m *hub.Message) error {
	prepared, ok := m.Form(func() any {
		p, err := websocket.NewPreparedMessage(websocket.TextMessage, m.Data)
		if err != nil {
			return err
		}
		return p
	}).(*websocket.PreparedMessage)
	if !ok {
		return errors.New("message can't be prepared")
	}
	ws.conn.EnableWriteCompression(len(m.Data) >= compressFrom)
	if err := ws.conn.SetWriteDeadline(time.Now().Add(ws.accept)); err != nil {
		return err
	}
	return ws.conn.WritePreparedMessage(prepared)
}

func (ws *webSocket) alive() error {
	return ws.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(ws.accept))
}

func (ws *webSocket) requests() <-chan hub.Request { return ws.in }

// bye closes with a code and a reason of at most 123 bytes. It may be called by
// the reader as well as the writer.
func (ws *webSocket) bye(code int, reason string) {
	if len(reason) > 123 {
		reason = reason[:123]
	}
	_ = ws.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
}

// read passes the client's requests on until it goes, breaks the rules, gives
// no sign of life, or ctx is done and the connection closed.
func (ws *webSocket) read(ctx context.Context) {
	defer close(ws.in)
	ws.conn.SetReadLimit(hub.MaxRequest)
	awake := func() { _ = ws.conn.SetReadDeadline(time.Now().Add(2*keepAlive + ws.accept)) }
	awake()
	ws.conn.SetPongHandler(func(string) error { awake(); return nil })
	limit := rate.NewLimiter(requestsPerSecond, requestsBurst)
	for {
		kind, data, err := ws.conn.ReadMessage()
		if err != nil {
			return
		}
		awake()
		if kind != websocket.TextMessage {
			ws.bye(websocket.CloseUnsupportedData, "send JSON as text")
			return
		}
		if !limit.Allow() {
			ws.bye(websocket.ClosePolicyViolation, "too many requests")
			return
		}
		req, err := hub.ParseRequest(data)
		if err != nil {
			ws.bye(websocket.ClosePolicyViolation, err.Error())
			return
		}
		select {
		case ws.in <- req:
		case <-ctx.Done():
			return
		}
	}
}
