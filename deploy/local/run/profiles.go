package run

import (
	"os"

	"ticktape/internal/service"
)

// profiles tells where the process serves Go's profiles, empty where it serves
// none. A log that was begun anew lies beside its successor.
func profiles(log string, pid int) string {
	for _, path := range []string{log, log + ".1"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if url := service.PprofURL(text, pid); url != "" {
			return url
		}
	}
	return ""
}
