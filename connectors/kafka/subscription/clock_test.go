package subscription

import (
	"encoding/json"
	"strconv"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"ticktape/internal/trigger"
)

// message is one of Protobuf: a field with text, one with a number, and one of a kind of its own.
func message(text string, field protowire.Number, n int64) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), text)
	b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
	return protowire.AppendFixed32(protowire.AppendTag(b, 9, protowire.Fixed32Type), 1)
}

func TestWhereARecordsTimeIs(t *testing.T) {
	both := Clock{Field: 2, Name: "at"}
	for _, c := range []struct {
		name  string
		clock Clock
		value string
		want  int64
		ok    bool
	}{
		{"its timestamp", Clock{}, "anything", 7, true},
		{"a field of Protobuf", both, string(message("A", 2, 1_700_000_000_000)), 1_700_000_000_000, true},
		{"the last of several", both, string(message("A", 2, 5)) + string(message("A", 2, -6)), -6, true},
		{"a field of JSON", both, `{"symbol": "A", "at": 1700000000000, "more": [{}]}`, 1_700_000_000_000, true},
		{"no such field in Protobuf", both, string(message("A", 3, 5)), 0, false},
		{"a field of another kind", Clock{Field: 1}, string(message("A", 2, 5)), 0, false},
		{"a message that breaks off", both, string(message("A", 2, 5)[:4]), 0, false},
		{"no such field in JSON", both, `{"symbol": "A"}`, 0, false},
		{"a number in quotes", both, `{"at": "5"}`, 0, false},
		{"a number that is not whole", both, `{"at": 5.5}`, 0, false},
		{"an object that breaks off", both, `{"at": 5`, 0, false},
		{"JSON for who knows Protobuf only", Clock{Field: 2}, `{"at": 5}`, 0, false},
		{"Protobuf for who knows JSON only", Clock{Name: "at"}, string(message("A", 2, 5)), 0, false},
		{"no value", both, "", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if ms, ok := c.clock.Time(&trigger.Record{Timestamp: 7, Value: []byte(c.value)}); ok != c.ok || ok && ms != c.want {
				t.Errorf("%d, %v", ms, ok)
			}
		})
	}
}

// FuzzTime reads times out of any value, and out of one that has it behind any other field.
func FuzzTime(f *testing.F) {
	f.Add(message("A", 2, 5), int64(6), "text")
	f.Add([]byte(`{"at": 5}`), int64(-6), `a "quoted" text`)
	f.Fuzz(func(t *testing.T, value []byte, ms int64, text string) {
		clock := Clock{Field: 2, Name: "at"}
		clock.Time(&trigger.Record{Value: value}) // does not panic
		if got, ok := clock.Time(&trigger.Record{Value: message(text, 2, ms)}); !ok || got != ms {
			t.Errorf("Protobuf: %d, %v, want %d", got, ok, ms)
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		object := `{"text": ` + string(quoted) + `, "at": ` + strconv.FormatInt(ms, 10) + `}`
		if got, ok := clock.Time(&trigger.Record{Value: []byte(object)}); !ok || got != ms {
			t.Errorf("JSON: %d, %v, want %d", got, ok, ms)
		}
	})
}
