package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

// passing is a lane's route, and the one that it falls back to.
func passing(t *testing.T) *schema.Routes {
	t.Helper()
	r, err := schema.CompileRoutes([]schema.RouteSource{{
		Type: schema.ConversationRequested,
		When: "has(data.toPhoneNumber) || !has(data.plain)",
		Request: map[string]any{
			"conversationType": "telephony",
			"agentId":          "${ lower(data.agentId ?? 'House') }",
			"dynamicVariables": map[string]any{"campaign": "autumn", "who": "${ data.dynamicVariables.who ?? 'nobody' }", "deep": map[string]any{"a": 1}},
		},
		Passthrough: []string{"agentId", "toPhoneNumber", "dynamicVariables", "list"},
	}, {
		Type: "*", Request: map[string]any{"plain": "${ data.plain }"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPassthrough(t *testing.T) {
	t.Parallel()
	routes := passing(t)
	for _, tt := range []struct {
		name, data string
		want       map[string]any
	}{
		{"nothing", `{}`, map[string]any{
			"conversationType": "telephony", "agentId": "house",
			"dynamicVariables": map[string]any{"campaign": "autumn", "who": "nobody", "deep": map[string]any{"a": 1}},
		}},
		{"all", `{"agentId":"Mine","toPhoneNumber":"+14155550100","list":[1,{"a":null}],"dynamicVariables":{"who":"Ana","x":1.5,"deep":{"b":[2]}}}`, map[string]any{
			"conversationType": "telephony", "agentId": "mine", "toPhoneNumber": "+14155550100", "list": []any{1, map[string]any{"a": nil}},
			"dynamicVariables": map[string]any{"campaign": "autumn", "who": "Ana", "x": 1.5, "deep": map[string]any{"a": 1, "b": []any{2}}},
		}},
		{"nulls", `{"toPhoneNumber":null,"dynamicVariables":null}`, map[string]any{
			"conversationType": "telephony", "agentId": "house", "toPhoneNumber": nil,
			"dynamicVariables": map[string]any{"campaign": "autumn", "who": "nobody", "deep": map[string]any{"a": 1}},
		}},
		{"another route", `{"plain":"x","ignoreDND":true}`, map[string]any{"plain": "x"}},
	} {
		e := content(schema.ConversationRequested, "", tt.data)
		got, err := routes.Request(e)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: request (-want +got):\n%s", tt.name, diff)
		}
		if err := routes.Passable(e); err != nil {
			t.Errorf("%s: Passable: %v", tt.name, err)
		}
	}
}

// H22: what the lane does not list is refused by name, and not left out in silence.
func TestH22PassthroughRefuses(t *testing.T) {
	t.Parallel()
	routes := passing(t)
	const unlisted = " is not passed through by this lane"
	for _, tt := range []struct{ name, data, field, want string }{
		{"not listed", `{"ignoreDND":true}`, "data.ignoreDND", "data.ignoreDND" + unlisted},
		{"null, and not listed", `{"ignoreDND":null}`, "data.ignoreDND", "data.ignoreDND" + unlisted},
		{"another spelling", `{"AgentId":"a"}`, "data.AgentId", "data.AgentId" + unlisted},
		{"fixed, and not listed", `{"conversationType":"web"}`, "data.conversationType", "data.conversationType is fixed by this lane; data.conversationType" + unlisted},
		{"several", `{"b":1,"a":1,"d":1,"c":1}`, "data.a", "data.a" + unlisted + "; data.b" + unlisted + "; data.c" + unlisted + "; and 1 more"},
		{"a number as a name", `{"+14155550100":1}`, `data["…00"]`, `data["…00"]` + unlisted},
		{"fixed variable", `{"dynamicVariables":{"campaign":"mine"}}`, "data.dynamicVariables.campaign", "data.dynamicVariables.campaign is fixed by this lane"},
		{"fixed below", `{"dynamicVariables":{"deep":{"a":2}}}`, "data.dynamicVariables.deep.a", "data.dynamicVariables.deep.a is fixed by this lane"},
		{"no object", `{"dynamicVariables":"campaign"}`, "data.dynamicVariables", "data.dynamicVariables must be an object"},
		{"a forged mark", `{"dynamicVariables":{"weir_intent":"x"}}`, "data.dynamicVariables.weir_intent", "data.dynamicVariables.weir_intent is for Weir alone"},
		{"in capitals", `{"dynamicVariables":{"WEIR_Attempt":"x"}}`, "data.dynamicVariables.WEIR_Attempt", "data.dynamicVariables.WEIR_Attempt is for Weir alone"},
		{"any of them", `{"dynamicVariables":{"weir_new":"x"}}`, "data.dynamicVariables.weir_new", "data.dynamicVariables.weir_new is for Weir alone"},
		{"deep down", `{"dynamicVariables":{"a":[{"b":{"weir_intent":1}}]}}`, "data.dynamicVariables.a[0].b.weir_intent", "data.dynamicVariables.a[0].b.weir_intent is for Weir alone"},
		{"at the top", `{"weir_intent":1}`, "data.weir_intent", "data.weir_intent is for Weir alone; data.weir_intent" + unlisted},
		{"in a fixed object", `{"dynamicVariables":{"deep":{"weir_intent":1}}}`, "data.dynamicVariables.deep.weir_intent", "data.dynamicVariables.deep.weir_intent is for Weir alone"},
		{"too deep", `{"list":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, "data.list" + strings.Repeat("[0]", 15), "data.list" + strings.Repeat("[0]", 15) + " has too many objects and lists inside each other"},
		{"too long", `{"list":["` + strings.Repeat("x", 256<<10) + `"]}`, "data", "data is longer than 262144 bytes"},
		{"long in names", `{"dynamicVariables":{"` + strings.Repeat("x", 256<<10) + `":1}}`, "data", "data is longer than 262144 bytes"},
		{"no object at all", `[]`, "data", "data must be an object"},
		{"no data", ``, "data", "data must be an object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := content(schema.ConversationRequested, "", tt.data)
			_, err := routes.Request(e)
			want := &schema.Refusal{Class: schema.ClassData, Field: tt.field, Reason: "The event cannot be used as it is: " + tt.want + "."}
			if diff := cmp.Diff(want, refusal(t, err)); diff != "" {
				t.Errorf("Request (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, refusal(t, routes.Passable(e))); diff != "" {
				t.Errorf("Passable (-want +got):\n%s", diff)
			}
		})
	}
}

// What else may be wrong is none of Passable's: it becomes a dead letter.
func TestPassableLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	routes, err := schema.CompileRoutes([]schema.RouteSource{
		{Type: schema.ConversationRequested, When: "data.n > 1", Passthrough: []string{"n"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ eventType, data string }{
		{schema.ConversationRequested, `{"n":1,"x":1}`},   // no route applies
		{schema.ConversationRequested, `{"n":"a","x":1}`}, // its condition cannot be judged
		{schema.ConversationRequested, `{`},
		{"lead.created", `{"x":1}`},
	} {
		if err := routes.Passable(content(tt.eventType, "", tt.data)); err != nil {
			t.Errorf("%s %s: got %v, want nil", tt.eventType, tt.data, err)
		}
	}
}

func TestPassthroughProblems(t *testing.T) {
	t.Parallel()
	_, err := schema.CompileRoutes([]schema.RouteSource{
		{Type: "lead.*", Passthrough: []string{"a"}},
		{Type: schema.ConversationRequested, Passthrough: []string{"a", "a", "", "Weir_x", "b", "c", "d", "e"}, Request: map[string]any{
			"b": "fixed", "c": []any{"${ data.c }"}, "d": "${ data.d }", "e": map[string]any{"x": 1},
		}},
		{Type: schema.ConversationRequested},
	})
	want := `[0].passthrough: is for the type conversation.requested alone: the data of others is no request
[1].passthrough[1]: is there already
[1].passthrough[2]: is empty
[1].passthrough[3]: is for Weir alone
[1].passthrough[4]: is fixed by request: leave it out of one of them
[1].passthrough[5]: is fixed by request: leave it out of one of them
[2].request: is missing`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}
