package consumer

import (
	"context"
	"time"
)

// After a loss of state the ledger may have forgotten what was sent (H19): a
// backup was put back, and the events of the hours since come again, from the
// stream or from their publisher. What an event was born before, the boundary,
// is what a person decided at the release. Its birth is the earlier of its own
// time and of its message's; a publisher that sends an old event again without
// its time makes it look new.

// restoredReason is what a person reads of an event that may have been sent.
const restoredReason = "restored: part of Weir's state was lost after this event was born, so the call may have been placed"

// doubtful reports whether an event that the ledger would let be claimed may have
// been sent.
func (ln *lane) doubtful(in Intent, born time.Time, o Origin) bool {
	ln.mu.Lock()
	before := ln.before
	ln.mu.Unlock()
	switch {
	case before.IsZero():
		return false
	case in.State == Waiting: // its message may be a schedule's, and young
		return len(in.History) == 0 || in.History[len(in.History)-1].At.Before(before)
	default: // what Weir itself addressed had an entry once
		return o.Intent != "" || o.Published.Before(before) || !born.IsZero() && born.Before(before)
	}
}

// order returns a person's order to send again. One from before the boundary does
// not count: it may have been obeyed.
func (ln *lane) order(o Origin) *Replay {
	ln.mu.Lock()
	before := ln.before
	ln.mu.Unlock()
	if o.Replay != nil && o.given().Before(before) {
		ln.lg.Warn().Str("intent", o.Intent).Str("by", o.Replay.By).Msg("an order to send again is older than the lane's release and does not count; give it again if it is still meant")
		return nil
	}
	return o.Replay
}

// given is when a person's order was given. The message of one that was put off is
// the schedule's, and younger.
func (o Origin) given() time.Time {
	if o.Replay.At.IsZero() {
		return o.Published
	}
	return o.Replay.At
}

// question brings an event that may have been sent into doubt: for a person, or,
// where the provider takes our id, until it was looked for. Such doubts do not
// count towards the lane's limit.
func (ln *lane) question(ctx context.Context, c *candidate) (*candidate, *Intent, error) {
	step := Step{Kind: StepQuestion, Open: ln.cfg.Resend, Reason: restoredReason}
	var err error
	c.intent, c.rev, _, err = ln.e.apply(ctx, c.intent, c.rev, step)
	switch {
	case err != nil:
		return nil, nil, err
	case c.intent.State == Doubt && c.intent.Open:
		return ln.reopen(ctx, c)
	default: // whatever somebody else made of it meanwhile
		return nil, &c.intent, nil
	}
}

// setHold holds the lane, or with nil lets it go on, unless it is paused.
func (ln *lane) setHold(p *Pause) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	switch {
	case p != nil && ln.held == nil:
		ln.lg.Error().Str("reason", p.Reason).Msg("lane held: nothing is sent until it is released")
	case p == nil && ln.held != nil:
		ln.lg.Info().Msg("lane released")
	}
	ln.held = p
	ln.notify()
}
