package openapitest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// contents is what a body may be, by media type; a nil schema takes anything.
// A type may be a range, such as text/* or */*.
type contents map[string]*jsonschema.Schema

// check returns what is wrong with a body that is there.
func (c contents) check(h http.Header, data []byte) []error {
	if len(c) == 0 {
		return []error{errors.New("body: there must be none")}
	}
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		media = ""
	}
	schema, ok := c.pick(media)
	if !ok {
		return []error{fmt.Errorf("header Content-Type: %q is none of %s",
			h.Get("Content-Type"), strings.Join(slices.Sorted(maps.Keys(c)), ", "))}
	}
	if schema == nil {
		return nil
	}
	if !isJSON(media) {
		return []error{fmt.Errorf("body: %s has a schema and is not JSON", media)}
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return []error{fmt.Errorf("body: is not JSON: %w", err)}
	}
	return violations("body", schema, v)
}

// pick returns the schema of the narrowest type that fits.
func (c contents) pick(media string) (*jsonschema.Schema, bool) {
	main, _, _ := strings.Cut(media, "/")
	for _, key := range []string{media, main + "/*", "*/*"} {
		if s, ok := c[key]; ok {
			return s, true
		}
	}
	return nil, false
}

func isJSON(media string) bool {
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

// violations returns what is wrong with a value, each with its place.
func violations(place string, s *jsonschema.Schema, v any) []error {
	err := s.Validate(v)
	if err == nil {
		return nil
	}
	violation, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []error{fmt.Errorf("%s: %w", place, err)}
	}
	texts := leaves(violation)
	slices.Sort(texts)
	var errs []error
	for _, text := range slices.Compact(texts) {
		errs = append(errs, errors.New(place+text))
	}
	return errs
}

// leaves returns what a tree of violations comes down to, as "/place: words".
// Alternatives that all failed stay together: only one of them needs to hold.
func leaves(v *jsonschema.ValidationError) []string {
	at := pointer(v.InstanceLocation...)
	if len(v.Causes) == 0 {
		return []string{at + ": " + words(v)}
	}
	var texts []string
	for _, cause := range v.Causes {
		texts = append(texts, leaves(cause)...)
	}
	switch v.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		return []string{at + ": none of these holds: " + strings.Join(texts, " | ")}
	}
	return texts
}

// words returns the words of a violation without its place.
func words(v *jsonschema.ValidationError) string {
	bare := &jsonschema.ValidationError{SchemaURL: v.SchemaURL, ErrorKind: v.ErrorKind}
	if _, ok := v.ErrorKind.(*kind.FalseSchema); ok {
		return "must not be there"
	}
	return strings.TrimPrefix(bare.Error(), "at '': ")
}

// pointer returns a JSON pointer.
func pointer(tokens ...string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(t))
	}
	return b.String()
}
