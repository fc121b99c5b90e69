package store

import (
	"context"
	"fmt"
)

// Lazy opens a Store when it is first asked for, so that a function starts and
// is healthy whether or not Cassandra is there. An attempt that failed is made
// again at the next call; a Store that was opened reconnects by itself. It is
// safe for concurrent use.
type Lazy struct {
	config func() (Config, error)
	turn   chan struct{} // holds one token: whoever took it may open
	store  *Store        // written by the holder of the token
}

// NewLazy returns a Lazy with the settings that config returns when it is
// first needed, as ConfigFromEnv does.
func NewLazy(config func() (Config, error)) *Lazy {
	return &Lazy{config: config, turn: make(chan struct{}, 1)}
}

// Get returns the Store, which stays open for the life of the process. Of calls
// at one time one connects and the others wait for it, or for the end of ctx.
func (l *Lazy) Get(ctx context.Context) (*Store, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the connection to Cassandra: %w", ctx.Err())
	}
	if l.store == nil {
		cfg, err := l.config()
		if err != nil {
			return nil, err
		}
		if l.store, err = Open(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return l.store, nil
}
