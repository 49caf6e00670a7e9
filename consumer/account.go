package consumer

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/ratelimiter"
)

// account is one provider workspace: its breaker, its limits (see pool) and the
// slots that its conversations hold. The lanes that share it ask it for slots.
type account struct {
	e       *Engine
	lg      zerolog.Logger
	cfg     AccountConfig
	breaker *ratelimiter.Breaker
	lanes   []*lane // fixed after New
	kick    chan struct{}

	mu       sync.Mutex
	pools    map[string]*pool // by channel; those without a limit are made when they are needed
	slots    map[slotKey]*slot
	probing  bool          // a GET asks whether the provider answers
	polling  int           // GETs under way for the ends of calls
	listing  bool          // one of them for many
	nextPoll time.Time     // not before this
	nextList time.Time     // no list before this
	seen     float64       // calls whose length was measured, at most meanMemory
	shown    time.Duration // their mean length
	refused  bool          // the credentials were refused last time
	reported map[string]bool
}

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
	polling      bool
	single       bool // the list does not show it: it is asked for by itself
}

func newAccount(e *Engine, cfg AccountConfig) (*account, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.MaxCall = cmp.Or(cfg.MaxCall, time.Hour)
	cfg.MeanCall = cmp.Or(cfg.MeanCall, 75*time.Second)
	cfg.VisibleAfter = cmp.Or(cfg.VisibleAfter, 30*time.Second)
	a := &account{
		e:        e,
		lg:       e.lg.With().Str("account", cfg.Name).Logger(),
		cfg:      cfg,
		kick:     make(chan struct{}, 1),
		pools:    make(map[string]*pool),
		slots:    make(map[slotKey]*slot),
		reported: make(map[string]bool),
	}
	limits := cfg.Channels
	if limits == nil {
		limits = map[string]ratelimiter.Config{"": cfg.Limiter}
	}
	for channel, limit := range limits {
		limit.MeanCall = cmp.Or(limit.MeanCall, cfg.MeanCall)
		if err := limit.Validate(); err != nil {
			return nil, err
		}
		a.pools[channel] = newPool(a, channel, limit, true)
	}
	cfg.Breaker.OnChange = func(from, to string) {
		a.lg.Warn().Str("from", from).Str("to", to).Msg("breaker changed")
	}
	a.breaker = ratelimiter.NewBreaker(cfg.Breaker)
	return a, nil
}

// pool returns the pool that counts a channel's conversations. The caller holds
// mu.
func (a *account) pool(channel string) *pool {
	if a.cfg.Channels == nil {
		channel = ""
	}
	p := a.pools[channel]
	if p == nil {
		p = newPool(a, channel, ratelimiter.Config{MeanCall: a.cfg.MeanCall}, false)
		a.pools[channel] = p
	}
	return p
}

// poolOf is pool for a caller that does not hold mu.
func (a *account) poolOf(channel string) *pool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool(channel)
}

// flying counts the grants of all pools of which nothing is decided yet. The
// caller holds mu.
func (a *account) flying() (n int) {
	for _, p := range a.pools {
		n += p.flying
	}
	return n
}

// limit is how many conversations may hold a slot, on all channels. The caller
// holds mu.
func (a *account) limit() (n int) {
	for _, p := range a.pools {
		if p.counted {
			n += p.limiter.State().Limit
		}
	}
	return max(n, 1)
}

// keyOf names the slot of an intent's attempt.
func (a *account) keyOf(in Intent, attempt int) slotKey {
	if a.cfg.TakesID {
		attempt = 0
	}
	return slotKey{in.Key, attempt}
}

// recover counts what the ledger says may be live, before anything is sent.
// Commands may come meanwhile.
func (a *account) recover(ctx context.Context) error {
	for _, ln := range a.lanes {
		now := time.Now()
		for entry, err := range a.e.cfg.Ledger.Scan(ctx, ln.cfg.Name, now.Add(-a.cfg.MaxCall-lateEnds)) {
			if err != nil {
				return err
			}
			if entry.Intent.State == Started {
				ln.sight(entry.Intent.Key, entry.Revision, now)
			}
			a.adopt(ln, entry.Intent, now)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.slots); n > 0 {
		a.lg.Info().Int("slots", n).Msg("slots in use taken over from the ledger")
		a.expire(time.Now())
	}
	return nil
}

// adopt holds a slot for each attempt of an intent whose conversation may be
// live. An entry that the scan shows twice, or that a command was about
// meanwhile, is held once.
func (a *account) adopt(ln *lane, in Intent, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cfg.TakesID && in.State == Ended {
		return // whichever attempt made it, it is over
	}
	for attempt, claimed := range in.live() {
		s := a.occupy(ln, a.keyOf(in, attempt), in.Channel, claimed)
		switch {
		case in.State == Created && attempt == in.Claims:
			s.conversation, s.doubt = in.Conversation, false
		case a.cfg.TakesID && in.State != Created:
			s.conversation, s.doubt = in.Key, true
			s.absent = now.Add(a.e.cfg.ClaimAge + a.cfg.Timeout + a.cfg.VisibleAfter)
		}
		s.poll = now
	}
}

// occupy holds a slot that is taken already, and returns it. The caller holds
// mu.
func (a *account) occupy(ln *lane, key slotKey, channel string, claimed time.Time) *slot {
	s := a.slots[key]
	if s == nil {
		s = a.hold(ln, a.pool(channel), key, claimed)
		s.held = false
	}
	if claimed.After(s.since) {
		s.since = claimed
	}
	s.until = later(s.until, a.latest(claimed))
	if !s.held && s.pool.counted {
		s.held = true
		s.pool.limiter.Occupy(1)
	}
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
	next := now.Add(time.Second)
	for key, s := range a.slots {
		if s.held && !s.until.After(now) {
			s.free()
		}
		if !s.held && (s.conversation == "" || now.Sub(s.until) > lateEnds) && !s.polling {
			delete(a.slots, key)
			continue
		}
		if s.held {
			next = earlier(next, s.until)
		}
	}
	return next
}

// free gives a slot back to its pool, once. The caller holds mu.
func (s *slot) free() {
	if s.held {
		s.held = false
		s.pool.limiter.Freed(1)
		s.pool.a.wake()
	}
}

// run keeps the account's timers until ctx ends: slots whose time is up, calls
// to ask for, the breaker's probe, grants that became possible.
func (a *account) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-a.kick:
		}
		t.Reset(a.tick(ctx, time.Now()))
	}
}

// wake makes run look again now.
func (a *account) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// tick does what is due and returns how long nothing will be.
func (a *account) tick(ctx context.Context, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := a.expire(now)
	if a.breaker.Due() == ratelimiter.Probe && !a.probing {
		a.probing = true
		a.e.work.Go(func() { a.probe(ctx) })
	}
	if a.breaker.State() != "closed" {
		next = earlier(next, now.Add(50*time.Millisecond))
	}
	if a.breaker.State() == "closed" || a.breaker.Due() == ratelimiter.Trial {
		next = earlier(next, a.pollEnds(ctx, now))
	}
	for _, p := range a.pools {
		next = earlier(next, p.serve(now))
	}
	return max(next.Sub(now), time.Millisecond)
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// hold enters a slot into the books until its conversation ends. The caller
// holds mu, or has the account to itself.
func (a *account) hold(ln *lane, p *pool, key slotKey, claimed time.Time) *slot {
	s := &slot{
		ln: ln, pool: p, key: key, held: p.counted, since: claimed, until: a.latest(claimed),
		poll: time.Now().Add(a.firstPoll()),
	}
	a.slots[key] = s
	return s
}

// learn enters an answer into the books: first what it and its headers say, then
// the slots that it took and those that it left.
func (a *account) learn(ln *lane, g *grant, group []*candidate, answer Answer, m meaning) {
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
	g.pool.observe(o)
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
}

// book decides about the slot that was taken for one item. The caller holds mu.
func (a *account) book(ln *lane, p *pool, c *candidate, v Verdict) {
	key := a.keyOf(c.intent, c.intent.Claims)
	s := a.slots[key]
	if v != VerdictCreated && v != VerdictDoubt {
		p.limiter.Return(1)
		return
	}
	switch {
	case s == nil:
		s = a.hold(ln, p, key, c.intent.Claimed)
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
}

// probe asks for a conversation that does not exist: any proper answer proves
// that the provider is there and takes the credentials.
func (a *account) probe(ctx context.Context) {
	defer func() {
		a.mu.Lock()
		a.probing = false
		a.mu.Unlock()
		a.wake()
	}()
	done, err := a.breaker.Begin(ratelimiter.Probe)
	if err != nil {
		return
	}
	_, err = a.cfg.Provider.Conversation(ctx, uuid.NewString())
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		done(ratelimiter.Success)
	case errors.Is(err, ErrUnauthorized):
		done(ratelimiter.Fatal)
	default:
		done(ratelimiter.Failure)
	}
}
