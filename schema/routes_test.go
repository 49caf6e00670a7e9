package schema_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

// person is the lead of these tests.
const person = `{"id":7,"first_name":"Anna","phone":"+4915112345678","email":"","score":1.5,"whole":2.0,"vip":true,
	"big":123456789012345678901,"nothing":null,"tags":["a","b",3],"attributes":{"city":"Köln","deep":{"er":[{"x":1}]}},"odd name":"o"}`

func leadEvent(t testing.TB) event.Event {
	t.Helper()
	body := with(`,"subject":"sub","time":"2026-01-31T10:30:00+01:00","weirlane":"acme","priority":5,"mine":true,"data":` + person)
	e, err := schema.Decode(structured, []byte(body), 0)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func compile(t testing.TB, sources ...schema.RouteSource) *schema.Routes {
	t.Helper()
	r, err := schema.CompileRoutes(sources)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// one compiles a route whose request has one field, x.
func one(t testing.TB, v any) *schema.Routes {
	t.Helper()
	return compile(t, schema.RouteSource{Type: "lead.created", Request: map[string]any{"x": v}})
}

// How a request came about is told beside it, and beside each error.
func TestChooseTells(t *testing.T) {
	t.Parallel()
	made := map[string]any{"x": "${ data.phone }"}
	routes := compile(t,
		schema.RouteSource{Type: "deal.*", Request: made},
		schema.RouteSource{Type: "lead.*", When: "data.score > 2 and has(data.email)", Request: made},
		schema.RouteSource{Type: "lead.created", When: "data.vip", Request: made},
		schema.RouteSource{Type: "*", Request: made},
	)
	got, err := routes.Choose(leadEvent(t))
	want := schema.Choice{Route: 2, Request: map[string]any{"x": "+4915112345678"}, Tried: []schema.Tried{
		{Type: "deal.*"},
		{Type: "lead.*", When: "data.score > 2 and has(data.email)", Fits: true, Reads: []schema.Read{{Path: "data.score", Value: 1.5}, {Path: "data.email", Value: ""}}},
		{Type: "lead.created", When: "data.vip", Fits: true, Holds: true, Reads: []schema.Read{{Path: "data.vip", Value: true}}},
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v; choice (-want +got):\n%s", err, diff)
	}
	for name, tt := range map[string]struct {
		source schema.RouteSource
		want   schema.Choice
	}{
		"no type":         {schema.RouteSource{Type: "deal.won", Request: made}, schema.Choice{Route: -1, Tried: []schema.Tried{{Type: "deal.won"}}}},
		"no condition":    {schema.RouteSource{Type: "*", When: "data.no", Request: made}, schema.Choice{Route: -1, Tried: []schema.Tried{{Type: "*", When: "data.no", Fits: true, Reads: []schema.Read{{Path: "data.no"}}}}}},
		"a bad condition": {schema.RouteSource{Type: "*", When: "data.id > \"a\"", Request: made}, schema.Choice{Route: -1, Tried: []schema.Tried{{Type: "*", When: "data.id > \"a\"", Fits: true, Reads: []schema.Read{{Path: "data.id", Value: 7}}}}}},
		"no value":        {schema.RouteSource{Type: "*", Request: map[string]any{"x": "${ data.no }"}}, schema.Choice{Tried: []schema.Tried{{Type: "*", Fits: true, Holds: true}}}},
	} {
		got, err := compile(t, tt.source).Choose(leadEvent(t))
		if diff := cmp.Diff(tt.want, got); diff != "" || err == nil {
			t.Errorf("%s: error %v; choice (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestRouteChoice(t *testing.T) {
	t.Parallel()
	route := func(name, eventType, when string) schema.RouteSource {
		return schema.RouteSource{Type: eventType, When: when, Request: map[string]any{"route": name}}
	}
	tests := []struct {
		name   string
		routes []schema.RouteSource
		want   string // the route; or of an error: its class, or skip
	}{
		{"the first wins", []schema.RouteSource{route("a", "lead.created", ""), route("b", "lead.created", "")}, "a"},
		{"another type", []schema.RouteSource{route("a", "deal.won", ""), route("b", "lead.created", "")}, "b"},
		{"no type", []schema.RouteSource{route("a", "deal.won", "")}, "no_route"},
		{"no routes", nil, "no_route"},
		{"a type is no prefix", []schema.RouteSource{route("a", "lead", "")}, "no_route"},
		{"star", []schema.RouteSource{route("a", "*", "")}, "a"},
		{"star at the end", []schema.RouteSource{route("a", "lead.*", "")}, "a"},
		{"star at the start", []schema.RouteSource{route("a", "*.created", "")}, "a"},
		{"star in the middle", []schema.RouteSource{route("a", "l*d.c*d", "")}, "a"},
		{"stars may be empty", []schema.RouteSource{route("a", "**lead.created**", "")}, "a"},
		{"parts do not overlap", []schema.RouteSource{route("a", "lead.c*created", "")}, "no_route"},
		{"star, no match", []schema.RouteSource{route("a", "lead.*x", "")}, "no_route"},
		{"other characters are literal", []schema.RouteSource{route("a", "lead?created", "")}, "no_route"},
		{"a condition that holds", []schema.RouteSource{route("a", "lead.created", "has(data.phone)")}, "a"},
		{"in braces", []schema.RouteSource{route("a", "lead.created", " ${ has(data.phone) } ")}, "a"},
		{"the next route", []schema.RouteSource{route("a", "lead.created", "has(data.email)"), route("b", "lead.*", "data.id == 7")}, "b"},
		{"none holds", []schema.RouteSource{route("a", "lead.created", "has(data.email)"), route("b", "lead.*", "false")}, "skip"},
		{"nothing is false", []schema.RouteSource{route("a", "lead.created", "data.gold"), route("b", "lead.created", "data.vip")}, "b"},
		{"neither true nor false", []schema.RouteSource{route("a", "lead.created", "data.phone"), route("b", "lead.created", "")}, "request"},
		{"cannot be judged", []schema.RouteSource{route("a", "lead.created", "data.age > 3"), route("b", "lead.created", "")}, "request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := "?"
			request, err := compile(t, tt.routes...).Request(leadEvent(t))
			if err == nil {
				got = request["route"].(string)
			} else if r, ok := errors.AsType[*schema.Refusal](err); ok {
				got = string(r.Class)
			} else if _, ok := errors.AsType[*schema.Skip](err); ok {
				got = "skip"
			}
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

func TestRouteReasons(t *testing.T) {
	t.Parallel()
	request := map[string]any{"x": 1}
	tests := []struct {
		when, want string
	}{
		{"data.age > 3", "The route's condition (when: data.age > 3) cannot be judged for this lead (invalid operation: <nil> > int). The lead has no data.age."},
		{"data.phone", "The route's condition (when: data.phone) is neither true nor false for this lead."},
		{"false", "No route of this lane applies to this lead: each has a condition that does not hold."},
	}
	for _, tt := range tests {
		_, err := compile(t, schema.RouteSource{Type: "*", When: tt.when, Request: request}).Request(leadEvent(t))
		if err == nil || err.Error() != tt.want && err.Error() != "when: "+tt.want {
			t.Errorf("%s: got %v, want %s", tt.when, err, tt.want)
		}
	}
	_, err := compile(t).Request(content("deal.won", "", ""))
	if want := `This lane has no route for events of type "deal.won".`; refusal(t, err).Reason != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRouteData(t *testing.T) {
	t.Parallel()
	tests := []struct {
		e    event.Event
		want any // nil: a refusal
	}{
		{content("lead.created", "", `"text"`), "text"},
		{content("lead.created", "text/plain", "text"), "text"},
		{content("lead.created", "application/x+json", "5"), 5},
		{content("lead.created", "", ""), nil},
		{content("lead.created", "", "{"), nil},
		{content("lead.created", "", "[1]"), []any{1}},
	}
	for _, tt := range tests {
		got, err := one(t, "${ data }").Request(tt.e)
		if tt.want == nil {
			if r := refusal(t, err); r.Class != schema.ClassRequest {
				t.Errorf("%s: got class %s, want %s", tt.e.Data(), r.Class, schema.ClassRequest)
			}
			continue
		}
		if diff := cmp.Diff(map[string]any{"x": tt.want}, got); err != nil || diff != "" {
			t.Errorf("%s: got error %v, request (-want +got):\n%s", tt.e.Data(), err, diff)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   any
		want string // a part of the error
	}{
		{"${ phone }", "unknown name phone"},
		{"${ dat.phone }", "unknown name dat"},
		{"${ nosuch(data) }", "unknown name nosuch"},
		{"${ $env }", "unknown name $env"},
		{"${ $env.data }", "unknown name $env"},
		{"${ now() }", "unknown name now"},
		{"${ repeat('x', 1000000) }", "unknown name repeat"},
		{"${ map(data.tags, # + 1) }", "unknown function map"},
		{"${ all(1..1000, true) }", ""},
		{"${ member(data, 'x') }", "unknown name member"},
		{"${ 1..9 }", "ranges"},
		{"${ data.tags in 1..9 }", "ranges"},
		{"${ let a = 1; a }", "variables"},
		{"${ 1; 2 }", ""},
		{"${ data.f() }", "called"},
		{"${ data.first_name matches data.phone }", "pattern in quotes"},
		{"${ 'a' matches '(' }", ""},
		{"${ id + 1 }", "mismatched"},
		{"${ id > 1 }", "mismatched"},
		{"${ id.x }", "has no field"},
		{"${ has() }", "argument"},
		{"${ has(1, 2) }", "argument"},
		{"${ split(data.x, 1) }", "cannot use int"},
		{"${ lower }", "lower is a function"},
		{"${ [has] }", "has is a function"},
		{"${ lower(lower) }", "lower is a function"},
		{"${ }", "empty"},
		{"${ data.", "no closing"},
		{"${ ' }", "no closing"},
		{"${ data.. }", ""},
		{"${ b'abc' }", ""},
		{"ok ${ data.x } bad ${ +", "no closing"},
		{"${ " + strings.Repeat("1+", 2100) + "1 }", "longer than 4096"},
		{"${ " + strings.Repeat("1+", 600) + "1 }", "nodes"},
		{"${ " + strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000) + " x }", ""},
		{map[any]any{1: "x"}, "type map[interface {}]interface {}"},
		{[]string{"x"}, "type []string"},
		{func() {}, "type func()"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%.40v", tt.in), func(t *testing.T) {
			t.Parallel()
			_, err := schema.CompileRoutes([]schema.RouteSource{{Type: "t", Request: map[string]any{"x": tt.in}}})
			e, ok := errors.AsType[*schema.RouteError](err)
			if !ok {
				t.Fatalf("got %v, want a *RouteError", err)
			}
			if e.Path != "[0].request.x" || !strings.Contains(e.Error(), tt.want) {
				t.Errorf("got %q at %q; want %q at [0].request.x", e.Err, e.Path, tt.want)
			}
			if strings.Contains(e.Error(), "\n") || len(e.Error()) > 400 {
				t.Errorf("got a text of %d bytes, want one short line: %s", len(e.Error()), e)
			}
		})
	}
}

// CompileRoutes tells everything that is wrong at once, each with its place.
func TestCompileTellsAll(t *testing.T) {
	t.Parallel()
	_, err := schema.CompileRoutes([]schema.RouteSource{
		{Type: "", When: "id", Request: map[string]any{"b": "${ x }", "a": "${ y } ${ z }"}},
		{Type: "t", Request: map[string]any{"fine": 1, "dynamicVariables": map[string]any{"first": []any{"${ data.a }", "${"}}}},
		{Type: "t", When: "1 + 1"},
		{Type: "t", When: "${ true } ${ true }", Request: map[string]any{}},
	})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v, want joined errors", err)
	}
	var got []string
	for _, err := range joined.Unwrap() {
		e, ok := errors.AsType[*schema.RouteError](err)
		if !ok {
			t.Fatalf("got %v, want a *RouteError", err)
		}
		got = append(got, e.Path)
	}
	want := []string{
		"[0].type", "[0].when", "[0].request.a", "[0].request.a", "[0].request.b",
		"[1].request.dynamicVariables.first[1]",
		"[2].when", "[2].request",
		"[3].when", "[3].request",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

// The provider's client writes into requests; nothing of one may show in
// another, nor in the same one twice, nor in the event.
func TestRequestsShareNothing(t *testing.T) {
	t.Parallel()
	e := leadEvent(t)
	before := string(e.Data())
	source := map[string]any{
		"a": "${ data.attributes }", "b": "${ data.attributes }", "c": "${ {'k': [1, 2]} }",
		"d": map[string]any{"list": []any{"x", 1}},
	}
	routes := compile(t, schema.RouteSource{Type: "*", Request: source})
	first, err := routes.Request(e)
	if err != nil {
		t.Fatal(err)
	}
	first["a"].(map[string]any)["weir_intent"] = "spoilt"
	first["c"].(map[string]any)["k"].([]any)[0] = "spoilt"
	first["d"].(map[string]any)["list"].([]any)[0] = "spoilt"
	source["d"].(map[string]any)["list"].([]any)[0] = "spoilt"
	if _, ok := first["b"].(map[string]any)["weir_intent"]; ok {
		t.Error("got one object in two fields, want two")
	}
	second, err := routes.Request(e)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(second)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "spoilt") {
		t.Errorf("got %s, want nothing of the first request", text)
	}
	if string(e.Data()) != before {
		t.Errorf("got data %s, want it unchanged", e.Data())
	}
}

func TestRoutesConcurrently(t *testing.T) {
	t.Parallel()
	routes := compile(t, schema.RouteSource{Type: "*", When: "has(data.phone)", Request: map[string]any{"x": "${ data.phone + '!' }", "y": "${ data.attributes }"}})
	e := leadEvent(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				got, err := routes.Request(e)
				if err != nil || got["x"] != "+4915112345678!" {
					t.Errorf("got %v, %v", got, err)
					return
				}
				got["y"].(map[string]any)["mine"] = true
			}
		})
	}
	wg.Wait()
}

// A constant of the configuration may be a number too.
func TestExpressionsAreShownMasked(t *testing.T) {
	t.Parallel()
	_, err := one(t, "${ data.a == '+4915112345678' ? nil : nil }").Request(leadEvent(t))
	if r := refusal(t, err); strings.Contains(r.Reason, "4915112345678") {
		t.Errorf("got %q, want the number masked", r.Reason)
	}
}

// broken is an event whose every method panics.
type broken struct{ event.EventContext }

func TestPanicsAreRefusals(t *testing.T) {
	t.Parallel()
	e := event.Event{Context: broken{}}
	_, _, err := schema.Encode(e, schema.Binary)
	if r := refusal(t, err); r.Class != schema.ClassUndecodable {
		t.Errorf("got class %s, want %s", r.Class, schema.ClassUndecodable)
	}
	_, err = one(t, "${ id }").Request(e)
	if r := refusal(t, err); r.Class != schema.ClassRequest {
		t.Errorf("got class %s, want %s", r.Class, schema.ClassRequest)
	}
}

func BenchmarkPipeline(b *testing.B) {
	catalog := schema.NewCatalog()
	routes := compile(b, schema.RouteSource{Type: "lead.*", When: "has(data.phone)", Request: map[string]any{
		"toPhoneNumber": "${ data.phone }", "dynamicVariables": map[string]any{"firstName": "${ data.first_name ?? 'there' }"},
	}})
	body := []byte(with(`,"data":` + person))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		e, err := schema.DecodeReading(structured, body, 0)
		if err != nil {
			b.Fatal(err)
		}
		e.Digest()
		if err := e.Check(catalog); err != nil {
			b.Fatal(err)
		}
		if _, err := e.Choose(routes); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRoutesHandle(t *testing.T) {
	t.Parallel()
	request := map[string]any{"to": "x"}
	r, err := schema.CompileRoutes([]schema.RouteSource{
		{Type: "lead.created", When: "false", Request: request}, {Type: "note.*", Request: request},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"lead.created": true, "note.": true, "note.x.y": true, "lead.lost": false, "Lead.created": false, "": false} {
		if got := r.Handles(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}
