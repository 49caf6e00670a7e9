package owner

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
)

// Config is what a replica is. Zero durations get their defaults.
type Config struct {
	// Holder names this process to people, such as host and process id.
	Holder string
	// TTL is how long others wait for a renewal before they take over, in whole
	// seconds. Default 5 s; use 20 s on a cluster, whose leader may be away for 9 s.
	TTL time.Duration
	// Poll is the pause between two looks at the keys. Default 250 ms.
	Poll   time.Duration
	Duties []Duty
	// Observe is given a look at the broker's clock now and then: when it stored a
	// renewal, between its sending and its confirmation. Nil: nobody is interested.
	Observe func(consumer.Sample)
	// Now is the clock by which leases are measured. Default consumer.BootTime.
	Now func() time.Duration
}

// Duty is what one replica does at a time.
type Duty struct {
	Name string // of the characters that a key may have
	// After names a duty that has to be ready before this one is taken; empty:
	// none. It stands before this one in Config.Duties.
	After string
	// First: this replica is given it before those that do not say so.
	First bool
	// Do does the duty until ctx ends, and returns when nothing of it is under way
	// any more: from then on another replica may have it. Whatever must not be done
	// twice asks the term before. An error ends the replica, with all that it does.
	Do func(ctx context.Context, t *Term) error
}

// Errors of Held.
var (
	// ErrLapsed is a lease that was not renewed in time.
	ErrLapsed = errors.New("the lease was not renewed in time")
	// ErrTaken is a duty that another replica has, or may have by now.
	ErrTaken = errors.New("another weir has taken over")
)

// The lease's key itself outlives the TTL by far, so that no outage of the broker
// removes it: it runs out only when nobody is left to remove it. What was removed
// is remembered for a while.
const (
	keyAge     = time.Hour
	removedAge = 10 * time.Minute
)

// fullLook is how many looks there are to one at all keys.
const fullLook = 100

// compareEvery is how many renewals there are to a look at the broker's clock.
const compareEvery = 10

// Replica is this process among those that share the duties. Make one with New
// and run it once.
type Replica struct {
	lg    zerolog.Logger
	cfg   Config
	store Store
	kick  chan struct{} // a term has something to say

	sent       atomic.Int64  // when the last renewal that succeeded was sent, by cfg.Now
	generation atomic.Uint64 // rises with each lapse
	left       atomic.Bool   // the lease was given back
	trouble    atomic.Pointer[error]

	mu       sync.Mutex
	id       string
	revision uint64        // of the lease's key
	rescan   bool          // all keys are to be looked at next
	again    chan struct{} // the lease is to be written now
	leaving  bool          // nothing is taken any more
	wrote    consumer.Sample
	renewals int

	// The look's alone:
	view   *view
	terms  map[string]*Term
	passed map[string]uint64 // the generation in which a duty was last seen to be ready
	ids    map[string]bool   // that this replica has had
	looks  int
	mute   bool // the broker did not take a word while this replica was leaving
}

// New returns a replica that has no lease yet.
func New(lg zerolog.Logger, s Store, cfg Config) (*Replica, error) {
	cfg.TTL = cmp.Or(cfg.TTL, 5*time.Second)
	cfg.Poll = cmp.Or(cfg.Poll, 250*time.Millisecond)
	if cfg.Now == nil {
		cfg.Now = consumer.BootTime
	}
	if cfg.TTL < time.Second || cfg.TTL%time.Second != 0 {
		return nil, fmt.Errorf("owner: a TTL of %v is not possible: the broker knows whole seconds", cfg.TTL)
	}
	known := map[string]bool{"": true}
	for _, d := range cfg.Duties {
		if !known[d.After] || known[d.Name] {
			return nil, fmt.Errorf("owner: duty %q stands twice, or before %q, after which it comes", d.Name, d.After)
		}
		known[d.Name] = true
	}
	r := &Replica{
		lg: lg, cfg: cfg, store: s, kick: make(chan struct{}, 1), again: make(chan struct{}, 1),
		terms: make(map[string]*Term), passed: make(map[string]uint64), ids: make(map[string]bool),
	}
	r.sent.Store(int64(-cfg.TTL))
	r.fresh()
	return r, nil
}

// fresh gives the replica a new id. The caller holds mu, or nobody else knows it.
func (r *Replica) fresh() {
	r.id, r.revision, r.rescan, r.wrote = rand.Text(), 0, true, consumer.Sample{}
	r.generation.Add(1)
}

// Held returns nil while the lease is in force: while less than 4/5 of the TTL
// have passed since the last renewal that succeeded was sent, time in which the
// machine slept included. What may be done under it a Term says.
func (r *Replica) Held() error {
	if !r.left.Load() && r.cfg.Now()-time.Duration(r.sent.Load()) < r.cfg.TTL*4/5 {
		return nil
	}
	if err := r.trouble.Load(); err != nil {
		return fmt.Errorf("%w: %w", ErrLapsed, *err)
	}
	return ErrLapsed
}

// Run takes part until ctx ends, and then ends its terms, those first that come
// after others, gives the duties up and the lease back. It returns an error if a
// duty did.
func (r *Replica) Run(ctx context.Context) error {
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.keep(renewing)
	}()
	err := r.work(ctx)
	stop()
	<-done
	r.giveBack(context.WithoutCancel(ctx))
	return err
}

// keep renews the lease until ctx ends.
func (r *Replica) keep(ctx context.Context) {
	tick := time.NewTicker(r.cfg.TTL / 5)
	defer tick.Stop()
	for {
		err := r.renew(ctx)
		if err != nil && ctx.Err() == nil {
			r.lg.Warn().Err(err).Msg("lease not renewed")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.again:
		}
	}
}

// renew writes the lease's key. A write of ours whose answer was lost is no
// obstacle; a key that is gone, or is not ours, is a lapse.
func (r *Replica) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.TTL*2/5)
	defer cancel()
	err := r.write(ctx)
	for try := 0; errors.Is(err, consumer.ErrConflict) && try < 3; try++ {
		if err = r.reread(ctx); err == nil {
			err = r.write(ctx)
		}
	}
	if err != nil {
		r.trouble.Store(&err)
		return err
	}
	r.trouble.Store(nil)
	return nil
}

// write writes the lease's key once.
func (r *Replica) write(ctx context.Context) error {
	r.mu.Lock()
	key, data, revision := replicaPrefix+r.id, encode(r.self()), r.revision
	r.mu.Unlock()
	began, sent := time.Now(), r.cfg.Now()
	revision, err := r.store.WriteKey(ctx, key, data, revision, keyAge)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision, r.renewals = revision, r.renewals+1
	r.wrote = consumer.Sample{Sent: began, Received: time.Now()}
	r.sent.Store(int64(sent))
	return nil
}

// self is what the replica says of itself. The caller holds mu.
func (r *Replica) self() member {
	m := member{V: format, ID: r.id, Holder: r.cfg.Holder, TTL: r.cfg.TTL}
	if r.leaving {
		return m
	}
	for _, d := range r.cfg.Duties {
		m.Duties = append(m.Duties, d.Name)
		if d.First {
			m.First = append(m.First, d.Name)
		}
	}
	return m
}

// reread finds out why the lease's key is not as it was.
func (r *Replica) reread(ctx context.Context) error {
	r.mu.Lock()
	id, was := r.id, r.revision
	r.mu.Unlock()
	data, revision, err := r.store.Key(ctx, replicaPrefix+id)
	if err != nil {
		return fmt.Errorf("renew the lease: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if data != nil && revision > was { // written by us, and nobody told
		r.revision = revision
		return nil
	}
	if was != 0 {
		r.lg.Warn().Msg("the lease was removed by another weir, or the broker has lost it; it is taken anew")
	}
	r.fresh()
	return nil
}

// giveBack removes the lease's key. If that fails, others wait until they have
// seen that it is not renewed any more.
func (r *Replica) giveBack(ctx context.Context) {
	r.left.Store(true)
	r.mu.Lock()
	key, revision := replicaPrefix+r.id, r.revision
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lastWord)
	defer cancel()
	if _, err := r.store.WriteKey(ctx, key, nil, revision, removedAge); err != nil && revision != 0 {
		r.lg.Warn().Err(err).Msg("lease not given back")
	}
}

// lastWord is how long the replica may take to say that it leaves.
const lastWord = 3 * time.Second

// leave says that nothing is taken any more.
func (r *Replica) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaving {
		return
	}
	r.leaving = true
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// identity is what changes with a lapse, all at once.
type identity struct {
	id         string
	generation uint64
	rescan     bool // all keys are to be looked at
	leaving    bool // nothing is taken any more
}

// me returns who this replica is now.
func (r *Replica) me() identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return identity{id: r.id, generation: r.generation.Load(), rescan: r.rescan, leaving: r.leaving}
}

// look reads what changed since the last look.
func (r *Replica) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.TTL*2/5)
	defer cancel()
	me := r.me()
	full := me.rescan || r.looks%fullLook == 0
	r.ids[me.id] = true
	now := r.cfg.Now() // what is seen was written before
	if r.view == nil {
		r.view = newView(now)
	}
	from := r.view.next
	if full {
		from = 0
	}
	seen := make(map[string]bool)
	err := r.store.Keys(ctx, prefix, from, func(key string, revision uint64, data []byte, removed bool, at time.Time) {
		seen[key] = true
		r.view.enter(key, revision, data, removed, r.cfg.Now())
		r.compare(key == replicaPrefix+me.id, revision, at)
	})
	if err != nil {
		r.looks = 0
		return fmt.Errorf("look at the replicas: %w", err)
	}
	r.looks++
	if full {
		r.view.vanish(seen, r.cfg.Now())
		r.mu.Lock()
		r.rescan = r.rescan && r.id != me.id
		r.mu.Unlock()
	}
	for _, d := range r.cfg.Duties {
		if d.After != "" && r.view.ready(d.After, me.id, r.cfg.Now()) {
			r.passed[d.After] = me.generation
		}
	}
	return nil
}

// compare shows the broker's clock to whoever is interested.
func (r *Replica) compare(mine bool, revision uint64, at time.Time) {
	if !mine || r.cfg.Observe == nil || at.IsZero() {
		return
	}
	r.mu.Lock()
	s, due := r.wrote, revision == r.revision && !r.wrote.Sent.IsZero() && r.renewals%compareEvery == 1
	if due {
		r.wrote = consumer.Sample{}
	}
	r.mu.Unlock()
	if due {
		s.Shown = at
		r.cfg.Observe(s)
	}
}

// lastFirst returns the duties, those that come after others before them.
func (r *Replica) lastFirst() []Duty {
	all := slices.Clone(r.cfg.Duties)
	slices.Reverse(all)
	return all
}
