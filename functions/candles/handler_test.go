package function

import (
	"strings"
	"testing"

	"ticktape/internal/query/querytest"
)

func TestHandleAnswersFromTheStore(t *testing.T) {
	body := querytest.Function(t, Handle, "candles", "symbol=AAPL&interval=1h")
	if want := `"volume":2310,"turnover":432981.87,"vwap":187.43803896,"tick_count":21`; !strings.Contains(string(body), want) {
		t.Errorf("%s is not in %s", want, body)
	}
}
