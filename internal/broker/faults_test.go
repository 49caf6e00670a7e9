package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/internal/broker"
)

// The tests of this file are named after the rows of docs/faults.md.

// behind connects through a relay to a broker of its own.
func behind(t *testing.T, cfg broker.Config) (direct, through *broker.Broker, r *relay) {
	t.Helper()
	e := embed(t, broker.EmbeddedConfig{})
	direct = connect(t, e, cfg)
	r = newRelay(t, e.URL())
	cfg.URL, cfg.Token = r.url, e.Token()
	through, err := broker.Connect(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("connect through the relay: %v", err)
	}
	t.Cleanup(func() { _ = through.Close(context.Background()) })
	return direct, through, r
}

// goOn sends what was held, and holds nothing more.
func (r *relay) goOn(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = false
	for _, l := range r.links {
		if _, err := l.server.Write(l.held.Bytes()); err != nil {
			t.Fatal(err)
		}
		l.held.Reset()
	}
}

// drop ends every connection.
func (r *relay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.links {
		_, _ = l.client.Close(), l.server.Close()
	}
	r.links = nil
}

// TestFault07ARestartWithManyDelayed gives many events back with a delay, and
// starts the broker again: each comes again, whatever became of the delay.
func TestFault07ARestartWithManyDelayed(t *testing.T) {
	t.Parallel()
	const n, delay = 200, 3 * time.Second
	// A delay that the broker had not noted when it ended comes after AckWait.
	cfg := broker.Config{AckWait: 8 * time.Second}
	dir := t.TempDir()
	e := embed(t, broker.EmbeddedConfig{Dir: dir})
	b := connect(t, e, cfg)
	events, _ := queues(t, b)
	for i := range n {
		if _, err := b.JetStream().PublishAsync("weir.events."+lane, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	<-b.JetStream().PublishAsyncComplete()
	all := fetch(t, events, n)
	given := time.Now()
	for _, m := range all {
		if err := m.Nak(delay); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the broker has them all back", func() bool {
		_, busy, err := b.Backlog(t.Context(), lane)
		return err == nil && busy == n
	})
	if got, err := events.Fetch(n, 0); err != nil || len(got) > 0 && time.Since(given) < delay {
		t.Errorf("%v after they were given back for %v: got %d, %v; want none", time.Since(given), delay, len(got), err)
	}
	if err := errors.Join(b.Close(t.Context()), e.Shutdown()); err != nil {
		t.Fatal(err)
	}

	b = connect(t, embed(t, broker.EmbeddedConfig{Dir: dir}), cfg)
	events, _ = queues(t, b)
	seen := make(map[uint64]bool)
	until(t, "all of them came again", func() bool { // each is acknowledged before AckWait brings it once more
		got, err := events.Fetch(n, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got {
			seen[m.Origin().Sequence] = true
			if err := m.Ack(t.Context()); err != nil {
				t.Errorf("ack: %v", err)
			}
		}
		return len(seen) == n
	})
	t.Logf("all of them came again %v after they were given back for %v", time.Since(given), delay)
	none(t, events, 100*time.Millisecond)
	if pending, busy, err := b.Backlog(t.Context(), lane); pending != 0 || busy != 0 || err != nil {
		t.Errorf("backlog: got %d, %d, %v; want nothing", pending, busy, err)
	}
}

// TestFault21ABrokerThatHearsNothing holds up all that the client says while the
// connection stays open: fetch and ack end by themselves, and afterwards
// everything works again.
func TestFault21ABrokerThatHearsNothing(t *testing.T) {
	t.Parallel()
	_, b, r := behind(t, broker.Config{AckWait: 2 * time.Second})
	events, _ := queues(t, b)
	publish(t, b, "first")
	m := fetch(t, events, 1)[0]
	r.holdUp()
	began := time.Now()
	if got, err := events.Fetch(1, time.Minute); err == nil {
		t.Errorf("fetch: got %v, want an error", got)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("fetch: took %v, want seconds", took)
	}
	began = time.Now()
	if err := m.Ack(t.Context()); err == nil {
		t.Error("ack: got no error")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("ack: took %v, want about 4 s", took)
	}
	r.goOn(t)
	publish(t, b, "second")
	until(t, "everything that was published is done", func() bool {
		got, _ := events.Fetch(2, 200*time.Millisecond)
		for _, m := range got {
			_ = m.Ack(t.Context())
		}
		pending, busy, err := b.Backlog(t.Context(), lane)
		return err == nil && pending+busy == 0
	})
}

// TestFault49AnOperatorsHandInTheStream removes the consumer of events that are
// done: they come again from the first on, for the ledger to stop. A purge takes
// what waits, by the operator's own word; what comes later is delivered.
func TestFault49AnOperatorsHandInTheStream(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	for i := range 5 {
		publish(t, b, fmt.Sprint(i))
	}
	for _, m := range fetch(t, events, 5) {
		if err := m.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	none(t, events, 0)
	if err := b.JetStream().DeleteConsumer(t.Context(), broker.StreamEvents, "weir-"+lane); err != nil {
		t.Fatal(err)
	}
	if _, err := events.Fetch(1, 0); err == nil {
		t.Error("the first fetch from a removed consumer: got no error")
	}
	for i, m := range fetch(t, events, 5) {
		if o := m.Origin(); o.Sequence != uint64(i+1) || string(m.Data()) != fmt.Sprint(i) {
			t.Errorf("message %d: got sequence %d and %q", i, o.Sequence, m.Data())
		}
		if err := m.Ack(t.Context()); err != nil {
			t.Errorf("ack: %v", err)
		}
	}
	publish(t, b, "purged")
	s, err := b.JetStream().Stream(t.Context(), broker.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "later")
	if m := fetch(t, events, 1)[0]; string(m.Data()) != "later" {
		t.Errorf("after a purge: got %q, want what came later", m.Data())
	}
}

// TestFault54AReconnectStorm ends the client's connection again and again, while
// it fetches and before it acknowledges: no event is lost, and nothing is tried
// without end.
func TestFault54AReconnectStorm(t *testing.T) {
	t.Parallel()
	const n, drops = 60, 12
	direct, b, r := behind(t, broker.Config{AckWait: time.Second})
	events, _ := queues(t, b)
	for i := range n {
		publish(t, direct, fmt.Sprint(i))
	}
	done := make(map[string]bool)
	fetches, dropped := 0, 0
	for deadline := time.Now().Add(2 * patience); len(done) < n && time.Now().Before(deadline); fetches++ {
		while := fetches%2 == 0 && dropped < drops
		if while {
			dropped++
			time.AfterFunc(10*time.Millisecond, r.drop)
		}
		got, err := events.Fetch(5, 300*time.Millisecond)
		if !while && len(got) > 0 && dropped < drops {
			dropped++
			r.drop()
		}
		for _, m := range got {
			if m.Ack(t.Context()) == nil {
				done[string(m.Data())] = true
			}
		}
		if err != nil { // as the lanes do
			<-time.After(100 * time.Millisecond)
		}
	}
	t.Logf("%d events done by %d fetches, while the connection was dropped %d times", len(done), fetches, dropped)
	if len(done) != n || dropped < drops {
		t.Errorf("got %d events done and %d drops, want %d and %d", len(done), dropped, n, drops)
	}
	until(t, "nothing is left", func() bool {
		for len(done) == n { // acknowledged without hearing so
			got, err := events.Fetch(5, 0)
			for _, m := range got {
				_ = m.Ack(t.Context())
			}
			if err != nil || len(got) == 0 {
				break
			}
		}
		pending, busy, err := direct.Backlog(t.Context(), lane)
		return err == nil && pending+busy == 0
	})
}

// TestFault12ADeliveryThatComesTwice asks what the broker does with a delivery whose time
// is over by its clock: it comes again, and the acknowledgement of either delivery
// ends both.
func TestFault12ADeliveryThatComesTwice(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{AckWait: 400 * time.Millisecond})
	events, _ := queues(t, b)
	publish(t, b, "x")
	first := fetch(t, events, 1)[0]
	second := fetch(t, events, 1)[0]
	if first.Origin() != second.Origin() {
		t.Errorf("origins: got %+v and %+v, want one", first.Origin(), second.Origin())
	}
	if err := first.Ack(t.Context()); err != nil {
		t.Errorf("ack of the first delivery: %v", err)
	}
	none(t, events, time.Second)
	c, err := b.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-"+lane)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.CachedInfo(); got.NumAckPending != 0 || got.Config.AckPolicy != jetstream.AckExplicitPolicy {
		t.Errorf("after the ack: got %d not done", got.NumAckPending)
	}
	if err := second.Ack(t.Context()); err != nil {
		t.Logf("ack of the second: %v", err)
	}
}
