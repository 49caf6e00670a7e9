package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// A doubt settles itself where the provider takes our id, and makes one
// conversation at most of each id (H16):
//
//  1. The answer to a request is lost. The ledger says "doubt, open". The event
//     stays with the broker, the slot stays held, and the account asks for our
//     id at once (see inquire): found, it is created.
//  2. "Not found" says nothing for VisibleAfter. After that it frees the slot,
//     and the event, delivered again, is looked up once more: found, it is
//     created; not found, the same id is sent again under a claim of its own.
//  3. Whatever but a conversation comes of that leaves the doubt what it is:
//     back to 1. After LaneConfig.Attempts doubtful requests, or where our id
//     names something else, a person is asked: the doubt is parked.
//
// A crash at any point leaves an open doubt, or a claim that becomes one, and an
// event that is delivered again.

// heal gives the message of an open doubt back until its id can be sent again.
func (ln *lane) heal(c *candidate, in Intent, r Result) {
	ln.sight(in.Key, c.rev, time.Now())
	wait := ln.a.cfg.VisibleAfter
	if r.Verdict != VerdictDoubt && r.Verdict != VerdictRejected {
		wait = max(wait, ln.delay(c, in, r))
	}
	ln.unsettled(in.Key)
	ln.waits.put(c.msg, CauseDoubt)
	ln.giveBack(c.msg, wait, false)
}

// reopen takes an open doubt as far as it goes without a person: its
// conversation is found, its id is to be sent again (a candidate), it has to
// wait, or it is parked. Where a person ordered it to be sent again, it is looked
// for all the same (H10).
func (ln *lane) reopen(ctx context.Context, c *candidate) (*candidate, *Intent, error) {
	in, rev := c.intent, c.rev
	ln.unsettled(in.Key)
	now := time.Now()
	blind, trouble := ln.a.blind(now)
	wait := max(ln.a.cfg.VisibleAfter-now.Sub(ln.sight(in.Key, rev, now)), ln.left(in, rev), blind)
	if errors.Is(trouble, ErrUnauthorized) && now.Sub(in.Claimed) > ln.a.cfg.MaxCall {
		return ln.parked(ctx, in, rev, "what became of it cannot be looked up: "+trouble.Error())
	}
	if wait > 0 {
		ln.waits.put(c.msg, CauseDoubt)
		ln.giveBack(c.msg, wait, false)
		return nil, nil, nil
	}
	err := c.refusal
	if err == nil {
		c.request, c.rule, err = ln.translate(c.ev)
	}
	switch {
	case err != nil:
		return ln.parked(ctx, in, rev, "the event cannot be sent again: "+err.Error())
	case !ln.cfg.Resend:
		return ln.parked(ctx, in, rev, in.Reason)
	case in.Attempts >= ln.cfg.Attempts:
		return ln.parked(ctx, in, rev, fmt.Sprintf("%d requests did not tell what became of it: %s", in.Attempts, in.Reason))
	}
	conv, err := ln.a.look(ctx, ln.a.poolOf(c.request.Channel), in.Key)
	switch {
	case errors.Is(err, ErrNotFound):
		return ln.again(ctx, c)
	case err != nil:
		ln.a.mu.Lock()
		ln.a.shut(time.Now(), err)
		ln.a.mu.Unlock()
		ln.complain(err)
		ln.waits.put(c.msg, CauseDoubt)
		ln.giveBack(c.msg, 5*time.Second, false)
		return nil, nil, nil
	case foreign(conv, c.request.Pair):
		ln.lg.Error().Str("intent", in.Key).Msg("our id names a conversation that differs from the one asked for")
		done, err := ln.give(ctx, in, rev, Step{Kind: StepPark, Foreign: true, Reason: foreignReason})
		return nil, done, err
	}
	done, err := ln.decide(ctx, in, rev, found(in, conv))
	if err != nil {
		return nil, nil, err
	}
	ln.a.adopt(ln, *done, now, 0)
	return nil, done, nil
}

// again returns the candidate of an open doubt whose id may be sent again now.
func (ln *lane) again(ctx context.Context, c *candidate) (*candidate, *Intent, error) {
	switch ruling, unsure := ln.judge(c); {
	case unsure != nil:
		return nil, nil, unsureError{unsure}
	case ruling.Verdict == ContactNever, ruling.Verdict == contactExpired:
		return ln.parked(ctx, c.intent, c.rev, "the event cannot be sent again: "+ruling.Reason)
	case ruling.Verdict == ContactLater: // what became of it is asked for now and then
		ln.waits.put(c.msg, CauseWindow)
		ln.giveBack(c.msg, min(ln.e.until(ruling.Until), ln.e.cfg.Long), false)
	default:
		return c, nil, nil
	}
	return nil, nil, nil
}

// give hands an open doubt to a person, in the ledger; its durable steps are
// left to finish.
func (ln *lane) give(ctx context.Context, in Intent, rev uint64, step Step) (*Intent, error) {
	done, err := ln.decide(ctx, in, rev, step)
	if err == nil && done.parked() {
		ln.stop(ctx, ln.doubt(in.Key, step.Reason))
	}
	return done, err
}

// parked is give in the shape of reopen.
func (ln *lane) parked(ctx context.Context, in Intent, rev uint64, reason string) (*candidate, *Intent, error) {
	done, err := ln.give(ctx, in, rev, Step{Kind: StepPark, Reason: reason})
	return nil, done, err
}

// foreignReason is what a person reads of a doubt whose id is another's.
const foreignReason = "the id of this event names a conversation with another person or on another channel"

// foreign reports whether a conversation found under our id is not the one that
// was asked for, as far as both are known.
func foreign(conv Conversation, pair string) bool {
	return conv.Pair != "" && pair != "" && conv.Pair != pair
}

// found is the step that a conversation under our id makes. Whichever attempt
// made it, there is only the one.
func found(in Intent, conv Conversation) Step {
	return Step{Kind: StepEvidence, Attempt: in.Claims, Conversation: in.Key, Reason: conv.Status}
}

// witness makes it known that the conversation of a doubt exists, and then
// writes it down; the slot's later polls ask for its end. No message needs to
// stand behind it: what is left undone, the next poll or the event's next
// delivery repeats.
func (ln *lane) witness(ctx context.Context, s *slot, conv Conversation) error {
	key := s.key.intent
	if !ln.lock(key) {
		return nil // being worked on: the next poll will tell
	}
	defer ln.unlock(key)
	in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, key)
	if err != nil {
		return err
	}
	if in.State == Started || in.Foreign { // an answer may still come; a person has to look
		return nil
	}
	step := found(in, conv)
	next, effect := Next(in, step, time.Now())
	switch effect {
	case Denied, Alarm:
		return nil
	case Applied:
		if err := ln.publish(ctx, next, Created, nil); err != nil {
			return err
		}
		if in, _, _, err = ln.e.apply(ctx, in, rev, step); err != nil {
			return err
		}
	}
	ln.mu.Lock()
	delete(ln.doubts, key)
	ln.mu.Unlock()
	ln.settled(key)
	ln.a.confirm(s)
	return ln.discard(ctx, in)
}

// confirm notes that the conversation of a doubt exists.
func (a *account) confirm(s *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.doubt = false
	a.file(s)
}

// look asks the provider for a conversation of ours.
func (a *account) look(ctx context.Context, p *pool, id string) (Conversation, error) {
	conv, err := a.ask(ctx, p, id)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		a.deaf = 0
	default:
		a.hush(now)
	}
	if errors.Is(err, ErrUnauthorized) { // whatever is asked for
		a.shut(now, err)
	}
	return conv, err
}

// shut shuts the eyes of reopen for a while after a look of its own failed: looks
// that hang must not take the lane's time from the events that can be sent. A call
// that cannot be asked for says nothing of a doubt. The caller holds mu.
func (a *account) shut(now time.Time, why error) {
	a.blindUntil, a.blindness = now.Add(a.cfg.VisibleAfter), why
}

// ask asks the provider for a conversation of this id, and enters what the
// answer's headers say. If it fails, the id may be to blame: whoever knows the
// webhooks' address chooses it.
func (a *account) ask(ctx context.Context, p *pool, id string) (Conversation, error) {
	began := time.Now()
	conv, err := a.conversation(ctx, id)
	now := time.Now()
	a.compare(conv.Header, began, now)
	a.mu.Lock()
	defer a.mu.Unlock()
	if conv.Header != nil { // beside an error, too: a 429 speaks of everything
		p.observe(ratelimiter.Outcome{
			Began: began, Done: now, Reading: ratelimiter.Parse(conv.Header, a.cfg.Headers, now),
		})
	}
	return conv, err
}

// blind is for how long reopen looks for nothing, and why.
func (a *account) blind(now time.Time) (time.Duration, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.blindUntil.After(now) {
		return 0, nil
	}
	return a.blindUntil.Sub(now), a.blindness
}

// unsettled counts an open doubt, for display, until it is settled.
func (ln *lane) unsettled(key string) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.open[key] = true
}

func (ln *lane) settled(key string) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	delete(ln.open, key)
}
