package subscription

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"ticktape/internal/trigger"
)

// Clock tells where the time of a record is, which is in milliseconds since the Unix
// epoch: in a field of its value, or, where none is named, in its timestamp.
type Clock struct {
	// Field is the number of a field of a Protobuf message, of a kind that is written
	// as a varint; 0 for none.
	Field protowire.Number
	// Name is that of a field of a JSON object, a whole number; empty for none.
	Name string
}

// parseClock reads "protobuf:2,json:event_time", of which either part may be absent.
func parseClock(v string) (c Clock, err error) {
	for part := range strings.SplitSeq(v, ",") {
		format, field, _ := strings.Cut(strings.TrimSpace(part), ":")
		switch {
		case format == "protobuf" && c.Field == 0:
			n, err := strconv.ParseInt(field, 10, 32)
			if c.Field = protowire.Number(n); err != nil || !c.Field.IsValid() {
				return c, fmt.Errorf("%.40q is no number of a field", field)
			}
		case format == "json" && c.Name == "" && field != "":
			c.Name = field
		default:
			return c, fmt.Errorf("it must be protobuf:NUMBER, json:NAME, or both with a comma between them")
		}
	}
	return c, nil
}

// Time returns the time of r, in milliseconds since the Unix epoch; ok is false where
// there is none to be found. A value that begins with a brace is taken for JSON, if
// the clock has a name for that.
func (c Clock) Time(r *trigger.Record) (ms int64, ok bool) {
	switch {
	case c == Clock{}:
		return r.Timestamp, true
	case c.Name != "" && len(r.Value) > 0 && r.Value[0] == '{':
		return jsonTime(r.Value, c.Name)
	case c.Field != 0:
		return protobufTime(r.Value, c.Field)
	}
	return 0, false
}

func jsonTime(value []byte, name string) (ms int64, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil {
		return 0, false
	}
	ms, err := strconv.ParseInt(string(fields[name]), 10, 64)
	return ms, err == nil
}

func protobufTime(value []byte, field protowire.Number) (ms int64, ok bool) {
	for len(value) > 0 {
		number, kind, size := protowire.ConsumeTag(value)
		if size < 0 {
			return 0, false
		}
		value = value[size:]
		if size = protowire.ConsumeFieldValue(number, kind, value); size < 0 {
			return 0, false
		}
		if number == field && kind == protowire.VarintType {
			n, _ := protowire.ConsumeVarint(value)
			ms, ok = int64(n), true // of several the last counts, as Protobuf has it
		}
		value = value[size:]
	}
	return ms, ok
}
