package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// MaxRequest is the longest request of a client, in bytes: 500 symbols of 64
// bytes and what goes around them.
const MaxRequest = 40_000

const maxSymbolLength = 64

// Request is what a client says.
type Request struct {
	// Op is "subscribe", which replaces the subscription, or "snapshot", which
	// asks for the state anew after a gap.
	Op string `json:"op"`
	// Symbols to subscribe to; none means all.
	Symbols []string `json:"symbols"`
	// Pipeline is whether to send what the pipeline does, too.
	Pipeline bool `json:"pipeline"`
	// Epoch and Since say which state the client already has.
	Epoch string `json:"epoch"`
	Since uint64 `json:"since"`
}

// ErrRequest is the root of the errors of ParseRequest, whose texts are for the
// client's author. ErrJSON is wrapped besides where it is not even JSON.
var (
	ErrRequest = errors.New("not a request")
	ErrJSON    = errors.New("not JSON in UTF-8")
)

// ParseRequest reads a client's message. Fields it does not know are passed over.
func ParseRequest(b []byte) (Request, error) {
	var r Request
	if len(b) > MaxRequest {
		return r, fmt.Errorf("%w: longer than %d bytes", ErrRequest, MaxRequest)
	}
	if !utf8.Valid(b) || !json.Valid(b) {
		return r, fmt.Errorf("%w: %w", ErrRequest, ErrJSON)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) {
		return r, fmt.Errorf("%w: write a JSON object such as {\"op\":\"subscribe\",\"symbols\":[\"AAPL\"]}", ErrRequest)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return Request{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return r, r.Check()
}

// Check reports, as an error that wraps ErrRequest, what is wrong with a request.
func (r Request) Check() error {
	if r.Op != "subscribe" && r.Op != "snapshot" {
		return fmt.Errorf("%w: op %.20q is neither subscribe nor snapshot", ErrRequest, r.Op)
	}
	for _, s := range r.Symbols {
		if !validSymbol(s) {
			return fmt.Errorf("%w: %.70q can't be a symbol", ErrRequest, s)
		}
	}
	return nil
}

// validSymbol accepts what a tick may have as its symbol.
func validSymbol(s string) bool {
	if s == "" || len(s) > maxSymbolLength {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == '\\' {
			return false
		}
	}
	return true
}
