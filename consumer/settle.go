package consumer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/weirhq/weir/schema"
)

// settle records what the answer means for one item, and ends its message.
func (ln *lane) settle(ctx context.Context, c *candidate, r Result, step Step, told *Answered, i int) {
	if step.Kind == StepRelease && time.Until(step.NotBefore) > ln.e.cfg.Long {
		step.Later = true
	}
	var in Intent
	err := ln.e.persist(ctx, func(ctx context.Context) error {
		applied, rev, _, err := ln.e.applyFor(ctx, c.intent, c.rev, step, occasion{attempt: true})
		if err != nil {
			return err
		}
		in, c.rev = applied, rev
		return nil
	})
	ln.e.claimed.Add(-1)
	ln.unload(1)
	if err != nil {
		ln.attempted(c, c.intent, r, told, i, step)
		ln.lg.Error().Err(err).Str("intent", c.intent.Key).Msg("the answer could not be recorded; its event will be in doubt")
		return
	}
	ln.attempted(c, in, r, told, i, step)
	if in.State == Doubt && in.Open {
		ln.heal(c, in, r)
		return
	}
	if in.Later {
		ln.postpone(ctx, c.msg, in, c.rev, c.life)
		return
	}
	if in.State == Waiting {
		ln.waits.put(c.msg, causeOfVerdict(r.Verdict, in))
		ln.giveBack(c.msg, ln.delay(c, in, r), r.Verdict == VerdictFull && !r.ItemError && in.NotBefore.IsZero())
		return
	}
	ln.finish(ctx, c.msg, in)
}

// step translates an item's verdict into the transition that it makes, and says why
// the lane must not go on after it; empty: it may.
func (ln *lane) step(in Intent, r Result, m meaning) (s Step, halt string) {
	s = Step{Attempt: in.Claims, Reason: r.Reason}
	release := func(cause string, wait time.Duration) Step {
		s.Kind, s.Class = StepRelease, cause
		if wait > 0 {
			s.NotBefore = time.Now().Add(wait)
		}
		return s
	}
	switch r.Verdict {
	case VerdictCreated:
		s.Kind, s.Conversation = StepEvidence, r.Conversation
		s.Reason, s.Session = r.Status, r.Session
		if !ln.cfg.JoinToken {
			s.Session.Join = ""
		}
		return s, ""
	case VerdictFull:
		if r.ItemError && ln.twice(in.Key) {
			break // rejected below
		}
		if r.Alone {
			ln.setAlone(in.Key)
		}
		return release("full", m.reading.RetryAfter), ""
	case VerdictUnsent:
		if m.barred {
			return release("stopped", 0), ""
		}
		return release("unsent", m.backoff), ""
	case VerdictUnauthorized:
		if m.lone && ln.twice(in.Key) {
			break
		}
		if !m.lone {
			ln.setAlone(in.Key)
		}
		return release("unauthorized", 0), ""
	case VerdictRejected:
	default:
		s.Kind, s.Foreign = StepDoubt, r.Foreign
		s.Open = ln.cfg.Resend && !r.Foreign && in.Attempts+1 < ln.cfg.Attempts
		if !s.Open {
			halt = ln.doubt(in.Key, r.Reason)
		}
		return s, halt
	}
	if wrong, why := ln.wrongRoute(r.Reason); wrong {
		return release("paused", 0), why
	}
	s.Kind, s.Class = StepReject, string(schema.ClassRejected)
	return s, ""
}

// delay is how long the broker keeps an event that waits.
func (ln *lane) delay(c *candidate, in Intent, r Result) time.Duration {
	if wait := ln.left(in, c.rev); wait > 0 {
		return wait
	}
	switch {
	case r.Verdict == VerdictFull && r.Alone:
		return 0
	case r.ItemError:
		return ln.poolOf(c).opening(time.Now()) + 5*time.Second // behind the next event
	case r.Verdict == VerdictFull:
		return ln.poolOf(c).opening(time.Now())
	case r.Verdict == VerdictUnauthorized:
		return 20 * time.Second // behind the event that tries the credentials next
	default:
		return time.Second
	}
}

// poolOf is the pool whose slot a candidate has.
func (ln *lane) poolOf(c *candidate) *pool { return ln.a.poolOf(c.request.Channel) }

// twice reports whether the event had an error of its own before, with another
// event created since: then the error is the event's fault, not the lane's.
func (ln *lane) twice(key string) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	mark, ok := ln.marks[key]
	if !ok && len(ln.marks) < 10_000 {
		ln.marks[key] = ln.created
	}
	return ok && ln.created > mark
}

func (ln *lane) setAlone(key string) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if len(ln.alone) < 10_000 {
		ln.alone[key] = true
	}
}

// doubt counts an open doubt, and says why the lane must be paused when there are
// too many.
func (ln *lane) doubt(key, reason string) (halt string) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	now := time.Now()
	ln.doubts[key] = now
	for k, at := range ln.doubts {
		if now.Sub(at) > doubtWindow {
			delete(ln.doubts, k)
		}
	}
	if open, limit := len(ln.doubts), ln.cfg.DoubtLimit; limit > 0 && open > limit {
		return fmt.Sprintf("%d events came into doubt within %v, the last one because: %s", open, doubtWindow, reason)
	}
	return ""
}

// values are the words of a reason that may be one event's own: those with a
// digit, such as numbers and ids.
var values = regexp.MustCompile(`[+\w-]*\d[\w-]*`)

// shape is a reason without what may be one event's own.
func shape(reason string) string { return values.ReplaceAllString(reason, "#") }

// wrongRoute counts equal rejections in a row. The tenth is not judged, and says why
// the lane must be paused.
func (ln *lane) wrongRoute(reason string) (wrong bool, halt string) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.pause != nil { // what is still under way is not judged either
		return true, ""
	}
	if s := shape(reason); s != ln.refusal {
		ln.refusal, ln.refusals = s, 0
	}
	if ln.refusals++; ln.refusals < rejectionsInARow {
		return false, ""
	}
	return true, fmt.Sprintf("%d events in a row were rejected for the same reason, so the route may be wrong: %s", rejectionsInARow, reason)
}

// backoff is the pause after a number of failures in a row: 1 s, doubled with
// each, at most 15 s.
func backoff(failures int) time.Duration {
	seconds := min(math.Pow(2, float64(max(failures-1, 0))), 15)
	return time.Duration(seconds * float64(time.Second))
}

// finish repeats all durable steps of the state that the intent is in, and then
// acknowledges the message. Each step may have been done before. A message whose
// intent is under way elsewhere is given back.
func (ln *lane) finish(ctx context.Context, m Message, in Intent) {
	if !in.Settled() && in.State != Created {
		ln.giveBack(m, 5*time.Second, false) // another process has it now
		return
	}
	ln.settled(in.Key)
	err := ln.e.persist(ctx, func(ctx context.Context) error {
		err := ln.conclude(ctx, m, in)
		ln.hitched(err)
		return err
	})
	if in.State == Created { // told or not: its slot is free when it ends
		ln.a.follow(ln, in, err == nil)
	}
	if err != nil {
		ln.lg.Error().Err(err).Str("intent", in.Key).Msg("outcome")
		return // not acknowledged: the redelivery repeats it
	}
	ln.forget(in.Key)
	if err := m.Ack(context.WithoutCancel(ctx)); err != nil {
		ln.lg.Warn().Err(err).Str("intent", in.Key).Msg("ack")
	}
}

// complain shows an error of the provider as the lane's trouble.
func (ln *lane) complain(err error) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.trouble = err.Error()
}

// hitched shows what broker or ledger do not take, until they take something
// (nil).
func (ln *lane) hitched(err error) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.hitch = ""
	if err != nil {
		ln.hitch = err.Error()
	}
}

// conclude makes the state known: the copy for dead letters and doubts, the
// outcome for all.
func (ln *lane) conclude(ctx context.Context, m Message, in Intent) error {
	out := ln.e.cfg.Outbox
	switch in.State {
	case Dead, Doubt:
		if err := out.Keep(ctx, letter(m, in)); err != nil {
			return err
		}
		return ln.publish(ctx, in, in.State, nil)
	case Created:
		return errors.Join(ln.publish(ctx, in, Created, nil), ln.discard(ctx, in))
	case Ended:
		if err := ln.publish(ctx, in, Created, nil); err != nil {
			return err // or the end would be told before the beginning
		}
		return errors.Join(ln.publish(ctx, in, Ended, nil), ln.discard(ctx, in))
	default:
		return errors.Join(ln.publish(ctx, in, in.State, nil), ln.discard(ctx, in))
	}
}

// publish sends the outcome that belongs to a state. Of what was forgotten nothing
// is told any more.
func (ln *lane) publish(ctx context.Context, in Intent, s State, facts *ending) error {
	if !in.Forgotten.IsZero() {
		ln.lg.Info().Str("intent", in.Key).Str("state", string(s)).Msg("an event that was forgotten came again, or was heard of; nothing is sent or told")
		return nil
	}
	kind, ev := outcome(in, s, facts)
	if t := ln.traceparent(in, s); t != "" {
		ev.SetExtension("traceparent", t)
	}
	return ln.e.cfg.Outbox.Publish(ctx, in.Lane, kind, ev)
}

// discard removes the copies of an intent that was once dead or in doubt, as
// far as its history reaches.
func (ln *lane) discard(ctx context.Context, in Intent) error {
	if in.N > len(in.History) {
		return ln.e.cfg.Outbox.Discard(ctx, in.Lane, in.Key)
	}
	for _, t := range in.History {
		if t.State == Dead || t.State == Doubt {
			return ln.e.cfg.Outbox.Discard(ctx, in.Lane, in.Key)
		}
	}
	return nil
}

// letter is the message's copy with what became of it.
func letter(m Message, in Intent) Letter {
	l := Letter{
		Lane: in.Lane, Intent: in.Key, State: in.State, N: in.N,
		Class: in.Class, Reason: in.Reason, Type: in.Type, ID: in.ID, Source: in.Source,
		Claims: in.Claims, Attempts: in.Attempts, First: in.First,
		Header: m.Header(), Data: m.Data(),
	}
	if n := len(in.History); n > 0 {
		l.Last = in.History[n-1].At
	}
	return l
}
