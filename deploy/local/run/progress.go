package run

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Progress tells people what is going on: a line for everything that was done,
// and, after two seconds of silence, what is still under way. On a terminal that
// is one line that changes; elsewhere it is a line now and then.
type Progress struct {
	out      *os.File
	terminal bool
	begun    time.Time

	mu     sync.Mutex
	active []string // what is under way, oldest first
	detail map[string]string
	last   time.Time // of the last line
	shown  bool      // the changing line is on the terminal
	stop   chan struct{}
	done   chan struct{}
}

const (
	silence  = 2 * time.Second
	interval = 5 * time.Second // between lines where there is no terminal
)

// NewProgress begins to tell. Close ends it.
func NewProgress(out *os.File) *Progress {
	p := &Progress{out: out, begun: time.Now(), last: time.Now(), detail: map[string]string{}, stop: make(chan struct{}), done: make(chan struct{})}
	info, err := out.Stat()
	p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	go p.tell()
	return p
}

// Close waits until nothing more is told.
func (p *Progress) Close() {
	close(p.stop)
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
}

func (p *Progress) tell() {
	defer close(p.done)
	tick := time.NewTicker(silence / 4)
	defer tick.Stop()
	var told time.Time
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		quiet := time.Since(p.last)
		switch {
		case len(p.active) == 0 || quiet < silence:
		case p.terminal:
			p.wipe()
			// Longer than the terminal is wide it would not be one line.
			fmt.Fprintf(p.out, "%.78s", p.stamp("… "+p.underWay()))
			p.shown = true
		case time.Since(told) >= interval:
			told = time.Now()
			fmt.Fprintln(p.out, p.stamp("… "+p.underWay()))
		}
		p.mu.Unlock()
	}
}

func (p *Progress) underWay() string {
	var all []string
	for _, name := range p.active {
		if d := p.detail[name]; d != "" {
			name += " (" + d + ")"
		}
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

func (p *Progress) wipe() {
	if p.shown {
		fmt.Fprint(p.out, "\r\033[K")
		p.shown = false
	}
}

func (p *Progress) stamp(text string) string {
	return fmt.Sprintf("%4.0f s  %s", time.Since(p.begun).Seconds(), text)
}

func (p *Progress) line(text string) {
	p.wipe()
	p.last = time.Now()
	fmt.Fprintln(p.out, p.stamp(text))
}

// Say prints a line.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(fmt.Sprintf(format, args...))
}

// Text prints lines as they are.
func (p *Progress) Text(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wipe()
	p.last = time.Now()
	fmt.Fprintln(p.out, text)
}

// Begin says that something has been begun; it is told of again while it lasts.
func (p *Progress) Begin(what string) *Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active = append(p.active, what)
	return &Step{p: p, what: what, begun: time.Now()}
}

// Step is something under way.
type Step struct {
	p     *Progress
	what  string
	begun time.Time
}

// Detail is told along with the step while it lasts.
func (s *Step) Detail(text string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.p.detail[s.what] = text
}

// End ends the step, with a line where there is something to say.
func (s *Step) End(said string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if i := slices.Index(s.p.active, s.what); i >= 0 {
		s.p.active = slices.Delete(s.p.active, i, i+1)
	}
	delete(s.p.detail, s.what)
	if said != "" {
		s.p.line(said)
	}
}
