// Package servers starts a real Kafka broker and a real Cassandra node on this
// machine from their published jars, for `make run` and for tests. Both listen
// on 127.0.0.1 only and keep what they acknowledge through a kill -9.
//
// It is not a way to run either in production: one node, no passwords.
package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"ticktape/deploy/local/process"
)

// Versions of the servers that are started; the pom files name them too.
const (
	KafkaVersion     = "4.3.1"
	CassandraVersion = "5.0.5"
)

const host = "127.0.0.1"

// startLimit is for a server that reads back its logs after a crash.
const startLimit = 3 * time.Minute

// Options says where and how big. Port and Dir are needed, the rest has defaults.
type Options struct {
	// Dir holds the data, the configuration and, where Log is nil, the log. A
	// server started on the Dir of an earlier one finds its data again.
	Dir string
	// Port is where clients connect.
	Port int
	// PeerPort is Kafka's controller port or Cassandra's storage port; a free one where 0.
	PeerPort int
	// HeapMB is the Java heap; 512 for Kafka and 1024 for Cassandra where 0.
	HeapMB int
	// Cache is where jars are kept: CacheDir where empty.
	Cache string
	// Log gets what the server writes; a file NAME.log in Dir where nil.
	Log *process.Log
	// Say is told what is going on while it takes long; may be nil.
	Say func(string)
}

// Server is a running server. Its methods are safe for concurrent use.
type Server struct {
	plan process.Plan

	mu   sync.Mutex
	proc *process.Process
}

// StartKafka starts a broker and returns when it serves clients.
func StartKafka(ctx context.Context, o Options) (*Server, error) {
	plan, err := Kafka(ctx, o)
	if err != nil {
		return nil, err
	}
	return Start(ctx, plan)
}

// StartCassandra starts a node and returns when it serves clients.
func StartCassandra(ctx context.Context, o Options) (*Server, error) {
	plan, err := Cassandra(ctx, o)
	if err != nil {
		return nil, err
	}
	return Start(ctx, plan)
}

// Start runs what was prepared and returns when it serves clients. Where it
// fails to, nothing is left running.
func Start(ctx context.Context, p process.Plan) (*Server, error) {
	s := &Server{plan: p}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil && s.proc.Running() {
		return fmt.Errorf("%s is running already", s.plan.Spec.Name)
	}
	proc, err := s.plan.Run(ctx)
	if err != nil {
		return err
	}
	s.proc = proc
	return nil
}

func (s *Server) current() *process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

// Addr is where clients connect, as "host:port".
func (s *Server) Addr() string { return net.JoinHostPort(host, strconv.Itoa(s.plan.Port)) }

// PID is the server's process id.
func (s *Server) PID() int { return s.current().PID() }

// Done is closed when the server's present process has ended.
func (s *Server) Done() <-chan struct{} { return s.current().Done() }

// Stop ends the server in order: it writes out what it holds and says goodbye.
// The data stay.
func (s *Server) Stop() error { return s.current().Stop() }

// Kill ends the server as kill -9 does and waits until it is gone.
func (s *Server) Kill() error { return s.current().Kill() }

// Freeze halts the server (SIGSTOP): connections stay open and nothing is answered.
func (s *Server) Freeze() error { return s.current().Freeze() }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.current().Thaw() }

// Restart starts a server again that was stopped or killed, on the same ports
// and data, and stops it first where it still runs. It returns when it serves clients.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil && !errors.Is(err, process.ErrKilled) {
		return err
	}
	return s.start(ctx)
}

// CacheDir is where jars are kept: TICKTAPE_CACHE, else the folder build of the
// checkout that holds the working directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("TICKTAPE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := Checkout()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "build"), nil
}

// Checkout is the folder with go.mod around the working directory.
func Checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("there is no go.mod above the working directory: start in the checkout of Ticktape")
		}
		dir = parent
	}
}

// FreePort gives a TCP port on loopback that nobody listens on at this moment.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// complete fills in the defaults and makes the folder.
func (o *Options) complete(name string, heapMB int) error {
	if o.Dir == "" || o.Port == 0 {
		return fmt.Errorf("%s needs a folder and a port", name)
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return fmt.Errorf("find the folder of %s: %w", name, err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", name, err)
	}
	if o.PeerPort == 0 {
		if o.PeerPort, err = FreePort(); err != nil {
			return err
		}
	}
	if o.HeapMB == 0 {
		o.HeapMB = heapMB
	}
	if o.Cache == "" {
		if o.Cache, err = CacheDir(); err != nil {
			return err
		}
	}
	if o.Log == nil {
		if o.Log, err = process.OpenLog(filepath.Join(o.Dir, name+".log")); err != nil {
			return err
		}
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	return nil
}

func emptyDir(parent, name string) (string, error) {
	dir := filepath.Join(parent, name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return "", fmt.Errorf("make an empty folder: %w", err)
	}
	return dir, nil
}

// poll asks every 100 ms until the answer is yes.
func poll(ctx context.Context, name string, ask func(context.Context) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last answer: %w)", name, ctx.Err(), err)
		}
	}
}
