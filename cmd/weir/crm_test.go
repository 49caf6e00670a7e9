package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/chaos"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/gateway"
	"github.com/weirhq/weir/schema"
)

const (
	crmAddress = "0123456789abcdef-address"
	crmShown   = "0123456789abcdef-shown"
	crmPublic  = "https://hooks.example.com"
)

// crmPlant is a plant whose lanes hear a CRM each.
func crmPlant(t *testing.T, listen string) *plant {
	t.Helper()
	kinds := map[string]string{
		"hub":   "kind: hubspot, app_secret: {env: SHOWN}",
		"pipe":  "kind: pipedrive, user: weir, password: {env: SHOWN}",
		"force": "kind: salesforce, api_key: {env: SHOWN}",
		"form":  "kind: generic, hmac: {secret: {env: SHOWN}, header: X-Signature}, map: {id: '${ data.ref }', source: /forms, type: lead.created, data: {id: '${ data.ref }', phone: '${ data.tel }'}}",
	}
	lanes := []string{"hub", "pipe", "force", "form"}
	p := newPlant(t, lanes...)
	for _, lane := range lanes {
		p.edit(t, "name: "+lane+"\n", fmt.Sprintf("name: %s\n    crm: {secret: {env: ADDRESS}, %s}\n", lane, kinds[lane]))
	}
	p.edit(t, "type: lead.created", "type: lead.*")
	p.edit(t, "embedded:", fmt.Sprintf("gateway: {listen: %q, public_url: %q}\nembedded:", listen, crmPublic))
	p.env["ADDRESS"], p.env["SHOWN"] = crmAddress, crmShown
	return p
}

// crmSays sends a lane what its CRM would; status 0 means that nobody answered.
func crmSays(t *testing.T, base, lane, body string) (status int, text string) {
	t.Helper()
	path := "/hooks/crm/" + lane + "/" + crmAddress
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := func(text string) []byte {
		m := hmac.New(sha256.New, []byte(crmShown))
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	stamp := strconv.FormatInt(time.Now().UnixMilli(), 10)
	req.Header.Set("X-HubSpot-Request-Timestamp", stamp)
	req.Header.Set("X-HubSpot-Signature-v3", base64.StdEncoding.EncodeToString(sum("POST"+crmPublic+path+body+stamp)))
	req.Header.Set("X-Api-Key", crmShown)
	req.Header.Set("X-Signature", hex.EncodeToString(sum(body)))
	req.SetBasicAuth("weir", crmShown)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

const (
	hubCreation = `{"eventId":1,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","objectId":123}`
	hubPhone    = `{"eventId":2,"portalId":62515,"occurredAt":1564113600100,"subscriptionType":"contact.propertyChange","objectId":124,"propertyName":"phone","propertyValue":"+14155550101"}`
	pipePerson  = `{"meta":{"action":"create","entity":"person","company_id":"777","entity_id":"41","id":"e1b2","version":"2.0"},"data":{"id":41,"phones":[{"value":"+14155550102","primary":true}]},"previous":null}`
	forceLead   = `{"Id":"00Q5g00000AbCdEEAV","LastName":"Lima","Phone":"+14155550103"}`
	formLead    = `{"ref":"f1","tel":"+14155550104"}`
)

// From a CRM's webhook to the call, never twice; a contact without a number is a
// dead letter that says so.
func TestCRMFromWebhookToCall(t *testing.T) {
	t.Parallel()
	address := gatewayPort(t)
	p := crmPlant(t, address)
	contains(t, p.weir(t, "check"), "webhooks of hubspot are taken at "+crmPublic+"/hooks/crm/hub/<secret>\n")
	defer p.serve(t, "hub", "pipe", "force", "form")()
	base := "http://" + address
	recent := strings.NewReplacer("15641136", strconv.FormatInt(time.Now().Unix(), 10)[:8]) // what is older than ledger.keep calls nobody
	for range 2 {
		for lane, body := range map[string]string{"hub": recent.Replace("[" + hubCreation + "," + hubPhone + "]"), "pipe": pipePerson, "force": forceLead, "form": formLead} {
			await(t, patience, "200", func() bool {
				status, text := crmSays(t, base, lane, body)
				if status/100 == 4 {
					t.Fatalf("%s: got %d %s", lane, status, text)
				}
				return status == 200
			})
		}
		await(t, patience, "the calls", func() bool { return len(p.sim.Conversations()) == 4 })
	}
	rows := p.settled(t, "dead", 1)
	contains(t, fmt.Sprintf("%+v", rows), "toPhoneNumber needs data.phone, which this lead does not have.")
	if got := len(p.sim.Conversations()); got != 4 {
		t.Errorf("conversations: got %d, want 4", got)
	}
}

// Each kind's webhook is on the stream when it is answered, once; where the
// broker's word is lost there is no yes.
func TestCRMEventsOnTheStream(t *testing.T) {
	t.Parallel()
	p := crmPlant(t, "127.0.0.1:0")
	s := p.broker(t)
	cfg, err := config.Load(p.yaml, func(name string) string { return p.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	proxy, b := brokerThrough(t, s)
	srv := httptest.NewServer(gateway.New(zerolog.Nop(), nil, gateway.Config{
		CRMs: crms(cfg), PublicURL: cfg.Gateway.PublicURL, Door: gateway.Door{Queue: doorQueue{b}},
	}).Handler())
	t.Cleanup(srv.Close)
	say := func(lane, body string) int {
		status, _ := crmSays(t, srv.URL, lane, body)
		return status
	}
	proxy.Set(chaos.Mode{Kind: chaos.KindHalfOpen})
	await(t, patience, "the event that was stored without a yes", func() bool { // unless the time was over before it was sent
		if got := say("hub", "["+hubPhone+"]"); got != 503 {
			t.Errorf("the word lost: got %d, want 503", got)
		}
		return len(contents(t, s, broker.StreamEvents)) == 1
	})
	proxy.Set(chaos.Mode{})
	proxy.Reset()
	var want []string
	for _, tc := range []struct{ lane, body, event string }{
		{"hub", "[" + hubPhone + "]", "/crm/hubspot/62515 changed.124.phone.1564113600100 +14155550101"},
		{"pipe", pipePerson, "/crm/pipedrive/777 create.person.41.e1b2 +14155550102"},
		{"force", forceLead, "/crm/salesforce created.00Q5g00000AbCdE +14155550103"},
		{"form", formLead, "/forms f1 +14155550104"},
	} {
		await(t, patience, "200", func() bool { return say(tc.lane, tc.body) == 200 })
		want = append(want, "weir.events."+tc.lane+" "+tc.event)
		all := contents(t, s, broker.StreamEvents)
		var got []string
		for _, m := range all {
			e, err := schema.Decode(m.Header, []byte(m.Body), 0)
			var data struct{ Phone string }
			if err != nil || json.Unmarshal(e.Data(), &data) != nil {
				t.Fatalf("got %s: %v", m.Body, err)
			}
			got = append(got, m.Subject+" "+e.Source()+" "+e.ID()+" "+data.Phone)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", tc.lane, diff)
		}
	}
}
