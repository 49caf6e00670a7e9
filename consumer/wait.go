package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// What depends on the time of day (H25). A wait is over when it is by this host's
// clock and by the broker's. What would be decided for good by a time of day waits
// while the clocks differ.

// clock names the clock of the account's provider.
func (a *account) clock() string { return a.clockName }

// compare enters the date of an answer of the provider.
func (a *account) compare(header map[string][]string, sent, received time.Time) {
	if s, ok := DateSample(header, sent, received); ok {
		a.e.cfg.Clock.Observe(a.clock(), s)
	}
}

// distrust returns why the time of day is not to be relied on, nil if it is.
func (ln *lane) distrust() error { return ln.e.cfg.Clock.Trusted(ln.a.clock()) }

// left is how long an intent may not be sent yet; not above zero: it may. That is
// so when it is by this host's clock and by the broker's. NotBefore is by the clock
// of whoever released the intent, which may since have been put back: where it was
// ahead, the intent waits as long as it was meant to, from when it was first seen
// here, by a clock that nobody turns.
func (ln *lane) left(in Intent, rev uint64) time.Duration {
	now := time.Now()
	wait := ln.e.until(in.NotBefore)
	if wait <= 0 || len(in.History) == 0 {
		return wait
	}
	meant := in.NotBefore.Sub(in.History[len(in.History)-1].At)
	if wait <= meant+Tolerance {
		return wait
	}
	return meant - now.Sub(ln.sight(in.Key, rev, now))
}

// until is how long it is until a time by both clocks, this host's and the broker's.
func (e *Engine) until(t time.Time) time.Duration {
	now := time.Now()
	wait := t.Sub(now)
	if theirs, ok := e.cfg.Clock.broker(now); ok {
		wait = max(wait, t.Sub(theirs))
	}
	return wait
}

// delivery is when the broker is to deliver what waits for so long: by its own
// clock, as near as that is known.
func (e *Engine) delivery(wait time.Duration) time.Time {
	theirs, _ := e.cfg.Clock.broker(time.Now())
	return theirs.Add(wait)
}

// tooOld refuses an event that the ledger may have forgotten: nobody can tell
// whether it was sent before (H20). While the clocks differ, one that is too old
// by either of them is not judged: unsure says why.
func (ln *lane) tooOld(times ...time.Time) (refusal, unsure error) {
	now, distrust := time.Now(), ln.distrust()
	latest := now.Round(0)
	if theirs, ok := ln.e.cfg.Clock.broker(now); ok && distrust != nil {
		latest = later(latest, theirs)
	}
	for _, t := range times {
		switch {
		case !forgotten(t, latest, ln.e.cfg.Keep):
		case distrust != nil:
			return nil, fmt.Errorf("%w, so nobody can tell whether an event of %s is too old; set the clocks right", distrust, t.UTC().Format(time.DateOnly))
		default:
			return Forgotten(t, latest, ln.e.cfg.Keep), nil
		}
	}
	return nil, nil
}

// unsureError says why an event cannot be judged until the clocks agree.
type unsureError struct{ error }

// hold gives back an event that cannot be judged until the clocks agree.
func (ln *lane) hold(m Message) {
	ln.waits.put(m, CauseClock)
	ln.giveBack(m, 30*time.Second, false)
}

// earliest is the earlier one of this host's time and the broker's.
func (e *Engine) earliest(now time.Time) time.Time {
	if theirs, ok := e.cfg.Clock.broker(now); ok {
		return earlier(now, theirs)
	}
	return now
}

// lag is how far the clock of whoever wrote the entry was behind the ledger's, if
// that is more than writing may take: an older claim of its own would else look as
// if its conversation were over.
func (e Entry) lag() time.Duration {
	var last time.Time
	for _, t := range e.Intent.History {
		last = later(last, t.At)
	}
	for _, n := range e.Intent.Named {
		last = later(last, n.At)
	}
	if behind := e.Written.Sub(last); !last.IsZero() && !e.Written.IsZero() && behind > 2*Tolerance {
		return behind
	}
	return 0
}

// anchor returns the time of a claim that the ledger tells, by the monotonic clock
// of this process. Where the clocks differ, or it lies ahead, the claim counts
// as made now: its slot is held for too long rather than too short.
func (e *Engine) anchor(claimed, now time.Time) time.Time {
	if claimed.After(now) || e.cfg.Clock.Trusted() != nil {
		return now
	}
	return now.Add(claimed.Sub(now))
}

// How often the clocks are looked at, and how often a provider whose clock differs
// is asked for it: if it holds up all events, no other answer tells that it was
// set right.
const (
	clockEvery = 10 * time.Second
	askEvery   = time.Minute
)

// lookAtClock says when the time of day cannot be relied on, and when it can be again.
// It is for run.
func (a *account) lookAtClock(ctx context.Context) {
	err := a.e.cfg.Clock.Trusted(a.clock())
	switch {
	case err != nil && !a.doubted:
		a.lg.Error().Err(err).Msg("what depends on the time of day waits")
	case err == nil && a.doubted:
		a.lg.Info().Msg("the clocks agree again")
	}
	a.doubted = err != nil
	if now := time.Now(); err != nil && a.e.cfg.Clock.Trusted() == nil && now.Sub(a.asked) >= askEvery {
		a.asked = now
		a.e.work.Go(func() { a.askTime(ctx) })
	}
}

// askTime asks for a conversation that does not exist, for the date of the answer.
func (a *account) askTime(ctx context.Context) {
	sent := time.Now()
	conv, _ := a.conversation(ctx, uuid.NewString())
	a.compare(conv.Header, sent, time.Now())
}

// remind writes the entry of an event that came again long after it was done anew,
// unchanged: it is forgotten Keep after its last write, and this message of the
// event may outlast that (H20).
func (ln *lane) remind(ctx context.Context, in Intent, rev uint64) error {
	switch in.State {
	case Ended, Cancelled, Expired, Suppressed:
	default:
		return nil
	}
	if len(in.History) > 0 && time.Since(in.History[len(in.History)-1].At) < ln.e.cfg.Keep/2 {
		return nil
	}
	_, err := ln.e.cfg.Ledger.Store(ctx, in, rev)
	if errors.Is(err, ErrConflict) {
		return nil // written anew by another
	}
	return err
}
