package consumer

import (
	"fmt"
	"maps"
	"time"

	"github.com/weirhq/weir/schema"
)

// Station is a step of an event on its way to a request.
type Station string

// The stations, in their order.
const (
	StationData    Station = "data"    // the data, against the schema of its type
	StationRoute   Station = "route"   // the first route that matches makes a request
	StationRequest Station = "request" // the provider's own rules
	StationContact Station = "contact" // who may be contacted at all
)

// Screening is what becomes of an event on its way to a request.
type Screening struct {
	Station Station       // the last one that it came to
	Choice  schema.Choice // from StationRoute on
	Request Request       // if Err is nil
	Rule    Rule          // the same: when it may be sent; nil: at any time
	Err     error         // why it goes no further: a *schema.Refusal or a *schema.Skip
}

// Screen makes the provider's request of an event, or finds why there is none. It
// depends on the event alone: the same event has the same screening each time. A nil
// Contact has no rules.
func Screen(c *schema.Catalog, routes *schema.Routes, rules Contact, p Provider, ev *schema.Reading) Screening {
	s := Screening{Station: StationData, Err: ev.Check(c)}
	if s.Err != nil {
		return s
	}
	s.Station = StationRoute
	if s.Choice, s.Err = ev.Choose(routes); s.Err != nil {
		return s
	}
	s.Station = StationRequest
	request := s.Choice.Request
	if rules != nil {
		if request, s.Err = dialled(rules, p, request); s.Err != nil {
			return s
		}
	}
	if s.Request, s.Err = p.Prepare(request); s.Err != nil || rules == nil {
		return s
	}
	s.Station = StationContact
	s.Rule, s.Err = rules.Rule(ev, s.Request.To)
	return s
}

// dialled is a route's request with the number in its international form.
func dialled(rules Contact, p Provider, request map[string]any) (map[string]any, error) {
	d, ok := p.(Dialer)
	if !ok {
		return request, nil
	}
	field := d.Dials(request)
	text, ok := request[field].(string)
	if !ok {
		return request, nil
	}
	number, err := rules.Number(field, text)
	if err != nil {
		return nil, err
	}
	if number == text {
		return request, nil
	}
	request = maps.Clone(request)
	request[field] = number
	return request, nil
}

// Forgotten refuses an event of a time that the ledger, which keeps entries for
// keep, may have forgotten: nobody can tell whether it was sent before (H20).
func Forgotten(born, now time.Time, keep time.Duration) error {
	if !forgotten(born, now, keep) {
		return nil
	}
	return &schema.Refusal{
		Class:  schema.ClassTooOld,
		Reason: fmt.Sprintf("This event is from %s, too old to know whether it was sent before; publish it as a new one if it is still to be sent.", born.UTC().Format(time.DateOnly)),
	}
}

// forgotten reports whether the ledger may have forgotten what is so old. A day
// less than it keeps makes up for what lies between the judgement and the removal.
func forgotten(born, now time.Time, keep time.Duration) bool {
	return !born.IsZero() && now.Sub(born) > keep-24*time.Hour
}
