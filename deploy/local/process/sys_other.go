//go:build !linux

package process

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func ps(pid int, column string) string {
	out, err := exec.Command("ps", "-o", column+"=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// Birth identifies the process that has pid at this moment: a pid is used again,
// a pid with its birth is not. It is empty where there is no such process.
func Birth(pid int) string { return ps(pid, "lstart") }

// RSS is the resident memory of the process in bytes, 0 where unknown.
func RSS(pid int) int64 {
	kib, err := strconv.ParseInt(ps(pid, "rss"), 10, 64)
	if err != nil {
		return 0
	}
	return kib * 1024
}

// Frozen says whether the process is stopped by a signal.
func Frozen(pid int) bool { return strings.HasPrefix(ps(pid, "state"), "T") }
