package openapitest_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/schema/openapitest"
)

// small is a document that is well.
const small = `openapi: 3.1.0
info: {title: Small, version: "1"}
servers: [{url: "https://api.example/base"}]
security: [{token: []}]
paths:
  /things/{id}:
    put:
      operationId: putThing
      summary: Put a thing
      parameters:
        - {name: id, in: path, required: true, schema: {$ref: '#/components/schemas/Count'}}
        - $ref: '#/components/parameters/Sure'
        - {name: filter, in: query, content: {application/json: {schema: {type: object}}}}
      requestBody:
        content:
          application/json: {schema: {$ref: '#/components/schemas/Thing'}, examples: {one: {value: {name: a}}}}
          text/*: {}
      responses:
        '200': {description: Done., headers: {X-Left: {$ref: '#/components/headers/Left'}}, content: {application/json: {schema: {$ref: '#/components/schemas/Thing'}}}}
        '204': {description: Done without words.}
        default: {description: Not done., x-body-optional: true, content: {'*/*': {}}}
  /things/all:
    put:
      operationId: putAll
      summary: Put all
      security: []
      responses: {'2XX': {description: Done.}}
components:
  securitySchemes: {token: {type: http, scheme: bearer}}
  parameters:
    Sure: {name: sure, in: query, required: true, schema: {type: boolean}}
  headers:
    Left: {schema: {type: integer}}
  schemas:
    Count: {type: integer}
    Thing: {type: object, required: [name], properties: {name: {type: string}}}
`

// parse returns the API of a source that is well.
func parse(t *testing.T, source string) *openapitest.API {
	t.Helper()
	a, err := openapitest.Parse([]byte(source))
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return a
}

// TestBadDocuments breaks the small document at one place each.
func TestBadDocuments(t *testing.T) {
	t.Parallel()
	parse(t, small)
	const put = "#/paths/~1things~1{id}/put"
	tests := []struct{ name, old, new, want string }{
		{"no YAML", "openapi:", "\topenapi:", "yaml:"},
		{"two documents", "name: {type: string}}}\n", "name: {type: string}}}\n---\na: 1\n", "more than one document"},
		{"duplicate key", "      summary: Put all\n", "      summary: Put all\n      summary: Put\n", "already defined at line"},
		{"another version", "3.1.0", "3.0.3", `#/openapi: the version is "3.0.3", not 3.1`},
		{"no title", "title: Small, ", "", "#/info: title is missing"},
		{"no server", `[{url: "https://api.example/base"}]`, "[]", "#/servers: there are none"},
		{"relative server", "https://api.example/base", "/base", "#/servers/0/url: is no whole URL"},
		{"unknown key", "summary: Put all", "summary: Put all\n      sumary: x", "field sumary not found"},
		{"unknown method", "  /things/all:\n    put:", "  /things/all:\n    post_:", "#/paths/~1things~1all/post_: is no operation"},
		{"status without quotes", "{'2XX'", "{200", "#/paths/~1things~1all/put/responses: the key 200 is no text; quote it"},
		{"no such status", "'2XX'", "'20X'", "responses/20X: is no status"},
		{"no operationId", "      operationId: putAll\n", "", "#/paths/~1things~1all/put: operationId is missing"},
		{"operationId twice", "putAll", "putThing", "operationId putThing is that of #/paths/~1things~1all/put too"},
		{"no summary", "      summary: Put all\n", "", "#/paths/~1things~1all/put: summary is missing"},
		{"no responses", "responses: {'2XX': {description: Done.}}", "responses: {}", "#/paths/~1things~1all/put: responses are missing"},
		{"no description", "{'2XX': {description: Done.}}", "{'2XX': {}}", "responses/2XX: description is missing"},
		{"schema reference", "schemas/Thing'}, examples", "schemas/Thin'}, examples", put + "/requestBody/content/application~1json/schema: the schema does not compile"},
		{"reference out of the document", "name: {type: string}", "name: {$ref: 'other.yaml#/x'}", "#/components/schemas/Thing: the schema does not compile"},
		{"reference to the network", "name: {type: string}", "name: {$ref: 'https://x.invalid/y'}", "it is not in the document"},
		{"parameter reference", "parameters/Sure'", "parameters/Unsure'", put + "/parameters/1: the reference does not resolve"},
		{"parameter reference of another kind", "#/components/parameters/Sure'", "#/components/headers/Left'", put + "/parameters/1: the reference does not resolve"},
		{"header reference", "headers/Left'", "headers/Right'", "headers/X-Left: the reference does not resolve"},
		{"wrong type", "name: {type: string}", "name: {type: text}", "#/components/schemas/Thing"},
		{"wrong pattern", "name: {type: string}", "name: {type: string, pattern: '('}", "#/components/schemas/Thing"},
		{"unused schema", "    Thing:", "    Other: {type: text}\n    Thing:", "#/components/schemas/Other: the schema does not compile"},
		{"unknown keyword", "name: {type: string}", "name: {type: string, minlength: 1}", "#/components/schemas/Thing/properties/name/minlength: is no keyword"},
		{"unknown keyword in a list", "name: {type: string}", "name: {anyOf: [{typ: string}]}", "properties/name/anyOf/0/typ: is no keyword"},
		{"unknown keyword below", "name: {type: string}", "name: {items: {nullable: true}}", "properties/name/items/nullable: is no keyword"},
		{"schema of content", "name: {type: string}", "name: {contentSchema: {}}", "properties/name/contentSchema: is no keyword"},
		{"reference to a reference", "Left: {schema: {type: integer}}", "Left: {$ref: '#/components/headers/More'}\n    More: {schema: {}}", "headers/X-Left: the reference does not resolve"},
		{"parameter that is a reference to a reference", "    Sure: {name: sure, in: query, required: true, schema: {type: boolean}}", "    Sure: {$ref: '#/components/parameters/More'}\n    More: {name: sure, in: query, schema: {}}",
			put + "/parameters/1: the reference does not resolve"},
		{"unknown format", "name: {type: string}", "name: {format: guid}", `properties/name/format: "guid" is no format`},
		{"example", "value: {name: a}", "value: {name: 7}", put + "/requestBody/content/application~1json/examples/one: /name: got number, want string"},
		{"example without schema", "text/*: {}", "text/*: {examples: {a: {value: a}}}", "content/text~1*: examples need a schema"},
		{"schema of text", "text/*: {}", "text/*: {schema: {}}", "content/text~1*: only JSON can have a schema"},
		{"body without content", "requestBody:\n        content:\n          application/json: {schema: {$ref: '#/components/schemas/Thing'}, examples: {one: {value: {name: a}}}}\n          text/*: {}",
			"requestBody: {}", put + "/requestBody: content is missing"},
		{"undeclared part of the path", "/things/{id}:", "/things/{key}:", "the parameter {key} of the path is not declared"},
		{"parameter that the path lacks", "/things/{id}:", "/things/{key}:", "the path has no {id}"},
		{"optional part of the path", "in: path, required: true", "in: path", put + "/parameters/0: a parameter of the path is required always"},
		{"cookie", "in: query, required: true", "in: cookie", `in is "cookie", not path, query or header`},
		{"parameter twice", "name: filter, in: query", "name: sure, in: query", "there are two parameters query sure"},
		{"parameter without schema", "required: true, schema: {type: boolean}", "required: true", "#/components/parameters/Sure: it needs a schema"},
		{"header with a name", "Left: {schema", "Left: {name: X, schema", "#/components/headers/Left: a header has neither name nor in"},
		{"unknown scheme", "security: [{token: []}]", "security: [{key: []}]", "security names key, which is no scheme"},
		{"scheme of another type", "scheme: bearer", "scheme: basic", "#/components/securitySchemes/token: it is neither"},
		{"scheme with a wrong pattern", "scheme: bearer", "scheme: bearer, x-token-pattern: '('", "#/components/securitySchemes/token: x-token-pattern:"},
		{"relative path", "  /things/all:", "  things/all:", "#/paths/things~1all: the path does not begin with a slash"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !strings.Contains(small, tt.old) {
				t.Fatalf("the document has no %q", tt.old)
			}
			_, err := openapitest.Parse([]byte(strings.Replace(small, tt.old, tt.new, 1)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v, want one that contains %q", err, tt.want)
			}
			lines := regexp.MustCompile(`(?m)^#.*$`).FindAllString(err.Error(), -1)
			slices.Sort(lines)
			if once := slices.Compact(slices.Clone(lines)); len(once) != len(lines) {
				t.Errorf("got a problem more than once: %q", lines)
			}
		})
	}
}

func TestEveryProblemOfADocumentAtOnce(t *testing.T) {
	t.Parallel()
	_, err := openapitest.Parse([]byte("openapi: 2\n"))
	if err == nil {
		t.Fatal("got no error, want one")
	}
	for _, want := range []string{"#/openapi:", "title is missing", "version is missing", "#/servers:", "#/paths: there are none"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got error %q, want it to contain %q", err, want)
		}
	}
}

func TestSmallTraffic(t *testing.T) {
	t.Parallel()
	a := parse(t, small)
	auth := headers("Authorization", "Bearer t", "Content-Type", "application/json")
	text := headers("Authorization", "Bearer t", "Content-Type", "text/plain")
	left := func(v string) answered {
		return answered{"left " + v, "PUT", "/base/things/7", 200, headers("Content-Type", "application/json", "X-Left", v), `{"name":"a"}`, ""}
	}
	few := left("few")
	few.want = "header X-Left: got string, want integer"
	checkRequests(t, a, []sent{
		{"whole", "PUT", "/base/things/7?sure=true&filter=%7B%7D", auth, `{"name":"a"}`, ""},
		{"text", "PUT", "/base/things/7?sure=false", text, "anything", ""},
		{"optional body", "PUT", "/base/things/7?sure=true", auth, "", ""},
		{"unsure", "PUT", "/base/things/7", auth, "", "putThing: request: query sure: is missing"},
		{"neither sure nor unsure", "PUT", "/base/things/7?sure=yes", auth, "", "query sure: got string, want boolean"},
		{"token alone", "PUT", "/base/things/7?sure=true", headers("Authorization", "t"), "", "security:"},
		{"thing by name", "PUT", "/base/things/seven?sure=true", auth, "", "path id: got string, want integer"},
		{"bad filter", "PUT", "/base/things/7?sure=true&filter=1", auth, "", "query filter: got number, want object"},
		{"plain path before a pattern, no security", "PUT", "/base/things/all", nil, "", ""},
		{"base alone", "PUT", "/base", auth, "", "does not begin with /base/"},
		{"another base of equal beginning", "PUT", "/based/things/all", nil, "", "does not begin with /base/"},
		{"slash at the end", "PUT", "/base/things/all/", nil, "", "unknown path"},
	})
	checkAnswers(t, a, []answered{
		left("7"), few,
		{"exact before default", "PUT", "/base/things/7", 200, text, "a", `header Content-Type: "text/plain" is none of application/json`},
		{"none", "PUT", "/base/things/7", 204, nil, "", ""},
		{"unexpected", "PUT", "/base/things/7", 204, asJSON, "{}", "body: there must be none"},
		{"default", "PUT", "/base/things/7", 418, text, "a", ""},
		{"default without type", "PUT", "/base/things/7", 418, nil, "a", ""},
		{"default without body", "PUT", "/base/things/7", 418, nil, "", ""},
		{"range", "PUT", "/base/things/all", 202, nil, "", ""},
		{"out of range", "PUT", "/base/things/all", 302, nil, "", "putAll: answer: status 302: is not listed"},
		{"unknown", "PUT", "/base/other", 200, nil, "", "unknown path"},
	})
	if err := a.At("/v2/").Request("PUT", "/v2/things/all", url.Values{}, nil, nil); err != nil {
		t.Errorf("at another base: got error %q, want none", err)
	}
	if err := a.At("").Request("PUT", "/things/all", url.Values{}, nil, nil); err != nil {
		t.Errorf("at no base: got error %q, want none", err)
	}
}

func TestEveryViolationOfARequestAtOnce(t *testing.T) {
	t.Parallel()
	err := parse(t, small).Request("PUT", "/base/things/x", url.Values{"more": {"1"}}, asJSON, []byte(`{"name":7}`))
	if err == nil {
		t.Fatal("got no error, want one")
	}
	for _, want := range []string{"security:", "path id:", "query sure:", "query more:", "body/name: got number, want string"} {
		if !strings.Contains(err.Error(), "putThing: request: "+want) {
			t.Errorf("got error %q, want it to contain %q", err, want)
		}
	}
}

// source is how a description says where a fact is from.
var source = regexp.MustCompile(`\[(spec|docs|client|inferred)\]`)

// TestEveryFactHasASource walks the documents of the providers: whatever may hold
// a description says where its facts are from.
func TestEveryFactHasASource(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../oration.openapi.yaml", "../anyreach.openapi.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatalf("read document: %v", err)
		}
		var doc map[string]any
		if err := yaml.Unmarshal(data, &doc); err != nil {
			t.Fatalf("parse document: %v", err)
		}
		facts := 0
		walk(doc, "", func(place string, node map[string]any) {
			facts++
			text, _ := node["description"].(string)
			if _, refers := node["$ref"]; !refers && !source.MatchString(text) {
				t.Errorf("%s: %s has no source in its description", name, place)
			}
		})
		if facts < 100 {
			t.Errorf("%s: got %d facts, want at least 100", name, facts)
		}
	}
}

// walk visits every parameter, response, component, and property of a schema.
func walk(v any, place string, visit func(place string, node map[string]any)) {
	list, _ := v.([]any)
	for i, e := range list {
		if m, ok := e.(map[string]any); ok && strings.HasSuffix(place, "/parameters") {
			visit(fmt.Sprintf("%s/%d", place, i), m)
		}
		walk(e, fmt.Sprintf("%s/%d", place, i), visit)
	}
	holder := regexp.MustCompile(`/(properties|responses|headers|schemas|parameters|securitySchemes)$`).MatchString(place) &&
		!regexp.MustCompile(`/(if|then|else|dependentSchemas)/|/examples/|/dependentSchemas$`).MatchString(place)
	m, _ := v.(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		below := place + "/" + key
		if child, ok := m[key].(map[string]any); ok && holder {
			visit(below, child)
		}
		walk(m[key], below, visit)
	}
}
