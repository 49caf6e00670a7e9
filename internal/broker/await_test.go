package broker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// await is Await until something comes: a machine that stands still looks like a
// silent broker.
func await(t *testing.T, q consumer.Queue) consumer.Message {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; {
		m, err := q.Await(t.Context(), 20*time.Second)
		if m != nil {
			return m
		}
		if err != nil && !errors.Is(err, jetstream.ErrNoHeartbeat) || time.Now().After(end) {
			t.Fatalf("await: got nothing, %v", err)
		}
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	if m, err := events.Await(t.Context(), 50*time.Millisecond); m != nil || err != nil {
		t.Errorf("nothing is there: got %v, %v", m, err)
	}
	done := make(chan consumer.Message, 1)
	go func() { done <- await(t, events) }()
	publish(t, b, "late")
	m := <-done
	if o := m.Origin(); string(m.Data()) != "late" || o.Sequence != 1 || o.Stream != broker.StreamEvents || o.Published.IsZero() {
		t.Errorf("got %q of %+v", m.Data(), o)
	}
	if err := m.Nak(0); err != nil {
		t.Fatal(err)
	}
	if m = await(t, events); string(m.Data()) != "late" {
		t.Errorf("given back: got %q", m.Data())
	}
	if err := m.Ack(t.Context()); err != nil {
		t.Error(err)
	}
	none(t, events, 0)
}

// A pull that is closed while a message comes strands none: what it does not return
// is there for the next pull, long before AckWait.
func TestAwaitThatEndsStrandsNothing(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{AckWait: time.Hour})
	events, _ := queues(t, b)
	returned := 0
	for n := range 150 {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan consumer.Message, 1)
		go func() {
			m, err := events.Await(ctx, time.Minute)
			if err != nil {
				t.Errorf("await: %v", err)
			}
			got <- m
		}()
		go func() {
			time.Sleep(rand.N(2 * time.Millisecond))
			cancel()
		}()
		publish(t, b, fmt.Sprint(n))
		m := <-got
		if m != nil {
			returned++
		} else {
			m = await(t, events)
		}
		if string(m.Data()) != fmt.Sprint(n) {
			t.Fatalf("message %d: got %q", n, m.Data())
		}
		if err := m.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 150 came to the pull that was closed", returned)
}

// A pull that was open when the connection was lost ends when it is made again, not
// when its time is up, or when it has heard nothing for long: its request may be lost.
func TestAwaitAfterALostConnection(t *testing.T) {
	t.Parallel()
	direct, b, r := behind(t, broker.Config{AckWait: 2 * time.Second})
	events, _ := queues(t, b)
	type result struct {
		m   consumer.Message
		err error
	}
	done := make(chan result, 1)
	go func() {
		m, err := events.Await(t.Context(), time.Hour)
		done <- result{m, err}
	}()
	until(t, "the pull is open", func() bool {
		c, err := direct.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-"+lane)
		return err == nil && c.CachedInfo().NumWaiting > 0
	})
	r.drop()
	select {
	case got := <-done:
		if got.m != nil || got.err != nil {
			t.Errorf("got %v, %v; want neither", got.m, got.err)
		}
	case <-time.After(3 * time.Minute):
		t.Fatal("the pull went on")
	}
	publish(t, direct, "x")
	if m := await(t, events); string(m.Data()) != "x" {
		t.Errorf("got %q", m.Data())
	}
}

// What an idle queue asks of the broker is a request for each PullWait, and no more.
func TestAwaitAsksOnce(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	b := connect(t, e, broker.Config{})
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, _ := queues(t, b)
	before := b.Sent()
	m, err := events.Await(t.Context(), 3*time.Second)
	for errors.Is(err, jetstream.ErrNoHeartbeat) { // a machine that stands still
		before = b.Sent()
		m, err = events.Await(t.Context(), 3*time.Second)
	}
	if m != nil || err != nil {
		t.Fatalf("got %v, %v", m, err)
	}
	if n := b.Sent() - before; n > 2 { // the pull, and perhaps the flush of what was before
		t.Errorf("an idle pull sent %d messages, want its request alone", n)
	}
}

// The consumer that somebody removed is made again.
func TestAwaitFromARemovedConsumer(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	if err := b.JetStream().DeleteConsumer(t.Context(), broker.StreamEvents, "weir-"+lane); err != nil {
		t.Fatal(err)
	}
	if m, err := events.Await(t.Context(), patience); err == nil {
		t.Errorf("got %v and no error", m)
	}
	publish(t, b, "x")
	if m := await(t, events); string(m.Data()) != "x" {
		t.Errorf("got %q", m.Data())
	}
}

// A pull that ends while the connection is down leaves nothing behind when the
// connection is made again: no subscription at the broker, to which it would go on
// giving messages that nobody reads.
func TestAwaitThatEndsWithoutAConnection(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	direct := connect(t, e, broker.Config{})
	r := newRelay(t, e.URL())
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: r.url, Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	events, _ := queues(t, b)
	none(t, events, 0)
	before := e.Subscriptions()
	const pulls = 5
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ended sync.WaitGroup
	for range pulls {
		ended.Go(func() { _, _ = events.Await(ctx, time.Hour) })
	}
	until(t, "the pulls are open", func() bool {
		c, err := direct.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-"+lane)
		return err == nil && c.CachedInfo().NumWaiting == pulls
	})
	r.leave(true)
	r.drop()
	until(t, "the connection is lost", b.Reconnecting)
	cancel()
	time.AfterFunc(time.Second, func() { r.leave(false) })
	ended.Wait()
	until(t, "the connection is there again", func() bool { return !b.Reconnecting() })
	if _, err := b.JetStream().AccountInfo(t.Context()); err != nil { // what was said before is known
		t.Fatal(err)
	}
	until(t, "the pulls are gone", func() bool { return e.Subscriptions() <= before })
}
