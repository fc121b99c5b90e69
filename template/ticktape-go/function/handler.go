// Package function is the place of a function's handler. faas-cli lays the
// files of the function's folder over this sample; the sample keeps the module
// whole without them, and is what the template's own tests call.
package function

import (
	"net/http"

	handler "github.com/openfaas/templates-sdk/go-http"
)

// Handle answers with the body it was sent.
func Handle(req handler.Request) (handler.Response, error) {
	return handler.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/octet-stream"}},
		Body:       req.Body,
	}, nil
}
