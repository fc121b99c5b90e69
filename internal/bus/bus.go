// Package bus is Ticktape's way to Kafka: topics and their ids, committed
// offsets, producers, consumer groups, and fetches in bulk.
//
// It stands on kafka-go and adds what that library leaves out: topic ids (its
// metadata stops at version 8), fetches by topic id that hand out records
// without an allocation each, and commits that say which incarnation of a topic
// they belong to. It knows nothing of ticks.
package bus

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"ticktape/internal/service"
)

// Config is how to reach Kafka and what Ticktape's topics are called. Its fields
// are set by the environment variables in their tags.
type Config struct {
	Brokers []string `env:"KAFKA_BROKERS" envDefault:"127.0.0.1:9092"`

	TicksTopic   string `env:"TICKS_TOPIC" envDefault:"ticks"`
	WindowsTopic string `env:"WINDOWS_TOPIC" envDefault:"windows"`
	DeadTopic    string `env:"DEAD_TOPIC" envDefault:"ticks.dead"`
	// TickPartitions is how many partitions the topics of ticks and windows are
	// created with. A topic that exists keeps what it has.
	TickPartitions int `env:"TICK_PARTITIONS" envDefault:"12"`
	// Replication is the replication factor of created topics; 0 takes the
	// cluster's default.
	Replication int `env:"KAFKA_REPLICATION" envDefault:"0"`

	TLS bool `env:"KAFKA_TLS"`
	// User is who to log in as; the password is in the secret "kafka-password".
	User      string `env:"KAFKA_USER"`
	Mechanism string `env:"KAFKA_SASL_MECHANISM" envDefault:"SCRAM-SHA-512"`

	login sasl.Mechanism
}

// ConfigFromEnv reads the environment, and the password where KAFKA_USER is set.
func ConfigFromEnv() (Config, error) {
	c, err := service.Load[Config]()
	if err != nil {
		return c, err
	}
	if c.TickPartitions < 1 {
		return c, service.Settingf("TICK_PARTITIONS=%q must be at least 1", os.Getenv("TICK_PARTITIONS"))
	}
	if c.User == "" {
		return c, nil
	}
	password, err := service.Secret("kafka-password")
	if err != nil {
		return c, service.Settingf("KAFKA_USER is set: %v", err)
	}
	switch strings.ToUpper(c.Mechanism) {
	case "PLAIN":
		c.login = plain.Mechanism{Username: c.User, Password: password}
	case "SCRAM-SHA-256":
		c.login, err = scram.Mechanism(scram.SHA256, c.User, password)
	case "SCRAM-SHA-512":
		c.login, err = scram.Mechanism(scram.SHA512, c.User, password)
	default:
		err = fmt.Errorf("it must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	}
	if err != nil {
		return c, service.Settingf("KAFKA_SASL_MECHANISM=%q can't be used: %v", c.Mechanism, err)
	}
	return c, nil
}

// callTimeout bounds every request that does not wait for something to happen.
const callTimeout = 10 * time.Second

// metadataTTL bounds for how long kafka-go's transport takes brokers, leaders and
// topics to be as they were.
const metadataTTL = 2 * time.Second

// Client is a connection to Kafka. It is safe for concurrent use and connects on
// the first request; a broker that can't be reached is an error of that request,
// and the next one tries anew.
type Client struct {
	cfg       Config
	addr      net.Addr
	transport *kafka.Transport
	kafka     *kafka.Client
}

// New makes a client. It does not connect.
func New(cfg Config) *Client {
	transport := &kafka.Transport{
		ClientID:    "ticktape",
		DialTimeout: 5 * time.Second,
		IdleTimeout: time.Minute,
		MetadataTTL: metadataTTL,
		SASL:        cfg.login,
	}
	if cfg.TLS {
		transport.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	addr := kafka.TCP(cfg.Brokers...)
	return &Client{
		cfg:       cfg,
		addr:      addr,
		transport: transport,
		kafka:     &kafka.Client{Addr: addr, Transport: transport},
	}
}

// Close gives up idle connections. Requests under way are not ended.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// replication is what a topic is created with; -1 asks for the cluster's default.
func (c *Client) replication() int { return cmp.Or(c.cfg.Replication, -1) }
