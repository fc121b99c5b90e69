package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// Birth identifies the process that has pid at this moment: a pid is used again,
// a pid with its birth is not. It is empty where there is no such process.
func Birth(pid int) string {
	fields := stat(pid)
	// Fields 3 (state) and 22 (start time in clock ticks since boot) of proc(5).
	if len(fields) < 20 || string(fields[0]) == "Z" {
		return ""
	}
	return string(fields[19])
}

// RSS is the resident memory of the process in bytes, 0 where unknown.
func RSS(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// Frozen says whether the process is stopped by a signal.
func Frozen(pid int) bool {
	fields := stat(pid)
	return len(fields) > 0 && string(fields[0]) == "T"
}

// stat gives the fields of /proc/PID/stat from the third on: the second is the
// program's name, which may hold blanks.
func stat(pid int) [][]byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return nil
	}
	return bytes.Fields(b[i+1:])
}
