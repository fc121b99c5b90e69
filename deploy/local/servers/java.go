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

// javaGood are the Java versions that both servers were tried on, best first:
// Kafka 4 needs 17; Cassandra 5.0 is made for 11 and 17, and runs on 21 where a
// security manager is allowed, which Java 24 takes away for good.
var javaGood = []int{17, 21}

// ErrNoJava is returned where no Java that will do is found.
var ErrNoJava = errors.New("Java 17 or 21 was not found: run `make tools`, or install it (Debian and Ubuntu: apt-get install openjdk-17-jre-headless, Debian 13: openjdk-21-jre-headless) and set JAVA_HOME where it is not in the usual places")

// Java gives the java program of a Java 17 or 21: JAVA_HOME's where that is one, else
// the first of the usual places that has one.
func Java(ctx context.Context) (string, error) {
	var places []string
	// A JAVA_HOME that other projects need is no reason to stop where a Java 17 is in its usual place.
	if home := os.Getenv("JAVA_HOME"); home != "" {
		places = append(places, filepath.Join(home, "bin", "java"))
	}
	if java, err := exec.LookPath("java"); err == nil {
		places = append(places, java)
	}
	for _, v := range javaGood {
		for _, pattern := range []string{
			"/usr/lib/jvm/*%d*/bin/java",
			"/Library/Java/JavaVirtualMachines/*%d*/Contents/Home/bin/java",
			"/opt/homebrew/opt/openjdk@%d/bin/java",
		} {
			found, _ := filepath.Glob(fmt.Sprintf(pattern, v)) // the patterns are well-formed
			slices.Sort(found)
			places = append(places, found...)
		}
	}
	for _, java := range places {
		if v, err := javaVersion(ctx, java); err == nil && slices.Contains(javaGood, v) {
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
