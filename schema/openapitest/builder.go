package openapitest

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Parse reads a document. Its error joins every problem, each with its place.
func Parse(source []byte) (*API, error) {
	doc, root, err := read(source)
	if err != nil {
		return nil, err
	}
	b := &builder{doc: doc, compiler: jsonschema.NewCompiler(), ids: map[string]string{}}
	b.compiler.DefaultDraft(jsonschema.Draft2020)
	b.compiler.AssertFormat()
	b.compiler.AssertContent()
	b.compiler.UseLoader(noLoader{})
	if err := b.compiler.AddResource(resource, root); err != nil {
		return nil, err
	}
	a := b.api()
	if len(b.problems) > 0 {
		return nil, errors.New(strings.Join(b.problems, "\n"))
	}
	return a, nil
}

// resource is the name of the document among the resources of the compiler.
const resource = "openapi:document"

// noLoader loads nothing: a reference out of the document does not resolve.
type noLoader struct{}

// Load implements [jsonschema.URLLoader].
func (noLoader) Load(string) (any, error) {
	return nil, errors.New("it is not in the document")
}

// builder makes an API of a document and collects what is wrong on the way.
type builder struct {
	doc      document
	compiler *jsonschema.Compiler
	ids      map[string]string // place of each operationId
	problems []string
}

func (b *builder) problem(place, format string, args ...any) {
	text := fmt.Sprintf("#%s: %s", place, fmt.Sprintf(format, args...))
	if !slices.Contains(b.problems, text) { // a component is met at each reference
		b.problems = append(b.problems, text)
	}
}

// need makes a problem of a member that is empty.
func (b *builder) need(place, name, value string) {
	if strings.TrimSpace(value) == "" {
		b.problem(place, "%s is missing", name)
	}
}

func (b *builder) api() *API {
	if !strings.HasPrefix(b.doc.OpenAPI, "3.1.") {
		b.problem("/openapi", "the version is %q, not 3.1", b.doc.OpenAPI)
	}
	b.need("/info", "title", b.doc.Info.Title)
	b.need("/info", "version", b.doc.Info.Version)
	a := &API{base: b.base()}
	b.components()
	if len(b.doc.Paths) == 0 {
		b.problem("/paths", "there are none")
	}
	// In this order a plain segment comes before one that takes any value: letters
	// and digits are before the brace.
	for _, path := range sorted(b.doc.Paths) {
		if !strings.HasPrefix(path, "/") {
			b.problem(pointer("paths", path), "the path does not begin with a slash")
		}
		for _, method := range sorted(b.doc.Paths[path]) {
			a.operations = append(a.operations, b.operation(path, method))
		}
	}
	return a
}

// base returns the path of the first server.
func (b *builder) base() string {
	if len(b.doc.Servers) == 0 {
		b.problem("/servers", "there are none")
		return ""
	}
	u, err := url.Parse(b.doc.Servers[0].URL)
	if err != nil || u.Host == "" {
		b.problem("/servers/0/url", "is no whole URL")
		return ""
	}
	return strings.TrimRight(u.EscapedPath(), "/")
}

// components checks what may not be referred to.
func (b *builder) components() {
	c := b.doc.Components
	for _, name := range sorted(c.Schemas) {
		b.schema(pointer("components", "schemas", name), c.Schemas[name])
	}
	for _, name := range sorted(c.Parameters) {
		b.parameter(pointer("components", "parameters", name), c.Parameters[name])
	}
	for _, name := range sorted(c.Headers) {
		b.header(pointer("components", "headers", name), name, c.Headers[name])
	}
	for _, name := range sorted(c.Security) {
		b.scheme(name)
	}
}

// methods are the keys of a path that are operations.
var methods = []string{"get", "put", "post", "delete", "patch"}

func (b *builder) operation(path, method string) *operation {
	place := pointer("paths", path, method)
	op := &operation{method: strings.ToUpper(method), path: strings.Split(path, "/"), responses: map[string]response{}}
	node := b.doc.Paths[path][method]
	if !slices.Contains(methods, method) || node == nil {
		b.problem(place, "is no operation")
		return op
	}
	b.need(place, "operationId", node.ID)
	b.need(place, "summary", node.Summary)
	if other, ok := b.ids[node.ID]; ok {
		b.problem(place, "operationId %s is that of #%s too", node.ID, other)
	}
	b.ids[node.ID] = place
	op.id = node.ID
	op.parameters = b.parameters(place, path, node.Parameters)
	op.security = b.security(place, node)
	if node.Body != nil {
		op.body = body{b.content(place+"/requestBody", node.Body.Content), node.Body.Required}
		if len(op.body.content) == 0 {
			b.problem(place+"/requestBody", "content is missing")
		}
	}
	if len(node.Responses) == 0 {
		b.problem(place, "responses are missing")
	}
	for _, status := range sorted(node.Responses) {
		op.responses[status] = b.response(place+pointer("responses", status), status, node.Responses[status])
	}
	return op
}

var statusKey = regexp.MustCompile(`^([1-5][0-9]{2}|[1-5]XX|default)$`)

func (b *builder) response(place, status string, node responseNode) response {
	if !statusKey.MatchString(status) {
		b.problem(place, "is no status")
	}
	b.need(place, "description", node.Description)
	r := response{content: b.content(place, node.Content), bodyless: node.Bodyless}
	for _, name := range sorted(node.Headers) {
		r.parameter = append(r.parameter, b.header(place+pointer("headers", name), name, node.Headers[name]))
	}
	return r
}

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
