package service

import (
	"fmt"
	"os"
	"strings"
)

// ReadEnvFile adds to the environment what the file that ENV_FILE names has in
// lines NAME=value, as docker's --env-file reads them: no quotes, # begins a
// comment. It is for settings that are only known once something else runs. What
// the environment has already stays. Main calls it; it is for processes that do
// without Main.
func ReadEnvFile() error {
	path := os.Getenv("ENV_FILE")
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Settingf("ENV_FILE: %v: name a file with lines NAME=value, or unset it", err)
	}
	settings, err := parseEnvFile(string(text))
	if err != nil {
		return Settingf("ENV_FILE=%q: %v", path, err)
	}
	for _, kv := range settings {
		if _, set := os.LookupEnv(kv[0]); set {
			continue
		}
		if err := os.Setenv(kv[0], kv[1]); err != nil {
			return Settingf("ENV_FILE=%q: %s: %v", path, kv[0], err)
		}
	}
	return nil
}

func parseEnvFile(text string) (settings [][2]string, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("line %d is not NAME=value", n)
		}
		settings = append(settings, [2]string{name, value})
	}
	return settings, nil
}
