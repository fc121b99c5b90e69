// Package function is the function seal: it turns windows that are over into
// candles, or rebuilds those of a range: POST ?from=…&to=….
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/seal"
)

var candles = seal.NewService()

// Handle seals what can be sealed and answers with what it did.
func Handle(req handler.Request) (handler.Response, error) {
	return candles.Serve(req), nil
}
