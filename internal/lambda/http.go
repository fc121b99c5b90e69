package lambda

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	handler "github.com/openfaas/templates-sdk/go-http"

	"ticktape/internal/trigger"
)

const (
	// compressed is the size in bytes from which an answer is compressed for who
	// accepts that.
	compressed = 1 << 10
	// largest is what an answer may take, as JSON: 6 MB is Lambda's limit, which it
	// tells nobody but the log.
	largest = 6*1_000_000 - 1_000
)

// http answers a request to a function URL or an HTTP API. The two have one form.
func (a *Adapter) http(ctx context.Context, payload []byte) ([]byte, error) {
	var e events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("the event of an HTTP request can't be read: %w", err)
	}
	req, err := request(&e)
	var res handler.Response
	if err != nil {
		res = trigger.Problem(http.StatusBadRequest, err.Error())
	} else {
		res = a.call(ctx, req)
	}
	answer, err := json.Marshal(response(&req, &res))
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	if len(answer) > largest {
		res = trigger.Problem(http.StatusInternalServerError,
			fmt.Sprintf("The answer takes %d bytes, and AWS Lambda lets at most 6 MB out. Ask for less (limit), or accept gzip.", len(answer)))
		return json.Marshal(response(&req, &res))
	}
	return answer, nil
}

func request(e *events.APIGatewayV2HTTPRequest) (handler.Request, error) {
	req := handler.Request{
		Method:      e.RequestContext.HTTP.Method,
		QueryString: e.RawQueryString,
		Header:      http.Header{},
		Host:        e.RequestContext.DomainName,
	}
	for name, value := range e.Headers { // of one that came twice both values, with a comma between them
		req.Header.Set(name, value)
	}
	if len(e.Cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	req.Body = []byte(e.Body)
	if e.IsBase64Encoded {
		body, err := base64.StdEncoding.DecodeString(e.Body)
		if err != nil {
			return req, fmt.Errorf("the body is not in base64, as the event says: %w", err)
		}
		req.Body = body
	}
	return req, nil
}

func response(req *handler.Request, res *handler.Response) *events.LambdaFunctionURLResponse {
	header := res.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	body := res.Body
	if req.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified {
		body = nil
	}
	if len(body) >= compressed && header.Get("Content-Encoding") == "" {
		header.Add("Vary", "Accept-Encoding")
		if acceptsGzip(req.Header.Get("Accept-Encoding")) {
			header.Set("Content-Encoding", "gzip")
			body = zipped(body)
		}
	}
	out := &events.LambdaFunctionURLResponse{StatusCode: res.StatusCode, Headers: map[string]string{}, Cookies: header.Values("Set-Cookie")}
	header.Del("Set-Cookie")
	for name, values := range header {
		out.Headers[name] = strings.Join(values, ", ")
	}
	if header.Get("Content-Encoding") == "" && utf8.Valid(body) {
		out.Body = string(body)
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return out
}

// acceptsGzip reads the header Accept-Encoding.
func acceptsGzip(header string) bool {
	for coding := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		weight, given := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		q, err := strconv.ParseFloat(weight, 64)
		return !given || err == nil && q > 0
	}
	return false
}

func zipped(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}
