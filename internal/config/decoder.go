package config

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/weirhq/weir/schema"
)

// maxProblems bounds what one file is told; the rest is only counted.
const maxProblems = 100

// place is where a key or a list's item stands, counted from one.
type place struct{ line, column int }

// decoder turns YAML nodes into our types, noting each path's place and each
// problem on the way. It goes on after a problem; the value then keeps its
// default.
type decoder struct {
	name    string // of the file, for problems
	dir     string // what paths in the file are relative to
	getenv  func(string) string
	lookUp  func(path string) bool // reports whether the secret at path is wanted; nil: nothing is
	places  map[string]place
	flagged map[string]bool // paths that have a problem: the first one tells
	found   Problems
	dropped int
}

// add reports a problem of the value at path, unless it has one already.
func (d *decoder) add(path, format string, args ...any) {
	if d.flagged[path] {
		return
	}
	d.flagged[path] = true
	d.addAt(d.place(path), path, format, args...)
}

// addAt reports a problem in any case.
func (d *decoder) addAt(at place, path, format string, args ...any) {
	if len(d.found) >= maxProblems {
		d.dropped++
		return
	}
	d.found = append(d.found, Problem{
		File: d.name, Line: at.line, Column: at.column,
		Path: oneLine(path), Text: fmt.Sprintf(format, args...),
	})
}

// has reports whether the file has the path.
func (d *decoder) has(path string) bool {
	_, ok := d.places[path]
	return ok
}

// read reports whether the file has the path, with a value that could be read
// and has no problem so far.
func (d *decoder) read(path string) bool { return d.has(path) && !d.flagged[path] }

// place returns where path stands, or the nearest thing above it.
func (d *decoder) place(path string) place {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		above, ok := parent(path)
		if !ok {
			return place{1, 1}
		}
		path = above
	}
}

// parent returns the path without its last step, and whether there was one.
func parent(path string) (string, bool) {
	cut := strings.LastIndexAny(path, ".[")
	if cut < 0 {
		return "", false
	}
	return path[:cut], true
}

// told reports whether path, or something above it, has a problem already.
func (d *decoder) told(path string) bool {
	for more := true; more; path, more = parent(path) {
		if d.flagged[path] {
			return true
		}
	}
	return false
}

// withDefaults is a block that is filled in before it is read.
type withDefaults interface{ defaults() }

// into decodes the node at path, whose place is noted, into v.
func (d *decoder) into(path string, n *yaml.Node, v reflect.Value) {
	if !d.plain(path, n) {
		return
	}
	if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!null" || n.Value == "") {
		d.add(path, "is empty: give it a value or leave it out")
		return
	}
	switch v.Interface().(type) {
	case schema.Secret:
		d.secret(path, n, v)
		return
	case Token:
		d.token(path, n, v)
		return
	case time.Duration:
		d.duration(path, n, v)
		return
	case Date:
		d.date(path, n, v)
		return
	case Size:
		d.size(path, n, v)
		return
	case map[string]int:
		d.numbers(path, n, v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		d.pointer(path, n, v)
	case reflect.Struct:
		d.block(path, n, v)
	case reflect.Slice:
		d.list(path, n, v)
	case reflect.Map:
		d.object(path, n, v)
	case reflect.String:
		d.text(path, n, v)
	case reflect.Int:
		d.number(path, n, v)
	case reflect.Bool:
		d.boolean(path, n, v)
	default:
		panic("config: no decoder for " + v.Type().String())
	}
}

// plain refuses what can make a small file large, or change a value's type.
func (d *decoder) plain(path string, n *yaml.Node) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.add(path, "anchors and aliases are not supported: write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		d.add(path, "tags are not supported")
	default:
		return true
	}
	return false
}

func (d *decoder) pointer(path string, n *yaml.Node, v reflect.Value) {
	elem := reflect.New(v.Type().Elem())
	if b, ok := reflect.TypeAssert[withDefaults](elem); ok {
		b.defaults()
	}
	d.into(path, n, elem.Elem())
	v.Set(elem)
}

func (d *decoder) list(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.add(path, "must be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		elem := v.Index(i)
		if b, ok := reflect.TypeAssert[withDefaults](elem.Addr()); ok {
			b.defaults()
		}
		at := path + "[" + strconv.Itoa(i) + "]"
		d.places[at] = place{item.Line, item.Column}
		d.into(at, item, elem)
	}
}

func (d *decoder) block(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(path, "must be a block of keys")
		return
	}
	fields := fieldsOf(v)
	for key, value := range d.members(path, n) {
		field, known := fields[key.Value]
		if !known {
			d.unknown(path, key, fields)
			continue
		}
		at := join(path, key.Value)
		d.places[at] = place{key.Line, key.Column}
		d.into(at, value, field)
	}
}

// members yields the pairs of a mapping whose keys are plain text, and known
// ones once.
func (d *decoder) members(path string, n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		lines := map[string]int{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			here := place{key.Line, key.Column}
			first, twice := lines[key.Value]
			switch {
			case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
				d.addAt(here, path, "a key must be plain text")
			case key.ShortTag() == "!!merge":
				d.addAt(here, path, "merge keys are not supported: write the values out")
			case key.ShortTag() != "!!str":
				d.addAt(here, path, "a key must be text: put it in quotes")
			case len(key.Value) > maxKey:
				d.addAt(here, path, "a key is longer than %d bytes", maxKey)
			case twice && d.has(join(path, key.Value)): // else it is unknown, and stays so
				d.addAt(here, join(path, key.Value), "is given twice; first on line %d", first)
			default:
				lines[key.Value] = key.Line
				if !yield(key, n.Content[i+1]) {
					return
				}
			}
		}
	}
}

// fieldsOf returns the settable fields of a struct by their keys, those of
// inlined structs among them.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for field, value := range v.Fields() {
		key, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			maps.Copy(fields, fieldsOf(value))
		case key != "" && key != "-":
			fields[key] = value
		}
	}
	return fields
}

// join returns the path of a block's member, as package schema writes it too.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// oneLine escapes what would break a path's line: keys are the operator's.
func oneLine(path string) string {
	quoted := strconv.Quote(path)
	return quoted[1 : len(quoted)-1]
}
