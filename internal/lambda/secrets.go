package lambda

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

// secretPrefix begins the variables that hold secrets: SECRET_TRIGGER_TOKEN is
// the secret "trigger-token".
const secretPrefix = "SECRET_"

// secretsFromEnv lays the secrets of the environment where service.Secret looks
// for them: AWS gives a function variables, and no files. SECRETS_DIR names a
// folder instead, such as a mounted one.
//
// Where nobody has set a token, one is made up: calls of events carry it, and
// nobody else knows it, so that requests that need it are refused.
func secretsFromEnv() error {
	secrets := map[string]string{}
	for _, variable := range os.Environ() {
		key, value, _ := strings.Cut(variable, "=")
		name, ok := strings.CutPrefix(key, secretPrefix)
		if !ok || name == "" || value == "" {
			continue
		}
		secrets[strings.ToLower(strings.ReplaceAll(name, "_", "-"))] = value
		if err := os.Unsetenv(key); err != nil {
			return fmt.Errorf("take the secret %s out of the environment: %w", key, err)
		}
	}
	if os.Getenv("SECRETS_DIR") != "" {
		if len(secrets) > 0 {
			return service.Settingf("SECRETS_DIR and variables that begin with %s are both set: use one of the two", secretPrefix)
		}
		return nil
	}
	if secrets[trigger.TokenSecret] == "" {
		secrets[trigger.TokenSecret] = rand.Text()
	}
	dir, err := os.MkdirTemp("", "secrets") // readable by nobody else
	if err != nil {
		return fmt.Errorf("make a folder for secrets: %w", err)
	}
	for name, value := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			return fmt.Errorf("keep a secret: %w", err)
		}
	}
	return os.Setenv("SECRETS_DIR", dir)
}
