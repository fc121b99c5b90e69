package push

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"ticktape/dashboard/hub"
)

const (
	// A person who clicks fast sends a few requests a second.
	requestsPerSecond = 5
	requestsBurst     = 20
	pingsPerSecond    = 1

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
	conn, err := upgrader.Upgrade(w, r, nil) // answers by itself when it fails
	if err != nil {
		f.Close()
		return
	}
	if tcp, ok := conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(socketBuffer) // else the kernel's own choice stays
	}
	// The request and all that serves it would stay in memory with this goroutine.
	s.running.Add(1)
	go s.converse(conn, f)
}

// converse sends a client its stream until one of the two has had enough.
func (s *Server) converse(conn *websocket.Conn, f *hub.Feed) {
	defer s.running.Done()
	ws := &webSocket{conn: conn, accept: s.accept, in: make(chan hub.Request)}
	ctx, cancel := context.WithCancel(s.stop)
	var reader sync.WaitGroup
	reader.Add(1)
	go func() {
		defer reader.Done()
		ws.read(ctx)
	}()
	err := s.pump(ctx, ws, f)
	cancel()
	switch {
	case s.stop.Err() != nil:
		ws.bye(websocket.CloseServiceRestart, "the dashboard is stopping")
	case errors.Is(err, hub.ErrSymbols):
		ws.bye(websocket.ClosePolicyViolation, err.Error())
	case errors.Is(err, hub.ErrBusy):
		ws.bye(websocket.CloseTryAgainLater, err.Error())
	}
	if ws.said.Load() {
		// The reader has ended, or does with what it reads next.
		_ = conn.SetReadDeadline(time.Now())
		reader.Wait()
		linger(conn)
	}
	_ = conn.Close()
	reader.Wait()
}

const (
	lingerTime  = time.Second
	lingerBytes = 4 << 20
)

// linger reads what a client still sends: a connection that is closed with
// something unread is reset, and the client may never see why it was closed.
func linger(conn *websocket.Conn) {
	raw := conn.NetConn()
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // a client that has gone does not mind
	}
	_ = raw.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, raw, lingerBytes)
}

type webSocket struct {
	conn   *websocket.Conn
	accept time.Duration
	in     chan hub.Request
	said   atomic.Bool // why it is closed
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
	ws.conn.EnableWriteCompression(m.Compress)
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
	const longest = 123
	if len(reason) > longest {
		reason = strings.ToValidUTF8(reason[:longest], "")
	}
	ws.said.Store(true)
	_ = ws.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
}

// read passes the client's requests on until it goes, breaks the rules, gives
// no sign of life, or ctx is done and the connection closed.
func (ws *webSocket) read(ctx context.Context) {
	defer close(ws.in)
	ws.conn.SetReadLimit(hub.MaxRequest)
	awake := func() { _ = ws.conn.SetReadDeadline(time.Now().Add(2*keepAlive + ws.accept)) }
	awake()
	limit := rate.NewLimiter(requestsPerSecond, requestsBurst)
	pings := rate.NewLimiter(pingsPerSecond, requestsBurst)
	ws.conn.SetPongHandler(func(string) error { awake(); return nil })
	ws.conn.SetPingHandler(func(data string) error {
		if !pings.Allow() {
			ws.bye(websocket.ClosePolicyViolation, "too many pings")
			return errGone
		}
		awake()
		_ = ws.conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second)) // the writer finds out what is wrong
		return nil
	})
	for {
		kind, r, err := ws.conn.NextReader()
		if err != nil {
			ws.said.CompareAndSwap(false, errors.Is(err, websocket.ErrReadLimit)) // the library says that itself
			return
		}
		if kind != websocket.TextMessage {
			ws.bye(websocket.CloseUnsupportedData, "send JSON as text")
			return
		}
		if !limit.Allow() {
			ws.bye(websocket.ClosePolicyViolation, "too many requests")
			return
		}
		// The connection's limit is of what is on the wire, which may be compressed.
		data, err := io.ReadAll(io.LimitReader(r, hub.MaxRequest+1))
		if err != nil {
			ws.said.CompareAndSwap(false, errors.Is(err, websocket.ErrReadLimit))
			return
		}
		awake()
		if len(data) > hub.MaxRequest {
			ws.bye(websocket.CloseMessageTooBig, "a request is at most "+strconv.Itoa(hub.MaxRequest)+" bytes")
			return
		}
		req, err := hub.ParseRequest(data)
		switch {
		case errors.Is(err, hub.ErrJSON):
			ws.bye(websocket.CloseInvalidFramePayloadData, err.Error())
			return
		case err != nil:
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
