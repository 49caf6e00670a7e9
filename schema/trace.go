package schema

import (
	"encoding/hex"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// traceparentSize is that of a traceparent of version 00.
const traceparentSize = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// TraceparentOf returns the W3C trace context that an event belongs to: that of its
// own attribute traceparent (the CloudEvents extension for distributed tracing), else
// that of its message's header. Empty if it has none that is right: a trace is never
// a reason to refuse an event.
func TraceparentOf(e event.Event, header map[string][]string) string {
	if text, ok := e.Extensions()["traceparent"].(string); ok {
		if t := Traceparent(text); t != "" {
			return t
		}
	}
	for name, values := range header {
		if len(values) > 0 && strings.EqualFold(name, "traceparent") {
			if t := Traceparent(values[0]); t != "" {
				return t
			}
		}
	}
	return ""
}

// Traceparent returns a traceparent in the form of version 00, or nothing if the text
// is none. Of a later version the parts that version 00 knows are read, as the
// specification asks; of the flags only "sampled" is kept.
func Traceparent(text string) string {
	text = strings.TrimSpace(text)
	if len(text) < traceparentSize || len(text) > traceparentSize && (text[:2] == "00" || text[traceparentSize] != '-') {
		return ""
	}
	part := strings.Split(text[:traceparentSize], "-")
	if len(part) != 4 || part[0] == "ff" {
		return ""
	}
	for i, size := range [...]int{2, 32, 16, 2} {
		if len(part[i]) != size || strings.ToLower(part[i]) != part[i] {
			return ""
		}
		raw, err := hex.DecodeString(part[i])
		if err != nil || (i == 1 || i == 2) && strings.Trim(part[i], "0") == "" {
			return ""
		}
		if i == 3 {
			part[i] = hex.EncodeToString([]byte{raw[0] & 1})
		}
	}
	part[0] = "00"
	return strings.Join(part, "-")
}
