package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// clockTicks is the unit of /proc's CPU times: USER_HZ is 100 on every Linux
// that Go runs on.
const clockTicks = 100

// usage is what a process has used since it started.
type usage struct {
	cpu  float64 // seconds, user and system
	peak int64   // bytes of memory, the most at any time
}

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

func usageOf(pid int) (usage, error) {
	cpu, err := cpuOf(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	u := usage{cpu: cpu}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return usage{}, err
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			if err != nil {
				return usage{}, err
			}
			u.peak = kib << 10
		}
	}
	return u, nil
}

// usages reads all of the processes; those that are gone are left out.
func usages(pids map[string]int) map[string]usage {
	all := map[string]usage{}
	for name, pid := range pids {
		if u, err := usageOf(pid); err == nil {
			all[name] = u
		}
	}
	return all
}
