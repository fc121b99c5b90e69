package query

import (
	"fmt"
	"net/http"
)

// Problem is the body of every answer that is not a success: RFC 9457 problem
// details, with the parameter that caused it and what would be allowed there.
// As an error it is what the steps of an answer return where the caller, not
// the server, has something to change.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Parameter is the name of the query parameter at fault, if one is.
	Parameter string `json:"parameter,omitempty"`
	// Allowed lists the values that the parameter takes, or the parameters that
	// the function takes.
	Allowed []string `json:"allowed,omitempty"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

func problem(status int, format string, args ...any) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

// badParameter is a 400 that names the parameter.
func badParameter(name, format string, args ...any) *Problem {
	p := problem(http.StatusBadRequest, format, args...)
	p.Parameter = name
	return p
}

// unknownSymbol is the 404 of symbols of which no trade was ever stored.
func unknownSymbol(parameter string, symbols ...string) *Problem {
	p := problem(http.StatusNotFound, "No trade of symbol %.70q was ever seen. Symbols are case-sensitive.", symbols[0])
	if n := len(symbols); n > 1 {
		p.Detail = fmt.Sprintf("No trade of any of the %d symbols was ever seen. Symbols are case-sensitive.", n)
	}
	p.Parameter = parameter
	return p
}
