package consumer

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// An event that comes while nobody may be contacted waits (H4): the ledger says
// until when and why, then the broker keeps it (see postpone), and nothing of it
// counts as an attempt. The rules are asked each time it comes: before it may be
// claimed, once more just before the claim, and last when the first byte is about
// to go out. So it is judged by the rules of then, and one that comes too early
// waits again.
//
// An order of a person to send a dead letter or doubt again waits too. Nothing is
// written of it, for the state stays what it was: the broker keeps the order
// itself, which still counts only for the N that the person saw. A crash before
// the order is acknowledged leaves two of them, of which the second one meets
// another N.

// causeWindow is the cause of a wait for a window to open.
const causeWindow = "window"

// mostDeferred bounds one wait. The sweep finds a postponed event that was lost as
// long as its entry is younger than sweepBack and its stream still has it.
const mostDeferred = 3 * 24 * time.Hour

// judge rules on a candidate at this moment. Where a rule depends on the time of
// day and that cannot be relied on, nobody may be contacted: unsure says why (H25).
// What the clocks differ by without that, both must allow.
func (ln *lane) judge(c *candidate) (ruling Ruling, unsure error) {
	ruling, unsure = ln.alive(c.life)
	if unsure != nil || ruling.Verdict != ContactNow || c.rule == nil {
		return ruling, unsure
	}
	if err := ln.distrust(); err != nil {
		return Ruling{}, fmt.Errorf("%w, so nobody can tell whether people may be contacted now; set the clocks right", err)
	}
	now := time.Now()
	ruling = c.rule.Judge(c.intent.Key, now)
	if theirs, ok := ln.e.cfg.Clock.broker(now); ok && ruling.Verdict == ContactNow {
		ruling = c.rule.Judge(c.intent.Key, theirs)
	}
	return c.life.within(ruling), nil
}

// untimely reports why a candidate may not be sent any more.
func (ln *lane) untimely(c *candidate) error {
	ruling, err := ln.judge(c)
	if err == nil && ruling.Verdict != ContactNow {
		err = fmt.Errorf("not sent: %s", ruling.Reason)
	}
	return err
}

// inTime returns the candidates that may be sent now. The others are given back,
// to be judged from the start.
func (ln *lane) inTime(group []*candidate, g *grant) []*candidate {
	return keep(group, func(_ int, c *candidate) bool {
		if ln.untimely(c) == nil {
			return true
		}
		ln.letGo(g, []*candidate{c}, time.Second)
		return false
	})
}

// putOff makes an event wait for the time that a ruling names.
func (ln *lane) putOff(ctx context.Context, c *candidate, ruling Ruling) error {
	now := time.Now()
	until := earlier(ruling.Until, now.Add(mostDeferred))
	if c.replay != nil {
		ln.tellWait(c.intent, cmp.Or(ruling.cause, causeWindow), ruling.Rule, ruling.Reason, until)
		ln.putOffOrder(ctx, c, ln.e.until(until))
		return nil
	}
	step := Step{
		Kind: StepDefer, NotBefore: until, Later: until.Sub(now) > ln.e.cfg.Long, Reason: ruling.Reason,
		Class: cmp.Or(ruling.cause, causeWindow), Rule: ruling.Rule, Born: c.life.born,
	}
	if o := c.msg.Origin(); o.Intent == "" {
		step.Sequence = o.Sequence
	}
	in, rev, effect, err := ln.e.apply(ctx, c.intent, c.rev, step)
	switch {
	case err != nil:
		return err
	case effect != Applied: // somebody else has it now
		ln.giveBack(c.msg, 2*time.Second, false)
	case in.Later:
		ln.postpone(ctx, c.msg, in, rev, c.life)
	default:
		ln.waits.put(c.msg, step.Class)
		ln.giveBack(c.msg, ln.left(in, rev), false)
	}
	return nil
}

// putOffOrder makes a person's order wait.
func (ln *lane) putOffOrder(ctx context.Context, c *candidate, wait time.Duration) {
	order := *c.replay
	order.At = c.msg.Origin().given()
	if wait <= ln.e.cfg.Long {
		ln.waits.put(c.msg, CauseWindow)
		ln.giveBack(c.msg, wait, false)
		return
	}
	ln.keepUntil(ctx, c.msg, Postponed{
		Lane: c.intent.Lane, Intent: c.intent.Key, N: c.intent.N, At: ln.e.delivery(wait),
		Header: c.msg.Header(), Data: c.msg.Data(), Replay: &order,
	})
}
