package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"ticktape/deploy/local/servers"
	"ticktape/internal/bus"
	"ticktape/internal/gateway/gatewaytest"
	"ticktape/internal/testbed"
)

// outage is how long a Kafka may take to be back on a machine that is busy.
const outage = 3 * time.Minute

func TestKafkaThatIsKilledAndFrozenCostsNoRecord(t *testing.T) {
	testbed.Kafka(t) // skips where there is to be none at all
	if testing.Short() {
		t.Skip("starts a Kafka of its own, which takes 10 s and 500 MiB: run without -short")
	}
	port, err := servers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	broker, err := servers.StartKafka(t.Context(), servers.Options{Dir: t.TempDir(), Port: port, HeapMB: 256, Say: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Thaw(); _ = broker.Kill() })
	client := bus.New(bus.Config{Brokers: []string{broker.Addr()}})
	defer client.Close()
	const topic, group = "t", "g"
	if err := client.EnsureTopics(t.Context(), bus.Topic{Name: topic, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	producer := client.Producer(topic)
	sent := 0
	send := func(n int) {
		t.Helper()
		var msgs []kafka.Message
		for range n {
			msgs = append(msgs, kafka.Message{Key: []byte(strconv.Itoa(sent % 20)), Value: []byte(strconv.Itoa(sent))})
			sent++
		}
		testbed.Eventually(t, outage, "records are published", func() bool { return producer.Publish(t.Context(), msgs) == nil })
	}

	gw := gatewaytest.New(t)
	var got ledger
	gw.Deploy("f", map[string]string{"topic": topic, "kafka.group": group, "kafka.batch": "protobuf", "kafka.batch.max-records": "50"}, got.add)
	send(500)
	start(t, "KAFKA_BROKERS="+broker.Addr(), "GATEWAY_URL="+gw.URL, "CALL_TIMEOUT=5s", "SESSION_TIMEOUT=10s")
	all := func() bool {
		marks, err := client.Committed(t.Context(), group, topic)
		if err != nil {
			return false
		}
		ends, err := client.Ends(t.Context(), topic, []int{0, 1, 2})
		return err == nil && maps.Equal(marks, ends) && got.values() >= sent
	}
	testbed.Eventually(t, outage, "all records are delivered and committed", all)

	if err := broker.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(500)
	testbed.Eventually(t, outage, "all records are delivered and committed after a kill", all)

	if err := broker.Freeze(); err != nil {
		t.Fatal(err)
	}
	pause(t.Context(), 8*time.Second)
	if err := broker.Thaw(); err != nil {
		t.Fatal(err)
	}
	send(500)
	testbed.Eventually(t, outage, "all records are delivered and committed after a freeze", all)
	got.check(t)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// values counts the different ones that were delivered.
func (l *ledger) values() int {
	seen := map[string]bool{}
	for _, b := range l.snapshot() {
		for _, r := range b.Records {
			seen[string(r.Value)] = true
		}
	}
	return len(seen)
}

// check fails the test where a record was passed over, or came a second time
// without being marked.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	next := map[int]int64{}
	for _, b := range l.snapshot() {
		for _, r := range b.Records {
			switch n := next[b.Partition]; {
			case r.Offset == n:
				next[b.Partition]++
			case r.Offset > n:
				t.Fatalf("partition %d: offset %d comes when it is the turn of %d", b.Partition, r.Offset, n)
			case !b.Resumed:
				t.Errorf("partition %d: offset %d comes again in a batch that is not resumed", b.Partition, r.Offset)
			}
		}
	}
}

func TestAConnectorThatWasFrozenDoesNotTakeBackWhatOthersHaveDone(t *testing.T) {
	topic := testbed.Topic(t, "frozen", 2)
	gw := gatewaytest.New(t)
	var got ledger
	gw.Deploy("f", map[string]string{"topic": topic, "kafka.group": topic + ".g", "kafka.batch": "protobuf", "kafka.batch.max-records": "10"}, got.add)
	env := []string{"GATEWAY_URL=" + gw.URL, "CALL_TIMEOUT=5s", "SESSION_TIMEOUT=6s"}
	publish(t, topic, 100)
	first := start(t, env...)
	testbed.Eventually(t, time.Minute, "100 records are delivered", func() bool { return got.count() == 100 })
	if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	publish(t, topic, 100)
	second := start(t, env...)
	testbed.Eventually(t, time.Minute, "200 records are delivered", func() bool { return got.count() >= 200 })
	if err := first.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, time.Minute, "the first has found out", func() bool {
		return strings.Contains(first.out.String(), "given up this member") || strings.Contains(first.out.String(), "generation=3")
	})
	publish(t, topic, 100)
	testbed.Eventually(t, time.Minute, "300 records are delivered", func() bool { return got.count() >= 300 })
	c := bus.New(bus.Config{Brokers: testbed.Kafka(t)})
	defer c.Close()
	testbed.Eventually(t, time.Minute, "300 records are committed", func() bool {
		marks, err := c.Committed(t.Context(), topic+".g", topic)
		return err == nil && marks[0]+marks[1] == 300
	})
	got.check(t)
	for _, p := range []*process{first, second} {
		if code := p.end(t, syscall.SIGTERM); code != 0 {
			t.Errorf("after SIGTERM the code is %d, want 0", code)
		}
	}
}

// count is the number of records delivered, each time.
func (l *ledger) count() (n int) {
	for _, b := range l.snapshot() {
		n += len(b.Records)
	}
	return n
}

func TestMemoryIsBoundedWhateverTheBacklog(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("reads the peak of a process's memory from /proc, which is not there")
	}
	if testing.Short() {
		t.Skip("writes 200 MB to Kafka: run without -short")
	}
	const partitions, records = 12, 1_200_000
	topic := testbed.Topic(t, "memory", partitions)
	c := bus.New(bus.Config{Brokers: testbed.Kafka(t)})
	defer c.Close()
	p := c.Producer(topic)
	rng := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 120)
	for i := 0; i < records; i += 50_000 {
		msgs := make([]kafka.Message, 50_000)
		for j := range msgs {
			for k := range value[:20] {
				value[k] = byte(rng.Uint32())
			}
			msgs[j] = kafka.Message{Key: fmt.Appendf(nil, "S%d", rng.IntN(500)), Value: slices.Clone(value)}
		}
		if err := p.Publish(t.Context(), msgs); err != nil {
			t.Fatal(err)
		}
	}
	gw := gatewaytest.New(t)
	release := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(release) })
	defer goOn() // or the gateway would wait for calls that hang
	var out atomic.Int32
	hang := func(_ http.ResponseWriter, r *http.Request) {
		out.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	// The limits of process and persist, each with every partition full. What their
	// records have for a time is as good as any.
	for group, most := range map[string]string{".1": "7MiB", ".2": "5MiB"} {
		gw.Deploy("f"+group[1:], map[string]string{
			"topic": topic, "kafka.group": topic + group, "kafka.batch": "protobuf", "kafka.batch.max-records": "100000", "kafka.batch.max-bytes": most,
			"kafka.batch.align": "1s",
		}, hang)
	}
	k := start(t, "GATEWAY_URL="+gw.URL)
	testbed.Eventually(t, time.Minute, "every partition of both has a call out", func() bool { return out.Load() == 2*partitions })
	grown, since := 0, time.Now()
	testbed.Eventually(t, time.Minute, "memory grows no more: the next batches are full too", func() bool {
		// Less than a MiB is what a process touches that waits.
		if kib := memory(t, k, "VmRSS:"); kib > grown+1<<10 {
			grown, since = kib, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
	goOn()
	testbed.Eventually(t, time.Minute, "all is committed", func() bool {
		sum := int64(0)
		for _, group := range []string{".1", ".2"} {
			marks, err := c.Committed(t.Context(), topic+group, topic)
			if err != nil {
				return false
			}
			for _, o := range marks {
				sum += o
			}
		}
		return sum == 2*records
	})
	kib := memory(t, k, "VmHWM:")
	t.Logf("peak memory: %d MiB", kib>>10)
	if kib>>10 > 256 {
		t.Errorf("peak memory is %d MiB, more than 256", kib>>10)
	}
}

// memory reads a field of a process's status, in KiB.
func memory(t *testing.T, p *process, field string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), field)
	kib, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}
