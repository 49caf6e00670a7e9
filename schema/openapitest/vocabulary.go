package openapitest

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The keywords of schemas, by what they hold.
var (
	holdSchema  = []string{"if", "then", "else", "not", "items", "contains", "additionalProperties", "propertyNames", "unevaluatedProperties", "unevaluatedItems"}
	holdSchemas = []string{"allOf", "anyOf", "oneOf", "prefixItems"}
	holdNamed   = []string{"properties", "patternProperties", "dependentSchemas"}
	holdValue   = []string{
		"$ref", "title", "description", "deprecated", "type", "enum", "const", "format", "pattern", "required", "dependentRequired",
		"minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
		"minItems", "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties",
		"contentMediaType", "contentEncoding",
	}
)

// contentSchema is not among them: the library loses the place of what breaks it.

// formats are those that the library asserts; it passes over others.
var formats = []string{"uuid", "date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference"}

// vocabulary refuses what a schema would pass over: a keyword or format that it
// does not know.
func (b *builder) vocabulary(place string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		at := place + pointer(key)
		switch {
		case slices.Contains(holdSchema, key):
			b.vocabulary(at, m[key])
		case slices.Contains(holdSchemas, key):
			list, _ := m[key].([]any)
			for i, s := range list {
				b.vocabulary(at+pointer(strconv.Itoa(i)), s)
			}
		case slices.Contains(holdNamed, key):
			named, _ := m[key].(map[string]any)
			for _, name := range sorted(named) {
				b.vocabulary(at+pointer(name), named[name])
			}
		case !slices.Contains(holdValue, key) && !strings.HasPrefix(key, "x-"):
			b.problem(at, "is no keyword that has an effect")
		}
	}
	if name, ok := m["format"].(string); ok && !slices.Contains(formats, name) {
		b.problem(place+"/format", "%q is no format that has an effect", name)
	}
}

// schema compiles the schema at a place; nil if that cannot be done.
func (b *builder) schema(place string, v any) *jsonschema.Schema {
	b.vocabulary(place, v)
	s, err := b.compiler.Compile(resource + "#" + fragment(place))
	if err != nil {
		b.problem(place, "the schema does not compile: %v", err)
		return nil
	}
	return s
}

// fragment escapes a JSON pointer for the end of a URL.
func fragment(place string) string {
	return strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D", "#", "%23", " ", "%20").Replace(place)
}

// content returns what a body may be, and checks the examples of it.
func (b *builder) content(place string, nodes map[string]mediaNode) contents {
	c := contents{}
	for _, media := range sorted(nodes) {
		node := nodes[media]
		at := place + pointer("content", media)
		if node.Schema == nil {
			c[media] = nil
			if len(node.Examples) > 0 {
				b.problem(at, "examples need a schema")
			}
			continue
		}
		if !isJSON(media) {
			b.problem(at, "only JSON can have a schema")
		}
		c[media] = b.schema(at+"/schema", node.Schema)
		b.examples(at, c[media], node.Examples)
	}
	return c
}

func (b *builder) examples(place string, s *jsonschema.Schema, nodes map[string]exampleNode) {
	for _, name := range sorted(nodes) {
		v, err := toJSON(nodes[name].Value)
		if err != nil || s == nil {
			continue // told of already
		}
		for _, problem := range violations("", s, v) {
			b.problem(place+pointer("examples", name), "%v", problem)
		}
	}
}
