package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// The types of events that come of CRMs.
const (
	created = "lead.created"
	updated = "lead.updated"
)

// handle is what the ids of a CRM look like; an event's id is made of them.
var handle = regexp.MustCompile(`^[A-Za-z0-9._:+-]{1,64}$`)

// person is what a CRM tells of somebody, on the way to an event. The same
// webhook makes the same person, so that it is the same event.
type person struct {
	kind   string // the event's type
	source string // the event's, such as /crm/hubspot/62515
	id     string // the event's
	at     time.Time
	data   map[string]any
}

func (p person) notice() notice {
	e := event.New()
	e.SetType(p.kind)
	e.SetSource(p.source)
	e.SetID(p.id)
	if !p.at.IsZero() {
		e.SetTime(p.at)
	}
	if err := e.SetData("application/json", p.data); err != nil {
		return unclear("Its data cannot be written as JSON.")
	}
	return notice{event: e}
}

// sourceOf is the source of a CRM's events, with the account if it is told.
func sourceOf(kind, account string) string {
	if handle.MatchString(account) {
		return "/crm/" + kind + "/" + account
	}
	return "/crm/" + kind
}

// fill sets a member of the data, unless it is empty or there already.
func (p person) fill(name, value string) {
	if _, there := p.data[name]; !there && value != "" {
		p.data[name] = value
	}
}

// rest keeps what has no name of ours, for the routes: all of a record but what is
// told already, and what is empty.
func (p person) rest(record map[string]any, told map[string]string) {
	more := make(map[string]any)
	for name, value := range record {
		if _, ok := told[name]; !ok && value != nil && value != "" {
			more[name] = value
		}
	}
	if len(more) > 0 {
		p.data["attributes"] = more
	}
}

// What a sender may add to a record whose event has no id of its own.
const (
	ownID   = "weir_id"    // makes of the same record another event
	ownKind = "weir_event" // created, the default, or updated
)

// kindOf is the type of event that a sender asks for in weir_event.
func kindOf(record map[string]any) (string, bool) {
	switch text(record[ownKind]) {
	case "", "created":
		return created, true
	case "updated":
		return updated, true
	}
	return "", false
}

// text returns a text or number of JSON as text; of anything else nothing.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	}
	return ""
}

// notOf is the answer to a body that is none of a CRM's.
func notOf(detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Title: "Not a webhook", Detail: detail}
}

// readJSON reads one value, with numbers as they are written.
func readJSON(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// records reads an object, or a list of them.
func records(body []byte) (all []map[string]any, list bool, bad *problem) {
	if list = bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")); list {
		if err := readJSON(body, &all); err != nil {
			return nil, true, notOf("The body is no JSON list of objects.")
		}
		if len(all) > mostEvents {
			return nil, true, &problem{Status: http.StatusRequestEntityTooLarge, Title: "Too many", Detail: fmt.Sprintf("A webhook may tell of %d events.", mostEvents)}
		}
		return all, true, nil
	}
	var one map[string]any
	if err := readJSON(body, &one); err != nil || one == nil {
		return nil, false, notOf("The body is no JSON object.")
	}
	return []map[string]any{one}, false, nil
}
