package push

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"ticktape/dashboard/feedtest"
	"ticktape/dashboard/hub"
	"ticktape/internal/testbed"
)

const patience = time.Minute

type bench struct {
	hub    *hub.Hub
	push   *Server
	market *feedtest.Market
	http   *httptest.Server
	stop   context.CancelFunc
}

func start(t *testing.T, cfg hub.Config, origins ...string) *bench {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	b := &bench{hub: hub.New(cfg), market: feedtest.New(1, feedtest.Symbols), stop: stop}
	b.push = New(ctx, b.hub, origins)
	ran := make(chan struct{})
	go func() { defer close(ran); _ = b.hub.Run(ctx) }()
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", b.push.WebSocket)
	mux.HandleFunc("/sse", b.push.Events)
	b.http = httptest.NewServer(mux)
	t.Cleanup(func() {
		stop()
		b.push.Wait()
		b.http.Close()
		<-ran
	})
	return b
}

func (b *bench) dial(t *testing.T, query string, header http.Header) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(b.http.URL, "http")+"/ws"+query, header)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetReadDeadline(time.Now().Add(patience))
	}
	return conn, resp, err
}

func (b *bench) open(t *testing.T, query string) *websocket.Conn {
	t.Helper()
	conn, _, err := b.dial(t, query, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

type message struct {
	Type, Epoch string
	From, Seq   uint64
	Quotes      []struct{ Symbol, Price string }
}

// next returns the next message that is no pulse.
func next(t *testing.T, conn *websocket.Conn) message {
	t.Helper()
	for {
		var m message
		if err := conn.ReadJSON(&m); err != nil {
			t.Fatal(err)
		}
		if m.Type != "pulse" {
			return m
		}
	}
}

func closeCode(t *testing.T, conn *websocket.Conn) (code int, reason string) {
	t.Helper()
	for {
		_, _, err := conn.ReadMessage()
		if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla never wraps it
			return e.Code, e.Text
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWebSocketGetsASnapshotAndDeltasAndCanAskForMore(t *testing.T) {
	b := start(t, hub.Config{})
	b.hub.Apply(b.market.Past(2*time.Minute, 3))
	conn := b.open(t, "?symbols=AAPL,MSFT")
	snap := next(t, conn)
	if snap.Type != "snapshot" || len(snap.Quotes) != 2 {
		t.Fatalf("got %+v", snap)
	}
	b.hub.Apply(b.market.Past(time.Minute, 5))
	at := snap.Seq
	if d := next(t, conn); d.Type != "delta" || d.From != at || len(d.Quotes) == 0 {
		t.Fatalf("got %+v", d)
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"snapshot"}`)); err != nil {
		t.Fatal(err)
	}
	for next(t, conn).Type != "snapshot" {
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"subscribe","symbols":["BTC-USD"]}`)); err != nil {
		t.Fatal(err)
	}
	for {
		m := next(t, conn)
		if m.Type == "snapshot" {
			if len(m.Quotes) != 1 || m.Quotes[0].Symbol != "BTC-USD" {
				t.Errorf("got %+v", m)
			}
			return
		}
	}
}

func TestAConnectionThatBreaksGoesOnWithoutASnapshot(t *testing.T) {
	b := start(t, hub.Config{})
	b.hub.Apply(b.market.Past(2*time.Minute, 3))
	conn := b.open(t, "")
	snap := next(t, conn)
	_ = conn.Close()
	b.hub.Apply(b.market.Past(time.Minute, 4))
	conn = b.open(t, "?epoch="+snap.Epoch+"&since="+strconv.FormatUint(snap.Seq, 10))
	if d := next(t, conn); d.Type != "delta" || d.From != snap.Seq {
		t.Errorf("got %+v", d)
	}
}

// A client that lands on another replica has a place that means nothing there.
func TestAnotherReplicaAnswersWithASnapshotOfTheSameState(t *testing.T) {
	one, two := start(t, hub.Config{}), start(t, hub.Config{})
	past := one.market.Past(2*time.Minute, 3)
	one.hub.Apply(past)
	two.hub.Apply(past)
	conn := one.open(t, "")
	at := next(t, conn)
	for range 5 { // replicas count their own revisions
		step := one.market.Step(20)
		one.hub.Apply(step)
		two.hub.Apply(step)
		if d := next(t, conn); d.Seq > at.Seq {
			at.Seq = d.Seq
		}
	}
	testbed.Eventually(t, patience, "both have flushed everything", func() bool { return string(quotesOf(one)) == string(quotesOf(two)) })
	other := two.open(t, "?epoch="+at.Epoch+"&since="+strconv.FormatUint(at.Seq, 10))
	snap := next(t, other)
	if snap.Type != "snapshot" || snap.Epoch == at.Epoch || len(snap.Quotes) != len(feedtest.Symbols) {
		t.Errorf("got %s of %s with %d quotes", snap.Type, snap.Epoch, len(snap.Quotes))
	}
}

// quotesOf is a snapshot without what differs from replica to replica.
func quotesOf(b *bench) []byte {
	text := b.hub.Snapshot(nil)
	text = text[bytes.Index(text, []byte(`"quotes"`)):]
	return regexp.MustCompile(`,"rev":\d+`).ReplaceAll(text, nil)
}

func TestWhoeverWantsThePipelineGetsItWithThePulse(t *testing.T) {
	b := start(t, hub.Config{Beat: 20 * time.Millisecond})
	b.hub.SetPipeline([]byte(`{"type":"pipeline"}`))
	conn := b.open(t, "?pipeline=1")
	for next(t, conn).Type != "pipeline" {
	}
	if b.hub.Watchers() != 1 {
		t.Errorf("%d clients want it", b.hub.Watchers())
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"subscribe"}`)); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, patience, "nobody wants it", func() bool { return b.hub.Watchers() == 0 })
}

func TestServerSentEventsCarryTheSameStreamAndResume(t *testing.T) {
	b := start(t, hub.Config{})
	b.hub.Apply(b.market.Past(2*time.Minute, 3))
	listen := func(last string) (message, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.http.URL+"/sse?symbols=AAPL", nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
			t.Fatalf("content type %s", ct)
		}
		var id string
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if v, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = v
			}
			v, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var m message
			if err := json.Unmarshal([]byte(v), &m); err != nil {
				t.Fatal(err)
			}
			if m.Type != "pulse" {
				return m, id
			}
		}
		t.Fatal("the stream has ended")
		return message{}, ""
	}
	snap, id := listen("")
	if snap.Type != "snapshot" || len(snap.Quotes) != 1 || id == "" {
		t.Fatalf("got %+v, id %q", snap, id)
	}
	b.hub.Apply(b.market.Past(time.Minute, 5))
	testbed.Eventually(t, patience, "the change is flushed", func() bool { return b.hub.Status().Seq > snap.Seq })
	if d, _ := listen(id); d.Type != "delta" || d.From != snap.Seq {
		t.Errorf("after the event %s: %+v", id, d)
	}
	for _, bad := range []string{"x", "-", "a-b", "other-" + strconv.FormatUint(snap.Seq, 10)} {
		if m, _ := listen(bad); m.Type != "snapshot" {
			t.Errorf("after the event %q: %+v", bad, m)
		}
	}
}

func TestHostileMessagesCloseTheirConnectionAndNothingElse(t *testing.T) {
	b := start(t, hub.Config{SymbolsPerClient: 3})
	b.hub.Apply(b.market.Past(time.Minute, 3))
	good := b.open(t, "?symbols=AAPL")
	next(t, good)
	symbols := func(n int) string { return `["` + strings.Join(slices.Repeat([]string{"A"}, n), `","`) + `"]` }
	for name, c := range map[string]struct {
		kind int
		text string
		code int
	}{
		"no JSON":                  {websocket.TextMessage, "hello", websocket.CloseInvalidFramePayloadData},
		"half of JSON":             {websocket.TextMessage, `{"op":"subscribe","symbols":["A"`, websocket.CloseInvalidFramePayloadData},
		"two requests in one":      {websocket.TextMessage, `{"op":"snapshot"}{"op":"snapshot"}`, websocket.CloseInvalidFramePayloadData},
		"a null byte":              {websocket.TextMessage, "\x00", websocket.CloseInvalidFramePayloadData},
		"nothing":                  {websocket.TextMessage, "", websocket.CloseInvalidFramePayloadData},
		"bytes that are not UTF-8": {websocket.TextMessage, "{\"op\":\"\xff\"}", websocket.CloseInvalidFramePayloadData},
		"deep nesting":             {websocket.TextMessage, strings.Repeat("[", hub.MaxRequest/2) + strings.Repeat("]", hub.MaxRequest/2), websocket.CloseInvalidFramePayloadData},
		"an array":                 {websocket.TextMessage, `[{"op":"snapshot"}]`, websocket.ClosePolicyViolation},
		"a null":                   {websocket.TextMessage, `null`, websocket.ClosePolicyViolation},
		"no op":                    {websocket.TextMessage, `{}`, websocket.ClosePolicyViolation},
		"another op":               {websocket.TextMessage, `{"op":"drop"}`, websocket.ClosePolicyViolation},
		"an op of another type":    {websocket.TextMessage, `{"op":["subscribe"]}`, websocket.ClosePolicyViolation},
		"symbols of another type":  {websocket.TextMessage, `{"op":"subscribe","symbols":{"A":1}}`, websocket.ClosePolicyViolation},
		"a negative place":         {websocket.TextMessage, `{"op":"subscribe","since":-1}`, websocket.ClosePolicyViolation},
		"a place out of range":     {websocket.TextMessage, `{"op":"subscribe","since":1e300}`, websocket.ClosePolicyViolation},
		"a symbol with a script":   {websocket.TextMessage, `{"op":"subscribe","symbols":["<script>\""]}`, websocket.ClosePolicyViolation},
		"a symbol with a new line": {websocket.TextMessage, `{"op":"subscribe","symbols":["A\n"]}`, websocket.ClosePolicyViolation},
		"a symbol without end":     {websocket.TextMessage, `{"op":"subscribe","symbols":["` + strings.Repeat("A", 1000) + `"]}`, websocket.ClosePolicyViolation},
		"too many symbols":         {websocket.TextMessage, `{"op":"subscribe","symbols":["A","B","C","D"]}`, websocket.ClosePolicyViolation},
		"one symbol ten thousand times, which is too long": {websocket.TextMessage, `{"op":"subscribe","symbols":` + symbols(10_001) + `}`, websocket.CloseMessageTooBig},
		"a huge message":        {websocket.TextMessage, strings.Repeat("x", hub.MaxRequest+1), websocket.CloseMessageTooBig},
		"binary":                {websocket.BinaryMessage, `{"op":"snapshot"}`, websocket.CloseUnsupportedData},
		"a huge binary message": {websocket.BinaryMessage, strings.Repeat("x", hub.MaxRequest+1), websocket.CloseUnsupportedData},
	} {
		t.Run(name, func(t *testing.T) {
			conn := b.open(t, "")
			if err := conn.WriteMessage(c.kind, []byte(c.text)); err != nil {
				t.Fatal(err)
			}
			if code, reason := closeCode(t, conn); code != c.code || reason == "" && code != websocket.CloseMessageTooBig {
				t.Errorf("closed with %d %q, want %d and a reason", code, reason, c.code)
			}
		})
	}
	t.Run("a little that inflates to very much", func(t *testing.T) {
		dialer := websocket.Dialer{EnableCompression: true}
		conn, _, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(b.http.URL, "http")+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = conn.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte(" "), 30<<20)) // it may be closed in the middle
		if code, _ := closeCode(t, conn); code != websocket.CloseMessageTooBig {
			t.Errorf("closed with %d", code)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 60<<20 { // the test's own 30 MiB are among it
			t.Errorf("%d MiB were allocated", grown>>20)
		}
	})
	t.Run("too many pings", func(t *testing.T) {
		conn := b.open(t, "")
		for range 200 {
			if conn.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)) != nil {
				break // closed already
			}
		}
		if code, _ := closeCode(t, conn); code != websocket.ClosePolicyViolation {
			t.Errorf("closed with %d", code)
		}
	})
	conn := b.open(t, "")
	for range 200 {
		if conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"snapshot"}`)) != nil {
			break // closed already
		}
	}
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			break
		}
	}
	testbed.Eventually(t, patience, "only the good client is left", func() bool { return b.hub.Status().Clients == 1 })
	b.hub.Apply(b.market.Past(time.Minute, 4))
	if d := next(t, good); d.Type != "delta" {
		t.Errorf("the good client got %+v", d)
	}
}

func TestARawSocketThatSendsGarbageIsDropped(t *testing.T) {
	b := start(t, hub.Config{})
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(b.http.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		junk := make([]byte, 300)
		for i := range junk {
			junk[i] = byte(rnd.UintN(256))
		}
		_, _ = conn.Write(junk)
		_ = conn.Close()
	}
	testbed.Eventually(t, patience, "no client is left", func() bool { return b.hub.Status().Clients == 0 })
}

func TestOriginsAreChecked(t *testing.T) {
	b := start(t, hub.Config{}, "https://friend.example")
	own := "http://" + strings.TrimPrefix(b.http.URL, "http://")
	for origin, ok := range map[string]bool{
		"": true, own: true, "https://friend.example": true,
		"https://evil.example": false, "null": false, "https://friend.example.evil.example": false, "http://%zz": false,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		conn, resp, err := b.dial(t, "", header)
		if (err == nil) != ok || !ok && resp.StatusCode != http.StatusForbidden {
			t.Errorf("WebSocket from %q: %v", origin, err)
		}
		if err == nil {
			_ = conn.Close()
		}
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.http.URL+"/sse", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err = http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if (resp.StatusCode == http.StatusOK) != ok {
			t.Errorf("events from %q: %s", origin, resp.Status)
		}
		_ = resp.Body.Close()
		cancel()
	}
}

func TestBadAddressesAndFullHousesAreToldInPlainWords(t *testing.T) {
	b := start(t, hub.Config{Clients: 1, SymbolsPerClient: 1})
	for query, status := range map[string]int{
		"?symbols=a%20b": http.StatusBadRequest, "?since=x": http.StatusBadRequest, "?symbols=A,B": http.StatusBadRequest, "?symbols=,": http.StatusBadRequest,
	} {
		if _, resp, err := b.dial(t, query, nil); err == nil || resp.StatusCode != status {
			t.Errorf("%s: %v", query, err)
		}
	}
	next(t, b.open(t, ""))
	full := count(t, droppedFull)
	_, resp, err := b.dial(t, "", nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a client too many: %v", err)
	}
	if n := count(t, droppedFull) - full; n != 1 {
		t.Errorf("%v clients were counted as sent away, want 1", n)
	}
	plain, err := http.Get(b.http.URL + "/ws") //nolint:noctx // ends with the test
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Body.Close()
	if plain.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain GET: %s", plain.Status)
	}
}

// A client that reads nothing for thousands of changes costs no memory for them
// and holds nobody up; when it reads again it is soon at the newest state.
func TestASlowClientIsConflated(t *testing.T) {
	b := start(t, hub.Config{Flush: time.Millisecond})
	b.push.accept = time.Minute // this test may be slower than its client
	market := feedtest.New(3, feedtest.Many(300))
	b.hub.Apply(market.Past(time.Minute, 2))
	slow, fast := b.open(t, ""), b.open(t, "")
	first := next(t, slow)
	next(t, fast)
	for range 250 {
		b.hub.Apply(market.Step(300))
		next(t, fast)
	}
	end := b.hub.Status().Seq
	messages := 0
	at := first.Seq
	for at < end {
		m := next(t, slow)
		if m.From > at {
			t.Fatalf("a delta from %d to a client at %d", m.From, at)
		}
		at = m.Seq
		messages++
	}
	t.Logf("%d revisions came in %d messages", end-first.Seq, messages)
	if revisions := int(end - first.Seq); messages >= revisions {
		t.Errorf("%d revisions came in %d messages", revisions, messages)
	}
}

func TestStreamsEndWhenTheServiceStops(t *testing.T) {
	b := start(t, hub.Config{})
	conn := b.open(t, "")
	next(t, conn)
	b.stop()
	if code, _ := closeCode(t, conn); code != websocket.CloseServiceRestart {
		t.Errorf("closed with %d", code)
	}
	b.push.Wait()
	if n := b.hub.Status().Clients; n != 0 {
		t.Errorf("%d clients are left", n)
	}
}

func TestAClientThatAcceptsNothingIsDropped(t *testing.T) {
	b := start(t, hub.Config{Flush: time.Millisecond})
	b.push.accept = 100 * time.Millisecond
	market := feedtest.New(3, feedtest.Many(300))
	b.hub.Apply(market.Past(time.Minute, 2))
	next(t, b.open(t, ""))
	slow := count(t, droppedSlow)
	testbed.Eventually(t, patience, "the client is gone", func() bool {
		b.hub.Apply(market.Step(300))
		return b.hub.Status().Clients == 0 && count(t, droppedSlow) == slow+1
	})
}

func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
