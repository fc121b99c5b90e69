// Package function is the function process: it counts each record of topic
// "ticks" once, in the live window of its symbol and minute, and publishes the
// windows that changed.
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/live"
	"ticktape/internal/trigger"
)

var windows = live.NewService()

// Handle counts a batch of records, as the connector for Kafka sends it.
func Handle(req handler.Request) (handler.Response, error) {
	return trigger.Serve(req, windows.Process), nil
}
