package importtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// MaxLines is how long a Go file that is no test may be. The house style asks
// for about 400; this is where it stops being a matter of taste.
const MaxLines = 600

// allowedEntries lists what may lie at the top level, in order.
var allowedEntries = []string{
	".ci", ".dockerignore", ".editorconfig", ".env.example", ".github", ".gitignore", ".golangci.yml",
	"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "SECURITY.md",
	"cmd", "consumer", "deploy", "docker-compose.yml", "docs", "examples", "go.mod", "go.sum", "internal",
	"ratelimiter", "schema", "tools",
}

// Strangers returns each entry at the top level that has no place there.
func (t Tree) Strangers() []Problem {
	var problems []Problem
	for _, name := range t.Entries {
		if !slices.Contains(allowedEntries, name) {
			problems = append(problems, Problem{name, 1, "does not belong at the top level"})
		}
	}
	return problems
}

// LongFiles returns each Go file that is no test and has more than MaxLines
// lines.
func (t Tree) LongFiles() []Problem {
	var problems []Problem
	for _, f := range t.Files {
		if !f.test() && f.Lines > MaxLines {
			text := fmt.Sprintf("%d lines; split it by noun below %d", f.Lines, MaxLines)
			problems = append(problems, Problem{f.Path, f.Lines, text})
		}
	}
	return problems
}

// Undocumented returns the first file of each package that has no package
// comment, or one that does not begin with "Package <name> " ("Command <name> "
// for a command, after its folder). The comment of a package that has other
// files does not count in a test file.
func (t Tree) Undocumented() []Problem {
	var problems []Problem
	for _, p := range t.packages() {
		first := p[0]
		if !slices.ContainsFunc(p, documented) {
			text := fmt.Sprintf("package %s has no comment that begins with %q", first.Package, opening(first))
			problems = append(problems, Problem{first.Path, first.Clause, text})
		}
	}
	return problems
}

// packages returns the files of each package, without its tests if it has other
// files. The order is that of the folders' first files.
func (t Tree) packages() [][]File {
	var folders []string
	files := map[string][]File{}
	for _, f := range t.Files {
		dir := path.Dir(f.Path)
		if files[dir] == nil {
			folders = append(folders, dir)
		}
		files[dir] = append(files[dir], f)
	}
	packages := make([][]File, 0, len(folders))
	for _, dir := range folders {
		all := files[dir]
		if code := slices.DeleteFunc(slices.Clone(all), File.test); len(code) > 0 {
			all = code
		}
		packages = append(packages, all)
	}
	return packages
}

// documented reports whether a file carries its package's comment.
func documented(f File) bool { return strings.HasPrefix(f.Doc, opening(f)) }

// opening is how the package comment of a file begins.
func opening(f File) string {
	if f.Package == "main" {
		return "Command " + path.Base(path.Dir(f.Path)) + " "
	}
	return "Package " + f.Package + " "
}
