package schema

import (
	"mime"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// maxAttribute bounds one attribute's value. 4 KiB is over twice the longest
// URL that browsers agree on, and keeps a binary event's headers small beside
// its data.
const maxAttribute = 4 << 10

// isControl reports whether CloudEvents forbids r in a string: a control
// character or a code point that is no character. It also keeps line breaks out
// of headers, logs and ledger keys.
func isControl(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7F && r <= 0x9F:
		return true
	case r >= 0xFDD0 && r <= 0xFDEF, r&0xFFFE == 0xFFFE:
		return true
	default:
		return false
	}
}

// checkName refuses what is no CloudEvents attribute name.
func checkName(name string) *Refusal {
	for _, r := range name {
		if r >= 'A' && r <= 'Z' {
			return refuse(ClassUndecodable, name, "The attribute %s has capital letters; write its name in lower case.", quote(name))
		}
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return refuse(ClassUndecodable, name, "The attribute %s has a name that CloudEvents does not allow; use the letters a to z and digits only.", quote(name))
		}
	}
	switch name {
	case "":
		return refuse(ClassUndecodable, "", "An attribute of the event has no name.")
	case "data":
		return refuse(ClassUndecodable, name, "The name data is kept for the event's content; no attribute can have it.")
	}
	return nil
}

// checkText refuses what cannot be an attribute's value in any mode.
func checkText(name, value string) *Refusal {
	switch {
	case len(value) > maxAttribute:
		return refuse(ClassTooLarge, name, "The event's %s is longer than %d bytes.", name, maxAttribute)
	case !utf8.ValidString(value):
		return refuse(ClassUndecodable, name, "The event's %s is not valid UTF-8 text.", name)
	case strings.ContainsFunc(value, isControl):
		return refuse(ClassUndecodable, name, "The event's %s holds a line break or another control character.", name)
	}
	return nil
}

// attribute is one attribute of an event: a text, or else the bool or int32 that an
// extension may be.
type attribute struct {
	name  string
	text  string
	other any // nil: it is a text
}

func attributeOf(name string, value any) attribute {
	if text, ok := value.(string); ok {
		return attribute{name: name, text: text}
	}
	return attribute{name: name, other: value}
}

// attributesOf returns the attributes that have these values by their names.
func attributesOf(values map[string]any) []attribute {
	all := make([]attribute, 0, len(values))
	for name, value := range values {
		all = append(all, attributeOf(name, value))
	}
	return all
}

// setAttribute puts one attribute into e.
func setAttribute(e *event.Event, a *attribute) *Refusal {
	name, text, isText := a.name, a.text, a.other == nil
	if r := checkName(name); r != nil {
		return r
	}
	if isText {
		if r := checkText(name, text); r != nil {
			return r
		}
	}
	switch name {
	case "specversion":
		return nil // checkVersion has seen it
	case "id", "source", "type", "subject", "time", "dataschema", "datacontenttype":
		if !isText {
			return refuse(ClassUndecodable, name, "The event's %s must be text.", name)
		}
		return setStandard(e, name, text)
	default:
		value := a.other
		if isText {
			value = text
		}
		if err := e.Context.SetExtension(name, value); err != nil {
			return refuse(ClassUndecodable, name, "The event's %s cannot be read: it must be text, true, false or a whole number.", name)
		}
		return nil
	}
}

// setStandard sets one of the attributes that CloudEvents defines. An empty one
// is refused: the SDK would take it for an absent one.
func setStandard(e *event.Event, name, text string) *Refusal {
	text = strings.TrimSpace(text)
	if text == "" {
		return refuse(ClassUndecodable, name, "The event's %s is empty.", name)
	}
	switch name {
	case "id":
		e.SetID(text)
	case "type":
		e.SetType(text)
	case "subject":
		e.SetSubject(text)
	case "source", "dataschema":
		return setURI(e, name, text)
	case "time":
		t, ok := parseTime(text)
		if !ok {
			return refuse(ClassUndecodable, name, "The event's time %s is not a time such as 2026-01-31T09:30:00Z.", quote(text))
		}
		e.SetTime(t)
	case "datacontenttype":
		if !isMediaType(text) {
			return refuse(ClassUndecodable, name, "The event's datacontenttype %s is not a media type such as application/json.", quote(text))
		}
		e.SetDataContentType(text)
	}
	return nil
}

func setURI(e *event.Event, name, text string) *Refusal {
	u, err := url.Parse(text)
	if err == nil {
		// What does not read back as itself would be another source after being
		// forwarded, and its event another event.
		var again *url.URL
		again, err = url.Parse(u.String())
		if err == nil && again.String() != u.String() {
			err = url.InvalidHostError(text)
		}
	}
	if err != nil {
		return refuse(ClassUndecodable, name, "The event's %s %s is not an address or path that can be read.", name, quote(text))
	}
	if r := checkText(name, u.String()); r != nil { // escapes make it longer
		return r
	}
	if name == "source" {
		e.SetSource(u.String())
		return nil
	}
	if !u.IsAbs() {
		return refuse(ClassUndecodable, name, "The event's dataschema %s is not an absolute address.", quote(text))
	}
	e.SetDataSchema(u.String())
	return nil
}

// parseTime reads RFC 3339, where T and Z may be small. A year that does not
// have four digits in UTC could not be written again. The first moment of year
// 1, which some programs send for no time at all, becomes an absent time.
func parseTime(text string) (time.Time, bool) {
	t, err := types.ParseTime(strings.ToUpper(text))
	if err != nil {
		return time.Time{}, false
	}
	year := t.UTC().Year()
	return t.UTC(), year >= 1 && year <= 9999
}

func isMediaType(text string) bool {
	if text == event.ApplicationJSON {
		return true
	}
	media, _, err := mime.ParseMediaType(text)
	if err != nil {
		return false
	}
	kind, sub, found := strings.Cut(media, "/")
	return found && kind != "" && sub != ""
}

// isJSON reports whether a datacontenttype means JSON. No type at all does, by
// the JSON format of CloudEvents.
func isJSON(contentType string) bool {
	if contentType == "" || contentType == event.ApplicationJSON {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}
