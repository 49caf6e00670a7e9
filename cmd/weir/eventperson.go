package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/contact"
	"github.com/weirhq/weir/internal/contact/register"
	"github.com/weirhq/weir/schema"
)

// personNames say whose events are meant.
type personNames struct {
	Person string `placeholder:"NUMBER|ADDRESS" help:"All events of this person that were not sent: a number such as +14155550123, or an e-mail address."`
	Lead   string `placeholder:"ID" help:"All events of the lead with this id (data.id) that were not sent."`
}

// named reports whether a person was named.
func (n personNames) named() bool { return n.Person != "" || n.Lead != "" }

// checkNames refuses a person beside an event, and two persons.
func (c *eventCancelCmd) checkNames() error {
	switch {
	case !c.named() && (c.DryRun || c.Yes):
		return usageError{errors.New("--dry-run and --yes go with --person or --lead")}
	case !c.named():
		return c.check()
	case c.Person != "" && c.Lead != "":
		return usageError{errors.New("whose events? name them by --person or by --lead")}
	case len(c.Intents) > 0 || c.ID != "" || c.Ahead:
		return usageError{errors.New("which events? either name some, or give --person or --lead")}
	default:
		return nil
	}
}

// region is that of numbers without a country in a lane; empty: there is none.
func (d *desk) region(lane string) string {
	for _, lc := range d.lanes() {
		if lc.Name == lane && lc.Contact != nil {
			return lc.Contact.Region
		}
	}
	return ""
}

// person reads whose events are meant.
func (n personNames) person(region string) (contact.Person, error) {
	if n.Lead != "" {
		return contact.Lead(n.Lead), nil
	}
	p, err := register.ParsePerson(n.Person, region)
	if err != nil {
		return contact.Person{}, usageError{fmt.Errorf("--person: %w", err)}
	}
	return contact.Reached(string(p)), nil
}

// mostTheirs is how many events of one person a command takes on at a time.
const mostTheirs = 10_000

// errMore is that there are more than mostTheirs.
var errMore = fmt.Errorf("there are more than %d events; give the same command again for the rest", mostTheirs)

// theirs finds a person's events that a lane may still send, each once. Those that
// cannot be read are not among them: they become dead letters, and nobody is called.
func (d *desk) theirs(ctx context.Context, lanes []string, who contact.Person, source string, read func()) (all []sought, err error) {
	seen := make(map[string]bool)
	for _, lane := range lanes {
		region := d.region(lane)
		for f, err := range d.broker.Unsent(ctx, lane) {
			if err != nil {
				return all, err
			}
			read()
			s, ok := theirsAt(lane, f, who, region, source)
			if !ok || seen[s.intent] {
				continue
			}
			if s.now, _, err = d.ledger.Load(ctx, lane, s.intent); err != nil {
				return all, err
			}
			if s.ordered = f.Order != nil && f.Order.Expect == s.now.N; !s.unsent() {
				continue // not yet seen: an order to send it again may follow
			}
			if len(all) == mostTheirs {
				return all, errMore
			}
			seen[s.intent] = true
			all = append(all, s)
		}
	}
	return all, nil
}

// theirsAt reads an event, and reports whether it is the person's.
func theirsAt(lane string, f broker.Found, who contact.Person, region, source string) (sought, bool) {
	ev, err := schema.Decode(f.Header, f.Data, max(len(f.Data), 1)) // how large it may be, the lane decides
	if err != nil || source != "" && ev.Source() != source || !who.In(ev.Data(), region) {
		return sought{}, false
	}
	s := sought{lane: lane, intent: f.Intent, source: ev.Source(), id: ev.ID(), queued: &broker.Found{Sequence: f.Sequence}}
	if s.intent == "" {
		s.intent = consumer.Key(lane, s.source, s.id)
	}
	return s, true
}

// unsent reports whether the event may yet be sent.
func (s sought) unsent() bool {
	switch s.now.State {
	case consumer.Absent, consumer.Waiting, consumer.Started:
		return true
	case consumer.Dead, consumer.Doubt:
		return s.ordered
	default:
		return false
	}
}

// cancelTheirs withdraws all that was not sent of one person.
func (c *eventCancelCmd) cancelTheirs(a *app) error {
	by, err := c.signedUnless(c.DryRun, a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		lanes := d.laneNames()
		if c.Lane != "" {
			if err := d.checkLane(c.Lane); err != nil {
				return err
			}
			lanes = []string{c.Lane}
		}
		who, err := c.person(d.region(c.Lane))
		if err != nil {
			return err
		}
		if d.ledger == nil {
			return errNeverServed
		}
		p := &progress{w: a.stderr}
		n := 0
		found, more := d.theirs(a.ctx, lanes, who, c.Source, func() { n++; p.draw("%d events read", n) })
		p.clear()
		if more != nil && !errors.Is(more, errMore) {
			return more
		}
		if c.DryRun {
			return errors.Join(c.printTheirs(a, planned(found)), more)
		}
		if err := c.confirm(a, len(found)); err != nil {
			return err
		}
		done, err := d.withdrawAll(a.ctx, found, by, p)
		return errors.Join(c.printTheirs(a, done), err, more)
	})
}

// confirm asks whether several events shall be withdrawn.
func (c *eventCancelCmd) confirm(a *app, n int) error {
	switch {
	case c.Yes || n <= 1:
		return nil
	case interactive(a.stdin) && isTerminal(a.stderr):
		return agree(a.ctx, a.stdin, a.stderr, fmt.Sprintf("Withdraw %d events? Nobody is called for what is withdrawn.", n))
	default:
		return usageError{fmt.Errorf("nothing was withdrawn; give --yes to do it with %d events, or --dry-run to look at each first", n)}
	}
}

// planned says what would become of each event.
func planned(found []sought) []withdrawal {
	all := make([]withdrawal, 0, len(found))
	for _, s := range found {
		w := newWithdrawal(s)
		switch {
		case s.ordered:
			w.Result = orderedWords(s.now.State)
		case w.State == consumer.Started:
			w.Result = "it is being sent; it could be withdrawn only if it comes back"
		default:
			w.Would, w.Result = true, "would be withdrawn"
		}
		all = append(all, w)
	}
	return all
}

// newWithdrawal is an event before anything was done. Its id is shown masked: nobody
// typed it.
func newWithdrawal(s sought) withdrawal {
	return withdrawal{Lane: s.lane, Intent: s.intent, ID: schema.Mask(s.id), State: s.now.State}
}

// orderedWords says what to do about an event that a person ordered to be sent again.
func orderedWords(state consumer.State) string {
	if state == consumer.Doubt {
		return "a person ordered the doubt to be sent again; settle it with weir doubt resolve"
	}
	return "a person ordered the dead letter to be sent again; give it up with weir dead drop"
}

// withdrawAll withdraws one event after the other. What cannot be withdrawn does not
// keep the others; a lane whose owner does not answer is asked once.
func (d *desk) withdrawAll(ctx context.Context, found []sought, by decision, p *progress) (done []withdrawal, err error) {
	defer p.clear()
	done = make([]withdrawal, 0, len(found))
	silent := make(map[string]string)
	failed := 0
	for i, s := range found {
		w := newWithdrawal(s)
		switch {
		case s.ordered:
			w.Result = orderedWords(s.now.State)
		case silent[s.lane] != "":
			w.Result = silent[s.lane]
		default:
			if w, err = d.cancel(ctx, s, by, false); err != nil {
				return done, fmt.Errorf("%d of %d events were come to; the same command may be given again: %w", i, len(found), err)
			}
			if w.ID = schema.Mask(s.id); w.Silent {
				silent[s.lane] = w.Result
			}
		}
		if done = append(done, w); !w.Withdrawn {
			failed++
		}
		p.draw("%d of %d events", i+1, len(found))
	}
	if failed > 0 {
		err = fmt.Errorf("%d of %d events were not withdrawn", failed, len(found))
	}
	return done, err
}

// printTheirs prints what became, or would become, of each event.
func (c *eventCancelCmd) printTheirs(a *app, all []withdrawal) error {
	return a.print(all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "Nothing waits to be sent for this person.")
			return
		}
		drawWithdrawals(all)(w)
	})
}
