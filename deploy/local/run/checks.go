package run

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// checkPorts finds out before anything is started whether all ports are free.
func (c *Config) checkPorts() error {
	ports := []struct {
		variable, use string
		port          int
		ours          bool
	}{
		{"FUNCTIONS_PORT", "functions", c.FunctionsPort, true},
		{"DASHBOARD_PORT", "dashboard", c.DashboardPort, !c.alone},
		{"KAFKA_PORT", "Kafka", c.KafkaPort, c.ownKafka()},
		{"CASSANDRA_PORT", "Cassandra", c.CassandraPort, c.ownCassandra()},
		{"MARKET_PORT", "simulated market", c.MarketPort, c.Source != "yahoo"},
	}
	var problems []error
	for _, p := range ports {
		if !p.ours {
			continue
		}
		l, err := net.Listen("tcp", local(p.port))
		switch {
		case err == nil:
			if err := l.Close(); err != nil {
				return fmt.Errorf("try port %d: %w", p.port, err)
			}
		case errors.Is(err, syscall.EADDRINUSE):
			problems = append(problems, fmt.Errorf("port %d (%s) is taken%s: stop that, or choose another, as in %s=%d make run", p.port, p.use, listener(p.port), p.variable, p.port+10000))
		default:
			problems = append(problems, fmt.Errorf("port %d (%s) can't be used: %w; choose another, as in %s=18080 make run", p.port, p.use, err, p.variable))
		}
	}
	return errors.Join(problems...)
}

// listener tells which program listens on the port, where that can be found out.
func listener(port int) string {
	inode := ""
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			// sl local_address rem_address st … inode is the tenth.
			fields := strings.Fields(lines.Text())
			if len(fields) > 9 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				inode = fields[9]
			}
		}
		f.Close()
	}
	if inode == "" {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == "socket:["+inode+"]" {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile("/proc/" + pid + "/comm")
			return fmt.Sprintf(" by %s (pid %s)", bytes.TrimSpace(name), pid)
		}
	}
	return ""
}

const (
	mib = 1 << 20
	gib = 1 << 30
)

// need is about what the whole takes when it is busy, in bytes: each Java
// process its heap and half of that beside it, and the Go processes.
func (c *Config) need() int64 {
	var n int64 = 700 * mib
	if c.ownKafka() {
		n += int64(c.KafkaHeap)*mib + 200*mib
	}
	if c.ownCassandra() {
		n += int64(c.CassandraHeap)*mib*3/2 + 200*mib
	}
	return n
}

const lessMemory = "close other programs, or give the servers less, as in KAFKA_HEAP=256m CASSANDRA_HEAP=512m make run"

// checkMemory is an error where the machine has clearly too little, and a
// warning where it is tight.
func (c *Config) checkMemory() (warning string, err error) {
	free := availableMemory()
	if free == 0 {
		return "", nil
	}
	have := fmt.Sprintf("memory is short: %.1f GiB are free and %.1f GiB may be needed", float64(free)/gib, float64(c.need())/gib)
	switch {
	case free < c.need()/2:
		return "", fmt.Errorf("%s: %s", have, lessMemory)
	case free < c.need():
		return have + ": if a part dies, " + lessMemory, nil
	}
	return "", nil
}

// availableMemory is what the kernel says can be had without swapping, or what
// the control group leaves, whichever is less; 0 where unknown.
func availableMemory() int64 {
	var free int64
	if f, err := os.Open("/proc/meminfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "MemAvailable:" {
				kib, _ := strconv.ParseInt(fields[1], 10, 64)
				free = kib * 1024
			}
		}
	}
	limit, used := number("/sys/fs/cgroup/memory.max"), number("/sys/fs/cgroup/memory.current")
	if limit > 0 && limit-used < free {
		// What is used includes files in the cache, which the kernel gives back.
		free = limit - used + stat("/sys/fs/cgroup/memory.stat", "inactive_file")
	}
	return free
}

func number(path string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64)
	return n
}

func stat(path, name string) int64 {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}

const (
	diskNeed = 2 * gib
	diskLow  = gib / 2
)

// freeDisk is what this user may still write at dir, in bytes; -1 where unknown.
func freeDisk(dir string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

func (c *Config) checkDisk() error {
	free := freeDisk(c.Dir)
	if free >= 0 && free < diskNeed {
		return fmt.Errorf("the disk is full: %.1f GiB are free at %s and 2 GiB are needed: make room, or put the data elsewhere, as in TICKTAPE_DIR=/mnt/ticktape make run", float64(free)/gib, c.Dir)
	}
	return nil
}
