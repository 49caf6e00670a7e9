package schema

import (
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
)

// Lifetime is when an event may be sent by its own word, in UTC.
type Lifetime struct {
	NotBefore time.Time // of its notbefore; zero: at once
	Expires   time.Time // of its expirytime; zero: never
}

// LifetimeOf reads the attributes notbefore and expirytime. The error is a *Refusal
// that names the one which is no time.
func LifetimeOf(e event.Event) (l Lifetime, err error) {
	var r *Refusal
	if l.NotBefore, r = timeAttribute(e, "notbefore"); r == nil {
		l.Expires, r = timeAttribute(e, "expirytime")
	}
	if r != nil {
		return Lifetime{}, r
	}
	return l, nil
}

// timeAttribute reads an extension that is a time; zero if the event has none.
func timeAttribute(e event.Event, name string) (time.Time, *Refusal) {
	value, ok := e.Extensions()[name]
	if !ok {
		return time.Time{}, nil
	}
	text, err := types.Format(value)
	if err == nil {
		if t, ok := parseTime(text); ok && !t.IsZero() {
			return t, nil
		}
	}
	return time.Time{}, refuse(ClassUndecodable, name, "The event's %s %s is not a time such as 2026-01-31T09:30:00Z.", name, quote(text))
}
