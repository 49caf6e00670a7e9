package schema

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// Mode is how an event is laid out in a message.
type Mode int

// The modes.
const (
	Structured Mode = iota // one JSON object holds attributes and data
	Binary                 // attributes in ce- headers, the data alone is the body
)

const (
	contentType    = "Content-Type"
	structuredType = "application/cloudevents+json; charset=utf-8"
	prefix         = "ce-"
)

// Encode lays out e as the NATS binding of CloudEvents says. What it returns,
// Decode reads as the same event, but for a source of Weir's own. An event that
// could not be read back is an error that says why.
func Encode(e event.Event, m Mode) (header map[string][]string, body []byte, err error) {
	defer recovered(&err)
	e, err = canonical(e)
	if err != nil {
		return nil, nil, fmt.Errorf("encode event: %w", err)
	}
	switch m {
	case Structured:
		return map[string][]string{contentType: {structuredType}}, marshal(e), nil
	case Binary:
		return binaryHeader(e), e.Data(), nil
	default:
		return nil, nil, fmt.Errorf("encode event: mode %d is unknown", m)
	}
}

// canonical returns e as Decode would return it, built anew by the same
// checks.
func canonical(e event.Event) (event.Event, error) {
	if e.SpecVersion() != event.CloudEventsVersionV1 {
		return e, fmt.Errorf("its CloudEvents version is %q, not 1.0", e.SpecVersion())
	}
	if err := e.Validate(); err != nil {
		return e, err
	}
	attributes := texts(e)
	for name, value := range e.Extensions() {
		v, err := plain(value)
		if err != nil {
			return e, fmt.Errorf("attribute %s: %w", name, err)
		}
		attributes[name] = v
	}
	out, refusal := build(attributesOf(attributes), slices.Clone(e.Data()))
	if refusal != nil {
		return e, refusal
	}
	return out, nil
}

// texts returns the standard attributes that e has.
func texts(e event.Event) map[string]any {
	out := map[string]any{"id": e.ID(), "source": e.Source(), "type": e.Type()}
	for name, value := range map[string]string{
		"subject":         e.Subject(),
		"dataschema":      e.DataSchema(),
		"datacontenttype": e.DataContentType(),
	} {
		if value != "" {
			out[name] = value
		}
	}
	if t := e.Time(); !t.IsZero() {
		out["time"] = types.FormatTime(t)
	}
	return out
}

// plain returns an extension's value as one of the types that JSON has: the SDK
// would write a time or URI in its own way.
func plain(value any) (any, error) {
	v, err := types.Validate(value)
	if err != nil {
		return nil, err
	}
	switch v.(type) {
	case bool, int32, string:
		return v, nil
	default:
		return types.Format(v)
	}
}

// marshal writes a canonical event as the JSON format says. The SDK's own
// writer puts the data of types such as application/ld+json into a string.
func marshal(e event.Event) []byte {
	attributes := texts(e)
	maps.Copy(attributes, e.Extensions())
	b := []byte(`{"specversion":"1.0"`)
	for _, name := range appendNames(nil, attributes) {
		b = appendMember(b, name, attributes[name])
	}
	data := e.Data()
	switch {
	case len(data) == 0:
	case e.DataBase64:
		b = appendMember(b, "data_base64", base64.StdEncoding.EncodeToString(data))
	case isJSON(e.DataContentType()):
		b = append(append(b, `,"data":`...), data...)
	default:
		b = appendMember(b, "data", string(data))
	}
	return append(b, '}')
}

func appendMember(b []byte, name string, value any) []byte {
	b = append(appendText(append(b, ','), name), ':')
	return appendScalar(b, value)
}

// binaryHeader returns the attributes of a canonical event as headers.
func binaryHeader(e event.Event) map[string][]string {
	attributes := texts(e)
	maps.Copy(attributes, e.Extensions())
	header := map[string][]string{prefix + "specversion": {event.CloudEventsVersionV1}}
	for name, value := range attributes {
		text, isText := value.(string)
		if !isText {
			text = fmt.Sprint(value) // true, false or a decimal number, as CloudEvents writes them
		}
		header[prefix+name] = []string{percentEncode(text)}
	}
	return header
}

// percentEncode writes an attribute for a header: the space, the double quote,
// the percent sign and all outside printable ASCII as %XX of their UTF-8.
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c == '"', c == '%', c > '~':
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&0xF])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
