package consumer

import (
	"context"
	"time"
)

// glance asks for a conversation of each pool whose events wait and whose limiter
// wants to see an answer's headers: they tell how many slots are free, and no such
// answer is a 429. It returns when to look again. The caller holds mu.
func (a *account) glance(ctx context.Context, now time.Time) (next time.Time) {
	for _, p := range a.pools {
		if a.polling >= mostPolls {
			return time.Time{}
		}
		if !p.counted || !p.wanted() {
			continue
		}
		if a.nextPoll.After(now) {
			return a.nextPoll
		}
		s := p.likeliest()
		if s == nil {
			continue
		}
		due, at := p.limiter.Look(now)
		if !due {
			if !at.IsZero() {
				next = earlier(at, next)
			}
			continue
		}
		a.polling++
		s.polling = true
		s.sort()
		id := s.conversation
		a.e.work.Go(func() { a.inquire(ctx, s, id) })
	}
	return next
}

// wanted reports whether an event is known to wait for a slot. The caller holds
// account.mu.
func (p *pool) wanted() bool {
	for _, w := range p.waiters {
		if w.sure {
			return true
		}
	}
	return false
}

// likeliest is the live conversation of which nothing was heard for longest: it is
// the one whose end is likeliest, and to be told. The caller holds account.mu.
func (p *pool) likeliest() *slot { return p.calls.first() }

// hush puts the next GET off after one of which nothing was learned: a provider in
// trouble is asked less and less. The caller holds mu.
func (a *account) hush(now time.Time) {
	wait := clamp(a.mean() / 8)
	for range a.deaf {
		wait = clamp(2 * wait)
	}
	a.deaf = min(a.deaf+1, 16)
	a.nextPoll = later(a.nextPoll, now.Add(wait))
}
