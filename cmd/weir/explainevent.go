package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/schema"
)

// What would become of an event.
const (
	resultSent       = "sent"
	resultSuppressed = "suppressed"
	resultExpired    = "expired"
	resultRefused    = "refused"
)

// The steps, in their order.
const (
	stepLane    = "lane"
	stepRead    = "read"
	stepTime    = "time"
	stepData    = "data"
	stepRoute   = "route"
	stepContact = "contact"
	stepRequest = "request"
	stepSend    = "send"
)

// What a step says.
const (
	stepOK   = "ok"
	stepNone = "-" // nothing is configured
)

// explained is what would become of one event.
type explained struct {
	Place   string        `json:"place"`
	ID      string        `json:"id,omitzero"`
	Source  string        `json:"source,omitzero"`
	Type    string        `json:"type,omitzero"`
	Lane    string        `json:"lane,omitzero"`
	Intent  string        `json:"intent,omitzero"`
	Route   *int          `json:"route,omitzero"` // that matched, from 0
	Result  string        `json:"result"`         // sent, suppressed, expired or refused
	Class   string        `json:"class,omitzero"` // of a refusal, as a dead letter has it
	Field   string        `json:"field,omitzero"`
	Pointer string        `json:"pointer,omitzero"` // into the event
	Reason  string        `json:"reason,omitzero"`
	Steps   []explainStep `json:"steps"`
	Routes  []triedRoute  `json:"routes,omitempty"`
	Request *sentRequest  `json:"request,omitzero"`
}

// explainStep is one step: ok, refused or skipped, or - where there is nothing to
// do.
type explainStep struct {
	Step   string `json:"step"`
	Result string `json:"result"`
	Text   string `json:"text"`
}

// triedRoute is a route that the event was held against.
type triedRoute struct {
	Type  string     `json:"type"`
	When  string     `json:"when,omitzero"`
	Fits  bool       `json:"type_matches"`
	Holds bool       `json:"condition_holds"`
	Reads []readPath `json:"reads,omitempty"`
}

// readPath is what a condition reads of the event.
type readPath struct {
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"` // absent: the event has none
}

// sentRequest is the request that would go out.
type sentRequest struct {
	Method string              `json:"method"`
	URL    string              `json:"url"`
	Header map[string][]string `json:"header"`
	Body   json.RawMessage     `json:"body"`
}

// explainer explains events by the lanes of one configuration.
type explainer struct {
	app       *app
	cfg       *config.Config
	publisher *publisher                   // reads files and finds lanes as weir publish does
	clients   map[string]consumer.Provider // by account
	now       time.Time
	ageless   bool // an event's age is not looked at
}

// connect makes the accounts' clients, whose credentials are not known, and
// refuses routes that weir serve would refuse.
func (x *explainer) connect() error {
	x.clients = make(map[string]consumer.Provider)
	var errs []error
	for _, ac := range x.cfg.Accounts {
		client, err := provider(x.app.quiet(), ac)
		if err == nil {
			err = checkRoutes(client, ac)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("account %s: %w", ac.Name, err))
		}
		x.clients[ac.Name] = client
	}
	return errors.Join(errs...)
}

// unreadable explains what is no message at all.
func unreadable(m message, err error) explained {
	q := inquiry{out: explained{Place: m.place}}
	q.take(stepRead, "", err)
	return q.out
}

// explain goes with an event as far as it would come.
func (x *explainer) explain(m message) explained {
	q := &inquiry{explainer: x, m: m, out: explained{Place: m.place, Result: resultSent}}
	for _, s := range []struct {
		name string
		look func() (string, error)
	}{
		{stepLane, q.lane}, {stepRead, q.read}, {stepTime, q.time}, {stepData, q.data},
		{stepRoute, q.route}, {stepContact, q.contact}, {stepRequest, q.request}, {stepSend, q.send},
	} {
		text, err := s.look()
		if !q.take(s.name, text, err) {
			break
		}
	}
	return q.out
}

// inquiry is an event on its way.
type inquiry struct {
	*explainer
	m         message
	ev        event.Event
	account   config.Account
	rules     config.Lane
	screening consumer.Screening
	out       explained
}

// take enters what a step said, and reports whether the event goes on.
func (q *inquiry) take(name, text string, err error) bool {
	s := explainStep{Step: name, Result: stepOK, Text: text}
	switch {
	case err == nil && text == "":
		s.Result, s.Text = stepNone, "none configured"
	case err != nil:
		q.out.Result, q.out.Reason = resultRefused, err.Error()
		s.Result, s.Text = resultRefused, err.Error()
	}
	if skip, ok := errors.AsType[*schema.Skip](err); ok {
		q.out.Result, q.out.Class, s.Result = resultSuppressed, string(skip.Class), "skipped"
	}
	if _, ok := errors.AsType[over](err); ok {
		q.out.Result, s.Result = resultExpired, resultExpired
	}
	if r, ok := errors.AsType[*schema.Refusal](err); ok {
		q.out.Class, q.out.Field, q.out.Pointer, q.out.Reason = string(r.Class), r.Field, r.Pointer(), r.Reason
		s.Text = fmt.Sprintf("%s: %s", r.Class, r.Error())
	}
	q.out.Steps = append(q.out.Steps, s)
	return err == nil
}

// lane finds the event's lane as weir publish does.
func (q *inquiry) lane() (string, error) {
	ev, notEvent := schema.Decode(q.m.header, q.m.body, maxLine)
	name, err := q.publisher.laneOf(q.m, ev, notEvent)
	if err != nil {
		return "", err
	}
	q.account, q.rules, _ = q.publisher.desk.lane(name)
	q.out.Lane = name
	why := "the only lane"
	switch {
	case q.publisher.lane != "":
		why = "by --lane"
	case notEvent != nil && wishedLane(q.m) == name, notEvent == nil && ev.Extensions()["weirlane"] == name:
		why = "by its weirlane"
	}
	if q.rules.Label != name {
		why = q.rules.Label + "; " + why
	}
	return fmt.Sprintf("%s (%s), account %s", name, why, q.account.Name), nil
}

// read reads the event as its lane does.
func (q *inquiry) read() (string, error) {
	ev, err := schema.Decode(q.m.header, q.m.body, int(q.rules.MaxEvent))
	if err != nil {
		return "", err
	}
	q.ev = ev
	q.out.ID, q.out.Source, q.out.Type = ev.ID(), ev.Source(), ev.Type()
	q.out.Intent = consumer.Key(q.out.Lane, ev.Source(), ev.ID())
	text := fmt.Sprintf("event %s from %s, %s; its intent is %s", ev.ID(), ev.Source(), ev.Type(), q.out.Intent)
	switch high, err := schema.High(ev); {
	case err != nil: // the lane itself takes it
		text += "; weir publish and the gateway refuse it: " + err.Error()
	case high:
		text += "; it goes before others (priority high)"
	}
	return text, nil
}

// over is why an event is sent no more.
type over string

func (o over) Error() string { return string(o) }

// time judges how old the event says that it is, and when it says that it may be
// sent.
func (q *inquiry) time() (string, error) {
	life, err := schema.LifetimeOf(q.ev)
	if err != nil {
		return "", err
	}
	if q.ageless {
		return "not judged", nil
	}
	age, err := q.age()
	if err != nil {
		return "", err
	}
	if l := life.NotBefore; !l.IsZero() {
		age += "; not before " + l.Format(time.RFC3339)
		if q.now.Before(l) {
			age += ", so it would wait"
		}
	}
	switch l := life.Expires; {
	case l.IsZero():
		return age, nil
	case !q.now.Before(l):
		return "", over("it expired at " + l.Format(time.RFC3339))
	case !life.NotBefore.Before(l):
		return "", over("it expires at " + l.Format(time.RFC3339) + " and must not be sent before " + life.NotBefore.Format(time.RFC3339))
	default:
		return age + "; it expires at " + l.Format(time.RFC3339), nil
	}
}

// age judges how old the event says that it is.
func (q *inquiry) age() (string, error) {
	if err := consumer.Forgotten(q.ev.Time(), q.now, q.cfg.Ledger.Keep); err != nil {
		return "", err
	}
	if q.ev.Time().IsZero() {
		return "it has no time, so nothing tells if it is too old", nil
	}
	return fmt.Sprintf("%s, not older than the ledger remembers (%v)", q.ev.Time().UTC().Format(time.RFC3339), q.cfg.Ledger.Keep), nil
}

// data holds the data against the schema of its type. What comes after it is found
// in the same go.
func (q *inquiry) data() (string, error) {
	rules, err := contactRules(q.rules)
	if err != nil {
		return "", err
	}
	q.screening = consumer.Screen(q.cfg.Catalog, q.rules.Routes, rules, q.clients[q.account.Name], schema.NewReading(q.ev))
	if q.screening.Station == consumer.StationData {
		return "", q.screening.Err
	}
	if !q.cfg.Catalog.Covers(q.ev.Type()) {
		return "there is no schema for " + q.ev.Type() + ", so nothing was checked", nil
	}
	return "as the schema of " + q.ev.Type() + " asks", nil
}

// route tells of each route that the event was held against.
func (q *inquiry) route() (string, error) {
	c := q.screening.Choice
	for _, r := range c.Tried {
		q.out.Routes = append(q.out.Routes, tried(r))
	}
	if c.Route >= 0 {
		q.out.Route = &c.Route
	}
	if q.screening.Station == consumer.StationRoute {
		return "", q.screening.Err
	}
	return fmt.Sprintf("routes[%d] makes the request", c.Route), nil
}

// tried is a route as it is shown.
func tried(r schema.Tried) triedRoute {
	out := triedRoute{Type: r.Type, When: r.When, Fits: r.Fits, Holds: r.Holds}
	for _, read := range r.Reads {
		p := readPath{Path: read.Path}
		if read.Value != nil {
			p.Value, _ = json.Marshal(read.Value) // it was JSON, or is a number; else it is not shown
		}
		out.Reads = append(out.Reads, p)
	}
	return out
}

// contact tells who may be contacted, and whether now. An event that has to wait is
// none that goes no further.
func (q *inquiry) contact() (string, error) {
	s := q.screening
	switch {
	case s.Station == consumer.StationContact && s.Err != nil:
		return "", s.Err
	case q.rules.Contact == nil:
		return "", nil
	case s.Err != nil:
		return "not judged: there is no request", nil //nolint:nilerr // it is told elsewhere
	case s.Rule == nil:
		return "may be contacted at any time" + q.unasked(), nil
	case q.ageless:
		return "the time of the day is not judged", nil
	}
	switch ruling := s.Rule.Judge(q.out.Intent, q.now); ruling.Verdict {
	case consumer.ContactNever:
		return "", &schema.Skip{Class: schema.ClassContact, Reason: ruling.Reason}
	case consumer.ContactLater:
		return "would wait: " + ruling.Reason, nil
	default:
		return "may be contacted now" + q.unasked(), nil
	}
}

// unasked is what only weir serve can tell.
func (q *inquiry) unasked() string {
	if q.rules.Contact.Counts() {
		return ", unless its person is blocked or was contacted too often, which is asked when it is sent" + calledAgain(q.rules.Contact.Redial)
	}
	return ", unless its person is blocked, which is asked when it is sent"
}

// request makes the request that would go out.
func (q *inquiry) request() (string, error) {
	if q.screening.Err != nil {
		return "", q.screening.Err
	}
	client, ok := q.clients[q.account.Name].(consumer.Previewer)
	if !ok {
		return "it can be made; this provider's client does not show it", nil
	}
	shown, err := client.Preview([]consumer.Item{{Intent: q.out.Intent, Attempt: 1, Request: q.screening.Request}})
	if err != nil {
		return "", err
	}
	q.out.Request = &sentRequest{Method: shown.Method, URL: shown.URL, Header: shown.Header, Body: shown.Body}
	return fmt.Sprintf("%d bytes to %s", len(shown.Body), q.account.Provider), nil
}

// send says whether the lane sends it.
func (q *inquiry) send() (string, error) {
	if !q.rules.Send {
		return "", &schema.Skip{Class: consumer.ClassDryRun, Reason: "dry run: nothing is sent (send: false)"}
	}
	return "when a slot is free, if the ledger does not know the event yet", nil
}

// masked is the explanation without personal data.
func (e explained) masked() explained {
	e.ID, e.Source = schema.Mask(e.ID), schema.Mask(e.Source)
	steps := e.Steps
	e.Steps = nil
	for _, s := range steps {
		s.Text = schema.Mask(s.Text)
		e.Steps = append(e.Steps, s)
	}
	e.Reason = schema.Mask(e.Reason)
	routes := e.Routes
	e.Routes = nil
	for _, r := range routes {
		reads := r.Reads
		r.Reads = nil
		for _, read := range reads {
			if read.Value != nil {
				read.Value = maskedJSON(read.Value)
			}
			r.Reads = append(r.Reads, read)
		}
		e.Routes = append(e.Routes, r)
	}
	if e.Request != nil {
		r := *e.Request
		r.Body = maskedJSON(r.Body)
		e.Request = &r
	}
	return e
}
