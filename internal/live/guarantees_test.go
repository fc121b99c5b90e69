package live_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ticktape/deploy/local/servers"
	"ticktape/internal/live"
	"ticktape/internal/store"
	"ticktape/internal/testbed"
	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

// own is the Cassandra that tests may kill and freeze; they take turns.
var own struct {
	node *servers.Server
	dir  string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if own.node != nil {
		if err := errors.Join(own.node.Thaw(), own.node.Kill(), os.RemoveAll(own.dir)); err != nil {
			fmt.Fprintln(os.Stderr, "end Cassandra:", err)
		}
	}
	os.Exit(code)
}

// ownCassandra starts that node, or makes sure that it still serves.
func ownCassandra(t *testing.T) (*servers.Server, store.Config) {
	t.Helper()
	cfg := testbed.Cassandra(t) // skips where there is to be none at all
	if testing.Short() {
		t.Skip("starts a Cassandra of its own, which takes 10 s and 1 GiB: run without -short")
	}
	if own.node == nil {
		port, err := servers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if own.dir, err = os.MkdirTemp("", "ticktape-cassandra-"); err != nil {
			t.Fatal(err)
		}
		own.node, err = servers.StartCassandra(t.Context(), servers.Options{Dir: own.dir, Port: port, HeapMB: 512, Say: func(s string) { t.Log(s) }})
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg.Hosts = []string{own.node.Addr()}
	return own.node, cfg
}

// untilDone gives the batch to the processor until it is done, as the connector does.
func untilDone(t *testing.T, p *live.Processor, tp *tape, partition, i, j int, resumed bool) error {
	for limit := time.Now().Add(90 * time.Second); ; {
		b := tp.batch(i, j, resumed)
		b.Partition = partition
		_, err := p.Process(t.Context(), b)
		if err == nil {
			return nil
		}
		var later trigger.RetryLater
		if !errors.As(err, &later) || time.Now().After(limit) {
			return err
		}
		resumed = later.Doubt
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			return t.Context().Err()
		}
	}
}

// A node that is killed in the middle of increments has kept what it
// acknowledged, and nothing is counted twice when it is back.
func TestKillCassandra(t *testing.T) {
	node, cfg := ownCassandra(t)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const partitions, batches, each = 6, 80, 5
	tapes := make([]*tape, partitions)
	topics := make([]*topic, partitions)
	var done atomic.Int64
	var wg sync.WaitGroup
	for n := range partitions {
		tp := randomTape(rand.New(rand.NewPCG(uint64(n), 7)), batches*each)
		tapes[n] = tp
		p, k := newProcessor(s)
		p.Quiet, topics[n] = time.Second, k
		wg.Go(func() {
			for i := range batches {
				if err := untilDone(t, p, tp, 0, i*each, (i+1)*each, i == 0); err != nil {
					t.Errorf("partition %d, batch %d: %v", n, i, err)
					return
				}
				done.Add(1)
			}
		})
	}
	testbed.Eventually(t, 60*time.Second, "a quarter of the batches is done", func() bool { return done.Load() > partitions*batches/4 })
	before := done.Load()
	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := node.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Logf("killed after %d of %d batches", before, partitions*batches)
	for n := range partitions {
		check(t, s, tapes[n], topics[n])
	}
}

// A node that stops with increments unread in its sockets applies them when it
// goes on, long after they were given up; each counts once all the same. This
// waits as long as production does: with a shorter wait, most count twice.
func TestFreezeCassandra(t *testing.T) {
	node, cfg := ownCassandra(t)
	cfg.Timeout = 5 * time.Second
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const partitions, frozen = 12, 8 * time.Second
	tp := newTape()
	for i := range 60 {
		tp.add(trade(fmt.Sprintf("S%d", i%7), minute+int64(i), tick.Price(i+1), 1), tick.Protobuf)
	}
	// The node stops when all increments are about to be sent.
	var ready, sent sync.WaitGroup
	ready.Add(partitions)
	stopped := make(chan struct{})
	u := &unsure{Store: s, count: func(apply func() error) error {
		ready.Done()
		<-stopped
		return apply()
	}}
	p, k := newProcessor(s)
	p.Quiet = 0
	for n := range partitions {
		if err := untilDone(t, p, tp, n, 0, 20, false); err != nil {
			t.Fatal(err)
		}
		hasty := &live.Processor{Store: u, Windows: k}
		sent.Go(func() {
			b := tp.batch(20, 50, false)
			b.Partition = n
			var later trigger.RetryLater
			if _, err := hasty.Process(t.Context(), b); !errors.As(err, &later) || !later.Doubt {
				t.Errorf("partition %d: a frozen node answered with %v", n, err)
			}
		})
	}
	ready.Wait()
	if err := node.Freeze(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Thaw() }) // where the test ends early
	thawed := make(chan error, 1)
	time.AfterFunc(frozen, func() { thawed <- node.Thaw() })
	close(stopped)
	sent.Wait()

	var wg sync.WaitGroup
	for n := range partitions {
		wg.Go(func() {
			if err := untilDone(t, p, tp, n, 20, 40, true); err != nil {
				t.Error(err)
			}
			if err := untilDone(t, p, tp, n, 40, 60, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := <-thawed; err != nil {
		t.Fatal(err)
	}
	incarnation, err := s.Incarnation(t.Context(), "ticks", tp.id)
	if err != nil {
		t.Fatal(err)
	}
	for n := range partitions {
		checkLog(t, s, tp, k, store.Log(incarnation, n))
	}
}

// A node that stops while its fences are watched has proved nothing by then.
func TestFreezeCassandraDuringTheWait(t *testing.T) {
	node, cfg := ownCassandra(t)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	t.Cleanup(func() { _ = node.Thaw() })
	const quiet, frozen = 3 * time.Second, 2500 * time.Millisecond
	thawed := make(chan time.Time, 1)
	time.AfterFunc(time.Second, func() {
		if err := node.Freeze(); err != nil {
			t.Error(err)
		}
		time.AfterFunc(frozen, func() {
			thawed <- time.Now()
			if err := node.Thaw(); err != nil {
				t.Error(err)
			}
		})
	})
	if _, err := s.QuietFences(t.Context(), []store.Window{{Start: minute, Log: 1}, {Start: minute, Log: 2}}, quiet); err != nil {
		t.Fatal(err)
	}
	if since := time.Since(<-thawed); since < quiet {
		t.Errorf("the fences were believed %s after the node went on, want at least %s", since, quiet)
	}
}

// The function is killed again and again while it counts, and started anew from
// the last commit.
func TestKillFunction(t *testing.T) {
	if os.Getenv(workerEnv) != "" {
		work(t)
		return
	}
	cfg := testbed.Cassandra(t)
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rng := rand.New(rand.NewPCG(3, 3))
	tp, k := workerTape(), &topic{}
	kills := 0
	for committed := 0; committed < len(tp.entries); kills++ {
		if kills > 200 {
			t.Fatalf("offset %d is not passed", committed)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKillFunction$", "-test.v")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", workerEnv, committed), "CASSANDRA_KEYSPACE="+cfg.Keyspace)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			line := lines.Text()
			if strings.HasPrefix(line, "begin") {
				// The first call waits until the fences are quiet; one of those that
				// follow, of some 20 ms each, is cut off anywhere within.
				time.AfterFunc(workerQuiet+time.Duration(rng.IntN(200))*time.Millisecond, cancel)
			}
			if n, ok := strings.CutPrefix(line, "done "); ok {
				if committed, err = strconv.Atoi(n); err != nil {
					t.Fatal(err)
				}
			}
			if strings.HasPrefix(line, "--- FAIL") {
				t.Error(line)
			}
		}
		_ = cmd.Wait() // killed
		cancel()
	}
	// What is published last by a function that lives.
	p, _ := newProcessor(s)
	p.Windows = k
	process(t, p, tp.batch(0, len(tp.entries), true))
	check(t, s, tp, k)
	t.Logf("killed %d times", kills-1)
}

const (
	workerEnv = "TICKTAPE_TEST_WORKER"
	// workerQuiet is short because this node is never frozen.
	workerQuiet = 300 * time.Millisecond
)

func workerTape() *tape {
	tp := randomTape(rand.New(rand.NewPCG(1, 1)), 2_000)
	tp.id = [16]byte{'k'}
	return tp
}

// work is the function that is killed: it counts from the offset in its
// environment on, and says how far it has come.
func work(t *testing.T) {
	cfg, err := store.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	from, err := strconv.Atoi(os.Getenv(workerEnv))
	if err != nil {
		t.Fatal(err)
	}
	tp := workerTape()
	p, _ := newProcessor(s)
	p.Quiet = workerQuiet
	fmt.Println("begin")
	for i, resumed := from, true; i < len(tp.entries); resumed = false {
		j := min(i+1+rand.IntN(100), len(tp.entries))
		if _, err := p.Process(t.Context(), tp.batch(i, j, resumed)); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("done %d\n", j)
		i = j
	}
}
