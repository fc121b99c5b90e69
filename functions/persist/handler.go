// Package function is the function persist: it stores every tick of topic
// "ticks" and keeps each symbol's latest trade.
package function

import (
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/history"
	"ticktape/internal/trigger"
)

var ticks = history.NewService()

// Handle stores a batch of records, as the connector for Kafka sends it.
func Handle(req handler.Request) (handler.Response, error) {
	return trigger.Serve(req, ticks.Persist), nil
}
