package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
)

// doubtCmd is weir doubt.
type doubtCmd struct {
	List    doubtListCmd    `cmd:"" help:"List the events in doubt."`
	Show    doubtShowCmd    `cmd:"" help:"Show one with its event and what webhooks said of it, personal data masked."`
	Resolve doubtResolveCmd `cmd:"" help:"Settle one, in your name, after asking the provider."`
}

// doubtListCmd is weir doubt list.
type doubtListCmd struct {
	Lane string `placeholder:"NAME" help:"Of this lane only."`
}

// Run lists the events in doubt.
func (c *doubtListCmd) Run(a *app) error {
	return a.atDesk(func(d *desk) error {
		found := false
		err := d.list(a, consumer.Doubt, c.Lane, "No event is in doubt.", func(kept) bool { found = true; return true })
		if err == nil && !found && c.Lane != "" { // a lane that was removed may have doubts still
			return d.checkLane(c.Lane)
		}
		return err
	})
}

// doubtShowCmd is weir doubt show.
type doubtShowCmd struct {
	Intent string `arg:"" help:"The intent's key, the first characters of it, or the event's id."`
	Lane   string `placeholder:"NAME" help:"Lane to look in."`
	Reveal bool   `help:"Show the event as it came, personal data included."`
}

// Run shows one event in doubt.
func (c *doubtShowCmd) Run(a *app) error {
	return a.show(consumer.Doubt, c.Lane, c.Intent, c.Reveal)
}

// doubtResolveCmd is weir doubt resolve.
type doubtResolveCmd struct {
	Intent string `arg:"" help:"The intent's key, the first characters of it, or the event's id."`
	way
	Lane string `placeholder:"NAME" help:"Lane to look in."`
	decision
}

// way is how a doubt is settled: one of the three.
type way struct {
	Created string `xor:"how" required:"" placeholder:"CONVERSATION" help:"The call was placed: the provider's id of the conversation."`
	Retry   bool   `xor:"how" required:"" help:"Send it again. Where the provider takes no id of ours and the call was placed after all, the person is called twice."`
	Drop    bool   `xor:"how" required:"" help:"It is over: nobody is called."`
}

// resolved is what became of a doubt.
type resolved struct {
	Lane   string         `json:"lane"`
	Intent string         `json:"intent"`
	ID     string         `json:"id,omitzero"`
	State  consumer.State `json:"state"` // after the command; of a retry, before it is sent
	Result string         `json:"result"`
}

// Run settles one doubt.
func (c *doubtResolveCmd) Run(a *app) error {
	by, err := c.signed(a)
	if err != nil {
		return err
	}
	c.Created = strings.TrimSpace(c.Created)
	if c.Created == "" && !c.Retry && !c.Drop { // --created "" must not pass for --drop
		return usageError{errors.New("which conversation? give its id with --created")}
	}
	return a.atDesk(func(d *desk) error {
		found, err := d.find(a.ctx, consumer.Doubt, c.Lane, []string{c.Intent})
		if err != nil {
			return err
		}
		k := found[0]
		r, err := d.resolve(a.ctx, k, c.way, by)
		if err != nil {
			return fmt.Errorf("%s %s: %w", k.Lane, k.Intent, err)
		}
		if c.Retry {
			d.tellAbsent(a, k.Lane)
		}
		return a.print(r, func(w io.Writer) { fmt.Fprintf(w, "%s %s: %s\n", r.Lane, r.Intent, r.Result) })
	})
}

// resolve settles a doubt.
func (d *desk) resolve(ctx context.Context, k kept, how way, by decision) (r resolved, err error) {
	r = resolved{Lane: k.Lane, Intent: k.Intent, ID: k.ID, State: k.now.State}
	if how.Retry {
		return r, d.retry(ctx, k, by, &r)
	}
	return r, d.settle(ctx, k, how.Created, by, &r)
}

// retry orders the event to be sent again.
func (d *desk) retry(ctx context.Context, k kept, by decision, r *resolved) error {
	sent, result, err := d.replay(ctx, k, consumer.Replay{By: by.By, Reason: by.Reason})
	if err != nil {
		return err
	}
	if !sent {
		return errors.New(result)
	}
	r.Result = result + "; if the first call was placed after all, the person is called a second time"
	if takesID(d.cfg, k.Lane) {
		r.Result = result + " with the same id, so that it makes no second conversation"
	}
	return nil
}

// settle asks the lane's owner to write down what the person found out: the
// conversation, or where that is empty that it is over. The same command again repeats
// what a crash may have left undone.
func (d *desk) settle(ctx context.Context, k kept, conversation string, by decision, r *resolved) error {
	order := consumer.Command{
		Verb: consumer.VerbDrop, Intent: k.Intent, Expect: k.now.N, By: by.By, Reason: by.Reason,
	}
	done, result := consumer.Cancelled, "it is over; nobody is called"
	if conversation != "" {
		order.Verb, order.Conversation = consumer.VerbSettle, conversation
		done, result = consumer.Created, "created, as conversation "+clean(conversation)
	}
	if k.now.State != consumer.Doubt && k.now.State != done {
		return errors.New(told(k.now.State))
	}
	reply, err := d.command(ctx, k.Lane, order)
	switch {
	case errors.Is(err, broker.ErrNoOwner):
		return fmt.Errorf("no weir serve is running for lane %s; start it and try again", k.Lane)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("weir serve did not answer in time; look with weir doubt list, the same command may be given again")
	case err != nil:
		return err
	}
	r.State, r.Result = reply.State, result
	return nil
}

// takesID reports whether the provider of a lane takes an id of ours.
func takesID(cfg *config.Config, lane string) bool {
	for _, ac := range cfg.Accounts {
		for _, lc := range ac.Lanes {
			if lc.Name == lane {
				return ac.TakesID()
			}
		}
	}
	return false
}
