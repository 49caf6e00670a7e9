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

	mu         sync.Mutex
	pools      map[string]*pool // by channel; those without a limit are made when they are needed
	slots      map[slotKey]*slot
	watched    map[*slot]bool  // those of slots that are held or in doubt: the others are many, and have time
	overdue    []*slot         // of the others, those that were to be asked for when they were last gone through
	gone       time.Time       // when that was
	looked     time.Time       // when those that are watched were gone through; see due
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
		e:        e,
		lg:       e.lg.With().Str("account", cfg.Name).Logger(),
		cfg:      cfg,
		kick:     make(chan struct{}, 1),
		pools:    make(map[string]*pool),
		slots:    make(map[slotKey]*slot),
		watched:  make(map[*slot]bool),
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
		a.e.work.Go(func() { ln.repeat(ctx, dropped) })
		a.e.work.Go(func() { ln.retell(ctx, emerged) })
		a.e.work.Go(func() { ln.relook(ctx, started) })
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
	next, look := a.due(now)
	if look {
		next = a.expire(now)
	}
	if a.breaker.Due() == ratelimiter.Probe && !a.probing {
		a.probing = true
		a.e.work.Go(func() { a.probe(ctx) })
	}
	if a.breaker.State() != "closed" {
		next = earlier(next, now.Add(50*time.Millisecond))
	}
	if look && (a.breaker.State() == "closed" || a.breaker.Due() == ratelimiter.Trial) {
		next = earlier(next, a.pollEnds(ctx, now))
	}
	if look && a.breaker.State() == "closed" {
		next = earlier(next, a.glance(ctx, now))
	}
	for _, p := range a.pools {
		next = earlier(next, p.serve(now))
	}
	return max(next.Sub(now), time.Millisecond)
}

// Each look at the calls that are live goes through all of them, at some 0.3 µs a
// call, so with many calls (from fewCalls on) looks are apart: 1 ms for each 16 calls,
// which makes them half a percent of a core, at most mostBlind. With fewer calls
// nothing is put off.
const (
	fewCalls  = 64
	mostBlind = 100 * time.Millisecond
)

// due reports whether the live calls may be looked at now, and if not, when.
func (a *account) due(now time.Time) (next time.Time, ok bool) {
	if live := len(a.watched); live >= fewCalls {
		apart := min(time.Duration(live/16)*time.Millisecond, mostBlind)
		if next = a.looked.Add(apart); next.After(now) {
			return next, false
		}
	}
	a.looked = now
	return now, true
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
