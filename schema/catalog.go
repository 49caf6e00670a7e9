package schema

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed *.schema.json lead.json
var builtin embed.FS

const schemaSuffix = ".schema.json"

// Catalog holds the JSON Schemas (draft 2020-12) of event data, by event type.
// It is safe for concurrent use.
type Catalog struct {
	schemas map[string]*jsonschema.Schema // the built-in ones
	own     []ownSchema                   // the user's, which come on top of them
}

// NewCatalog returns the catalog of the built-in schemas: the file
// lead.created.schema.json is the schema of type lead.created. It panics if one
// of them is wrong, which is a mistake in this package.
func NewCatalog() *Catalog {
	c := &Catalog{schemas: map[string]*jsonschema.Schema{}}
	names, err := fs.Glob(builtin, "*"+schemaSuffix)
	if err != nil {
		panic("schema: " + err.Error())
	}
	files := &schemaFiles{root: builtin}
	for _, name := range names {
		s, err := files.compile(name)
		if err != nil {
			panic("schema: " + err.Error())
		}
		c.schemas[strings.TrimSuffix(name, schemaSuffix)] = s
	}
	return c
}

// Types returns the event types that have a built-in schema, sorted.
func (c *Catalog) Types() []string { return slices.Sorted(maps.Keys(c.schemas)) }

// Covers reports whether there is a schema for an event type.
func (c *Catalog) Covers(eventType string) bool { return c.of(eventType) != schemas{} }

// schemas are those that hold for a type: the built-in one, and the first of the
// user's whose pattern matches; nil where there is none.
type schemas [2]*jsonschema.Schema

func (c *Catalog) of(eventType string) schemas {
	all := schemas{c.schemas[eventType]}
	for _, own := range c.own {
		if matchType(own.pattern, eventType) {
			all[1] = own.schema
			break
		}
	}
	return all
}

// Check holds the event's data against the schemas of its type. A violation is a
// *Refusal of ClassData whose Field is the first place in alphabetical order
// ("data.phone"), and whose Reason names up to three. A type without schema is
// always well.
func (c *Catalog) Check(e event.Event) error { return NewReading(e).Check(c) }

// Check is Catalog.Check of the event.
func (r *Reading) Check(c *Catalog) error {
	e := r.Event
	all := c.of(e.Type())
	if all == (schemas{}) {
		return nil
	}
	if len(e.Data()) == 0 {
		return refuse(ClassData, "data", "The %s has no content: data is missing.", noun(e.Type()))
	}
	if !isJSON(e.DataContentType()) {
		return refuse(ClassData, "data", "The %s cannot be read: its data is %s, not JSON.", noun(e.Type()), quote(e.DataContentType()))
	}
	v, err := r.json()
	if err != nil {
		return refuse(ClassData, "data", "The %s cannot be read: its data is not JSON (%s).", noun(e.Type()), err)
	}
	var faults []fault
	for _, s := range all {
		if s == nil {
			continue
		}
		if err := s.Validate(v); err != nil {
			faults = append(faults, faultsOf(err)...)
		}
	}
	if len(faults) > 0 {
		return violation(e.Type(), faults)
	}
	return nil
}

// noun is what a person calls an event of this type.
func noun(eventType string) string {
	for part := range strings.SplitSeq(eventType, ".") {
		if part == "lead" {
			return "lead"
		}
	}
	return "event"
}

// fault is one violation of a schema.
type fault struct {
	field  string
	reason string // about the field, such as "must be text"
}

// maxFaults is how many violations one Reason tells of.
const maxFaults = 3

func faultsOf(err error) []fault {
	var faults []fault
	if v, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		faults = collect(nil, v)
	}
	if len(faults) == 0 { // a keyword that explains itself in no way known here
		faults = []fault{{"data", "does not have the form that its type asks for"}}
	}
	return faults
}

// violation tells of faults; two schemas may find the same one.
func violation(eventType string, faults []fault) *Refusal {
	slices.SortFunc(faults, func(a, b fault) int {
		return cmp.Or(strings.Compare(a.field, b.field), strings.Compare(a.reason, b.reason))
	})
	faults = slices.Compact(faults)
	parts := make([]string, 0, maxFaults)
	for _, f := range faults[:min(maxFaults, len(faults))] {
		parts = append(parts, f.field+" "+f.reason)
	}
	more := ""
	if n := len(faults) - len(parts); n > 0 {
		more = fmt.Sprintf("; and %d more", n)
	}
	return refuse(ClassData, faults[0].field, "%s: %s%s.", lead(eventType, faults[0]), strings.Join(parts, "; "), more)
}

// lead begins a Reason with what the first fault means to a person.
func lead(eventType string, f fault) string {
	name, ok := strings.CutPrefix(f.field, "data.")
	if f.reason == missing && ok {
		return fmt.Sprintf("The %s has no %s", noun(eventType), spoken(name))
	}
	return fmt.Sprintf("The %s cannot be used as it is", noun(eventType))
}

// spoken returns a member's name as words.
func spoken(name string) string {
	if name == "phone" {
		return "phone number"
	}
	return strings.ReplaceAll(name, "_", " ")
}

const missing = "is missing"

// collect appends the leaves of a tree of violations in plain words.
func collect(faults []fault, v *jsonschema.ValidationError) []fault {
	if len(v.Causes) > 0 {
		for _, c := range v.Causes {
			faults = collect(faults, c)
		}
		return faults
	}
	field := place(v.InstanceLocation)
	if k, ok := v.ErrorKind.(*kind.Required); ok {
		for _, name := range k.Missing {
			faults = append(faults, fault{field + member(name), missing})
		}
		return faults
	}
	return append(faults, fault{field, explain(v.ErrorKind)})
}

func explain(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + kinds(k.Want)
	case *kind.MinLength:
		return "is too short"
	case *kind.MaxLength:
		return fmt.Sprintf("is longer than %d characters", k.Want)
	case *kind.Pattern:
		if k.Want == `\S` {
			return "is empty"
		}
		return "does not have the right form"
	case *kind.AdditionalProperties, *kind.FalseSchema:
		return "holds something that is not allowed"
	case *kind.Minimum, *kind.ExclusiveMinimum:
		return "is too small"
	case *kind.Maximum, *kind.ExclusiveMaximum:
		return "is too large"
	case *kind.Enum, *kind.Const:
		return "is none of the values that are allowed"
	default:
		return "does not have the right form"
	}
}

// kinds names the types that a schema accepts. null is left out: nobody is
// asked to send it.
func kinds(want []string) string {
	words := map[string]string{
		"string": "text", "integer": "a whole number", "number": "a number",
		"boolean": "true or false", "object": "an object", "array": "a list",
	}
	var out []string
	for _, w := range want {
		if word, ok := words[w]; ok {
			out = append(out, word)
		}
	}
	if len(out) == 0 {
		return "null"
	}
	slices.Sort(out)
	return strings.Join(out, " or ")
}

// place writes the path of an instance: data.attributes.tags[0].
func place(path []string) string {
	var b strings.Builder
	b.WriteString("data")
	for _, name := range path {
		b.WriteString(member(name))
	}
	return b.String()
}

// member writes one step of a path. The senders choose these names, so an odd
// one is masked and bounded.
func member(name string) string {
	if _, err := strconv.Atoi(name); err == nil && len(name) < 7 {
		return "[" + name + "]"
	}
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isWord(r) }) || utf8.RuneCountInString(name) > 64 {
		return "[" + quote(name) + "]"
	}
	return "." + Mask(name)
}

func isWord(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
