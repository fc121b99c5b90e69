package stage

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"ticktape/internal/testbed"
)

// Each state can be shown, and "live" ends it.
func TestEachStateIsShownAndEnds(t *testing.T) {
	s, err := New(20, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server := httptest.NewServer(s)
	defer server.Close()
	status := func() (code int, symbols int) {
		resp, err := http.Get(server.URL + "/api/status") //nolint:noctx // ends with the test
		if err != nil {
			return 0, 0 // dropped
		}
		defer resp.Body.Close()
		var body struct{ Symbols int }
		_ = json.NewDecoder(resp.Body).Decode(&body) // a problem has none
		return resp.StatusCode, body.Symbols
	}
	for _, state := range states {
		if state[0] == "many" {
			continue // last, because the symbols stay
		}
		if err := s.Show(state[0], 0, 0); err != nil {
			t.Fatalf("%s: %v", state[0], err)
		}
		code, symbols := status()
		switch state[0] {
		case "down":
			if code != 0 {
				t.Errorf("down answers %d", code)
			}
		case "token":
			if code != http.StatusUnauthorized {
				t.Errorf("token answers %d", code)
			}
		case "empty":
			if symbols != 0 {
				t.Errorf("empty has %d symbols", symbols)
			}
		}
		if err := s.Show("live", 0, 0); err != nil {
			t.Fatalf("after %s: %v", state[0], err)
		}
		testbed.Eventually(t, time.Minute, "all is well after "+state[0], func() bool {
			code, symbols := status()
			return code == http.StatusOK && symbols == 20
		})
	}
	if err := s.Show("many", 60, 100); err != nil {
		t.Fatal(err)
	}
	if _, symbols := status(); symbols != 60 {
		t.Errorf("many has %d symbols", symbols)
	}
	if err := s.Show("nothing", 0, 0); err == nil {
		t.Error("there is a state nothing")
	}
}
