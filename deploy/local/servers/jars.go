package servers

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

//go:embed pom-kafka.xml
var kafkaPOM []byte

//go:embed pom-cassandra.xml
var cassandraPOM []byte

// jars names one server's jars.
type jars struct {
	title string // for people: "Kafka 4.3.1"
	name  string // for folders
	pom   []byte
}

var (
	kafkaJars     = jars{title: "Kafka " + KafkaVersion, name: "kafka-" + KafkaVersion, pom: kafkaPOM}
	cassandraJars = jars{title: "Cassandra " + CassandraVersion, name: "cassandra-" + CassandraVersion, pom: cassandraPOM}
)

const fetchTries = 3

// dir gives the folder with the jars, which it fetches with Maven where it is
// absent. The folder appears under its name only when it is whole, and two
// processes that want it at once fetch it once.
func (j jars) dir(ctx context.Context, cache string, say func(string)) (string, error) {
	sum := sha256.Sum256(j.pom)
	want := filepath.Join(cache, "jars", j.name+"-"+hex.EncodeToString(sum[:4]))
	if whole(want) {
		return want, nil
	}
	if err := os.MkdirAll(filepath.Dir(want), 0o755); err != nil {
		return "", fmt.Errorf("make the folder for jars: %w", err)
	}
	unlock, err := lock(ctx, want+".lock")
	if err != nil {
		return "", fmt.Errorf("wait for another process that fetches %s: %w", j.title, err)
	}
	defer unlock()
	if whole(want) {
		return want, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("%s comes from Maven's repository and Maven is not installed: run `make tools`, or install the package maven", j.title)
	}
	var last error
	for try := range fetchTries {
		if try > 0 {
			say(fmt.Sprintf("%s: download failed, trying again (%d of %d)", j.title, try+1, fetchTries))
			select {
			case <-time.After(time.Duration(try) * 3 * time.Second):
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		if last = j.fetch(ctx, mvn, want, say); last == nil {
			return want, nil
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	return "", fmt.Errorf("download %s with Maven: %w; check the network (or Maven's settings.xml for a proxy) and start again, what has arrived is kept", j.title, last)
}

func whole(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}

func (j jars) fetch(ctx context.Context, mvn, want string, say func(string)) error {
	tmp, err := os.MkdirTemp(filepath.Dir(want), ".part-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	pom := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(pom, j.pom, 0o644); err != nil {
		return err
	}
	lib := filepath.Join(tmp, "lib")
	cmd := exec.CommandContext(ctx, mvn, "-B", "-f", pom, "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies", "-DoutputDirectory="+lib)
	cmd.Dir = tmp
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	var files atomic.Int64
	finished := make(chan struct{})
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				say(fmt.Sprintf("%s: downloading, %d files so far", j.title, files.Load()))
			case <-finished:
				return
			}
		}
	}()
	complaint := mavenOutput(out, &files)
	err = cmd.Wait()
	close(finished)
	<-reported
	if err != nil {
		if complaint != "" {
			return errors.New(complaint)
		}
		return err
	}
	if names, err := filepath.Glob(filepath.Join(lib, "*.jar")); err != nil || len(names) == 0 {
		return errors.New("maven said it was done and brought no jars")
	}
	return os.Rename(lib, want)
}

// mavenOutput counts what Maven downloads and gives its first complaint.
func mavenOutput(out io.Reader, files *atomic.Int64) (complaint string) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.Contains(line, "Downloaded from"):
			files.Add(1)
		case complaint == "" && strings.HasPrefix(line, "[ERROR]"):
			complaint = strings.TrimSpace(strings.TrimPrefix(line, "[ERROR]"))
		}
	}
	// Whatever ended the scan, Maven must be able to go on writing.
	_, _ = io.Copy(io.Discard, out)
	return complaint
}

// lock takes the file lock at path, which the kernel gives back when this
// process ends, however it ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}
