package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
)

// clockTicks is the unit of /proc's CPU times: USER_HZ is 100 on every Linux
// that Go runs on.
const clockTicks = 100

// cpuOf reads the seconds from a stat file of /proc, a process's or a thread's.
func cpuOf(path string) (float64, error) {
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The name in brackets may hold anything; utime and stime are the 14th and
	// 15th field, so the 12th and 13th behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	return float64(user+system) / clockTicks, err
}

// memoryOf reads a line of /proc's status file, such as VmHWM, the most memory
// that the process has had, or VmRSS, what it has. In bytes.
func memoryOf(pid int, line string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for l := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(l, []byte(line+":")); ok {
			kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", pid, line)
}

// costs are CPU seconds of each process, in whatever unit they are divided by.
type costs map[string]float64

func (c costs) together() float64 {
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(c)) {
		sum += c[name]
	}
	return sum
}

// peaks are the most bytes of memory that each process had.
type peaks map[string]int64

// meter measures what processes use from its making on.
type meter struct {
	pids   map[string]int
	before costs
}

// meter starts to measure the bench's processes.
func (b *bench) meter() *meter {
	m := &meter{pids: b.pids(), before: costs{}}
	for name, pid := range m.pids {
		// The peak begins anew; where the kernel does not let us, it stays that of the process's life.
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
		if cpu, err := cpuOf(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			m.before[name] = cpu
		}
	}
	return m
}

// read tells what has been used since, CPU seconds divided by per. A process
// that is not the one it was, which has crashed then, is an error.
func (m *meter) read(b *bench, per float64) (costs, peaks, error) {
	cpu, peak := costs{}, peaks{}
	now := b.pids()
	for name, pid := range m.pids {
		if now[name] != pid {
			return nil, nil, fmt.Errorf("%s was started again in the middle of it: its log is in %s", name, b.dir)
		}
	}
	for name, pid := range now {
		used, err := cpuOf(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil {
			peak[name], err = memoryOf(pid, "VmHWM")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("what %s has used can't be told: %w", name, err)
		}
		cpu[name] = (used - m.before[name]) / per
	}
	return cpu, peak, nil
}
