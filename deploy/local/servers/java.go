package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Java that both servers run on: Kafka 4 needs 17, Cassandra 5.0 runs on 11 and 17 only.
const javaWanted = 17

// ErrNoJava is returned where no Java 17 is found.
var ErrNoJava = errors.New("Java 17 was not found: run `make tools`, or install it (Debian and Ubuntu: openjdk-17-jre-headless) and set JAVA_HOME where it is not in the usual places")

// Java gives the java program of a Java 17: JAVA_HOME's where that is set, else
// the first of the usual places that has one.
func Java(ctx context.Context) (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java := filepath.Join(home, "bin", "java")
		v, err := javaVersion(ctx, java)
		if err == nil && v == javaWanted {
			return java, nil
		}
		// A JAVA_HOME that other projects need is no reason to stop where a Java 17 is in its usual place.
	}
	var places []string
	if java, err := exec.LookPath("java"); err == nil {
		places = append(places, java)
	}
	for _, pattern := range []string{
		"/usr/lib/jvm/*17*/bin/java",
		"/Library/Java/JavaVirtualMachines/*17*/Contents/Home/bin/java",
		"/opt/homebrew/opt/openjdk@17/bin/java",
	} {
		found, _ := filepath.Glob(pattern)
		slices.Sort(found)
		places = append(places, found...)
	}
	for _, java := range places {
		if v, err := javaVersion(ctx, java); err == nil && v == javaWanted {
			return java, nil
		}
	}
	return "", ErrNoJava
}

var versionLine = regexp.MustCompile(`version "(\d+)`)

func javaVersion(ctx context.Context, java string) (int, error) {
	out, err := exec.CommandContext(ctx, java, "-version").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run %s -version: %w", java, err)
	}
	m := versionLine.FindSubmatch(bytes.TrimSpace(out))
	if m == nil {
		return 0, fmt.Errorf("%s -version gave no version", java)
	}
	return strconv.Atoi(string(m[1]))
}

// classPath lists every jar: a wildcard would leave their order to chance.
func classPath(dir string, first ...string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.jar"))
	if err != nil {
		return "", fmt.Errorf("list jars: %w", err)
	}
	slices.Sort(names)
	return strings.Join(append(first, names...), string(os.PathListSeparator)), nil
}
