package run

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Progress tells people what is going on: a line for everything that was done,
// and after two seconds of silence what is still under way.
type Progress struct {
	out   io.Writer
	begun time.Time

	mu     sync.Mutex
	active []string // what is under way, oldest first
	detail map[string]string
	last   time.Time
	stop   chan struct{}
	done   chan struct{}
}

const silence = 2 * time.Second

// NewProgress begins to tell. Close ends it.
func NewProgress(out io.Writer) *Progress {
	p := &Progress{out: out, begun: time.Now(), last: time.Now(), detail: map[string]string{}, stop: make(chan struct{}), done: make(chan struct{})}
	go p.tell()
	return p
}

// Close waits until nothing more is told.
func (p *Progress) Close() {
	close(p.stop)
	<-p.done
}

func (p *Progress) tell() {
	defer close(p.done)
	tick := time.NewTicker(silence / 4)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		if len(p.active) > 0 && time.Since(p.last) >= silence {
			var all []string
			for _, name := range p.active {
				if d := p.detail[name]; d != "" {
					name += " (" + d + ")"
				}
				all = append(all, name)
			}
			p.line("… " + strings.Join(all, ", "))
		}
		p.mu.Unlock()
	}
}

func (p *Progress) line(text string) {
	p.last = time.Now()
	fmt.Fprintf(p.out, "%4.0f s  %s\n", time.Since(p.begun).Seconds(), text)
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
