// Package run is the one-machine runtime: it starts Kafka, Cassandra, the
// functions of stack.yml, the connectors and the dashboard as child processes,
// keeps them running, and stops them in order.
//
// It knows which parts there are and in what order they depend on each other.
// How one child is kept is package process, how functions are served package
// provider, how the two servers are set up package servers.
package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/openfaas/go-sdk/stack"

	"ticktape/deploy/local/servers"
	"ticktape/internal/service"
)

// Config is everything that can be set, by the environment variables in the
// tags. What it does not name is handed on to every part as it is.
type Config struct {
	// Root is the checkout.
	Root string
	// Dir holds data, logs, secrets and state.json. Two runs on two folders and
	// other ports do not disturb each other.
	Dir string `env:"TICKTAPE_DIR" envDefault:"build/run"`
	// Bin is where programs are built.
	Bin string `env:"TICKTAPE_BIN" envDefault:"build/programs"`
	// Cache keeps downloads.
	Cache string `env:"TICKTAPE_CACHE" envDefault:"build"`

	// A port 0 is a free one, which state.json tells.
	FunctionsPort int `env:"FUNCTIONS_PORT" envDefault:"8080"`
	DashboardPort int `env:"DASHBOARD_PORT" envDefault:"8090"`
	KafkaPort     int `env:"KAFKA_PORT" envDefault:"9092"`
	CassandraPort int `env:"CASSANDRA_PORT" envDefault:"9042"`
	MarketPort    int `env:"MARKET_PORT" envDefault:"0"` // the stand-in for Yahoo

	// FunctionsHost is where the functions' API and the simulated market listen.
	FunctionsHost string `env:"FUNCTIONS_HOST" envDefault:"127.0.0.1"`

	// Where these name servers, none are started.
	KafkaBrokers   string `env:"KAFKA_BROKERS"`
	CassandraHosts string `env:"CASSANDRA_HOSTS"`
	// KafkaSync has KAFKA_BROKERS write ticks to the disk before it acknowledges, as
	// a broker without others beside it should. One that is started here always does.
	KafkaSync bool `env:"KAFKA_SYNC"`

	KafkaHeap     Heap `env:"KAFKA_HEAP" envDefault:"512m"`
	CassandraHeap Heap `env:"CASSANDRA_HEAP" envDefault:"1g"`

	// Source is yahoo, simulated, or auto, which is yahoo where it answers.
	Source string `env:"SOURCE" envDefault:"auto"`
	// Prices, where it is set, is what Prepare chose: yahoo or simulated.
	Prices string `env:"PRICES"`
	// Stream is whether prices are streamed, too; unset, real ones are.
	Stream *bool `env:"YAHOO_STREAM"`
	// The simulated market: how many symbols, how many times faster than the
	// clock, from which seed, and whether it closes when real exchanges do.
	MarketSymbols int     `env:"MARKET_SYMBOLS" envDefault:"20"`
	MarketSpeed   float64 `env:"MARKET_SPEED" envDefault:"1"`
	MarketSeed    uint64  `env:"MARKET_SEED" envDefault:"1"`
	MarketHours   bool    `env:"MARKET_HOURS"`
	// BasicAuth asks those who deploy and list functions for a password.
	BasicAuth bool `env:"BASIC_AUTH"`

	// alone is set where nothing is run but the functions.
	alone bool
}

// Heap is the size of a Java heap in MiB. As text it is digits and m or g, as Java writes it.
type Heap int

// UnmarshalText reads "512m", "1g" or "1G".
func (h *Heap) UnmarshalText(text []byte) error {
	s := strings.ToLower(string(text))
	factor := 1
	if rest, ok := strings.CutSuffix(s, "g"); ok {
		s, factor = rest, 1024
	} else {
		s = strings.TrimSuffix(s, "m")
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1<<20 {
		return errors.New("not a heap size: write it like 512m or 1g")
	}
	*h = Heap(n * factor)
	if *h < 128 {
		return errors.New("too small: neither server starts with less than 128m")
	}
	return nil
}

// ConfigFromEnv reads the environment. Root is the checkout around the working directory.
func ConfigFromEnv() (Config, error) {
	c, err := service.Load[Config]()
	if err != nil {
		return c, err
	}
	if c.Root, err = servers.Checkout(); err != nil {
		return c, err
	}
	for _, dir := range []*string{&c.Dir, &c.Bin, &c.Cache} {
		if !filepath.IsAbs(*dir) {
			*dir = filepath.Join(c.Root, *dir)
		}
	}
	switch c.Source {
	case "yahoo", "simulated", "auto":
	default:
		return c, service.Settingf("SOURCE=%q is neither yahoo nor simulated nor auto: set it to one of them", c.Source)
	}
	switch c.Prices {
	case "yahoo", "simulated", "":
	default:
		return c, service.Settingf("PRICES=%q is neither yahoo nor simulated: set it to one of them", c.Prices)
	}
	return c, nil
}

// choosePorts finds free ports for those that are 0.
func (c *Config) choosePorts() error {
	for _, port := range []*int{&c.FunctionsPort, &c.DashboardPort, &c.KafkaPort, &c.CassandraPort, &c.MarketPort} {
		if *port == 0 {
			p, err := servers.FreePort()
			if err != nil {
				return err
			}
			*port = p
		}
	}
	return nil
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// serving is where what is for others listens.
func (c *Config) serving(port int) string {
	return net.JoinHostPort(c.FunctionsHost, strconv.Itoa(port))
}

func (c *Config) ownKafka() bool     { return c.KafkaBrokers == "" }
func (c *Config) ownCassandra() bool { return c.CassandraHosts == "" }

func (c *Config) brokers() string {
	if c.ownKafka() {
		return local(c.KafkaPort)
	}
	return c.KafkaBrokers
}

func (c *Config) hosts() string {
	if c.ownCassandra() {
		return local(c.CassandraPort)
	}
	return c.CassandraHosts
}

func (c *Config) secretsDir() string { return filepath.Join(c.Dir, "functions", "secrets") }
func (c *Config) gatewayURL() string { return "http://" + local(c.FunctionsPort) }

// addresses is where the parts find each other. It goes over what a stack file says.
func (c *Config) addresses() []string {
	return []string{
		"KAFKA_BROKERS=" + c.brokers(),
		"CASSANDRA_HOSTS=" + c.hosts(),
		"GATEWAY_URL=" + c.gatewayURL(),
	}
}

// stackFile reads stack.yml with the variables in it replaced, as faas-cli does.
func (c *Config) stackFile() (*stack.Services, error) {
	path := filepath.Join(c.Root, "stack.yml")
	services, err := stack.ParseYAMLFile(path, "", "", true)
	if err != nil {
		return nil, fmt.Errorf("read stack.yml: %w", err)
	}
	for name, f := range services.Functions {
		f.Name = name
		services.Functions[name] = f
	}
	return services, nil
}

// goTool runs the go command in the checkout; its error has what it said.
func (c *Config) goTool(ctx context.Context, args ...string) error {
	return command(ctx, c.Root, os.Environ(), "go", args...)
}
