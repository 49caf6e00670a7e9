package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/vm/runtime"
)

// The functions that stand in place of operators.
const (
	memberFunction = "member"
	sliceFunction  = "slice"
	addFunction    = "add"
	truthFunction  = "truth"
)

// function is one function of the expression language.
type function struct {
	name      string
	signature any // a pointer to its type, for the check at load
	call      func(args ...any) (any, error)
}

// functions is the whole library. Each is bounded in time and memory by its
// arguments, and all but has and len give nil for nil, so that ?? can follow.
var functions = []function{
	{"has", new(func(any) bool), func(a ...any) (any, error) { return a[0] != nil && a[0] != "", nil }},
	{"len", new(func(any) int), func(a ...any) (any, error) { return length(a[0]) }},
	{"lower", new(func(any) any), onText(strings.ToLower)},
	{"upper", new(func(any) any), onText(strings.ToUpper)},
	{"trim", new(func(any) any), onText(strings.TrimSpace)},
	{"string", new(func(any) any), func(a ...any) (any, error) { return toText(a[0]) }},
	{"int", new(func(any) any), func(a ...any) (any, error) { return toInt(a[0]) }},
	{"float", new(func(any) any), func(a ...any) (any, error) { return toFloat(a[0]) }},
	{"json", new(func(any) any), func(a ...any) (any, error) { return toJSON(a[0]) }},
	{"split", new(func(any, string) any), func(a ...any) (any, error) { return split(a[0], a[1]) }},
	{"join", new(func(any, string) any), func(a ...any) (any, error) { return join(a[0], a[1]) }},
	{"replace", new(func(any, string, string) any), func(a ...any) (any, error) { return replace(a[0], a[1], a[2]) }},
}

// operators are the functions that the patch puts in place of operators. An
// expression cannot name them.
var operators = []function{
	{memberFunction, new(func(any, any) any), func(a ...any) (any, error) { return pick(a[0], a[1]), nil }},
	{sliceFunction, new(func(any, any, any) any), func(a ...any) (any, error) { return cut(a[0], a[1], a[2]) }},
	{addFunction, new(func(any, any) any), func(a ...any) (any, error) { return add(a[0], a[1]) }},
	{truthFunction, new(func(any) bool), func(a ...any) (any, error) { return truth(a[0]) }},
}

var errTooLong = errors.New("its text is too long")

// wrongType is an error that names the type and hides the value.
func wrongType(wants string, v any) error {
	return fmt.Errorf("it needs %s, and there is %s", wants, describe(v))
}

func describe(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "text"
	case bool:
		return "true or false"
	case int, float64, json.Number:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return "something else"
	}
}

// onText makes a function of one text. A number counts as its digits.
func onText(f func(string) string) func(...any) (any, error) {
	return func(a ...any) (any, error) {
		v, err := toText(a[0])
		if v == nil || err != nil {
			return nil, err
		}
		return f(v.(string)), nil
	}
}

func toText(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	text, ok := scalarText(v)
	if !ok {
		return nil, wrongType("text", v)
	}
	return text, nil
}

func toInt(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int:
		return v, nil
	case float64:
		if v != math.Trunc(v) || math.Abs(v) >= 1<<63 {
			return nil, errors.New("it needs a whole number")
		}
		return int(v), nil
	case string:
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil {
			return nil, errors.New("it needs a whole number, and the text is none")
		}
		return n, nil
	default:
		return nil, wrongType("a whole number", v)
	}
}

func toFloat(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int:
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, errors.New("it needs a number, and the text is none")
		}
		return f, nil
	default:
		return nil, wrongType("a number", v)
	}
}

func toJSON(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	if weight(v, maxText) > maxText {
		return nil, errTooLong
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("it cannot be written as JSON")
	}
	if len(b) > maxText {
		return nil, errTooLong
	}
	return string(b), nil
}

// weight is how many bytes a value has as JSON, but for escapes. One text
// may stand in a list many times, and cost nothing there until it is written. It stops counting above most.
func weight(v any, most int) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case json.Number:
		return len(v)
	case []any:
		sum := 0
		for _, item := range v {
			if sum += 1 + weight(item, most); sum > most {
				break
			}
		}
		return sum
	case map[string]any:
		sum := 0
		for name, item := range v {
			if sum += 1 + len(name) + weight(item, most); sum > most {
				break
			}
		}
		return sum
	default:
		return 0
	}
}

func length(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case string:
		return utf8.RuneCountInString(v), nil
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	default:
		return nil, wrongType("text or a list", v)
	}
}

func split(v, separator any) (any, error) {
	sep, ok := separator.(string)
	if !ok {
		return nil, wrongType("a text to split at", separator)
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		parts := strings.SplitN(v, sep, maxMemory)
		out := make([]any, len(parts))
		for i, p := range parts {
			out[i] = p
		}
		return out, nil
	default:
		return nil, wrongType("text", v)
	}
}

func join(v, separator any) (any, error) {
	sep, ok := separator.(string)
	if !ok {
		return nil, wrongType("a text to join with", separator)
	}
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, wrongType("a list", v)
	}
	var b strings.Builder
	for i, item := range list {
		text, ok := scalarText(item)
		if !ok {
			return nil, wrongType("a list of texts", item)
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(text)
		if b.Len() > maxText {
			return nil, errTooLong
		}
	}
	return b.String(), nil
}

func replace(v, from, to any) (any, error) {
	old, ok1 := from.(string)
	with, ok2 := to.(string)
	if !ok1 || !ok2 {
		return nil, errors.New("it needs texts to replace and to put in")
	}
	if v == nil {
		return nil, nil
	}
	text, ok := v.(string)
	if !ok {
		return nil, wrongType("text", v)
	}
	if len(text)+strings.Count(text, old)*len(with) > maxText {
		return nil, errTooLong
	}
	return strings.ReplaceAll(text, old, with), nil
}

// pick returns a member of an object or an item of a list (the last is -1), or
// nil if there is none.
func pick(v, key any) any {
	switch v := v.(type) {
	case map[string]any:
		if name, ok := key.(string); ok {
			return v[name]
		}
	case []any:
		i, ok := key.(int)
		if i < 0 {
			i += len(v)
		}
		if ok && i >= 0 && i < len(v) {
			return v[i]
		}
	}
	return nil
}

// cut returns a part of a list, or of a text by its characters. Bounds outside
// are moved inside.
func cut(v, from, to any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		runes := []rune(v)
		i, j, err := bounds(len(runes), from, to)
		return string(runes[i:j]), err
	case []any:
		i, j, err := bounds(len(v), from, to)
		return v[i:j], err
	default:
		return nil, wrongType("text or a list", v)
	}
}

func bounds(n int, from, to any) (i, j int, err error) {
	i, j = 0, n
	for _, b := range []struct {
		v  any
		at *int
	}{{from, &i}, {to, &j}} {
		if b.v == nil {
			continue
		}
		k, ok := b.v.(int)
		if !ok {
			return 0, 0, wrongType("a whole number", b.v)
		}
		if k < 0 {
			k += n
		}
		*b.at = max(0, min(k, n))
	}
	return min(i, j), j, nil
}

// add is the operator +, for two numbers or two texts.
func add(a, b any) (any, error) {
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if ok1 != ok2 || a == nil || b == nil {
		return nil, fmt.Errorf("it adds %s to %s", describe(b), describe(a))
	}
	if !ok1 {
		return runtime.Add(a, b), nil
	}
	if len(x)+len(y) > maxText {
		return nil, errTooLong
	}
	return x + y, nil
}

// truth is an operand of not, and, or, and the condition of a choice.
func truth(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	default:
		return nil, wrongType("true or false", v)
	}
}
