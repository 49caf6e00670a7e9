package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// deadDropCmd is weir dead drop.
type deadDropCmd struct {
	deadAct
}

// Run gives dead letters up.
func (c *deadDropCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	by, err := c.signedUnless(c.DryRun, a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		return c.run(a, d, d.dropping(by))
	})
}

// dropping gives letters up.
func (d *desk) dropping(by decision) act {
	silent := make(map[string]string) // lanes whose owner does not answer, and what that means
	return act{
		can: fateDrop, did: fateDropped, past: "dropped", ask: "Drop %s? Nobody is called for what is dropped.",
		plan: planDrop,
		do:   func(ctx context.Context, k kept) (verdict, error) { return d.drop(ctx, k, by, silent) },
	}
}

// planDrop says what dropping a letter would do. One that was ordered to be sent
// again can be dropped as long as nothing was sent.
func planDrop(_ context.Context, k kept) (verdict, error) {
	switch {
	case !k.stays():
		return verdict{fateOf(k.now.State), told(k.now.State)}, nil
	case k.N != k.now.N:
		return unkeptVerdict, nil
	}
	return verdict{fateDrop, "would be dropped"}, nil
}

// drop asks the lane's owner to write down that a letter is over. Given again,
// the command repeats what a crash may have left undone.
func (d *desk) drop(ctx context.Context, k kept, by decision, silent map[string]string) (verdict, error) {
	if words, ok := silent[k.Lane]; ok {
		return verdict{fateFailed, words}, nil
	}
	reply, err := d.command(ctx, k.Lane, consumer.Command{
		Verb: consumer.VerbDrop, Intent: k.Intent, Expect: k.now.N, By: by.By, Reason: by.Reason,
	})
	switch {
	case err == nil:
		return verdict{fateDropped, "dropped; nobody is called"}, nil
	case ctx.Err() != nil:
		return verdict{}, ctx.Err()
	case errors.Is(err, broker.ErrNoOwner):
		silent[k.Lane] = fmt.Sprintf("no weir serve is running for lane %s; start it and try again", k.Lane)
	case errors.Is(err, context.DeadlineExceeded):
		silent[k.Lane] = fmt.Sprintf("weir serve did not answer in time for lane %s; the same command may be given again", k.Lane)
	case reply.State != "" && reply.State != consumer.Dead:
		return verdict{fateOf(reply.State), told(reply.State)}, nil
	default: // the owner's word, or a broker that other letters will meet again
		return verdict{fateFailed, err.Error()}, nil
	}
	return verdict{fateFailed, silent[k.Lane]}, nil
}
