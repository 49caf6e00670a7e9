package config

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds how deep a route's request may nest.
const maxDepth = 12

// isScalar reports whether n is a scalar that YAML resolves to one of tags.
func isScalar(n *yaml.Node, tags ...string) bool {
	if n.Kind != yaml.ScalarNode {
		return false
	}
	for _, tag := range tags {
		if n.ShortTag() == tag {
			return true
		}
	}
	return false
}

func (d *decoder) text(path string, n *yaml.Node, v reflect.Value) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.add(path, "must be text")
	case !isScalar(n, "!!str"):
		d.add(path, "must be text: put it in quotes")
	default:
		v.SetString(n.Value)
	}
}

func (d *decoder) number(path string, n *yaml.Node, v reflect.Value) {
	// Only the plain decimal spelling: 010 is eight to some readers.
	i, err := strconv.Atoi(n.Value)
	if !isScalar(n, "!!int") || err != nil || strconv.Itoa(i) != n.Value {
		d.add(path, "must be a whole number")
		return
	}
	v.SetInt(int64(i))
}

// numbers reads whole numbers by names of the file's own.
func (d *decoder) numbers(path string, n *yaml.Node, v reflect.Value) {
	switch {
	case n.Kind != yaml.MappingNode:
		d.add(path, "must be a block of keys")
		return
	case len(n.Content) == 0:
		d.add(path, "is empty: give it a value or leave it out")
		return
	}
	out := map[string]int{}
	for key, value := range d.members(path, n) {
		at := join(path, key.Value)
		d.places[at] = place{key.Line, key.Column}
		var i int
		d.into(at, value, reflect.ValueOf(&i).Elem())
		if !d.flagged[at] {
			out[key.Value] = i
		}
	}
	v.Set(reflect.ValueOf(out))
}

func (d *decoder) boolean(path string, n *yaml.Node, v reflect.Value) {
	if !isScalar(n, "!!bool") {
		d.add(path, "must be true or false")
		return
	}
	v.SetBool(strings.EqualFold(n.Value, "true"))
}

func (d *decoder) duration(path string, n *yaml.Node, v reflect.Value) {
	t, err := time.ParseDuration(n.Value)
	if !isScalar(n, "!!str") || err != nil {
		d.add(path, "must be a duration with its unit, such as 15s, 2m or 1h")
		return
	}
	v.SetInt(int64(t))
}

func (d *decoder) size(path string, n *yaml.Node, v reflect.Value) {
	s, err := ParseSize(n.Value)
	if !isScalar(n, "!!str", "!!int") || err != nil {
		d.add(path, "must be a size such as 256KiB, 1MiB or a number of bytes")
		return
	}
	v.SetInt(int64(s))
}

// object reads a route's request, whose keys are the provider's.
func (d *decoder) object(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.add(path, "must be a block of keys")
		return
	}
	v.Set(reflect.ValueOf(d.free(path, n, maxDepth)))
}

// free returns the node as JSON has it: map[string]any, []any, string, bool,
// int, float64 or nil.
func (d *decoder) free(path string, n *yaml.Node, depth int) any {
	if !d.plain(path, n) {
		return nil
	}
	if depth == 0 {
		d.add(path, "is nested too deeply")
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return d.freeObject(path, n, depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			at := path + "[" + strconv.Itoa(i) + "]"
			d.places[at] = place{item.Line, item.Column}
			list[i] = d.free(at, item, depth-1)
		}
		return list
	default:
		return d.freeScalar(path, n)
	}
}

func (d *decoder) freeObject(path string, n *yaml.Node, depth int) map[string]any {
	object := make(map[string]any, len(n.Content)/2)
	for key, value := range d.members(path, n) {
		at := join(path, key.Value)
		d.places[at] = place{key.Line, key.Column}
		object[key.Value] = d.free(at, value, depth-1)
	}
	return object
}

// freeScalar leaves a scalar the type that YAML gives it, unless that would
// change how it reads: a telephone number without quotes is no number.
func (d *decoder) freeScalar(path string, n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		i, err := strconv.Atoi(n.Value)
		if err != nil || strconv.Itoa(i) != n.Value {
			d.add(path, "would be read as a number: put it in quotes")
			return nil
		}
		return i
	case "!!float":
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			d.add(path, "is not a number that JSON has: put it in quotes")
			return nil
		}
		return f
	default: // text, and what YAML takes for a date
		return n.Value
	}
}
