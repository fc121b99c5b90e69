package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/deploy/local/process"
)

const kafkaLogging = `<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="console"><PatternLayout pattern="%d{ISO8601} %-5p %m (%c)%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="console"/></Root>
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
    <Logger name="org.apache.kafka.clients.admin.AdminClientConfig" level="WARN"/>
  </Loggers>
</Configuration>
`

// Kafka prepares a broker: one process that is broker and controller, with
// automatic topic creation off.
func Kafka(ctx context.Context, o Options) (process.Plan, error) {
	if err := o.complete("kafka", 512); err != nil {
		return process.Plan{}, err
	}
	java, err := Java(ctx)
	if err != nil {
		return process.Plan{}, err
	}
	lib, err := kafkaJars.dir(ctx, o.Cache, o.Say)
	if err != nil {
		return process.Plan{}, err
	}
	cp, err := classPath(lib)
	if err != nil {
		return process.Plan{}, err
	}
	tmp, err := emptyDir(o.Dir, "tmp")
	if err != nil {
		return process.Plan{}, err
	}
	logging := filepath.Join(o.Dir, "log4j2.xml")
	if err := os.WriteFile(logging, []byte(kafkaLogging), 0o644); err != nil {
		return process.Plan{}, fmt.Errorf("write Kafka's configuration: %w", err)
	}
	config := filepath.Join(o.Dir, "server.properties")
	if err := os.WriteFile(config, kafkaProperties(o), 0o644); err != nil {
		return process.Plan{}, fmt.Errorf("write Kafka's configuration: %w", err)
	}
	jvm := []string{
		fmt.Sprintf("-Xms%dm", min(o.HeapMB, 128)), fmt.Sprintf("-Xmx%dm", o.HeapMB),
		"-XX:MaxDirectMemorySize=256m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+ExitOnOutOfMemoryError",
		// Kafka mostly moves bytes. Compiled for speed it gains little, and the second
		// compiler would take a third of a core for minutes.
		"-XX:TieredStopAtLevel=1",
		"-XX:ReservedCodeCacheSize=96m", "-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true",
		"-Dlog4j2.configurationFile=" + logging, "-Dlog4j2.formatMsgNoLookups=true",
		"-Djava.io.tmpdir=" + tmp,
		"-cp", cp,
	}
	if err := formatKafka(ctx, o, java, jvm, config); err != nil {
		return process.Plan{}, err
	}
	addr := fmt.Sprintf("%s:%d", host, o.Port)
	return process.Plan{
		Spec: process.Spec{
			Name: "kafka",
			Path: java,
			Args: append(jvm, "kafka.Kafka", config),
			Env:  os.Environ(),
			Dir:  o.Dir,
			Log:  o.Log,
			// A controlled shutdown of a single broker is quick; writing out a large page cache is not.
			StopTimeout: 30 * time.Second,
		},
		Port:         o.Port,
		ReadyTimeout: startLimit,
		Ready: func(ctx context.Context) error {
			client := &kafka.Client{Addr: kafka.TCP(addr), Timeout: 2 * time.Second}
			return poll(ctx, "Kafka at "+addr, func(ctx context.Context) error {
				answer, err := client.Metadata(ctx, &kafka.MetadataRequest{})
				if err != nil {
					return err
				}
				if len(answer.Brokers) == 0 {
					return errors.New("the broker has not registered yet")
				}
				return nil
			})
		},
	}, nil
}

func kafkaProperties(o Options) []byte {
	return fmt.Appendf(nil, `# Written at each start of Kafka; changes here do not last.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[1]s:%[3]d
controller.listener.names=CONTROLLER
listeners=CLIENT://%[1]s:%[2]d,CONTROLLER://%[1]s:%[3]d
advertised.listeners=CLIENT://%[1]s:%[2]d
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
log.dirs=%[4]s
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=100
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
num.replica.fetchers=1
message.max.bytes=16777216
socket.request.max.bytes=104857600
log.segment.bytes=268435456
log.cleaner.dedupe.buffer.size=33554432
log.cleaner.threads=1
# What is acknowledged is in the page cache, which a kill -9 leaves whole. This
# bounds what a power cut takes; topics that may lose nothing set flush.messages=1.
log.flush.interval.ms=1000
log.flush.scheduler.interval.ms=500
`, host, o.Port, o.PeerPort, filepath.Join(o.Dir, "data"))
}

// formatKafka writes the cluster id into an empty data folder. A folder whose
// formatting was cut short is formatted again.
func formatKafka(ctx context.Context, o Options, java string, jvm []string, config string) error {
	done := filepath.Join(o.Dir, "formatted")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("make Kafka's cluster id: %w", err)
	}
	args := append(append([]string(nil), jvm...), "kafka.tools.StorageTool", "format",
		// One argument, because an id may begin with a dash.
		"--cluster-id="+base64.RawURLEncoding.EncodeToString(id[:]), "--config", config, "--ignore-formatted")
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, java, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("format Kafka's data folder: %w: %s", err, strings.TrimSpace(out.String()))
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		return fmt.Errorf("format Kafka's data folder: %w", err)
	}
	return nil
}
