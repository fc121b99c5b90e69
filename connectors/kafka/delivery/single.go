package delivery

import (
	"encoding/base64"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"ticktape/internal/trigger"
)

// reserved are the headers that a record's own headers do not replace.
var reserved = map[string]bool{
	trigger.HeaderPartition: true, trigger.HeaderOffset: true, trigger.HeaderTimestamp: true,
	trigger.HeaderKey: true, trigger.HeaderKeyEnc: true, trigger.HeaderTombstone: true,
}

const (
	encSuffix = "-Enc"
	encBase64 = "b64"
)

// singleHeaders are the headers of a call with one record, as OpenFaaS has them.
func singleHeaders(topic string, partition int, r *trigger.Record, contentType string) http.Header {
	h := http.Header{
		trigger.HeaderTopic:     {topic},
		trigger.HeaderPartition: {strconv.Itoa(partition)},
		trigger.HeaderOffset:    {strconv.FormatInt(r.Offset, 10)},
		trigger.HeaderTimestamp: {strconv.FormatInt(r.Timestamp, 10)},
	}
	if r.Key != nil {
		addText(h, trigger.HeaderKey, r.Key)
	}
	if r.Value == nil {
		h.Set(trigger.HeaderTombstone, "true")
	}
	for _, rh := range r.Headers {
		if strings.EqualFold(rh.Key, "content-type") && printable(rh.Value) {
			contentType = string(rh.Value)
		}
		name := headerName(rh.Key)
		if reserved[name] || reserved[strings.TrimSuffix(name, encSuffix)] {
			name = trigger.HeaderPrefix + "Header-" + strings.TrimPrefix(name, trigger.HeaderPrefix)
		}
		addText(h, name, rh.Value)
	}
	h.Set("Content-Type", contentType)
	return h
}

// addText adds a value as it is where it is printable text, else as base64 with
// another header that says so.
func addText(h http.Header, name string, value []byte) {
	if printable(value) {
		h[name] = append(h[name], string(value))
		return
	}
	h[name] = append(h[name], base64.StdEncoding.EncodeToString(value))
	h[name+encSuffix] = []string{encBase64}
}

// printable says whether a header can carry the value so that it arrives as it is.
func printable(v []byte) bool {
	for _, c := range v {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(v) == 0 || v[0] != ' ' && v[len(v)-1] != ' '
}

// headerName makes a header's name out of a record's header key: X-Kafka-KEY,
// with '-' for what a name can't have.
func headerName(key string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, key)
	return textproto.CanonicalMIMEHeaderKey(trigger.HeaderPrefix + clean)
}
