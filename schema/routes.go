package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
)

// RouteSource is one route as weir.yaml has it.
type RouteSource struct {
	Type    string         // event type, or a pattern in which * stands for any text
	When    string         // a condition; empty: always
	Request map[string]any // what the provider is asked; strings may hold ${ expression }
	// Passthrough are the fields of the provider's request that the event's data may
	// give, besides Request; of type conversation.requested only.
	Passthrough []string
}

// Routes are the compiled routes of one lane. They are safe for concurrent use.
type Routes struct {
	routes []route
}

type route struct {
	pattern     string
	when        *expression // nil: always
	request     value
	passthrough []string
}

// RouteError is one thing that is wrong with the routes.
type RouteError struct {
	Path string // in the list of routes: [0].request.toPhoneNumber
	Err  error
}

// Error returns the path and what is wrong there.
func (e *RouteError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *RouteError) Unwrap() error { return e.Err }

// CompileRoutes compiles the routes of one lane. Its error joins every problem,
// each a *RouteError. The package comment describes the expressions.
func CompileRoutes(sources []RouteSource) (*Routes, error) {
	r := &Routes{routes: make([]route, 0, len(sources))}
	var problems []error
	for i, s := range sources {
		compiled, errs := compileRoute(fmt.Sprintf("[%d]", i), s)
		problems = append(problems, errs...)
		r.routes = append(r.routes, compiled)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return r, nil
}

func compileRoute(path string, s RouteSource) (route, []error) {
	out := route{pattern: s.Type, passthrough: s.Passthrough}
	var problems []error
	if strings.TrimSpace(s.Type) == "" {
		problems = append(problems, &RouteError{path + ".type", errors.New("is missing")})
	}
	if strings.TrimSpace(s.When) != "" {
		condition, err := compileCondition(s.When)
		if err != nil {
			problems = append(problems, &RouteError{path + ".when", err})
		}
		out.when = condition
	}
	if len(s.Request) == 0 && len(s.Passthrough) == 0 {
		return out, append(problems, &RouteError{path + ".request", errors.New("is missing")})
	}
	request, errs := compileValue(path+".request", "", s.Request, 0)
	out.request = request
	return out, slices.Concat(problems, errs, compilePassthrough(path, s, request))
}

// compileCondition takes the expression bare or as ${ expression }.
func compileCondition(source string) (*expression, error) {
	source, err := bare(source)
	if err != nil {
		return nil, err
	}
	return compileExpression(source, true)
}

// bare returns an expression that may be written as ${ expression }.
func bare(source string) (string, error) {
	source = strings.TrimSpace(source)
	if !strings.HasPrefix(source, opening) {
		return source, nil
	}
	parts, err := splitText(source)
	if err != nil {
		return "", err
	}
	if len(parts) != 1 || !parts[0].isExpression {
		return "", errors.New("must be one expression")
	}
	return parts[0].text, nil
}

// Request returns the request that the first matching route makes of e, as
// values that the caller owns: map[string]any, []any, string, bool, int,
// float64, json.Number for whole numbers past 64 bits, nil, and what else the
// configuration holds. Its errors are a *Refusal of ClassNoRoute, ClassRequest or,
// of what may not be passed through, ClassData; or a *Skip.
//
// A condition that cannot be judged is a refusal: the routes after it are not
// tried.
func (r *Routes) Request(e event.Event) (map[string]any, error) {
	c, err := r.Choose(e)
	return c.Request, err
}

// Passable returns the *Refusal of an event that its route would pass through and
// may not. Whatever else may be wrong with it is not looked at.
func (r *Routes) Passable(e event.Event) (err error) {
	defer unmade(&err)
	if e.Type() != ConversationRequested {
		return nil
	}
	var c Choice
	route, env, err := r.find(NewReading(e), &c)
	if err != nil || len(route.passthrough) == 0 {
		return nil // it becomes a dead letter, which tells of it
	}
	if _, refusal := route.passed(env); refusal != nil {
		return refusal
	}
	return nil
}

// unmade turns a panic over one event into its refusal.
func unmade(err *error) {
	if p := recover(); p != nil {
		*err = refuse(ClassRequest, "", "The request for this event cannot be made.")
	}
}

// Handles reports whether there is a route for events of this type, whatever its
// condition says of one.
func (r *Routes) Handles(eventType string) bool {
	return slices.ContainsFunc(r.routes, func(route route) bool { return matchType(route.pattern, eventType) })
}

// make renders the route's request, with what is passed through.
func (r route) make(env *environment) (map[string]any, error) {
	var passed map[string]any
	if len(r.passthrough) > 0 {
		var refusal *Refusal
		if passed, refusal = r.passed(env); refusal != nil {
			return nil, refusal
		}
	}
	out, refusal := r.request.render(env)
	if refusal != nil {
		return nil, refusal
	}
	object, ok := out.(map[string]any)
	if !ok {
		return nil, refuse(ClassRequest, "", "The route's request is not an object.")
	}
	merge(r.request, object, passed)
	return object, nil
}

// matchType reports whether an event type matches a pattern. Each piece between
// two stars takes its first place, so nothing is tried twice.
func matchType(pattern, eventType string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == eventType
	}
	rest, ok := strings.CutPrefix(eventType, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}
