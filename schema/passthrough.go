package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ConversationRequested is the type of an event whose data is the provider's own
// request.
const ConversationRequested = "conversation.requested"

// Bounds of what a publisher may pass through.
const (
	maxPassedDepth = 16        // objects and lists inside each other
	maxPassedSize  = 256 << 10 // bytes of all names and values together
)

// reserved begins the names of what Weir itself writes into requests; believed
// later, as the mark of what was sent.
const reserved = "weir_"

// compilePassthrough checks the fields of data that a route passes through, beside
// its compiled request.
func compilePassthrough(path string, s RouteSource, request value) []error {
	var problems []error
	add := func(i int, why string) {
		problems = append(problems, &RouteError{fmt.Sprintf("%s.passthrough[%d]", path, i), errors.New(why)})
	}
	if len(s.Passthrough) > 0 && s.Type != ConversationRequested {
		problems = append(problems, &RouteError{path + ".passthrough", fmt.Errorf("is for the type %s alone: the data of others is no request", ConversationRequested)})
	}
	for i, name := range s.Passthrough {
		fixed, given := request.object[name]
		switch {
		case name == "":
			add(i, "is empty")
		case slices.Contains(s.Passthrough[:i], name):
			add(i, "is there already")
		case isReserved(name):
			add(i, "is for Weir alone")
		case given && (fixed.kind == literalValue || fixed.kind == listValue):
			add(i, "is fixed by request: leave it out of one of them")
		}
	}
	return problems
}

func isReserved(name string) bool {
	return len(name) >= len(reserved) && strings.EqualFold(name[:len(reserved)], reserved)
}

// passed returns a copy of what the event's data has for the request, or says what
// of it may not be passed: a field that the lane does not list, one that the route
// fixes, Weir's own names, and what is too much.
func (r route) passed(env *environment) (map[string]any, *Refusal) {
	data, ok := env.data.(map[string]any)
	if !ok {
		return nil, refuse(ClassData, "data", "The %s cannot be used as it is: data must be an object.", env.noun)
	}
	var faults []fault
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if !slices.Contains(r.passthrough, name) {
			faults = append(faults, fault{"data" + member(name), "is not passed through by this lane"})
		}
	}
	room := maxPassedSize
	faults = append(faults, foreign("data", data, maxPassedDepth, &room)...)
	if room < 0 {
		faults = append(faults, fault{"data", fmt.Sprintf("is longer than %d bytes", maxPassedSize)})
	}
	faults = append(faults, fixed("data", r.request, data)...)
	if len(faults) > 0 {
		return nil, violation(ConversationRequested, faults)
	}
	copied, err := own(data, 0)
	if err != nil {
		return nil, refuse(ClassData, "data", "The %s cannot be used as it is: %s.", env.noun, err)
	}
	return copied.(map[string]any), nil
}

// foreign finds Weir's own names at any depth, and takes what is there from room.
func foreign(at string, v any, depth int, room *int) []fault {
	if *room < 0 {
		return nil
	}
	if depth == 0 {
		return []fault{{at, "has too many objects and lists inside each other"}}
	}
	var faults []fault
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if isReserved(name) {
				faults = append(faults, fault{at + member(name), "is for Weir alone"})
			}
			*room -= len(name)
			faults = append(faults, foreign(at+member(name), v[name], depth-1, room)...)
		}
	case []any:
		for i, item := range v {
			faults = append(faults, foreign(fmt.Sprintf("%s[%d]", at, i), item, depth-1, room)...)
		}
	case string:
		*room -= len(v)
	case json.Number:
		*room -= len(v)
	}
	*room--
	return faults
}

// fixed finds what the route has said itself. Where it says so by an expression,
// that was made to see the data, and has the last word.
func fixed(at string, request value, data any) []fault {
	switch request.kind {
	case objectValue:
		object, ok := data.(map[string]any)
		if !ok && data != nil {
			return []fault{{at, "must be an object"}}
		}
		var faults []fault
		for name, v := range request.object {
			if item, there := object[name]; there {
				faults = append(faults, fixed(at+member(name), v, item)...)
			}
		}
		return faults
	case literalValue, listValue:
		return []fault{{at, "is fixed by this lane"}}
	}
	return nil
}

// merge adds to a rendered request what is passed and what the route leaves open.
func merge(request value, rendered, data map[string]any) {
	for name, v := range data {
		said, given := request.object[name]
		if !given {
			rendered[name] = v
			continue
		}
		inner, _ := v.(map[string]any)
		if into, ok := rendered[name].(map[string]any); ok && said.kind == objectValue {
			merge(said, into, inner)
		}
	}
}
