package provider

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

var validSecret = regexp.MustCompile(`^[a-zA-Z0-9]([-._a-zA-Z0-9]{0,251}[a-zA-Z0-9])?$`)

// Secrets are files that only their owner reads. A function gets a folder with
// links to those it lists, so that one it forgot to list is missing here as it
// would be in a cluster.

// SetSecret creates or replaces a secret. Functions that have it see the new value in the file.
func (p *Provider) SetSecret(name string, value []byte) error {
	if !validSecret.MatchString(name) {
		return clientErrorf(http.StatusBadRequest, "secret name %q can't be used: letters, digits, dots, dashes and underscores only", name)
	}
	return writeFile(filepath.Join(p.secretsDir(), name), value, 0o600)
}

func (p *Provider) hasSecret(name string) bool {
	if !validSecret.MatchString(name) {
		return false
	}
	_, err := os.Stat(filepath.Join(p.secretsDir(), name))
	return err == nil
}

func (p *Provider) removeSecret(name string) error {
	if !p.hasSecret(name) {
		return clientErrorf(http.StatusNotFound, "secret %s does not exist", name)
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, f := range p.functions {
		if slices.Contains(f.deployment.Secrets, name) {
			return clientErrorf(http.StatusConflict, "secret %s is used by function %s: remove the function first", name, f.deployment.Service)
		}
	}
	if err := os.Remove(filepath.Join(p.secretsDir(), name)); err != nil {
		return fmt.Errorf("remove secret %s: %w", name, err)
	}
	return nil
}

func (p *Provider) secretNames() ([]string, error) {
	entries, err := os.ReadDir(p.secretsDir())
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", err)
	}
	var names []string
	for _, e := range entries {
		if validSecret.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// mountSecrets makes the folder with the function's secrets.
func (p *Provider) mountSecrets(function string, names []string) (string, error) {
	for _, name := range names {
		if !p.hasSecret(name) {
			return "", clientErrorf(http.StatusBadRequest, "secret %s does not exist: faas-cli secret create %s", name, name)
		}
	}
	dir := filepath.Join(p.mountsDir(), function)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("give %s its secrets: %w", function, err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("give %s its secrets: %w", function, err)
	}
	for _, e := range old {
		if !slices.Contains(names, e.Name()) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return "", fmt.Errorf("take a secret from %s: %w", function, err)
			}
		}
	}
	for _, name := range names {
		err := os.Symlink(filepath.Join(p.secretsDir(), name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("give %s its secrets: %w", function, err)
		}
	}
	return dir, nil
}
