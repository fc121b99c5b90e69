package tick

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"ticktape/internal/tick/tickpb"
)

func apple() Tick {
	return Tick{
		Symbol: "AAPL", EventTime: 1_789_000_000_123, Price: 18_744_000_000, Size: 300, Seq: 48_123_456,
		DayVolume: 48_123_456, PreviousClose: 18_650_000_000, Currency: "USD", Exchange: "NMS",
		MarketState: MarketRegular, Source: SourceYahoo, ReceivedTime: 1_789_000_000_456,
	}
}

func anyTick(t *rapid.T) Tick {
	optional := rapid.Int64Min(0)
	return Tick{
		Symbol:        rapid.StringMatching(`[A-Z0-9^.=-]{1,20}`).Draw(t, "symbol"),
		EventTime:     rapid.Int64Range(minTime, maxTime).Draw(t, "event time"),
		Price:         Price(rapid.Int64Range(1, math.MaxInt64).Draw(t, "price")),
		Size:          rapid.Int64Range(0, maxSize).Draw(t, "size"),
		Seq:           rapid.Int64().Draw(t, "seq"),
		DayVolume:     optional.Draw(t, "day volume"),
		PreviousClose: Price(optional.Draw(t, "previous close")),
		Currency:      rapid.StringMatching(`[A-Za-z]{0,4}`).Draw(t, "currency"),
		Exchange:      rapid.StringMatching(`[A-Z]{0,4}`).Draw(t, "exchange"),
		MarketState:   MarketState(rapid.IntRange(0, 4).Draw(t, "market state")),
		Source:        Source(rapid.IntRange(0, 3).Draw(t, "source")),
		ReceivedTime:  rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(minTime, maxTime)).Draw(t, "received time"),
	}
}

func TestTicksReadBackTheSameInEitherEncoding(t *testing.T) {
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		want := anyTick(t)
		for _, e := range []Encoding{Protobuf, JSON} {
			b, err := e.Append(nil, &want)
			if err != nil {
				t.Fatal(err)
			}
			for _, contentType := range []string{e.ContentType(), ""} {
				var got Tick
				if err := d.Decode(contentType, b, &got); err != nil {
					t.Fatalf("decode %q as %q: %v", b, contentType, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("content type %q: %s", contentType, diff)
				}
			}
		}
	})
}

func TestProtobufIsWhatTheSchemaSays(t *testing.T) {
	want := apple()
	b, err := Protobuf.Append([]byte("before"), &want)
	if err != nil {
		t.Fatal(err)
	}
	var m tickpb.Tick
	if err := proto.Unmarshal(bytes.TrimPrefix(b, []byte("before")), &m); err != nil {
		t.Fatal(err)
	}
	if m.GetSymbol() != "AAPL" || m.GetPrice() != 18_744_000_000 || m.GetPreviousClose() != 18_650_000_000 ||
		m.GetMarketState() != tickpb.MarketState_MARKET_STATE_REGULAR || m.GetSource() != tickpb.Source_SOURCE_YAHOO {
		t.Errorf("%v", &m)
	}
}

func TestJSONIsReadableAndAbout200Bytes(t *testing.T) {
	tk := apple()
	b, err := JSON.Append(nil, &tk)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"symbol":"AAPL","event_time":1789000000123,"price":187.44,"size":300,"seq":48123456,` +
		`"day_volume":48123456,"previous_close":186.5,"currency":"USD","exchange":"NMS",` +
		`"market_state":"REGULAR","source":"yahoo","received_time":1789000000456}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func TestWhatIsNotATickIsRefusedWithItsReason(t *testing.T) {
	change := func(f func(*Tick)) []byte {
		tk := apple()
		f(&tk)
		b, err := Protobuf.Append(nil, &tk)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		contentType string
		body        []byte
		reason      string
	}{
		"nothing":                                {"", nil, "empty"},
		"text":                                   {"", []byte("hello"), "Protobuf"},
		"half a JSON object":                     {"", []byte(`{"symbol":"AAPL"`), "JSON"},
		"something behind the object":            {"", []byte(`{"symbol":"AAPL","event_time":1789000000123,"price":1} x`), "follows"},
		"two objects":                            {"", []byte(`{"symbol":"AAPL","event_time":1789000000123,"price":1}{}`), "follows"},
		"a size with a fraction":                 {"", []byte(`{"symbol":"AAPL","event_time":1789000000123,"price":1,"size":1.5}`), "size"},
		"an object as price":                     {"", []byte(`{"symbol":"AAPL","event_time":1789000000123,"price":{}}`), "price"},
		"JSON without a time":                    {"", []byte(`{"symbol":"AAPL","price":1}`), "event time"},
		"a price in words":                       {"", []byte(`{"symbol":"AAPL","price":"much"}`), "not a price"},
		"a price too large":                      {"", []byte(`{"symbol":"AAPL","price":1e30}`), "out of range"},
		"an unknown type":                        {"text/csv", []byte("a,b"), "text/csv"},
		"Protobuf said JSON":                     {ContentJSON, change(func(*Tick) {}), "JSON"},
		"no symbol":                              {"", change(func(t *Tick) { t.Symbol = "" }), "symbol"},
		"a symbol with a space":                  {"", change(func(t *Tick) { t.Symbol = "AA PL" }), "character"},
		"a symbol not in UTF-8":                  {"", change(func(t *Tick) { t.Symbol = "A\xffPL" }), "character"},
		"a symbol too long":                      {"", change(func(t *Tick) { t.Symbol = strings.Repeat("A", 65) }), "symbol"},
		"a negative time":                        {"", change(func(t *Tick) { t.EventTime = -1 }), "event time"},
		"a time in seconds":                      {"", change(func(t *Tick) { t.EventTime /= 1000 }), "event time"},
		"a time in microseconds":                 {"", change(func(t *Tick) { t.EventTime *= 1000 }), "event time"},
		"received in nanoseconds":                {"", change(func(t *Tick) { t.ReceivedTime *= 1_000_000 }), "received time"},
		"the smallest integer as price":          {"", change(func(t *Tick) { t.Price, t.Size = math.MinInt64, 0 }), "out of range"},
		"the smallest integer as previous close": {"", change(func(t *Tick) { t.PreviousClose = math.MinInt64 }), "out of range"},
		"a negative day volume":                  {"", change(func(t *Tick) { t.DayVolume = -1 }), "day volume"},
		"a currency not in UTF-8":                {"", change(func(t *Tick) { t.Currency = "\xff" }), "currency"},
		"an exchange with a line break":          {"", change(func(t *Tick) { t.Exchange = "N\nMS" }), "exchange"},
		"an exchange too long":                   {"", change(func(t *Tick) { t.Exchange = strings.Repeat("N", 17) }), "exchange"},
		"a null price":                           {"", []byte(`{"symbol":"AAPL","event_time":1789000000123,"price":null}`), "no price"},
		"no price":                               {"", change(func(t *Tick) { t.Price = 0 }), "price"},
		"a negative size":                        {"", change(func(t *Tick) { t.Size = -1 }), "size"},
		"a huge size":                            {"", change(func(t *Tick) { t.Size = math.MaxInt64 }), "size"},
	} {
		var d Decoder
		var got Tick
		err := d.Decode(c.contentType, c.body, &got)
		if !errors.Is(err, ErrTick) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v; want ErrTick that says %q", name, err, c.reason)
		}
	}
}

func TestOtherPeoplesWaysOfWritingAContentTypeAreRead(t *testing.T) {
	tk := apple()
	protobuf, err := Protobuf.Append(nil, &tk)
	if err != nil {
		t.Fatal(err)
	}
	sparse := []byte(`{"symbol":"AAPL","event_time":1789000000123,"price":"187.44","previous_close":null,"day_volume":null,"currency":null}`)
	for contentType, body := range map[string][]byte{
		"application/json; charset=utf-8":                      sparse,
		"Application/JSON":                                     sparse,
		"application/protobuf":                                 protobuf,
		"application/x-protobuf;message=ticktape.tick.v1.Tick": protobuf,
	} {
		var d Decoder
		var got Tick
		if err := d.Decode(contentType, body, &got); err != nil || got.Price != tk.Price {
			t.Errorf("%s: %+v, %v", contentType, got, err)
		}
	}
}

func TestJSONOfOtherProducersIsRead(t *testing.T) {
	for name, body := range map[string]string{
		"a price as text":              `{"symbol":"AAPL","event_time":1789000000123,"price":"187.44"}`,
		"white space":                  " { \"symbol\" : \"AAPL\",\n\"event_time\": 1789000000123 , \"price\": 187.44 }\r\n ",
		"an exponent":                  `{"symbol":"AAPL","event_time":1789000000123,"price":1.8744e2}`,
		"fields of their own":          `{"x":{"symbol":[1,"}"]},"symbol":"AAPL","event_time":1789000000123,"price":187.44,"note":"\"}"}`,
		"null where nothing is known":  `{"symbol":"AAPL","event_time":1789000000123,"price":187.44,"currency":null,"size":null,"previous_close":null}`,
		"escapes":                      `{"s\u0079mbol":"A\u0041PL","event_time":1789000000123,"price":187.44}`,
		"a name twice: the last":       `{"symbol":"MSFT","symbol":"AAPL","event_time":1789000000123,"price":1,"price":187.44}`,
		"a market state of the future": `{"symbol":"AAPL","event_time":1789000000123,"price":187.44,"market_state":"SIESTA","source":"somebody"}`,
	} {
		var d Decoder
		got := Tick{Symbol: "LEFT", Size: 1, Currency: "OVER"}
		if err := d.Decode(ContentJSON, []byte(body), &got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := Tick{Symbol: "AAPL", EventTime: 1789000000123, Price: 18_744_000_000}
		if got != want {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	tk := apple()
	for _, e := range []Encoding{Protobuf, JSON} {
		b, err := e.Append(nil, &tk)
		if err != nil {
			t.Fatal(err)
		}
		var d Decoder
		var got Tick
		if n := testing.AllocsPerRun(100, func() {
			if err := d.Decode("", b, &got); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a tick", e.ContentType(), n)
		}
	}
}

func TestMarketStatesAndSourcesReadBackTheirNames(t *testing.T) {
	for m := MarketUnknown; m <= MarketClosed; m++ {
		if got := ParseMarketState(m.String()); got != m {
			t.Errorf("%s is read as %s", m, got)
		}
	}
	for s := SourceUnknown; s <= SourceSimulated; s++ {
		if got := ParseSource(s.String()); got != s {
			t.Errorf("%s is read as %s", s, got)
		}
	}
	if MarketState(99).String() != "UNKNOWN" || Source(-1).String() != "unknown" {
		t.Error("numbers from elsewhere must not panic")
	}
	if ParseMarketState("POSTPOST") != MarketClosed {
		t.Error("POSTPOST is a closed market")
	}
}

func FuzzDecode(f *testing.F) {
	tk := apple()
	for _, e := range []Encoding{Protobuf, JSON} {
		b, err := e.Append(nil, &tk)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.ContentType(), b)
		f.Add("", b)
	}
	f.Add("", []byte("{"))
	f.Fuzz(func(t *testing.T, contentType string, b []byte) {
		var d Decoder
		var tk Tick
		err := d.Decode(contentType, b, &tk)
		if err != nil {
			if !errors.Is(err, ErrTick) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		// What is accepted can be passed on and is the same tick then.
		for _, e := range []Encoding{Protobuf, JSON} {
			again, err := e.Append(nil, &tk)
			if err != nil {
				t.Fatal(err)
			}
			var got Tick
			if err := d.Decode(e.ContentType(), again, &got); err != nil {
				t.Fatalf("decode what was encoded: %v", err)
			}
			// Numbers of states and sources yet unknown lose only their number in JSON.
			got.MarketState, got.Source = tk.MarketState, tk.Source
			if diff := cmp.Diff(tk, got); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

// What is read quickly is what the decoder that knows all of JSON reads.
func FuzzQuickJSON(f *testing.F) {
	tk := apple()
	b, err := JSON.Append(nil, &tk)
	if err != nil {
		f.Fatal(err)
	}
	var got Tick
	if !quick(b, &got) || got != tk {
		f.Fatalf("%s is read as %+v", b, got)
	}
	f.Add(b)
	for _, text := range []string{
		`{}`, `{"symbol":"A"}`, `{"symbol":"A"} `, `{"symbol":"\u0041"}`, `{"symbol":"A","symbol":"B"}`, `{"symbol":null}`, `{"symbol":"A",}`,
		`{"price":1.5}`, `{"price":-1.25}`, `{"price":01}`, `{"price":1.}`, `{"price":.5}`, `{"price":"1.5"}`, `{"price":1e3}`, `{"price":0.123456785}`,
		`{"price":9999999999.99999999}`, `{"price":12345678901.5}`, `{"size":-0}`, `{"size":007}`, `{"size":999999999999999999}`, `{"size":9999999999999999999}`,
		`{"size":1,"size":2}`, `{"size":-}`, `{"other":1}`, `{"market_state":"regular","source":"yahoo"}`, `{"symbol":"A"}{"symbol":"B"}`, `{"seq":1}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fast, all Tick
		if !quick(b, &fast) {
			return
		}
		var j jsonDecoder
		if err := j.general(b, &all); err != nil {
			t.Fatalf("%s is refused: %v", b, err)
		}
		if fast != all {
			t.Fatalf("%s is read as %+v, not %+v", b, fast, all)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	tk := apple()
	for _, e := range []Encoding{Protobuf, JSON} {
		body, err := e.Append(nil, &tk)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(e.ContentType(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			var d Decoder
			var got Tick
			for b.Loop() {
				if err := d.Decode("", body, &got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	tk := apple()
	for _, e := range []Encoding{Protobuf, JSON} {
		b.Run(e.ContentType(), func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				var err error
				if buf, err = e.Append(buf[:0], &tk); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestSourcesOfOneOriginStayNamed(t *testing.T) {
	for _, c := range []struct{ a, b, want Source }{
		{SourceYahoo, SourceYahoo, SourceYahoo},
		{SourceYahooChart, SourceYahooChart, SourceYahooChart},
		{SourceYahooStream, SourceYahooChart, SourceYahoo},
		{SourceSimulated, SourceSimulatedChart, SourceSimulated},
		{SourceSimulated, SourceYahoo, SourceUnknown},
		{SourceUnknown, SourceYahoo, SourceUnknown},
	} {
		if c.a.With(c.b) != c.want || c.b.With(c.a) != c.want {
			t.Errorf("%s with %s is %s", c.a, c.b, c.a.With(c.b))
		}
	}
}
