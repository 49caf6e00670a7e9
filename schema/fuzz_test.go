package schema_test

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

var builtinSchemas = sync.OnceValue(schema.NewCatalog)

// settle checks what holds for whatever was decoded: a refusal is complete, and
// an event survives being forwarded in either mode.
func settle(t *testing.T, header map[string][]string, body []byte) {
	t.Helper()
	e, err := schema.Decode(header, body, 0)
	if err != nil {
		r := refusal(t, err)
		if r.Class == "" || r.Reason == "" || !utf8.ValidString(r.Error()) || strings.ContainsAny(r.Error(), "\r\n\x00") {
			t.Errorf("got refusal %#v, want a class and one line of text", r)
		}
		return
	}
	if err := e.Validate(); err != nil {
		t.Errorf("got an event that the SDK finds invalid: %v", err)
	}
	for _, mode := range []schema.Mode{schema.Structured, schema.Binary} {
		header, body, err := schema.Encode(e, mode)
		if err != nil {
			t.Fatalf("mode %d: %v", mode, err)
		}
		again, err := schema.Decode(header, body, len(body)+1)
		if err != nil {
			t.Fatalf("mode %d: got %v for %s, want the event back", mode, err, body)
		}
		if diff := cmp.Diff(view(e, mode), view(again, mode)); diff != "" {
			t.Errorf("mode %d (-want +got):\n%s", mode, diff)
		}
		if schema.Digest(e) != schema.Digest(again) {
			t.Errorf("mode %d: got another digest", mode)
		}
	}
	if err := builtinSchemas().Check(e); err != nil {
		if r := refusal(t, err); r.Class != schema.ClassData || r.Field == "" {
			t.Errorf("got refusal %#v, want class %s and a field", r, schema.ClassData)
		}
	}
}

func FuzzDecodeStructured(f *testing.F) {
	for _, seed := range []string{
		crash, with(""), with(`,"data":` + person), with(`,"datacontenttype":"text/plain","data":"x"`),
		with(`,"datacontenttype":"image/png","data_base64":"/wA="`), with(`,"time":"2026-01-31T09:30:00+01:00","subject":"\ud83d\ude00"`),
		with(`,"a":1,"b":true,"c":null,"dataschema":"urn:a:b"`), with(`,"source":"//h/%2F?#"`), `[]`, `{"specversion":"1.0"}`,
		`{"specversion":"1.0","id":"1","type":"t","source":"//a%41:80/../x?%zz#€ "}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { settle(t, structured, body) })
}

func FuzzDecodeBinary(f *testing.F) {
	f.Add("1", "/crm", "lead.created", "application/json", "subject", "a%20b", []byte(person))
	f.Add(`"a b"`, "urn:x", "t", "text/plain; charset=x", "traceparent", "00-1", []byte("hi"))
	f.Add("%E2%82%AC", "https://h:1/p?q#f", "t", "", "time", "2026-01-31T09:30:00Z", []byte("\xff"))
	f.Add("1", "/weir/x", "t", "image/png", "dataschema", "urn:x", []byte{0})
	f.Fuzz(func(t *testing.T, id, source, eventType, contentType, name, value string, body []byte) {
		settle(t, map[string][]string{
			"ce-specversion": {"1.0"}, "ce-id": {id}, "CE-Source": {source}, "Ce-Type": {eventType},
			"Content-Type": {contentType}, "ce-" + name: {value},
		}, body)
	})
}

// FuzzRoutes: whatever the expression and the data, an answer comes, and it is
// JSON or a refusal.
func FuzzRoutes(f *testing.F) {
	for _, seed := range []string{
		"data.phone", "data.a.b[0] ?? 'x'", "has(data.email) and id == '1'", "upper(data.first_name)[0:1]", "{'a': [data, data]}",
		"replace(data.x, '', data.x)", "data.id > 3 ? 1 / 0 : -data.id", "data.x matches '^a+$'", "json(data) | split(',') | join(';')",
		"data.tags in [1, 2] or not data.vip", "map(data, #)", "let a = 1; a", "1..9", "data.s[data.id:] + string(data.n)", "data?.x?.y",
	} {
		f.Add(seed, []byte(person))
	}
	f.Fuzz(func(t *testing.T, source string, data []byte) {
		routes, err := schema.CompileRoutes([]schema.RouteSource{
			{Type: "*", When: source, Request: map[string]any{"x": 1}},
		})
		if err == nil {
			answer(t, routes, data)
		}
		routes, err = schema.CompileRoutes([]schema.RouteSource{
			{Type: "*", Request: map[string]any{"x": "${ " + source + " }", "y": "a ${" + source + "} b"}},
		})
		if err == nil {
			answer(t, routes, data)
		}
	})
}

func answer(t *testing.T, routes *schema.Routes, data []byte) {
	t.Helper()
	request, err := routes.Request(content("lead.created", "", string(data)))
	if err != nil {
		if _, ok := errors.AsType[*schema.Skip](err); ok {
			return
		}
		if r := refusal(t, err); r.Class != schema.ClassRequest || r.Reason == "" {
			t.Errorf("got refusal %#v, want class %s and a reason", r, schema.ClassRequest)
		}
		return
	}
	if _, err := json.Marshal(request); err != nil {
		t.Errorf("got a request that is not JSON: %v", err)
	}
}
