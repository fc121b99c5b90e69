package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gorilla/websocket"

	"ticktape/internal/tick"
	"ticktape/internal/yahoo"
)

// conn is one connection, made again as often as it ends. What is below mu in
// Pool is guarded by that.
type conn struct {
	pool *Pool
	id   int
	wake chan struct{} // holds one: the symbols have changed
	kill chan struct{} // holds one: the connection is to be made anew

	// Guarded by Pool.mu.
	symbols map[string]*entry
	up      time.Time // when it was opened, zero while it is not
	heard   time.Time // when a frame last came
}

func (c *conn) changed() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// sayAgain is how often the same trouble is logged.
const sayAgain = time.Minute

// run keeps the connection until ctx is done or it has no symbols.
func (c *conn) run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = c.pool.cfg.MinBackoff, c.pool.cfg.MaxBackoff
	pause.Reset()
	var said time.Time
	for ended := 0; ; {
		if c.pool.limit.Wait(ctx) != nil || c.pool.retire(c) {
			return
		}
		brought, err := c.session(ctx)
		if ctx.Err() != nil || c.pool.retire(c) {
			return
		}
		// A connection that brought something was a good one, however short; one
		// that did not makes the next wait longer.
		if brought {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		var refused *refusal
		if errors.As(err, &refused) {
			wait = max(wait, min(refused.after, c.pool.cfg.MaxBackoff))
		}
		if ended++; time.Since(said) > sayAgain {
			slog.Warn("a connection to Yahoo's streamer ended, making it again", "connection", c.id, "times", ended, "error", err, "wait", wait.Round(time.Millisecond))
			said, ended = time.Now(), 0
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

// refusal is an answer to the handshake that is none to a WebSocket's.
type refusal struct {
	status string
	after  time.Duration
}

func (r *refusal) Error() string { return "the streamer answers " + r.status }

func (c *conn) dial(ctx context.Context) (*websocket.Conn, tick.Source, error) {
	p := c.pool
	header := http.Header{"User-Agent": {p.cfg.UserAgent}}
	if p.cfg.Origin != "" {
		header.Set("Origin", p.cfg.Origin)
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	ws, res, err := p.dialer.DialContext(ctx, p.endpoint.String(), header)
	if err != nil {
		p.metrics.dials.WithLabelValues("failed").Inc()
		if res != nil {
			seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
			return nil, 0, &refusal{res.Status, time.Duration(seconds) * time.Second}
		}
		return nil, 0, fmt.Errorf("reach %s: %w", p.endpoint.Host, err)
	}
	p.metrics.dials.WithLabelValues("ok").Inc()
	source := p.source
	if res.Header.Get(yahoo.SimulatedHeader) != "" {
		source = tick.SourceSimulated
	}
	return ws, source, nil
}

var errIdle = errors.New("all its symbols were silent while their markets were open")

// session is the life of one WebSocket. It returns whether it brought a frame
// that could be used, and why it ended.
func (c *conn) session(ctx context.Context) (brought bool, err error) {
	ws, source, err := c.dial(ctx)
	if err != nil {
		return false, err
	}
	ws.SetReadLimit(maxFrame)
	timeout := c.pool.cfg.Timeout
	alive := func() { _ = ws.SetReadDeadline(time.Now().Add(timeout)) } // it fails where the read will
	alive()
	ws.SetPongHandler(func(string) error { alive(); return nil })
	c.pool.opened(c)
	read := make(chan error, 1)
	go func() {
		for {
			kind, frame, err := readFrame(ws)
			if err != nil {
				read <- err
				return
			}
			alive()
			if kind == websocket.TextMessage && c.pool.frame(c, frame, source) {
				brought = true
			}
		}
	}()
	err = c.write(ctx, ws, read)
	_ = ws.Close() // which ends the reader
	if err == nil {
		err = <-read
	}
	c.pool.closed(c)
	return brought, err
}

// readFrame reads a message, and of one that is too large only so much that it
// shows: the read limit counts what is on the wire, compressed.
func readFrame(ws *websocket.Conn) (kind int, frame []byte, err error) {
	kind, r, err := ws.NextReader()
	if err != nil {
		return kind, nil, err
	}
	frame, err = io.ReadAll(io.LimitReader(r, maxFrame+1))
	return kind, frame, err
}

// write subscribes, unsubscribes and pings until the connection ends. It returns
// nil where the reader has yet to say why.
func (c *conn) write(ctx context.Context, ws *websocket.Conn, read <-chan error) error {
	timeout := c.pool.cfg.Timeout
	ping := time.NewTicker(timeout / 3)
	defer ping.Stop()
	select { // what was asked of the connection before this one is no matter
	case <-c.kill:
	default:
	}
	subscribed := map[string]bool{}
	for {
		add, remove, live := c.pool.difference(c, subscribed)
		// In this order, so that places are free before they are taken.
		for _, verb := range []string{"unsubscribe", "subscribe"} {
			symbols := remove
			if verb == "subscribe" {
				symbols = add
			}
			if len(symbols) == 0 {
				continue
			}
			text, err := json.Marshal(map[string][]string{verb: symbols})
			if err != nil {
				return err
			}
			_ = ws.SetWriteDeadline(time.Now().Add(timeout))
			if err := ws.WriteMessage(websocket.TextMessage, text); err != nil {
				return nil
			}
			for _, s := range symbols {
				subscribed[s] = verb == "subscribe"
			}
		}
		if !live {
			goodbye(ws)
			return nil
		}
		select {
		case <-c.wake:
		case <-ping.C:
			if err := ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(timeout)); err != nil {
				return nil
			}
		case <-c.kill:
			goodbye(ws)
			_ = ws.Close()
			<-read
			return errIdle
		case <-ctx.Done():
			goodbye(ws)
			return nil
		case err := <-read:
			return err
		}
	}
}

// goodbye is a courtesy: whether it arrives is no matter.
func goodbye(ws *websocket.Conn) {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	_ = ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(time.Second))
}

// difference is what has to be sent so that the connection serves what it is to
// serve; live is false where that is nothing.
func (p *Pool) difference(c *conn, subscribed map[string]bool) (add, remove []string, live bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for name, e := range c.symbols {
		if !subscribed[name] {
			add = append(add, name)
			e.subscribed, e.snapshot = now, true
		}
	}
	for name, is := range subscribed {
		if is && c.symbols[name] == nil {
			remove = append(remove, name)
		}
	}
	slices.Sort(add)
	slices.Sort(remove)
	return add, remove, len(c.symbols) > 0
}
