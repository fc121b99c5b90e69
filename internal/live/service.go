package live

import (
	"context"
	"fmt"

	"ticktape/internal/bus"
	"ticktape/internal/store"
	"ticktape/internal/trigger"
)

// Service is a Processor that connects to Cassandra and Kafka, as the environment
// says, when the first batch comes, and tries again with the next one where that
// fails. It is safe for concurrent use.
type Service struct {
	store *store.Lazy

	turn      chan struct{} // holds one token: whoever took it may make the processor
	processor *Processor    // written by the holder of the token
}

// NewService makes a Service. It does not connect.
func NewService() *Service {
	return &Service{store: store.NewLazy(store.ConfigFromEnv), turn: make(chan struct{}, 1)}
}

// Process is Processor.Process. A connection that can't be had is an error like
// any other.
func (s *Service) Process(ctx context.Context, b *trigger.Batch) (trigger.Failures, error) {
	st, err := s.store.Get(ctx)
	if err != nil {
		return nil, putOff(b, err)
	}
	p, err := s.connected(ctx, st)
	if err != nil {
		return nil, putOff(b, err)
	}
	return p.Process(ctx, b)
}

// connected returns the processor on the topic of windows, which it creates where
// nobody has: no one else writes to it.
func (s *Service) connected(ctx context.Context, st *store.Store) (*Processor, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the connection to Kafka: %w", ctx.Err())
	}
	if s.processor != nil {
		return s.processor, nil
	}
	cfg, err := bus.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	client := bus.New(cfg)
	for _, t := range bus.StandardTopics(cfg) {
		if t.Name != cfg.WindowsTopic {
			continue
		}
		if err := client.EnsureTopics(ctx, t); err != nil {
			client.Close()
			return nil, err
		}
	}
	s.processor = &Processor{Store: st, Windows: client.ProducerBy(cfg.WindowsTopic, symbolOf)}
	return s.processor, nil
}
