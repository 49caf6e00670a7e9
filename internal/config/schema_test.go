package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/config"
)

// folder writes files below a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOwnSchemas(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"order.json": `{"properties":{"to":{"$ref":"parts.json#/$defs/number"}}}`, "schemas/order.json": `{"required":["to"],"$ref":"../order.json"}`,
		"parts.json": `{"$defs":{"number":{"type":"string"}}}`,
		"weir.yaml":  "schemas:\n  - {type: acme.order.*, file: ./schemas/order.json}\n" + small,
	})
	for name, load := range map[string]func(string, func(string) string) (*config.Config, error){"Load": config.Load, "LoadBroker": config.LoadBroker} {
		cfg, err := load(filepath.Join(dir, "weir.yaml"), environment)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for eventType, want := range map[string]string{"acme.order.made": "data.to must be text", "lead.created": "data.id is missing", "deal.won": ""} {
			e := event.New()
			e.SetType(eventType)
			e.DataEncoded = []byte(`{"to":5}`)
			if err := cfg.Catalog.Check(e); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s: got %v, want %q", name, eventType, err, want)
			}
		}
	}
}

func TestOwnSchemaProblems(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{
		"in/bad.json": `{"title":1,"type":"objct","properties":{"a":{"pattern":"a(?=b)"}}}`,
		"in/web.json": `{"$ref":"https://acme.example/a.json"}`,
		"secret.json": `{}`,
	})
	text := `schemas:
  - {type: a.*, file: bad.json}
  - {type: a.*, file: web.json}
  - {file: ../secret.json}
  - {type: b, file: /etc/passwd}
  - {type: c}
  - {type: d, file: none.json, name: d}
  - nothing
` + small
	_, err := config.Parse(filepath.Join(dir, "in", "weir.yaml"), []byte(text), environment)
	want := `weir.yaml:2:17: schemas[0].file: "bad.json#/properties/a/pattern" is no regular expression of Go (RE2)
weir.yaml:2:17: schemas[0].file: "bad.json#/title" must be text
weir.yaml:2:17: schemas[0].file: "bad.json#/type" is none of the values that are allowed
weir.yaml:2:17: schemas[0].file: "bad.json#/type" must be a list
weir.yaml:3:6: schemas[1].type: is there already: the first one holds
weir.yaml:3:17: schemas[1].file: "web.json" refers to another one: "https://acme.example/a.json" is no file below the configuration's folder, and Weir fetches nothing
weir.yaml:4:5: schemas[2].type: is missing
weir.yaml:4:6: schemas[2].file: "../secret.json" is no path below the configuration's folder
weir.yaml:5:15: schemas[3].file: "/etc/passwd" is no path below the configuration's folder
weir.yaml:6:5: schemas[4].file: is missing
weir.yaml:7:15: schemas[5].file: "none.json" does not exist
weir.yaml:7:32: schemas[5].name: unknown key
weir.yaml:8:5: schemas[6]: must be a block of keys`
	if err == nil {
		t.Fatal("got no error")
	}
	lines := strings.Split(strings.ReplaceAll(err.Error(), filepath.Join(dir, "in")+string(filepath.Separator), ""), "\n")
	if diff := cmp.Diff(strings.Split(want, "\n"), lines); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// passing is small with a route that passes through what a test says.
func passing(t *testing.T, route, more string) string {
	t.Helper()
	return edit(t, small, "      - type: lead.created\n        request:\n          toPhoneNumber: ${ data.phone }\n",
		"      - "+route+"\n"+more)
}

func TestPassthrough(t *testing.T) {
	t.Parallel()
	lane := parse(t, passing(t, "{type: conversation.requested, passthrough: [agentId, ignoreDND], request: {conversationType: telephony}}",
		"    allow_ignore_dnd: true\n")).Accounts[0].Lanes[0]
	e := event.New()
	e.SetType("conversation.requested")
	e.DataEncoded = []byte(`{"agentId":"a","ignoreDND":true}`)
	got, err := lane.Routes.Request(e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"agentId": "a", "ignoreDND": true, "conversationType": "telephony"}, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"agentId", "ignoreDND"}, lane.Sources[0].Passthrough); diff != "" {
		t.Errorf("Sources (-want +got):\n%s", diff)
	}
}

func TestPassthroughProblems(t *testing.T) {
	t.Parallel()
	globex := strings.NewReplacer("provider: oration", "provider: anyreach", "{api_key: {env: KEY}, workspace_id: {env: WORKSPACE}}", "{token: {env: AK}}")
	for _, tc := range []struct{ name, text, want string }{
		{"not the provider's", passing(t, "{type: conversation.requested, passthrough: [agentID, user_id, dynamicVariables]}", ""), lines(
			"weir.yaml:8:54: lanes[0].routes[0].passthrough[0]: is not a field of this provider's request; did you mean agentId?",
			"weir.yaml:8:63: lanes[0].routes[0].passthrough[1]: is not a field of this provider's request")},
		{"do not disturb", passing(t, "{type: conversation.requested, passthrough: [toPhoneNumber, ignoreDND]}", ""),
			"weir.yaml:8:69: lanes[0].routes[0].passthrough[1]: needs allow_ignore_dnd: true in the lane: with it a publisher reaches people who do not want to be called"},
		{"its spelling", passing(t, "{type: conversation.requested, passthrough: [ignoreDnd]}", "    allow_ignore_dnd: true\n"), lines(
			"weir.yaml:8:54: lanes[0].routes[0].passthrough[0]: is not a field of this provider's request; did you mean ignoreDND?",
			"weir.yaml:9:5: lanes[0].allow_ignore_dnd: has no meaning without a route whose passthrough names ignoreDND")},
		{"allowed and not asked for", passing(t, "{type: conversation.requested, passthrough: [toPhoneNumber]}", "    allow_ignore_dnd: true\n"),
			"weir.yaml:9:5: lanes[0].allow_ignore_dnd: has no meaning without a route whose passthrough names ignoreDND"},
		{"not allowed, in words", passing(t, "{type: conversation.requested, passthrough: [toPhoneNumber]}", "    allow_ignore_dnd: false\n    passthrough: [a]\n"),
			"weir.yaml:10:5: lanes[0].passthrough: belongs into a route"},
		{"nothing", passing(t, "{type: conversation.requested, passthrough: []}", ""),
			lines("weir.yaml:8:9: lanes[0].routes[0].request: is missing",
				"weir.yaml:8:40: lanes[0].routes[0].passthrough: must name at least one field of the provider's request")},
		{"another type", passing(t, "{type: lead.*, passthrough: [agentId], request: {agentId: a}}", ""), lines(
			"weir.yaml:8:24: lanes[0].routes[0].passthrough: is for the type conversation.requested alone: the data of others is no request",
			"weir.yaml:8:38: lanes[0].routes[0].passthrough[0]: is fixed by request: leave it out of one of them")},
		{"twice, and Weir's", passing(t, "{type: conversation.requested, passthrough: [agentId, agentId, weir_intent]}", ""), lines(
			"weir.yaml:8:63: lanes[0].routes[0].passthrough[1]: is there already",
			"weir.yaml:8:72: lanes[0].routes[0].passthrough[2]: is not a field of this provider's request")},
		{"at Anyreach", globex.Replace(passing(t, "{type: conversation.requested, passthrough: [channel, id, organization, toPhoneNumber, ignoreDND]}", "    allow_ignore_dnd: true\n")), lines(
			"weir.yaml:8:63: lanes[0].routes[0].passthrough[1]: cannot be passed through: Weir sets it, so that nobody is contacted twice",
			"weir.yaml:8:67: lanes[0].routes[0].passthrough[2]: cannot be passed through: it is the account's",
			"weir.yaml:8:81: lanes[0].routes[0].passthrough[3]: is not a field of this provider's request",
			"weir.yaml:8:96: lanes[0].routes[0].passthrough[4]: is not a field of this provider's request",
			"weir.yaml:9:5: lanes[0].allow_ignore_dnd: has no meaning here: this provider's requests have no ignoreDND")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("weir.yaml", []byte(tc.text), environment)
			if err == nil {
				t.Fatal("got no error")
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
