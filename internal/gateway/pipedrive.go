package gateway

import (
	"fmt"
	"time"
)

// pipedriveNames are the members of a person that have a name of ours.
var pipedriveNames = map[string]string{"id": "", "first_name": "", "last_name": "", "phones": "", "phone": "", "emails": "", "email": ""}

// either returns a list by its name, or by the one that it has in other parts of
// the API.
func either(m map[string]any, name, other string) (any, bool) {
	if v, ok := m[name]; ok {
		return v, true
	}
	v, ok := m[other]
	return v, ok
}

// readPipedrive reads a webhook of version 2.0, which tells of one object.
func readPipedrive(body []byte) ([]notice, *problem) {
	var m struct {
		Meta     map[string]any
		Data     map[string]any
		Previous map[string]any
	}
	if err := readJSON(body, &m); err != nil {
		return nil, notOf("The body is no webhook of Pipedrive's.")
	}
	entity, action := text(m.Meta["entity"]), text(m.Meta["action"])
	if entity == "" || action == "" {
		return nil, notOf("The body is no webhook of Pipedrive's version 2.0: meta has no entity and action.")
	}
	return []notice{pipedriveNotice(entity, action, m.Meta, m.Data, m.Previous)}, nil
}

func pipedriveNotice(entity, action string, meta, data, previous map[string]any) notice {
	phones, _ := either(data, "phones", "phone")
	phone := primary(phones)
	switch entity + "." + action {
	case "person.create", "lead.create":
	case "person.change":
		before, changed := either(previous, "phones", "phone")
		switch {
		case !changed || phone == primary(before):
			return notice{skip: "It is a change of something else than the number."}
		case phone == "":
			return notice{skip: "The number was taken away."}
		}
	default:
		return notice{skip: "It is neither a new person or lead, nor a person's new number."}
	}
	id, which := text(meta["entity_id"]), text(meta["id"])
	if !handle.MatchString(id) || !handle.MatchString(which) {
		return unclear("meta has no entity_id and id.")
	}
	p := person{
		kind: created, source: sourceOf(Pipedrive, text(meta["company_id"])),
		id: fmt.Sprintf("%s.%s.%s.%s", action, entity, id, which), data: map[string]any{"id": id},
	}
	if action == "change" {
		p.kind = updated
	}
	if at, err := time.Parse(time.RFC3339, text(meta["timestamp"])); err == nil {
		p.at = at
	}
	p.fill("first_name", text(data["first_name"]))
	p.fill("last_name", text(data["last_name"]))
	p.fill("phone", phone)
	emails, _ := either(data, "emails", "email")
	p.fill("email", primary(emails))
	p.rest(data, pipedriveNames)
	return p.notice()
}

// primary returns the value of a list that is marked as the primary one, or else
// the first.
func primary(v any) string {
	list, _ := v.([]any)
	first := ""
	for _, item := range list {
		m, _ := item.(map[string]any)
		value := text(m["value"])
		if value == "" {
			continue
		}
		if m["primary"] == true {
			return value
		}
		if first == "" {
			first = value
		}
	}
	return first
}
