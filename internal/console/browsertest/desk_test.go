package browsertest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/weirhq/weir/internal/console"
)

// key is an intent's, and an outcome's id.
const key = "0f9e2f8a-df49-5c24-83a2-b9fd8d1f44a7"

// desk is what the pages beside those of lanes read, in memory. Every text of it is
// the same.
type desk struct {
	text string
	n    int   // of everything
	err  error // of everything
}

func (d desk) line() console.EventLine {
	return console.EventLine{Lane: "acme-sales", Intent: key, ID: d.text, Source: d.text, Type: d.text, State: "waiting", Reason: d.text, Since: time.Now()}
}

func (d desk) letterLine() console.LetterLine {
	return console.LetterLine{Lane: "acme-sales", Intent: key, ID: d.text, Source: d.text, Type: d.text, Class: d.text, Reason: d.text, Claims: 2, Since: time.Now()}
}

func (d desk) moments() []console.Moment {
	return slices.Repeat([]console.Moment{{At: time.Now(), What: d.text, Tone: "bad", By: d.text, Reason: d.text}}, d.n)
}

func (d desk) content() console.Content {
	return console.Content{Header: [][2]string{{d.text, d.text}}, Body: d.text + "\n" + d.text, Note: d.text}
}

func (d desk) heard() []console.Hearsay {
	return slices.Repeat([]console.Hearsay{{Conversation: d.text, Why: d.text, At: time.Now()}}, d.n)
}

func (d desk) Find(context.Context, console.Query) (console.Found, error) {
	return console.Found{Events: slices.Repeat([]console.EventLine{d.line()}, d.n), Rest: d.text}, d.err
}

func (d desk) Event(context.Context, string, string) (console.Event, error) {
	if d.n == 0 { // as little as can be known
		return console.Event{EventLine: console.EventLine{Lane: "gone", Intent: key, State: console.Queued}, Withdrawable: true}, d.err
	}
	return console.Event{
		EventLine: d.line(), Place: d.text, Class: d.text, Conversation: d.text, Others: []string{d.text}, Channel: d.text, Claims: 3, Doubts: 1,
		Waits: d.text, NotBefore: time.Now().Add(time.Hour), Timeline: d.moments(), Unread: d.text, Named: d.heard(), Content: d.content(), Withdrawable: true,
		Held: []console.HeldBy{{Rule: d.text, Why: d.text}}, RedialOf: d.text, RedialNumber: 1,
		Redials: []console.Redial{{EventLine: d.line(), Number: 1, Result: d.text}},
	}, d.err
}

func (d desk) Withdraw(context.Context, string, string, console.Act) (console.Result, error) {
	return console.Result{Done: true, Text: d.text}, d.err
}

func (d desk) Letters(context.Context, console.LetterFilter, int, int) (console.LetterList, error) {
	list := console.LetterList{Letters: slices.Repeat([]console.LetterLine{d.letterLine()}, d.n), Total: 40 * d.n, Rest: d.text}
	if d.n > 0 {
		list.Classes = []console.Count{{What: d.text, N: d.n}}
	}
	return list, d.err
}

func (d desk) Letter(context.Context, string, string) (console.Letter, error) {
	if d.n == 0 {
		return console.Letter{LetterLine: console.LetterLine{Lane: "gone", Intent: key}, State: "dead"}, d.err
	}
	return console.Letter{
		LetterLine: d.letterLine(), State: "dead", N: 7, Doubts: 1, Order: d.text, Timeline: d.moments(), Named: d.heard(), Content: d.content(),
	}, d.err
}

func (d desk) Preview(context.Context, console.Verb, console.LetterFilter) (console.Fates, error) {
	if d.n == 0 {
		return console.Fates{}, d.err
	}
	return console.Fates{
		Total: 3, Can: 2, Counts: []console.Count{{What: d.text, N: 3}}, Rest: d.text,
		Lines: []console.Fate{{Lane: "acme-sales", Intent: key, ID: d.text, Fate: d.text}},
		Steps: []console.Step{{Lane: "acme-sales", Intent: key, N: 7}},
	}, d.err
}

func (d desk) Do(context.Context, console.Verb, []console.Step, console.Act) (console.Fates, error) {
	return console.Fates{Total: 1, Can: 1, Counts: []console.Count{{What: d.text, N: 1}}}, d.err
}

func (d desk) DoOne(context.Context, console.Verb, console.Step, string, console.Act) (console.Result, error) {
	return console.Result{Done: true, Text: d.text}, d.err
}

func (d desk) Blocked(context.Context, string, int, int) (console.BlockList, error) {
	return console.BlockList{Blocks: slices.Repeat([]console.Blocked{d.blocked()}, d.n), Total: 40 * d.n, Rest: d.text}, d.err
}

func (d desk) blocked() console.Blocked {
	return console.Blocked{Person: "…23", Hash: d.text, Where: d.text, Since: time.Now(), By: d.text, Source: d.text, Reason: d.text}
}

func (d desk) Person(context.Context, string, string) (console.Contact, error) {
	return console.Contact{Person: "…23", Blocks: slices.Repeat([]console.Blocked{d.blocked()}, d.n), Told: d.text}, d.err
}

func (d desk) Block(context.Context, string, string, string, console.Act) (console.Result, error) {
	return console.Result{Done: true, Text: d.text}, d.err
}

func (d desk) Allow(context.Context, string, string, console.Act) (console.Result, error) {
	return console.Result{Done: true, Text: d.text}, d.err
}

func (d desk) InForce(context.Context) (console.Configuration, error) {
	if d.n == 0 {
		return console.Configuration{}, d.err
	}
	return console.Configuration{File: d.text, Blocks: []console.Block{{Title: d.text, Lines: []console.Setting{{Path: d.text, Value: d.text}}}, {Title: "nothing"}}}, d.err
}

// doubts and outcomes are the desk where others have a method of the same name.
type (
	doubts   struct{ desk }
	outcomes struct{ desk }
)

func (d doubts) Doubts(context.Context, string, int, int) (console.LetterList, error) {
	return d.Letters(context.Background(), console.LetterFilter{}, 0, 0)
}

func (d doubts) Doubt(ctx context.Context, lane, intent string) (console.Letter, error) {
	l, err := d.Letter(ctx, lane, intent)
	l.State = "doubt"
	return l, err
}

func (d doubts) Settle(context.Context, console.Step, console.Settlement, console.Act) (console.Result, error) {
	return console.Result{Done: true, Text: d.text}, d.err
}

func (d outcomes) outcome() console.UndeliveredOutcome {
	return console.UndeliveredOutcome{
		Lane: "acme-sales", ID: key, Kind: d.text, Intent: key, EventID: d.text, Source: d.text, Sequence: 9, Tries: 4, Reason: d.text, Order: d.text, Body: d.text,
	}
}

func (d outcomes) Undelivered(context.Context, string, int, int) (console.UndeliveredList, error) {
	return console.UndeliveredList{Outcomes: slices.Repeat([]console.UndeliveredOutcome{d.outcome()}, d.n), Total: 40 * d.n, Rest: d.text}, d.err
}

func (d outcomes) Outcome(context.Context, string, string) (console.UndeliveredOutcome, error) {
	if d.n == 0 {
		return console.UndeliveredOutcome{Lane: "gone", ID: key}, d.err
	}
	return d.outcome(), d.err
}

func (d outcomes) Settle(context.Context, console.Verb, string, string, uint64, console.Act) (console.Result, error) {
	return console.Result{Done: true, Text: d.text}, d.err
}

// with are all desks, these lanes and this desk.
func (d desk) with(l *lanes) console.Desks {
	return console.Desks{
		Lanes: l, Events: d, Letters: d, Doubts: doubts{d}, Contacts: d, Undelivered: outcomes{d}, Settings: d,
		LaneNames: []string{"acme-sales", "globex-support"},
	}
}

// The four kinds of data, for these pages.
func emptyDesk() console.Desks { return desk{}.with(emptyLanes()) }
func fullDesk() console.Desks  { return desk{text: "lead-17 of the fair", n: 2}.with(fullLanes()) }
func brokenDesk() console.Desks {
	return desk{err: console.Away{Err: errors.New("nats: no response from stream " + hostile)}}.with(brokenLanes())
}

func hostileDesk() console.Desks {
	return desk{text: hostile + rtl + emoji + strings.Repeat("y", 3000) + hostile, n: 2}.with(hostileLanes())
}
