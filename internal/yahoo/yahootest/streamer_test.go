package yahootest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTheStreamerIsToldHowToBehave(t *testing.T) {
	s := NewServer(Options{})
	tell := func(query string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/control/stream?"+query, nil))
		return w
	}
	if w := tell("die=5s&stale=72h&every=1s&heartbeat=2s&malformed=20&cap=50&refuse=503&mute=AAPL&mute=KO"); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	o := s.Streamer.behaviour()
	if o.DieAfter != 5*time.Second || o.Stale != 72*time.Hour || o.Every != time.Second || o.Heartbeat != 2*time.Second ||
		o.Malformed != 20 || o.Cap != 50 || o.Refuse != 503 || len(o.Mute) != 2 {
		t.Errorf("options %+v", o)
	}
	for _, query := range []string{"die=soon", "refuse=7", "cap=-1", "colour=red", "malformed=x"} {
		if w := tell(query); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "=") {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
	if o := s.Streamer.behaviour(); o.Cap != 50 {
		t.Errorf("a mistake changed something: %+v", o)
	}
	tell("")
	if o := s.Streamer.behaviour(); o.Cap != 100 || o.Refuse != 0 {
		t.Errorf("options %+v", o)
	}
}
