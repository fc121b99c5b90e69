package gateway

import (
	"io"
	"sync"
)

// body reads parts one after the other. http.Transport may go on reading it for
// a while after the call has been given up: Close makes it let go of the parts,
// which the caller then uses again.
type body struct {
	mu    sync.Mutex
	parts [][]byte
}

func newBody(parts [][]byte) *body {
	b := &body{}
	for _, p := range parts {
		if len(p) > 0 {
			b.parts = append(b.parts, p)
		}
	}
	return b
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.parts[0])
	if b.parts[0] = b.parts[0][n:]; len(b.parts[0]) == 0 {
		b.parts = b.parts[1:]
	}
	return n, nil
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = nil
	return nil
}
