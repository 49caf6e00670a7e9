package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// deadReplayCmd is weir dead replay.
type deadReplayCmd struct {
	deadAct
	With string `placeholder:"FILE" help:"Send this event, a CloudEvent as JSON, in the place of the letter's; - for standard input."`
}

// Run orders dead letters to be sent again.
func (c *deadReplayCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.With != "" && (len(c.Intents) != 1 || !c.loose()) {
		return usageError{errors.New("--with goes with one intent, and with no filter but --lane")}
	}
	by, err := c.signedUnless(c.DryRun, a)
	if err != nil {
		return err
	}
	return a.atDesk(func(d *desk) error {
		var with *correction
		if c.With != "" {
			found, err := d.find(a.ctx, consumer.Dead, c.Lane, c.Intents)
			if err != nil {
				return err
			}
			if with, err = d.correction(a, found[0], c.With); err != nil {
				return err
			}
		}
		do := d.replaying(by, with)
		do.after = func(lanes []string) { d.tellAbsent(a, lanes...) }
		return c.run(a, d, do)
	})
}

// replaying sends letters' events again, or with a correction that event.
func (d *desk) replaying(by decision, with *correction) act {
	r := consumer.Replay{By: by.By, Reason: by.Reason}
	return act{
		can: fateSend, did: fateSent, past: "sent again", ask: "Send %s again?",
		plan: func(ctx context.Context, k kept) (verdict, error) { return d.planReplay(ctx, k, with) },
		do:   func(ctx context.Context, k kept) (verdict, error) { return d.order(ctx, k, r, with) },
	}
}

// planReplay says what an order to send a letter's event again would do.
func (d *desk) planReplay(ctx context.Context, k kept, with *correction) (verdict, error) {
	switch {
	case !k.stays():
		return verdict{fateOf(k.now.State), told(k.now.State)}, nil
	case k.N != k.now.N:
		return unkeptVerdict, nil
	case with == nil && broker.IsCut(k.Letter):
		return verdict{fateCut, broker.ErrCut.Error()}, nil
	}
	o, err := d.broker.Ordered(ctx, k.Lane, k.Intent)
	if err != nil {
		return verdict{}, err
	}
	if o != nil && o.Expect == k.now.N {
		return asked(o, with), nil
	}
	if with != nil {
		return verdict{fateSend, "would be sent again, with the corrected event"}, nil
	}
	return verdict{fateSend, "would be sent again"}, nil
}

// asked is the fate of a letter for which an order waits already. A correction
// comes too late then.
func asked(o *broker.Order, with *correction) verdict {
	if with != nil && (o == nil || o.Corrected != with.digest) {
		return verdict{fateFailed, "already asked for, with another event; it can be corrected when it is dead again"}
	}
	return verdict{fateAsked, "already asked for; it waits for weir serve"}
}

// order orders one letter's event to be sent again: one publish, which the
// lane's owner obeys only if the event is still as it was when the person saw
// it. An error is the broker's, and would be every other letter's too.
func (d *desk) order(ctx context.Context, k kept, r consumer.Replay, with *correction) (verdict, error) {
	in, _, err := d.ledger.Load(ctx, k.Lane, k.Intent)
	if err != nil {
		return verdict{}, err
	}
	switch {
	case in.State != k.State:
		return verdict{fateOf(in.State), told(in.State)}, nil
	case in.N != k.now.N:
		return changedVerdict, nil
	}
	l, err := d.broker.Letter(ctx, k.State, k.Lane, k.Intent)
	if errors.Is(err, broker.ErrNoLetter) {
		return unkeptVerdict, nil
	}
	if err != nil {
		return verdict{}, err
	}
	if k.State == consumer.Dead && l.N != in.N {
		return unkeptVerdict, nil
	}
	r.Expect = in.N
	if with == nil {
		err = d.broker.Replay(ctx, l, r)
	} else {
		l.Header, l.Data = with.header, with.body
		err = d.broker.ReplayCorrected(ctx, l, r, with.digest)
	}
	switch {
	case err == nil:
		return verdict{fateSent, "will be sent again"}, nil
	case errors.Is(err, broker.ErrAsked):
		o, err := d.broker.Ordered(ctx, k.Lane, k.Intent)
		return asked(o, with), err
	case errors.Is(err, broker.ErrCut):
		return verdict{fateCut, broker.ErrCut.Error()}, nil
	case errors.Is(err, nats.ErrMaxPayload):
		return verdict{fateFailed, "with the order it is larger than the broker takes"}, nil
	}
	return verdict{}, err
}

// replay is order for one event that a person looked at.
func (d *desk) replay(ctx context.Context, k kept, r consumer.Replay) (sent bool, result string, err error) {
	v, err := d.order(ctx, k, r, nil)
	return v.fate == fateSent || v.fate == fateAsked, v.words, err
}

// tellAbsent says for which lanes nobody obeys yet.
func (d *desk) tellAbsent(a *app, lanes ...string) {
	for _, lane := range lanes {
		if _, err := d.status(a.ctx, lane); errors.Is(err, broker.ErrNoOwner) {
			fmt.Fprintf(a.stderr, "no weir serve is running for lane %s; the order waits for it\n", lane)
		}
	}
}
