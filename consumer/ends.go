package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// mostPolls is how many GETs for the ends of calls may be under way at once in
// one account.
const mostPolls = 4

// A call is asked for the first time after a fifth of the mean call, and then
// every eighth of it, between 50 ms and 15 s: at the default of 75 s that is
// after 15 s and every 9.4 s. One that outlived MaxCall is asked for 20 times
// less often.
func (a *account) firstPoll() time.Duration { return clamp(a.mean() / 5) }
func (a *account) nextPolls() time.Duration { return clamp(a.mean() / 8) }

func clamp(d time.Duration) time.Duration { return min(max(d, 50*time.Millisecond), 15*time.Second) }

// gap is the shortest time between two GETs of the account: an eighth of the
// mean call shared by all slots, at most 1 s.
func (a *account) gap() time.Duration {
	return min(max(a.mean()/time.Duration(8*a.cfg.Limiter.Limit), 5*time.Millisecond), time.Second)
}

// The mean call is what the configuration says, as if ten calls had shown it,
// and what the calls themselves show; the newest 60 count most (PACING: m0, n).
const (
	meanPrior  = 10
	meanMemory = 60
)

// mean is how long a call lasts, as far as is known. The caller holds mu.
func (a *account) mean() time.Duration {
	return (meanPrior*a.cfg.MeanCall + time.Duration(a.seen*float64(a.shown))) / time.Duration(meanPrior+a.seen)
}

// measured learns from the length of one call. The caller holds mu.
func (a *account) measured(c Conversation) {
	length := c.EndedAt.Sub(c.StartedAt)
	if c.StartedAt.IsZero() || c.EndedAt.IsZero() || length <= 0 || length > a.cfg.MaxCall {
		return
	}
	a.seen = min(a.seen+1, meanMemory)
	a.shown += time.Duration(float64(length-a.shown) / a.seen)
}

// pollEnds starts the GETs that are due and returns when the next one is. The
// caller holds mu.
func (a *account) pollEnds(ctx context.Context, now time.Time) time.Time {
	for a.polling < mostPolls {
		s := a.mostOverdue()
		if s == nil {
			return time.Time{}
		}
		if due := later(s.poll, a.nextPoll); due.After(now) {
			return due
		}
		s.polling = true
		a.polling++
		a.nextPoll = now.Add(a.gap())
		id := s.conversation
		a.e.work.Go(func() { a.inquire(ctx, s, id) })
	}
	return time.Time{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// mostOverdue returns the live conversation that has waited longest for its
// GET.
func (a *account) mostOverdue() *slot {
	var oldest *slot
	for _, s := range a.slots {
		if s.conversation != "" && !s.polling && (oldest == nil || s.poll.Before(oldest.poll)) {
			oldest = s
		}
	}
	return oldest
}

// follow begins to ask for the end of a conversation, whose slot may be free
// again already.
func (a *account) follow(ln *lane, key slotKey, conversation string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.slots[key]
	if s == nil {
		s = a.hold(ln, key, conversation, time.Now())
		s.held, s.poll = false, time.Now().Add(20*a.nextPolls())
	}
	s.conversation = conversation
	a.wake()
}

// inquire asks the provider about one live conversation, and frees its slot at
// once if it is over.
func (a *account) inquire(ctx context.Context, s *slot, id string) {
	began := time.Now()
	conv, err := a.cfg.Provider.Conversation(ctx, id)
	now := time.Now()
	ended := err == nil && conv.Ended
	a.mu.Lock()
	if ended {
		a.measured(conv)
	}
	a.polling--
	s.polling = false
	s.poll = now.Add(a.nextPolls())
	if !s.held {
		s.poll = now.Add(20 * a.nextPolls())
	}
	if ended && a.slots[s.key] == s {
		delete(a.slots, s.key)
		if s.held {
			a.limiter.Freed(1)
		}
	}
	if conv.Header != nil { // beside an error, too: a 429 speaks of everything
		a.limiter.Observe(ratelimiter.Outcome{
			Began: began, Done: now, Reading: ratelimiter.Parse(conv.Header, a.cfg.Headers, now),
		})
	}
	a.wake()
	a.mu.Unlock()
	switch {
	case ended:
		s.ln.end(ctx, s.key, id, conv)
	case err != nil && !errors.Is(err, ErrNotFound) && ctx.Err() == nil:
		a.lg.Warn().Err(err).Str("conversation", id).Msg("ask for a conversation")
	}
}

// end makes the end of a conversation known and then writes it down. No message
// stands behind it: if this process dies between the two, the next one finds
// the conversation live in the ledger, asks again and repeats both.
func (ln *lane) end(ctx context.Context, key slotKey, id string, conv Conversation) {
	err := ln.e.persist(ctx, func(ctx context.Context) error {
		in, rev, err := ln.e.cfg.Ledger.Load(ctx, ln.cfg.Name, key.intent)
		if err != nil {
			return err
		}
		step := Step{Kind: StepEnd, Conversation: id, Reason: conv.Result}
		next, effect := Next(in, step, time.Now())
		switch effect {
		case Absorbed:
			return ln.discard(ctx, in)
		case Denied, Alarm:
			return nil
		}
		if err := ln.publish(ctx, next, Ended, &conv); err != nil {
			return err
		}
		if in, _, _, err = ln.e.apply(ctx, in, rev, step); err != nil {
			return err
		}
		return ln.discard(ctx, in)
	})
	if err != nil {
		ln.lg.Error().Err(err).Str("intent", key.intent).Msg("the end of a conversation could not be recorded; it will be asked for again")
		ln.a.follow(ln, key, id)
		return
	}
	ln.lg.Info().Str("intent", key.intent).Str("conversation", id).Str("result", conv.Result).Msg("conversation ended")
}
