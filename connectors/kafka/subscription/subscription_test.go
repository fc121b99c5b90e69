package subscription

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ticktape/internal/bus"
	"ticktape/internal/gateway"
	"ticktape/internal/trigger"
)

func TestWhatAFunctionWants(t *testing.T) {
	plain := Subscription{
		Topics: []string{"ticks"}, Group: "f", Retries: Endless, MaxRecords: 10_000, MaxBytes: 1 << 20, MaxWait: 10 * time.Millisecond,
		ContentType: "application/octet-stream",
	}
	with := func(change func(*Subscription)) *Subscription {
		s := plain
		change(&s)
		return &s
	}
	for _, c := range []struct {
		name string
		in   map[string]string
		want *Subscription
	}{
		{"nothing at all", nil, nil},
		{"to be called on a schedule", map[string]string{"topic": "cron-function", "schedule": "@hourly"}, nil},
		{"one record a call", map[string]string{"topic": "ticks"}, &plain},
		{"annotations of others are none of ours", map[string]string{"topic": "ticks", "com.example": "x"}, &plain},
		{"several topics", map[string]string{"topic": " a, b.c ,d-_1"}, with(func(s *Subscription) { s.Topics = []string{"a", "b.c", "d-_1"} })},
		{"batches in JSON", map[string]string{"topic": "ticks", "kafka.batch": "json"}, with(func(s *Subscription) { s.Format = trigger.JSON })},
		{"everything", map[string]string{
			"topic": "ticks", "kafka.batch": "protobuf", "kafka.batch.max-records": "5", "kafka.batch.max-bytes": "2MiB", "kafka.batch.max-wait": "1s",
			"kafka.batch.align": "1m", "kafka.batch.align-by": "json:at, protobuf:7",
			"kafka.group": "g", "kafka.start": "latest", "kafka.retries": "3", "kafka.dead-letter-topic": "dead",
		}, with(func(s *Subscription) {
			s.Format, s.MaxRecords, s.MaxBytes, s.MaxWait = trigger.Protobuf, 5, 2<<20, time.Second
			s.Align, s.AlignBy = time.Minute, Clock{Field: 7, Name: "at"}
			s.Group, s.Start, s.Retries, s.DeadLetters = "g", bus.Latest, 3, "dead"
		})},
		{"a content type", map[string]string{"topic": "ticks", "kafka.content-type": "application/json"}, with(func(s *Subscription) { s.ContentType = "application/json" })},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := gateway.Function{Name: "f", Annotations: c.in}
			if c.want != nil {
				c.want.Function = f
			}
			got, err := Parse(f)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if got != nil && (!got.Same(c.want) || got.DeadTopic("t") != map[bool]string{true: "t.dead", false: got.DeadLetters}[got.DeadLetters == ""]) {
				t.Error("it is not equal to itself, or its dead-letter topic is wrong")
			}
		})
	}
}

func TestWrongAnnotationsAreTold(t *testing.T) {
	for _, c := range []struct {
		name string
		in   map[string]string
		want string
	}{
		{"a topic's name with a space", map[string]string{"topic": "my ticks"}, `topic="my ticks": "my ticks" is no topic's name`},
		{"no name between two commas", map[string]string{"topic": "a,,b"}, `"" is no topic's name`},
		{"a topic twice", map[string]string{"topic": "a,a"}, "names a twice"},
		{"a key with a slip of the pen", map[string]string{"topic": "a", "kafka.retires": "3"}, "kafka.retires is not known; known are kafka.batch,"},
		{"another format", map[string]string{"topic": "a", "kafka.batch": "avro"}, `kafka.batch="avro": it must be protobuf or json`},
		{"no records", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.max-records": "0"}, "between 1 and 100000"},
		{"too many bytes", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.max-bytes": "1GiB"}, "between 1 and 32MiB"},
		{"bytes in another unit", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.max-bytes": "1MB"}, "write it like"},
		{"a wait that is none", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.max-wait": "10"}, "written like 10ms"},
		{"a limit of batches without batches", map[string]string{"topic": "a", "kafka.batch.max-records": "5"}, "kafka.batch.max-records needs kafka.batch"},
		{"spans of no time", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align": "0s"}, "between 1s and 24h0m0s"},
		{"spans of a part of a millisecond", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align": "1000500us"}, "whole milliseconds"},
		{"a time without spans", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align-by": "json:at"}, "kafka.batch.align-by needs kafka.batch.align"},
		{"a time in another format", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align": "1m", "kafka.batch.align-by": "avro:at"}, "it must be protobuf:NUMBER"},
		{"a time in two places", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align": "1m", "kafka.batch.align-by": "json:at,json:on"}, "it must be protobuf:NUMBER"},
		{"a field without a name", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align": "1m", "kafka.batch.align-by": "json:"}, "it must be protobuf:NUMBER"},
		{"a field without a number", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align": "1m", "kafka.batch.align-by": "protobuf:event_time"}, `"event_time" is no number of a field`},
		{"a number that no field has", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.batch.align": "1m", "kafka.batch.align-by": "protobuf:4294967298"}, "is no number of a field"},
		{"no group", map[string]string{"topic": "a", "kafka.group": ""}, "1 to 249"},
		{"another start", map[string]string{"topic": "a", "kafka.start": "beginning"}, "earliest or latest"},
		{"less than no retries", map[string]string{"topic": "a", "kafka.retries": "-1"}, "whole number"},
		{"a dead-letter topic that it reads itself", map[string]string{"topic": "a", "kafka.dead-letter-topic": "a"}, "a topic of the function itself"},
		{"a content type for batches", map[string]string{"topic": "a", "kafka.batch": "json", "kafka.content-type": "text/plain"}, "without kafka.batch"},
		{"a content type with a line break", map[string]string{"topic": "a", "kafka.content-type": "a\nb"}, "content type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(gateway.Function{Name: "f", Annotations: c.in})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	_, err := Parse(gateway.Function{Annotations: map[string]string{"topic": " ", "kafka.batch": "x", "kafka.start": "y"}})
	if err == nil || strings.Count(err.Error(), "; ") != 2 {
		t.Errorf("not everything that is wrong is told: %v", err)
	}
}

func TestAFunctionThatWantsSomethingElseIsNotTheSame(t *testing.T) {
	of := func(more ...string) *Subscription {
		a := map[string]string{"topic": "a", "kafka.batch": "json"}
		for i := 0; i < len(more); i += 2 {
			a[more[i]] = more[i+1]
		}
		s, err := Parse(gateway.Function{Name: "f", Annotations: a})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	all := []*Subscription{
		of(), of("topic", "b"), of("kafka.batch", "protobuf"), of("kafka.batch.max-records", "5"), of("kafka.batch.max-bytes", "5KiB"), of("kafka.batch.max-wait", "5s"),
		of("kafka.batch.align", "1m"), of("kafka.batch.align", "2m"), of("kafka.batch.align", "1m", "kafka.batch.align-by", "json:at"),
		of("kafka.batch.align", "1m", "kafka.batch.align-by", "protobuf:2"), of("kafka.group", "g"), of("kafka.start", "latest"), of("kafka.retries", "5"), of("kafka.dead-letter-topic", "dead"),
	}
	for i, s := range all {
		for j, other := range all {
			if s.Same(other) != (i == j) {
				t.Errorf("%+v and %+v are the same: %v", s, other, s.Same(other))
			}
		}
	}
}

func TestTwoFunctionsDoNotShareAGroup(t *testing.T) {
	one := gateway.Function{Name: "one", Annotations: map[string]string{"topic": "a"}}
	other := gateway.Function{Name: "one", Namespace: "dev", Annotations: map[string]string{"topic": "a"}}
	thief := gateway.Function{Name: "two", Annotations: map[string]string{"topic": "a", "kafka.group": "one"}}
	none := gateway.Function{Name: "zero"}
	subs, wrong := Resolve([]gateway.Function{one, other, thief, none})
	if len(subs) != 2 || subs["one"].Group != "one" || subs["one.dev"].Group != "one.dev" {
		t.Errorf("subscriptions %v", subs)
	}
	if err := wrong["two"]; len(wrong) != 1 || err == nil || !strings.Contains(err.Error(), "is the group of function one") {
		t.Errorf("wrong %v", wrong)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ticks", "kafka.batch", "protobuf", "kafka.batch.max-wait", "10ms")
	f.Add("a,b", "kafka.batch.max-bytes", "1MiB", "kafka.retries", "5")
	f.Fuzz(func(t *testing.T, topic, k1, v1, k2, v2 string) {
		s, err := Parse(gateway.Function{Name: "f", Annotations: map[string]string{"topic": topic, k1: v1, k2: v2}})
		if err != nil || s == nil {
			return
		}
		if len(s.Topics) == 0 || s.Group == "" || s.MaxRecords < 1 || s.MaxRecords > maxRecords || s.MaxBytes < 1 || s.MaxBytes > maxBytes ||
			s.MaxWait < 0 || s.MaxWait > maxWait || s.Align < 0 || s.Align > maxAlign || s.Retries < Endless || s.ContentType == "" {
			t.Errorf("%+v", s)
		}
	})
}
