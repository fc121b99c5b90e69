package run

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"ticktape/internal/service"
)

func TestStatusTellsWhereProfilesAre(t *testing.T) {
	t.Setenv("PPROF", "1")
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		t.Run("in a log of "+name, func(t *testing.T) {
			var out bytes.Buffer
			defer slog.SetDefault(slog.Default())
			slog.SetDefault(slog.New(handler(&out)))
			url, stop, err := service.StartPprof()
			if err != nil {
				t.Fatal(err)
			}
			stop()
			path := filepath.Join(t.TempDir(), "x.log")
			text := fmt.Sprintf("something else\n%s", out.String())
			// What a process of another life, or another replica, said is not this one's.
			text += fmt.Sprintf(`msg="pprof listens" url=http://127.0.0.1:1/debug/pprof/ pid=%d1`+"\n", os.Getpid())
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := profiles(path, os.Getpid()); got != url {
				t.Errorf("found %q, want %q in\n%s", got, url, text)
			}
			if got := profiles(path, 1); got != "" {
				t.Errorf("found %q of a process that serves none", got)
			}
		})
	}
}
