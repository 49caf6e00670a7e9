package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// eventsPage is docs/events.md.
func eventsPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs", "events.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// examples are the code blocks of the page.
func examples(page, language string) (all []string) {
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(page, -1) {
		all = append(all, m[1])
	}
	return all
}

// Each built-in type has a section with an example that a lane takes, and with each
// member of its schema.
func TestEventsPageHasEachType(t *testing.T) {
	t.Parallel()
	page := eventsPage(t)
	catalog := schema.NewCatalog()
	var types []string
	for _, text := range examples(page, "json") {
		if strings.Contains(text, `"type": "`+consumer.OutcomePrefix) {
			continue // Weir's own, which TestAsyncAPI knows
		}
		ev, err := schema.Decode(map[string][]string{"Content-Type": {structuredType}}, []byte(text), 0)
		if err == nil {
			err = catalog.Check(ev)
		}
		if err != nil {
			t.Errorf("%v in %s", err, text)
			continue
		}
		types = append(types, ev.Type())
		_, section, _ := strings.Cut(page, "### `"+ev.Type()+"`\n")
		for _, name := range members(t, ev.Type()) {
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("the section of %s does not name its member %s", ev.Type(), name)
			}
		}
	}
	slices.Sort(types)
	if diff := cmp.Diff(catalog.Types(), types); diff != "" {
		t.Errorf("types with an example (-want +got):\n%s", diff)
	}
}

// members are those that the schema of a type names itself, and of a lead.created
// those of all leads.
func members(t *testing.T, eventType string) (names []string) {
	t.Helper()
	files := []string{eventType + ".schema.json"}
	if eventType == "lead.created" {
		files = append(files, "lead.json")
	}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(root, "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Properties map[string]any }
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		for name := range doc.Properties {
			names = append(names, name)
		}
	}
	return names
}

// The lane of the page makes of the event of the page what the provider takes.
func TestEventsPagePassthrough(t *testing.T) {
	t.Parallel()
	page := eventsPage(t)
	blocks := examples(page, "yaml")
	if len(blocks) != 1 {
		t.Fatalf("the page has %d blocks of YAML, want 1", len(blocks))
	}
	cfg, err := config.Parse("weir.yaml", []byte(blocks[0]), func(string) string { return "any" })
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(examples(page, "json"), func(s string) bool { return strings.Contains(s, schema.ConversationRequested) })
	ev, err := schema.Decode(map[string][]string{"Content-Type": {structuredType}}, []byte(examples(page, "json")[i]), 0)
	if err != nil {
		t.Fatal(err)
	}
	request, err := cfg.Accounts[0].Lanes[0].Routes.Request(ev)
	if err != nil {
		t.Fatal(err)
	}
	client, err := provider(zerolog.Nop(), cfg.Accounts[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Prepare(request); err != nil {
		t.Error(err)
	}
	want := map[string]any{
		"agentId": "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7", "toPhoneNumber": "+14155550123", "conversationType": "telephony",
		"dynamicVariables": map[string]any{"order": "A-17", "channel": "app"},
	}
	if diff := cmp.Diff(want, request); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	for _, provider := range []string{config.Oration, config.Anyreach} {
		if row := "| `" + provider + "` | `" + strings.Join(config.Passes(provider), "`, `") + "` |"; !strings.Contains(page, row) {
			t.Errorf("the page does not have the row %s", row)
		}
	}
}

// The condition that the page advises holds where it should.
func TestEventsPageCondition(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile("`when: \"(.*?)\"`").FindStringSubmatch(eventsPage(t))
	if m == nil {
		t.Fatal("the page has no condition")
	}
	routes, err := schema.CompileRoutes([]schema.RouteSource{{Type: "lead.updated", When: m[1], Request: map[string]any{"to": "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]bool{`{"changed":["email","phone"]}`: true, `{"changed":["email"]}`: false, `{"changed":null}`: false, `{}`: false} {
		e := event.New()
		e.SetType("lead.updated")
		e.DataEncoded = []byte(data)
		if _, err := routes.Request(e); (err == nil) != want {
			t.Errorf("%s: got %v, want it to hold: %v", data, err, want)
		}
	}
}
