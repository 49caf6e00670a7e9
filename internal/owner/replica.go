package owner

import (
	"cmp"
	"context"
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

// compareEvery is how many renewals there are at least to a look at the broker's
// clock. A look that came too late for its renewal is made at the next one.
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
	gaps       atomic.Uint64 // rises when the lease is in force that was not
	confirmed  atomic.Uint64 // the gap after which the keys were looked at
	left       atomic.Bool   // the lease was given back
	trouble    atomic.Pointer[error]

	asked    context.Context //nolint:containedctx // Run's: its end is the wish to leave
	again    chan struct{}   // the lease is to be written now
	mu       sync.Mutex
	id       string
	revision uint64 // of the lease's key
	tries    uint64 // to write it
	written  uint64 // the newest try that is known to have succeeded
	leaving  bool   // nothing is taken any more
	quiet    bool   // nothing is taken yet, after a lapse
	lapsed   time.Duration
	passed   map[string]uint64 // the generation in which a duty was last seen to be ready
	wrote    consumer.Sample
	compared int // renewals until the newest look at the broker's clock; 0: none yet
	renewals int

	// The look's alone:
	view  *view
	terms map[string]*Term
	ids   map[string]bool // that this replica has had
	looks int
	mute  bool // the broker did not answer
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
		terms: make(map[string]*Term), passed: make(map[string]uint64), view: newView(), ids: make(map[string]bool),
	}
	r.fresh()
	return r, nil
}

// Run takes part until ctx ends, and then ends its terms, those first that come
// after others, gives the duties up and the lease back. It returns an error if a
// duty did.
func (r *Replica) Run(ctx context.Context) error {
	r.asked = ctx
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

// leave says that nothing is taken any more.
func (r *Replica) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaving {
		return
	}
	r.leaving = true
	r.renewNow()
}

// identity is what changes with a lapse, all at once.
type identity struct {
	id         string
	generation uint64
	revision   uint64 // of the lease's key
	leaving    bool   // nothing is taken any more
	quiet      bool   // nothing is taken yet
}

// me returns who this replica is now.
func (r *Replica) me() identity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return identity{id: r.id, generation: r.generation.Load(), revision: r.revision, leaving: r.leaving, quiet: r.quiet}
}

// call bounds one call to the broker of those that share out the duties.
func (r *Replica) call(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.TTL*2/5)
	unhook := context.AfterFunc(r.asked, func() { time.AfterFunc(lastCall, cancel) })
	return ctx, func() {
		unhook()
		cancel()
	}
}

// errNotShown is a look that does not show the own lease: it was removed, or the
// broker has lost it, or it was not written yet.
var errNotShown = errors.New("the own lease is not there")

// look reads what changed since the own lease was last seen. What is older is as
// it was: a store that was put back to before would not show this lease.
func (r *Replica) look(ctx context.Context) error {
	ctx, cancel := r.call(ctx)
	defer cancel()
	me := r.me()
	r.ids[me.id] = true
	from := r.view.next(me.id)
	full := from == 0 || r.looks%fullLook == 0
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
	if r.view.vanish(seen, from, r.cfg.Now()) && !full {
		r.looks = 0 // an older record may be there
	}
	if shown := r.view.next(me.id); shown == 0 || shown < me.revision {
		r.renewNow()
		return errNotShown
	}
	r.pass(me)
	r.speak(r.view.longest(r.cfg.TTL))
	return nil
}

// pass notes which duties that others come after are ready.
func (r *Replica) pass(me identity) {
	for _, d := range r.cfg.Duties {
		if d.After == "" || !r.view.ready(d.After, me.id, r.cfg.Now()) {
			continue
		}
		r.mu.Lock()
		if r.passed[d.After] != me.generation {
			r.passed[d.After] = me.generation
			r.renewNow() // it says so
		}
		r.mu.Unlock()
	}
}

// compare shows the broker's clock to whoever is interested.
func (r *Replica) compare(mine bool, revision uint64, at time.Time) {
	if !mine || r.cfg.Observe == nil || at.IsZero() {
		return
	}
	r.mu.Lock()
	s, due := r.wrote, revision == r.revision && !r.wrote.Sent.IsZero() && (r.compared == 0 || r.renewals >= r.compared+compareEvery)
	if due {
		r.wrote, r.compared = consumer.Sample{}, r.renewals
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
