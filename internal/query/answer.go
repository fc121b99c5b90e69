package query

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	handler "github.com/openfaas/templates-sdk/go-http"
)

// answer is what a query function has to say, before it is JSON or CSV.
type answer struct {
	// body is the JSON document; rows, a slice of structs within it, is all that CSV shows.
	body, rows any
	// next is the cursor of the page behind this one, or empty.
	next string
	// final says that nothing but a late trade can still change the answer.
	final bool
}

const (
	typeJSON    = "application/json"
	typeCSV     = "text/csv; charset=utf-8; header=present"
	typeProblem = "application/problem+json"
)

// response encodes the answer to the query string that asked for it.
func (a *answer) response(asCSV bool, query string) (handler.Response, error) {
	res := respond(http.StatusOK)
	res.Header.Set("Vary", "Accept")
	res.Header.Set("Cache-Control", "public, max-age=1")
	if a.final {
		res.Header.Set("Cache-Control", "public, max-age=60")
	}
	if a.next != "" {
		res.Header.Set("Link", nextLink(query, a.next))
	}
	var err error
	if asCSV {
		res.Header.Set("Content-Type", typeCSV)
		res.Body, err = encodeCSV(a.rows)
	} else {
		res.Header.Set("Content-Type", typeJSON)
		res.Body, err = encodeJSON(a.body)
	}
	return res, err
}

// respond starts a response that scripts of any origin may read.
func respond(status int) handler.Response {
	return handler.Response{StatusCode: status, Header: http.Header{
		"Access-Control-Allow-Origin":   {"*"},
		"Access-Control-Expose-Headers": {"Link, Retry-After"},
		"X-Content-Type-Options":        {"nosniff"},
	}}
}

func (p *Problem) response() handler.Response {
	res := respond(p.Status)
	res.Header.Set("Content-Type", typeProblem)
	res.Header.Set("Cache-Control", "no-store")
	res.Body, _ = encodeJSON(p) // strings and numbers can't fail
	return res
}

// nextLink refers to the next page relative to the address that was asked, of
// which a function does not know its own path.
func nextLink(query, cursor string) string {
	values, _ := url.ParseQuery(query) // was read before
	values.Set("cursor", cursor)
	return fmt.Sprintf("<?%s>; rel=\"next\"", values.Encode())
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return b.Bytes(), nil
}

// encodeCSV writes a slice of structs as RFC 4180 has it. Columns are named by
// the json tags, and a field is the text of its JSON form without quotes, so the
// two forms can't disagree; null is an empty field.
func encodeCSV(rows any) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	v := reflect.ValueOf(rows)
	t := v.Type().Elem()
	record := make([]string, t.NumField())
	for i := range record {
		record[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	_ = w.Write(record) // a buffer takes everything
	for r := range v.Len() {
		for i := range record {
			field, err := csvField(v.Index(r).Field(i).Interface())
			if err != nil {
				return nil, err
			}
			record[i] = field
		}
		_ = w.Write(record)
	}
	w.Flush()
	return b.Bytes(), nil
}

func csvField(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode answer: %w", err)
	}
	if string(b) == "null" {
		return "", nil
	}
	if b[0] != '"' {
		return string(b), nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return "", fmt.Errorf("encode answer: %w", err)
	}
	return s, nil
}
