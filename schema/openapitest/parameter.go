package openapitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// parameter is a value in a path, a query or a header. Each has one value; lists
// are not known.
type parameter struct {
	name, in string
	required bool
	json     bool // the value is JSON
	schema   *jsonschema.Schema
}

// check returns what is wrong with the values that a message has for it.
func (p parameter) check(values []string) []error {
	place := p.in + " " + p.name
	switch {
	case len(values) == 0 && p.required:
		return []error{fmt.Errorf("%s: is missing", place)}
	case len(values) == 0:
		return nil
	case len(values) > 1:
		return []error{fmt.Errorf("%s: stands there %d times", place, len(values))}
	}
	v, err := p.value(values[0])
	if err != nil {
		return []error{fmt.Errorf("%s: is not JSON: %w", place, err)}
	}
	return violations(place, p.schema, v)
}

// value returns the value that a text stands for: a number or boolean only where
// the schema takes no text.
func (p parameter) value(text string) (any, error) {
	if p.json {
		return jsonschema.UnmarshalJSON(strings.NewReader(text))
	}
	if takesText(p.schema) {
		return text, nil
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return text, nil //nolint:nilerr // a text is one
	}
	switch v.(type) {
	case json.Number, bool:
		return v, nil
	}
	return text, nil
}

// takesText reports whether a text can satisfy the types of a schema.
func takesText(s *jsonschema.Schema) bool {
	for s.Types == nil && s.Ref != nil {
		s = s.Ref
	}
	return s.Types == nil || slices.Contains(s.Types.ToStrings(), "string")
}

// scheme is one credential.
type scheme struct {
	name   string
	header string
	token  *regexp.Regexp // of a bearer token; nil: the header's value is free
}

// anyToken is what a bearer token looks like if nothing is said of it.
var anyToken = regexp.MustCompile(`^\S+$`)

// met reports whether a request has it.
func (s scheme) met(h http.Header) bool {
	value := h.Get(s.header)
	if s.token == nil {
		return value != ""
	}
	token, ok := strings.CutPrefix(value, "Bearer ")
	return ok && s.token.MatchString(token)
}
