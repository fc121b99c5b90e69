package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"
)

// audience is many clients on one dashboard while ticks flow at a rate.
type audience struct {
	stream  paced
	clients int
	symbols int // that each follows
	// lists is how many different choices of symbols the clients have made.
	lists int
}

func (a audience) String() string {
	return fmt.Sprintf("%s WebSocket clients with %s lists of %d symbols of %d, %s ticks/s for %s", thousands(a.clients), thousands(a.lists), a.symbols, a.stream.symbols, thousands(a.stream.rate), inSeconds(a.stream.duration))
}

// audienceResult is what it came to.
type audienceResult struct {
	connected time.Duration // how long it took until all were connected
	lost      int64         // connections that broke
	delays    *delays       // trade → client, of those that read what they get
	readers   int
	bytes     float64 // a second to each client
	memory    float64 // bytes of the dashboard's memory for each client
	cpu       costs   // CPUs
	peak      peaks
}

const (
	// readEvery is one of how many clients reads what it gets; the others take
	// their bytes off the network and drop them, as the machine is not theirs alone.
	readEvery = 20
	// portsEach is how many connections to one address leave from one address.
	portsEach = 20_000
	dialsOnce = 64
)

func (a audience) run(ctx context.Context, r *rig) (res *audienceResult, err error) {
	if err := needFiles(uint64(a.clients) + 1000); err != nil {
		return nil, err
	}
	p := a.stream
	ctx, cancel := context.WithTimeout(ctx, p.duration+5*time.Minute)
	defer cancel()
	s, err := p.open(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	dashboard := s.programs["dashboard"].PID()
	empty, err := memoryOf(dashboard, "VmRSS")
	if err != nil {
		return nil, err
	}
	res = &audienceResult{delays: newDelays(0)}
	crowd := &crowd{audience: a, stream: s, delays: res.delays}
	begun := time.Now()
	if err := crowd.connect(ctx); err != nil {
		return nil, errors.Join(err, crowd.leave())
	}
	res.connected = time.Since(begun)

	var m *meter
	var since time.Time
	var bytes int64
	total := warmUp + p.duration
	// Connecting is over before the clock starts, and so is warming up.
	from := time.Now().Add(warmUp)
	res.delays.from = int32(from.UnixMilli() - s.ledger.base)
	_, err = s.flow(ctx, total, func() error {
		if lost := crowd.lost.Load(); lost > 0 {
			return fmt.Errorf("%d of %d connections broke", lost, a.clients)
		}
		if m == nil && time.Now().After(from) {
			m, since, bytes = s.meter(), time.Now(), crowd.bytes.Load()
		}
		return nil
	})
	if err == nil {
		passed := time.Since(since).Seconds()
		res.bytes = float64(crowd.bytes.Load()-bytes) / passed / float64(a.clients-len(crowd.readers))
		res.cpu, res.peak, err = m.read(s.bench, passed)
	}
	if err == nil {
		res.memory = float64(res.peak["dashboard"]-empty) / float64(a.clients)
		err = crowd.settle(ctx)
	}
	if err == nil {
		_, err = s.settle(ctx, total)
	}
	res.lost, res.readers = crowd.lost.Load(), len(crowd.readers)
	if err := errors.Join(err, crowd.leave()); err != nil {
		return nil, err
	}
	if res.lost > 0 {
		return nil, fmt.Errorf("%d of %d connections broke", res.lost, a.clients)
	}
	return res, nil
}

// needFiles raises the number of files that this process and those it starts may
// have open, where it has to be and may.
func needFiles(n uint64) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= n {
		return nil
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: max(n, limit.Max)}); err != nil {
		return fmt.Errorf("so many clients need %d open files and %d are allowed: raise it with `ulimit -n %d`, as root where the hard limit is lower", n, limit.Max, n)
	}
	return nil
}

// crowd is the clients.
type crowd struct {
	audience
	stream  *stream
	delays  *delays
	bytes   atomic.Int64 // that those who do not read have taken
	lost    atomic.Int64
	leaving atomic.Bool

	conns   []*websocket.Conn
	readers []*crowdReader
	living  errgroup.Group
	stop    context.CancelFunc
}

type crowdReader struct {
	observer *observer
	symbols  []string
}

func (c *crowd) connect(ctx context.Context) error {
	c.conns = make([]*websocket.Conn, c.clients)
	var g errgroup.Group
	g.SetLimit(dialsOnce)
	lists := make([][]string, c.lists)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range lists {
		lists[i] = pick(random, c.symbols, c.audience.stream.symbols, i > 0)
	}
	for i := range c.conns {
		g.Go(func() (err error) {
			dialer := websocket.Dialer{EnableCompression: true, HandshakeTimeout: 30 * time.Second, ReadBufferSize: 1024, WriteBufferSize: 256}
			if i >= portsEach {
				local := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i/portsEach))}}
				dialer.NetDialContext = local.DialContext
			}
			conn, resp, err := dialer.DialContext(ctx, "ws://"+c.stream.address+"/api/ws?symbols="+strings.Join(lists[i%c.lists], ","), nil)
			if err != nil {
				if resp != nil {
					err = fmt.Errorf("%w: %s", err, resp.Status)
				}
				return fmt.Errorf("client %d: %w", i, err)
			}
			resp.Body.Close()
			c.conns[i] = conn
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, conn := range c.conns {
		if i%readEvery == 0 {
			reader := &crowdReader{observer: c.stream.ledger.observer(c.delays), symbols: lists[i%c.lists]}
			c.readers = append(c.readers, reader)
			c.living.Go(func() error { return c.end(c.read(conn, reader.observer)) })
		} else {
			c.living.Go(func() error { return c.end(c.drop(conn)) })
		}
	}
	living, stop := context.WithCancel(ctx)
	c.stop = stop
	c.living.Go(func() error { return c.stayAlive(living) })
	return nil
}

// pick chooses symbols of the market: the busiest, or any.
func pick(random *rand.Rand, n, of int, any bool) []string {
	names := make([]string, n)
	for i, at := range random.Perm(of)[:n] {
		if !any {
			at = i
		}
		names[i] = fmt.Sprintf("SIM%05d", at)
	}
	return names
}

// end counts a connection that broke before its time.
func (c *crowd) end(err error) error {
	if !c.leaving.Load() && err != nil {
		c.lost.Add(1)
	}
	return nil
}

func (c *crowd) read(conn *websocket.Conn, o *observer) error {
	for {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if err := o.take(data); err != nil {
			return err
		}
	}
}

// drop takes bytes off the network without a look at them.
func (c *crowd) drop(conn *websocket.Conn) error {
	raw := conn.NetConn()
	buffer := make([]byte, 1024)
	for {
		n, err := raw.Read(buffer)
		c.bytes.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

// stayAlive answers for those who do not read the dashboard's pings.
func (c *crowd) stayAlive(ctx context.Context) error {
	const often = 15 * time.Second
	tick := time.NewTicker(often)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for i, conn := range c.conns {
			if i%readEvery != 0 {
				_ = conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second)) // its reader tells of what is wrong
			}
		}
	}
}

// settle waits until every reader has seen every tick of the symbols that it follows.
func (c *crowd) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, r := range c.readers {
		want := int64(0)
		for _, symbol := range r.symbols {
			if e := c.stream.ledger.symbols[symbol]; e != nil {
				want += int64(len(e.due))
			}
		}
		for r.observer.arrived() < want {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("a client has seen %d of the %d ticks of its symbols when the time was up: %w", r.observer.arrived(), want, ctx.Err())
			}
		}
	}
	return nil
}

func (c *crowd) leave() error {
	c.leaving.Store(true)
	if c.stop != nil {
		c.stop()
	}
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	return c.living.Wait()
}
