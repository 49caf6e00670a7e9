package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/weirhq/weir/schema"
)

// classInternal is the dead-letter class of an event that made the engine
// panic.
const classInternal = "internal"

// unreadableWait is how long an event waits whose entry cannot be read.
const unreadableWait = time.Minute

// candidate is an event that may be sent: everything is known but the claim.
type candidate struct {
	msg     Message
	intent  Intent
	rev     uint64
	request Request
	life    lifetime
	rule    Rule // when it may be sent within that; nil: at any time
	digest  string
	replay  *Replay // the person's order to send, where the intent is dead or in doubt
	redial  bool    // the event asks that its person be contacted once more
}

// admit takes a message to the point where only the claim is missing: a
// candidate. Or it finds that no request is to be made: then done is the intent
// whose durable steps are left, for finish. If both are nil the message was
// given back. The intent of a candidate, and of done, stays locked.
func (ln *lane) admit(ctx context.Context, m Message) (c *candidate, done *Intent) {
	ln.mu.Lock()
	delete(ln.delayed, placeOf(m))
	ln.mu.Unlock()
	ev, refusal := ln.decode(m)
	key := ln.key(m, ev, refusal)
	if !ln.lock(key) {
		ln.giveBack(m, 2*time.Second, false) // a second delivery while the first is at work
		return nil, nil
	}
	c, done, err := ln.examine(ctx, m, key, ev, refusal)
	if c == nil && (done == nil || done.Key != key) {
		ln.unlock(key)
	}
	if err != nil {
		ln.stumble(ctx, m, key, err)
		return nil, nil
	}
	return c, done
}

// stumble gives back an event for which the ledger failed.
func (ln *lane) stumble(ctx context.Context, m Message, key string, err error) {
	if errors.Is(err, ErrStrange) { // its event waits for a version that can; the others need not
		ln.lg.Error().Err(err).Str("intent", key).Msg("ledger")
		ln.hitched(err)
		ln.giveBack(m, unreadableWait, false)
		return
	}
	ln.lg.Warn().Err(err).Str("intent", key).Msg("ledger")
	ln.giveBack(m, 5*time.Second, false)
	ln.falter(ctx, err)
}

// falter lets a second pass after the ledger failed, while this event's slot
// and the grant's place in the window are still taken: a lane must not march
// through its backlog giving it all back.
func (ln *lane) falter(ctx context.Context, err error) {
	ln.hitched(err)
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

// decode reads the event. An event that makes the decoder panic is refused like
// one that cannot be read.
func (ln *lane) decode(m Message) (ev event.Event, err error) {
	defer ln.rescue(&err)
	return schema.Decode(m.Header(), m.Data(), ln.cfg.MaxEvent)
}

// rescue turns a panic over one event into its refusal.
func (ln *lane) rescue(err *error) {
	if p := recover(); p != nil {
		ln.lg.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack()).Msg("an event made the engine panic")
		*err = &schema.Refusal{Class: classInternal, Reason: "This event could not be processed because of a fault in Weir; its data may be unusual."}
	}
}

// key is the intent's key: of the event, or of the message's place in its
// stream if the event cannot be read. A message that Weir addressed itself
// names it.
func (ln *lane) key(m Message, ev event.Event, refusal error) string {
	o := m.Origin()
	switch {
	case o.Intent != "":
		return o.Intent
	case refusal != nil:
		return PlaceKey(ln.cfg.Name, o)
	default:
		return Key(ln.cfg.Name, ev.Source(), ev.ID())
	}
}

// examine decides by the ledger's entry what is to be done with the message.
func (ln *lane) examine(ctx context.Context, m Message, key string, ev event.Event, refusal error) (*candidate, *Intent, error) {
	in, rev, err := ln.load(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	var digest string
	if refusal == nil {
		digest = schema.Digest(ev)
		known := in.State != Absent && in.Digest != "" // else whatever comes under its id was withdrawn
		if known && digest != in.Digest && digest != in.Former && m.Origin().Intent == "" {
			done, err := ln.conflict(ctx, m, key, ev, digest)
			return nil, done, err
		}
	}
	if in.State == Absent {
		in.Lane, in.Key, in.Digest = ln.cfg.Name, key, digest
		if refusal == nil {
			in.Source, in.ID, in.Type = ev.Source(), ev.ID(), ev.Type()
			var unsure error
			if refusal, unsure = ln.tooOld(ev.Time(), m.Origin().Published); unsure != nil {
				ln.hold(ctx, m, unsure)
				return nil, nil, nil
			}
		}
	}
	replay := ln.order(m.Origin())
	life, untold := ln.lifetime(ev, in, m.Origin(), replay)
	if refusal == nil {
		refusal = untold
	}
	switch in.State {
	case Absent, Waiting:
		if digest != in.Digest { // what a correction has replaced: another message stands for the event
			return nil, &in, nil
		}
		if refusal == nil && ln.doubtful(in, ev.Time(), m.Origin()) {
			return ln.question(ctx, m, in, rev, life, ev)
		}
		wait := ln.left(in, rev)
		if wait > 0 && refusal == nil {
			if ruling, unsure := ln.alive(life); unsure == nil && ruling.Verdict == contactExpired {
				done, err := ln.expire(ctx, in, rev, nil, ruling.Reason)
				return nil, done, err
			}
		}
		switch {
		case wait > ln.e.cfg.Long && in.Later:
			ln.postpone(ctx, m, in, rev, life)
			return nil, nil, nil
		case wait > 0: // looked at now and then: a clock may be set right
			ln.giveBack(m, min(wait, ln.e.cfg.Long), false)
			return nil, nil, nil
		}
		return ln.screen(ctx, m, in, rev, nil, life, ev, refusal)
	case Dead, Doubt:
		if replay != nil && replay.Expect != in.N {
			replay = nil
		}
		switch {
		case in.Open && (replay != nil || digest == in.Digest):
			return ln.reopen(ctx, m, in, rev, replay, life, ev, refusal)
		case replay != nil:
			return ln.screen(ctx, m, in, rev, replay, life, ev, refusal)
		}
	case Started:
		if in, rev, err = ln.takeOver(ctx, m, in, rev); err != nil || in.State == Started {
			return nil, nil, err
		}
		switch {
		case in.State == Waiting:
			return ln.screen(ctx, m, in, rev, nil, life, ev, refusal)
		case in.State == Doubt && in.Open && digest == in.Digest:
			return ln.reopen(ctx, m, in, rev, nil, life, ev, refusal)
		}
	}
	return nil, &in, ln.remind(ctx, in, rev)
}

// load reads an entry. That of a new event is an error as long as there is no
// room for what becomes of it: what is begun must be finished.
func (ln *lane) load(ctx context.Context, key string) (Intent, uint64, error) {
	in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, key)
	if err == nil && in.State == Absent {
		err = ln.e.cfg.Room()
	}
	return in, rev, err
}

// conflict makes a dead letter of an event whose id was taken by another
// content: an intent of its own, which is locked if it is returned.
func (ln *lane) conflict(ctx context.Context, m Message, key string, ev event.Event, digest string) (done *Intent, err error) {
	key = derivedKey(key, digest)
	if !ln.lock(key) {
		ln.giveBack(m, 2*time.Second, false)
		return nil, nil
	}
	defer func() {
		if err != nil {
			ln.unlock(key)
		}
	}()
	in, rev, err := ln.load(ctx, key)
	if err != nil {
		return nil, err
	}
	if in.State == Absent {
		in.Lane, in.Key, in.Digest = ln.cfg.Name, key, digest
		in.Source, in.ID, in.Type = ev.Source(), ev.ID(), ev.Type()
	}
	return ln.refuseEvent(ctx, in, rev, nil, &schema.Refusal{
		Class:  schema.ClassConflict,
		Reason: "Another event with the same source and id but other content was taken before; a changed lead needs a new event id.",
	})
}

// takeOver settles a claim that this goroutine did not make. It is live until
// no answer can come any more; then a conversation may exist, and it is a
// doubt. While it is live the message is given back and the state stays
// Started.
func (ln *lane) takeOver(ctx context.Context, m Message, in Intent, rev uint64) (Intent, uint64, error) {
	ln.mu.Lock()
	unused := ln.unused[in.Nonce]
	ln.mu.Unlock()
	step := Step{Kind: StepStale, Attempt: in.Claims, Open: ln.cfg.Resend && in.Attempts+1 < ln.cfg.Attempts, Reason: "The process that was placing this call stopped before its result was recorded; the call may have been placed."}
	if unused {
		step = Step{Kind: StepRelease, Attempt: in.Claims, Class: "ledger", Reason: "the claim could not be confirmed and was not used"}
	} else {
		live := ln.e.cfg.ClaimAge + ln.a.cfg.Timeout + ln.e.cfg.Margin
		now := time.Now()
		if left := live - now.Sub(ln.sight(in.Key, rev, now)); left > 0 {
			ln.giveBack(m, left+10*time.Millisecond, false)
			return in, rev, nil
		}
	}
	nonce, since := in.Nonce, ln.sight(in.Key, rev, time.Now())
	in, rev, _, err := ln.e.apply(ctx, in, rev, step)
	if err == nil {
		ln.forget(in.Key)
		ln.mu.Lock()
		delete(ln.unused, nonce)
		ln.mu.Unlock()
		// Its last byte went out ClaimAge and Timeout after it was seen.
		ln.sight(in.Key, rev, since.Add(ln.e.cfg.ClaimAge+ln.a.cfg.Timeout))
	}
	return in, rev, err
}

// screen checks whether the event may and can be sent, and refuses it for good
// if not.
func (ln *lane) screen(ctx context.Context, m Message, in Intent, rev uint64, replay *Replay, life lifetime, ev event.Event, refusal error) (*candidate, *Intent, error) {
	var request Request
	var rule Rule
	if refusal == nil {
		if request, rule, refusal = ln.translate(ev); refusal == nil {
			ln.suspicion.clear()
		}
	}
	if skip, ok := errors.AsType[*schema.Skip](refusal); ok {
		done, err := ln.suppress(ctx, in, rev, replay, skip)
		return nil, done, err
	}
	if refusal != nil && replay == nil && ln.suspect(ctx, ev.Type(), refusal) {
		ln.giveBack(m, time.Second, false)
		return nil, nil, nil
	}
	if refusal != nil {
		done, err := ln.refuseEvent(ctx, in, rev, replay, refusal)
		return nil, done, err
	}
	c := &candidate{msg: m, intent: in, rev: rev, request: request, life: life, rule: rule, digest: schema.Digest(ev), replay: replay, redial: schema.Redial(ev)}
	switch ruling, unsure := ln.judge(c); {
	case unsure != nil:
		ln.hold(ctx, m, unsure)
		return nil, nil, nil
	case ruling.Verdict == ContactNever:
		done, err := ln.suppress(ctx, in, rev, replay, &schema.Skip{Class: schema.ClassContact, Reason: ruling.Reason})
		return nil, done, err
	case ruling.Verdict == contactExpired:
		done, err := ln.expire(ctx, in, rev, replay, ruling.Reason)
		return nil, done, err
	case ruling.Verdict == ContactLater:
		return nil, nil, ln.putOff(ctx, c, ruling)
	}
	return c, nil, nil
}

// unsentAgain begins what is said of an event that a person had sent again out of a
// doubt, and that was not.
const unsentAgain = "it was not sent again, and whether an earlier request was obeyed is not known: "

// suppress records that a rule of the lane forbids to send the event. What was once
// in doubt may have been sent, and stays in doubt.
func (ln *lane) suppress(ctx context.Context, in Intent, rev uint64, replay *Replay, skip *schema.Skip) (*Intent, error) {
	step := Step{Kind: StepSuppress, Class: string(skip.Class), Reason: skip.Reason}
	switch {
	case in.State == Waiting && in.Doubted:
		step.Kind, step.Reason = StepQuestion, unsentAgain+skip.Reason
	case in.State == Doubt:
		step.Kind, step.Reason = StepDecline, "the order to send it again was not obeyed: "+skip.Reason
	}
	if replay != nil {
		step.Expect, step.By = replay.Expect, replay.By
	}
	return ln.decide(ctx, in, rev, step)
}

// translate makes the provider's request of an event, and says when it may be
// sent.
func (ln *lane) translate(ev event.Event) (r Request, rule Rule, err error) {
	defer ln.rescue(&err)
	s := Screen(ln.e.cfg.Catalog, ln.cfg.Routes, ln.cfg.Contact, ln.a.cfg.Provider, ev)
	return s.Request, s.Rule, s.Err
}

// refuseEvent makes a dead letter of an event that was not sent. What was once in
// doubt may have been sent, and stays in doubt (H16).
func (ln *lane) refuseEvent(ctx context.Context, in Intent, rev uint64, replay *Replay, refusal error) (*Intent, error) {
	step := Step{Kind: StepRefuse, Class: classInternal, Reason: refusal.Error()}
	if r, ok := errors.AsType[*schema.Refusal](refusal); ok {
		step.Class = string(r.Class)
	}
	if in.State == Waiting && in.Doubted {
		step.Kind, step.Reason = StepQuestion, unsentAgain+step.Reason
	}
	if replay != nil {
		step.Expect, step.By = replay.Expect, replay.By
	}
	return ln.decide(ctx, in, rev, step)
}

// decide records a decision that needs no request.
func (ln *lane) decide(ctx context.Context, in Intent, rev uint64, step Step) (*Intent, error) {
	in, _, _, err := ln.e.apply(ctx, in, rev, step)
	if err != nil {
		return nil, err
	}
	return &in, nil
}
