package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// undeliveredCmd is weir undelivered.
type undeliveredCmd struct {
	List undeliveredListCmd `cmd:"" help:"List the outcomes that were given up."`
	Show undeliveredShowCmd `cmd:"" help:"Show one, personal data masked."`
	Send undeliveredSendCmd `cmd:"" help:"Have some sent again, once, in your name."`
	Drop undeliveredDropCmd `cmd:"" help:"Remove some: their publisher is not told."`
}

// undeliveredRow is one outcome that was given up.
type undeliveredRow struct {
	Lane      string    `json:"lane"`
	ID        string    `json:"id"` // its own: webhook-id
	Kind      string    `json:"kind"`
	Intent    string    `json:"intent,omitzero"`
	EventID   string    `json:"event_id,omitzero"`
	Source    string    `json:"event_source,omitzero"`
	Published time.Time `json:"published"`
	First     time.Time `json:"first,omitzero"` // since when it failed
	Last      time.Time `json:"last,omitzero"`  // when it was given up
	Tries     int       `json:"tries"`
	Reason    string    `json:"reason"`
	By        string    `json:"ordered_by,omitzero"` // to be sent again
	Result    string    `json:"result,omitzero"`     // of the command
}

func undeliveredOf(u broker.Undelivered) undeliveredRow {
	return undeliveredRow{
		Lane: u.Lane, ID: u.ID, Kind: u.Kind, Intent: u.Intent, EventID: u.EventID, Source: u.Source,
		Published: u.Published, First: u.First, Last: u.Last, Tries: u.Tries, Reason: u.Reason, By: u.By,
	}
}

// undeliveredListCmd is weir undelivered list.
type undeliveredListCmd struct {
	Lane string `placeholder:"NAME" help:"Of this lane only."`
}

// Run lists them.
func (c *undeliveredListCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		rows := []undeliveredRow{}
		_, problems := d.undelivered(a.ctx, c.Lane, func(u broker.Undelivered) bool {
			rows = append(rows, undeliveredOf(u))
			return false
		})
		err := a.printCut(rows, func(w io.Writer) {
			if len(rows) == 0 {
				if problems == nil {
					fmt.Fprintln(w, "Every outcome was delivered, or is still tried.")
				}
				return
			}
			fmt.Fprintln(w, "LANE\tOUTCOME\tKIND\tEVENT\tFAILED SINCE\tGIVEN UP\tREASON")
			for _, r := range rows {
				reason := r.Reason
				if r.By != "" {
					reason = "to be sent again, by " + r.By
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
					r.Lane, short(r.ID), or(r.Kind), or(r.EventID), when(r.First), when(r.Last), or(reason))
			}
		})
		if err == nil && problems == nil && len(rows) == 0 && c.Lane != "" { // a lane that was removed may have some still
			return d.checkLane(c.Lane)
		}
		return errors.Join(err, problems)
	})
}

// undelivered returns those that are taken. What cannot be read is an error beside
// them.
func (d *desk) undelivered(ctx context.Context, lane string, take func(broker.Undelivered) bool) (taken []broker.Undelivered, problems error) {
	var errs []error
	for u, err := range d.broker.UndeliveredOutcomes(ctx, lane) {
		switch {
		case err != nil:
			errs = append(errs, err)
		case take(u):
			taken = append(taken, u)
		}
	}
	return taken, errors.Join(errs...)
}

// undeliveredChoice names some.
type undeliveredChoice struct {
	Outcomes []string `arg:"" optional:"" name:"outcome" help:"Ids of outcomes, the first characters of them, or ids of events."`
	Lane     string   `placeholder:"NAME" help:"Of this lane only."`
	All      bool     `help:"All of them, or all of the lane."`
	Yes      bool     `short:"y" help:"Do not ask."`
}

// choose returns those that are meant, after asking about more than one.
func (c undeliveredChoice) choose(a *app, d *desk, question, past string) ([]broker.Undelivered, error) {
	if c.All == (len(c.Outcomes) > 0) {
		return nil, usageError{errors.New("which outcomes? either name some (see weir undelivered list), or give --all")}
	}
	found := make(map[string]int)
	all, err := d.undelivered(a.ctx, c.Lane, func(u broker.Undelivered) bool {
		for _, word := range c.Outcomes {
			if namesOutcome(u, word) {
				found[word]++
				return true
			}
		}
		return c.All
	})
	if err != nil && len(all) == 0 {
		return nil, err
	}
	for _, word := range c.Outcomes {
		if found[word] == 0 {
			return nil, fmt.Errorf("no undelivered outcome is called %q; see weir undelivered list", clean(word))
		}
	}
	switch n := len(all); {
	case c.Yes || n == 0 || n == 1 && !c.All:
	case interactive(a.stdin) && isTerminal(a.stderr):
		return all, agree(a.ctx, a.stdin, a.stderr, fmt.Sprintf(question, n))
	default:
		return nil, usageError{fmt.Errorf("nothing was %s; give --yes to do it with %d outcomes", past, n)}
	}
	return all, err
}

// leastWord is how much of an outcome's id names it.
const leastWord = 4

// namesOutcome reports whether a word names an outcome.
func namesOutcome(u broker.Undelivered, word string) bool {
	return word == u.EventID && word != "" || len(word) >= leastWord && strings.HasPrefix(u.ID, strings.ToLower(word))
}

// undeliveredShowCmd is weir undelivered show.
type undeliveredShowCmd struct {
	Outcome string `arg:"" help:"The outcome's id, the first characters of it, or the event's id."`
	Lane    string `placeholder:"NAME" help:"Lane to look in."`
	Reveal  bool   `help:"Show it as it is, personal data included."`
}

// undeliveredShown is one with its contents.
type undeliveredShown struct {
	undeliveredRow
	Masked  bool            `json:"masked"`
	Outcome json.RawMessage `json:"outcome"`
}

// Run shows one, or each of an event's.
func (c *undeliveredShowCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		found, err := undeliveredChoice{Outcomes: []string{c.Outcome}, Lane: c.Lane, Yes: true}.choose(a, d, "", "")
		if err != nil {
			return err
		}
		shown := make([]undeliveredShown, len(found))
		for i, u := range found {
			shown[i] = undeliveredShown{undeliveredRow: undeliveredOf(u), Masked: !c.Reveal, Outcome: u.Body}
			if !c.Reveal {
				shown[i].Outcome = maskedJSON(u.Body)
			}
		}
		return a.print(shown, func(w io.Writer) {
			for _, s := range shown {
				s.draw(w)
			}
		})
	})
}

// draw shows it to a person.
func (s undeliveredShown) draw(w io.Writer) {
	for _, field := range [][2]string{
		{"lane", s.Lane}, {"outcome", s.ID}, {"kind", s.Kind}, {"intent", s.Intent}, {"event id", s.EventID},
		{"event source", s.Source}, {"published", when(s.Published)}, {"failed since", when(s.First)},
		{"given up", when(s.Last)}, {"tries", strconv.Itoa(s.Tries)}, {"reason", s.Reason}, {"sent again by", s.By},
	} {
		fmt.Fprintf(w, "%s\t%s\n", field[0], or(field[1]))
	}
	fmt.Fprintf(w, "\n%s\n\n", pretty(string(s.Outcome)))
}

// undeliveredSendCmd is weir undelivered send.
type undeliveredSendCmd struct {
	undeliveredChoice
	By string `placeholder:"NAME" help:"Who says so."`
}

// Run orders some to be sent again.
func (c *undeliveredSendCmd) Run(a *app) error {
	by, err := decision{Reason: "send", By: c.By}.signed(a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		return c.act(a, d, "Have %d outcomes sent again?", "sent", func(u broker.Undelivered) (string, error) {
			_, result, err := d.sendUndelivered(a.ctx, u, by.By)
			return result, err
		})
	})
}

// sendUndelivered orders one to be sent again, and says what became of that.
func (d *desk) sendUndelivered(ctx context.Context, u broker.Undelivered, by string) (ordered bool, result string, err error) {
	err = d.broker.OrderUndelivered(ctx, u, by)
	switch {
	case errors.Is(err, consumer.ErrConflict):
		return false, "changed meanwhile; look again", nil
	case errors.Is(err, broker.ErrFull):
		return false, "", fmt.Errorf("%w: an order needs a little room too; remove one that is not needed (weir undelivered drop)", err)
	}
	return err == nil, "will be sent again", err
}

// undeliveredDropCmd is weir undelivered drop.
type undeliveredDropCmd struct{ undeliveredChoice }

// Run removes some.
func (c *undeliveredDropCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		return c.act(a, d, "Remove %d outcomes?", "removed", func(u broker.Undelivered) (string, error) {
			return "removed", d.broker.DiscardUndelivered(a.ctx, u.Lane, u.ID, u.Sequence)
		})
	})
}

// act does something with each of those that are meant.
func (c undeliveredChoice) act(a *app, d *desk, question, past string, do func(broker.Undelivered) (string, error)) error {
	chosen, err := c.choose(a, d, question, past)
	if err != nil {
		return err
	}
	rows := []undeliveredRow{}
	for _, u := range chosen {
		r := undeliveredOf(u)
		if r.Result, err = do(u); err != nil {
			err = fmt.Errorf("%s %s: %w", u.Lane, u.ID, err)
			break
		}
		rows = append(rows, r)
	}
	return errors.Join(a.print(rows, func(w io.Writer) {
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Lane, short(r.ID), r.Kind, r.Result)
		}
		if len(rows) == 0 {
			fmt.Fprintln(w, "There are none.")
		}
	}), err)
}
