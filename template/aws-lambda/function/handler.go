// Package function is the place of a function's handler: the build puts the files
// of functions/NAME over this sample, which keeps the module whole without them.
package function

import (
	"net/http"

	handler "github.com/openfaas/templates-sdk/go-http"
)

// Handle answers with the request's query string and body.
func Handle(req handler.Request) (handler.Response, error) {
	return handler.Response{StatusCode: http.StatusOK, Body: append([]byte(req.QueryString+"\n"), req.Body...)}, nil
}
