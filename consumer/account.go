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
	made    time.Time

	clockName string    // see clock
	doubted   bool      // the time of day cannot be relied on; run's alone
	asked     time.Time // when the provider was asked for its time; run's alone

	mu         sync.Mutex
	pools      map[string]*pool // by channel; those without a limit are made when they are needed
	slots      map[slotKey]*slot
	watched    shelf           // those of slots that are held, in doubt or early
	others     shelf           // the others are many, and have time
	gone       time.Time       // when those were last looked at
	probing    bool            // a GET asks whether the provider answers
	polling    int             // GETs under way for the ends of calls
	listing    bool            // one of them for many
	nextPoll   time.Time       // not before this
	nextList   time.Time       // no list before this
	deaf       int             // GETs in a row of which nothing was learned
	blindUntil time.Time       // no look for a doubt before this, on a lane's time
	blindness  error           // because of this
	seen       float64         // calls whose length was measured, at most meanMemory
	shown      time.Duration   // their mean length
	lengths    []time.Duration // of the newest, in the order of their ends; at most mostLengths
	ranked     []time.Duration // the same, the shortest first
	refused    bool            // the credentials were refused last time
	reported   map[string]bool
	odd        []time.Time // when the newest unexplained refusals came, at most mostOdd
}

func newAccount(e *Engine, cfg AccountConfig) (*account, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 15*time.Second)
	cfg.MaxCall = cmp.Or(cfg.MaxCall, time.Hour)
	cfg.MeanCall = cmp.Or(cfg.MeanCall, 75*time.Second)
	cfg.VisibleAfter = cmp.Or(cfg.VisibleAfter, 30*time.Second)
	a := &account{
		e:   e,
		lg:  e.lg.With().Str("account", cfg.Name).Logger(),
		cfg: cfg,

		clockName: "account " + cfg.Name,

		kick:     make(chan struct{}, 1),
		made:     time.Now(),
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

// count counts the slots in use, however long the ledger takes to tell them, and
// reports whether it has before ctx ended.
func (a *account) count(ctx context.Context) bool {
	for {
		err := a.recover(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			a.lg.Warn().Err(err).Msg("the slots in use are not known yet; nothing is sent before")
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(3 * time.Second):
		}
	}
}

// recover counts what the ledger says may be live, before anything is sent.
// Commands may come meanwhile.
func (a *account) recover(ctx context.Context) error {
	for _, ln := range a.lanes {
		now := time.Now()
		var dropped, emerged []Intent
		var started []string
		for entry, err := range a.e.cfg.Ledger.Scan(ctx, ln.cfg.Name, a.e.earliest(now).Add(-a.cfg.MaxCall-lateEnds)) {
			if errors.Is(err, ErrStrange) {
				ln.lg.Error().Err(err).Msg("an entry of the ledger cannot be read; its event waits, and a slot is held for it")
				a.unreadable(ln, entry, now)
				continue
			}
			if err != nil {
				return err
			}
			if entry.Intent.State == Started {
				ln.sight(entry.Intent.Key, entry.Revision, now)
				started = append(started, entry.Intent.Key)
			}
			a.adopt(ln, entry.Intent, now, entry.lag())
			if entry.Intent.droppedAfter(a.e.earliest(now).Add(-dedupe)) {
				dropped = append(dropped, entry.Intent)
			}
			if entry.Intent.emergedAfter(a.e.earliest(now).Add(-dedupe)) {
				emerged = append(emerged, entry.Intent)
			}
		}
		if len(dropped) > 0 {
			a.e.work.Go(func() { ln.repeat(ctx, dropped) })
		}
		if len(emerged) > 0 {
			a.e.work.Go(func() { ln.retell(ctx, emerged) })
		}
		if len(started) > 0 {
			a.e.work.Go(func() { ln.relook(ctx, started) })
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

// run keeps the account's timers until ctx ends: slots whose time is up, calls
// to ask for, the breaker's probe, grants that became possible; and now and then a
// look at the clock, and a sweep of its own goroutine. An account that waits has this
// goroutine alone.
func (a *account) run(ctx context.Context) {
	t, clock, sweep := time.NewTimer(0), time.NewTimer(0), time.NewTimer(0)
	defer t.Stop()
	defer clock.Stop()
	defer sweep.Stop()
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	if a.e.cfg.Clock == nil {
		clock.Stop()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			sweeping.Go(func() {
				a.sweep(ctx)
				sweep.Reset(sweepEvery)
			})
			continue
		case <-clock.C:
			a.lookAtClock(ctx)
			clock.Reset(clockEvery)
			continue
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
	if a.breaker.State() == "closed" {
		next = earlier(next, a.glance(ctx, now))
	}
	for _, p := range a.pools {
		next = earlier(next, p.serve(now))
	}
	if a.rests() {
		next = now.Add(restFor)
	}
	return max(next.Sub(now), time.Millisecond)
}

// restFor is how long an account that rests looks at nothing.
const restFor = 10 * time.Second

// rests reports whether there is nothing to look at: no call, no event on its way to
// one, none that waits for a slot, and no breaker to close. A call and a wish for
// slots wake run when they come, and an event on its way when it is decided about,
// which is before it can leave anything to look at. The caller holds mu.
func (a *account) rests() bool {
	for _, p := range a.pools {
		if len(p.waiters) > 0 || p.flying > 0 {
			return false
		}
	}
	return len(a.slots) == 0 && !a.probing && a.breaker.State() == "closed"
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
	_, err = a.conversation(ctx, uuid.NewString())
	switch {
	case err == nil, errors.Is(err, ErrNotFound):
		done(ratelimiter.Success)
	case errors.Is(err, ErrUnauthorized):
		a.ails(err)
		done(ratelimiter.Fatal)
	default:
		a.ails(err)
		done(ratelimiter.Failure)
	}
}

// ails shows what a probe has found as the trouble of all lanes: it may be another one
// than that which opened the breaker.
func (a *account) ails(err error) {
	a.mu.Lock()
	a.refused = errors.Is(err, ErrUnauthorized)
	a.mu.Unlock()
	for _, ln := range a.lanes {
		ln.complain(err)
	}
}
