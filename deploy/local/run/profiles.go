package run

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
)

// profiles finds where the process serves Go's profiles: the last that its log,
// or the one before it, says of them. It is empty where it serves none.
func profiles(log string, pid int) string {
	line := regexp.MustCompile(fmt.Sprintf(`(?m)^.*pprof listens.*(http://[0-9.:\[\]a-f]+/debug/pprof/).*\bpid\W{1,3}%d\b.*$`, pid))
	for _, path := range []string{log, log + ".1"} {
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("pprof listens")) {
			continue
		}
		if all := line.FindAllSubmatch(text, -1); len(all) > 0 {
			return string(all[len(all)-1][1])
		}
	}
	return ""
}
