package consumer

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// What is known of a person can be forgotten. Of an event that is over the ledger
// keeps its key, its state and when what happened: enough never to call anybody
// twice, and to count the contact. Source, id, type and digest of the event and all
// texts go, and stay away: no later step brings one back.
//
// It is a decision about a state that is final, so an event that waits is withdrawn
// first, and a dead letter given up. What is under way, or in doubt, cannot be
// forgotten: its end, or the person who settles it, needs what would go.
//
// The order is: the outcome, for a process may have died before it told it; then the
// ledger. Whoever ordered it removes the event's copies afterwards, and the
// outcomes. From then on nothing of the event is told: an outcome would bring back
// what was removed. A message that comes again under its source and id meets the
// entry, and is acknowledged; with the digest gone, whatever its content.

// ConflictKey returns the intent's key of another content that came under the
// source and id of an intent; digest is that content's.
func ConflictKey(key, digest string) string { return derivedKey(key, digest) }

// erasable reports whether an event in this state can be forgotten.
func erasable(s State) bool {
	switch s {
	case Ended, Cancelled, Expired, Suppressed:
		return true
	default:
		return false
	}
}

// counted are the reasons of an end by which contacts are counted (see Reach). They
// are Weir's own words.
var counted = []string{"unanswered", "failed", "cancelled"}

// forgotten returns the intent with nothing of its event but what counts. The line
// of the person who ordered that is written after it.
func (in Intent) forgotten(now time.Time) Intent {
	in.Forgotten = now
	in.Source, in.ID, in.Type, in.Trace = "", "", "", ""
	in.Digest, in.Former, in.Print = "", "", ""
	in.RedialOf, in.Next = "", ""
	in.Sequence = 0
	for i := range in.History {
		in.History[i] = in.History[i].wordless()
	}
	return in.speechless()
}

// speechless takes out what providers and webhooks said.
func (in Intent) speechless() Intent {
	in.Reason, in.Class = "", ""
	in.Named, in.Session = nil, Session{}
	return in
}

// wordless is the line without its texts.
func (t Transition) wordless() Transition {
	t.By = ""
	if t.State != Ended || !slices.Contains(counted, t.Reason) {
		t.Reason = ""
	}
	return t
}

// hushed is what a step made of an intent that was forgotten before: what it brought
// of texts goes at once.
func (in Intent) hushed() Intent {
	in = in.speechless()
	if n := len(in.History); n > 0 {
		in.History[n-1] = in.History[n-1].wordless()
	}
	return in
}

// erase forgets one event that is over: VerbForget.
func (ln *lane) erase(ctx context.Context, cmd Command) (State, error) {
	if cmd.By == "" || cmd.Reason == "" {
		return "", fmt.Errorf("a name and a reason are needed")
	}
	if !ln.await(ctx, cmd.Intent) {
		in, _, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, cmd.Intent)
		if err == nil && in.MayEnd() {
			err = ln.forgetRedial(ctx, in, cmd)
		}
		if err == nil {
			err = fmt.Errorf("the event is being worked on; try again in a moment")
		}
		return in.State, err
	}
	defer ln.unlock(cmd.Intent)
	in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, cmd.Intent)
	if err != nil {
		return "", err
	}
	step := Step{Kind: StepForget, Expect: cmd.Expect, By: cmd.By, Reason: cmd.Reason}
	_, effect := Next(in, step, time.Now())
	if effect == Applied || in.MayEnd() && in.N == cmd.Expect {
		if err := ln.forgetRedial(ctx, in, cmd); err != nil {
			return in.State, err
		}
	}
	switch effect {
	case Absorbed:
		return in.State, nil
	case Denied:
		return in.State, step.refusal(in)
	}
	if in.State != Ended && in.within(dedupe) { // of an end the outcome came first
		if err := ln.publish(ctx, in, in.State, nil); err != nil {
			return in.State, err
		}
	}
	done, _, effect, err := ln.e.apply(ctx, in, rev, step)
	if err == nil && effect == Denied {
		err = step.refusal(done)
	}
	if err != nil {
		return done.State, err
	}
	ln.forget(in.Key)
	ln.setUntold(in.Key, false)
	ln.lg.Info().Str("intent", in.Key).Str("by", cmd.By).Msg("event forgotten")
	return done.State, nil
}

// within reports whether the intent's newest transition is younger than d.
func (in Intent) within(d time.Duration) bool {
	n := len(in.History)
	return n == 0 || time.Since(in.History[n-1].At) < d
}

// unforgettable says why an event in this state cannot be forgotten, and what can be
// done.
func unforgettable(s State) error {
	switch s {
	case Absent:
		return fmt.Errorf("the ledger does not know the event")
	case Waiting:
		return fmt.Errorf("the event may still be sent; withdraw it first with weir event cancel")
	case Started:
		return fmt.Errorf("the event is being sent; try again in some minutes")
	case Created:
		return fmt.Errorf("its conversation is under way, or its end is not known yet; try again when it is over")
	case Doubt:
		return fmt.Errorf("the event is in doubt: its call may have been placed; settle it with weir doubt resolve, then try again")
	case Dead:
		return fmt.Errorf("the event is a dead letter; give it up first with weir dead drop")
	default:
		return fmt.Errorf("the event is %s", stateName(s))
	}
}
