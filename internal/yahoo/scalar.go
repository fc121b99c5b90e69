package yahoo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"ticktape/internal/tick"
)

// decodeJSON is json.Unmarshal, but takes what some servers write for numbers
// that are none: NaN and Infinity, which are no JSON, are read as the texts of
// these names, so that they spoil the field that they stand in and no other.
func decodeJSON(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	quoted, found := quoteNonNumbers(body)
	if !found {
		return err
	}
	return json.Unmarshal(quoted, into)
}

// quoteNonNumbers puts NaN, Infinity and -Infinity outside of texts into quotes.
func quoteNonNumbers(body []byte) (quoted []byte, found bool) {
	inText, done := false, 0
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case !inText && (c == 'N' || c == 'I' || c == '-'):
			for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
				if bytes.HasPrefix(body[i:], []byte(word)) {
					quoted = append(append(append(append(quoted, body[done:i]...), '"'), word...), '"')
					i += len(word) - 1
					done, found = i+1, true
					break
				}
			}
		}
	}
	return append(quoted, body[done:]...), found
}

// scalar is one value of an answer, as the text it came in. Reading one never
// fails, so that one field of an odd type spoils neither its quote's other
// fields nor other quotes; what is asked of it later may.
//
// With formatted=true a number comes as {"raw":1.5,"fmt":"1.50"}, which is read
// as the number, and a number that is not there as {}.
type scalar struct {
	kind kind
	text string
}

type kind byte

const (
	absent kind = iota
	number
	text
	boolean
	composite
)

var errAbsent = errors.New("is missing")

func (s *scalar) UnmarshalJSON(b []byte) error {
	*s = readScalar(b)
	if s.kind != composite {
		return nil
	}
	var formatted struct {
		Raw json.RawMessage `json:"raw"`
	}
	switch err := json.Unmarshal(b, &formatted); {
	case err != nil: // an array
	case formatted.Raw != nil:
		*s = readScalar(formatted.Raw)
	case bytes.Equal(bytes.TrimSpace(b[1:]), []byte("}")):
		*s = scalar{}
	}
	return nil
}

func readScalar(b []byte) scalar {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return scalar{}
	}
	switch b[0] {
	case 'n':
		return scalar{}
	case 't', 'f':
		return scalar{boolean, string(b)}
	case '{', '[':
		return scalar{kind: composite}
	case '"':
		var s string
		if json.Unmarshal(b, &s) != nil {
			return scalar{kind: composite}
		}
		return scalar{text, s}
	}
	return scalar{number, string(b)}
}

// string returns text, or nothing where the value is of another kind.
func (s scalar) string() string {
	if s.kind != text {
		return ""
	}
	return s.text
}

func (s scalar) odd() error {
	return fmt.Errorf("is %s instead of a number", [...]string{"missing", "", "text", "true or false", "an object or list"}[s.kind])
}

// price reads the number as it stands, digit by digit.
func (s scalar) price() (tick.Price, error) {
	switch s.kind {
	case absent:
		return 0, errAbsent
	case number:
		return tick.ParsePrice(s.text)
	}
	return 0, s.odd()
}

// maxDigits bounds the numbers that are worth reading: without it 1e999999999
// would be worked out.
const maxDigits = 30

// int reads a whole number. A fraction, which volumes of crypto currencies have, is cut off.
func (s scalar) int() (int64, error) {
	switch s.kind {
	case absent:
		return 0, errAbsent
	case number:
	default:
		return 0, s.odd()
	}
	if v, err := strconv.ParseInt(s.text, 10, 64); err == nil {
		return v, nil
	}
	_, exp, _ := strings.Cut(strings.ToLower(s.text), "e")
	if e, err := strconv.Atoi(exp); len(s.text) > maxDigits || exp != "" && (err != nil || e > maxDigits || e < -maxDigits) {
		return 0, fmt.Errorf("is a number out of range: %.40s", s.text)
	}
	r, ok := new(big.Rat).SetString(s.text)
	if !ok {
		return 0, fmt.Errorf("is not a number: %.40s", s.text)
	}
	q := new(big.Int).Quo(r.Num(), r.Denom())
	if !q.IsInt64() {
		return 0, fmt.Errorf("is a number out of range: %.40s", s.text)
	}
	return q.Int64(), nil
}
