// Package function is the function candles: open, high, low, close, volume and VWAP of
// a symbol by the minute and longer, the minute that is still open included.
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/query"
	"ticktape/internal/store"
)

var api = query.New(store.NewLazy(store.ConfigFromEnv))

// Handle answers GET ?symbol=AAPL&interval=5m&from=…&to=….
func Handle(req handler.Request) (handler.Response, error) {
	return api.Candles(req), nil
}
