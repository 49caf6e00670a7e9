package schema

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
)

// maxAttributes is how many attributes an event may have. CloudEvents and its
// extensions name some thirty.
const maxAttributes = 256

// build makes the event of these attributes, each of another name, and data: the one
// place where an event comes into being, in either mode and either direction. It
// sorts the attributes: the same event is refused for the same one.
func build(attributes []attribute, data []byte) (event.Event, *Refusal) {
	if len(attributes) > maxAttributes {
		return event.Event{}, refuse(ClassTooLarge, "", "The event has %d attributes; at most %d are accepted. What is to be said of the lead belongs into its data.", len(attributes), maxAttributes)
	}
	e := event.New()
	slices.SortFunc(attributes, func(a, b attribute) int { return strings.Compare(a.name, b.name) })
	for i := range attributes {
		if r := setAttribute(&e, &attributes[i]); r != nil {
			return event.Event{}, r
		}
	}
	for _, name := range [...]string{"id", "source", "type"} {
		if !slices.ContainsFunc(attributes, func(a attribute) bool { return a.name == name }) {
			return event.Event{}, refuse(ClassUndecodable, name, "The event has no %s.", name)
		}
	}
	if err := e.Validate(); err != nil {
		return event.Event{}, invalid(err)
	}
	if len(data) == 0 {
		return e, nil
	}
	if r := setData(&e, data); r != nil {
		return event.Event{}, r
	}
	return e, nil
}

// invalid turns the SDK's word on an event into a refusal.
func invalid(err error) *Refusal {
	if fields, ok := errors.AsType[event.ValidationError](err); ok {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			return refuse(ClassUndecodable, name, "The event's %s is not what CloudEvents asks for.", name)
		}
	}
	return refuse(ClassUndecodable, "", "The event is not a valid CloudEvent.")
}

// setData puts the data into e. DataBase64 then depends on the data alone, not
// on the way it came: it is set for bytes that are no text.
func setData(e *event.Event, data []byte) *Refusal {
	if !isJSON(e.DataContentType()) {
		e.DataEncoded = data
		e.DataBase64 = !utf8.Valid(data)
		return nil
	}
	data = trimJSON(data)
	if _, err := parseJSON(data, maxDepth); err != nil {
		return refuse(ClassUndecodable, "data", "The event's data cannot be read as JSON: %s.", err)
	}
	e.DataEncoded = data
	return nil
}

// recovered turns a panic into an error: whatever a sender writes, one event
// must not end the process that reads it.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = refuse(ClassUndecodable, "", "The event cannot be read.")
	}
}
