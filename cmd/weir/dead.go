package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/schema"
)

// deadCmd is weir dead.
type deadCmd struct {
	List   deadListCmd   `cmd:"" help:"List the dead letters."`
	Show   deadShowCmd   `cmd:"" help:"Show one dead letter with its event, personal data masked."`
	Replay deadReplayCmd `cmd:"" help:"Send dead letters again, in your name, as they are or corrected."`
	Drop   deadDropCmd   `cmd:"" help:"Give dead letters up, in your name: nobody is called for them."`
}

// letterRow is one line of a list of letters.
type letterRow struct {
	Lane     string    `json:"lane"`
	Intent   string    `json:"intent"`
	ID       string    `json:"id,omitzero"` // of the event, as its type and source
	Type     string    `json:"type,omitzero"`
	Source   string    `json:"source,omitzero"`
	Class    string    `json:"class,omitzero"`
	Reason   string    `json:"reason,omitzero"`
	N        int       `json:"n"`
	Claims   int       `json:"claims"`
	Attempts int       `json:"attempts"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

// row is the letter's line, in the ledger's words where it has them.
func (k kept) row() letterRow {
	return letterRow{
		Lane: k.Lane, Intent: k.Intent,
		ID: schema.Mask(cmp.Or(k.now.ID, k.ID)), Type: schema.Mask(cmp.Or(k.now.Type, k.Type)), Source: schema.Mask(cmp.Or(k.now.Source, k.Source)),
		Class: k.class(), Reason: k.reason(), N: k.now.N,
		Claims: k.now.Claims, Attempts: k.now.Attempts, First: k.First, Last: k.Last,
	}
}

// deadListCmd is weir dead list.
type deadListCmd struct {
	letterFilter
}

// Run lists the dead letters.
func (c *deadListCmd) Run(a *app) error {
	take, err := c.takes(time.Now())
	if err != nil {
		return err
	}
	none := "There are no dead letters."
	if !c.empty() {
		none = "There are no such dead letters."
	}
	return a.atDesk(func(d *desk) error {
		found := false
		err := d.list(a, consumer.Dead, c.Lane, none, func(k kept) bool {
			fits := take(k) && c.names(k)
			found = found || fits
			return fits
		})
		if err == nil && !found && c.Lane != "" { // a lane that was removed may have letters still
			return d.checkLane(c.Lane)
		}
		return err
	})
}

// list prints the letters that the filter takes, or says that there are none if
// all could be read.
func (d *desk) list(a *app, state consumer.State, lane, none string, take func(kept) bool) error {
	picked, problems := d.pick(a.ctx, state, lane, take)
	rows := make([]letterRow, len(picked))
	for i, k := range picked {
		rows[i] = k.row()
	}
	err := a.printCut(rows, func(w io.Writer) {
		if len(rows) == 0 {
			if problems == nil {
				fmt.Fprintln(w, none)
			}
			return
		}
		fmt.Fprintln(w, "LANE\tINTENT\tEVENT\tCLASS\tTRIES\tSINCE\tREASON")
		for _, r := range rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
				r.Lane, short(r.Intent), or(r.ID), or(r.Class), r.Claims, when(r.Last), or(r.Reason))
		}
	})
	return errors.Join(err, problems)
}

// deadShowCmd is weir dead show.
type deadShowCmd struct {
	Intent string `arg:"" help:"The intent's key, the first characters of it, or the event's id."`
	Lane   string `placeholder:"NAME" help:"Lane to look in."`
	Reveal bool   `help:"Show the event as it came, personal data included."`
}

// shown is one letter with its event and timeline.
type shown struct {
	letterRow
	State    consumer.State `json:"state"` // by the ledger, now
	Timeline []moment       `json:"timeline,omitempty"`
	Named    []hearsay      `json:"webhooks_named,omitempty"`
	Order    string         `json:"order,omitzero"` // to send it again, which the lane has not obeyed yet
	content
}

// hearsay is a conversation that a webhook named as this event's, and that could not
// be taken for it.
type hearsay struct {
	Conversation string    `json:"conversation"`
	Why          string    `json:"why"` // it could not
	At           time.Time `json:"at"`
}

// Run shows one dead letter.
func (c *deadShowCmd) Run(a *app) error {
	return a.show(consumer.Dead, c.Lane, c.Intent, c.Reveal)
}

// show shows one letter of the state.
func (a *app) show(state consumer.State, lane, word string, reveal bool) error {
	return a.atDesk(func(d *desk) error {
		found, err := d.find(a.ctx, state, lane, []string{word})
		if err != nil {
			return err
		}
		s, err := d.shown(a.ctx, found[0], reveal)
		if err != nil {
			return err
		}
		return a.print(s, s.draw)
	})
}

// shown gathers what is known of a letter.
func (d *desk) shown(ctx context.Context, k kept, reveal bool) (shown, error) {
	s := shown{letterRow: k.row(), State: k.now.State, Timeline: timeline(k.now), content: contentOf(k.Header, k.Data, reveal)}
	for _, n := range k.now.Named {
		s.Named = append(s.Named, hearsay(n))
	}
	if o, err := d.broker.Ordered(ctx, k.Lane, k.Intent); err != nil {
		return s, err
	} else if o != nil && k.stays() && o.Expect == k.now.N {
		s.Order = fmt.Sprintf("to be sent again, by %s: %s", o.By, o.Reason)
	}
	return s, nil
}

// draw shows the letter to a person.
func (s shown) draw(w io.Writer) {
	for _, field := range [][2]string{
		{"lane", s.Lane}, {"intent", s.Intent}, {"state", string(s.State)},
		{"class", s.Class}, {"reason", s.Reason},
		{"event id", s.ID}, {"event type", s.Type}, {"event source", s.Source},
		{"claims", strconv.Itoa(s.Claims)}, {"in doubt", strconv.Itoa(s.Attempts) + " times"},
		{"first seen", when(s.First)}, {"since", when(s.Last)},
	} {
		fmt.Fprintf(w, "%s\t%s\n", field[0], or(field[1]))
	}
	if s.Order != "" {
		fmt.Fprintf(w, "ordered\t%s\n", clean(s.Order))
	}
	for _, t := range s.Timeline {
		t.draw(w)
	}
	for _, n := range s.Named {
		fmt.Fprintf(w, "webhook\t%s  named conversation %s: %s\n", when(n.At), clean(n.Conversation), clean(n.Why))
	}
	s.content.draw(w)
}
