package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// eventCancelCmd is weir event cancel.
type eventCancelCmd struct {
	eventNames
	personNames
	Ahead  bool `help:"Withdraw an event that is not published yet, with --source and --id: what comes under them is not sent."`
	DryRun bool `help:"With --person or --lead: only say which events would be withdrawn."`
	Yes    bool `short:"y" help:"With --person or --lead: do not ask."`
	decision
}

// withdrawal is what became of one event that was to be withdrawn.
type withdrawal struct {
	Lane      string         `json:"lane"`
	Intent    string         `json:"intent"`
	ID        string         `json:"id,omitzero"`
	State     consumer.State `json:"state"` // after the command
	Withdrawn bool           `json:"withdrawn"`
	Would     bool           `json:"would_be,omitzero"` // of a dry run
	Result    string         `json:"result"`
	Silent    bool           `json:"-"` // the lane's owner did not answer
}

// Run withdraws events. What cannot be withdrawn does not keep the others.
func (c *eventCancelCmd) Run(a *app) error {
	if err := c.checkNames(); err != nil {
		return err
	}
	if c.named() {
		return c.cancelTheirs(a)
	}
	if c.Ahead && c.ID == "" {
		return usageError{errors.New("an event that is not published yet is named by --source and --id")}
	}
	by, err := c.signed(a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		found, missing := d.seek(a.ctx, c.eventNames)
		if c.ID != "" && len(found) > 1 {
			return usageError{fmt.Errorf("%d lanes have this event; say of which it is to be withdrawn with --lane", len(found))}
		}
		done := make([]withdrawal, 0, len(found))
		failed := 0
		for _, s := range found {
			w, err := d.cancel(a.ctx, s, by, c.Ahead)
			if err != nil {
				return errors.Join(err, a.print(done, drawWithdrawals(done)))
			}
			if done = append(done, w); !w.Withdrawn {
				failed++
			}
		}
		if failed > 0 {
			missing = errors.Join(missing, fmt.Errorf("%d of %d events were not withdrawn", failed, len(found)))
		}
		return errors.Join(a.print(done, drawWithdrawals(done)), missing)
	})
}

func drawWithdrawals(done []withdrawal) func(io.Writer) {
	return func(w io.Writer) {
		for _, r := range done {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Lane, r.Intent, or(r.ID), clean(r.Result))
		}
	}
}

// cancel asks the lane's owner to withdraw an event. The same command again repeats
// what a crash may have left undone.
func (d *desk) cancel(ctx context.Context, s sought, by decision, ahead bool) (withdrawal, error) {
	w := withdrawal{Lane: s.lane, Intent: s.intent, ID: s.id, State: s.now.State}
	order := consumer.Command{Verb: consumer.VerbCancel, Intent: s.intent, By: by.By, Reason: by.Reason}
	switch {
	case !s.known() && !ahead:
		w.Result = "no such event is known or queued, so nothing was withdrawn; to withdraw it before it is published, give --ahead"
		return w, nil
	case s.now.State == consumer.Absent && s.id == "":
		w.Result = "it is queued and cannot be read; it will be a dead letter, and nobody is called"
		return w, nil
	case s.now.State == consumer.Absent:
		order.Source, order.ID = s.source, s.id
	}
	reply, err := d.command(ctx, s.lane, order)
	switch {
	case err == nil:
		w.State, w.Withdrawn, w.Result = reply.State, true, "withdrawn; nobody is called"
		if s.now.State == consumer.Created || s.now.State == consumer.Ended {
			w.Result = "its call was placed; nobody is called again"
		}
	case ctx.Err() != nil:
		return w, ctx.Err()
	case errors.Is(err, broker.ErrNoOwner):
		w.Silent = true
		w.Result = fmt.Sprintf("no weir serve is running for lane %s, so nothing was withdrawn; start it and try again", s.lane)
	case errors.Is(err, context.DeadlineExceeded):
		w.Silent = true
		w.Result = "weir serve did not answer in time; look with weir event show, the same command may be given again"
	default:
		w.State, w.Result = reply.State, err.Error()
	}
	return w, nil
}
