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

// account is one provider workspace: its limiter, its breaker and the slots
// that its conversations hold. The lanes that share it ask it for slots.
type account struct {
	e       *Engine
	lg      zerolog.Logger
	cfg     AccountConfig
	breaker *ratelimiter.Breaker
	lanes   []*lane // fixed after New
	kick    chan struct{}

	mu       sync.Mutex
	limiter  *ratelimiter.Limiter
	slots    map[slotKey]*slot
	flying   int           // grants with a slot of which nothing is decided yet
	window   int           // how many of them there may be: 1 at first and after a doubt, one more with each request that creates
	careful  bool          // after a doubt, until a conversation is created: one item at a time
	waiters  []*waiter     // lanes that want slots
	clock    float64       // virtual time of the fair shares: the pass of the last lane served
	probing  bool          // a GET asks whether the provider answers
	polling  int           // GETs under way for the ends of calls
	nextPoll time.Time     // not before this
	seen     float64       // calls whose length was measured, at most meanMemory
	shown    time.Duration // their mean length
	refused  bool          // the credentials were refused last time
	reported map[string]bool
}

// slotKey is one attempt of one intent: a retry may hold a second slot while
// the first attempt's may still be taken.
type slotKey struct {
	intent  string
	attempt int
}

// slot is a unit of the account's limit in use. It outlives its use (held) as
// long as the end of its conversation is not known, so that the end is still
// asked for.
type slot struct {
	ln           *lane
	key          slotKey
	conversation string    // empty while in doubt
	held         bool      // counts against the limit
	until        time.Time // held no longer
	poll         time.Time // when to ask for it next
	polling      bool
}

// waiter is a lane's wish for slots.
type waiter struct {
	ln   *lane
	most int
	got  chan *grant // buffered; receives once
}

// grant is a number of slots taken for a lane. Each of them is decided exactly
// once, by release or by learn.
type grant struct {
	n     int
	known int // slots known to be free before this grant: Batch.Free
	left  int // slots not decided yet; under account.mu
}

func newAccount(e *Engine, cfg AccountConfig) (*account, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.MaxCall = cmp.Or(cfg.MaxCall, time.Hour)
	cfg.MeanCall = cmp.Or(cfg.MeanCall, 75*time.Second)
	cfg.Limiter.MeanCall = cmp.Or(cfg.Limiter.MeanCall, cfg.MeanCall)
	if err := cfg.Limiter.Validate(); err != nil {
		return nil, err
	}
	a := &account{
		e:        e,
		lg:       e.lg.With().Str("account", cfg.Name).Logger(),
		cfg:      cfg,
		kick:     make(chan struct{}, 1),
		window:   1,
		limiter:  ratelimiter.New(cfg.Limiter),
		slots:    make(map[slotKey]*slot),
		reported: make(map[string]bool),
	}
	cfg.Breaker.OnChange = func(from, to string) {
		a.lg.Warn().Str("from", from).Str("to", to).Msg("breaker changed")
	}
	a.breaker = ratelimiter.NewBreaker(cfg.Breaker)
	return a, nil
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
	for attempt, claimed := range in.live() {
		key := slotKey{in.Key, attempt}
		s := a.slots[key]
		switch {
		case s == nil:
			s = a.hold(ln, key, "", a.latest(claimed))
			s.poll = now
		case s.held:
			continue
		default:
			s.held, s.until = true, a.latest(claimed)
		}
		a.limiter.Occupy(1)
		if in.State == Created && attempt == in.Claims {
			s.conversation = in.Conversation
		}
	}
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
			s.held = false
			a.limiter.Freed(1)
		}
		if !s.held && (s.conversation == "" || now.Sub(s.until) > lateEnds) {
			delete(a.slots, key)
			continue
		}
		if s.held {
			next = earlier(next, s.until)
		}
	}
	return next
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
	next = earlier(next, a.serve(now))
	return max(next.Sub(now), time.Millisecond)
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// serve hands free slots to the lanes that wait, by weight, and returns when to
// look again (zero: on the next change).
func (a *account) serve(now time.Time) time.Time {
	for len(a.waiters) > 0 {
		n, next := a.permit(now)
		if n == 0 {
			return next
		}
		known := a.limiter.Known()
		shares := a.share(n)
		rest := make([]*waiter, 0, len(a.waiters))
		for i, w := range a.waiters {
			if shares[i] == 0 {
				rest = append(rest, w)
				continue
			}
			a.limiter.Take(shares[i])
			a.flying++
			w.got <- &grant{n: shares[i], known: known, left: shares[i]}
		}
		a.waiters = rest
	}
	return time.Time{}
}

// mostFlying is how far the window opens.
const mostFlying = 8

// permit is how many slots may be granted now.
func (a *account) permit(now time.Time) (int, time.Time) {
	single := a.careful
	if a.e.cfg.Fence() != nil {
		return 0, now.Add(200 * time.Millisecond)
	}
	switch a.breaker.State() {
	case "open":
		return 0, now.Add(50 * time.Millisecond)
	case "half-open":
		if a.breaker.Due() != ratelimiter.Trial || a.flying > 0 {
			return 0, time.Time{}
		}
		single = true
	}
	if a.flying >= a.window {
		return 0, time.Time{}
	}
	n, next := a.limiter.Permit(now)
	if single {
		n = min(n, 1)
	}
	return n, next
}

// share divides n slots among the waiters, each next one to the lane that got
// the least for its weight; no more of them get any than the window has room
// for.
func (a *account) share(n int) []int {
	shares := make([]int, len(a.waiters))
	room := a.window - a.flying
	for range n {
		best := -1
		for i, w := range a.waiters {
			open := shares[i] > 0 || room > 0
			if open && shares[i] < w.most && (best < 0 || w.ln.pass < a.waiters[best].ln.pass) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		if shares[best] == 0 {
			room--
		}
		shares[best]++
		ln := a.waiters[best].ln
		a.clock = ln.pass
		ln.pass += 1 / float64(ln.cfg.Weight)
	}
	return shares
}

// request asks for at most most slots for the lane; the grant comes on the
// waiter's channel.
func (a *account) request(ln *lane, most int) *waiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	ln.pass = max(ln.pass, a.clock)
	w := &waiter{ln: ln, most: most, got: make(chan *grant, 1)}
	a.waiters = append(a.waiters, w)
	a.serve(time.Now())
	a.wake()
	return w
}

// withdraw ends a wish and gives back what was granted meanwhile.
func (a *account) withdraw(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, other := range a.waiters {
		if other == w {
			a.waiters = append(a.waiters[:i], a.waiters[i+1:]...)
			return
		}
	}
	select {
	case g := <-w.got:
		a.limiter.Return(g.n)
		a.decided(g, g.n)
	default:
	}
}

// release returns n slots of a grant that turned out not to be needed.
func (a *account) release(g *grant, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limiter.Return(n)
	a.decided(g, n)
}

// decided notes that n slots of a grant are given back or held. The caller
// holds mu.
func (a *account) decided(g *grant, n int) {
	if g.left -= n; g.left == 0 {
		a.flying--
	}
	a.wake()
}

// hold enters a slot into the books until its conversation ends. The caller
// holds mu, or has the account to itself.
func (a *account) hold(ln *lane, key slotKey, conversation string, until time.Time) *slot {
	s := &slot{
		ln: ln, key: key, conversation: conversation, held: true, until: until,
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
	defer a.decided(g, len(group))
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
	a.limiter.Observe(o)
	for i, c := range group {
		switch answer.Results[i].Verdict {
		case VerdictCreated, VerdictDoubt:
			a.hold(ln, slotKey{c.intent.Key, c.intent.Claims}, "", a.latest(c.intent.Claimed))
		default:
			a.limiter.Return(1)
		}
	}
	switch {
	case m.doubts > 0:
		a.careful, a.window = true, 1
	case m.created > 0:
		a.careful, a.window = false, min(a.window+1, mostFlying)
	}
	a.refused = m.refused || a.refused && m.created == 0
}

// opening returns when the limiter expects to open, at most a minute away.
func (a *account) opening(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, next := a.limiter.Permit(now)
	if n > 0 || next.IsZero() {
		return 15 * time.Second // called back as soon as a slot is free
	}
	return min(max(next.Sub(now), 100*time.Millisecond), time.Minute)
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
