package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/weirhq/weir/schema"
)

// classInternal is the dead-letter class of an event that made the engine
// panic.
const classInternal = "internal"

// unreadableWait is how long an event waits whose entry cannot be read.
const unreadableWait = time.Minute

// candidate is an event that may be sent. When screen or reopen has let it pass,
// everything is known but the claim.
type candidate struct {
	msg     Message
	ev      *schema.Reading
	refusal error // why it cannot be sent whatever its lane says: it cannot be read, or is too old
	digest  string
	intent  Intent
	rev     uint64
	life    lifetime
	replay  *Replay // the person's order to send; only where it holds for the intent as it is
	redial  bool    // the event asks that its person be contacted once more
	first   string  // of one of Weir's redials: the id of the event that was called first
	request Request
	rule    Rule // when it may be sent within its lifetime; nil: at any time

	fetched time.Time // for the observer
	waits   []Waited  // the same, since its claim
}

// entrant is a message that has come. Its intent is locked, and what the ledger has of
// it was read after that.
type entrant struct {
	msg     Message
	at      time.Time
	ev      *schema.Reading
	refusal error  // why the event cannot be read
	key     string // empty: another one is at work on the intent, and the message was given back
	in      Intent
	rev     uint64
	err     error // of in and rev
}

// receive decodes a batch, locks its intents and reads their entries: all at one time,
// for one after the other would hold up the batch by as many of the broker's answers. An
// entry is as old as what was done meanwhile with those before it in the batch; as
// after any pause of the process, the lock and the compare-and-set see to the rest.
func (ln *lane) receive(ctx context.Context, msgs []beating) []entrant {
	all := make([]entrant, len(msgs))
	for i := range msgs {
		all[i] = ln.arrive(&msgs[i])
	}
	if len(all) == 1 {
		ln.read(ctx, &all[0])
		return all
	}
	ln.e.readers.share(len(all), func(i int) { ln.read(ctx, &all[i]) })
	return all
}

func (ln *lane) read(ctx context.Context, e *entrant) {
	if e.key != "" {
		e.in, e.rev, e.err = ln.load(ctx, e.key)
	}
}

func (ln *lane) arrive(m Message) entrant {
	e := entrant{msg: m, at: time.Now()}
	ln.mu.Lock()
	delete(ln.delayed, placeOf(m))
	ln.mu.Unlock()
	ln.waits.came(m)
	e.ev, e.refusal = ln.decode(m)
	if key := ln.key(m, e.ev, e.refusal); ln.lock(key) {
		e.key = key
	} else {
		ln.giveBack(m, 2*time.Second, false) // a second delivery while the first is at work
	}
	return e
}

// admit takes an entrant to the point where only the claim is missing: a
// candidate. Or it finds that no request is to be made: then done is the intent
// whose durable steps are left, for finish. If both are nil the message was
// given back; slow says that its slot is to be kept for the time of a falter. The
// intent of a candidate, and of done, stays locked.
func (ln *lane) admit(ctx context.Context, e *entrant) (c *candidate, done *Intent, slow bool) {
	if e.key == "" {
		return nil, nil, false
	}
	c, done, err := ln.examine(ctx, e)
	if c == nil && (done == nil || done.Key != e.key) {
		ln.unlock(e.key)
	}
	if err != nil {
		return nil, nil, ln.stumble(e.msg, e.key, err)
	}
	if c != nil {
		c.fetched = e.at
	}
	return c, done, false
}

// stumble gives back an event for which the ledger failed, or that cannot be judged.
// It reports whether the lane is to falter.
func (ln *lane) stumble(m Message, key string, err error) (slow bool) {
	ln.hitched(err)
	if _, unsure := errors.AsType[unsureError](err); unsure {
		ln.hold(m)
		return true
	}
	ln.waits.put(m, CauseBroker)
	if errors.Is(err, ErrStrange) { // its event waits for a version that can; the others need not
		ln.lg.Error().Err(err).Str("intent", key).Msg("ledger")
		ln.giveBack(m, unreadableWait, false)
		return false
	}
	ln.lg.Warn().Err(err).Str("intent", key).Msg("ledger")
	ln.giveBack(m, 5*time.Second, false)
	return true
}

// falter lets a second pass after the ledger failed, while this event's slot
// and the grant's place in the window are still taken: a lane must not march
// through its backlog giving it all back.
func falter(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
}

// decode reads the event. An event that makes the decoder panic is refused like
// one that cannot be read.
func (ln *lane) decode(m Message) (ev *schema.Reading, err error) {
	defer func() {
		if ev == nil {
			ev = &schema.Reading{}
		}
	}()
	defer ln.rescue(&err)
	return schema.DecodeReading(m.Header(), m.Data(), ln.cfg.MaxEvent)
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
func (ln *lane) key(m Message, ev *schema.Reading, refusal error) string {
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
func (ln *lane) examine(ctx context.Context, e *entrant) (*candidate, *Intent, error) {
	m, key, ev, refusal, in, rev := e.msg, e.key, e.ev, e.refusal, e.in, e.rev
	if e.err != nil {
		return nil, nil, e.err
	}
	var digest string
	if refusal == nil {
		digest = ev.Digest()
		known := in.State != Absent && in.Digest != "" // else whatever comes under its id was withdrawn
		if known && digest != in.Digest && digest != in.Former && m.Origin().Intent == "" {
			done, err := ln.conflict(ctx, m, key, ev, digest)
			return nil, done, err
		}
	}
	if refusal == nil && in.Forgotten.IsZero() {
		in.recall(ev.Event)
	}
	ln.waits.back(in)
	if in.State == Absent {
		in.Lane, in.Key, in.Digest = ln.cfg.Name, key, digest
		if refusal == nil {
			in.Source, in.ID, in.Type = ev.Source(), ev.ID(), ev.Type()
			in.Trace = schema.TraceparentOf(ev.Event, m.Header())
			var unsure error
			if refusal, unsure = ln.tooOld(ev.Time(), m.Origin().Published); unsure != nil {
				return nil, nil, unsureError{unsure}
			}
		}
	}
	order := ln.order(m.Origin())
	life, untold := ln.lifetime(ev.Event, in, m.Origin(), order)
	if refusal == nil {
		refusal = untold
	}
	c := &candidate{msg: m, ev: ev, refusal: refusal, digest: digest, intent: in, rev: rev, life: life, redial: schema.Redial(ev.Event)}
	if c.first, _ = schema.Redialled(ev.Event); c.first == "" && in.Redial > 0 { // a person's correction does not say it
		c.first, c.redial = in.RedialOf, true
	}
	switch in.State {
	case Absent, Waiting:
		if digest != in.Digest { // what a correction has replaced: another message stands for the event
			return nil, &c.intent, nil
		}
		return ln.begun(ctx, c)
	case Dead, Doubt:
		if order != nil && order.Expect == in.N {
			c.replay = order
		}
		switch {
		case in.Open && (c.replay != nil || digest == in.Digest):
			return ln.reopen(ctx, c)
		case c.replay != nil:
			return ln.screen(ctx, c)
		}
	case Started:
		if err := ln.takeOver(ctx, c); err != nil || c.intent.State == Started {
			return nil, nil, err
		}
		switch {
		case c.intent.State == Waiting:
			return ln.screen(ctx, c)
		case c.intent.State == Doubt && c.intent.Open && digest == c.intent.Digest:
			return ln.reopen(ctx, c)
		}
	}
	return nil, &c.intent, ln.remind(ctx, c.intent, c.rev)
}

// begun is examine for an event that is new, or waits.
func (ln *lane) begun(ctx context.Context, c *candidate) (*candidate, *Intent, error) {
	if c.refusal == nil && ln.doubtful(c.intent, c.ev.Time(), c.msg.Origin()) {
		return ln.question(ctx, c)
	}
	wait := ln.left(c.intent, c.rev)
	if wait > 0 && c.refusal == nil {
		if ruling, unsure := ln.alive(c.life); unsure == nil && ruling.Verdict == contactExpired {
			done, err := ln.expire(ctx, c, ruling.Reason)
			return nil, done, err
		}
	}
	switch {
	case wait > ln.e.cfg.Long && c.intent.Later:
		ln.postpone(ctx, c.msg, c.intent, c.rev, c.life)
		return nil, nil, nil
	case wait > 0: // looked at now and then: a clock may be set right
		ln.waits.put(c.msg, causeOf(c.intent))
		ln.giveBack(c.msg, min(wait, ln.e.cfg.Long), false)
		return nil, nil, nil
	}
	return ln.screen(ctx, c)
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
func (ln *lane) conflict(ctx context.Context, m Message, key string, ev *schema.Reading, digest string) (done *Intent, err error) {
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
		in.Trace = schema.TraceparentOf(ev.Event, m.Header())
	}
	return ln.refuseEvent(ctx, &candidate{intent: in, rev: rev}, &schema.Refusal{
		Class:  schema.ClassConflict,
		Reason: "Another event with the same source and id but other content was taken before; a changed lead needs a new event id.",
	})
}

// takeOver settles a claim that this goroutine did not make. It is live until
// no answer can come any more; then a conversation may exist, and it is a
// doubt. While it is live the message is given back and the state stays
// Started.
func (ln *lane) takeOver(ctx context.Context, c *candidate) error {
	in, rev := c.intent, c.rev
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
			ln.giveBack(c.msg, left+10*time.Millisecond, false)
			return nil
		}
	}
	nonce, since := in.Nonce, ln.sight(in.Key, rev, time.Now())
	in, rev, _, err := ln.e.apply(ctx, in, rev, step)
	c.intent, c.rev = in, rev
	if err == nil {
		ln.forget(in.Key)
		ln.mu.Lock()
		delete(ln.unused, nonce)
		ln.mu.Unlock()
		// Its last byte went out ClaimAge and Timeout after it was seen.
		ln.sight(in.Key, rev, since.Add(ln.e.cfg.ClaimAge+ln.a.cfg.Timeout))
	}
	return err
}

// screen checks whether the event may and can be sent, and refuses it for good
// if not.
func (ln *lane) screen(ctx context.Context, c *candidate) (*candidate, *Intent, error) {
	refusal := c.refusal
	if refusal == nil {
		if c.request, c.rule, refusal = ln.translate(c.ev); refusal == nil {
			ln.suspicion.clear()
		}
	}
	if skip, ok := errors.AsType[*schema.Skip](refusal); ok {
		done, err := ln.suppress(ctx, c, skip)
		return nil, done, err
	}
	if refusal != nil && c.replay == nil && ln.suspect(ctx, c.ev.Type(), refusal) {
		ln.giveBack(c.msg, time.Second, false)
		return nil, nil, nil
	}
	if refusal != nil {
		done, err := ln.refuseEvent(ctx, c, refusal)
		return nil, done, err
	}
	if c.first != "" && c.replay == nil && c.intent.Redial > len(ln.cfg.Redials.After) {
		done, err := ln.suppress(ctx, c, &schema.Skip{Class: schema.ClassContact, Rule: RuleRedial, Reason: NoMoreRedials})
		return nil, done, err
	}
	switch ruling, unsure := ln.judge(c); {
	case unsure != nil:
		return nil, nil, unsureError{unsure}
	case ruling.Verdict == ContactNever:
		done, err := ln.suppress(ctx, c, &schema.Skip{Class: schema.ClassContact, Rule: ruling.Rule, Reason: ruling.Reason})
		return nil, done, err
	case ruling.Verdict == contactExpired:
		done, err := ln.expire(ctx, c, ruling.Reason)
		return nil, done, err
	case ruling.Verdict == ContactLater:
		return nil, nil, ln.putOff(ctx, c, ruling)
	}
	return c, nil, nil
}

// translate makes the provider's request of an event, and says when it may be
// sent.
func (ln *lane) translate(ev *schema.Reading) (r Request, rule Rule, err error) {
	defer ln.rescue(&err)
	s := Screen(ln.e.cfg.Catalog, ln.cfg.Routes, ln.cfg.Contact, ln.a.cfg.Provider, ev)
	return s.Request, s.Rule, s.Err
}

// decide records a decision that needs no request.
func (ln *lane) decide(ctx context.Context, in Intent, rev uint64, step Step) (*Intent, error) {
	in, _, _, err := ln.e.apply(ctx, in, rev, step)
	if err != nil {
		return nil, err
	}
	return &in, nil
}
