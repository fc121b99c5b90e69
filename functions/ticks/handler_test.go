package function

import (
	"strings"
	"testing"

	"ticktape/internal/query/querytest"
)

func TestHandleAnswersFromTheStore(t *testing.T) {
	body := querytest.Function(t, Handle, "ticks", "symbol=AAPL&from=2026-03-02T14:36:41Z")
	if want := `"event_time":"2026-03-02T14:36:41.250Z","price":187.39,"size":120`; !strings.Contains(string(body), want) {
		t.Errorf("%s is not in %s", want, body)
	}
}
