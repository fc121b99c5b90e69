package function

import (
	"strings"
	"testing"

	"ticktape/internal/query/querytest"
)

func TestHandleAnswersFromTheStore(t *testing.T) {
	body := querytest.Function(t, Handle, "quotes", "symbols=AAPL")
	if want := `"last":187.39,"change":2.39,"percent":1.2919`; !strings.Contains(string(body), want) {
		t.Errorf("%s is not in %s", want, body)
	}
}
