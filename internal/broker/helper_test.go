package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/schema"
)

// TestMain fails where a goroutine is left. Each look takes about a second, in which a
// busy machine may not be done with the last server.
func TestMain(m *testing.M) {
	broker.TryFor(10 * time.Second) // a machine that stands still for less spoils no write
	code := m.Run()
	err := goleak.Find()
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); {
		err = goleak.Find()
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const lane = "acme-sales"

// patience is how long a test waits for what has to come: on a slow machine, too.
const patience = time.Minute

func key(n int) string { return consumer.Key(lane, "/crm", fmt.Sprint(n)) }

// embed starts an embedded broker that ends with the test.
func embed(t *testing.T, cfg broker.EmbeddedConfig) *broker.Embedded {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.MaxStore == 0 {
		cfg.MaxStore = 1 << 30
	}
	e, err := broker.StartEmbedded(zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { _ = e.Shutdown() }) // a test may have done so before
	return e
}

var (
	firstPort = rand.Uint32N(10_000)
	ports     atomic.Uint32 // that ownPort has tried
)

// ownPort returns a loopback address that nobody uses, that the system gives to
// nobody who asks for any port: a broker that starts anew finds it free.
func ownPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+(firstPort+ports.Add(1))%10_000)
		if ln, err := net.Listen("tcp", address); err == nil {
			_ = ln.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// connect connects to an embedded broker, and makes the streams.
func connect(t *testing.T, e *broker.Embedded, cfg broker.Config) *broker.Broker {
	t.Helper()
	cfg.URL, cfg.Token = e.URL(), e.Token()
	if cfg.Room == (broker.Room{}) {
		cfg.Room, _ = e.Room()
	}
	b, err := broker.Connect(t.Context(), zerolog.Nop(), cfg)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	if err := b.Provision(t.Context()); err != nil {
		t.Fatalf("provision: %v", err)
	}
	return b
}

func fresh(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	return connect(t, embed(t, broker.EmbeddedConfig{}), cfg)
}

// queues returns the lane's events, but those of high priority, and what is due.
func queues(t *testing.T, b *broker.Broker) (events, due consumer.Queue) {
	t.Helper()
	qs := lanes(t, b)
	return qs.Events, qs.Due
}

// lanes returns all queues of the lane.
func lanes(t *testing.T, b *broker.Broker) broker.Queues {
	t.Helper()
	qs, err := b.Lane(t.Context(), lane)
	if err != nil {
		t.Fatalf("lane: %v", err)
	}
	return qs
}

// publish gives the lane an event with this body. It has an id, so that one whose
// confirmation came too late is not stored twice.
func publish(t *testing.T, b *broker.Broker, body string) {
	t.Helper()
	if _, err := b.PublishEvent(t.Context(), lane, nil, []byte(body), nuid.Next()); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// fetch returns exactly n messages. They may come one by one: a message that
// was confirmed to its publisher is seen by the consumer a moment later.
func fetch(t *testing.T, q consumer.Queue, n int) []consumer.Message {
	t.Helper()
	var all []consumer.Message
	for end := time.Now().Add(patience); len(all) < n; {
		got, err := q.Fetch(n-len(all), time.Second)
		if all = append(all, got...); err != nil || len(got) == 0 && time.Now().After(end) {
			t.Fatalf("fetch: got %d messages, %v; want %d", len(all), err, n)
		}
	}
	return all
}

// none checks that nothing is there.
func none(t *testing.T, q consumer.Queue, wait time.Duration) {
	t.Helper()
	got, err := q.Fetch(10, wait)
	if err != nil || len(got) != 0 {
		t.Fatalf("fetch: got %d messages, %v; want none", len(got), err)
	}
}

// raw returns a connection without Weir.
func raw(t *testing.T, url string, token schema.Secret) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.Token(token.Reveal()), nats.Timeout(patience))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatalf("jetstream: %v", err)
	}
	return js
}

// messages returns how many messages a stream holds.
func messages(t *testing.T, b *broker.Broker, stream string) uint64 {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatalf("stream: %v", err)
	}
	return s.CachedInfo().State.Msgs
}

// until waits for a condition.
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
