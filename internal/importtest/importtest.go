// Package importtest holds the rules of the house as functions over a source
// tree, so that a test can enforce them: who may import whom, what may lie at
// the top level, that each package says what it is, and how long a file may be.
//
// A room is a folder with rules of its own: cmd, each folder in internal, and
// every other folder at the top level. Imports within a room are free; between
// rooms they go one way:
//
//   - schema and ratelimiter import no other room;
//   - consumer imports those two;
//   - a room in internal, and Go code in docs, examples or deploy, imports
//     those three, and so never another room in internal;
//   - cmd imports all, and nobody imports cmd;
//   - tools, a module of its own, and any folder not named here import none.
//
// Test files obey the same directions. In addition:
//
//   - schema, ratelimiter and consumer import neither net/http nor anything of
//     NATS: what they know of a message is a map of headers and some bytes, so
//     they stay usable, and testable, without either. Test files may, and
//     consumer/wire, which is HTTP for the clients of providers;
//   - a package whose name ends in "test" is support for tests: only test files
//     and other such packages import it, and the rule before this one does not
//     bind it;
//   - nobody uses a dot import.
//
// A folder that is new gets the strictest rule that fits its place until a line
// here says otherwise. The source is parsed, not built: files for every
// platform and build tag count. The functions touch nothing outside the tree
// that they are given.
package importtest

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Problem is one breach of a rule, at its place in the tree.
type Problem struct {
	Path string
	Line int // from 1
	Text string
}

// String returns the problem as "path:line: text".
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text)
}

// Import is one import of a Go file.
type Import struct {
	Path string
	Dot  bool
	Line int
}

// File is what the rules need to know of one Go file.
type File struct {
	Path    string // slash-separated, from the top of the tree
	Package string // as its package clause says
	Clause  int    // the line of that clause
	Doc     string // the comment above it
	Imports []Import
	Lines   int
}

// test reports whether only "go test" compiles the file.
func (f File) test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// support reports whether the file belongs to a package that is there for
// tests alone.
func (f File) support() bool { return supportName(path.Dir(f.Path)) }

// supportName reports whether a folder or import path names such a package.
func supportName(name string) bool { return strings.HasSuffix(path.Base(name), "test") }

// Tree is a source tree that was read.
type Tree struct {
	Module  string   // the module path in go.mod
	Entries []string // the names at the top level that Git does not ignore
	Files   []File   // in the order of their paths
}

// Read reads the tree: go.mod, .gitignore (if there is one), the names at the
// top level and every Go file. Of .gitignore only patterns without a slash in
// the middle count; what they match at the top level is not part of the tree.
// Folders that the go command passes over (testdata, vendor, and names that
// begin with a dot or an underscore) are passed over here too, and so are files
// of such names. Nested modules are read like any other folder.
func Read(tree fs.FS) (Tree, error) {
	module, err := modulePath(tree)
	if err != nil {
		return Tree{}, err
	}
	entries, err := topEntries(tree)
	if err != nil {
		return Tree{}, err
	}
	t := Tree{Module: module, Entries: entries}
	for _, name := range entries {
		files, err := goFiles(tree, name)
		if err != nil {
			return Tree{}, err
		}
		t.Files = append(t.Files, files...)
	}
	return t, nil
}

// modulePath returns the module path that go.mod declares.
func modulePath(tree fs.FS) (string, error) {
	data, err := fs.ReadFile(tree, "go.mod")
	if err != nil {
		return "", fmt.Errorf("read module path: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "module" {
			return fields[1], nil
		}
	}
	return "", errors.New("read module path: go.mod declares none")
}

// topEntries returns the names at the top level that are not ignored, in order.
func topEntries(tree fs.FS) ([]string, error) {
	patterns, err := ignored(tree)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		return nil, fmt.Errorf("read top level: %w", err)
	}
	var names []string
	for _, e := range entries {
		matches := func(pattern string) bool {
			ok, _ := path.Match(pattern, e.Name())
			return ok
		}
		if e.Name() != ".git" && !slices.ContainsFunc(patterns, matches) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// ignored returns the patterns of .gitignore that speak of one name.
func ignored(tree fs.FS) ([]string, error) {
	data, err := fs.ReadFile(tree, ".gitignore")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read ignored names: %w", err)
	}
	var patterns []string
	for line := range strings.Lines(string(data)) {
		line = strings.Trim(strings.TrimSpace(line), "/")
		if line != "" && !strings.ContainsAny(line, "#!/") {
			patterns = append(patterns, line)
		}
	}
	return patterns, nil
}

// goFiles reads every Go file in or below one name at the top level.
func goFiles(tree fs.FS, top string) ([]File, error) {
	var files []File
	err := fs.WalkDir(tree, top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && passedOver(d.Name()):
			return fs.SkipDir
		case d.IsDir(), passedOver(d.Name()), path.Ext(name) != ".go":
			return nil
		}
		f, err := goFile(tree, name)
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", top, err)
	}
	return files, nil
}

// passedOver reports whether the go command ignores a file of that name, or
// finds no packages in such a folder.
func passedOver(name string) bool {
	return name == "testdata" || name == "vendor" || name[0] == '.' || name[0] == '_'
}

// goFile reads one Go file as far as its imports.
func goFile(tree fs.FS, name string) (File, error) {
	data, err := fs.ReadFile(tree, name)
	if err != nil {
		return File{}, err
	}
	fset := token.NewFileSet()
	src, err := parser.ParseFile(fset, name, data, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return File{}, err
	}
	f := File{
		Path:    name,
		Package: src.Name.Name,
		Clause:  fset.Position(src.Package).Line,
		Doc:     src.Doc.Text(),
		Lines:   bytes.Count(data, []byte{'\n'}),
	}
	for _, spec := range src.Imports {
		f.Imports = append(f.Imports, importOf(fset, spec))
	}
	return f, nil
}

// importOf reads one import declaration. The parser has checked that its path
// is a string.
func importOf(fset *token.FileSet, spec *ast.ImportSpec) Import {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		name = spec.Path.Value
	}
	return Import{
		Path: name,
		Dot:  spec.Name != nil && spec.Name.Name == ".",
		Line: fset.Position(spec.Pos()).Line,
	}
}
