package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
)

const ttl = 5 * time.Second // a machine that stands still for so long loses its lease

func acquire(t *testing.T, b *broker.Broker, holder string) *broker.Lease {
	t.Helper()
	l, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: ttl, Holder: holder})
	if err != nil {
		t.Fatalf("lease for %s: %v", holder, err)
	}
	return l
}

// run renews the lease until stop is called, which returns what Run returned.
func run(t *testing.T, l *broker.Lease) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

// lapse waits until the lease is not held any more.
func lapse(t *testing.T, l *broker.Lease) {
	t.Helper()
	until(t, "the lease lapses", func() bool { return l.Held() != nil })
}

func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func TestLeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	const long = time.Minute // what a lease that was not given back would take
	first, err := a.Lease(t.Context(), broker.LeaseConfig{TTL: long, Holder: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Held(); err != nil {
		t.Errorf("held: got %v, want nil", err)
	}
	// A renewal that is cut off may have been stored: then the lease runs out.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := first.Run(ctx); err != nil {
		t.Errorf("run: got %v, want nil at the end of its context", err)
	}
	if first.Held() == nil {
		t.Error("held after the lease was given back: got nil")
	}
	began := time.Now()
	second, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: long, Holder: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took >= long {
		t.Errorf("taking a lease that was given back: took %v, want no wait", took)
	}
	if err := second.Held(); err != nil {
		t.Errorf("held: got %v, want nil", err)
	}
}

func TestLeaseThatIsRenewedIsHeld(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	l := acquire(t, a, "process a")
	run(t, l)
	_, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: ttl, Holder: "b"})
	if !errors.Is(err, broker.ErrHeld) || !strings.Contains(err.Error(), "process a") {
		t.Errorf("lease: got %v, want ErrHeld that names the holder", err)
	}
	if err := l.Held(); err != nil {
		t.Errorf("held: got %v, want nil", err)
	}
}

// H12: a holder that stopped is not one any more when another begins, and it
// learns so.
func TestH12TwoOwnersNeverHoldAtOnce(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	began := time.Now()
	stale := acquire(t, a, "a") // and never renews it
	l := acquire(t, b, "b")
	if stale.Held() == nil {
		t.Error("both hold the lease")
	}
	if err := l.Held(); err != nil {
		t.Errorf("held: got %v, want nil", err)
	}
	if took := time.Since(began); took < ttl-100*time.Millisecond {
		t.Errorf("take-over: took %v, want at least %v", took, ttl)
	}
	run(t, l)
	if err := stale.Run(t.Context()); !errors.Is(err, broker.ErrLost) || !strings.Contains(err.Error(), "b") {
		t.Errorf("run of the stale lease: got %v, want ErrLost that names the holder", err)
	}
	if err := l.Held(); err != nil {
		t.Errorf("held after the stale holder woke: got %v, want nil", err)
	}
}

// H12: when a holder's lease ran out unseen, its last renewal may be younger
// than the broker's clock makes it.
func TestH12ALeaseThatRanOutIsTakenLate(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	acquire(t, a, "a")
	kv, err := a.JetStream().KeyValue(t.Context(), "WEIR_LANES")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the key runs out", func() bool {
		_, err := kv.Get(t.Context(), "lease")
		return errors.Is(err, jetstream.ErrKeyNotFound)
	})
	began := time.Now()
	l := acquire(t, b, "b")
	if took := time.Since(began); took < ttl-100*time.Millisecond {
		t.Errorf("taking a lease that ran out: took %v, want at least %v", took, ttl)
	}
	if err := l.Held(); err != nil {
		t.Errorf("held: got %v, want nil", err)
	}
}

// H12: a key that vanished without a mark, because the broker's clock leapt or its
// store was rolled back, was not given back.
func TestH12ALeaseThatVanishedIsTakenLate(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	stale := acquire(t, a, "a")
	s, err := a.JetStream().Stream(t.Context(), broker.StreamLanes)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.WEIR_LANES.lease")); err != nil {
		t.Fatal(err)
	}
	if stale.Held() != nil {
		t.Fatal("the lease lapsed too soon for this test")
	}
	l := acquire(t, b, "b")
	if stale.Held() == nil {
		t.Error("both hold the lease")
	}
	if err := l.Held(); err != nil {
		t.Errorf("held: got %v, want nil", err)
	}
}

// A process that gives up before it was certain that the former holder had
// stopped leaves that wait to the next one.
func TestH12GivingUpDoesNotFreeTheLease(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b, c := connect(t, e, broker.Config{}), connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	stale := acquire(t, a, "a")
	s, err := a.JetStream().Stream(t.Context(), broker.StreamLanes)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("$KV.WEIR_LANES.lease")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), ttl/4)
	defer cancel()
	if _, err := b.Lease(ctx, broker.LeaseConfig{TTL: ttl, Holder: "b"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("lease: got %v, want the end of its context", err)
	}
	acquire(t, c, "c")
	if stale.Held() == nil {
		t.Error("both hold the lease")
	}
}

// A dead holder whose TTL was longer, on a cluster for instance, is waited for
// by its own TTL and not taken for one that runs.
func TestLeaseOfALongerTTLIsTaken(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	dead, err := a.Lease(t.Context(), broker.LeaseConfig{TTL: 2 * ttl, Holder: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: ttl, Holder: "b"})
	if err != nil {
		t.Fatalf("lease: got %v, want it once the dead holder's ran out", err)
	}
	if dead.Held() == nil || l.Held() != nil {
		t.Errorf("held: got %v by the dead holder, %v by the new one", dead.Held(), l.Held())
	}
}

// A lease that does not run out, since the broker's clock was set back, is taken
// when it was not renewed for two TTLs of its holder.
func TestLeaseThatDoesNotRunOutIsTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record string
		least  time.Duration
	}{
		"of an older version": {`{"v":1,"id":"x","holder":"dead"}`, 2 * ttl},
		"of a longer TTL":     {`{"v":1,"id":"x","holder":"dead","ttl":7000000000}`, 14 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fresh(t, broker.Config{})
			for _, key := range []string{"lease", "owner"} {
				if _, err := b.JetStream().Publish(t.Context(), "$KV.WEIR_LANES."+key, []byte(c.record)); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			l, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: ttl, Holder: "b"})
			if err != nil {
				t.Fatalf("lease: got %v, want it in the end", err)
			}
			if took := time.Since(began); took < c.least {
				t.Errorf("lease: taken after %v, want at least %v", took, c.least)
			}
			if err := l.Held(); err != nil {
				t.Errorf("held: got %v, want nil", err)
			}
		})
	}
}

// The stale holder finds the key free, but somebody else had it meanwhile.
func TestLeaseThatAnotherHadMeanwhileIsLost(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	stale := acquire(t, a, "a")
	if err := run(t, acquire(t, b, "b"))(); err != nil { // held, and given back
		t.Fatal(err)
	}
	if err := stale.Run(t.Context()); !errors.Is(err, broker.ErrLost) {
		t.Errorf("run of the stale lease: got %v, want ErrLost", err)
	}
	if stale.Held() == nil {
		t.Error("held: got nil")
	}
}

// A lease that ran out because nobody could renew it is taken again by its
// holder.
func TestLeaseOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := embed(t, broker.EmbeddedConfig{Dir: dir})
	b := connect(t, e, broker.Config{})
	l := acquire(t, b, "a")
	stop := run(t, l)
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	lapse(t, l)
	e, err := broker.StartEmbedded(zerolog.Nop(), broker.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Shutdown() })
	until(t, "the lease is held again", func() bool { return l.Held() == nil })
	if err := stop(); err != nil {
		t.Errorf("run: got %v, want nil", err)
	}
}

func TestOneOfManyGetsTheLease(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	var wg sync.WaitGroup
	var won, lost atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	for n := range 4 {
		b := connect(t, e, broker.Config{})
		wg.Go(func() {
			l, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: ttl, Holder: fmt.Sprint(n)})
			if err == nil {
				won.Add(1)
				err = l.Run(ctx)
				if err != nil {
					t.Errorf("run: %v", err)
				}
				return
			}
			lost.Add(1)
			if !errors.Is(err, broker.ErrHeld) {
				t.Errorf("lease: got %v, want ErrHeld", err)
			}
		})
	}
	until(t, "all but one are refused", func() bool { return lost.Load() == 3 })
	cancel()
	wg.Wait()
	if got := won.Load(); got != 1 {
		t.Errorf("holders: got %d, want 1", got)
	}
}

func TestLeaseRefusesPartsOfASecond(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	for _, bad := range []time.Duration{time.Millisecond, 1500 * time.Millisecond, -time.Second} {
		if _, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: bad}); err == nil {
			t.Errorf("TTL %v: got no error", bad)
		}
	}
}

func TestLeaseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	a, b := connect(t, e, broker.Config{}), connect(t, e, broker.Config{})
	acquire(t, a, "a")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Lease(ctx, broker.LeaseConfig{TTL: ttl}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lease: got %v, want the end of its context", err)
	}
}
