package schema_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/schema"
)

// files makes a folder of names and contents.
func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func TestOwnSchemasComeOnTopOfTheBuiltIn(t *testing.T) {
	t.Parallel()
	catalog, err := schema.CompileCatalog(files(
		"lead.json", `{"required":["phone"],"properties":{"phone":{"type":"string","pattern":"^\\+49"}}}`,
		"acme/order.json", `{"type":"object","properties":{"to":{"$ref":"parts/address.json#/$defs/number"},"format":{"format":"email"}},"additionalProperties":false}`,
		"acme/parts/address.json", `{"$defs":{"number":{"type":"string","minLength":3}}}`,
		"never.json", `false`,
	), []schema.SchemaSource{
		{Type: "lead.*", File: "lead.json"},
		{Type: "acme.order.*", File: "acme/order.json"},
		{Type: "acme.*", File: "never.json"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ eventType, data, want string }{
		{"lead.created", `{"id":1,"phone":"+4930123456"}`, ""},
		{"lead.created", `{"phone":"+4930123456"}`, "The lead has no id: data.id is missing."},
		{"lead.created", `{"id":1}`, "The lead has no phone number: data.phone is missing."},
		{"lead.created", `{"id":true,"phone":"+1415"}`, "The lead cannot be used as it is: data.id must be a whole number or text; data.phone does not have the right form."},
		{"lead.created", `{"id":1,"phone":5}`, "The lead cannot be used as it is: data.phone must be text."}, // both say so
		{"lead.lost", `{}`, "The lead has no phone number: data.phone is missing."},
		{"acme.order.made", `{"to":"abc","format":"no address"}`, ""},
		{"acme.order.made", `{"to":"ab"}`, "The event cannot be used as it is: data.to is too short."},
		{"acme.order.made", `{"x":1}`, "The event cannot be used as it is: data holds something that is not allowed."},
		{"acme.order.made", ``, "The event has no content: data is missing."},
		{"acme.other", `{}`, "The event cannot be used as it is: data holds something that is not allowed."},
		{"deal.won", `{}`, ""},
	} {
		got := ""
		if err := catalog.Check(content(tt.eventType, "", tt.data)); err != nil {
			got = refusal(t, err).Reason
		}
		if got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.eventType, tt.data, got, tt.want)
		}
	}
}

func TestOwnSchemasAreRefused(t *testing.T) {
	t.Parallel()
	const fetch = ` is no file below the configuration's folder, and Weir fetches nothing`
	for _, tt := range []struct{ name, file, want string }{
		{"no JSON", `{`, `"s/a.json" is no JSON Schema: it ends too early`},
		{"two members of one name", `{"type":"object","type":"array"}`, `"s/a.json" is no JSON Schema: "type" is there twice`},
		{"a list", `[]`, `"s/a.json#" must be an object or true or false`},
		{"several", `{"title":1,"properties":{"a/b":{"minLength":"x"}}}`, "\"s/a.json#/properties/a~1b/minLength\" must be a whole number\n\"s/a.json#/title\" must be text"},
		{"what RE2 has not", `{"pattern":"a(?=b)"}`, `"s/a.json#/pattern" is no regular expression of Go (RE2)`},
		{"a key that is none", `{"patternProperties":{"(":true}}`, `"s/a.json#" is no regular expression of Go (RE2)`},
		{"another draft", `{"$schema":"http://json-schema.org/draft-07/schema#"}`, `"s/a.json" is of another draft: its $schema must be "https://json-schema.org/draft/2020-12/schema", or be left out`},
		{"a web page", `{"$ref":"https://acme.example/a.json"}`, `"s/a.json" refers to another one: "https://acme.example/a.json"` + fetch},
		{"a file elsewhere", `{"$ref":"file:///etc/passwd"}`, `"s/a.json" refers to another one: "file:///etc/passwd"` + fetch},
		{"beside an id", `{"$id":"https://acme.example/x.json","$ref":"b.json"}`, `"s/a.json" refers to another one: "https://acme.example/b.json"` + fetch},
		{"above the folder", `{"$ref":"../../../etc/passwd"}`, `"s/a.json" refers to another one: "etc/passwd" does not exist`},
		{"above it, hidden", `{"$ref":"..%2f..%2f..%2fetc/passwd"}`, `"s/a.json" refers to another one: "s/../../../etc/passwd" is no path below the configuration's folder`},
		{"nowhere", `{"$ref":"#/$defs/a"}`, `json-pointer in "s/a.json#/$defs/a" not found`},
		{"a wrong one", `{"$ref":"b.json"}`, `"s/b.json#/minimum" must be a number`},
		{"too large", `{"title":"` + strings.Repeat("x", 256<<10) + `"}`, `"s/a.json" is larger than 262144 bytes`},
		{"too deep", strings.Repeat(`{"not":`, 70) + "true" + strings.Repeat("}", 70), `"s/a.json" is no JSON Schema: it has too many objects and lists inside each other`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.CompileCatalog(files("s/a.json", tt.file, "s/b.json", `{"minimum":"x"}`), []schema.SchemaSource{{Type: "a", File: "s/a.json"}})
			if err == nil {
				t.Fatal("got no error")
			}
			if diff := cmp.Diff("[0].file: "+strings.ReplaceAll(tt.want, "\n", "\n[0].file: "), err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// Everything that is wrong is told at once.
func TestOwnSchemasProblemsTogether(t *testing.T) {
	t.Parallel()
	_, err := schema.CompileCatalog(files("good.json", `{}`, "bad.json", `{"title":1}`, "dir/x", ""), []schema.SchemaSource{
		{Type: " ", File: "good.json"},
		{Type: "a", File: "bad.json"},
		{Type: "a", File: "none.json"},
		{Type: strings.Repeat("x", 300), File: "/etc/passwd"},
		{Type: "b", File: "dir"},
		{Type: "c", File: "../good.json"},
	})
	want := `[0].type: is missing
[1].file: "bad.json#/title" must be text
[2].type: is there already: the first one holds
[2].file: "none.json" does not exist
[3].type: is longer than 256 bytes
[3].file: "/etc/passwd" is no path below the configuration's folder
[4].file: "dir" is not a regular file
[5].file: "../good.json" is no path below the configuration's folder`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestOwnSchemasAreBounded(t *testing.T) {
	t.Parallel()
	fsys := files("a.json", `{}`)
	var many []schema.SchemaSource
	for i := range 101 {
		many = append(many, schema.SchemaSource{Type: fmt.Sprint("t", i), File: "a.json"})
	}
	if _, err := schema.CompileCatalog(fsys, many); fmt.Sprint(err) != "[100].type: is one too many: at most 100 schemas are read" {
		t.Errorf("schemas: got %v", err)
	}
	for i := range 201 { // each refers to the next
		fsys[fmt.Sprint(i)] = &fstest.MapFile{Data: fmt.Appendf(nil, `{"$ref":"%d"}`, i+1)}
	}
	if _, err := schema.CompileCatalog(fsys, []schema.SchemaSource{{Type: "a", File: "0"}}); fmt.Sprint(err) != `[0].file: "0" refers to another one: "200" is one too many: at most 200 files are read` {
		t.Errorf("files: got %v", err)
	}
}

// A link in the folder leads out of it no more than a path does.
func TestOwnSchemasStayInTheirFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"outside.json": `{}`, "in/inside.json": `{}`} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out.json": "../outside.json", "here.json": "inside.json"} {
		if err := os.Symlink(to, filepath.Join(dir, "in", link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	_, err = schema.CompileCatalog(root.FS(), []schema.SchemaSource{{Type: "a", File: "out.json"}, {Type: "b", File: "here.json"}})
	if want := `[0].file: "out.json" cannot be read, or lies outside the configuration's folder`; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
