// Package function is the function ticks: every trade of a symbol in a range of
// time, page by page.
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/query"
	"ticktape/internal/store"
)

var api = query.New(store.NewLazy(store.ConfigFromEnv))

// Handle answers GET ?symbol=AAPL&from=…&to=….
func Handle(req handler.Request) (handler.Response, error) {
	return api.Ticks(req), nil
}
