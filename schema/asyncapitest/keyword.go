package asyncapitest

import "strings"

// The keywords that a schema may have, by what they hold. The compiler passes over
// what it does not know, and a slip would then say nothing.
var keywords = map[string]holds{
	"$ref": aReference, "description": aValue, "type": aValue, "const": aValue, "enum": aValue, "format": aValue, "pattern": aValue,
	"required": aValue, "dependentRequired": aValue, "minLength": aValue, "minItems": aValue, "minimum": aValue,
	"contentEncoding": aValue, "contentMediaType": aValue,
	"properties": schemasByName, "anyOf": schemaList,
	"not": aSchema, "items": aSchema, "additionalProperties": aSchema, "propertyNames": aSchema, "contentSchema": aSchema,
}

// holds is what a keyword has.
type holds int

const (
	aValue holds = iota + 1
	aReference
	aSchema
	schemaList
	schemasByName
)

// keywords refuses what is no keyword, and notes what the schema refers to.
func (b *builder) keywords(place string, schema any) {
	object, ok := schema.(map[string]any)
	if !ok {
		if _, ok := schema.(bool); !ok {
			b.problem(place, "is no schema")
		}
		return
	}
	for key, v := range object {
		at := place + "/" + key
		switch keywords[key] {
		case aValue:
		case aReference:
			ref, _ := v.(string)
			b.used[strings.TrimSuffix(ref, "/schema")] = true
		case aSchema:
			b.keywords(at, v)
		case schemaList:
			list, _ := v.([]any)
			for _, item := range list {
				b.keywords(at, item)
			}
		case schemasByName:
			named, _ := v.(map[string]any)
			for name, item := range named {
				b.keywords(at+"/"+name, item)
			}
		default:
			b.problem(at, "is no keyword that is known here")
		}
	}
}
