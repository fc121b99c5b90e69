// Package schedule calls functions at the times that their annotations name.
package schedule

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"ticktape/internal/gateway"
	"ticktape/internal/trigger"
)

// Job is a function with the times at which to call it.
type Job struct {
	Function gateway.Function
	// Text is the annotation; with Zone it says when two jobs are the same.
	Text    string
	Zone    string
	Payload string

	schedules []cron.Schedule
}

// Same says whether both are the same calls.
func (j *Job) Same(k *Job) bool {
	return j.Function.String() == k.Function.String() && j.Text == k.Text && j.Zone == k.Zone && j.Payload == k.Payload
}

// Next is the first time after t that one of the schedules names. It is zero
// where there is none, as for 30 February.
func (j *Job) Next(t time.Time) time.Time {
	var next time.Time
	for _, s := range j.schedules {
		if at := s.Next(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// The annotations.
const (
	keySchedule = "schedule"
	keyZone     = "cron.timezone"
	keyPayload  = "cron.payload"
)

// Parse reads the annotations of a function. It returns nil where the function
// is not for the cron connector. After an error the function must not be called.
func Parse(f gateway.Function) (*Job, error) {
	if f.Annotations["topic"] != trigger.CronTopic {
		return nil, nil
	}
	j := &Job{Function: f, Text: f.Annotations[keySchedule], Zone: f.Annotations[keyZone], Payload: f.Annotations[keyPayload]}
	for _, k := range slices.Sorted(maps.Keys(f.Annotations)) {
		if strings.HasPrefix(k, "cron.") && k != keyZone && k != keyPayload {
			return nil, fmt.Errorf("%s is not known; known are %s and %s", k, keyPayload, keyZone)
		}
	}
	zone := ""
	if j.Zone != "" {
		if _, err := time.LoadLocation(j.Zone); err != nil {
			return nil, fmt.Errorf("%s=%q is no time zone: write it like America/New_York", keyZone, j.Zone)
		}
		zone = "CRON_TZ=" + j.Zone + " "
	}
	for text := range strings.SplitSeq(j.Text, ";") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		spec := text
		if !strings.HasPrefix(spec, "CRON_TZ=") && !strings.HasPrefix(spec, "TZ=") && !strings.HasPrefix(spec, "@every") {
			spec = zone + spec
		}
		s, err := parse(spec)
		if err != nil {
			return nil, fmt.Errorf(`%s=%q: %q can't be read (%w): write 5 fields like "*/5 9-16 * * 1-5", or "@hourly", or "@every 10s"`, keySchedule, j.Text, text, err)
		}
		j.schedules = append(j.schedules, s)
	}
	if len(j.schedules) == 0 {
		return nil, fmt.Errorf("annotation %s is missing", keySchedule)
	}
	if j.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("%s=%q names no time that ever comes", keySchedule, j.Text)
	}
	return j, nil
}

// parse turns a panic of the parser, which an odd time zone prefix without
// fields causes, into an error.
func parse(spec string) (s cron.Schedule, err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("fields are missing")
		}
	}()
	return cron.ParseStandard(spec)
}
