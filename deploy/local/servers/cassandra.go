package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"ticktape/deploy/local/process"
)

const cassandraLogging = `<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %-5level [%thread] %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="STDOUT"/></root>
  <logger name="org.apache.cassandra.db.ColumnFamilyStore" level="WARN"/>
  <logger name="org.apache.cassandra.config.DatabaseDescriptor" level="WARN"/>
</configuration>
`

// jvm17 are the module openings that Cassandra's own jvm17-server.options lists.
var jvm17 = []string{
	"-Djdk.attach.allowAttachSelf=true",
	// Not in Cassandra's list, and needed where Java is newer than 17.
	"-Djava.security.manager=allow",
	"--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
	"--add-exports=java.management.rmi/com.sun.jmx.remote.internal.rmi=ALL-UNNAMED",
	"--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
	"--add-exports=java.rmi/sun.rmi.server=ALL-UNNAMED",
	"--add-exports=java.sql/java.sql=ALL-UNNAMED",
	"--add-exports=java.base/java.lang.ref=ALL-UNNAMED",
	"--add-exports=jdk.unsupported/sun.misc=ALL-UNNAMED",
	"--add-opens=java.base/java.lang.module=ALL-UNNAMED",
	"--add-opens=java.base/jdk.internal.loader=ALL-UNNAMED",
	"--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
	"--add-opens=java.base/jdk.internal.reflect=ALL-UNNAMED",
	"--add-opens=java.base/jdk.internal.math=ALL-UNNAMED",
	"--add-opens=java.base/jdk.internal.module=ALL-UNNAMED",
	"--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
	"--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
	"--add-opens=java.base/java.io=ALL-UNNAMED",
	"--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
	"--add-opens=java.base/java.lang=ALL-UNNAMED",
	"--add-opens=java.base/java.util=ALL-UNNAMED",
	"--add-opens=java.base/java.nio=ALL-UNNAMED",
	"-Dio.netty.tryReflectionSetAccessible=true",
	"-Dio.netty.allocator.useCacheForAllThreads=true",
	"-Dio.netty.allocator.maxOrder=11",
}

// Cassandra prepares a node that is a cluster by itself and syncs its commit
// log before it acknowledges (group, 5 ms).
func Cassandra(ctx context.Context, o Options) (process.Plan, error) {
	if err := o.complete("cassandra", 1024); err != nil {
		return process.Plan{}, err
	}
	java, err := Java(ctx)
	if err != nil {
		return process.Plan{}, err
	}
	lib, err := cassandraJars.dir(ctx, o.Cache, o.Say)
	if err != nil {
		return process.Plan{}, err
	}
	// Libraries unpacked here stay behind when the node is killed.
	tmp, err := emptyDir(o.Dir, "tmp")
	if err != nil {
		return process.Plan{}, err
	}
	conf := filepath.Join(o.Dir, "conf")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return process.Plan{}, fmt.Errorf("make Cassandra's folder: %w", err)
	}
	for name, text := range map[string]string{"cassandra.yaml": cassandraYAML(o), "logback.xml": cassandraLogging} {
		if err := os.WriteFile(filepath.Join(conf, name), []byte(text), 0o644); err != nil {
			return process.Plan{}, fmt.Errorf("write Cassandra's configuration: %w", err)
		}
	}
	cp, err := classPath(lib, conf)
	if err != nil {
		return process.Plan{}, err
	}
	agents, err := filepath.Glob(filepath.Join(lib, "jamm-*.jar"))
	if err != nil || len(agents) != 1 {
		return process.Plan{}, fmt.Errorf("the jars in %s are not whole: remove that folder and start again", lib)
	}
	args := []string{
		// Cassandra locks its memory where it may, so a heap that is whole from the
		// start is in memory from the start: it grows instead.
		fmt.Sprintf("-Xms%dm", min(o.HeapMB, 256)), fmt.Sprintf("-Xmx%dm", o.HeapMB),
		fmt.Sprintf("-XX:MaxDirectMemorySize=%dm", max(o.HeapMB/2, 256)), "-Xss256k",
		"-XX:+UseG1GC", "-XX:+ParallelRefProcEnabled", "-XX:MaxGCPauseMillis=100", "-XX:+ExitOnOutOfMemoryError",
		"-XX:+UseStringDeduplication", "-XX:+PerfDisableSharedMem", "-XX:ReservedCodeCacheSize=128m",
		"-javaagent:" + agents[0],
		"-Djava.net.preferIPv4Stack=true",
		"-Dcassandra.config=file:" + filepath.Join(conf, "cassandra.yaml"),
		"-Dcassandra.storagedir=" + o.Dir,
		"-Dcassandra.logdir=" + filepath.Join(o.Dir, "log"),
		"-Dlogback.configurationFile=file:" + filepath.Join(conf, "logback.xml"),
		"-Dcassandra-foreground=yes",
		// Nobody to gossip with: these waits are for clusters.
		"-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=1000", "-Dcassandra.superuser_setup_delay_ms=0",
		"-Dcassandra.max_queued_native_transport_requests=4096",
		// A mutation's serialised form is kept for further replicas. Here is none, and that
		// of a counter mutation would be made only to be thrown away.
		"-Dcassandra.cacheable_mutation_size_limit_bytes=0",
		"-Djna.tmpdir=" + tmp, "-Djava.io.tmpdir=" + tmp,
	}
	args = append(args, jvm17...)
	args = append(args, "-cp", cp, "org.apache.cassandra.service.CassandraDaemon")
	addr := fmt.Sprintf("%s:%d", host, o.Port)
	return process.Plan{
		Spec: process.Spec{
			Name:        "cassandra",
			Path:        java,
			Args:        args,
			Env:         os.Environ(),
			Dir:         o.Dir,
			Log:         o.Log,
			StopTimeout: 60 * time.Second,
		},
		Port:         o.Port,
		ReadyTimeout: startLimit,
		Ready: func(ctx context.Context) error {
			return poll(ctx, "Cassandra at "+addr, func(ctx context.Context) error { return answersCQL(ctx, addr) })
		},
	}, nil
}

func cassandraYAML(o Options) string {
	return fmt.Sprintf(`# Written at each start of Cassandra; changes here do not last.
cluster_name: ticktape
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "%[1]s:%[3]d"
listen_address: %[1]s
storage_port: %[3]d
rpc_address: %[1]s
start_native_transport: true
native_transport_port: %[2]d
native_transport_max_frame_size: 64MiB

data_file_directories: ["%[4]s/data"]
commitlog_directory: "%[4]s/commitlog"
saved_caches_directory: "%[4]s/saved_caches"
hints_directory: "%[4]s/hints"
cdc_raw_directory: "%[4]s/cdc_raw"

# Acknowledged means synced: with the default (periodic) a kill -9 loses
# acknowledged counter increments.
commitlog_sync: group
commitlog_sync_group_window: 5ms
commitlog_segment_size: 32MiB
commitlog_total_space: 512MiB
commitlog_disk_access_mode: auto
# A node that can't write ends, and is started again by whoever keeps it, rather
# than go on without answering.
disk_failure_policy: die
commit_failure_policy: die

memtable:
  configurations:
    trie:
      class_name: TrieMemtable
    default:
      inherits: trie
memtable_allocation_type: offheap_objects
memtable_heap_space: %[5]dMiB
memtable_offheap_space: %[5]dMiB
memtable_flush_writers: 1
sstable:
  selected_format: bti
storage_compatibility_mode: NONE
key_cache_size: 16MiB
# Each window's counters are new, and are read from the memtable in less time
# than the cache takes to keep them.
counter_cache_size: 0MiB
row_cache_size: 0MiB
file_cache_size: 64MiB
networking_cache_size: 32MiB
disk_access_mode: mmap_index_only
concurrent_reads: 16
concurrent_writes: 32
concurrent_counter_writes: 32
concurrent_compactors: 1
compaction_throughput: 64MiB/s
native_transport_max_threads: 64
batch_size_warn_threshold: 4096KiB
batch_size_fail_threshold: 16384KiB
auto_snapshot: false
snapshot_before_compaction: false
hinted_handoff_enabled: false
trickle_fsync: true
read_request_timeout: 5s
range_request_timeout: 10s
write_request_timeout: 2s
counter_write_request_timeout: 5s
cas_contention_timeout: 1s
request_timeout: 10s
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
user_defined_functions_enabled: false
materialized_views_enabled: false
dynamic_snitch: false
auto_bootstrap: false
`, host, o.Port, o.PeerPort, o.Dir, max(o.HeapMB/4, 64))
}

// answersCQL asks the node which protocol options it has, the one request that
// every Cassandra answers before any login.
func answersCQL(ctx context.Context, addr string) error {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	const (
		request, response  = 0x04, 0x84 // protocol version 4
		options, supported = 0x05, 0x06
	)
	if _, err := conn.Write([]byte{request, 0, 0, 0, options, 0, 0, 0, 0}); err != nil {
		return err
	}
	var head [9]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[0] != response || head[4] != supported {
		return errors.New("the answer is not CQL")
	}
	return nil
}
