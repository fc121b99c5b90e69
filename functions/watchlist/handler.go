// Package function is the function watchlist: which symbols Ticktape fetches,
// streams and keeps. GET shows the list, POST adds a symbol, DELETE removes one.
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/watchlist"
)

var list = watchlist.NewService()

// Handle answers GET, POST {"symbol":"AAPL"} and DELETE ?symbol=AAPL.
func Handle(req handler.Request) (handler.Response, error) {
	return list.Serve(req), nil
}
