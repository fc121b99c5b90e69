// Package function is the function fetch: on a schedule it asks Yahoo for the
// latest trades and publishes those that are new to topic "ticks".
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/ingest"
)

var ticks = ingest.NewService()

// Handle fetches once, when the connector for schedules calls.
func Handle(req handler.Request) (handler.Response, error) {
	return ticks.Serve(req), nil
}
