package importtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// public lists the rooms that every room in internal may use.
var public = []string{"consumer", "ratelimiter", "schema"}

// wire is the folder of those rooms that speaks HTTP, for the clients of
// providers. It imports consumer, so consumer cannot import it.
const wire = "consumer/wire"

// Imports returns each import that goes against the directions in the package
// comment.
func (t Tree) Imports() []Problem {
	var problems []Problem
	for _, f := range t.Files {
		for _, im := range f.Imports {
			if text := t.breach(f, im); text != "" {
				problems = append(problems, Problem{f.Path, im.Line, text})
			}
		}
	}
	return problems
}

// breach says what is wrong with one import; nothing if it is allowed.
func (t Tree) breach(f File, im Import) string {
	from := room(path.Dir(f.Path))
	target, ours := t.folder(im.Path)
	switch {
	case im.Dot:
		return fmt.Sprintf("dot import of %s", im.Path)
	case ours && !allowed(from, room(target)):
		return fmt.Sprintf("%s must not import %s", from, target)
	case ours && supportName(target) && !f.test() && !f.support():
		return fmt.Sprintf("%s is for tests only", target)
	case !ours && speaks(im.Path) && slices.Contains(public, from) && !wired(f, im) && !f.test() && !f.support():
		return fmt.Sprintf("%s must not import %s", from, im.Path)
	}
	return ""
}

// wired reports whether a file is one that may import HTTP all the same.
func wired(f File, im Import) bool {
	return path.Dir(f.Path) == wire && !strings.HasPrefix(im.Path, "github.com/nats-io/")
}

// folder returns the folder of a package of this module, and whether the
// import path is one. A nested module counts as ours.
func (t Tree) folder(importPath string) (name string, ours bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// room returns the room that a folder belongs to; "." for the top level itself.
func room(folder string) string {
	first, rest, _ := strings.Cut(folder, "/")
	if first != "internal" {
		return first
	}
	second, _, _ := strings.Cut(rest, "/")
	return path.Join(first, second)
}

// allowed reports whether code in one room may import another.
func allowed(from, to string) bool {
	switch {
	case from == to, from == "cmd":
		return true
	case from == "consumer":
		return to == "schema" || to == "ratelimiter"
	case strings.HasPrefix(from, "internal/"), slices.Contains([]string{"deploy", "docs", "examples"}, from):
		return slices.Contains(public, to)
	}
	return false
}

// speaks reports whether a package of others speaks HTTP or NATS.
func speaks(importPath string) bool {
	return importPath == "net/http" || strings.HasPrefix(importPath, "net/http/") ||
		strings.HasPrefix(importPath, "github.com/nats-io/")
}
