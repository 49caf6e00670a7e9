package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/owner"
)

// ownerDuties are shared out by the replicas of this file; all but the first come
// after it.
var ownerDuties = []string{"first", "x1", "x2", "x3", "x4"}

// ownerBench is some replicas on a real broker.
type ownerBench struct {
	t     *testing.T
	mu    sync.Mutex
	terms map[string][]*owner.Term // by duty
	begun map[string]int
}

// ownerReplica is one of them, with a connection of its own, which can be cut.
type ownerReplica struct {
	*broker.Broker
	cut  atomic.Bool
	stop context.CancelFunc
	done chan struct{}
}

// WriteKey is all that has to fail for a lease to run out.
func (r *ownerReplica) WriteKey(ctx context.Context, key string, data []byte, revision uint64, ttl time.Duration) (uint64, error) {
	if r.cut.Load() {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return r.Broker.WriteKey(ctx, key, data, revision, ttl)
}

func (w *ownerBench) start(name string, e *broker.Embedded) *ownerReplica {
	w.t.Helper()
	b, err := broker.Connect(w.t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = b.Close(context.Background()) })
	if err := b.Provision(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	cfg := owner.Config{Holder: name, TTL: 2 * time.Second}
	for i, name := range ownerDuties {
		d := owner.Duty{Name: name, Do: func(ctx context.Context, t *owner.Term) error { return w.do(ctx, name, t) }}
		if i > 0 {
			d.After = ownerDuties[0]
		}
		cfg.Duties = append(cfg.Duties, d)
	}
	r := &ownerReplica{Broker: b, done: make(chan struct{})}
	replica, err := owner.New(zerolog.Nop(), r, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	w.t.Cleanup(func() { stop(); <-r.done })
	go func() {
		defer close(r.done)
		if err := replica.Run(ctx); err != nil {
			w.t.Errorf("%s: %v", name, err)
		}
	}()
	return r
}

// do acts again and again; what it may do nobody else may.
func (w *ownerBench) do(ctx context.Context, duty string, t *owner.Term) error {
	w.mu.Lock()
	w.terms[duty] = append(w.terms[duty], t)
	w.begun[duty]++
	w.mu.Unlock()
	if duty == ownerDuties[0] {
		t.Ready()
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		w.check(duty, t)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// check asks this term before and after the others, so that a pause in between is
// no overlap.
func (w *ownerBench) check(duty string, t *owner.Term) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.terms[duty] {
		if o == t {
			continue
		}
		if epoch := t.Epoch(); t.Held() == nil && o.Held() == nil && t.Held() == nil && t.Epoch() == epoch {
			w.t.Errorf("two hold %s, epochs %d and %d", duty, epoch, o.Epoch())
		}
	}
}

// shared waits until each duty is held by one of these, as the keys say too.
func (w *ownerBench) shared(what string, s owner.Store, holders ...string) {
	w.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		missing := w.missing(s, holders)
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %s", what, missing)
		}
	}
}

func (w *ownerBench) missing(s owner.Store, holders []string) string {
	all, err := owner.Standings(w.t.Context(), s)
	if err != nil {
		return err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range ownerDuties {
		ok := false
		for _, h := range holders {
			ok = ok || all[d].Holder == h && all[d].Alive
		}
		held := 0
		for _, t := range w.terms[d] {
			if t.Held() == nil {
				held++
			}
		}
		if !ok || held != 1 {
			return fmt.Sprintf("%s stands as %+v and is held %d times", d, all[d], held)
		}
	}
	return ""
}

// renewed waits until all owners have renewed their leases once more.
func (w *ownerBench) renewed(s owner.Store) {
	w.t.Helper()
	began := time.Now()
	for deadline := began.Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		all, err := owner.Standings(w.t.Context(), s)
		old := err != nil
		for _, st := range all {
			old = old || !st.Renewed.After(began)
		}
		if !old {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("not renewed: %+v, %v", all, err)
		}
	}
}

// TestOwnersOnARealBroker lets replicas leave and fall silent, and puts an older
// copy of the store back under the others.
func TestOwnersOnARealBroker(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir, Listen: gatewayPort(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown() })
	w := &ownerBench{t: t, terms: make(map[string][]*owner.Term), begun: make(map[string]int)}
	a, b := w.start("a", e), w.start("b", e)
	w.shared("two share", a, "a", "b")
	a.stop()
	<-a.done
	w.shared("one has left", b, "b")
	c := w.start("c", e)
	w.shared("one has joined", b, "b", "c")
	b.cut.Store(true)
	w.shared("one has fallen silent", c, "c")
	b.cut.Store(false)
	w.shared("it is back", c, "b", "c")

	restart := func(between func()) {
		if err := e.Shutdown(); err != nil {
			t.Fatal(err)
		}
		between()
		if e, err = broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir}); err != nil {
			t.Fatal(err)
		}
	}
	backup := filepath.Join(t.TempDir(), "backup")
	restart(func() {
		if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	})
	d := w.start("d", e)
	w.shared("the broker is back", d, "b", "c", "d")
	w.renewed(d)
	w.mu.Lock()
	begun := w.begun[ownerDuties[0]]
	w.mu.Unlock()
	restart(func() {
		time.Sleep(2 * time.Second) // a TTL: no lease is in force any more
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(dir, os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
	})
	w.shared("an older copy is there", d, "b", "c", "d")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun[ownerDuties[0]] == begun {
		t.Error("the first duty was not begun anew on the older copy")
	}
}
