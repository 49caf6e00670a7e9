package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// forgetCmd is weir forget.
type forgetCmd struct {
	Intents []string `arg:"" optional:"" name:"intent" help:"Whole keys of intents, of events that are found in no other way."`
	Person  string   `placeholder:"NUMBER|ADDRESS" help:"All events of this person: a number such as +14155550123, or an e-mail address."`
	Lead    string   `placeholder:"ID" help:"All events of the lead with this id (data.id)."`
	Source  string   `placeholder:"SOURCE" help:"With --id: the event of this source. With --person or --lead: only those from it."`
	ID      string   `name:"id" placeholder:"ID" help:"The event's id, with --source."`
	Lane    string   `placeholder:"NAME" help:"In this lane alone; default: all, and those that ran before."`
	Resume  bool     `help:"Only go on with what was begun, or could not be forgotten yet."`
	DryRun  bool     `help:"Only say what would be removed."`
	Yes     bool     `short:"y" help:"Do not ask."`
	decision

	before func(step string) error // see forgetting; tests set it
}

// mostForgotten is how many events one order to forget may name: it is one message of
// the broker.
const mostForgotten = 5000

// errMoreToForget is that there are more.
var errMoreToForget = fmt.Errorf("there are more than %d events; give the same command again for the rest", mostForgotten)

// check refuses what does not say whose events are meant, or says it twice.
func (c *forgetCmd) check() error {
	ways := 0
	for _, named := range []bool{len(c.Intents) > 0, c.Person != "", c.Lead != "", c.ID != "", c.Resume} {
		if named {
			ways++
		}
	}
	switch {
	case ways != 1:
		return usageError{errors.New("what is to be forgotten? name it in one way: --person, --lead, --source with --id, intents, or --resume")}
	case c.ID != "" && c.Source == "":
		return usageError{errors.New("an event is known by its source and id together: give both --source and --id")}
	case c.Source != "" && (len(c.Intents) > 0 || c.Resume):
		return usageError{errors.New("--source goes with --id, --person or --lead")}
	}
	for _, word := range c.Intents {
		if _, err := uuid.Parse(word); err != nil {
			return usageError{fmt.Errorf("%s is no intent; give the whole key, as weir event show has it", clean(word))}
		}
	}
	return nil
}

// Run forgets what is named, and goes on with what was begun.
func (c *forgetCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	by := c.decision
	if !c.DryRun && !c.Resume {
		var err error
		if by, err = c.signed(a); err != nil {
			return err
		}
		by.Reason = schema.Mask(by.Reason) // it is kept
	}
	return a.atDesk(func(d *desk) error {
		if d.ledger == nil {
			return errNeverServed
		}
		p := &progress{w: a.stderr}
		f := &forgetting{desk: d, p: p, silent: make(map[string]string), before: c.before}
		begun, err := d.broker.Oblivions(a.ctx)
		if err != nil {
			return err
		}
		named, more := c.named(a, f)
		p.clear()
		if more != nil && !errors.Is(more, errMoreToForget) {
			return more
		}
		for _, o := range begun { // is ordered already
			for lane, keys := range o.Events {
				for _, key := range keys {
					delete(named[lane], key)
				}
			}
		}
		if c.DryRun {
			return errors.Join(f.plan(a, begun, named), more)
		}
		if err := c.confirm(a, begun, named); err != nil {
			return err
		}
		if named.count() > 0 {
			o := broker.Oblivion{ID: uuid.NewString(), By: by.By, Reason: by.Reason, At: time.Now().UTC(), Events: named.lists()}
			if o, err = f.write(a.ctx, o); err != nil {
				return err
			}
			begun = append(begun, o)
		}
		for _, o := range begun {
			if err = f.carryOut(a.ctx, o); err != nil {
				err = fmt.Errorf("not all is forgotten; weir forget --resume goes on: %w", err)
				break
			}
		}
		p.clear()
		return errors.Join(f.report.print(a), err, f.report.missing(), more)
	})
}

// named finds what is to be forgotten.
func (c *forgetCmd) named(a *app, f *forgetting) (events, error) {
	if c.Resume {
		return nil, nil
	}
	lanes, err := f.everyLane(a.ctx, c.Lane)
	if err != nil {
		return nil, err
	}
	found := make(events)
	switch {
	case c.ID != "":
		source, id, err := schema.Identity(c.Source, c.ID)
		if err != nil {
			return nil, usageError{err}
		}
		for _, lane := range lanes {
			if err := f.known(a.ctx, found, lane, consumer.Key(lane, source, id)); err != nil {
				return nil, err
			}
		}
	case len(c.Intents) > 0:
		for _, word := range c.Intents {
			for _, lane := range lanes {
				if err := f.known(a.ctx, found, lane, uuid.MustParse(word).String()); err != nil {
					return nil, err
				}
			}
		}
	default:
		who, err := personNames{Person: c.Person, Lead: c.Lead}.person(f.region(c.Lane))
		if err != nil {
			return nil, err
		}
		if err := f.search(a.ctx, found, lanes, who, c.Source); err != nil {
			return found, err
		}
	}
	return found, f.redialled(a.ctx, found)
}

// confirm asks: nothing brings back what is removed.
func (c *forgetCmd) confirm(a *app, begun []broker.Oblivion, found events) error {
	n := found.count()
	for _, o := range begun {
		for _, keys := range o.Events {
			n += len(keys)
		}
	}
	switch {
	case c.Yes || n == 0 || c.Resume:
		return nil
	case interactive(a.stdin) && isTerminal(a.stderr):
		return agree(a.ctx, a.stdin, a.stderr, fmt.Sprintf("Forget %d events? What waits is withdrawn, and nothing brings back what is removed.", n))
	default:
		return usageError{fmt.Errorf("nothing was removed; give --yes to forget %d events, or --dry-run to look first", n)}
	}
}

// forgetCounts are the messages that are kept of events, by kind.
type forgetCounts struct {
	Events      int `json:"events"`      // in WEIR_EVENTS
	Postponed   int `json:"postponed"`   // schedules, what is due, orders to send again
	Letters     int `json:"letters"`     // dead letters and doubts
	Outcomes    int `json:"outcomes"`    // in WEIR_OUTCOMES
	Undelivered int `json:"undelivered"` // outcomes that their address did not take
	Ledger      int `json:"ledger"`      // entries whose texts go
}

// notYet is an event that cannot be forgotten yet.
type notYet struct {
	Lane   string         `json:"lane"`
	Intent string         `json:"intent"`
	State  consumer.State `json:"state"`
	Why    string         `json:"why"`
}

// conversationKept is a conversation of which the provider has a record of its own.
type conversationKept struct {
	Lane         string `json:"lane"`
	Conversation string `json:"conversation"`
}

// forgetReport is what was, or would be, removed.
type forgetReport struct {
	DryRun        bool               `json:"dry_run"`
	Counts        forgetCounts       `json:"removed"`
	NotYet        []notYet           `json:"not_yet"`
	Conversations []conversationKept `json:"conversations"`
}

// missing is an error if something is not forgotten yet.
func (r *forgetReport) missing() error {
	if r.DryRun || len(r.NotYet) == 0 {
		return nil
	}
	return fmt.Errorf("%d events are not forgotten yet; weir forget --resume tries again", len(r.NotYet))
}

func (r *forgetReport) print(a *app) error {
	if r.NotYet == nil {
		r.NotYet = []notYet{}
	}
	if r.Conversations == nil {
		r.Conversations = []conversationKept{}
	}
	return a.print(r, r.draw)
}

// draw shows it to a person.
func (r *forgetReport) draw(w io.Writer) {
	if r.Counts == (forgetCounts{}) && len(r.NotYet) == 0 {
		fmt.Fprintln(w, "Nothing is kept of this.")
		return
	}
	head := "REMOVED"
	if r.DryRun {
		head = "WOULD BE REMOVED"
	}
	fmt.Fprintf(w, "KIND\t%s\n", head)
	for _, row := range []struct {
		kind string
		n    int
	}{
		{"events", r.Counts.Events}, {"postponed", r.Counts.Postponed}, {"dead letters, doubts", r.Counts.Letters},
		{"outcomes", r.Counts.Outcomes}, {"undelivered outcomes", r.Counts.Undelivered}, {"texts of ledger entries", r.Counts.Ledger},
	} {
		fmt.Fprintf(w, "%s\t%d\n", row.kind, row.n)
	}
	for _, n := range r.NotYet {
		fmt.Fprintf(w, "not yet\t%s %s: %s\n", n.Lane, n.Intent, clean(n.Why))
	}
	for _, c := range r.Conversations {
		fmt.Fprintf(w, "at the provider\t%s: conversation %s\n", c.Lane, clean(c.Conversation))
	}
}
