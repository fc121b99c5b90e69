package live_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"ticktape/internal/live"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

// fate is what becomes of a counter batch on its way through a proxy.
type fate int

const (
	pass      fate = iota
	cutBefore      // the connection breaks before the node gets it
	cutAfter       // the node does it, and the connection breaks before the answer
	hold           // the node gets it when it is released, and the answer is lost
)

// proxy stands between a Store and Cassandra.
type proxy struct {
	net.Listener
	target string

	mu   sync.Mutex
	next fate
	seen int
	held []func()
	open []net.Conn
	wg   sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: ln, target: target}
	p.wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		for _, c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// expect decides on the next counter batch, and on that one only.
func (p *proxy) expect(f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = f
}

// release lets the node have what was held.
func (p *proxy) release() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, send := range p.held {
		send()
	}
	n, p.held = len(p.held), nil
	return n
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	node, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer node.Close()
	p.mu.Lock()
	p.open = append(p.open, client, node)
	p.mu.Unlock()

	var mu sync.Mutex
	cut := false
	p.wg.Go(func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := node.Read(buf)
			mu.Lock()
			lost := cut
			mu.Unlock()
			if err != nil || lost {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(client, head); err != nil {
			return
		}
		frame := append(head, make([]byte, binary.BigEndian.Uint32(head[5:]))...)
		if _, err := io.ReadFull(client, frame[9:]); err != nil {
			return
		}
		f := pass
		const batch, counter = 0x0d, 2
		if frame[4] == batch && frame[9] == counter {
			p.mu.Lock()
			p.seen++
			f, p.next = p.next, pass
			if f == hold {
				p.held = append(p.held, func() { _, _ = node.Write(frame) })
			}
			p.mu.Unlock()
		}
		switch f {
		case cutBefore:
			return
		case hold:
			continue
		case cutAfter:
			mu.Lock()
			cut = true
			mu.Unlock()
		}
		if _, err := node.Write(frame); err != nil {
			return
		}
	}
}

// An increment whose answer is lost, or that arrives long after its sender gave it
// up, is counted once: the driver doesn't send it again, the call says that it is
// in doubt, and the next delivery finds out what became of it.
func TestIncrementsWithoutAnAnswerCountOnce(t *testing.T) {
	cfg := testbed.Cassandra(t)
	direct, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	px := newProxy(t, cfg.Hosts[0])
	cfg.Hosts = []string{px.Addr().String()}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	impatient := cfg
	impatient.Timeout = 500 * time.Millisecond

	for _, c := range []struct {
		name string
		fate fate
	}{
		{"lost on the way there", cutBefore},
		{"done and the answer lost", cutAfter},
		{"done much later", hold},
	} {
		t.Run(c.name, func(t *testing.T) {
			tp := newTape()
			for i := range 20 {
				tp.add(trade("AAPL", minute+int64(i), tick.Price(i+1), 1), tick.Protobuf)
			}
			p, k := newProcessor(s)
			process(t, p, tp.batch(0, 8, false))
			if c.fate == hold {
				hasty, err := store.Open(t.Context(), impatient)
				if err != nil {
					t.Fatal(err)
				}
				defer hasty.Close()
				p.Store = hasty
			}
			before := px.counted()
			px.expect(c.fate)
			_, err := p.Process(t.Context(), tp.batch(8, 15, false))
			var later trigger.RetryLater
			if !errors.As(err, &later) || !later.Doubt {
				t.Fatalf("got %v, doubt %v", err, later.Doubt)
			}
			if n := px.counted() - before; n != 1 {
				t.Fatalf("the increment was sent %d times", n)
			}
			p.Store = s
			if c.fate == hold {
				// It arrives in the middle of the next delivery, after its first
				// read of the fence and before it would be believed.
				p.Store = &releasing{Store: s, px: px}
				p.Quiet = 2 * time.Second
			}
			testbed.Eventually(t, 20*time.Second, "the batch is done", func() bool {
				_, err = p.Process(t.Context(), tp.batch(8, 12, true))
				return err == nil
			})
			process(t, p, tp.batch(12, 20, true))
			check(t, direct, tp, k)
		})
	}
}

func (p *proxy) counted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// releasing lets a held increment go while fences are being watched.
type releasing struct {
	live.Store
	px *proxy
}

func (r *releasing) QuietFences(ctx context.Context, windows []store.Window, quiet time.Duration) ([]int64, error) {
	timer := time.AfterFunc(quiet/2, func() { r.px.release() })
	defer timer.Stop()
	return r.Store.QuietFences(ctx, windows, quiet)
}
