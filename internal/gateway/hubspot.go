package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/weirhq/weir/schema"
)

// hubspotAge is how old a request of HubSpot may be, by its own rule.
const hubspotAge = 5 * time.Minute

// hubspotPlain are the characters that HubSpot signs decoded.
var hubspotPlain = strings.NewReplacer(
	"%3A", ":", "%3a", ":", "%2F", "/", "%2f", "/", "%3F", "?", "%3f", "?", "%40", "@", "%21", "!", "%24", "$",
	"%27", "'", "%28", "(", "%29", ")", "%2A", "*", "%2a", "*", "%2C", ",", "%2c", ",", "%3B", ";", "%3b", ";",
)

// hubspotLock asks for signature v3: method, public address, body and time.
func hubspotLock(app schema.Secret, public string) lock {
	h := HMAC{
		Secret: app, Header: "X-HubSpot-Signature-v3", Algorithm: "sha256", Encoding: "base64",
		Timestamp: "X-HubSpot-Request-Timestamp", Tolerance: hubspotAge,
	}
	return h.over(func(r *http.Request, body, stamp string) string {
		at := public + r.URL.EscapedPath()
		if r.URL.RawQuery != "" {
			at += "?" + r.URL.RawQuery
		}
		return r.Method + hubspotPlain.Replace(at) + body + stamp
	})
}

// hubspotContact is the type of the objects that are contacts.
const hubspotContact = "0-1"

// readHubSpot reads the list of a webhook subscription, or what a workflow sends.
func readHubSpot(body []byte) ([]notice, *problem) {
	all, list, bad := records(body)
	if bad != nil {
		return nil, bad
	}
	notices := make([]notice, len(all))
	for i, one := range all {
		if list {
			notices[i] = hubspotChange(one)
		} else {
			notices[i] = hubspotWorkflow(one)
		}
	}
	return notices, nil
}

// hubspotChange reads one event of a subscription. Its id is made of what pins the
// change itself: the same change may be told by two subscriptions, and eventId is
// not unique.
func hubspotChange(m map[string]any) notice {
	object, what, ok := strings.Cut(text(m["subscriptionType"]), ".")
	id := text(m["objectId"])
	contact := object == "contact" || object == "object" && text(m["objectTypeId"]) == hubspotContact
	switch {
	case !ok:
		return unclear("It has no subscriptionType of HubSpot's.")
	case !contact:
		return notice{skip: "It is about no contact."}
	case !handle.MatchString(id):
		return unclear("It has no objectId.")
	}
	p := person{source: sourceOf(HubSpot, text(m["portalId"])), data: map[string]any{"id": id}}
	stamp := text(m["occurredAt"])
	p.at, ok = moment(stamp)
	switch what {
	case "creation":
		p.kind, p.id = created, "created."+id
		return p.notice()
	case "propertyChange":
		return hubspotPhone(p, id, m, stamp, ok)
	default:
		return notice{skip: "It is neither a creation nor a change."}
	}
}

// hubspotPhone reads the change of a contact's number.
func hubspotPhone(p person, id string, m map[string]any, stamp string, dated bool) notice {
	name, value := text(m["propertyName"]), text(m["propertyValue"])
	switch {
	case name != "phone" && name != "mobilephone":
		return notice{skip: "It is a change of something else than a number."}
	case value == "":
		return notice{skip: "The number was taken away."}
	case !dated:
		return unclear("It has no occurredAt.")
	}
	p.kind, p.id = updated, fmt.Sprintf("changed.%s.%s.%s", id, name, stamp)
	p.fill("phone", value)
	return p.notice()
}

// hubspotNames are the properties that have a name of ours.
var hubspotNames = map[string]string{
	"firstname": "first_name", "lastname": "last_name", "phone": "phone", "mobilephone": "phone", "email": "email",
	"company": "company", "hs_language": "language", "hs_analytics_source": "source", ownID: "", ownKind: "",
}

// hubspotWorkflow reads what a workflow sends: a contact with all its properties,
// each with or without its history, or an object of the fields that somebody chose.
func hubspotWorkflow(m map[string]any) notice {
	properties, ok := m["properties"].(map[string]any)
	if !ok {
		properties = m
	}
	flat := make(map[string]any, len(properties))
	for name, value := range properties {
		if object, ok := value.(map[string]any); ok {
			value = object["value"]
		}
		flat[name] = value
	}
	id := ""
	for _, v := range []any{m["vid"], m["objectId"], flat["hs_object_id"], m["id"]} {
		if id = text(v); id != "" {
			break
		}
	}
	if !handle.MatchString(id) {
		return unclear("It names no contact: vid, objectId, id or hs_object_id is missing.")
	}
	portal := text(m["portal-id"])
	if portal == "" {
		portal = text(m["portalId"])
	}
	kind, ok := kindOf(flat)
	if !ok {
		return unclear("%s is neither created nor updated.", ownKind)
	}
	p := person{kind: kind, source: sourceOf(HubSpot, portal), id: "workflow." + id, data: map[string]any{"id": id}}
	if own := text(flat[ownID]); handle.MatchString(own) {
		p.id += "." + own
	} else if own != "" {
		return unclear("%s may have 64 letters, digits and . _ : + - at most.", ownID)
	}
	for _, name := range []string{"firstname", "lastname", "phone", "mobilephone", "email", "company", "hs_language", "hs_analytics_source"} {
		p.fill(hubspotNames[name], text(flat[name]))
	}
	p.rest(flat, hubspotNames)
	return p.notice()
}
