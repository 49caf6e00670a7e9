package consumer

import (
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// Station is a step of an event on its way to a request.
type Station string

// The stations, in their order.
const (
	StationData    Station = "data"    // the data, against the schema of its type
	StationRoute   Station = "route"   // the first route that matches makes a request
	StationRequest Station = "request" // the provider's own rules
)

// Screening is what becomes of an event on its way to a request.
type Screening struct {
	Station Station       // the last one that it came to
	Choice  schema.Choice // from StationRoute on
	Request Request       // if Err is nil
	Err     error         // why it goes no further: a *schema.Refusal or a *schema.Skip
}

// Screen makes the provider's request of an event, or finds why there is none. It
// depends on the event alone: the same event has the same screening each time.
func Screen(c *schema.Catalog, routes *schema.Routes, p Provider, ev event.Event) Screening {
	s := Screening{Station: StationData, Err: c.Check(ev)}
	if s.Err != nil {
		return s
	}
	s.Station = StationRoute
	if s.Choice, s.Err = routes.Choose(ev); s.Err != nil {
		return s
	}
	s.Station = StationRequest
	s.Request, s.Err = p.Prepare(s.Choice.Request)
	return s
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
