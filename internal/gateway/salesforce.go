package gateway

import (
	"cmp"
	"regexp"
	"time"
)

// salesforceID is a record's: 15 characters, and often three more that repeat their
// case.
var salesforceID = regexp.MustCompile(`^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$`)

// salesforceNames are the fields that have a name of ours.
var salesforceNames = map[string]string{
	"Id": "", "OrganizationId": "", "FirstName": "", "LastName": "", "Phone": "", "MobilePhone": "", "Email": "",
	"Company": "", "LeadSource": "", ownID: "", ownKind: "",
}

// readSalesforce reads what a Flow sends by an HTTP callout: a record, or a list of
// them, with the API names of its fields.
func readSalesforce(body []byte) ([]notice, *problem) {
	all, _, bad := records(body)
	if bad != nil {
		return nil, bad
	}
	notices := make([]notice, len(all))
	for i, one := range all {
		notices[i] = salesforceRecord(one)
	}
	return notices, nil
}

func salesforceRecord(m map[string]any) notice {
	id, own := text(m["Id"]), text(m[ownID])
	kind, ok := kindOf(m)
	switch {
	case !salesforceID.MatchString(id):
		return unclear("It has no Id of 15 or 18 characters.")
	case !ok:
		return unclear("%s is neither created nor updated.", ownKind)
	case own != "" && !handle.MatchString(own):
		return unclear("%s may have 64 letters, digits and . _ : + - at most.", ownID)
	}
	p := person{kind: kind, source: sourceOf(Salesforce, text(m["OrganizationId"])), id: "created." + id[:15], data: map[string]any{"id": id}}
	changed := cmp.Or(text(m["SystemModstamp"]), text(m["LastModifiedDate"]))
	if kind == updated {
		if own == "" && !handle.MatchString(changed) {
			return unclear("An update needs SystemModstamp, LastModifiedDate or %s: without one all updates of a record would be one event.", ownID)
		}
		p.id = "updated." + id[:15] + "." + cmp.Or(own, changed)
	} else if own != "" {
		p.id += "." + own
	}
	if at, err := time.Parse("2006-01-02T15:04:05.999Z0700", changed); err == nil {
		p.at = at
	}
	p.fill("first_name", text(m["FirstName"]))
	p.fill("last_name", text(m["LastName"]))
	p.fill("phone", text(m["Phone"]))
	p.fill("phone", text(m["MobilePhone"]))
	p.fill("email", text(m["Email"]))
	p.fill("company", text(m["Company"]))
	p.fill("source", text(m["LeadSource"]))
	p.rest(m, salesforceNames)
	return p.notice()
}
