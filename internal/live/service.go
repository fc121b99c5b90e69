package live

import (
	"context"
	"sync"

	"ticktape/internal/bus"
	"ticktape/internal/store"
	"ticktape/internal/trigger"
)

// Service is a Processor that connects to Cassandra and Kafka, as the environment
// says, when the first batch comes, and tries again with the next one where that
// fails. It is safe for concurrent use.
type Service struct {
	store *store.Lazy

	mu       sync.Mutex
	producer *bus.Producer
}

// NewService makes a Service. It does not connect.
func NewService() *Service {
	return &Service{store: store.NewLazy(store.ConfigFromEnv)}
}

// Process is Processor.Process. A connection that can't be had is an error like
// any other.
func (s *Service) Process(ctx context.Context, b *trigger.Batch) (trigger.Failures, error) {
	p, err := s.connect(ctx)
	if err != nil {
		return nil, putOff(b, err)
	}
	return p.Process(ctx, b)
}

func (s *Service) connect(ctx context.Context) (*Processor, error) {
	st, err := s.store.Get(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.producer == nil {
		cfg, err := bus.ConfigFromEnv()
		if err != nil {
			return nil, err
		}
		s.producer = bus.New(cfg).Producer(cfg.WindowsTopic)
	}
	return &Processor{Store: st, Windows: s.producer}, nil
}
