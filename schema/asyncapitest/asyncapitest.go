// Package asyncapitest holds messages against an AsyncAPI document, for tests of
// those who publish and read them.
//
// # Documents
//
// A document is AsyncAPI 3.0 in YAML; its schemas are multi-format ones of JSON
// Schema 2020-12, which may refer to files beside the document. What this package
// would pass over is refused, so that no line of a document is without effect: an
// unknown key, an unknown keyword of a schema, a reference that leads nowhere. So
// is what nobody uses: a channel without operation, a message without channel, a
// component that nothing refers to. A channel's parameters are those of its address,
// and every example has the form of its message.
//
// Two keys are extensions: x-pattern on a parameter, a regular expression for the
// whole of it, and x-weir-unseen on a channel, the reason why no message comes there.
//
// # Messages
//
// [Document.Match] finds the one channel and the one message that a message is.
// Formats and contents are asserted.
package asyncapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is what messages are held against. It is safe for concurrent use.
type Document struct {
	channels map[string]*channel
	replies  map[string][]string // channels of replies, by that of their request
	raw      any
}

// channel is one with its messages, by name.
type channel struct {
	address  *regexp.Regexp // nil: as a request says
	messages map[string]*message
	unseen   string
}

type message struct {
	isJSON           bool
	headers, payload *jsonschema.Schema // nil: free
}

// Seen names a channel and one of its messages.
type Seen struct{ Channel, Message string }

// Match returns what a message on a subject is. The error says what is wrong with
// it, by each message that it might have been.
func (d *Document) Match(subject string, header map[string][]string, payload []byte) (Seen, error) {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(d.channels)) {
		if c := d.channels[name]; c.address != nil && c.address.MatchString(subject) {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return Seen{}, fmt.Errorf("%s is the subject of %d channels (%s), want 1", subject, len(found), strings.Join(found, ", "))
	}
	return d.MatchOn(found[0], header, payload)
}

// MatchOn is Match for a channel that is known.
func (d *Document) MatchOn(name string, header map[string][]string, payload []byte) (Seen, error) {
	c, ok := d.channels[name]
	if !ok {
		return Seen{}, fmt.Errorf("there is no channel %s", name)
	}
	if c.unseen != "" {
		return Seen{}, fmt.Errorf("the channel %s has a message, though x-weir-unseen says: %s", name, c.unseen)
	}
	var found []string
	var why []error
	for _, m := range slices.Sorted(maps.Keys(c.messages)) {
		if err := c.messages[m].check(header, payload); err != nil {
			why = append(why, fmt.Errorf("no %s: %w", m, err))
			continue
		}
		found = append(found, m)
	}
	switch len(found) {
	case 0:
		return Seen{}, fmt.Errorf("the channel %s has no message of this form; describe it there:\n%w", name, errors.Join(why...))
	case 1:
		return Seen{name, found[0]}, nil
	}
	return Seen{}, fmt.Errorf("the message is %s at once on the channel %s", strings.Join(found, " and "), name)
}

// Replies returns the channels of the replies to requests on a channel.
func (d *Document) Replies(name string) []string { return d.replies[name] }

// Expected lists what must be seen for the document to claim no more than there is.
func (d *Document) Expected() []Seen {
	var all []Seen
	for name, c := range d.channels {
		for m := range c.messages {
			if c.unseen == "" {
				all = append(all, Seen{name, m})
			}
		}
	}
	slices.SortFunc(all, func(a, b Seen) int {
		return strings.Compare(a.Channel+" "+a.Message, b.Channel+" "+b.Message)
	})
	return all
}

// Properties returns the properties of a schema among the components, and which of
// them are required, each sorted.
func (d *Document) Properties(schema string) (names, required []string) {
	at := d.raw
	for _, step := range []string{"components", "schemas", schema, "schema"} {
		object, _ := at.(map[string]any)
		at = object[step]
	}
	object, _ := at.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	list, _ := object["required"].([]any)
	for _, name := range list {
		required = append(required, fmt.Sprint(name))
	}
	slices.Sort(required)
	return slices.Sorted(maps.Keys(properties)), required
}

// check holds a message against its description.
func (m *message) check(header map[string][]string, payload []byte) error {
	if m.headers != nil {
		if err := m.headers.Validate(instance(header)); err != nil {
			return fmt.Errorf("headers: %w", err)
		}
	}
	if m.payload == nil {
		return nil
	}
	v := any(string(payload))
	if m.isJSON {
		var err error
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(payload)); err != nil {
			return fmt.Errorf("payload is no JSON: %w", err)
		}
	}
	if err := m.payload.Validate(v); err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	return nil
}

// instance is what headers are for a schema: an object of texts. Their names may be
// in any case, those of Weir and NATS apart.
func instance(header map[string][]string) map[string]any {
	object := make(map[string]any, len(header))
	for name, values := range header {
		switch lower := strings.ToLower(name); {
		case lower == "content-type":
			name = "Content-Type"
		case strings.HasPrefix(lower, "ce-"):
			name = lower
		}
		if len(values) == 1 {
			object[name] = values[0]
			continue
		}
		list := make([]any, len(values))
		for i, v := range values {
			list[i] = v
		}
		object[name] = list
	}
	return object
}

// plain is a value as JSON has it.
func plain(v any) (any, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(b))
}
