package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	opening = "${"
	escaped = "$${"
)

// value is one value of a route's request, compiled. Which members count depends
// on its kind.
type value struct {
	kind    valueKind
	field   string      // its path in the request, for refusals: dynamicVariables.firstName
	literal any         // a scalar, used as it is
	sole    *expression // a string that is one expression
	parts   []part      // a string with expressions in it
	list    []value
	object  map[string]value
	names   []string // of the object, in their order
}

type valueKind int

const (
	literalValue valueKind = iota
	soleValue
	textValue
	listValue
	objectValue
)

// part is a piece of a string: text, or an expression.
type part struct {
	text         string // the expression's source, if it is one
	isExpression bool
	expression   *expression
}

// compileValue compiles v, which stands at path in the configuration and at
// field in the request.
func compileValue(path, field string, v any, depth int) (value, []error) {
	if depth > maxDepth {
		return value{}, []error{&RouteError{path, errors.New("has too many objects and lists inside each other")}}
	}
	switch v := v.(type) {
	case string:
		return compileText(path, field, v)
	case []any:
		out := value{kind: listValue, field: field, list: make([]value, len(v))}
		var problems []error
		for i, item := range v {
			var errs []error
			index := fmt.Sprintf("[%d]", i)
			out.list[i], errs = compileValue(path+index, field+index, item, depth+1)
			problems = append(problems, errs...)
		}
		return out, problems
	case map[string]any:
		out := value{kind: objectValue, field: field, object: make(map[string]value, len(v))}
		var problems []error
		out.names = slices.Sorted(maps.Keys(v))
		for _, key := range out.names {
			var errs []error
			out.object[key], errs = compileValue(path+"."+key, strings.TrimPrefix(field+"."+key, "."), v[key], depth+1)
			problems = append(problems, errs...)
		}
		return out, problems
	default:
		if !isScalar(v) {
			return value{}, []error{&RouteError{path, fmt.Errorf("a value of type %T cannot stand in a request", v)}}
		}
		return value{kind: literalValue, field: field, literal: v}, nil
	}
}

// isScalar reports whether v can be shared by all requests.
func isScalar(v any) bool {
	switch v.(type) {
	case nil, time.Time:
		return true
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Bool, reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return true
	default:
		return false
	}
}

func compileText(path, field, text string) (value, []error) {
	parts, err := splitText(text)
	if err != nil {
		return value{}, []error{&RouteError{path, err}}
	}
	var problems []error
	for i, p := range parts {
		if !p.isExpression {
			continue
		}
		parts[i].expression, err = compileExpression(p.text, false)
		if err != nil {
			problems = append(problems, &RouteError{path, err})
		}
	}
	switch {
	case len(parts) == 0:
		return value{kind: literalValue, field: field, literal: ""}, nil
	case len(parts) == 1 && parts[0].isExpression:
		return value{kind: soleValue, field: field, sole: parts[0].expression}, problems
	case len(parts) == 1:
		return value{kind: literalValue, field: field, literal: parts[0].text}, nil
	default:
		return value{kind: textValue, field: field, parts: parts}, problems
	}
}

// splitText takes a string apart into text and expressions. $${ is ${ as text.
func splitText(s string) ([]part, error) {
	var parts []part
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			parts = append(parts, part{text: text.String()})
			text.Reset()
		}
	}
	for s != "" {
		switch {
		case strings.HasPrefix(s, escaped):
			text.WriteString(opening)
			s = s[len(escaped):]
		case strings.HasPrefix(s, opening):
			end := closing(s[len(opening):])
			if end < 0 {
				return nil, errors.New("${ has no closing }")
			}
			flush()
			parts = append(parts, part{text: strings.TrimSpace(s[len(opening) : len(opening)+end]), isExpression: true})
			s = s[len(opening)+end+1:]
		default:
			text.WriteByte(s[0])
			s = s[1:]
		}
	}
	flush()
	return parts, nil
}

// closing returns the index of the brace that ends an expression, or -1. Braces
// inside of it may be nested, and in quotes they do not count.
func closing(s string) int {
	depth := 0
	var quoted byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quoted != 0:
			if c == '\\' && quoted != '`' {
				i++
			} else if c == quoted {
				quoted = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quoted = c
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			return i
		case c == '}':
			depth--
		}
	}
	return -1
}

// render makes the value for one event. Nothing in it is shared with another
// request, or twice inside of this one.
func (v value) render(env *environment) (any, *Refusal) {
	switch v.kind {
	case soleValue:
		return v.sole.result(v.field, env)
	case textValue:
		return v.renderText(env)
	case listValue:
		out := make([]any, len(v.list))
		for i, item := range v.list {
			rendered, r := item.render(env)
			if r != nil {
				return nil, r
			}
			out[i] = rendered
		}
		return out, nil
	case objectValue:
		out := make(map[string]any, len(v.object))
		for _, key := range v.names { // sorted: the same event is refused for the same field
			rendered, r := v.object[key].render(env)
			if r != nil {
				return nil, r
			}
			out[key] = rendered
		}
		return out, nil
	default:
		return v.literal, nil
	}
}

func (v value) renderText(env *environment) (any, *Refusal) {
	var b strings.Builder
	for _, p := range v.parts {
		text := p.text
		if p.isExpression {
			result, r := p.expression.result(v.field, env)
			if r != nil {
				return nil, r
			}
			var ok bool
			if text, ok = scalarText(result); !ok {
				return nil, refuse(ClassRequest, v.field, "%s cannot be made for this %s: ${ %s } gives an object or a list, which cannot stand inside text.", v.field, env.noun, p.expression.shown())
			}
		}
		if b.Len()+len(text) > maxText {
			return nil, refuse(ClassRequest, v.field, "%s cannot be made for this %s: its text is too long.", v.field, env.noun)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// scalarText writes a value inside text.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case json.Number:
		return v.String(), true
	default:
		return "", false
	}
}

// own returns a copy of an expression's result that shares nothing, or an error
// if it cannot be written as JSON.
func own(v any, depth int) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int, json.Number:
		return v, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, errors.New("the number is not finite")
		}
		return v, nil
	case map[string]any:
		if depth > 2*maxDepth {
			return nil, errors.New("the value is nested too deeply")
		}
		out := make(map[string]any, len(v))
		for key, item := range v {
			copied, err := own(item, depth+1)
			if err != nil {
				return nil, err
			}
			out[key] = copied
		}
		return out, nil
	case []any:
		if depth > 2*maxDepth {
			return nil, errors.New("the value is nested too deeply")
		}
		out := make([]any, len(v))
		for i, item := range v {
			copied, err := own(item, depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = copied
		}
		return out, nil
	default:
		return nil, fmt.Errorf("the value is of type %T", v)
	}
}
