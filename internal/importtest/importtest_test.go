package importtest_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/importtest"
)

// TestThisTree holds the tree that this test is part of to the rules.
func TestThisTree(t *testing.T) {
	t.Parallel()
	tree, err := importtest.Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	self := func(f importtest.File) bool { return f.Path == "internal/importtest/importtest_test.go" }
	if !slices.ContainsFunc(tree.Files, self) {
		t.Fatalf("got %d files without this one; want the whole tree", len(tree.Files))
	}
	checks := map[string]func() []importtest.Problem{
		"imports":      tree.Imports,
		"strangers":    tree.Strangers,
		"undocumented": tree.Undocumented,
		"long files":   tree.LongFiles,
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, p := range check() {
				t.Error(p)
			}
		})
	}
}

// files is a tree by path; go.mod is added where it is missing.
type files map[string]string

// read reads the tree, which must be readable.
func (f files) read(t *testing.T) importtest.Tree {
	t.Helper()
	tree, err := importtest.Read(f.fs())
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func (f files) fs() fstest.MapFS {
	fsys := fstest.MapFS{"go.mod": {Data: []byte("module example.org/m // the top\n\ngo 1.26.8\n")}}
	for name, data := range f {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return fsys
}

// texts returns the problems as printed.
func texts(problems []importtest.Problem) []string {
	var out []string
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}

func TestImports(t *testing.T) {
	t.Parallel()
	const (
		schema   = "example.org/m/schema"
		limiter  = "example.org/m/ratelimiter"
		consumer = "example.org/m/consumer"
		suite    = "example.org/m/consumer/providertest"
		broker   = "example.org/m/internal/broker"
		ledger   = "example.org/m/internal/ledger"
		cmd      = "example.org/m/cmd/weir"
		nats     = "github.com/nats-io/nats.go/jetstream"
		server   = "github.com/nats-io/nats-server/v2/server"
		tools    = "example.org/m/tools/noskip"
	)
	tests := []struct {
		path    string
		imports []string
		want    []string // beside "path:line: "
	}{
		{path: "schema/a.go", imports: []string{"net/url", "example.com/other", schema + "/deeper"}},
		{path: "schema/a.go", imports: []string{limiter}, want: []string{"3: schema must not import ratelimiter"}},
		{path: "schema/a_test.go", imports: []string{broker}, want: []string{"3: schema must not import internal/broker"}},
		{path: "schema/a.go", imports: []string{"net/http"}, want: []string{"3: schema must not import net/http"}},
		{path: "schema/deeper/a.go", imports: []string{"fmt", "net/http/httptrace"},
			want: []string{"4: schema must not import net/http/httptrace"}},
		{path: "schema/a_test.go", imports: []string{"net/http", nats}},
		{path: "ratelimiter/a.go", imports: []string{schema, nats}, want: []string{
			"3: ratelimiter must not import schema",
			"4: ratelimiter must not import github.com/nats-io/nats.go/jetstream",
		}},
		{path: "consumer/a.go", imports: []string{schema, limiter, "net"}},
		{path: "consumer/a.go", imports: []string{"net/http", server, ledger}, want: []string{
			"3: consumer must not import net/http",
			"4: consumer must not import github.com/nats-io/nats-server/v2/server",
			"5: consumer must not import internal/ledger",
		}},
		{path: "consumer/a_test.go", imports: []string{server, "net/http/httptest", suite}},
		{path: "consumer/a.go", imports: []string{suite}, want: []string{"3: consumer/providertest is for tests only"}},
		{path: "consumer/providertest/a.go", imports: []string{consumer, schema, "net/http"}},
		{path: "consumer/wire/a.go", imports: []string{consumer, schema, "net/http"}},
		{path: "consumer/wire/a.go", imports: []string{nats}, want: []string{"3: consumer must not import " + nats}},
		{path: "consumer/wirework/a.go", imports: []string{"net/http"}, want: []string{"3: consumer must not import net/http"}},
		{path: "consumer/providertest/a.go", imports: []string{broker},
			want: []string{"3: consumer must not import internal/broker"}},
		{path: "internal/broker/a.go", imports: []string{schema, limiter, consumer, nats, "net/http", broker + "/part"}},
		{path: "internal/broker/part/a.go", imports: []string{broker}},
		{path: "internal/broker/a.go", imports: []string{ledger},
			want: []string{"3: internal/broker must not import internal/ledger"}},
		{path: "internal/broker/a_test.go", imports: []string{ledger + "/deep"},
			want: []string{"3: internal/broker must not import internal/ledger/deep"}},
		{path: "internal/broker/a.go", imports: []string{broker + "x"},
			want: []string{"3: internal/broker must not import internal/brokerx"}},
		{path: "internal/broker/a_test.go", imports: []string{suite}},
		{path: "internal/broker/a.go", imports: []string{suite}, want: []string{"3: consumer/providertest is for tests only"}},
		{path: "internal/broker/a.go", imports: []string{cmd}, want: []string{"3: internal/broker must not import cmd/weir"}},
		{path: "internal/a.go", imports: []string{schema}, want: []string{"3: internal must not import schema"}},
		{path: "internal/not-yet-thought-of/a.go", imports: []string{schema, ledger},
			want: []string{"4: internal/not-yet-thought-of must not import internal/ledger"}},
		{path: "cmd/weir/a.go", imports: []string{schema, limiter, consumer, broker, ledger, nats, cmd + "/x"}},
		{path: "cmd/weir/a.go", imports: []string{suite}, want: []string{"3: consumer/providertest is for tests only"}},
		{path: "deploy/a_test.go", imports: []string{schema, broker},
			want: []string{"4: deploy must not import internal/broker"}},
		{path: "examples/x/main.go", imports: []string{consumer, cmd}, want: []string{"4: examples must not import cmd/weir"}},
		{path: "tools/noskip/main.go", imports: []string{tools, schema}, want: []string{"4: tools must not import schema"}},
		{path: "newroom/a.go", imports: []string{schema}, want: []string{"3: newroom must not import schema"}},
		{path: "a.go", imports: []string{schema}, want: []string{"3: . must not import schema"}},
		{path: "schema/a.go", imports: []string{"example.org/m"}, want: []string{"3: schema must not import ."}},
		{path: "schema/a.go", imports: []string{"example.org/my/schema"}},
	}
	for _, tt := range tests {
		t.Run(tt.path+" "+strings.Join(tt.imports, " "), func(t *testing.T) {
			t.Parallel()
			var src strings.Builder
			src.WriteString("package p\n\n")
			for _, im := range tt.imports {
				src.WriteString("import \"" + im + "\"\n")
			}
			var want []string
			for _, w := range tt.want {
				want = append(want, tt.path+":"+w)
			}
			got := texts(files{tt.path: src.String()}.read(t).Imports())
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestImportForms(t *testing.T) {
	t.Parallel()
	tree := files{
		"schema/block.go":      "package schema\n\nimport (\n\t\"fmt\"\n\n\thttp \"net/http\"\n\t_ `net/http/pprof`\n\t. \"math\"\n)\n",
		"schema/tagged_js.go":  "//go:build js && never\n\npackage schema\n\nimport \"net/http\"\n",
		"schema/testdata/x.go": "package x\n\nimport \"net/http\"\n",
		"schema/_old/x.go":     "package x\n\nimport \"net/http\"\n",
		"schema/.x.go":         "not Go",
	}.read(t)
	want := []string{
		"schema/block.go:6: schema must not import net/http",
		"schema/block.go:7: schema must not import net/http/pprof",
		"schema/block.go:8: dot import of math",
		"schema/tagged_js.go:5: schema must not import net/http",
	}
	if diff := cmp.Diff(want, texts(tree.Imports())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestStrangers(t *testing.T) {
	t.Parallel()
	tree := files{
		".git/config":     "",
		".gitignore":      "# a comment\n\n/bin/\nweir-data/\n*.prof\n!kept\ndocs/x\n",
		".ci/run":         "",
		"bin/weir":        "",
		"weir-data/LOCK":  "",
		"cpu.prof":        "",
		"schema/a.go":     "package schema\n",
		"kept":            "",
		"pkg/util/x.go":   "package util\n",
		"main.go":         "package main\n",
		"notes.md":        "",
		"SECURITY.md":     "",
		"docs/anything/x": "",
	}.read(t)
	want := []string{
		"kept:1: does not belong at the top level",
		"main.go:1: does not belong at the top level",
		"notes.md:1: does not belong at the top level",
		"pkg:1: does not belong at the top level",
	}
	if diff := cmp.Diff(want, texts(tree.Strangers())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestUndocumented(t *testing.T) {
	t.Parallel()
	tree := files{
		"cmd/bad/main.go":       "// Package main is no command's name.\npackage main\n",
		"cmd/weir/a.go":         "package main\n",
		"cmd/weir/main.go":      "// Command weir lets through what fits.\npackage main\n",
		"consumer/a.go":         "package consumer\n",
		"consumer/a_test.go":    "// Package consumer is described in its test.\npackage consumer_test\n",
		"internal/a/a.go":       "//go:build linux\n\n// Package a is one.\npackage a\n",
		"internal/a/b.go":       "package a\n",
		"internal/b/b.go":       "// Package bb is another.\npackage b\n",
		"internal/c/c_test.go":  "// Package c_test is a test alone.\npackage c_test\n",
		"internal/d/d_test.go":  "package d_test\n",
		"internal/e/e.go":       "// Package e is apart.\n\npackage e\n",
		"ratelimiter/direct.go": "//go:generate true\n//\n//lint:ignore X y\npackage ratelimiter\n",
	}.read(t)
	want := []string{
		`cmd/bad/main.go:2: package main has no comment that begins with "Command bad "`,
		`consumer/a.go:1: package consumer has no comment that begins with "Package consumer "`,
		`internal/b/b.go:2: package b has no comment that begins with "Package b "`,
		`internal/d/d_test.go:1: package d_test has no comment that begins with "Package d_test "`,
		`internal/e/e.go:3: package e has no comment that begins with "Package e "`,
		`ratelimiter/direct.go:4: package ratelimiter has no comment that begins with "Package ratelimiter "`,
	}
	if diff := cmp.Diff(want, texts(tree.Undocumented())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestLongFiles(t *testing.T) {
	t.Parallel()
	source := func(lines int) string { return "package p\n" + strings.Repeat("//\n", lines-1) }
	tree := files{
		"schema/fits.go":      source(importtest.MaxLines),
		"schema/long.go":      source(importtest.MaxLines + 1),
		"schema/long_test.go": source(importtest.MaxLines + 1),
		"tools/x/long.go":     source(2 * importtest.MaxLines),
	}.read(t)
	want := []string{
		"schema/long.go:601: 601 lines; split it by noun below 600",
		"tools/x/long.go:1200: 1200 lines; split it by noun below 600",
	}
	if diff := cmp.Diff(want, texts(tree.LongFiles())); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestReadFails proves that a tree which cannot be read is never a clean one.
func TestReadFails(t *testing.T) {
	t.Parallel()
	noModule := files{"schema/a.go": "package schema\n"}.fs()
	delete(noModule, "go.mod")
	tests := map[string]struct {
		tree fstest.MapFS
		want string
	}{
		"no go.mod":     {noModule, "read module path: open go.mod: file does not exist"},
		"no module":     {files{"go.mod": "go 1.26.8\n"}.fs(), "read module path: go.mod declares none"},
		"broken import": {files{"schema/a.go": "package schema\n\nimport fmt\n"}.fs(), "read schema: schema/a.go:3:11: missing import path"},
		"empty file":    {files{"cmd/weir/a.go": ""}.fs(), "read cmd: cmd/weir/a.go:1:1: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := importtest.Read(tt.tree)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got error %v, want one that begins with %q", err, tt.want)
			}
		})
	}
}
