package console_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/console"
)

// hostile is a text that no page may take for anything else.
const hostile = `<script>alert(1)</script>" onmouseover="x` + "\u202e\U0001f600"

// key is an intent's.
const key = "0f9e2f8a-df49-5c24-83a2-b9fd8d1f44a7"

// pagesDesk is a desk in memory for the pages beside those of lanes. What it is told
// to do it notes down; what it is asked, too.
type pagesDesk struct {
	err    error // of everything
	asked  []string
	acts   []string
	lines  []console.EventLine
	rest   string
	event  console.Event
	list   console.LetterList
	letter console.Letter
	fates  console.Fates
	result console.Result
	blocks console.BlockList
	person console.Contact
	told   console.UndeliveredList
	config console.Configuration
}

func (d *pagesDesk) ask(format string, args ...any) {
	d.asked = append(d.asked, fmt.Sprintf(format, args...))
}

func (d *pagesDesk) act(format string, args ...any) (console.Result, error) {
	if d.err == nil {
		d.acts = append(d.acts, fmt.Sprintf(format, args...))
	}
	return d.result, d.err
}

func (d *pagesDesk) Find(_ context.Context, q console.Query) (console.Found, error) {
	since := "ever"
	if !q.Since.IsZero() {
		since = time.Since(q.Since).Round(time.Minute).String()
	}
	d.ask("find lane=%s word=%s source=%s person=%s state=%s since=%s", q.Lane, q.Word, q.Source, q.Person, q.State, since)
	return console.Found{Events: d.lines, Rest: d.rest}, d.err
}

func (d *pagesDesk) Event(_ context.Context, lane, intent string) (console.Event, error) {
	d.ask("event %s %s", lane, intent)
	return d.event, d.err
}

func (d *pagesDesk) Withdraw(_ context.Context, lane, intent string, a console.Act) (console.Result, error) {
	return d.act("withdraw %s %s by %s: %s", lane, intent, a.By, a.Reason)
}

func (d *pagesDesk) Letters(_ context.Context, f console.LetterFilter, from, most int) (console.LetterList, error) {
	d.ask("letters %+v from %d", f, from)
	list := d.list
	list.Letters = list.Letters[min(from, len(list.Letters)):]
	list.Letters = list.Letters[:min(most, len(list.Letters))]
	return list, d.err
}

func (d *pagesDesk) Letter(_ context.Context, lane, intent string) (console.Letter, error) {
	d.ask("letter %s %s", lane, intent)
	return d.letter, d.err
}

func (d *pagesDesk) Preview(_ context.Context, verb console.Verb, f console.LetterFilter) (console.Fates, error) {
	d.ask("preview %s %+v", verb, f)
	return d.fates, d.err
}

func (d *pagesDesk) Do(_ context.Context, verb console.Verb, seen []console.Step, a console.Act) (console.Fates, error) {
	_, err := d.act("%s %v by %s: %s", verb, seen, a.By, a.Reason)
	return d.fates, err
}

func (d *pagesDesk) DoOne(_ context.Context, verb console.Verb, at console.Step, event string, a console.Act) (console.Result, error) {
	if strings.Contains(event, "refused") {
		return console.Result{}, console.Invalid{Field: "event", Text: "The event would be refused: data.phone."}
	}
	return d.act("%s %v with %q by %s: %s", verb, at, event, a.By, a.Reason)
}

// doubts is the desk for doubts.
type doubts struct{ *pagesDesk }

func (d doubts) Doubts(ctx context.Context, lane string, from, most int) (console.LetterList, error) {
	return d.Letters(ctx, console.LetterFilter{Lane: lane}, from, most)
}

func (d doubts) Doubt(ctx context.Context, lane, intent string) (console.Letter, error) {
	return d.Letter(ctx, lane, intent)
}

func (d doubts) Settle(_ context.Context, at console.Step, s console.Settlement, a console.Act) (console.Result, error) {
	return d.act("settle %v %+v by %s: %s", at, s, a.By, a.Reason)
}

func (d *pagesDesk) Blocked(_ context.Context, lane string, from, _ int) (console.BlockList, error) {
	d.ask("blocked %s from %d", lane, from)
	return d.blocks, d.err
}

// wrongPerson is what is wrong with a text that is nobody.
func wrongPerson(person string) error {
	if !strings.HasPrefix(person, "+1415555") {
		return console.Invalid{Field: "person", Text: "This is no number."}
	}
	return nil
}

func (d *pagesDesk) Person(_ context.Context, person, lane string) (console.Contact, error) {
	d.ask("person %s %s", person, lane)
	return d.person, errors.Join(d.err, wrongPerson(person))
}

func (d *pagesDesk) Block(_ context.Context, person, lane, source string, a console.Act) (console.Result, error) {
	if err := wrongPerson(person); err != nil {
		return console.Result{}, err
	}
	return d.act("block %s lane=%s source=%s by %s: %s", person, lane, source, a.By, a.Reason)
}

func (d *pagesDesk) Allow(_ context.Context, person, lane string, a console.Act) (console.Result, error) {
	return d.act("allow %s lane=%s by %s: %s", person, lane, a.By, a.Reason)
}

// told is the desk for undelivered outcomes.
type told struct{ *pagesDesk }

func (d told) Undelivered(_ context.Context, lane string, from, _ int) (console.UndeliveredList, error) {
	d.ask("undelivered %s from %d", lane, from)
	return d.told, d.err
}

func (d told) Outcome(_ context.Context, lane, id string) (console.UndeliveredOutcome, error) {
	d.ask("outcome %s %s", lane, id)
	if len(d.told.Outcomes) == 0 {
		return console.UndeliveredOutcome{}, cmpOr(d.err, console.Absent{Text: "There is no such outcome.", Next: "Look at the list."})
	}
	return d.told.Outcomes[0], d.err
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (d told) Settle(_ context.Context, verb console.Verb, lane, id string, sequence uint64, a console.Act) (console.Result, error) {
	return d.act("%s outcome %s %s %d by %s: %s", verb, lane, id, sequence, a.By, a.Reason)
}

func (d *pagesDesk) InForce(context.Context) (console.Configuration, error) { return d.config, d.err }

// desks are all desks, with this one where it fits.
func (d *pagesDesk) desks() console.Desks {
	return console.Desks{
		Lanes: oneLane(), Events: d, Letters: d, Doubts: doubts{d}, Contacts: d, Undelivered: told{d}, Settings: d,
		LaneNames: []string{"acme", "globex"},
	}
}

// fullDesk has something of everything, all of it hostile.
func fullDesk() *pagesDesk {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	long := strings.Repeat("x", 10_000) + hostile
	line := console.EventLine{Lane: "acme", Intent: key, ID: hostile, Source: long, Type: hostile, State: "waiting", Reason: long, Since: at}
	letter := console.LetterLine{Lane: "acme", Intent: key, ID: hostile, Source: hostile, Type: hostile, Class: hostile, Reason: hostile, Claims: 2, Since: at}
	content := console.Content{Header: [][2]string{{hostile, long}}, Body: long, Note: hostile}
	moments := []console.Moment{{At: at, What: hostile, Tone: "bad", By: hostile, Reason: long}}
	heard := []console.Hearsay{{Conversation: hostile, Why: hostile, At: at}}
	block := console.Blocked{Person: "…23", Hash: hostile, Where: hostile, Since: at, By: hostile, Source: hostile, Reason: long}
	return &pagesDesk{
		lines: []console.EventLine{line, line}, rest: hostile, result: console.Result{Done: true, Text: "It is done. " + hostile},
		event: console.Event{
			EventLine: line, Place: hostile, Class: hostile, Conversation: hostile, Others: []string{hostile}, Channel: hostile,
			Claims: 3, Doubts: 1, Waits: hostile, NotBefore: time.Now().Add(time.Hour), Timeline: moments, Unread: hostile, Named: heard, Content: content, Withdrawable: true,
			Held: []console.HeldBy{{Rule: hostile, Until: at, Why: long}}, RedialOf: hostile, RedialNumber: 1, Redials: []console.Redial{{EventLine: line, Number: 1, NotBefore: at, Result: hostile}},
		},
		list:   console.LetterList{Letters: slices.Repeat([]console.LetterLine{letter}, 120), Total: 120, Classes: []console.Count{{What: hostile, N: 120}}, Rest: hostile},
		letter: console.Letter{LetterLine: letter, State: "dead", N: 7, Doubts: 1, First: at, Order: hostile, Timeline: moments, Named: heard, Content: content},
		fates: console.Fates{
			Total: 3, Can: 2, Counts: []console.Count{{What: hostile, N: 2}, {What: "already created", N: 1}}, Rest: hostile,
			Lines: []console.Fate{{Lane: "acme", Intent: key, ID: hostile, Fate: hostile}},
			Steps: []console.Step{{Lane: "acme", Intent: key, N: 7}, {Lane: "globex", Intent: key, N: 1}},
		},
		blocks: console.BlockList{Blocks: []console.Blocked{block}, Total: 200, Rest: hostile},
		person: console.Contact{Person: "…23", Blocks: []console.Blocked{block}, Told: hostile},
		told: console.UndeliveredList{Total: 1, Rest: hostile, Outcomes: []console.UndeliveredOutcome{{
			Lane: "acme", ID: key, Kind: hostile, Intent: key, EventID: hostile, Source: hostile, Sequence: 9, Published: at, First: at, Last: at, Tries: 4, Reason: long, Order: hostile, Body: long,
		}}},
		config: console.Configuration{File: hostile, Blocks: []console.Block{{Title: hostile, Lines: []console.Setting{{Path: hostile, Value: long}}}}},
	}
}
