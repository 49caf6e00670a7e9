package schema

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Bounds of a user's own schemas.
const (
	maxSchemas     = 100       // patterns in one catalog
	maxSchemaFiles = 200       // files, with those that they refer to
	maxSchemaFile  = 256 << 10 // bytes of one
	maxPattern     = 256       // bytes of a pattern of types
)

// SchemaSource is one of a user's own schemas as weir.yaml has it.
type SchemaSource struct {
	Type string // event type, or a pattern in which * stands for any text
	File string // its path below the root, with slashes
}

// SchemaError is one thing that is wrong with a user's schema.
type SchemaError struct {
	Index int    // in the list of sources
	Key   string // type or file
	Err   error
}

// Error returns what is wrong and where.
func (e *SchemaError) Error() string { return fmt.Sprintf("[%d].%s: %v", e.Index, e.Key, e.Err) }

// Unwrap returns what is wrong.
func (e *SchemaError) Unwrap() error { return e.Err }

// ownSchema is a user's schema, and whose events it holds for.
type ownSchema struct {
	pattern string
	schema  *jsonschema.Schema
}

// CompileCatalog returns the catalog of the built-in schemas and, on top of them,
// a user's own: JSON Schemas, draft 2020-12, in files below root. Of those whose
// pattern matches an event's type the first holds, besides the built-in one of the
// type: neither takes the place of the other.
//
// A reference may lead to another file below root, and to nothing else: nothing is
// ever fetched. As the draft has it, format is a remark and no rule. Patterns are
// Go's (RE2), so that none takes long. At most 100 schemas, and 200 files of 256
// KiB with those that they refer to.
//
// The error joins every problem, each a *SchemaError.
func CompileCatalog(root fs.FS, sources []SchemaSource) (*Catalog, error) {
	c := NewCatalog()
	if len(sources) > maxSchemas {
		return nil, &SchemaError{maxSchemas, "type", fmt.Errorf("is one too many: at most %d schemas are read", maxSchemas)}
	}
	files := &schemaFiles{root: root}
	var problems []error
	for i, s := range sources {
		if err := checkPattern(s.Type, sources[:i]); err != nil {
			problems = append(problems, &SchemaError{i, "type", err})
		}
		compiled, err := files.compile(s.File)
		for _, err := range apart(err) {
			problems = append(problems, &SchemaError{i, "file", err})
		}
		c.own = append(c.own, ownSchema{s.Type, compiled})
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return c, nil
}

// checkPattern checks a pattern of types against those before it.
func checkPattern(pattern string, before []SchemaSource) error {
	switch {
	case strings.TrimSpace(pattern) == "":
		return errors.New("is missing")
	case len(pattern) > maxPattern:
		return fmt.Errorf("is longer than %d bytes", maxPattern)
	case slices.ContainsFunc(before, func(s SchemaSource) bool { return s.Type == pattern }):
		return errors.New("is there already: the first one holds")
	}
	return nil
}

// apart returns the errors that were joined.
func apart(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // only what compile itself has joined
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// schemaRoot is where the files of a catalog have their addresses. The scheme is
// nobody's, so that a reference to a file or a web page is none of ours.
const schemaRoot = "weir:///"

// schemaFiles reads each file below root once, for whoever refers to it.
type schemaFiles struct {
	root fs.FS
	docs map[string]any
}

// compile compiles the schema in a file. Its error may be several, joined.
func (f *schemaFiles) compile(name string) (*jsonschema.Schema, error) {
	if _, err := f.read(name); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(f)
	at := url.URL{Scheme: "weir", Path: "/" + name}
	s, err := c.Compile(at.String())
	if err != nil {
		return nil, schemaProblems(name, err)
	}
	return s, nil
}

// Load implements jsonschema.URLLoader.
func (f *schemaFiles) Load(address string) (any, error) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, schemaRoot) {
		return nil, fmt.Errorf("%s is no file below the configuration's folder, and Weir fetches nothing", quote(address))
	}
	return f.read(strings.TrimPrefix(u.Path, "/"))
}

// read returns a file's JSON.
func (f *schemaFiles) read(name string) (any, error) {
	if doc, ok := f.docs[name]; ok {
		return doc, nil
	}
	if len(f.docs) >= maxSchemaFiles {
		return nil, fmt.Errorf("%s is one too many: at most %d files are read", quote(name), maxSchemaFiles)
	}
	b, err := f.bytes(name)
	if err != nil {
		return nil, err
	}
	doc, err := parseJSON(b, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("%s is no JSON Schema: %w", quote(name), err)
	}
	if err := checkDraft(name, doc); err != nil {
		return nil, err
	}
	if f.docs == nil {
		f.docs = map[string]any{}
	}
	f.docs[name] = doc
	return doc, nil
}

func (f *schemaFiles) bytes(name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, fmt.Errorf("%s is no path below the configuration's folder", quote(name))
	}
	info, err := fs.Stat(f.root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist", quote(name))
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read, or lies outside the configuration's folder", quote(name))
	case !info.Mode().IsRegular(): // another could keep its reader waiting for ever
		return nil, fmt.Errorf("%s is not a regular file", quote(name))
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", quote(name))
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxSchemaFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read", quote(name))
	case len(b) > maxSchemaFile:
		return nil, fmt.Errorf("%s is larger than %d bytes", quote(name), maxSchemaFile)
	}
	return b, nil
}

// checkDraft refuses a schema that says it is of another draft: the same words
// mean other things there.
func checkDraft(name string, doc any) error {
	object, _ := doc.(map[string]any)
	draft, there := object["$schema"]
	if text, ok := draft.(string); there && (!ok || strings.TrimSuffix(text, "#") != "https://json-schema.org/draft/2020-12/schema") {
		return fmt.Errorf(`%s is of another draft: its $schema must be "https://json-schema.org/draft/2020-12/schema", or be left out`, quote(name))
	}
	return nil
}

// schemaProblems turns the compiler's error into ours, with places such as
// order.json#/properties/id.
func schemaProblems(name string, err error) error {
	if e, ok := errors.AsType[*jsonschema.LoadURLError](err); ok { // ours, from Load
		if refers := strings.TrimPrefix(e.URL, schemaRoot); refers != name {
			return fmt.Errorf("%s refers to another one: %w", quote(name), e.Err)
		}
		return e.Err
	}
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if v, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			return errors.Join(schemaFaults(strings.TrimPrefix(e.URL, schemaRoot), v)...)
		}
	}
	return errors.New(clip(strings.ReplaceAll(err.Error(), schemaRoot, ""), maxReason))
}

// schemaFaults are what a schema's own schema finds, each once and in order.
func schemaFaults(address string, v *jsonschema.ValidationError) []error {
	file, _, _ := strings.Cut(address, "#")
	var texts []string
	var walk func(v *jsonschema.ValidationError)
	walk = func(v *jsonschema.ValidationError) {
		for _, c := range v.Causes {
			walk(c)
		}
		if len(v.Causes) > 0 {
			return
		}
		var at strings.Builder
		at.WriteString(file + "#")
		for _, step := range v.InstanceLocation {
			at.WriteString("/" + pointerEscape.Replace(step))
		}
		text := explain(v.ErrorKind)
		if k, ok := v.ErrorKind.(*kind.Format); ok && k.Want == "regex" {
			text = "is no regular expression of Go (RE2)"
		}
		texts = append(texts, quote(at.String())+" "+text)
	}
	walk(v)
	slices.Sort(texts)
	var all []error
	for _, text := range slices.Compact(texts) {
		all = append(all, errors.New(text))
	}
	return all
}
