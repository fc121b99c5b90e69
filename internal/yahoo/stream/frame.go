package stream

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"ticktape/internal/yahoo/stream/streampb"
)

// Reason is why a frame, or the trade in it, can't be used. There are few, so
// that they can be a label of a metric.
type Reason string

// The reasons there are.
const (
	// BadFrame is text that is neither the JSON nor the base64 that was expected.
	BadFrame Reason = "frame"
	// BadMessage is base64 of something that is no PricingData.
	BadMessage Reason = "message"
	// BadPrice is a price that no such thing can have: none, not a number, out of
	// range, or below zero.
	BadPrice Reason = "price"
	// BadTrade is a trade without symbol or with a time that is none.
	BadTrade Reason = "trade"
)

// Error says why a frame can't be used.
type Error struct {
	Reason Reason
	// Symbol is empty where it is not known.
	Symbol string
	Err    error
}

func (e *Error) Error() string {
	if e.Symbol == "" {
		return fmt.Sprintf("bad %s: %v", e.Reason, e.Err)
	}
	return fmt.Sprintf("bad %s of %.40q: %v", e.Reason, e.Symbol, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxFrame bounds a frame, in bytes. Yahoo's have about 200.
const maxFrame = 64 << 10

var errType = errors.New("its type is not pricing")

// DecodeFrame reads a text frame of the streamer: the JSON of version 2, or the
// bare base64 of the one before. The error is an *Error. The message does not
// point into the frame.
func DecodeFrame(frame []byte) (*streampb.PricingData, error) {
	frame = bytes.TrimSpace(frame)
	if len(frame) > maxFrame {
		return nil, &Error{Reason: BadFrame, Err: fmt.Errorf("it has %d bytes", len(frame))}
	}
	text := frame
	if len(frame) > 0 && frame[0] == '{' {
		var envelope struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(frame, &envelope); err != nil {
			return nil, &Error{Reason: BadFrame, Err: err}
		}
		if envelope.Type != "pricing" {
			return nil, &Error{Reason: BadFrame, Err: fmt.Errorf("%w but %.40q: %.200q", errType, envelope.Type, envelope.Message)}
		}
		text = []byte(envelope.Message)
	}
	if len(text) == 0 {
		return nil, &Error{Reason: BadFrame, Err: errors.New("it is empty")}
	}
	message := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(message, text)
	if err != nil {
		return nil, &Error{Reason: BadFrame, Err: err}
	}
	p := &streampb.PricingData{}
	if err := p.UnmarshalVT(message[:n]); err != nil {
		return nil, &Error{Reason: BadMessage, Err: err}
	}
	return p, nil
}
