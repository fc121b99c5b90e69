package intake

import (
	"strings"
	"testing"

	"ticktape/internal/tick"
	"ticktape/internal/trigger"
)

const at = 1_789_000_000_000

func encoded(t testing.TB, e tick.Encoding, eventTime int64) []byte {
	t.Helper()
	b, err := e.Append(nil, &tick.Tick{Symbol: "AAPL", EventTime: eventTime, Price: tick.Unit})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEitherEncodingIsReadWithAndWithoutItsHeader(t *testing.T) {
	var r Reader
	for _, e := range []tick.Encoding{tick.Protobuf, tick.JSON} {
		for _, headers := range [][]trigger.Header{nil, {{Key: "other", Value: []byte("x")}, {Key: "content-type", Value: []byte(e.ContentType())}}} {
			var tk tick.Tick
			err := r.Read(&trigger.Record{Timestamp: at, Value: encoded(t, e, at), Headers: headers}, &tk)
			if err != nil || tk.Symbol != "AAPL" || tk.EventTime != at {
				t.Errorf("%s with %d headers: %+v, %v", e.ContentType(), len(headers), tk, err)
			}
		}
	}
}

func TestWhatIsNoTickIsToldWithItsReason(t *testing.T) {
	hour := MaxAhead.Milliseconds()
	for name, c := range map[string]struct {
		record trigger.Record
		reason string
	}{
		"a tombstone":                  {trigger.Record{Timestamp: at}, "no value"},
		"nothing":                      {trigger.Record{Timestamp: at, Value: []byte{}}, "empty"},
		"text":                         {trigger.Record{Timestamp: at, Value: []byte("hello")}, "not a tick"},
		"another type":                 {trigger.Record{Timestamp: at, Value: encoded(t, tick.JSON, at), Headers: []trigger.Header{{Key: "content-type", Value: []byte("text/csv")}}}, "text/csv"},
		"a clock more than an hour on": {trigger.Record{Timestamp: at, Value: encoded(t, tick.Protobuf, at+hour+1)}, "1h0m0.001s ahead of the log"},
		"a clock an hour on":           {trigger.Record{Timestamp: at, Value: encoded(t, tick.Protobuf, at+hour)}, ""},
		"a trade of long ago":          {trigger.Record{Timestamp: at, Value: encoded(t, tick.Protobuf, at-1000*hour)}, ""},
		"a log without times":          {trigger.Record{Timestamp: -1, Value: encoded(t, tick.Protobuf, at)}, ""},
	} {
		var tk tick.Tick
		switch err := new(Reader).Read(&c.record, &tk); {
		case c.reason == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.reason != "" && (err == nil || !strings.Contains(err.Error(), c.reason)):
			t.Errorf("%s: %v; want an error that says %q", name, err, c.reason)
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	record := trigger.Record{
		Timestamp: at, Value: encoded(t, tick.Protobuf, at),
		Headers: []trigger.Header{{Key: "content-type", Value: []byte(tick.ContentProtobuf)}},
	}
	var r Reader
	var tk tick.Tick
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Read(&record, &tk); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}
