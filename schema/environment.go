package schema

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	exprtypes "github.com/expr-lang/expr/types"
)

// extensionNames are the extensions that an expression may name directly: those that
// Weir reads, and the documented ones that publishers use. Any other name is
// most likely a slip ("phone" for "data.phone") and an error at load; an
// extension of one's own is extensions.name.
var extensionNames = []string{
	"weirlane", "notbefore", "expirytime", "priority", redialName, redialNumber,
	"traceparent", "tracestate", "partitionkey", "sequence", "dataref",
	"correlationid", "causationid", "causationsource", "recordedtime", "sampledrate", "authid", "authtype",
}

// names are the names that an expression may use, with their types.
var names = func() exprtypes.Map {
	m := exprtypes.Map{
		"data": exprtypes.Any, "extensions": exprtypes.Any,
		"id": exprtypes.String, "source": exprtypes.String, "type": exprtypes.String,
		"subject": exprtypes.Any, "time": exprtypes.Any,
		"dataschema": exprtypes.Any, "datacontenttype": exprtypes.Any,
	}
	for _, name := range extensionNames {
		m[name] = exprtypes.Any
	}
	return m
}()

// environment is one event as its expressions see it.
type environment struct {
	values map[string]any
	noun   string
}

func newEnvironment(r *Reading) (*environment, *Refusal) {
	data, refusal := dataValue(r)
	if refusal != nil {
		return nil, refusal
	}
	e := r.Event
	values := make(map[string]any, len(names))
	for name := range names {
		values[name] = nil
	}
	extensions := map[string]any{}
	for name, v := range e.Extensions() {
		extensions[name] = extensionValue(v)
	}
	if _, number := Redialled(e); number > 0 {
		extensions[redialNumber] = number // which headers have as text
	}
	for _, name := range extensionNames {
		values[name] = extensions[name]
	}
	maps.Copy(values, texts(e))
	values["data"], values["extensions"] = data, extensions
	return &environment{values: values, noun: noun(e.Type())}, nil
}

// extensionValue gives integers the type that they have in data.
func extensionValue(v any) any {
	p, err := plain(v)
	if err != nil {
		return nil
	}
	if n, ok := p.(int32); ok {
		return int(n)
	}
	return p
}

// dataValue returns the data as Go values; text that is not JSON is a string,
// and other bytes are nothing that a route could use.
func dataValue(r *Reading) (any, *Refusal) {
	e := r.Event
	data := e.Data()
	if len(data) == 0 {
		return nil, nil
	}
	if !isJSON(e.DataContentType()) {
		if e.DataBase64 {
			return nil, nil
		}
		return strings.ToValidUTF8(string(data), "\uFFFD"), nil
	}
	v, err := r.json()
	if err != nil {
		return nil, refuse(ClassRequest, "data", "The %s cannot be read: its data is not JSON (%s).", noun(e.Type()), err)
	}
	return withNumbers(v), nil
}

// withNumbers returns v with an int or float64 for each json.Number; what has some is
// copied. A number that neither can hold stays as it is, so that a long id keeps its
// digits.
func withNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if !hasNumbers(v) {
			return v
		}
		out := make(map[string]any, len(v))
		for name, item := range v {
			out[name] = withNumbers(item)
		}
		return out
	case []any:
		if !hasNumbers(v) {
			return v
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = withNumbers(item)
		}
		return out
	case json.Number:
		text := v.String()
		if !strings.ContainsAny(text, ".eE") {
			if n, err := strconv.Atoi(text); err == nil {
				return n
			}
			return v
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(f, 0) {
			return f
		}
	}
	return v
}

// hasNumbers reports whether there is a json.Number in v.
func hasNumbers(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if hasNumbers(item) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasNumbers)
	case json.Number:
		return true
	}
	return false
}

// lookup follows a plain path.
func (env *environment) lookup(path []string) any {
	v := env.values[path[0]]
	for _, name := range path[1:] {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}
