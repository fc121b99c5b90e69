package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	logFileLimit = 8 << 20 // bytes before the file becomes NAME.1 and a new one is begun
	logTail      = 1000    // lines kept in memory
	logLineLimit = 16 << 10
)

// Line is one line that a child wrote.
type Line struct {
	Time time.Time
	Text string // without its line end
}

// Log keeps what a child writes: all of it in a file of bounded size, the last
// lines in memory, and each line for those who follow. One Log serves a child's
// lives one after another. It is safe for concurrent use.
type Log struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64
	partial []byte
	tail    []Line
	follow  map[chan Line]struct{}
}

// OpenLog opens the log file at path, adding to what is there. An empty path
// keeps lines in memory only.
func OpenLog(path string) (*Log, error) {
	l := &Log{path: path, follow: map[chan Line]struct{}{}}
	if path == "" {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the log: %w", err)
	}
	return l, l.open()
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open log: %w", err)
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Path is the log's file, empty where there is none.
func (l *Log) Path() string { return l.path }

// Write never fails: a child must not die because the disk that keeps its log is full.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		if l.size > logFileLimit {
			l.rotate()
		}
		if n, err := l.file.Write(b); err == nil {
			l.size += int64(n)
		}
	}
	rest := b
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		l.partial = append(l.partial, rest[:i]...)
		l.endLine()
		rest = rest[i+1:]
	}
	l.partial = append(l.partial, rest...)
	if len(l.partial) > logLineLimit {
		l.endLine()
	}
	return len(b), nil
}

func (l *Log) rotate() {
	l.file.Close()
	l.file = nil
	// Where renaming fails the file goes on growing, which loses nothing.
	_ = os.Rename(l.path, l.path+".1")
	_ = l.open()
}

func (l *Log) endLine() {
	line := Line{Time: time.Now(), Text: string(bytes.TrimRight(l.partial, "\r"))}
	l.partial = l.partial[:0]
	if len(l.tail) >= 2*logTail {
		l.tail = append(l.tail[:0], l.tail[logTail:]...)
	}
	l.tail = append(l.tail, line)
	for ch := range l.follow {
		select {
		case ch <- line:
		default: // a follower that does not keep up misses lines; the child never waits for it
		}
	}
}

func (l *Log) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.endLine()
	}
}

// Tail gives the last n lines at most.
func (l *Log) Tail(n int) []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last(n)
}

func (l *Log) last(n int) []Line {
	if n > len(l.tail) {
		n = len(l.tail)
	}
	return append([]Line(nil), l.tail[len(l.tail)-n:]...)
}

// Follow gives the last n lines and a channel of those that come after, with
// none between lost. cancel ends it and closes the channel.
func (l *Log) Follow(n int) (past []Line, next <-chan Line, cancel func()) {
	ch := make(chan Line, 1024)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.follow[ch] = struct{}{}
	return l.last(n), ch, sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if _, open := l.follow[ch]; open {
			delete(l.follow, ch)
			close(ch)
		}
	})
}

// Close closes the file and ends all followers. Lines written after it are kept in memory only.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ch := range l.follow {
		delete(l.follow, ch)
		close(ch)
	}
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}
