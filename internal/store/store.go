// Package store keeps Ticktape's state in Cassandra: live windows, tick
// history, latest quotes and candles. All CQL is here.
//
// It is not for deciding anything: what may be counted, and when a window is
// done, is said by the packages above. Every method says whether it is
// idempotent, because after a time-out that is what its caller has to know.
package store

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gocql/gocql"

	"ticktape/internal/service"
)

//go:embed schema.cql
var schema string

// Config is how to reach Cassandra and which guarantees to ask of it. Its
// fields are set by the environment variables in their tags.
type Config struct {
	Hosts    []string `env:"CASSANDRA_HOSTS" envDefault:"127.0.0.1:9042"`
	Keyspace string   `env:"CASSANDRA_KEYSPACE" envDefault:"ticktape"`
	// User and the password in the secret "cassandra-password" are used where User is set.
	User       string `env:"CASSANDRA_USER"`
	SecretsDir string `env:"SECRETS_DIR" envDefault:"/var/openfaas/secrets"`

	Datacenter string `env:"CASSANDRA_DATACENTER" envDefault:"datacenter1"`
	// Replication is the factor of a keyspace that has to be created; 0 leaves it
	// to Cassandra (default_keyspace_rf, which is 1 where nobody has set it).
	Replication int `env:"CASSANDRA_REPLICATION" envDefault:"0"`
	// Reads and writes together must exceed the replication factor, or a read
	// may miss what an acknowledged write said.
	ReadConsistency  gocql.Consistency `env:"CASSANDRA_READ_CONSISTENCY" envDefault:"LOCAL_QUORUM"`
	WriteConsistency gocql.Consistency `env:"CASSANDRA_WRITE_CONSISTENCY" envDefault:"LOCAL_QUORUM"`
	// FenceConsistency is for the fence of a resumed batch (docs/exactly-once.md).
	FenceConsistency gocql.Consistency `env:"FENCE_CONSISTENCY" envDefault:"ALL"`

	// Timeout is the longest wait for one answer. It must be below the time
	// limit of the function that asks.
	Timeout time.Duration `env:"CASSANDRA_TIMEOUT" envDefault:"4s"`
	// TicksTTL is how long tick history is kept.
	TicksTTL time.Duration `env:"TICKS_TTL" envDefault:"720h"`
	// AllowPeriodic turns the refusal of commitlog_sync: periodic into a warning.
	AllowPeriodic bool `env:"ALLOW_PERIODIC_COMMITLOG"`
}

// ConfigFromEnv reads the environment. A value that can't be read is an error
// that names its variable.
func ConfigFromEnv() (Config, error) {
	return service.Load[Config]()
}

// Store is a connection to the keyspace. It is safe for concurrent use.
type Store struct {
	cfg     Config
	session *gocql.Session

	mu   sync.Mutex
	logs map[gocql.UUID]int32 // incarnations known

	naming sync.Mutex // held by who gives an incarnation its number
}

// ErrPeriodic is returned by Open where Cassandra acknowledges writes that a
// kill -9 can lose, which would make counters wrong for ever.
var ErrPeriodic = errors.New("commitlog_sync is periodic, so a crash loses acknowledged increments: set commitlog_sync: group (or batch) in cassandra.yaml, or ALLOW_PERIODIC_COMMITLOG=1 to run inexact")

// Open connects, creates keyspace and tables where they are absent, and checks
// that the node keeps what it acknowledges. It does not wait for Cassandra to
// come up: callers retry.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	boot, err := cfg.connect("")
	if err != nil {
		return nil, err
	}
	defer boot.Close()
	if err := cfg.checkCommitlog(ctx, boot); err != nil {
		return nil, err
	}
	var name string
	err = boot.Query("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", cfg.Keyspace).WithContext(ctx).Scan(&name)
	if errors.Is(err, gocql.ErrNotFound) {
		factor := ""
		if cfg.Replication > 0 {
			factor = fmt.Sprintf(", '%s': %d", cfg.Datacenter, cfg.Replication)
		}
		err = boot.Query(fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %q WITH replication = {'class': 'NetworkTopologyStrategy'%s}",
			cfg.Keyspace, factor)).WithContext(ctx).Exec()
	}
	if err != nil {
		return nil, fmt.Errorf("create keyspace %s: %w", cfg.Keyspace, err)
	}
	session, err := cfg.connect(cfg.Keyspace)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, session: session, logs: map[gocql.UUID]int32{}}
	if err := s.createTables(ctx); err != nil {
		session.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the connection.
func (s *Store) Close() { s.session.Close() }

func (c Config) connect(keyspace string) (*gocql.Session, error) {
	cluster, err := c.cluster(keyspace)
	if err != nil {
		return nil, err
	}
	session, err := cluster.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("connect to Cassandra at %s: %w", strings.Join(c.Hosts, ", "), err)
	}
	return session, nil
}

func (c Config) cluster(keyspace string) (*gocql.ClusterConfig, error) {
	cluster := gocql.NewCluster()
	for _, h := range c.Hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil {
			host, port = h, "9042"
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return nil, fmt.Errorf("CASSANDRA_HOSTS: %q has no port number behind the colon", h)
		}
		cluster.Hosts = append(cluster.Hosts, host)
		cluster.Port = n
	}
	cluster.Keyspace = keyspace
	cluster.Logger = driverLog{}
	cluster.ConnectObserver = connects{}
	cluster.Consistency = c.WriteConsistency
	cluster.Timeout = c.Timeout
	cluster.ConnectTimeout = c.Timeout
	cluster.WriteTimeout = c.Timeout
	cluster.PageSize = 20_000
	cluster.Dialer = dialer{net.Dialer{Timeout: c.Timeout}}
	// Reconnects must be quick: a function that is called while Cassandra
	// restarts answers 503 and is asked again.
	cluster.ReconnectInterval = time.Second
	cluster.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 10, Interval: 500 * time.Millisecond}
	cluster.PoolConfig.HostSelectionPolicy = hostPolicy(c.Datacenter)
	if c.User != "" {
		pw, err := os.ReadFile(filepath.Join(c.SecretsDir, "cassandra-password"))
		if err != nil {
			return nil, fmt.Errorf("read the password of CASSANDRA_USER %s: %w", c.User, err)
		}
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: c.User, Password: strings.TrimSpace(string(pw))}
	}
	return cluster, nil
}

// dialer makes connections that take with them what they have not sent when they
// are closed, or their process is killed: an increment that its sender has given up
// should not arrive after all.
type dialer struct{ net.Dialer }

func (d dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, addr)
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		if err := tcp.SetLinger(0); err != nil {
			return nil, errors.Join(err, tcp.Close())
		}
	}
	return conn, err
}

func (c Config) checkCommitlog(ctx context.Context, session *gocql.Session) error {
	var mode string
	err := session.Query("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'").WithContext(ctx).Scan(&mode)
	if err != nil {
		return fmt.Errorf("read commitlog_sync from system_views.settings: %w", err)
	}
	return c.acceptCommitlog(mode)
}

// acceptCommitlog decides on the value of commitlog_sync.
func (c Config) acceptCommitlog(mode string) error {
	if mode != "periodic" {
		return nil
	}
	if !c.AllowPeriodic {
		return ErrPeriodic
	}
	slog.Warn("commitlog_sync is periodic: a crash of Cassandra loses acknowledged increments, live windows may be wrong after it")
	return nil
}

// driverLog takes what the driver says. A node that is away makes it say a lot,
// and whoever asks the node for something gets an error that is logged anyway.
type driverLog struct{}

func (driverLog) Print(v ...any)                 { driverSays(fmt.Sprint(v...)) }
func (driverLog) Printf(format string, v ...any) { driverSays(fmt.Sprintf(format, v...)) }
func (driverLog) Println(v ...any)               { driverSays(fmt.Sprintln(v...)) }

func driverSays(text string) {
	slog.Debug("Cassandra driver", "says", strings.TrimSpace(text))
}

// createTables is idempotent. Only what is absent is created, because each
// change of the schema costs an agreement even where it changes nothing.
func (s *Store) createTables(ctx context.Context) error {
	have := map[string]map[string]bool{} // columns by table
	it := s.session.Query("SELECT table_name, column_name FROM system_schema.columns WHERE keyspace_name = ?", s.cfg.Keyspace).WithContext(ctx).Iter()
	for table, column := "", ""; it.Scan(&table, &column); {
		if have[table] == nil {
			have[table] = map[string]bool{}
		}
		have[table][column] = true
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	text := strings.ReplaceAll(schema, "{{ticks_ttl}}", strconv.Itoa(int(s.cfg.TicksTTL/time.Second)))
	for _, stmt := range strings.Split(text, ";\n") {
		if table, ok := named(stmt, "CREATE TABLE IF NOT EXISTS "); ok && have[table] == nil {
			if err := s.alter(ctx, stmt); err != nil {
				return fmt.Errorf("create table %s: %w", table, err)
			}
		}
		if table, ok := named(stmt, "ALTER TABLE "); ok && have[table] != nil {
			column, _ := named(stmt, "ADD IF NOT EXISTS ")
			if have[table][column] {
				continue
			}
			if err := s.alter(ctx, stmt); err != nil {
				return fmt.Errorf("add column %s to table %s: %w", column, table, err)
			}
		}
	}
	return nil
}

func (s *Store) alter(ctx context.Context, stmt string) error {
	return s.session.Query(stmt).WithContext(ctx).Exec()
}

// named is the word behind words in a statement.
func named(stmt, words string) (name string, ok bool) {
	_, rest, ok := strings.Cut(stmt, words)
	name, _, _ = strings.Cut(rest, " ")
	return name, ok
}
