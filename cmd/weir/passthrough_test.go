package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/anyreach"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/oration"
)

// What a passthrough may name is what the provider's own request has, and that has
// neither Weir's id nor the organization.
func TestPassthroughNamesTheProvidersOwnFields(t *testing.T) {
	t.Parallel()
	for provider, request := range map[string]reflect.Type{
		config.Oration:  reflect.TypeFor[oration.Request](),
		config.Anyreach: reflect.TypeFor[anyreach.Request](),
	} {
		var fields []string
		for f := range request.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, name)
		}
		slices.Sort(fields)
		if diff := cmp.Diff(fields, config.Passes(provider)); diff != "" {
			t.Errorf("%s (-its request +passthrough):\n%s", provider, diff)
		}
	}
}

// requested is a conversation.requested as a line of a file.
func requested(id, data string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/app","type":"conversation.requested","data":%s}`, id, data)
}

// H22, with all its parts: what a lane lists reaches the provider, and of the rest
// each is a dead letter that names it, and calls nobody.
func TestH22PassthroughEndToEnd(t *testing.T) {
	t.Parallel()
	const agent = "0f9e2f8a-df49-4c24-83a2-b9fd8d1f44a7"
	p := newPlant(t, "sales")
	p.edit(t, "      - type: lead.created\n"+plantRoute, `      - type: conversation.requested
        request: {conversationType: telephony, dynamicVariables: {campaign: autumn}}
        passthrough: [agentId, toPhoneNumber, dynamicVariables, telephonyType]
`)
	p.edit(t, "accounts:\n", "schemas: [{type: \"conversation.*\", file: own.json}]\naccounts:\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(p.yaml), "own.json"), []byte(`{"not":{"required":["fromPhoneNumber"]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	defer p.serve(t, "sales")()
	p.weir(t, "publish", p.file(t, "events.ndjson",
		requested("good", `{"agentId":"`+agent+`","toPhoneNumber":"+14155550101","dynamicVariables":{"name":"Ana","n":3}}`),
		requested("unlisted", `{"agentId":"`+agent+`","toPhoneNumber":"+14155550102","ignoreDND":true}`),
		requested("forged", `{"toPhoneNumber":"+14155550103","dynamicVariables":{"weir_intent":"x"}}`),
		requested("fixed", `{"toPhoneNumber":"+14155550104","dynamicVariables":{"campaign":"mine"}}`),
		requested("number", `{"toPhoneNumber":"0171 55501","agentId":"`+agent+`"}`),
		requested("nobody", `{"agentId":"`+agent+`"}`),
		requested("agent", `{"toPhoneNumber":"+14155550105","agentId":"mine"}`),
		requested("own", `{"toPhoneNumber":"+14155550106","fromPhoneNumber":"+14155550100"}`)))
	want := map[string]string{
		"unlisted": "data: data.ignoreDND is not passed through",
		"forged":   "data: data.dynamicVariables.weir_intent is for Weir alone",
		"fixed":    "data: data.dynamicVariables.campaign is fixed",
		"number":   "request: The phone number …01 is not in international form",
		"nobody":   "request: There is no phone number to call: toPhoneNumber",
		"agent":    "request: agentId must be a UUID",
		"own":      "data: The event cannot be used as it is: data does not have the right form",
	}
	var letters []letterRow
	await(t, patience, "each event to come to its end", func() bool {
		letters = decoded[[]letterRow](t, p.weir(t, "dead", "list", "--output", "json"))
		return len(letters) >= len(want) && p.sim.Report().Conversations >= 1
	})
	for _, l := range letters {
		class, words, _ := strings.Cut(want[l.ID], ": ")
		if l.Class != class || !strings.Contains(l.Reason, words) || want[l.ID] == "" {
			t.Errorf("%s: got %s: %s, want %s", l.ID, l.Class, l.Reason, want[l.ID])
		}
		delete(want, l.ID)
	}
	if len(want) > 0 {
		t.Errorf("no dead letter of %v", want)
	}
	calls := p.sim.Conversations()
	if len(calls) != 1 || calls[0].Intent != consumer.Key("sales", "/app", "good") || calls[0].Number != "+14155550101" || calls[0].Agent != agent {
		t.Errorf("got calls %+v, want that of good alone", calls)
	}
	told := p.told(t, calls[0].ID)
	for _, pair := range []string{`campaign\":\"autumn`, `n\":\"3`, `name\":\"Ana`} {
		if !strings.Contains(told, pair) {
			t.Errorf("the provider was told %s, want %s in it", told, pair)
		}
	}
}

// told is a conversation as the provider shows it.
func (p *plant) told(t *testing.T, id string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/conversations/"+id, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", p.env["KEY"])
	req.Header.Set("X-Workspace-Id", p.env["WORKSPACE"])
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
	return string(b)
}
