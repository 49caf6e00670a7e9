package consumer

import (
	"context"
	"errors"
	"slices"
	"time"
)

// What a webhook names for an intent that has no conversation, or another one,
// is believed only of the provider's own answer: it has to echo the intent and an
// attempt, and to be about the number and the agent that were asked for. What
// does not is shown to a person beside the doubt (H13).

// weigh asks the provider about the conversation that a webhook named, and writes
// down what follows; again says that the intent changed meanwhile.
func (ln *lane) weigh(ctx context.Context, u *rumour, in Intent) (again bool, err error) {
	if u.Conversation == "" {
		ln.count(func(c *HookCounts) { c.Unknown++ })
		return false, ErrUnknown
	}
	if u.conv == nil {
		if !ln.a.afford(ctx, ln) {
			return rest(ctx, rumourRest), ErrLater
		}
		conv, err := ln.a.ask(ctx, ln.a.poolOf(in.Channel), u.Conversation)
		switch {
		case errors.Is(err, ErrNotFound):
			return ln.name(ctx, in, u.Conversation, "the provider does not know it under this id")
		case err != nil:
			ln.lg.Warn().Err(err).Str("intent", in.Key).Msg("ask for the conversation that a webhook named")
			return rest(ctx, rumourRest), ErrLater
		}
		u.conv, u.Conversation = &conv, conv.ID // the provider's own name for it
	}
	if why := doubtful(in, *u.conv); why != "" {
		return ln.name(ctx, in, u.Conversation, why)
	}
	if !ln.lock(in.Key) {
		return true, nil
	}
	defer ln.unlock(in.Key)
	return ln.accept(ctx, u)
}

// doubtful says why the provider's answer does not show the intent's
// conversation; empty if it does.
func doubtful(in Intent, conv Conversation) string {
	switch {
	case conv.Intent != in.Key:
		return "the provider's own record does not name this event"
	case conv.Attempt < 1:
		return "the provider's own record does not name the attempt"
	case in.Print == "" || printOf(in.Key, conv.Pair) != in.Print:
		return "its number or agent is not the one that was asked for"
	default:
		return ""
	}
}

// accept writes down that the conversation exists: the outcome first, for no
// message stands behind it, then the ledger (H8). The caller holds the intent's
// lock.
func (ln *lane) accept(ctx context.Context, u *rumour) (again bool, err error) {
	conv := *u.conv
	step := Step{Kind: StepEvidence, Attempt: conv.Attempt, Conversation: conv.ID, Reason: conv.Status}
	var in Intent
	var effect Effect
	applied := false // in an earlier try, whose rest failed
	err = ln.e.persist(ctx, func(ctx context.Context) error {
		before, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, u.Intent)
		if err != nil {
			return err
		}
		if in, effect = before, Denied; before.State == Started && ln.unsettledFor(before, rev) > 0 {
			again = true
			return nil
		}
		next, first := Next(before, step, time.Now())
		if first == Applied {
			if err := ln.publish(ctx, next, Created, nil); err != nil {
				return err
			}
		}
		if in, _, effect, err = ln.e.apply(ctx, before, rev, step); err != nil || effect == Denied {
			return err
		}
		applied = applied || effect == Applied
		if in.State != Created && in.State != Ended {
			return nil
		}
		return ln.discard(ctx, in)
	})
	switch {
	case err != nil:
		return false, ErrLater
	case again:
		return true, ErrLater
	case applied:
		effect = Applied
	}
	return ln.accepted(ctx, in, conv, effect)
}

// accepted does in this process what follows of evidence that was written down.
func (ln *lane) accepted(ctx context.Context, in Intent, conv Conversation, effect Effect) (again bool, err error) {
	switch effect {
	case Alarm: // the observer is told
	case Applied:
		ln.count(func(c *HookCounts) { c.Settled++ })
		ln.mu.Lock()
		delete(ln.doubts, in.Key)
		ln.mu.Unlock()
		ln.settled(in.Key)
		ln.forget(in.Key)
	case Absorbed:
		return in.State == Created, nil
	default:
		return false, nil
	}
	key := ln.a.placed(in, conv)
	if !conv.Ended {
		ln.a.hold(ln, key, in, conv)
		return effect == Applied, nil // and now for its end
	}
	ln.a.over(key, conv)
	if effect == Applied {
		return false, ln.end(ctx, key, conv.ID, conv, true)
	}
	return false, nil
}

// placed is the key of the slot that a conversation has, or may take: that of its
// attempt, unless another conversation of the same attempt has it.
func (a *account) placed(in Intent, conv Conversation) slotKey {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.keyOf(in, conv.Attempt)
	if s := a.slots[key]; s != nil && s.conversation != "" && !sameID(s.conversation, conv.ID) {
		key.attempt = -1 - slices.IndexFunc(in.Others, func(other string) bool { return sameID(other, conv.ID) })
	}
	return key
}

// hold takes a slot for a conversation that turned out to be live: over the
// limit if need be, for it is there.
func (a *account) hold(ln *lane, key slotKey, in Intent, conv Conversation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.occupy(ln, key, in.Channel, in.claimedAt(conv.Attempt))
	s.conversation, s.doubt, s.poll = conv.ID, false, time.Now().Add(clamp(a.mean()/8))
	a.file(s)
	a.wake()
}

// over frees the slot of a conversation that turned out to be over.
func (a *account) over(key slotKey, conv Conversation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.slots[key]; s != nil {
		if s.pool.counted {
			a.measured(conv)
		}
		a.drop(s)
		a.wake()
	}
}

// name keeps what a webhook named for a person to see, beside the doubt.
func (ln *lane) name(ctx context.Context, in Intent, id, why string) (again bool, err error) {
	err = ln.e.persist(ctx, func(ctx context.Context) error {
		in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, in.Key)
		if err != nil {
			return err
		}
		next, changed := in.named(Named{Conversation: id, Why: why, At: time.Now()})
		if !changed {
			return nil
		}
		if _, err = ln.e.cfg.Ledger.Store(ctx, next, rev); err == nil {
			ln.count(func(c *HookCounts) { c.Named++ })
			ln.lg.Warn().Str("intent", in.Key).Str("conversation", id).Str("why", why).Msg("a webhook named a conversation that could not be confirmed")
		}
		return err
	})
	return false, err
}
