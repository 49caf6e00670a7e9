package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Events is what the pages of events read and do.
type Events interface {
	// Find looks for events, and returns them the newest first. What it could not
	// look through in the time that ctx gives is told in Found.Rest.
	Find(ctx context.Context, q Query) (Found, error)
	// Event is all that is known of one.
	Event(ctx context.Context, lane, intent string) (Event, error)
	// Withdraw takes one back before it is sent.
	Withdraw(ctx context.Context, lane, intent string, a Act) (Result, error)
}

// Query says which events are meant: those for which all that is given holds.
type Query struct {
	Lane   string // empty: all
	Word   string // the event's id, or its intent
	Source string // with Word: the event's source
	Person string // a number or an address
	State  string // one of EventStates
	Since  time.Time
}

// Queued is the state of an event that no lane has taken up yet.
const Queued = "queued"

// EventStates are those that an event can be in, in the order of its way.
func EventStates() []string {
	return []string{Queued, "waiting", "started", "created", "ended", "doubt", "dead", "cancelled", "expired", "suppressed"}
}

// StateTone is the colour of an event's state: good, wait, bad or calm.
func StateTone(state string) string {
	switch state {
	case "created", "ended":
		return "good"
	case Queued, "waiting", "started":
		return "wait"
	case "doubt", "dead":
		return "bad"
	default:
		return "calm"
	}
}

// Found is what was found.
type Found struct {
	Events []EventLine
	Rest   string // a sentence: what is not among them, and what to do; empty: all is
}

// EventLine is an event in a list. Nothing of it is personal.
type EventLine struct {
	Lane, Intent     string
	ID, Source, Type string
	State            string
	Reason           string
	Since            time.Time // in this state
}

// Event is what is known of one event. Nothing of it is personal.
type Event struct {
	EventLine

	Place        string // where it lies, or that it is done
	Class        string // of a dead letter or what was suppressed
	Conversation string
	Others       []string // further conversations that it was said to have made
	Channel      string
	Claims       int       // permissions to send
	Doubts       int       // of them, those that came into doubt
	Waits        string    // by cause, in words
	NotBefore    time.Time // not sent before; zero: at any time
	Timeline     []Moment  // the oldest first
	Unread       string    // why not all of the timeline is there; empty: it is
	Named        []Hearsay
	Gone         bool // the event itself is not kept any more
	Content      Content
	Withdrawable bool
	Held         []HeldBy // the contact rules that hold it now
	RedialOf     string   // the id of the event that was called first; empty: it is no redial
	RedialNumber int
	Redials      []Redial // of the first event, this one among them
}

// HeldBy is a contact rule that holds an event, or will stop it.
type HeldBy struct {
	Rule  string
	Until time.Time // zero: it does not end by itself
	Why   string
}

// Redial is one of the calls that follow one that nobody answered.
type Redial struct {
	EventLine

	Number    int
	NotBefore time.Time // of one that has not been called yet
	Result    string    // of one that has ended
}

// eventsPages are the pages of events.
func (c *Console) eventsPages() []entry {
	return []entry{
		{path: "/events", nav: "Events", ofLane: true, show: c.showEvents, act: c.findEvents},
		{path: "/events/{lane}/{intent}", show: c.showEvent, act: c.withdraw},
	}
}

// eventsView is the page of events.
type eventsView struct {
	Find, List form
	Heading    string
	Found      *table
	Rest       string
}

// ages are how far back a list may look.
var ages = []struct {
	word, text string
	age        time.Duration
}{
	{"1h", "the last hour", time.Hour},
	{"24h", "the last 24 hours", 24 * time.Hour},
	{"7d", "the last 7 days", 7 * 24 * time.Hour},
	{"all", "all that is kept", 0},
}

// listForm chooses events by state.
func (c *Console) listForm(lane, state, age string) form {
	states := field{Name: "state", Label: "State", Kind: "select", Options: []option{{"", "any", state == ""}}}
	for _, s := range EventStates() {
		states.Options = append(states.Options, option{s, s, s == state})
	}
	since := field{Name: "age", Label: "Changed within", Kind: "select"}
	for _, a := range ages {
		since.Options = append(since.Options, option{a.word, a.text, a.word == age})
	}
	return form{Action: "/events", Method: "get", Button: "List", Inline: true, Fields: []field{c.laneField("list", lane), states, since}}
}

// findForm looks for events by what may be personal: it stands in no address.
func (c *Console) findForm() form {
	return form{Action: "/events", Button: "Find", Fields: []field{
		{Name: "word", Label: "Event id or intent", Complete: "off", Max: 512},
		{Name: "source", Label: "The event's source", Help: "With the id, if you know it: that finds it at once.", Complete: "off", Max: 512},
		{Name: personField, Label: "Or a person", Help: "A number such as +14155550123, or an e-mail address. It is not kept, logged or shown.", Complete: "off", Max: 254},
		c.laneField("find", ""),
	}}
}

func (c *Console) showEvents(ctx context.Context, v *visit) (view, error) {
	asked := v.URL.Query()
	lane, state, age := laneOf(asked.Get("lane")), asked.Get("state"), asked.Get("age")
	q := Query{Lane: lane}
	for _, s := range EventStates() {
		if s == state {
			q.State = s
		}
	}
	within := ages[0]
	for _, a := range ages {
		if a.word == age {
			within = a
		}
	}
	if within.age > 0 {
		q.Since = time.Now().Add(-within.age)
	}
	found, err := c.desks.Events.Find(ctx, q)
	if err != nil {
		return view{}, err
	}
	return c.eventsPage(eventsView{
		Find: c.findForm(), List: c.listForm(lane, q.State, within.word),
		Heading: "Changed within " + within.text, Found: eventsTable(found), Rest: found.Rest,
	}), nil
}

func (c *Console) eventsPage(shown eventsView) view {
	return view{Template: "events", Title: "Events", Data: shown}
}

// eventsTable lists events.
func eventsTable(found Found) *table {
	t := &table{Caption: "Events, the newest change first", Head: []string{"Event", "State", "Type and source", "Changed", "Why"}, Empty: "No event was found."}
	for _, e := range found.Events {
		t.Rows = append(t.Rows, []cell{
			{Text: dash(clip(e.ID, 60)), Sub: e.Lane, Href: eventHref(e.Lane, e.Intent)},
			{Text: e.State, Class: "tone " + StateTone(e.State)},
			{Text: dash(clip(e.Type, 60)), Sub: clip(e.Source, 60)},
			{Text: clock(e.Since), Class: "nowrap"},
			{Text: dash(clip(e.Reason, 160)), Class: "wide"},
		})
	}
	return t
}

func eventHref(lane, intent string) string {
	return "/events/" + url.PathEscape(lane) + "/" + url.PathEscape(intent)
}

// findEvents shows what is found; of one alone its page. It changes nothing, and is
// a POST so that nobody's number stands in an address.
func (c *Console) findEvents(ctx context.Context, v *visit) (done, error) {
	q := Query{
		Lane: laneOf(v.field("lane")), Word: v.field("word"), Source: v.field("source"), Person: v.field(personField),
	}
	if q.Word == "" && q.Person == "" {
		return c.findAgain(v, Invalid{"word", "Give an id, an intent or a person."}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, findFor)
	defer cancel()
	found, err := c.desks.Events.Find(ctx, q)
	if wrong, ok := wrongForm(err); ok {
		return c.findAgain(v, wrong), nil
	}
	if err != nil {
		return done{}, err
	}
	if len(found.Events) == 1 && found.Rest == "" {
		return done{to: eventHref(found.Events[0].Lane, found.Events[0].Intent)}, nil
	}
	return again(c.eventsPage(eventsView{
		Find: c.findForm(), List: c.listForm(q.Lane, "", ""), Heading: "Found", Found: eventsTable(found), Rest: found.Rest,
	})), nil
}

// findFor is how long events are looked for.
const findFor = 20 * time.Second

func (c *Console) findAgain(v *visit, wrong Invalid) done {
	f := c.findForm()
	f.mark(wrong, v.PostForm)
	shown := c.eventsPage(eventsView{Find: f, List: c.listForm("", "", "")})
	shown.Status = http.StatusUnprocessableEntity
	return again(shown)
}

// eventView is the page of one event.
type eventView struct {
	Event

	Facts    []fact
	Withdraw *form
	Letter   string // the address of its letter or doubt; empty: there is none
	Held     *table // nil: no rule holds it
	Redials  *table // nil: there are none
}

// heldTable lists the rules that hold an event.
func heldTable(held []HeldBy) *table {
	if len(held) == 0 {
		return nil
	}
	t := &table{Caption: "Rules that hold it now, or will stop it when its lane comes to it", Head: []string{"Rule", "Until", "Why"}}
	for _, h := range held {
		t.Rows = append(t.Rows, []cell{{Text: h.Rule}, {Text: clock(h.Until), Class: "nowrap"}, {Text: clip(h.Why, mostFact), Class: "wide"}})
	}
	return t
}

// redialsTable lists the calls that follow one that nobody answered.
func redialsTable(redials []Redial) *table {
	if len(redials) == 0 {
		return nil
	}
	t := &table{Caption: "The calls after the first one", Head: []string{"Redial", "State", "Since", "Not before", "Result"}}
	for _, r := range redials {
		t.Rows = append(t.Rows, []cell{
			{Text: strconv.Itoa(r.Number), Sub: clip(r.ID, 60), Href: eventHref(r.Lane, r.Intent)},
			{Text: r.State, Class: "tone " + r.Tone()}, {Text: clock(r.Since), Class: "nowrap"},
			{Text: clock(r.NotBefore), Class: "nowrap"}, {Text: dash(clip(r.Result, 160)), Class: "wide"},
		})
	}
	return t
}

func (c *Console) showEvent(ctx context.Context, v *visit) (view, error) {
	return c.oneEvent(ctx, v, nil)
}

func (c *Console) oneEvent(ctx context.Context, v *visit, wrong *Invalid) (view, error) {
	lane, intent, err := v.named()
	if err != nil {
		return view{}, err
	}
	e, err := c.desks.Events.Event(ctx, lane, intent)
	if err != nil {
		return view{}, err
	}
	e.Timeline, e.Named, e.Content = clean(e.Timeline), heard(e.Named), e.Content.shown()
	shown := eventView{Event: e, Facts: e.facts(), Held: heldTable(e.Held), Redials: redialsTable(e.Redials)}
	if e.Withdrawable {
		shown.Withdraw = &form{
			Action: eventHref(lane, intent), Button: "Withdraw it", Danger: true,
			Fields: []field{reasonField("withdraw")},
		}
		if wrong != nil {
			shown.Withdraw.mark(*wrong, v.PostForm)
		}
	}
	switch {
	case e.State == "dead" && c.desks.Letters != nil:
		shown.Letter = letterHref(lane, intent)
	case e.State == "doubt" && c.desks.Doubts != nil:
		shown.Letter = doubtHref(lane, intent)
	}
	p := view{Template: "event", Title: "Event " + clip(cmp.Or(e.ID, intent), 60), Crumbs: []crumb{{"Events", "/events"}}, Data: shown}
	if wrong != nil {
		p.Status = http.StatusUnprocessableEntity
	}
	return p, nil
}

// Tone is the colour of its state.
func (e EventLine) Tone() string { return StateTone(e.State) }

// facts are the lines of what is known.
func (e Event) facts() []fact {
	all := []fact{
		{Name: "Where it is", Text: e.Place}, {Name: "Reason", Text: e.Reason}, {Name: "Class", Text: e.Class},
		{Name: "Lane", Text: e.Lane}, {Name: "Event id", Text: e.ID, Class: "mono"}, {Name: "Source", Text: e.Source, Class: "mono"},
		{Name: "Type", Text: e.Type, Class: "mono"}, {Name: "Intent", Text: e.Intent, Class: "mono"},
		{Name: "Conversation", Text: e.Conversation, Class: "mono"}, {Name: "Channel", Text: e.Channel},
		{Name: "Waits so far", Text: e.Waits},
	}
	if e.NotBefore.After(time.Now()) {
		all = append(all, fact{Name: "Not before", Text: clock(e.NotBefore)})
	}
	if e.RedialOf != "" {
		all = append(all, fact{Name: "Redial", Text: fmt.Sprintf("number %d of event %s", e.RedialNumber, e.RedialOf)})
	}
	if e.Claims > 0 {
		all = append(all, fact{Name: "Permissions to send", Text: fmt.Sprintf("%d, of which %d came into doubt", e.Claims, e.Doubts)})
	}
	for _, other := range e.Others {
		all = append(all, fact{Name: "Another conversation", Text: other, Class: "mono odd"})
	}
	return facts(all...)
}

func (c *Console) withdraw(ctx context.Context, v *visit) (done, error) {
	lane, intent, err := v.named()
	if err != nil {
		return done{}, err
	}
	a, err := v.act()
	if wrong, ok := wrongForm(err); ok {
		shown, err := c.oneEvent(ctx, v, &wrong)
		return again(shown), err
	}
	r, err := c.desks.Events.Withdraw(ctx, lane, intent, a)
	if err != nil {
		return done{}, err
	}
	return done{to: eventHref(lane, intent), word: r.word()}, nil
}
