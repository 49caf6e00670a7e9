package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/console"
	"github.com/weirhq/weir/internal/contact"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/schema"
)

// eventsDesk is what the console's pages of events read and do.
type eventsDesk struct {
	*pagesDesk
	register *register.Register
}

// mostFound is how many events a page shows.
const mostFound = 200

// finding gathers events, the newest.
type finding struct {
	most  int
	lines []console.EventLine
	total int
	read  int
	cut   bool // not all was read
}

func (f *finding) add(l console.EventLine) {
	f.total++
	if f.lines = append(f.lines, l); len(f.lines) >= 4*f.most {
		f.settle()
	}
}

// settle leaves the newest, each once.
func (f *finding) settle() {
	slices.SortStableFunc(f.lines, func(a, b console.EventLine) int { return b.Since.Compare(a.Since) })
	seen := make(map[string]bool)
	f.lines = slices.DeleteFunc(f.lines, func(l console.EventLine) bool {
		again := seen[l.Lane+l.Intent]
		seen[l.Lane+l.Intent] = true
		return again
	})
	f.lines = f.lines[:min(len(f.lines), f.most)]
}

// found is what was gathered.
func (f *finding) found(advice string) console.Found {
	f.settle()
	out := console.Found{Events: f.lines}
	switch {
	case f.cut:
		out.Rest = fmt.Sprintf("Not all was looked through in the time that a page has: %d events were read. %s", f.read, advice)
	case f.total > len(f.lines) && len(f.lines) == f.most:
		out.Rest = fmt.Sprintf("The newest %d are shown. %s", f.most, advice)
	}
	return out
}

// lineOf is an entry of the ledger in a list.
func lineOf(in consumer.Intent, at time.Time) console.EventLine {
	return console.EventLine{
		Lane: in.Lane, Intent: in.Key, ID: schema.Mask(in.ID), Source: schema.Mask(in.Source), Type: schema.Mask(in.Type),
		State: string(in.State), Reason: schema.Mask(in.Reason), Since: at,
	}
}

// lineOfSought is an event that was asked for by name.
func lineOfSought(s sought) console.EventLine {
	if s.now.State != consumer.Absent {
		at := s.now.First
		if n := len(s.now.History); n > 0 {
			at = s.now.History[n-1].At
		}
		return lineOf(s.now, at)
	}
	l := console.EventLine{Lane: s.lane, Intent: s.intent, ID: schema.Mask(s.id), Source: schema.Mask(s.source), State: console.Queued}
	if s.queued != nil {
		l.Since = s.queued.Since
	}
	return l
}

// Find implements console.Events.
func (d *eventsDesk) Find(ctx context.Context, q console.Query) (console.Found, error) {
	f := &forgetting{desk: d.desk}
	lanes, err := f.everyLane(ctx, q.Lane)
	if _, wrong := errors.AsType[usageError](err); wrong {
		return console.Found{}, console.Absent{Text: "There is no lane of that name.", Next: "Choose another one."}
	}
	if err != nil {
		return console.Found{}, forConsole(err)
	}
	if q.Word != "" && q.Person != "" {
		return console.Found{}, console.Invalid{Field: "person", Text: "Give either an id or a person."}
	}
	if q.Word != "" && q.Source != "" {
		return d.findNamed(ctx, lanes, q.Source, q.Word)
	}
	if key, err := uuid.Parse(q.Word); err == nil && len(q.Word) == 36 {
		found, err := d.findKeys(ctx, lanes, func(string) string { return key.String() })
		if err != nil || len(found.Events) > 0 {
			return found, err
		}
	}
	within, done, err := d.looking(ctx)
	if err != nil {
		return console.Found{}, err
	}
	defer done()
	found := &finding{most: mostFound}
	advice := "Choose a lane, or a shorter time."
	switch {
	case q.Person != "":
		advice = "Choose a lane."
		err = d.findPerson(ctx, within, found, lanes, q.Person)
	case q.Word != "":
		advice = "Give the event's source as well: that finds it at once."
		err = d.findID(within, found, lanes, q.Word)
	case q.State == console.Queued:
		advice = "Choose a lane."
		err = d.findQueued(within, found, lanes, "")
	default:
		err = d.findState(within, found, lanes, func(in consumer.Intent) bool { return q.State == "" || string(in.State) == q.State }, q.Since)
	}
	if ranOut(within, err) && found.read > 0 {
		found.cut, err = true, nil
	}
	if _, wrong := errors.AsType[console.Invalid](err); wrong {
		return console.Found{}, err
	}
	return found.found(advice), forConsole(err)
}

// seekOne looks for an intent in the ledger, then, for a part of the time that there
// is, among the events that nobody has taken up.
func (d *eventsDesk) seekOne(ctx context.Context, lane, intent string) (sought, error) {
	ctx, done, err := d.looking(ctx)
	if err != nil {
		return sought{}, err
	}
	defer done()
	s, err := d.seekIn(ctx, lane, intent)
	if err != nil && ctx.Err() != nil && !broker.Away(err) {
		return s, console.Denied{Text: "The lane has too many events to look through for one that the ledger does not know.", Next: "Try again when they are fewer."}
	}
	return s, forConsole(err)
}

// findKeys looks for one intent a lane.
func (d *eventsDesk) findKeys(ctx context.Context, lanes []string, key func(lane string) string) (console.Found, error) {
	var out console.Found
	for _, lane := range lanes {
		s, err := d.seekOne(ctx, lane, key(lane))
		if err != nil {
			return out, err
		}
		if s.known() {
			out.Events = append(out.Events, lineOfSought(s))
		}
	}
	return out, nil
}

func (d *eventsDesk) findNamed(ctx context.Context, lanes []string, source, id string) (console.Found, error) {
	source, id, err := schema.Identity(source, id)
	if err != nil {
		return console.Found{}, console.Invalid{Field: "source", Text: sentence(err.Error())}
	}
	return d.findKeys(ctx, lanes, func(lane string) string { return consumer.Key(lane, source, id) })
}

// findState looks through the ledger.
func (d *eventsDesk) findState(ctx context.Context, f *finding, lanes []string, take func(consumer.Intent) bool, since time.Time) error {
	for _, lane := range lanes {
		for e, err := range d.ledger.Scan(ctx, lane, since) {
			if errors.Is(err, consumer.ErrStrange) {
				continue // weir serve has stopped the lane for it, and says so
			}
			if err != nil {
				return err
			}
			if f.read++; take(e.Intent) {
				f.add(lineOf(e.Intent, e.Written))
			}
		}
	}
	return nil
}

// findID looks for an id, whatever the source: in the ledger, and among what nobody
// has taken up.
func (d *eventsDesk) findID(ctx context.Context, f *finding, lanes []string, id string) error {
	if err := d.findState(ctx, f, lanes, func(in consumer.Intent) bool { return in.ID == id }, noTime); err != nil {
		return err
	}
	return d.findQueued(ctx, f, lanes, id)
}

// findQueued looks for events that no lane has taken up, of an id if one is given. It
// finds the oldest.
func (d *eventsDesk) findQueued(ctx context.Context, f *finding, lanes []string, id string) error {
	for _, lane := range lanes {
		n := 0
		for at, err := range d.broker.Unsent(ctx, lane) {
			if err != nil {
				return err
			}
			f.read++
			if n == f.most {
				f.cut = true
				break
			}
			ev, err := schema.Decode(at.Header, at.Data, max(len(at.Data), 1))
			if err != nil || at.Intent != "" || id != "" && ev.ID() != id {
				continue // it becomes a dead letter; or the ledger knows it
			}
			s := sought{lane: lane, intent: consumer.Key(lane, ev.Source(), ev.ID()), source: ev.Source(), id: ev.ID(), queued: &broker.Found{Since: at.Since}}
			if s.now, _, err = d.ledger.Load(ctx, lane, s.intent); err != nil {
				return err
			}
			if s.now.State == consumer.Absent {
				l := lineOfSought(s)
				l.Type = schema.Mask(ev.Type())
				f.add(l)
				n++
			}
		}
	}
	return nil
}

// findPerson looks for a person wherever data of theirs may be kept, within a time of
// its own, and then for what became of each event.
func (d *eventsDesk) findPerson(ctx, within context.Context, f *finding, lanes []string, text string) error {
	found := make(events)
	looks := &forgetting{desk: d.desk, p: quietly()}
	var err error
	for _, lane := range lanes {
		var p register.Person
		if p, err = register.ParsePerson(text, d.region(lane)); err != nil {
			return console.Invalid{Field: "person", Text: sentence(err.Error())}
		}
		if err = looks.search(within, found, []string{lane}, contact.Reached(string(p)), ""); err != nil {
			break
		}
	}
	f.read = looks.read
	if errors.Is(err, errMoreToForget) {
		f.cut, err = true, nil
	}
	if ranOut(within, err) && looks.read > 0 {
		f.cut, err = true, nil
	}
	if err != nil {
		return err
	}
	for lane, keys := range found {
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			s := sought{lane: lane, intent: key}
			if s.now, _, err = d.ledger.Load(ctx, lane, key); err != nil {
				return err
			}
			f.add(lineOfSought(s))
		}
	}
	return nil
}

// Event implements console.Events.
func (d *eventsDesk) Event(ctx context.Context, lane, intent string) (console.Event, error) {
	s, err := d.seekOne(ctx, lane, intent)
	if err != nil {
		return console.Event{}, err
	}
	if !s.known() {
		return console.Event{}, noSuchEvent
	}
	e, err := d.event(ctx, asking{lg: d.lg, register: func(context.Context) (*register.Register, error) { return d.register, nil }}, s, false)
	if err != nil {
		return console.Event{}, forConsole(err)
	}
	out := console.Event{
		EventLine: console.EventLine{
			Lane: e.Lane, Intent: e.Intent, ID: e.ID, Source: e.Source, Type: e.Type, State: string(e.State), Reason: e.Reason, Since: e.Since,
		},
		Place: sentence(e.Place), Class: e.Class, Conversation: e.Conversation, Others: e.Others, Channel: e.Channel,
		Claims: e.Claims, Doubts: e.Attempts, Waits: waits(e.Waits), NotBefore: e.NotBefore,
		Gone: e.Gone, Content: contentForConsole(e.content), Named: hearsayForConsole(s.now.Named),
		Withdrawable: s.now.State == consumer.Absent || s.now.State == consumer.Waiting,
	}
	if e.Unread != "" {
		out.Unread = "Not all outcomes could be read: " + sentence(e.Unread)
	}
	out.Timeline = timelineForConsole(s, e.Outcomes)
	for _, h := range e.Held {
		out.Held = append(out.Held, console.HeldBy{Rule: h.Rule, Until: h.Until, Why: h.Why})
	}
	for _, r := range e.Redials {
		out.Redials = append(out.Redials, console.Redial{
			EventLine: console.EventLine{Lane: e.Lane, Intent: r.Intent, ID: r.ID, State: string(r.State), Since: r.Since},
			Number:    r.Number, NotBefore: r.At, Result: schema.Mask(r.Result),
		})
	}
	out.RedialOf, out.RedialNumber = e.RedialOf, e.RedialNumber
	return out, nil
}

// noSuchEvent is that nobody knows an event.
var noSuchEvent = console.Absent{Text: "No lane knows this event.", Next: "It was not published, or it is forgotten; look for it on the page of events."}

// timelineForConsole is what is known of an event's way, from its publication on.
func timelineForConsole(s sought, told []broker.Told) []console.Moment {
	var all []console.Moment
	born := s.now.Born
	if s.queued != nil {
		born = s.queued.Since
	}
	if !born.IsZero() {
		what := "published"
		if s.now.N > 1 {
			what = "published, or ordered by a person to be sent again"
		}
		all = append(all, console.Moment{At: born, What: what})
	}
	if n := len(s.now.History); n > 0 && s.now.History[0].N > 1 {
		all = append(all, console.Moment{At: s.now.First, What: "first seen", Reason: fmt.Sprintf("The %d steps after that are not remembered.", s.now.History[0].N-1)})
	}
	for _, t := range s.now.History {
		all = append(all, console.Moment{At: t.At, What: string(t.State), Tone: console.StateTone(string(t.State)), By: t.By, Reason: schema.Mask(t.Reason)})
	}
	for _, o := range told {
		all = append(all, console.Moment{At: o.At, What: "the publisher was told: " + o.Kind})
	}
	slices.SortStableFunc(all, func(a, b console.Moment) int { return a.At.Compare(b.At) })
	return all
}

// hearsayForConsole is what webhooks said.
func hearsayForConsole(named []consumer.Named) (all []console.Hearsay) {
	for _, n := range named {
		all = append(all, console.Hearsay{Conversation: n.Conversation, Why: schema.Mask(n.Why), At: n.At})
	}
	return all
}

// Withdraw implements console.Events.
func (d *eventsDesk) Withdraw(ctx context.Context, lane, intent string, a console.Act) (console.Result, error) {
	s, err := d.seekOne(ctx, lane, intent)
	if err != nil {
		return console.Result{}, err
	}
	if !s.known() {
		return console.Result{}, noSuchEvent
	}
	w, err := d.cancel(ctx, s, decided(a), false)
	if err != nil {
		return console.Result{}, forConsole(err)
	}
	if w.Withdrawn {
		return console.Result{Done: true, Text: "The event is withdrawn; nobody is called."}, nil
	}
	return console.Result{Text: "The event was not withdrawn: " + sentence(w.Result)}, nil
}
