package owner_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/owner"
)

// world is some replicas and their broker, in virtual time. It looks at each step
// of each duty whether anybody else may act on it as well.
type world struct {
	t     *testing.T
	store *keyStore
	rng   *rand.Rand // the driver's
	ttl   time.Duration
	began time.Time

	mu       sync.Mutex
	history  []string
	failures int
	hosts    []*host
	runs     map[string][]*run // by duty, those of dead hosts too
	// age rises when what was ready is to be made ready anew; readyAge is that of
	// the newest look at the state that said so.
	age, readyAge int
	// lenient is until when two may hold: the store was put back under running
	// replicas.
	lenient time.Time

	// drain is how long a duty takes to end, wait how long the first one is until
	// it is ready.
	drain, wait func() time.Duration
	fails       func(h *host, duty string) error // nil: none does
}

// host is one replica: a process with a clock of its own, which can be stopped
// between any two steps.
type host struct {
	w      *world
	name   string
	rate   float64
	offset time.Duration
	first  []string
	cancel context.CancelFunc
	done   chan struct{} // closed when Run has returned
	err    error

	between atomic.Pointer[func()] // runs once, in the middle of the world's next question
	peek    atomic.Int32           // the world looks at its terms: no stop
	cut     atomic.Bool            // from the broker: its calls get nowhere
	dead    atomic.Bool
	blind   atomic.Bool // its looks get nowhere
	leaving atomic.Bool
	left    atomic.Bool // Run has returned
	gate    atomic.Pointer[chan struct{}]
}

// run is one Do.
type run struct {
	h        *host
	duty     string
	term     *owner.Term
	began    time.Time
	age      int
	returned atomic.Bool
}

// first is the duty after which all others come.
const first = "state"

var duties = []string{first, "a1", "a2", "a3", "a4", "a5"}

func newWorld(t *testing.T, seed uint64) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		t: t, rng: rng, ttl: 5 * time.Second, began: time.Now(), runs: make(map[string][]*run), readyAge: -1,
		store: newKeyStore(rand.New(rand.NewPCG(seed, 2))),
		drain: func() time.Duration { return 0 }, wait: func() time.Duration { return 0 },
	}
	w.store.wrote = func(key string, revision uint64, data []byte) {
		if !strings.Contains(key, "replica") || data == nil {
			w.note("%d %s %s", revision, key, data)
		}
	}
	return w
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, fmt.Sprintf("%9.4f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

// fail notes a broken promise; the first one is shown with its history.
func (w *world) fail(format string, args ...any) {
	w.note("BROKEN: "+format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failures++; w.failures > 1 {
		return
	}
	h := w.history
	if len(h) > 120 {
		h = h[len(h)-120:]
	}
	w.t.Errorf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(h, "\n"))
}

// start starts a replica. Its clock has its own rate and its own beginning.
func (w *world) start(name string, rate float64, prefers ...string) *host {
	ctx, cancel := context.WithCancel(context.Background())
	h := &host{w: w, name: name, rate: rate, first: prefers, cancel: cancel, done: make(chan struct{})}
	h.offset = time.Duration(w.rng.Int64N(int64(1000 * time.Hour)))
	cfg := owner.Config{Holder: name, TTL: w.ttl, Now: h.now}
	for _, name := range duties {
		d := owner.Duty{Name: name, Do: func(ctx context.Context, t *owner.Term) error { return h.do(ctx, name, t) }}
		if name != first {
			d.After = first
		}
		for _, p := range prefers {
			d.First = d.First || p == name
		}
		cfg.Duties = append(cfg.Duties, d)
	}
	r, err := owner.New(zerolog.Nop(), hostStore{h}, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	if len(w.living()) == 0 {
		w.age++
	}
	w.hosts = append(w.hosts, h)
	w.mu.Unlock()
	w.note("%s starts, rate %.2f", name, rate)
	go func() {
		defer close(h.done)
		defer h.left.Store(true)
		h.err = r.Run(ctx)
		w.note("%s has ended: %v", name, h.err)
	}()
	return h
}

// living returns the replicas that are there. The caller holds mu.
func (w *world) living() []*host {
	var all []*host
	for _, h := range w.hosts {
		if !h.dead.Load() && !h.left.Load() {
			all = append(all, h)
		}
	}
	return all
}

// now is the replica's clock, and a place where it may be stopped.
func (h *host) now() time.Duration {
	if h.peek.Load() == 0 {
		h.step()
	} else if between := h.between.Swap(nil); between != nil {
		(*between)()
	}
	return h.offset + time.Duration(float64(time.Since(h.w.began))*h.rate)
}

// step is a place where the replica may be stopped, or dead.
func (h *host) step() {
	for {
		if h.dead.Load() {
			runtime.Goexit()
		}
		gate := h.gate.Load()
		if gate == nil {
			return
		}
		<-*gate
	}
}

// stop is SIGSTOP, resume SIGCONT, kill SIGKILL.
func (h *host) stop() {
	h.w.note("%s is stopped", h.name)
	gate := make(chan struct{})
	if !h.gate.CompareAndSwap(nil, &gate) {
		return
	}
}

func (h *host) resume() {
	if gate := h.gate.Swap(nil); gate != nil {
		h.w.note("%s goes on", h.name)
		close(*gate)
	}
}

func (h *host) kill() {
	h.w.note("%s is killed", h.name)
	h.dead.Store(true)
	if gate := h.gate.Swap(nil); gate != nil {
		close(*gate)
	}
	h.cancel() // only to end its goroutines: they do nothing more
}

// leave asks the replica to stop.
func (h *host) leave() {
	h.w.note("%s is asked to end", h.name)
	h.leaving.Store(true)
	h.cancel()
}

// hostStore is the broker as one replica reaches it: it can be stopped or dead
// before and after each call.
type hostStore struct{ h *host }

// way is the way to the broker.
func (s hostStore) way(ctx context.Context) error {
	s.h.step()
	if s.h.cut.Load() {
		err := never(ctx)
		s.h.step()
		return err
	}
	return nil
}

func (s hostStore) Keys(ctx context.Context, prefix string, from uint64, seen func(key string, revision uint64, data []byte, removed bool, at time.Time)) error {
	if err := s.way(ctx); err != nil {
		return err
	}
	if s.h.blind.Load() {
		return never(ctx)
	}
	err := s.h.w.store.Keys(ctx, prefix, from, func(key string, revision uint64, data []byte, removed bool, at time.Time) {
		s.h.step()
		seen(key, revision, data, removed, at)
	})
	s.h.step()
	return err
}

func (s hostStore) Key(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := s.way(ctx); err != nil {
		return nil, 0, err
	}
	data, revision, err := s.h.w.store.Key(ctx, key)
	s.h.step()
	return data, revision, err
}

func (s hostStore) WriteKey(ctx context.Context, key string, data []byte, revision uint64, ttl time.Duration) (uint64, error) {
	if err := s.way(ctx); err != nil {
		return 0, err
	}
	revision, err := s.h.w.store.WriteKey(ctx, key, data, revision, ttl)
	s.h.step()
	return revision, err
}
