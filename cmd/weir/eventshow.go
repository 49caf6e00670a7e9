package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// eventShowCmd is weir event show.
type eventShowCmd struct {
	eventNames
	Reveal bool `help:"Show the event as it came, personal data included."`
}

// eventShown is what is known of one event.
type eventShown struct {
	Lane         string         `json:"lane"`
	Intent       string         `json:"intent"`
	State        consumer.State `json:"state"` // by the ledger; queued: not taken up yet
	Settled      bool           `json:"settled"`
	Since        time.Time      `json:"since,omitzero"`
	Source       string         `json:"source,omitzero"`
	ID           string         `json:"id,omitzero"`
	Type         string         `json:"type,omitzero"`
	Conversation string         `json:"conversation,omitzero"`
	Channel      string         `json:"channel,omitzero"`
	Others       []string       `json:"other_conversations,omitempty"`
	Claims       int            `json:"claims"`
	Attempts     int            `json:"attempts"` // that came into doubt
	Waits        map[string]int `json:"waits,omitempty"`
	NotBefore    time.Time      `json:"not_before,omitzero"`
	Class        string         `json:"class,omitzero"`
	Reason       string         `json:"reason,omitzero"`
	Forgotten    time.Time      `json:"forgotten,omitzero"`
	Place        string         `json:"place"`                  // where it lies
	Held         []heldRule     `json:"held,omitempty"`         // by contact rules, as of now
	Next         []string       `json:"next,omitempty"`         // commands
	RedialOf     string         `json:"redial_of,omitzero"`     // the event that was called first
	RedialNumber int            `json:"redial_number,omitzero"` // the how manyeth redial it is
	Redials      []redialShown  `json:"redials,omitempty"`      // of the first event, this one among them
	Timeline     []moment       `json:"timeline,omitempty"`
	Outcomes     []broker.Told  `json:"outcomes"`
	Unread       string         `json:"outcomes_unread,omitzero"` // why not all of them are there
	Gone         bool           `json:"event_gone,omitzero"`      // the event itself is not kept any more
	content

	ordered bool // a person ordered the letter to be sent again
}

// stateQueued is that of an event which no lane has taken up yet.
const stateQueued consumer.State = "queued"

// Run shows what became of events.
func (c *eventShowCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		found, missing := d.seek(a.ctx, c.eventNames)
		shown := make([]eventShown, 0, len(found))
		for _, s := range found {
			if !s.known() {
				missing = errors.Join(missing, fmt.Errorf("lane %s knows no event %s of %s: it was not published, or it is forgotten", s.lane, clean(s.id), clean(s.source)))
				continue
			}
			e, err := d.event(a.ctx, a.asking(d), s, c.Reveal)
			if err != nil {
				return err
			}
			shown = append(shown, e)
		}
		return errors.Join(a.print(shown, func(w io.Writer) {
			for i, e := range shown {
				if i > 0 {
					fmt.Fprintln(w)
				}
				e.draw(w)
			}
		}), missing)
	})
}

// event gathers what is known of one event.
func (d *desk) event(ctx context.Context, a asking, s sought, reveal bool) (eventShown, error) {
	e := eventShown{Lane: s.lane, Intent: s.intent, Source: s.source, ID: s.id, State: stateQueued, Outcomes: []broker.Told{}}
	var found *broker.Found
	var err error
	if s.queued != nil {
		found, e.Since = s.queued, s.queued.Since
		if ev, err := schema.Decode(found.Header, found.Data, 0); err == nil {
			e.Type = ev.Type()
		}
		e.Place = "in the lane's stream; no weir serve has taken it up yet"
		e.Next = []string{"weir event cancel " + s.intent + " --reason TEXT"}
	} else {
		e.tell(s.now)
		if found, err = d.place(ctx, s.now, &e); err != nil {
			return e, err
		}
		if e.Redials, err = d.redials(ctx, s.now); err != nil {
			return e, err
		}
		told, err := d.broker.Outcomes(ctx, s.lane, s.intent, s.now.First.Add(-time.Hour))
		if e.Outcomes = append(e.Outcomes, told...); err != nil {
			e.Unread = err.Error()
		}
	}
	if found != nil {
		e.content = contentOf(found.Header, found.Data, reveal)
	}
	if found != nil && (s.queued != nil || s.now.State == consumer.Waiting || e.ordered) {
		e.Held = d.heldBy(ctx, a, &e, s.now, found)
	}
	e.Gone = found == nil
	for _, t := range s.now.History {
		if !e.Forgotten.IsZero() && t.At.Equal(e.Forgotten) {
			e.Place += fmt.Sprintf("; forgotten by %s: %s", t.By, t.Reason)
		}
	}
	if !reveal {
		for i, h := range e.Held {
			e.Held[i].Why = schema.Mask(h.Why)
		}
		e.Source, e.ID, e.Type, e.Reason, e.RedialOf = schema.Mask(e.Source), schema.Mask(e.ID), schema.Mask(e.Type), schema.Mask(e.Reason), schema.Mask(e.RedialOf)
		for i, r := range e.Redials {
			e.Redials[i].ID = schema.Mask(r.ID)
		}
		for i, t := range e.Timeline {
			e.Timeline[i].Reason = schema.Mask(t.Reason)
		}
	}
	return e, nil
}

// tell takes over what the ledger says.
func (e *eventShown) tell(in consumer.Intent) {
	e.State, e.Settled, e.Type = in.State, in.Settled(), in.Type
	e.Conversation, e.Channel, e.Others = in.Conversation, in.Channel, in.Others
	e.Claims, e.Attempts, e.Waits, e.NotBefore = in.Claims, in.Attempts, in.Waits, in.NotBefore
	e.Class, e.Reason, e.Timeline, e.Forgotten = in.Class, in.Reason, timeline(in), in.Forgotten
	e.RedialOf, e.RedialNumber = in.RedialOf, in.Redial
	if n := len(e.Timeline); n > 0 {
		e.Since = e.Timeline[n-1].At
	}
}

// place says where an event lies and what can be done about it, and returns it if
// it is still there.
func (d *desk) place(ctx context.Context, in consumer.Intent, e *eventShown) (*broker.Found, error) {
	switch in.State {
	case consumer.Waiting:
		e.Next = []string{"weir event cancel " + in.Key + " --reason TEXT"}
		if in.Later {
			f, err := d.broker.Scheduled(ctx, in.Lane, in.Key)
			if err == nil {
				e.Place = "postponed until " + when(f.Due)
				return &f, nil
			}
			if !errors.Is(err, consumer.ErrGone) {
				return nil, err
			}
			e.Place = "postponed, and due now; one that does not come is brought back within an hour"
			break
		}
		e.Place = "in the lane's stream, to be tried again"
		if in.NotBefore.After(time.Now()) {
			e.Place += " at " + when(in.NotBefore)
		}
	case consumer.Started:
		e.Place = "being sent; where its process has died, a doubt in a minute"
	case consumer.Created:
		e.Place = "done; the end of its conversation is not known yet"
	case consumer.Dead, consumer.Doubt:
		return d.placeLetter(ctx, in, e)
	default:
		e.Place = "done"
	}
	return d.origin(ctx, in)
}

// placeLetter is place for what waits for a person.
func (d *desk) placeLetter(ctx context.Context, in consumer.Intent, e *eventShown) (*broker.Found, error) {
	e.Place = "a dead letter: it will not be tried again by itself"
	e.Next = []string{"weir dead replay " + in.Key + " --reason TEXT", "weir dead drop " + in.Key + " --reason TEXT"}
	switch {
	case in.State == consumer.Doubt && in.Open:
		e.Place, e.Next = "in doubt; it settles itself", []string{"weir doubt resolve " + in.Key + " …"}
	case in.State == consumer.Doubt:
		e.Place, e.Next = "in doubt: a person must find out whether the call was placed", []string{"weir doubt show " + in.Key, "weir doubt resolve " + in.Key + " …"}
	}
	o, err := d.broker.Ordered(ctx, in.Lane, in.Key)
	if err != nil {
		return nil, err
	}
	if o != nil && o.Expect == in.N {
		e.ordered = true
		e.Place += fmt.Sprintf("; to be sent again, by %s: %s", o.By, o.Reason)
		if f, err := d.broker.Scheduled(ctx, in.Lane, in.Key); err == nil {
			e.Place += "; the order waits until " + when(f.Due)
			return &f, nil
		}
	}
	l, err := d.broker.Letter(ctx, in.State, in.Lane, in.Key)
	if errors.Is(err, broker.ErrNoLetter) {
		return d.origin(ctx, in)
	}
	if err != nil {
		return nil, err
	}
	return &broker.Found{Header: l.Header, Data: l.Data}, nil
}

// origin is the event in the lane's stream, as long as it is there.
func (d *desk) origin(ctx context.Context, in consumer.Intent) (*broker.Found, error) {
	if in.Sequence == 0 {
		return nil, nil //nolint:nilnil // nobody knows where it was
	}
	f, err := d.broker.EventAt(ctx, in.Lane, in.Sequence)
	switch {
	case errors.Is(err, consumer.ErrGone):
		return nil, nil //nolint:nilnil // it was purged
	case err != nil:
		return nil, err
	case !f.Is(in.Lane, in.Key): // the stream was made anew
		return nil, nil //nolint:nilnil // as above
	}
	return &f, nil
}

// draw shows the event to a person.
func (e eventShown) draw(w io.Writer) {
	for _, field := range [][2]string{
		{"lane", e.Lane}, {"intent", e.Intent},
		{"event id", or(e.ID)}, {"event source", or(e.Source)}, {"event type", or(e.Type)},
		{"state", fmt.Sprintf("%s since %s", e.State, when(e.Since))}, {"place", e.Place},
		{"reason", e.Reason}, {"class", e.Class}, {"conversation", e.Conversation}, {"channel", e.Channel},
		{"others", strings.Join(e.Others, ", ")}, {"waits", waits(e.Waits)},
	} {
		if field[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", field[0], clean(field[1]))
		}
	}
	for _, h := range e.Held {
		until := ""
		if !h.Until.IsZero() {
			until = " until " + when(h.Until)
		}
		fmt.Fprintf(w, "held by\t%s%s: %s\n", h.Rule, until, clean(h.Why))
	}
	if e.Claims > 0 {
		fmt.Fprintf(w, "claims\t%d, of which %d in doubt\n", e.Claims, e.Attempts)
	}
	if e.RedialNumber > 0 {
		fmt.Fprintf(w, "redial\tnumber %d of %s\n", e.RedialNumber, clean(e.RedialOf))
	}
	for _, r := range e.Redials {
		r.draw(w)
	}
	for _, command := range e.Next {
		fmt.Fprintf(w, "next\t%s\n", command)
	}
	for _, t := range e.Timeline {
		t.draw(w)
	}
	for _, t := range e.Outcomes {
		fmt.Fprintf(w, "outcome\t%s  %s\n", when(t.At), t.Kind)
	}
	if e.Unread != "" {
		fmt.Fprintf(w, "outcomes\tnot all were read: %s\n", clean(e.Unread))
	}
	if e.Gone {
		fmt.Fprintln(w, "\nThe event itself is not kept any more.")
		return
	}
	e.content.draw(w)
}

// waits are the causes of the waits, each with its number.
func waits(counts map[string]int) string {
	var all []string
	for _, cause := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, cause+" "+strconv.Itoa(counts[cause])+"x")
	}
	return strings.Join(all, ", ")
}
