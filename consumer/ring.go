package consumer

import (
	"context"
	"time"
)

// A webhook that names a live call's id and intent frees its slot at once: it
// knows what only the provider and we do. The provider is asked all the same, and
// what it says decides: a call that lives after all takes its slot again, and as
// long as no webhook of the lane has proved right since, none frees a slot before
// the provider was asked.
//
// Where the provider has a list, ends that freed their slots at once wait for each
// other, and one list confirms them all. Any sign that one of them is wrong ends
// the wait: a call that turns out to live, or an answer that the account is full.

// budget bounds the GETs that the webhooks of a lane cause: one a second, or
// twice what an account's calls end by where that is more; as many at once as the
// account has slots, and ten.
type budget struct {
	full time.Time // when it is whole again
}

// tardy is how far ahead of its budget a look is put off. Beyond that the webhook
// changes nothing: the call's own polls find its end.
const tardy = 30 * time.Second

// draw takes one GET, and returns when it may be made; false if that is too far
// away. The caller holds account.mu.
func (b *budget) draw(a *account, now time.Time) (time.Time, bool) {
	every := min(time.Second, a.mean()/time.Duration(2*a.limit()))
	burst := time.Duration(max(10, a.limit())) * every
	full := later(b.full, now.Add(-burst)).Add(every)
	if full.After(now.Add(tardy)) {
		return time.Time{}, false
	}
	b.full = full
	return later(full, now), true
}

// afford waits until a look that a webhook of the lane asked for may be made, and
// reports whether it ever may.
func (a *account) afford(ctx context.Context, ln *lane) bool {
	a.mu.Lock()
	now := time.Now()
	at, ok := ln.budget.draw(a, now)
	ok = ok && a.breaker.State() == "closed"
	a.mu.Unlock()
	return ok && rest(ctx, at.Sub(now))
}

// ring hears that the call of a slot is over, and returns what the provider will
// say of it: nil once the end is durable, ErrLater if the call lives. It returns
// nil if no slot has the conversation: then the ledger knows. A report without an
// intent is looked into, and no more; one of a call that goes on tells nothing.
func (a *account) ring(ln *lane, r Report, now time.Time) <-chan error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.slotOf(r)
	if s == nil {
		return nil
	}
	told := make(chan error, 1)
	if !r.Ended { // so it is known
		told <- nil
		return told
	}
	first := s.rung.IsZero()
	s.rung = now
	if r.Intent == s.key.intent && s.held && s.ln.trusted {
		s.early = true
		s.free()
	}
	if _, ok := a.cfg.Provider.(Lister); ok && s.early && !now.Before(a.nextList) {
		if first {
			a.gather(s, now)
		}
		told <- ErrHeard
		return told
	}
	s.told = append(s.told, told)
	if first || s.poll.After(now) {
		if at, ok := ln.budget.draw(a, now); ok {
			s.poll = earlier(s.poll, at)
			s.sort()
		}
	}
	a.wake()
	return told
}

// proof is how long an end that freed its slot at once may wait for others, so that
// one list confirms them all.
const proof = 90 * time.Second

// gather has the end of a slot's call confirmed together with others: within proof,
// or once as many slots are free on the word of webhooks alone as the account has.
// The caller holds mu.
func (a *account) gather(s *slot, now time.Time) {
	s.poll = now.Add(proof)
	early := 0
	for _, other := range a.watched.ends.turns {
		if other.s.early {
			early++
		}
	}
	if early >= a.limit() {
		s.poll = now
	}
	s.sort()
	a.wake()
}

// prove has what webhooks told confirmed now, for something speaks against it. The
// caller holds mu.
func (a *account) prove(now time.Time) {
	for _, s := range a.watched.ends.slots() {
		if s.early {
			s.poll = earlier(s.poll, now)
			s.sort()
		}
	}
}

// slotOf finds the slot of the conversation that a report names. The caller holds
// mu.
func (a *account) slotOf(r Report) *slot {
	fits := func(s *slot) bool {
		return s != nil && !s.doubt && s.conversation != "" && sameID(s.conversation, r.Conversation) &&
			(r.Intent == "" || r.Intent == s.key.intent)
	}
	if s := a.slots[slotKey{r.Intent, r.Attempt}]; fits(s) {
		return s
	}
	for _, s := range a.slots {
		if fits(s) {
			return s
		}
	}
	return nil
}

// denied takes the slot of a call again of which a webhook said that it is over,
// and the provider that it lives. The caller holds mu.
func (s *slot) denied(now time.Time) {
	s.rung = time.Time{}
	s.ln.trusted = false
	s.ln.count(func(c *HookCounts) { c.Denied++ })
	if s.early && !s.held && s.pool.counted && s.until.After(now) {
		s.held = true
		s.pool.limiter.Occupy(1)
	}
	s.early = false
	s.pool.a.file(s)
	s.pool.a.prove(now)
}

// answer tells those who wait what came of the slot.
func answer(told []chan<- error, err error) {
	for _, c := range told {
		c <- err
	}
}
