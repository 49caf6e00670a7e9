package schema

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
)

// DefaultLimit is how many bytes of body Decode accepts if it is not told
// another limit: 256 KiB, four times what CloudEvents asks everybody to take.
const DefaultLimit = 256 << 10

// Decode reads the event of one message, in whichever mode it is. The limit is
// in bytes of body; 0 stands for DefaultLimit. Every error is a *Refusal; no
// input makes it panic.
//
// The event that it returns keeps no reference to body.
func Decode(header map[string][]string, body []byte, limit int) (event.Event, error) {
	r, err := DecodeReading(header, body, limit)
	return r.Event, err
}

// DecodeReading is Decode of an event that is looked at several times. Beside an
// error the event is empty.
func DecodeReading(header map[string][]string, body []byte, limit int) (*Reading, error) {
	r, err := decodeSafely(header, body, limit)
	if err != nil {
		return &Reading{}, err
	}
	return r, nil
}

// decodeSafely is decode, whatever it does.
func decodeSafely(header map[string][]string, body []byte, limit int) (r *Reading, err error) {
	defer recovered(&err)
	r, refusal := decode(header, body, limit)
	if refusal != nil {
		return nil, refusal
	}
	return r, nil
}

func decode(header map[string][]string, body []byte, limit int) (*Reading, *Refusal) {
	if limit <= 0 {
		limit = DefaultLimit
	}
	if len(body) > limit {
		return nil, refuse(ClassTooLarge, "", "The event has %d bytes; at most %d are accepted.", len(body), limit)
	}
	h, refusal := fold(header)
	if refusal != nil {
		return nil, refusal
	}
	r, refusal := decodeMode(h, body)
	if refusal != nil {
		return nil, refusal
	}
	return r, checkSource(r.Event)
}

// decodeMode tells the mode from the headers.
func decodeMode(h headers, body []byte) (*Reading, *Refusal) {
	media := strings.ToLower(strings.TrimSpace(h["content-type"]))
	_, binary := h["ce-specversion"]
	switch {
	case strings.HasPrefix(media, "application/cloudevents"):
		if r := checkFormat(media); r != nil {
			return nil, r
		}
		return decodeStructured(body)
	case binary:
		return decodeBinary(h, body)
	default:
		return decodeUnmarked(h, body)
	}
}

// checkFormat refuses the event formats other than JSON.
func checkFormat(media string) *Refusal {
	name, parameters, err := mime.ParseMediaType(media)
	if err != nil {
		return refuse(ClassUndecodable, "Content-Type", "The Content-Type %s cannot be read.", quote(media))
	}
	if strings.HasPrefix(name, "application/cloudevents-batch") {
		return refuse(ClassUndecodable, "Content-Type", "This message is a batch of events (Content-Type %s); send one event in each message.", quote(name))
	}
	if name != "application/cloudevents" && name != "application/cloudevents+json" {
		return refuse(ClassUndecodable, "Content-Type", "This event is in a format that is not read here (Content-Type %s); send application/cloudevents+json.", quote(name))
	}
	if c := strings.ToLower(parameters["charset"]); c != "" && c != "utf-8" && c != "utf8" && c != "us-ascii" {
		return refuse(ClassUndecodable, "Content-Type", "This event is written in the character set %s; send UTF-8.", quote(c))
	}
	return nil
}

// decodeUnmarked reads a message whose headers do not say that it is an event:
// structured, if its body says so.
func decodeUnmarked(h headers, body []byte) (*Reading, *Refusal) {
	body = trimJSON(trimBOM(body))
	if r := decodePlain(body); r != nil {
		return r, nil
	}
	var probe map[string]json.RawMessage
	isObject := json.Unmarshal(body, &probe) == nil
	if _, ok := probe["specversion"]; isObject && ok {
		return decodeThorough(body)
	}
	for name := range h {
		if strings.HasPrefix(name, prefix) {
			return nil, refuse(ClassUndecodable, "specversion", "The event has no specversion: the header ce-specversion is missing.")
		}
	}
	return nil, refuse(ClassUndecodable, "specversion", "This message is not a CloudEvent: it has neither ce- headers nor a JSON object with a specversion.")
}

// decodeStructured reads an event that is one JSON object: in one pass, if all is
// well with it.
func decodeStructured(body []byte) (*Reading, *Refusal) {
	body = trimJSON(trimBOM(body))
	if r := decodePlain(body); r != nil {
		return r, nil
	}
	return decodeThorough(body)
}

// decodeThorough says what is wrong with a structured event, and reads what has an
// unusual form. It does not use the SDK's reader, which takes the last of two equal
// names, makes extension names lower-case, fails on null and, in the released
// versions, crashes on some events of version 0.3.
func decodeThorough(body []byte) (*Reading, *Refusal) {
	if _, err := parseJSON(body, maxDepth+1); err != nil { // its data alone may be maxDepth deep
		return nil, refuse(ClassUndecodable, "", "The event cannot be read as JSON: %s.", err)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return nil, refuse(ClassUndecodable, "", "The event is not a JSON object.")
	}
	if r := checkVersion(members["specversion"]); r != nil {
		return nil, r
	}
	attributes := make(map[string]any, len(members))
	for name, raw := range members {
		if name == "data" || name == "data_base64" || isNull(raw) {
			continue
		}
		value, r := attributeValue(name, raw)
		if r != nil {
			return nil, r
		}
		attributes[name] = value
	}
	data, r := structuredData(members, attributes)
	if r != nil {
		return nil, r
	}
	return reading(build(attributesOf(attributes), data))
}

// decodePlain reads a structured event in which nothing is wrong or unusual; nil if
// there is.
func decodePlain(body []byte) *Reading {
	if !utf8.Valid(body) {
		return nil
	}
	var room [12]jsonMember // of most events it is enough
	members, ok := scanMembers(room[:0], string(body), maxDepth)
	if !ok {
		return nil
	}
	var roomToo [len(room)]attribute
	attributes := roomToo[:0]
	var data jsonMember
	version, kind := "", ""
	for i := range members {
		switch m := &members[i]; {
		case m.name == "data":
			data = *m
		case !m.isText && m.other == nil: // null
		case m.name == "data_base64":
			return nil
		default:
			a, refusal := m.attribute(len(body))
			if refusal != nil {
				return nil
			}
			switch attributes = append(attributes, a); a.name {
			case "specversion":
				version = a.text
			case "datacontenttype":
				kind = a.text
			}
		}
	}
	if version != event.CloudEventsVersionV1 || !isJSON(kind) {
		return nil
	}
	e, refusal := build(attributes, nil)
	if refusal != nil || !isJSON(e.DataContentType()) {
		return nil
	}
	r := NewReading(e)
	if data.raw != "" {
		r.DataEncoded = []byte(data.raw)
		r.parsed, r.value = true, data.value()
	}
	return r
}

// reading is NewReading of an event, if there is one.
func reading(e event.Event, refusal *Refusal) (*Reading, *Refusal) {
	if refusal != nil {
		return nil, refusal
	}
	return NewReading(e), nil
}

// checkVersion looks at the raw specversion before anything else is read.
func checkVersion(raw json.RawMessage) *Refusal {
	var version string
	switch {
	case raw == nil || isNull(raw):
		return refuse(ClassUndecodable, "specversion", "This message is not a CloudEvent: specversion is missing.")
	case json.Unmarshal(raw, &version) != nil:
		return refuse(ClassVersion, "specversion", `The event's specversion must be the text "1.0".`)
	default:
		return checkVersionText(version)
	}
}

func checkVersionText(version string) *Refusal {
	switch version {
	case event.CloudEventsVersionV1:
		return nil
	case "":
		return refuse(ClassUndecodable, "specversion", "The event's specversion is empty.")
	case event.CloudEventsVersionV03:
		return refuse(ClassVersion, "specversion", "This event was written in CloudEvents version 0.3; send version 1.0.")
	default:
		return refuse(ClassVersion, "specversion", "This event was written in CloudEvents version %s; send version 1.0.", quote(version))
	}
}

// attributeValue reads an attribute of a structured event: text, a bool, or a
// whole number of 32 bits.
func attributeValue(name string, raw json.RawMessage) (any, *Refusal) {
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil || brokenEscape(raw, text) {
			return nil, refuse(ClassUndecodable, name, "The event's %s is not valid text.", quote(name))
		}
		return text, nil
	case 't', 'f':
		return raw[0] == 't', nil
	case '{', '[':
		return nil, refuse(ClassUndecodable, name, "The event's %s is an object or a list; only data may be one.", quote(name))
	default:
		n, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || n != float64(int32(n)) {
			return nil, refuse(ClassUndecodable, name, "The event's %s is not a whole number between -2147483648 and 2147483647; write it as text.", quote(name))
		}
		return int32(n), nil
	}
}

// brokenEscape reports whether half of a \u pair was replaced while reading
// raw. Two ids that differ in such a half would become one.
func brokenEscape(raw json.RawMessage, text string) bool {
	replaced := strings.Count(text, "\uFFFD")
	if replaced == 0 {
		return false
	}
	meant := bytes.Count(raw, []byte("\uFFFD")) + bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
	return replaced > meant
}

// structuredData returns the bytes of the data, or nil.
func structuredData(members map[string]json.RawMessage, attributes map[string]any) ([]byte, *Refusal) {
	data, encoded := members["data"], members["data_base64"]
	kind, _ := attributes["datacontenttype"].(string)
	switch {
	case encoded != nil && !isNull(encoded):
		if data != nil && !isNull(data) {
			return nil, refuse(ClassUndecodable, "data", "The event has both data and data_base64; send one of them.")
		}
		var text string
		if json.Unmarshal(encoded, &text) != nil {
			return nil, refuse(ClassUndecodable, "data_base64", "The event's data_base64 must be text.")
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, refuse(ClassUndecodable, "data_base64", "The event's data_base64 is not Base64.")
		}
		return b, nil
	case data == nil:
		return nil, nil
	case isJSON(kind):
		return data, nil
	case isNull(data):
		return nil, nil
	default:
		var text string
		if json.Unmarshal(data, &text) == nil {
			return []byte(text), nil
		}
		return data, nil
	}
}

// checkSource refuses what Weir itself has published: an outcome that was fed
// back would go round for ever.
func checkSource(e event.Event) *Refusal {
	own := strings.HasPrefix(e.Source(), ownSource)
	if c, ok := e.Context.(*event.EventContextV1); ok && !own {
		u := c.Source.URL
		own = u.Scheme == "" && u.Host == "" && strings.HasPrefix(u.Path, ownSource)
	}
	if own {
		return refuse(ClassSource, "source", "The event's source begins with /weir/, which is kept for what Weir itself publishes.")
	}
	return nil
}

// ownSource begins the source of every event that Weir makes.
const ownSource = "/weir/"

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// trimBOM cuts the mark that some Windows programs put before UTF-8.
func trimBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\uFEFF")) }
