package schema

import (
	"fmt"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Choice is what the routes of a lane make of one event.
type Choice struct {
	Route   int            // that matched, from 0; -1: none
	Request map[string]any // that it made; the caller's own
	Tried   []Tried        // the routes that the event was held against, in their order
}

// Tried is one route that an event was held against.
type Tried struct {
	Type  string // of the route
	When  string // its condition; empty: always
	Fits  bool   // the event's type is one of the route's
	Holds bool   // and its condition holds
	Reads []Read // what the condition reads of the event, if it was looked at
}

// Read is a path into an event, such as data.email, and what is there; nil:
// nothing.
type Read struct {
	Path  string
	Value any
}

// Choose is Request with how it came to that, also beside an error.
func (r *Routes) Choose(e event.Event) (Choice, error) { return NewReading(e).Choose(r) }

// Choose is Routes.Choose of the event.
func (e *Reading) Choose(r *Routes) (c Choice, err error) {
	defer unmade(&err)
	route, env, err := r.find(e, &c)
	if err != nil {
		return c, err
	}
	c.Request, err = route.make(env)
	return c, err
}

// find returns the first route that matches, with what its expressions see, and
// enters into c how it was found.
func (r *Routes) find(e *Reading, c *Choice) (found route, env *environment, err error) {
	c.Route = -1
	known := false
	for i, route := range r.routes {
		c.Tried = append(c.Tried, route.tried())
		last := &c.Tried[i]
		if last.Fits = matchType(route.pattern, e.Type()); !last.Fits {
			continue
		}
		known = true
		if env == nil {
			made, refusal := e.environment()
			if refusal != nil {
				return found, nil, refusal
			}
			env = made
		}
		if last.Holds = true; route.when != nil {
			var refusal *Refusal
			last.Reads = route.when.reads(env)
			if last.Holds, refusal = route.when.condition(env); refusal != nil {
				return found, nil, refusal
			}
		}
		if last.Holds {
			c.Route = i
			return route, env, nil
		}
	}
	if known {
		return found, nil, &Skip{Reason: fmt.Sprintf("No route of this lane applies to this %s: each has a condition that does not hold.", noun(e.Type()))}
	}
	return found, nil, refuse(ClassNoRoute, "type", "This lane has no route for events of type %s.", quote(e.Type()))
}

// tried is the route as Choose tells of it.
func (r route) tried() Tried {
	t := Tried{Type: r.pattern}
	if r.when != nil {
		t.When = r.when.source
	}
	return t
}
