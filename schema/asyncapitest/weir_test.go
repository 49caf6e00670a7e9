package asyncapitest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weirhq/weir/schema/asyncapitest"
)

const path = "../weir.asyncapi.yaml"

// What is wrong with a document is found, whatever it is.
func TestProblems(t *testing.T) {
	t.Parallel()
	asyncapitest.Load(t, path)
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"version", "asyncapi: 3.0.0", "asyncapi: 2.6.0", "asyncapi must be 3.0.0"},
		{"unknown key", "    action: receive\n", "    action: receive\n    colour: red\n", "field colour not found"},
		{"action", "action: receive", "action: publish", `action is "publish"`},
		{"unused channel", "  tellEnded: {action: send, channel: {$ref: '#/channels/outcomesEnded'}}\n", "", "#/channels/outcomesEnded: nothing refers to it"},
		{"unused message", "messages: {ended: {$ref: '#/components/messages/ended'}}", "messages: {ended: {$ref: '#/components/messages/created'}}", "#/components/messages/ended: nothing refers to it"},
		{"unused schema", "      headers: {$ref: '#/components/schemas/scheduleHeaders'}\n", "", "#/components/schemas/scheduleHeaders: nothing refers to it"},
		{"message that is not there", "messages: {ended: {$ref: '#/components/messages/ended'}}", "messages: {ended: {$ref: '#/components/messages/end'}}", "#/components/messages/end is not there"},
		{"channel that is not there", "channel: {$ref: '#/channels/later'}", "channel: {$ref: '#/channels/sooner'}", "#/channels/sooner is not there"},
		{"reply that is not there", "'#/channels/replies/messages/heard'", "'#/channels/replies/messages/seen'", "#/channels/replies/messages/seen is not there"},
		{"schema that is not there", "payload: {$ref: '#/components/schemas/command'}", "payload: {$ref: '#/components/schemas/order'}", "#/components/schemas/order is not there"},
		{"file that is not there", "$ref: lead.created.schema.json", "$ref: lead.made.schema.json", "lead.made.schema.json"},
		{"web page", "$ref: lead.created.schema.json", "$ref: https://acme.example/lead.json", "is no file beside the document"},
		{"parameter that is not declared", "weir.ctl.{lane}", "weir.ctl.{line}", "/parameters/line: is not there"},
		{"parameter without place", "weir.ctl.{lane}", "weir.ctl", "/parameters/lane: is not in the address"},
		{"slip of a keyword", "additionalProperties: false", "additionalPropertys: false", "/additionalPropertys: is no keyword"},
		{"schema that is none", "claims: {type: integer, minimum: 0", "claims: {type: integre, minimum: 0", "/properties/claims/type"},
		{"wrong example", "payload: {verb: status}", "payload: {verb: state}", "#/components/messages/command/examples/0"},
		{"format", "schemaFormat: &draft application/schema+json;version=draft-2020-12", "schemaFormat: &draft application/schema+json;version=draft-07", "schemaFormat is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(source), tt.old, tt.new, 1)
			if text == string(source) {
				t.Fatalf("the document does not hold %q", tt.old)
			}
			if _, err := asyncapitest.Parse([]byte(text), os.DirFS("..")); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	doc := asyncapitest.Load(t, path)
	structured := map[string][]string{"content-type": {"application/cloudevents+json"}}
	for _, tt := range []struct {
		name, subject string
		header        map[string][]string
		payload       string
		message, want string // want: of the error
	}{
		{"structured", "weir.events.acme", structured, `{"specversion":"1.0","id":"1","source":"/crm","type":"lead.created","data":{"id":1}}`, "leadCreated", ""},
		{"binary", "weir.events.acme.high", map[string][]string{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/crm"}, "Ce-Type": {"lead.updated"}}, `{"id":1}`, "leadUpdatedBinary", ""},
		{"another type", "weir.events.acme", structured, `{"specversion":"1.0","id":"1","source":"/crm","type":"lead.made"}`, "otherEvent", ""},
		{"data against its schema", "weir.events.acme", structured, `{"specversion":"1.0","id":"1","source":"/crm","type":"lead.created","data":{}}`, "", "missing property 'id'"},
		{"Weir's own source", "weir.events.acme", structured, `{"specversion":"1.0","id":"1","source":"/weir/acme","type":"lead.made"}`, "", "no otherEvent"},
		{"no lane", "weir.events.ACME", structured, `{}`, "", "the subject of 0 channels"},
		{"unknown kind", "weir.outcomes.acme.lost", structured, `{}`, "", "the subject of 0 channels"},
		{"what cannot be", "weir.outcomes.acme.expired", structured, `{}`, "", "x-weir-unseen says"},
		{"no JSON", "weir.ctl.acme", nil, `{`, "", "payload is no JSON"},
		{"command", "weir.ctl.acme", nil, `{"verb":"status"}`, "command", ""},
		{"a letter in a header", "weir.dead.acme.2f1b7a52-6a39-5b5e-8f7e-6e0c1a3f4b21", map[string][]string{"Nats-Msg-Id": {"x"}, "Weir-Letter": {`{"v":1,"n":1}`}}, "\xff", "letter", ""},
		{"a letter with more in it", "weir.dead.acme.2f1b7a52-6a39-5b5e-8f7e-6e0c1a3f4b21", map[string][]string{"Nats-Msg-Id": {"x"}, "Weir-Letter": {`{"v":1,"n":1,"new":1}`}}, "", "", "additional properties 'new'"},
		{"a new header", "weir.dead.acme.2f1b7a52-6a39-5b5e-8f7e-6e0c1a3f4b21", map[string][]string{"Nats-Msg-Id": {"x"}, "Weir-Letter": {`{"v":1,"n":1}`}, "Weir-New": {"1"}}, "", "", "invalid propertyName 'Weir-New'"},
	} {
		got, err := doc.Match(tt.subject, tt.header, []byte(tt.payload))
		if got.Message != tt.message || (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %q and %v, want %q and %q", tt.name, got.Message, err, tt.message, tt.want)
		}
	}
}
