package gateway_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

const (
	crmSecret = "0123456789abcdef-address"
	appSecret = "0123456789abcdef-app"
	public    = "https://hooks.example.com"
)

// mapping is that of the generic CRM of the tests.
func mapping(t testing.TB) *schema.Routes {
	t.Helper()
	m, err := schema.CompileRoutes([]schema.RouteSource{{Type: "*", Request: map[string]any{
		"id": "${ data.ref ?? id }", "source": "/forms/${ data.form }",
		"type": "${ data.kind == 'new' ? 'lead.created' : data.kind }",
		"data": map[string]any{"id": "${ data.ref ?? 0 }", "phone": "${ data.tel }"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// crmsOf has a lane for each way in.
func crmsOf(t testing.TB) map[string]gateway.CRM {
	t.Helper()
	both := routes(t, "lead.created", "lead.updated")
	key := "0123456789abcdef-key"
	return map[string]gateway.CRM{
		"hub":   {Kind: gateway.HubSpot, Secret: crmSecret, Routes: both, App: appSecret},
		"pipe":  {Kind: gateway.Pipedrive, Secret: crmSecret, Routes: both, User: "weir", Password: "0123456789abcdef-pass"},
		"force": {Kind: gateway.Salesforce, Secret: crmSecret, Routes: both, Header: "X-Api-Key", Key: schema.Secret(key)},
		"news":  {Kind: gateway.Salesforce, Secret: crmSecret, Routes: routes(t, "lead.created"), Header: "X-Api-Key", Key: schema.Secret(key)},
		"form": {Kind: gateway.Generic, Secret: crmSecret, Routes: both, Mapping: mapping(t), HMAC: &gateway.HMAC{
			Secret: appSecret, Header: "X-Signature", Algorithm: "sha512", Encoding: "hex", Prefix: "sha512=",
			Timestamp: "X-Time", Tolerance: time.Minute, Signed: "v0:{timestamp}:{body}",
		}},
		"plain": {Kind: gateway.Generic, Secret: crmSecret, Routes: both, Mapping: mapping(t), HMAC: &gateway.HMAC{
			Secret: appSecret, Header: "X-Signature", Algorithm: "sha256", Encoding: "base64", Signed: "{body}",
		}},
	}
}

// crmHandler serves the CRMs of the tests, and no door.
func crmHandler(t testing.TB, q *queue) http.Handler {
	t.Helper()
	return gateway.New(zerolog.Nop(), nil, gateway.Config{CRMs: crmsOf(t), PublicURL: public, Door: gateway.Door{Queue: q}}).Handler()
}

func sum(h func() hash.Hash, text string) []byte {
	m := hmac.New(h, []byte(appSecret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// crmRequest is a request to a lane's address as its CRM would send it now.
func crmRequest(lane, body string) *http.Request {
	r := httptest.NewRequest("POST", "/hooks/crm/"+lane+"/"+crmSecret, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	sign(r, lane, body, time.Now())
	return r
}

// sign gives a request what its lane asks for, of a moment.
func sign(r *http.Request, lane, body string, at time.Time) {
	switch lane {
	case "hub":
		stamp := strconv.FormatInt(at.UnixMilli(), 10)
		uri := public + strings.NewReplacer("%2F", "/", "%3A", ":").Replace(r.RequestURI)
		r.Header.Set("X-HubSpot-Request-Timestamp", stamp)
		r.Header.Set("X-HubSpot-Signature-v3", base64.StdEncoding.EncodeToString(sum(sha256.New, r.Method+uri+body+stamp)))
	case "pipe":
		r.SetBasicAuth("weir", "0123456789abcdef-pass")
	case "form":
		stamp := strconv.FormatInt(at.Unix(), 10)
		r.Header.Set("X-Time", stamp)
		r.Header.Set("X-Signature", "sha512="+hex.EncodeToString(sum(sha512.New, "v0:"+stamp+":"+body)))
	case "plain":
		r.Header.Set("X-Signature", base64.StdEncoding.EncodeToString(sum(sha256.New, body)))
	default:
		r.Header.Set("X-Api-Key", "0123456789abcdef-key")
	}
}

// answered is what a handler says to a request.
func answered(t testing.TB, h http.Handler, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), body: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("got %d %s, want JSON", a.status, a.body)
	}
	return a
}

func (q *queue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = nil
}

// told is an event of the queue in short: type, source, id and data.
func told(t testing.TB, m message) string {
	t.Helper()
	e, err := schema.Decode(m.header, []byte(m.body), 1<<20)
	if err != nil {
		t.Fatalf("the lane cannot read %s: %v", m.body, err)
	}
	return fmt.Sprintf("%s %s %s %s", e.Type(), e.Source(), e.ID(), e.Data())
}

// The vendors' bodies, with their members as docs/crm.md has them.
const (
	hubCreation = `{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}`
	hubPhone    = `{"eventId":2,"subscriptionId":12346,"portalId":62515,"occurredAt":1564113600100,"subscriptionType":"contact.propertyChange","attemptNumber":0,"objectId":123,"propertyName":"phone","propertyValue":"+14155550101","changeSource":"CRM"}`
	hubContact  = `{"vid":123,"canonical-vid":123,"portal-id":62515,"properties":{"firstname":{"value":"Ana","versions":[{"value":"Ana"}]},"phone":{"value":""},"mobilephone":{"value":"+14155550102"},"company":{"value":"Acme"},"plan":{"value":"gold"},"empty":{"value":""}}}`
	hubChosen   = `{"hs_object_id":"123","firstname":"Ana","phone":"+14155550103","weir_id":"spring","weir_event":"updated"}`

	pipeCreate = `{"meta":{"action":"create","entity":"person","company_id":"777","correlation_id":"c","entity_id":"41","id":"e1b2","is_bulk_edit":false,"timestamp":"2026-11-21T10:00:00.000Z","type":"general","version":"2.0","webhook_id":"9","attempt":1,"host":"acme.pipedrive.com"},` +
		`"data":{"id":41,"name":"Ana Lima","first_name":"Ana","last_name":"Lima","phones":[{"label":"home","value":"+14155550199","primary":false},{"label":"work","value":"+14155550104","primary":true}],"emails":[{"label":"work","value":"ana@acme.example","primary":true}],"org_id":5},"previous":null}`
	pipeChange = `{"meta":{"action":"change","entity":"person","company_id":"777","entity_id":"41","id":"e1b3","timestamp":"2026-11-21T10:00:01.000Z","version":"2.0","attempt":2},` +
		`"data":{"id":41,"phones":[{"value":"+14155550105","primary":true}]},"previous":{"phones":[{"value":"+14155550104","primary":true}]}}`

	forceLead   = `{"Id":"00Q5g00000AbCdEEAV","OrganizationId":"00D5g000001XyZaEAK","FirstName":"Ana","LastName":"Lima","Company":"Acme","Phone":"+14155550106","MobilePhone":"+14155550107","Email":null,"LeadSource":"Web","Rating":"Hot"}`
	forceUpdate = `{"Id":"00Q5g00000AbCdEEAV","LastName":"Lima","MobilePhone":"+14155550107","SystemModstamp":"2026-11-21T10:00:00.000+0000","weir_event":"updated"}`
)

// bodyHash is the id of a body without one.
var bodyHash = regexp.MustCompile("[0-9a-f]{64}")

func TestCRMWebhooksBecomeEvents(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lane, body string
		want       []string
		status     int    // 0: 200
		detail     string // of a refusal, or of the first that is skipped
	}{
		"hubspot, a list": {"hub", "[" + hubCreation + "," + hubPhone + "]", []string{
			`lead.created /crm/hubspot/62515 created.123 {"id":"123"}`,
			`lead.updated /crm/hubspot/62515 changed.123.phone.1564113600100 {"id":"123","phone":"+14155550101"}`}, 0, ""},
		"hubspot, objects": {"hub", "[" + strings.NewReplacer("contact.", "object.", `"eventId":2,`, `"eventId":7,"objectTypeId":"0-1",`).Replace(hubPhone) + "]",
			[]string{`lead.updated /crm/hubspot/62515 changed.123.phone.1564113600100 {"id":"123","phone":"+14155550101"}`}, 0, ""},
		"hubspot, other objects": {"hub", `[{"subscriptionType":"object.creation","objectTypeId":"0-3","objectId":1}]`, nil, 0, "about no contact"},
		"hubspot, a company":     {"hub", `[{"subscriptionType":"company.creation","objectId":1}]`, nil, 0, "about no contact"},
		"hubspot, a deletion":    {"hub", `[{"subscriptionType":"contact.deletion","objectId":1}]`, nil, 0, "neither a creation nor a change"},
		"hubspot, a name":        {"hub", "[" + strings.Replace(hubPhone, `"phone"`, `"firstname"`, 1) + "]", nil, 0, "something else than a number"},
		"hubspot, no number":     {"hub", "[" + strings.Replace(hubPhone, "+14155550101", "", 1) + "]", nil, 0, "taken away"},
		"hubspot, no object":     {"hub", "[" + strings.Replace(hubPhone, "objectId", "id", 1) + "," + hubCreation + "]", []string{`lead.created /crm/hubspot/62515 created.123 {"id":"123"}`}, 422, "1 of 2 events were not taken; the first: It has no objectId."},
		"hubspot, no time":       {"hub", "[" + strings.Replace(hubPhone, "occurredAt", "at", 1) + "]", nil, 422, "no occurredAt"},
		"hubspot, no type":       {"hub", `[{"objectId":1}]`, nil, 422, "no subscriptionType"},
		"hubspot, no objects":    {"hub", `[1]`, nil, 400, "no JSON list of objects"},
		"hubspot, too many":      {"hub", "[" + strings.Repeat("{},", 1000) + "{}]", nil, 413, "1000 events"},
		"hubspot, none":          {"hub", `[]`, nil, 0, ""},
		"hubspot, no JSON":       {"hub", `{`, nil, 400, "no JSON object"},
		"hubspot, two":           {"hub", `{} {}`, nil, 400, "no JSON object"},
		"hubspot, null":          {"hub", `null`, nil, 400, "no JSON object"},
		"hubspot, a workflow": {"hub", hubContact,
			[]string{`lead.created /crm/hubspot/62515 workflow.123 {"attributes":{"plan":"gold"},"company":"Acme","first_name":"Ana","id":"123","phone":"+14155550102"}`}, 0, ""},
		"hubspot, chosen fields": {"hub", hubChosen,
			[]string{`lead.updated /crm/hubspot workflow.123.spring {"attributes":{"hs_object_id":"123"},"first_name":"Ana","id":"123","phone":"+14155550103"}`}, 0, ""},
		"hubspot, whose":      {"hub", `{"phone":"+14155550103"}`, nil, 422, "names no contact"},
		"hubspot, what event": {"hub", strings.Replace(hubChosen, "updated", "gone", 1), nil, 422, "neither created nor updated"},
		"hubspot, an odd id":  {"hub", strings.Replace(hubChosen, "spring", "a b", 1), nil, 422, "weir_id may have 64"},

		"pipedrive, a person": {"pipe", pipeCreate,
			[]string{`lead.created /crm/pipedrive/777 create.person.41.e1b2 {"attributes":{"name":"Ana Lima","org_id":5},"email":"ana@acme.example","first_name":"Ana","id":"41","last_name":"Lima","phone":"+14155550104"}`}, 0, ""},
		"pipedrive, a new number": {"pipe", pipeChange, []string{`lead.updated /crm/pipedrive/777 change.person.41.e1b3 {"id":"41","phone":"+14155550105"}`}, 0, ""},
		"pipedrive, a second number": {"pipe", strings.Replace(pipeChange, `"previous":{"phones":[{"value":"+14155550104"`, `"previous":{"phones":[{"value":"+14155550105"`, 1), nil, 0,
			"something else than the number"},
		"pipedrive, a new name":  {"pipe", strings.Replace(pipeChange, `"previous":{"phones"`, `"previous":{"name"`, 1), nil, 0, "something else than the number"},
		"pipedrive, no number":   {"pipe", strings.Replace(pipeChange, `"+14155550105"`, `""`, 1), nil, 0, "taken away"},
		"pipedrive, phone":       {"pipe", strings.ReplaceAll(pipeChange, `"phones"`, `"phone"`), []string{`lead.updated /crm/pipedrive/777 change.person.41.e1b3 {"id":"41","phone":"+14155550105"}`}, 0, ""},
		"pipedrive, a deletion":  {"pipe", strings.Replace(pipeCreate, "create", "delete", 1), nil, 0, "neither a new person or lead"},
		"pipedrive, a deal":      {"pipe", strings.Replace(pipeCreate, `"person"`, `"deal"`, 1), nil, 0, "neither a new person or lead"},
		"pipedrive, a lead":      {"pipe", `{"meta":{"action":"create","entity":"lead","entity_id":"f3a1-9","id":"e9"},"data":{"id":"f3a1-9","title":"Roof","person_id":41}}`, []string{`lead.created /crm/pipedrive create.lead.f3a1-9.e9 {"attributes":{"person_id":41,"title":"Roof"},"id":"f3a1-9"}`}, 0, ""},
		"pipedrive, no ids":      {"pipe", `{"meta":{"action":"create","entity":"person"},"data":{}}`, nil, 422, "no entity_id and id"},
		"pipedrive, version 1.0": {"pipe", `{"v":1,"meta":{"v":1,"action":"added","object":"person","id":11},"current":{}}`, nil, 400, "version 2.0"},
		"pipedrive, a list":      {"pipe", `[]`, nil, 400, "no webhook of Pipedrive"},

		"salesforce, a lead": {"force", forceLead,
			[]string{`lead.created /crm/salesforce/00D5g000001XyZaEAK created.00Q5g00000AbCdE {"attributes":{"Rating":"Hot"},"company":"Acme","first_name":"Ana","id":"00Q5g00000AbCdEEAV","last_name":"Lima","phone":"+14155550106","source":"Web"}`}, 0, ""},
		"salesforce, an update": {"force", "[" + forceUpdate + "]",
			[]string{`lead.updated /crm/salesforce updated.00Q5g00000AbCdE.2026-11-21T10:00:00.000+0000 {"attributes":{"SystemModstamp":"2026-11-21T10:00:00.000+0000"},"id":"00Q5g00000AbCdEEAV","last_name":"Lima","phone":"+14155550107"}`}, 0, ""},
		"salesforce, an update without time": {"force", strings.Replace(forceUpdate, "SystemModstamp", "Other", 1), nil, 422, "would be one event"},
		"salesforce, with an id of its own":  {"force", `{"Id":"00Q5g00000AbCdE","weir_id":"q4"}`, []string{`lead.created /crm/salesforce created.00Q5g00000AbCdE.q4 {"id":"00Q5g00000AbCdE"}`}, 0, ""},
		"salesforce, no id":                  {"force", `{"Id":"00Q"}`, nil, 422, "no Id"},
		"salesforce, no route":               {"news", forceUpdate, nil, 0, "The lane has no route for lead.updated."},

		"generic":             {"form", `{"ref":12345678901234567890,"form":"roof","kind":"new","tel":"+14155550108"}`, []string{`lead.created /forms/roof 12345678901234567890 {"id":12345678901234567890,"phone":"+14155550108"}`}, 0, ""},
		"generic, a list":     {"plain", `[{"ref":"a","form":"roof","kind":"new","tel":"1"},{"ref":"b","form":"roof","kind":"call","tel":"2"}]`, []string{`lead.created /forms/roof a {"id":"a","phone":"1"}`}, 0, ""},
		"generic, by hash":    {"plain", `{"form":"roof","kind":"new","tel":"1"}`, []string{`lead.created /forms/roof HASH {"id":0,"phone":"1"}`}, 0, ""},
		"generic, no number":  {"form", `{"ref":"a","form":"roof","kind":"new"}`, nil, 422, "data.phone needs data.tel"},
		"generic, wrong kind": {"form", `{"ref":"a","form":"roof","kind":{},"tel":"1"}`, nil, 422, "type gives no text"},
		"generic, no JSON":    {"form", `x`, nil, 400, "no JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { crmTells(t, tc.lane, tc.body, tc.status, tc.detail, tc.want) })
		})
	}
}

// crmTells sends a body twice, and compares what became of it.
func crmTells(t *testing.T, lane, body string, status int, detail string, want []string) {
	t.Helper()
	q := &queue{}
	h := crmHandler(t, q)
	a := answered(t, h, crmRequest(lane, body))
	if status == 0 {
		status = 200
	}
	if a.status != status {
		t.Fatalf("got %d %s, want %d", a.status, a.body, status)
	}
	if status != 200 {
		a.isRefusal(t, status)
	} else if detail != "" {
		a.Detail = a.Events[0].Detail
	}
	if !strings.Contains(a.Detail, detail) || strings.Contains(a.body, "5550") {
		t.Errorf("got %s, want %q in it and no number", a.body, detail)
	}
	var got []string
	for _, m := range q.taken() {
		got = append(got, bodyHash.ReplaceAllString(told(t, m), "HASH"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	// What comes again, signed anew, is the same events.
	r := crmRequest(lane, body)
	sign(r, lane, body, time.Now().Add(2*time.Second))
	if b := answered(t, h, r); b.status != status || len(q.taken()) != len(want) {
		t.Errorf("again: got %d and %d events, want %d and %d", b.status, len(q.taken()), status, len(want))
	}
}

// A retry differs in nothing that matters: the attempt is no part of the event.
func TestCRMAttemptsAreOneEvent(t *testing.T) {
	t.Parallel()
	for lane, bodies := range map[string][2]string{
		"hub":  {"[" + hubPhone + "]", "[" + strings.NewReplacer(`"attemptNumber":0`, `"attemptNumber":3`, `"eventId":2`, `"eventId":9`).Replace(hubPhone) + "]"},
		"pipe": {pipeCreate, strings.Replace(pipeCreate, `"attempt":1`, `"attempt":3`, 1)},
	} {
		synctest.Test(t, func(t *testing.T) {
			q := &queue{}
			h := crmHandler(t, q)
			for _, body := range bodies {
				if a := answered(t, h, crmRequest(lane, body)); a.status != 200 || a.Events[0].Lane != lane {
					t.Errorf("%s: got %d %s", lane, a.status, a.body)
				}
			}
			if got := len(q.taken()); got != 1 {
				t.Errorf("%s: got %d events, want 1", lane, got)
			}
		})
	}
}

// Who does not show what the lane asks for is not let in, and hears nothing more.
func TestCRMLocks(t *testing.T) {
	t.Parallel()
	body := "[" + hubPhone + "]"
	for name, tc := range map[string]struct {
		lane, body string
		change     func(r *http.Request)
		status     int
	}{
		"hubspot":                       {"hub", body, func(*http.Request) {}, 200},
		"hubspot, no signature":         {"hub", body, func(r *http.Request) { r.Header.Del("X-HubSpot-Signature-v3") }, 401},
		"hubspot, two signatures":       {"hub", body, func(r *http.Request) { r.Header.Add("X-HubSpot-Signature-v3", "x") }, 401},
		"hubspot, no time":              {"hub", body, func(r *http.Request) { r.Header.Del("X-HubSpot-Request-Timestamp") }, 401},
		"hubspot, another time":         {"hub", body, func(r *http.Request) { r.Header.Set("X-HubSpot-Request-Timestamp", "1564113600000") }, 401},
		"hubspot, another signature":    {"hub", body, func(r *http.Request) { r.Header.Set("X-HubSpot-Signature-v3", strings.Repeat("A", 43)+"=") }, 401},
		"hubspot, no base64":            {"hub", body, func(r *http.Request) { r.Header.Set("X-HubSpot-Signature-v3", "%") }, 401},
		"hubspot, an empty signature":   {"hub", body, func(r *http.Request) { r.Header.Set("X-HubSpot-Signature-v3", "") }, 401},
		"hubspot, another address":      {"hub", body, func(r *http.Request) { r.URL.RawQuery = "a=b" }, 401},
		"hubspot, the address as it is": {"hub", body, func(r *http.Request) { r.Host = "10.0.0.7:8090" }, 200},
		"hubspot, a query": {"hub", body, func(r *http.Request) {
			r.RequestURI += "?next=https%3A%2F%2Fexample.com%20x"
			r.URL.RawQuery = "next=https%3A%2F%2Fexample.com%20x"
			sign(r, "hub", body, time.Now())
		}, 200},
		"hubspot, another method": {"hub", body, func(r *http.Request) { r.Method = "PUT" }, 405},
		"pipedrive":               {"pipe", pipeCreate, func(*http.Request) {}, 200},
		"pipedrive, nobody":       {"pipe", pipeCreate, func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"pipedrive, a user":       {"pipe", pipeCreate, func(r *http.Request) { r.SetBasicAuth("weird", "0123456789abcdef-pass") }, 401},
		"pipedrive, a password":   {"pipe", pipeCreate, func(r *http.Request) { r.SetBasicAuth("weir", "0123456789abcdef-past") }, 401},
		"pipedrive, twice":        {"pipe", pipeCreate, func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, 401},
		"a key":                   {"force", forceLead, func(*http.Request) {}, 200},
		"no key":                  {"force", forceLead, func(r *http.Request) { r.Header.Del("X-Api-Key") }, 401},
		"another key":             {"force", forceLead, func(r *http.Request) { r.Header.Set("X-Api-Key", "0123456789abcdef-kez") }, 401},
		"two keys":                {"force", forceLead, func(r *http.Request) { r.Header.Add("X-Api-Key", "0123456789abcdef-key") }, 401},
		"no prefix": {"form", "[]", func(r *http.Request) {
			r.Header.Set("X-Signature", strings.TrimPrefix(r.Header.Get("X-Signature"), "sha512="))
		}, 401},
		"no time to read":          {"form", "[]", func(r *http.Request) { stamped(r, "[]", "soon") }, 401},
		"a time in ms":             {"form", "[]", func(r *http.Request) { stamped(r, "[]", strconv.FormatInt(time.Now().UnixMilli(), 10)) }, 200},
		"a time beyond all":        {"form", "[]", func(r *http.Request) { stamped(r, "[]", strings.Repeat("9", 18)) }, 401},
		"another body":             {"plain", "[]", func(r *http.Request) { sign(r, "plain", "[ ]", time.Now()) }, 401},
		"no such lane":             {"hub", body, func(r *http.Request) { r.URL.Path = "/hooks/crm/nosuch/" + crmSecret }, 404},
		"another address's secret": {"hub", body, func(r *http.Request) { r.URL.Path = "/hooks/crm/hub/" + crmSecret + "x" }, 404},
		"compressed":               {"force", forceLead, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 415},
		"too long":                 {"force", strings.Repeat(" ", 1<<20) + "1", func(*http.Request) {}, 413},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := &queue{}
				r := crmRequest(tc.lane, tc.body)
				tc.change(r)
				a := answered(t, crmHandler(t, q), r)
				if a.status != tc.status {
					t.Fatalf("got %d %s, want %d", a.status, a.body, tc.status)
				}
				if tc.status != 200 {
					a.isRefusal(t, tc.status)
				}
				if tc.status != 200 && len(q.taken()) != 0 || strings.Contains(a.body, "0123456789") {
					t.Errorf("got %d events and %s", len(q.taken()), a.body)
				}
			})
		})
	}
}

// stamped signs for the lane form with a time of any text.
func stamped(r *http.Request, body, stamp string) {
	r.Header.Set("X-Time", stamp)
	r.Header.Set("X-Signature", "sha512="+hex.EncodeToString(sum(sha512.New, "v0:"+stamp+":"+body)))
}

// A signature is good for its time, and once.
func TestCRMSignaturesAgeAndAreUsedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		h := crmHandler(t, q)
		body := "[" + hubPhone + "]"
		send := func(lane, body string, at time.Time) int {
			r := crmRequest(lane, body)
			sign(r, lane, body, at)
			return answered(t, h, r).status
		}
		for lane, age := range map[string]time.Duration{"hub": 5 * time.Minute, "form": time.Minute} {
			text := body
			if lane == "form" {
				text = `{"ref":"a","form":"roof","kind":"new","tel":"1"}`
			}
			for _, tc := range []struct {
				off  time.Duration
				want int
			}{{age + time.Second, 401}, {-age - time.Second, 401}, {age, 200}, {age, 409}, {-age, 200}, {-age, 409}, {0, 200}, {0, 409}} {
				if got := send(lane, text, time.Now().Add(-tc.off)); got != tc.want {
					t.Errorf("%s, %v old: got %d, want %d", lane, tc.off, got, tc.want)
				}
			}
			signed := time.Now()
			time.Sleep(age - time.Second)
			if got := send(lane, text, signed); got != 409 {
				t.Errorf("%s, replayed late: got %d, want 409", lane, got)
			}
			time.Sleep(2*age + 2*time.Minute)
			if got := send(lane, text, signed); got != 401 {
				t.Errorf("%s, replayed too late: got %d, want 401", lane, got)
			}
		}
		if got := len(q.taken()); got != 2 {
			t.Errorf("events: got %d, want 2", got)
		}
		// What was not taken may come again with the same signature.
		q.fail = func(event.Event) error { return errors.New("away: +14155550123") }
		now := time.Now()
		if got := send("hub", "["+hubCreation+"]", now); got != 503 {
			t.Errorf("without a broker: got %d, want 503", got)
		}
		q.fail = nil
		if got := send("hub", "["+hubCreation+"]", now); got != 200 {
			t.Errorf("after that: got %d, want 200", got)
		}
	})
}

// Nothing that is not durable is said yes to, and nothing overtakes.
func TestCRMWithoutTheBrokersWord(t *testing.T) {
	t.Parallel()
	second := strings.Replace(hubCreation, `"objectId":123`, `"objectId":124`, 1)
	body := "[" + hubCreation + "," + second + "," + hubPhone + "]"
	for err, status := range map[error]int{errors.New("away: +14155550123"): 503, gateway.ErrFull: 503, gateway.ErrTooLarge: 413} {
		synctest.Test(t, func(t *testing.T) {
			q := &queue{fail: func(ev event.Event) error {
				if ev.ID() == "created.124" {
					return err
				}
				return nil
			}}
			h := crmHandler(t, q)
			a := answered(t, h, crmRequest("hub", body))
			a.isRefusal(t, status)
			want := []int{200, 503, 503}
			if status == 413 {
				want = []int{200, 413, 200}
			}
			var got []int
			for _, e := range a.Events {
				got = append(got, e.Status)
			}
			if diff := cmp.Diff(want, got); diff != "" || strings.Contains(a.body, "5550") {
				t.Errorf("%v (-want +got):\n%s%s", err, diff, a.body)
			}
			q.fail = nil
			r := crmRequest("hub", body)
			sign(r, "hub", body, time.Now().Add(time.Second))
			if a := answered(t, h, r); a.status != 200 || len(q.taken()) != 3 {
				t.Errorf("%v, again: got %d and %d events, want 3", err, a.status, len(q.taken()))
			}
		})
	}
}

func TestCRMRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := crmHandler(t, &queue{})
		for range 1000 {
			if a := answered(t, h, crmRequest("force", "[]")); a.status != 200 {
				t.Fatalf("got %d %s", a.status, a.body)
			}
		}
		answered(t, h, crmRequest("force", "[]")).isRefusal(t, 429)
		if a := answered(t, h, crmRequest("news", "[]")); a.status != 200 {
			t.Errorf("another lane: got %d", a.status)
		}
		time.Sleep(time.Second)
		if a := answered(t, h, crmRequest("force", "[]")); a.status != 200 {
			t.Errorf("later: got %d", a.status)
		}
	})
}

// No body of a CRM's breaks the gateway; what it makes of one it makes again.
func FuzzCRM(f *testing.F) {
	lanes := []string{"hub", "pipe", "force", "form", "plain"}
	for i, body := range []string{"[" + hubCreation + "," + hubPhone + "]", hubContact, hubChosen, pipeCreate, pipeChange, forceLead, forceUpdate, `{"ref":1,"form":"a","kind":"new","tel":"1"}`, `[[{"a":1e999}]]`, "\xff", `{"properties":{"phone":{"value":{}}},"vid":1}`} {
		f.Add(byte(i), body)
	}
	q := &queue{}
	h := crmHandler(f, q)
	now := time.Now()
	f.Fuzz(func(t *testing.T, which byte, body string) {
		lane := lanes[int(which)%len(lanes)]
		q.forget()
		now = now.Add(2 * time.Second) // a signature for each
		if now.After(time.Now().Add(time.Minute - 5*time.Second)) {
			now = time.Now()
			h = crmHandler(t, q)
		}
		for i := range 2 {
			r := crmRequest(lane, body)
			sign(r, lane, body, now.Add(time.Duration(i)*time.Second))
			a := answered(t, h, r)
			switch a.status {
			case 429: // more in a second than a CRM may
				return
			case 200, 400, 413, 422:
			default:
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if n := len(q.taken()); i == 1 && a.status == 200 && n > len(a.Events) {
				t.Errorf("got %d events for %d", n, len(a.Events))
			}
		}
	})
}
