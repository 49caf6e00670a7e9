package schema

import (
	"slices"

	"github.com/cloudevents/sdk-go/v2/event"
)

// Reading is an event whose data is parsed once, however many rules look at it: its
// schemas, the routes, who agreed to be contacted, what time it is there, the digest.
// It is for one goroutine at a time; what it gives of the data must not be changed.
type Reading struct {
	event.Event

	parsed bool
	value  any // of data, as parseJSON has it
	err    error

	env     *environment
	refusal *Refusal // why there is none
}

// NewReading returns an event to be looked at several times.
func NewReading(e event.Event) *Reading { return &Reading{Event: e} }

// json returns the value of data that is JSON.
func (r *Reading) json() (any, error) {
	if !r.parsed {
		r.parsed = true
		r.value, r.err = parseJSON(r.Data(), maxDepth)
	}
	return r.value, r.err
}

// environment is the event as expressions see it. They change nothing of it.
func (r *Reading) environment() (*environment, *Refusal) {
	if r.env == nil && r.refusal == nil {
		r.env, r.refusal = newEnvironment(r)
	}
	return r.env, r.refusal
}

// appendNames appends the names of an object to none, in their order.
func appendNames[V any](none []string, object map[string]V) []string {
	for name := range object {
		none = append(none, name)
	}
	slices.Sort(none)
	return none
}
