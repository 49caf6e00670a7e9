package schema

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
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

// environment is one event as its expressions see it. A value is made when it is read
// first: most expressions read one or two names of thirty.
type environment struct {
	event      event.Event
	data       any
	extensions map[string]any // nil: not made yet
	values     map[string]any // those that were read, by name
	noun       string
}

func newEnvironment(r *Reading) (*environment, *Refusal) {
	data, refusal := dataValue(r)
	if refusal != nil {
		return nil, refusal
	}
	return &environment{event: r.Event, data: data, values: make(map[string]any), noun: noun(r.Type())}, nil
}

// need makes the values of names.
func (env *environment) need(names []string) {
	for _, name := range names {
		if _, made := env.values[name]; !made {
			env.values[name] = env.make(name)
		}
	}
}

// make returns the value of one of the names; nil if the event has none.
func (env *environment) make(name string) any {
	switch name {
	case "data":
		return env.data
	case "extensions":
		return env.all()
	case "id":
		return env.event.ID()
	case "source":
		return env.event.Source()
	case "type":
		return env.event.Type()
	case "subject", "time", "dataschema", "datacontenttype":
		return texts(env.event)[name]
	default:
		return env.all()[name]
	}
}

// all returns the event's extensions.
func (env *environment) all() map[string]any {
	if env.extensions != nil {
		return env.extensions
	}
	env.extensions = make(map[string]any)
	for name, v := range env.event.Extensions() {
		env.extensions[name] = extensionValue(v)
	}
	if _, number := Redialled(env.event); number > 0 {
		env.extensions[redialNumber] = number // which headers have as text
	}
	return env.extensions
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
	env.need(path[:1])
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
