// Package function is the function quotes: the latest trade of each symbol.
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/query"
	"ticktape/internal/store"
)

var api = query.New(store.NewLazy(store.ConfigFromEnv))

// Handle answers GET ?symbols=AAPL,MSFT, or without symbols for all.
func Handle(req handler.Request) (handler.Response, error) {
	return api.Quotes(req), nil
}
