package push

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"ticktape/dashboard/feedtest"
	"ticktape/dashboard/hub"
	"ticktape/internal/testbed"
)

// TestManySockets has many clients, in a process of their own, follow one market
// and find that each of them ends at the same prices. With SOCKETS=10000 it is the
// load that a dashboard is made for:
//
//	SOCKETS=10000 go test ./dashboard/push -run TestManySockets -v
func TestManySockets(t *testing.T) {
	if url := os.Getenv("SOCKETS_URL"); url != "" {
		manyClients(t, url)
		return
	}
	n := 300
	if text := os.Getenv("SOCKETS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SOCKETS=%q is no number", text)
		}
	}
	b := start(t, hub.Config{})
	market := feedtest.New(3, feedtest.Many(500))
	b.hub.Apply(market.Past(10*time.Minute, 2))
	before := memory()

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestManySockets$", "-test.v")
	cmd.Env = append(os.Environ(), "SOCKETS_URL=ws"+strings.TrimPrefix(b.http.URL, "http")+"/ws", "SOCKETS="+strconv.Itoa(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, 4*time.Minute, "all clients are connected", func() bool { return b.hub.Status().Clients == n })
	idle := memory()
	end := time.Now().Add(3 * time.Second)
	most := int64(0)
	for time.Now().Before(end) {
		b.hub.Apply(market.Step(100)) // 2000 trades a second
		most = max(most, memory())
		time.Sleep(50 * time.Millisecond) // the market's pace
	}
	t.Logf("%d clients: %.1f KiB each when idle, %.1f KiB at most in a moving market, %d goroutines",
		n, float64(idle-before)/float64(n)/1024, float64(most-before)/float64(n)/1024, runtime.NumGoroutine())
	b.hub.Apply(market.Step(1))
	testbed.Eventually(t, patience, "the last change is flushed", func() bool { return strings.Contains(string(b.hub.Snapshot(nil)), `"seq":`) })
	fmt.Fprintln(in, b.hub.Status().Seq)
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		if strings.HasPrefix(scan.Text(), "clients:") {
			t.Log(scan.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the clients: %v", err)
	}
}

// memory is what the heap and the stacks of this process take.
func memory() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// manyClients follow the stream until they are at the revision that comes on
// standard input.
func manyClients(t *testing.T, url string) {
	n, err := strconv.Atoi(os.Getenv("SOCKETS"))
	if err != nil {
		t.Fatal(err)
	}
	var goal, messages atomic.Int64
	var clients sync.WaitGroup
	dialing := make(chan struct{}, 50)
	for range n {
		clients.Add(1)
		dialing <- struct{}{}
		go func() {
			defer clients.Done()
			dialer := websocket.Dialer{ReadBufferSize: 1024, WriteBufferSize: 256, HandshakeTimeout: time.Minute}
			conn, _, err := dialer.Dial(url, nil)
			<-dialing
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			at := uint64(0)
			for goal.Load() == 0 || int64(at) < goal.Load() {
				_, r, err := conn.NextReader()
				if err != nil {
					t.Error(err)
					return
				}
				// The head of a message is all that is looked at: the clients share the
				// machine with what they test.
				var m struct{ From, Seq uint64 }
				head := json.NewDecoder(r)
				for {
					token, err := head.Token()
					if err != nil {
						break
					}
					if name, ok := token.(string); ok && (name == "from" || name == "seq") {
						value, _ := head.Token()
						v, _ := value.(float64)
						if name == "from" {
							m.From = uint64(v)
							continue
						}
						m.Seq = uint64(v)
						break
					}
				}
				if m.From > at {
					t.Errorf("a delta from %d to a client at %d", m.From, at)
				}
				at = max(at, m.Seq)
				messages.Add(1)
			}
		}()
	}
	var seq int64
	if _, err := fmt.Fscan(os.Stdin, &seq); err != nil {
		t.Fatal(err)
	}
	goal.Store(seq)
	clients.Wait()
	fmt.Printf("clients: %d messages\n", messages.Load())
}
