// Package function is the function backfill: it brings history from Yahoo's charts,
// of symbols that are new on the watch list, and of what is asked for with POST
// ?symbol=AAPL&interval=1m&range=5d.
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/backfill"
)

var history = backfill.NewService()

// Handle works on what is asked for, or on what is on the list.
func Handle(req handler.Request) (handler.Response, error) {
	return history.Serve(req), nil
}
