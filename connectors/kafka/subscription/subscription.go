// Package subscription reads from a function's annotations which records it
// wants and how. docs/trigger.md describes them.
package subscription

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ticktape/internal/bus"
	"ticktape/internal/deadletter"
	"ticktape/internal/gateway"
	"ticktape/internal/service"
	"ticktape/internal/trigger"
)

// Subscription is what a function wants.
type Subscription struct {
	Function gateway.Function
	Topics   []string
	Group    string
	Start    bus.Start
	Format   trigger.Format
	// MaxRecords and MaxBytes bound a batch; a record larger than MaxBytes goes
	// alone.
	MaxRecords int
	MaxBytes   int
	// MaxWait is the least time between two batches that are not full, and so the
	// longest that a record waits for others to join it.
	MaxWait time.Duration
	// Align is the length of the spans of time at whose ends a full batch ends, where
	// it can; 0 for none. They are counted from the Unix epoch. AlignBy tells a
	// record's time.
	Align   time.Duration
	AlignBy Clock
	// Retries is how often a call is made again, or Endless.
	Retries int
	// DeadLetters is the dead-letter topic, or empty for one named after the
	// record's topic.
	DeadLetters string
	// ContentType is that of calls with a single record, where the record itself
	// has no header "content-type".
	ContentType string
}

// Endless is the number of retries that never end.
const Endless = -1

// Same says whether both want the same.
func (s *Subscription) Same(t *Subscription) bool {
	return s.Function.String() == t.Function.String() && slices.Equal(s.Topics, t.Topics) && s.Group == t.Group && s.Start == t.Start &&
		s.Format == t.Format && s.MaxRecords == t.MaxRecords && s.MaxBytes == t.MaxBytes && s.MaxWait == t.MaxWait &&
		s.Align == t.Align && s.AlignBy == t.AlignBy &&
		s.Retries == t.Retries && s.DeadLetters == t.DeadLetters && s.ContentType == t.ContentType
}

// DeadTopic is the topic for the dead letters of a topic.
func (s *Subscription) DeadTopic(topic string) string {
	if s.DeadLetters != "" {
		return s.DeadLetters
	}
	return deadletter.TopicOf(topic)
}

// The limits of what annotations can ask for, which bound the connector's memory.
const (
	maxRecords = 100_000
	maxBytes   = 32 << 20
	maxWait    = time.Minute
	minAlign   = time.Second
	maxAlign   = 24 * time.Hour
)

// keys are the annotations and how each is read.
var keys = map[string]func(s *Subscription, v string) error{
	"kafka.batch": func(s *Subscription, v string) error {
		switch v {
		case "protobuf":
			s.Format = trigger.Protobuf
		case "json":
			s.Format = trigger.JSON
		default:
			return fmt.Errorf("it must be protobuf or json")
		}
		return nil
	},
	"kafka.batch.max-records": func(s *Subscription, v string) (err error) {
		s.MaxRecords, err = number(v, 1, maxRecords)
		return err
	},
	"kafka.batch.max-bytes": func(s *Subscription, v string) error {
		b, err := service.ParseBytes(v)
		if err == nil && (b < 1 || b > maxBytes) {
			err = fmt.Errorf("it must be between 1 and %s", service.Bytes(maxBytes))
		}
		s.MaxBytes = int(b)
		return err
	},
	"kafka.batch.max-wait": func(s *Subscription, v string) (err error) {
		s.MaxWait, err = time.ParseDuration(v)
		if err != nil || s.MaxWait < 0 || s.MaxWait > maxWait {
			return fmt.Errorf("it must be a time of at most %s, written like 10ms", maxWait)
		}
		return nil
	},
	"kafka.batch.align": func(s *Subscription, v string) (err error) {
		s.Align, err = time.ParseDuration(v)
		if err != nil || s.Align < minAlign || s.Align > maxAlign || s.Align%time.Millisecond != 0 {
			return fmt.Errorf("it must be a time between %s and %s in whole milliseconds, written like 1m", minAlign, maxAlign)
		}
		return nil
	},
	"kafka.batch.align-by": func(s *Subscription, v string) (err error) {
		s.AlignBy, err = parseClock(v)
		return err
	},
	"kafka.group": func(s *Subscription, v string) error {
		if v == "" || len(v) > 249 {
			return fmt.Errorf("it must have 1 to 249 characters")
		}
		s.Group = v
		return nil
	},
	"kafka.start": func(s *Subscription, v string) error {
		switch v {
		case "earliest":
			s.Start = bus.Earliest
		case "latest":
			s.Start = bus.Latest
		default:
			return fmt.Errorf("it must be earliest or latest")
		}
		return nil
	},
	"kafka.retries": func(s *Subscription, v string) (err error) {
		s.Retries, err = number(v, 0, 1_000_000)
		return err
	},
	"kafka.dead-letter-topic": func(s *Subscription, v string) error {
		s.DeadLetters = v
		return checkTopic(v)
	},
	"kafka.content-type": func(s *Subscription, v string) error {
		if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("it must be a content type, such as application/json")
		}
		s.ContentType = v
		return nil
	},
}

const prefix = "kafka."

// Parse reads the annotations of a function. It returns nil where the function
// asks for no topic, or is the cron connector's. An error tells everything that
// is wrong with the annotations; such a function must not be triggered, because
// what it wants is not known.
func Parse(f gateway.Function) (*Subscription, error) {
	topic, ok := f.Annotations["topic"]
	if !ok || topic == trigger.CronTopic {
		return nil, nil
	}
	s := &Subscription{
		Function: f, Group: f.String(), Retries: Endless,
		MaxRecords: 10_000, MaxBytes: 1 << 20, MaxWait: 10 * time.Millisecond,
		ContentType: "application/octet-stream",
	}
	var wrong []string
	for t := range strings.SplitSeq(topic, ",") {
		t = strings.TrimSpace(t)
		if err := checkTopic(t); err != nil {
			wrong = append(wrong, fmt.Sprintf("topic=%q: %v", topic, err))
		}
		if slices.Contains(s.Topics, t) {
			wrong = append(wrong, fmt.Sprintf("topic=%q names %s twice", topic, t))
		}
		s.Topics = append(s.Topics, t)
	}
	for _, k := range slices.Sorted(maps.Keys(f.Annotations)) {
		if !strings.HasPrefix(k, prefix) {
			continue
		}
		v := strings.TrimSpace(f.Annotations[k])
		read, ok := keys[k]
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s is not known; known are %s", k, strings.Join(slices.Sorted(maps.Keys(keys)), ", ")))
			continue
		}
		if err := read(s, v); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s=%q: %v", k, v, err))
		}
		if strings.HasPrefix(k, "kafka.batch.") && f.Annotations["kafka.batch"] == "" {
			wrong = append(wrong, k+" needs kafka.batch")
		}
	}
	if s.AlignBy != (Clock{}) && s.Align == 0 {
		wrong = append(wrong, "kafka.batch.align-by needs kafka.batch.align")
	}
	if s.DeadLetters != "" && slices.Contains(s.Topics, s.DeadLetters) {
		wrong = append(wrong, fmt.Sprintf("kafka.dead-letter-topic=%q is a topic of the function itself", s.DeadLetters))
	}
	if s.Format != trigger.Single && f.Annotations["kafka.content-type"] != "" {
		wrong = append(wrong, "kafka.content-type is for functions without kafka.batch")
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return s, nil
}

func number(v string, least, most int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("it must be a whole number between %d and %d", least, most)
	}
	return n, nil
}

// checkTopic applies Kafka's own rule.
func checkTopic(name string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-')
	}
	if name == "" || len(name) > 249 || name == "." || name == ".." || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%.60q is no topic's name: letters, digits, '.', '_' and '-' are allowed", name)
	}
	return nil
}

// Resolve reads the subscriptions of all functions. Two functions that name the
// same group would each get a part of the records, so only the first by name is
// triggered. wrong tells, by function, why one is not.
func Resolve(functions []gateway.Function) (subs map[string]*Subscription, wrong map[string]error) {
	subs, wrong = map[string]*Subscription{}, map[string]error{}
	owner := map[string]string{}
	for _, f := range functions {
		s, err := Parse(f)
		switch {
		case err != nil:
			wrong[f.String()] = err
		case s == nil:
		case owner[s.Group] != "":
			wrong[f.String()] = fmt.Errorf("kafka.group=%q is the group of function %s: each would get a part of the records", s.Group, owner[s.Group])
		default:
			owner[s.Group] = f.String()
			subs[f.String()] = s
		}
	}
	return subs, wrong
}
