// Package lambda makes a function's handler answer what AWS Lambda invokes it
// with: an event of a Kafka event source mapping becomes a call for each
// partition, as the connector for Kafka makes it; a schedule's event becomes a
// POST with the token; a request to a function URL or an HTTP API (payload format
// 2.0) becomes that request. deploy/lambda/README.md says what that means for
// those who run it, and docs/exactly-once.md why every record still counts once.
//
// It is not for AWS's Runtime API, which is aws-lambda-go's (template/aws-lambda).
package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	handler "github.com/openfaas/templates-sdk/go-http"
	"github.com/segmentio/kafka-go"

	"ticktape/internal/bus"
	"ticktape/internal/deadletter"
	"ticktape/internal/handling"
	"ticktape/internal/service"
	"ticktape/internal/store"
	"ticktape/internal/trigger"
)

// Config is how a handler is invoked. Its fields are set by the environment
// variables in their tags.
type Config struct {
	// Name is the function's, as AWS gives it.
	Name string `env:"AWS_LAMBDA_FUNCTION_NAME" envDefault:"function"`
	// Claims has the records of each call claimed in Cassandra, so that a function
	// that counts need not wait 6 seconds at every call.
	Claims bool `env:"CLAIMS"`
	// DeadLetterTopic takes the records that the function can't; TOPIC.dead by default.
	DeadLetterTopic string `env:"DEAD_LETTER_TOPIC"`
	// ReportFailures answers with batchItemFailures where some partitions of an
	// event failed. It must be set where, and only where, the event source mapping
	// has ReportBatchItemFailures: any other takes such an answer for a success.
	ReportFailures bool `env:"REPORT_BATCH_ITEM_FAILURES"`
	// RepeatEvery has a schedule's event call the handler again and again for
	// RepeatFor, since AWS's schedules are never quicker than once a minute.
	RepeatEvery time.Duration `env:"REPEAT_EVERY"`
	RepeatFor   time.Duration `env:"REPEAT_FOR" envDefault:"55s"`
}

// margin is left of an invocation when the handler's time is over, so that the
// end of it is heard: AWS kills a process that answers too late.
const margin = time.Second

// Log is what an Adapter asks of Kafka. *bus.Client says what each method does.
type Log interface {
	TopicInfo(ctx context.Context, topic string) (bus.Info, error)
	Ends(ctx context.Context, topic string, partitions []int) (map[int]int64, error)
}

// Claims tells which records are fresh. *store.Store says what each method
// guarantees, for the log that topic id and partition are.
type Claims interface {
	Claim(ctx context.Context, topic string, id [16]byte, partition int, first, next int64) (fresh bool, err error)
	Settle(ctx context.Context, topic string, id [16]byte, partition int, next int64) error
}

// DeadLetters takes what a handler can't. *deadletter.Publisher says what Publish does.
type DeadLetters interface {
	Publish(ctx context.Context, topic string, letters []kafka.Message, log *slog.Logger) error
}

// Adapter answers invocations. It is safe for concurrent use.
type Adapter struct {
	cfg    Config
	handle handling.Handler
	log    Log
	claims Claims // nil: none are made
	dead   DeadLetters

	running sync.RWMutex // read-locked by each invocation
}

// New makes an Adapter with the settings of the environment. It does not connect.
func New(handle handling.Handler) (*Adapter, error) {
	cfg, err := service.Load[Config]()
	if err != nil {
		return nil, err
	}
	if cfg.RepeatEvery < 0 || cfg.RepeatEvery > 0 && cfg.RepeatFor < cfg.RepeatEvery {
		return nil, service.Settingf("REPEAT_EVERY=%s must not be negative, nor above REPEAT_FOR=%s", cfg.RepeatEvery, cfg.RepeatFor)
	}
	if err := secretsFromEnv(); err != nil {
		return nil, err
	}
	busCfg, err := bus.ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	client := bus.New(busCfg)
	a := &Adapter{cfg: cfg, handle: handle, log: client, dead: deadletter.NewPublisher(client)}
	if cfg.Claims {
		a.claims = storeClaims{store.NewLazy(store.ConfigFromEnv)}
	}
	return a, nil
}

// Invoke answers one invocation. An error makes AWS repeat an event of Kafka, and
// count an error of any other.
func (a *Adapter) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	a.running.RLock()
	defer a.running.RUnlock()
	kind, err := kindOf(payload)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left-min(margin, left/4))
		defer cancel()
	}
	switch kind {
	case kafkaEvent:
		return a.kafka(ctx, payload)
	case httpEvent:
		return a.http(ctx, payload)
	default:
		return a.schedule(ctx)
	}
}

// Drain waits for the invocations under way. Later ones wait for the end of the
// process.
func (a *Adapter) Drain() { a.running.Lock() }

// kind is what kind of event an invocation brings.
type kind int

const (
	kafkaEvent kind = iota
	httpEvent
	scheduleEvent
)

// shape is what tells the kinds of events apart.
type shape struct {
	EventSource    string `json:"eventSource"`
	Source         string `json:"source"`
	DetailType     string `json:"detail-type"`
	HTTPMethod     string `json:"httpMethod"`
	RequestContext struct {
		HTTP struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
}

const takes = "this function takes events of a Kafka event source mapping, schedules of EventBridge, and requests of a function URL or an HTTP API with payload format 2.0"

func kindOf(payload []byte) (kind, error) {
	var s shape
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(payload, &s); err != nil && !errors.As(err, &wrong) {
		return 0, fmt.Errorf("the event is no JSON: %w", err)
	}
	switch {
	case s.EventSource == "aws:kafka", s.EventSource == "SelfManagedKafka":
		return kafkaEvent, nil
	case s.RequestContext.HTTP.Method != "":
		return httpEvent, nil
	case s.DetailType == "Scheduled Event" && s.Source != "":
		return scheduleEvent, nil
	case s.DetailType != "":
		return 0, fmt.Errorf("an event of EventBridge with detail-type %.60q is no schedule's: %s", s.DetailType, takes)
	case s.HTTPMethod != "":
		return 0, fmt.Errorf("this HTTP request has payload format 1.0 (or comes from a load balancer): set the integration to payload format 2.0; %s", takes)
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(payload, &fields) // of no object there are no names
	names := slices.Sorted(maps.Keys(fields))
	return 0, fmt.Errorf("an event with the fields %.200q is of no known kind: %s", strings.Join(names, ", "), takes)
}

// call calls the handler. What it returns is always an answer.
func (a *Adapter) call(ctx context.Context, req handler.Request) handler.Response {
	req.WithContext(ctx)
	res, _ := handling.Call(a.handle, req)
	return res
}

// connectorName is how calls tell the handler who made them.
const connectorName = "aws-lambda"

// triggered are the headers of a call that an event makes.
func triggered(topic string) (http.Header, error) {
	token, err := service.Secret(trigger.TokenSecret)
	if err != nil {
		return nil, err
	}
	return http.Header{trigger.HeaderToken: {token}, trigger.HeaderConnector: {connectorName}, trigger.HeaderTopic: {topic}}, nil
}

// storeClaims are Claims in Cassandra.
type storeClaims struct{ store *store.Lazy }

func (c storeClaims) log(ctx context.Context, topic string, id [16]byte, partition int) (*store.Store, int32, error) {
	s, err := c.store.Get(ctx)
	if err != nil {
		return nil, 0, err
	}
	incarnation, err := s.Incarnation(ctx, topic, id)
	if err != nil {
		return nil, 0, err
	}
	return s, store.Log(incarnation, partition), nil
}

func (c storeClaims) Claim(ctx context.Context, topic string, id [16]byte, partition int, first, next int64) (bool, error) {
	s, log, err := c.log(ctx, topic, id, partition)
	if err != nil {
		return false, err
	}
	return s.Claim(ctx, log, first, next)
}

func (c storeClaims) Settle(ctx context.Context, topic string, id [16]byte, partition int, next int64) error {
	s, log, err := c.log(ctx, topic, id, partition)
	if err != nil {
		return err
	}
	return s.Settle(ctx, log, next)
}
