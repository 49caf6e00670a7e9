package consumer

import (
	"slices"
	"time"

	"github.com/weirhq/weir/ratelimiter"
)

// slotKey is one attempt of one intent: a retry may hold a second slot while
// the first attempt's may still be taken. A provider that takes our id makes one
// conversation of all attempts: there the attempt is 0.
type slotKey struct {
	intent  string
	attempt int
}

// slot is a unit of a pool's limit in use. It outlives its use (held) as long as
// the end of its conversation is not known, so that the end is still asked for.
type slot struct {
	ln           *lane
	pool         *pool
	key          slotKey
	conversation string    // to ask for; empty while in doubt, if our id is not its name
	pair         string    // Request.Pair, if this process asked for it
	doubt        bool      // whether it exists is not known
	absent       time.Time // from then on "not found" means that a doubt's does not exist
	held         bool      // counts against the limit
	since        time.Time // of the claim, by the claimer's clock
	until        time.Time // held no longer
	poll         time.Time // when to ask for it next
	asked        time.Time // when it was last asked for, or entered
	polling      bool
	missed       bool // it was created, and the provider does not know it: said once
	single       bool // the list does not show it: it is asked for by itself
	announced    bool // this process has told that its conversation exists

	rung  time.Time      // when a webhook said last that it is over; zero if none did
	early bool           // the slot was freed by that word, which the provider has not confirmed
	told  []chan<- error // each buffered: who waits for what the provider says

	shelf          *shelf // nil: it is not in the books
	end, ask, call turn   // in shelf.ends, shelf.asks and pool.calls: see sort
}

// keyOf names the slot of an intent's attempt.
func (a *account) keyOf(in Intent, attempt int) slotKey {
	if a.cfg.TakesID {
		attempt = 0
	}
	return slotKey{in.Key, attempt}
}

// adopt holds a slot for each attempt of an intent whose conversation may be
// live; the clock that its times are by was behind by lag. An entry that the scan
// shows twice, or that a command was about meanwhile, is held once.
func (a *account) adopt(ln *lane, in Intent, now time.Time, lag time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cfg.TakesID && in.State == Ended {
		return // whichever attempt made it, it is over
	}
	attempts := in.live()
	for attempt, claimed := range attempts {
		if claimed.IsZero() { // in question, and never claimed
			continue
		}
		claimed = a.e.anchor(claimed.Add(lag), now)
		s := a.occupy(ln, a.keyOf(in, attempt), in.Channel, claimed)
		switch {
		case in.State == Created && attempt == in.made():
			s.conversation, s.doubt = in.Conversation, false
		case a.cfg.TakesID && in.State != Created && !in.Foreign:
			s.conversation, s.doubt = in.Key, true
			s.absent = now.Add(a.e.cfg.ClaimAge + a.cfg.Timeout + a.cfg.VisibleAfter)
		}
		s.poll = now
		a.file(s)
	}
	if !a.cfg.TakesID {
		a.adoptOthers(ln, in, attempts, now, lag)
	}
	if in.State == Doubt && in.Open {
		ln.unsettled(in.Key)
	}
}

// adoptOthers asks for each further conversation of an intent, in the slot of an
// attempt of which nothing else is known, or in one of its own. The caller holds
// mu.
func (a *account) adoptOthers(ln *lane, in Intent, attempts map[int]time.Time, now time.Time, lag time.Duration) {
	var spare []int
	for attempt := range attempts {
		if s := a.slots[slotKey{in.Key, attempt}]; s != nil && s.conversation == "" && (in.State != Started || attempt != in.Claims) {
			spare = append(spare, attempt)
		}
	}
	slices.Sort(spare)
	for i, id := range in.Others {
		if a.slotOf(Report{Intent: in.Key, Conversation: id}) != nil {
			continue // the entry was shown before
		}
		key, claimed := slotKey{in.Key, -1 - i}, in.Claimed
		switch n := len(in.History); {
		case len(spare) > 0:
			key.attempt, claimed = spare[0], attempts[spare[0]]
			spare = spare[1:]
		case n > 0: // it was there by then
			claimed = in.History[n-1].At
		}
		s := a.occupy(ln, key, in.Channel, a.e.anchor(claimed.Add(lag), now))
		s.conversation, s.poll = id, now
		s.sort()
	}
}

// unreadable holds a slot, in each pool that counts, for an entry that this version
// cannot read: a conversation may be live that was claimed when it was written at
// the latest.
func (a *account) unreadable(ln *lane, e Entry, now time.Time) {
	if e.Written.IsZero() || e.Written.After(now) {
		e.Written = now
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	attempt := -1
	for channel, p := range a.pools {
		if p.counted {
			a.occupy(ln, slotKey{e.Intent.Key, attempt}, channel, e.Written)
			attempt--
		}
	}
}

// occupy holds a slot that is taken already, and returns it. The caller holds
// mu.
func (a *account) occupy(ln *lane, key slotKey, channel string, claimed time.Time) *slot {
	s := a.slots[key]
	if s == nil {
		s = a.enter(ln, a.pool(channel), key, claimed, false)
	}
	if claimed.After(s.since) {
		s.since = claimed
	}
	s.until = later(s.until, a.latest(claimed))
	if !s.held && s.pool.counted {
		s.held = true
		s.pool.limiter.Occupy(1)
	}
	a.file(s)
	return s
}

// latest is when a conversation of a claim made then is certainly over: its
// first byte may follow the claim by ClaimAge, and the provider may act on it
// until the request has timed out.
func (a *account) latest(claimed time.Time) time.Time {
	return claimed.Add(a.e.cfg.ClaimAge + a.cfg.Timeout + a.cfg.MaxCall)
}

// lateEnds is how long after MaxCall the end of a conversation is still asked
// for: its slot is free, but its publisher waits for the outcome.
const lateEnds = 24 * time.Hour

// expire frees the slots whose time is up, forgets those that nothing more will
// be heard of, and returns when it has to be called again.
func (a *account) expire(now time.Time) time.Time {
	for _, s := range a.watched.ends.until(a.instant(now, now)) {
		if s.held && !s.until.After(now) {
			s.free()
		}
		a.tidy(s, now)
	}
	if now.Sub(a.gone) >= time.Second {
		a.gone = now
		for _, s := range a.others.ends.until(a.instant(now, now)) {
			a.tidy(s, now)
		}
	}
	next := now.Add(time.Second)
	if ends := a.watched.ends.turns; len(ends) > 0 {
		next = earlier(next, a.moment(ends[0].at, now))
	}
	return next
}

// tidy forgets a slot that is not held if nothing more will be heard of it.
func (a *account) tidy(s *slot, now time.Time) {
	if !s.held && !s.polling && (s.conversation == "" || now.Sub(s.until) > lateEnds) {
		a.drop(s)
		return
	}
	s.sort() // the time of day may have been set
}

// drop takes a slot out of the books. The caller holds mu.
func (a *account) drop(s *slot) {
	s.free()
	if a.slots[s.key] == s {
		delete(a.slots, s.key)
	}
	s.shelf = nil
	s.sort()
}

// file puts a slot among those that are watched, or among the others. The caller
// holds mu.
func (a *account) file(s *slot) {
	switch {
	case s.held || s.doubt || s.early:
		s.shelf = &a.watched
	case a.slots[s.key] == s:
		s.shelf = &a.others
	default:
		s.shelf = nil
	}
	s.sort()
}

// free gives a slot back to its pool, once. The caller holds mu.
func (s *slot) free() {
	if s.held {
		s.held = false
		s.pool.limiter.Freed(1)
		s.pool.a.file(s)
		s.pool.a.wake()
	}
}

// enter enters a slot into the books until its conversation ends. The caller
// holds mu.
func (a *account) enter(ln *lane, p *pool, key slotKey, claimed time.Time, held bool) *slot {
	s := &slot{
		ln: ln, pool: p, key: key, held: held, since: claimed, until: a.latest(claimed),
		asked: time.Now(),
	}
	s.end.s, s.ask.s, s.call.s = s, s, s
	s.poll = s.asked.Add(s.patience(s.asked, a.firstLook(), a.mean()))
	a.slots[key] = s
	a.file(s)
	if len(a.slots) == 1 { // it may have rested
		a.wake()
	}
	return s
}

// learn enters an answer into the books: first what it and its headers say, then
// the slots that it took and those that it left.
func (a *account) learn(ln *lane, g *grant, group []*candidate, answer Answer, m meaning) ratelimiter.Refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer g.decided(len(group))
	for _, name := range m.reading.Unknown {
		if !a.reported[name] && len(a.reported) < 64 {
			a.reported[name] = true
			a.lg.Warn().Str("header", name).Msg("header looks like a limit but is not understood")
		}
	}
	o := ratelimiter.Outcome{
		Began: answer.Began, Done: answer.Done, Sent: len(group), Created: m.created, Doubt: m.doubts,
		Full: answer.Full, Reading: m.reading,
	}
	if m.unsent == len(group) && answer.Status == 0 {
		o.Sent = 0
	}
	refusal := g.pool.observe(o)
	a.tally(ln, refusal, answer.Done)
	if answer.Full {
		a.prove(time.Now())
	}
	for i, c := range group {
		a.book(ln, g.pool, c, answer.Results[i].Verdict)
	}
	switch {
	case m.doubts > 0:
		g.pool.careful, g.pool.window = true, 1
	case m.created > 0:
		g.pool.careful, g.pool.window = false, min(g.pool.window+1, mostFlying)
	}
	a.refused = m.refused || a.refused && m.created == 0
	return refusal
}

// book decides about the slot that was taken for one item. The caller holds mu.
func (a *account) book(ln *lane, p *pool, c *candidate, v Verdict) {
	key := a.keyOf(c.intent, c.intent.Claims)
	s := a.slots[key]
	if v != VerdictCreated && v != VerdictDoubt {
		p.limiter.Return(1)
		return
	}
	if s != nil && s.pool != p { // the route goes to another channel by now
		a.drop(s)
		s = nil
	}
	switch {
	case s == nil:
		s = a.enter(ln, p, key, c.intent.Claimed, p.counted)
		if !p.counted {
			p.limiter.Freed(1)
		}
	case s.held || !p.counted: // an earlier attempt's is this one's
		p.limiter.Return(1)
	default:
		s.held = true
	}
	s.since, s.until, s.pair = c.intent.Claimed, a.latest(c.intent.Claimed), c.request.Pair
	s.doubt = v == VerdictDoubt
	if s.doubt && a.cfg.TakesID {
		now := time.Now()
		s.conversation, s.absent, s.poll = c.intent.Key, now.Add(a.cfg.VisibleAfter), now.Add(a.nextPolls())
	}
	a.file(s)
}
