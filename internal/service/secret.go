package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Secret reads the secret of that name, which is a file in the folder
// SECRETS_DIR (default /var/openfaas/secrets, where OpenFaaS mounts them).
// White space at its end is not part of it. A secret that is absent or empty is
// an error, so that nothing is ever protected by an empty token.
func Secret(name string) (string, error) {
	dir := os.Getenv("SECRETS_DIR")
	if dir == "" {
		dir = "/var/openfaas/secrets"
	}
	if name != filepath.Base(name) {
		return "", fmt.Errorf("secret name %q is a path", name)
	}
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("secret %s is missing: put it into %s, or set SECRETS_DIR to the folder that has it", name, path)
	}
	if err != nil {
		return "", fmt.Errorf("read secret %s: %w", name, err)
	}
	s := strings.TrimRight(string(b), " \t\r\n")
	if s == "" {
		return "", fmt.Errorf("secret %s is empty: write it into %s", name, path)
	}
	return s, nil
}
