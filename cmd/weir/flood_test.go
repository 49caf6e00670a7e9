package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
	"github.com/weirhq/weir/internal/config"
	"github.com/weirhq/weir/internal/ledger"
	"github.com/weirhq/weir/internal/simulator"
)

// The tests of this file fill what must never be full: a real broker's streams,
// made small.

// serving runs the lanes of a weir.yaml in this process, until it is stopped or the
// test ends.
func (k *killed) serving(t *testing.T, yaml string, start func(context.Context, zerolog.Logger, *config.Config) (*service, error)) (s *service, stop func()) {
	t.Helper()
	cfg, err := config.Load(yaml, func(name string) string { return k.env[name] })
	if err != nil {
		t.Fatal(err)
	}
	if s, err = start(t.Context(), zerolog.Nop(), cfg); err != nil {
		t.Fatal(err)
	}
	end := background(t, s.run)
	stop = sync.OnceFunc(func() {
		end()
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// patient writes a weir.yaml whose provider is the front, and may take a minute.
func (k *killed) patient(t *testing.T, f *front) string {
	t.Helper()
	path := k.at(t, f, "patient.yaml")
	y, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(y), "timeout: 10s", "timeout: 1m", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// resize gives a stream another room. One that is made smaller must hold less.
func resize(t *testing.T, b *broker.Broker, stream string, bytes int64) {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = bytes
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// stuff fills a stream with messages of so many bytes, each on a subject of its
// own, until it has used a share of its room, or takes no more.
func stuff(t *testing.T, b *broker.Broker, stream, subject string, bytes int, percent int64) {
	t.Helper()
	for {
		fill, err := b.Fill(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if fill.Above(percent) {
			return
		}
		if _, err := b.JetStream().Publish(t.Context(), subject+uuid.NewString(), make([]byte, bytes)); err != nil {
			return
		}
	}
}

// begun counts the leads that have an entry in the ledger, and those of them that
// are at their end.
func begun(t *testing.T, s *service) (all, ended int) {
	t.Helper()
	for entry, err := range s.ledger.Scan(t.Context(), "acme", time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		all++
		if entry.Intent.State == consumer.Ended {
			ended++
		}
	}
	return all, ended
}

// TestFault27AFullLedgerBeginsNothingNew fills the ledger while leads arrive: new
// ones stay in their stream before it is full, what was begun is finished, and
// everything goes on by itself when there is room.
func TestFault27AFullLedgerBeginsNothingNew(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	s, _ := k.serving(t, k.yaml, startService)
	k.room = 256 << 10
	resize(t, b, ledger.Stream, k.room)
	resize(t, b, broker.StreamOutcomes, 32<<10) // the oldest make way
	stuff(t, b, ledger.Stream, "$KV.WEIR_LEDGER.other.", 1000, 84)
	k.publish(t, b, 60)
	await(t, patience, "weir to be short of room", func() bool { return s.room.lacking() != nil })
	await(t, patience, "what was begun to end, and the lane to wait for room", func() bool {
		status := s.status(t.Context(), "acme") // without a slot in use nothing is about to begin
		all, ended := begun(t, s)
		return all == ended && status.Used == 0 && status.State == "waiting" && strings.Contains(status.Why, "KV_WEIR_LEDGER")
	})
	all, _ := begun(t, s)
	if all == len(k.keys) {
		t.Fatalf("all %d leads were begun, want that the ledger stops some", all)
	}
	if fill, err := b.Fill(t.Context(), ledger.Stream); err != nil || fill.Above(98) {
		t.Errorf("the ledger: got %v full, %v; want room that is left", fill, err)
	}
	contains(t, s.hindered().Error(), "KV_WEIR_LEDGER", "raise the stream's max_bytes")
	requests := k.sim.Report().Requests["create"]
	k.publish(t, b, 5) // its publisher is not refused
	stand(t, 3*time.Second)
	if now := k.sim.Report().Requests["create"]; now != requests {
		t.Errorf("create requests without room: got %d", now-requests)
	}
	if delivered, err := unacked(t, b); err != nil || delivered > 5 { // what a batch and an open pull had in hand
		t.Errorf("events taken out of their stream: got %d, %v; want few", delivered, err)
	}
	k.room = 8 << 20
	resize(t, b, ledger.Stream, k.room)
	k.settle(t, b)
	k.check(t, b, nil)
	if err := s.hindered(); err != nil {
		t.Errorf("ready when there is room again: got %v", err)
	}
}

// unacked counts the lane's events that were delivered and are not done.
func unacked(t *testing.T, b *broker.Broker) (int, error) {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-acme")
	if err != nil {
		return 0, err
	}
	return c.CachedInfo().NumAckPending, nil
}

// TestH5AFullStreamOfLettersStopsItsLane fills WEIR_DEAD while a request runs whose
// answer is lost: the doubt's event stays the broker's until it can be kept, and
// nobody else is called meanwhile.
func TestH5AFullStreamOfLettersStopsItsLane(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	k.honest = false
	asked, ask := first()
	answer := make(chan struct{})
	f := newFront(t, k.sim, func(w http.ResponseWriter, p post) bool {
		if p.n > 1 {
			return false
		}
		ask()
		<-answer
		panic(http.ErrAbortHandler) // the connection ends without an answer
	})
	s, _ := k.serving(t, k.patient(t, f), startService)
	k.publish(t, b, 1)
	within(t, patience, "a request", asked)
	resize(t, b, broker.StreamDead, 256<<10)
	for _, bytes := range []int{10_000, 1000, 100, 1} {
		stuff(t, b, broker.StreamDead, "weir.dead.other.", bytes, 100)
	}
	for i := range 12 {
		if _, err := b.PublishEvent(t.Context(), "acme", nil, []byte("not an event"), fmt.Sprint("junk-", i)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, patience, "weir to be short of room", func() bool { return s.room.lacking() != nil })
	k.publish(t, b, 10)
	close(answer)
	doubtful := k.keys[0]
	await(t, patience, "the doubt", func() bool { return k.states(t, b)[doubtful].State == consumer.Doubt })
	stand(t, 3*time.Second)
	if n, err := unacked(t, b); err != nil || n == 0 {
		t.Errorf("events that are not done: got %d, %v; want the doubt's", n, err)
	}
	if posts := len(f.all()); posts != 1 {
		t.Errorf("create requests without room for their letters: got %d, want none after the first", posts)
	}
	contains(t, s.hindered().Error(), "WEIR_DEAD", "weir dead list", "weir doubt list")
	dead, err := b.JetStream().Stream(t.Context(), broker.StreamDead)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Purge(t.Context(), jetstream.WithPurgeSubject("weir.dead.other.>")); err != nil {
		t.Fatal(err)
	}
	k.settle(t, b)
	k.check(t, b, nil)
	if _, err := b.Letter(t.Context(), consumer.Doubt, "acme", doubtful); err != nil {
		t.Errorf("the doubt's letter: got %v", err)
	}
	letters := 0
	for _, err := range b.Letters(t.Context(), consumer.Dead, "acme") {
		if err != nil {
			t.Fatal(err)
		}
		letters++
	}
	if letters != 12 {
		t.Errorf("dead letters: got %d, want 12", letters)
	}
}

// plainBroker is a nats-server of this process that does not sync each write, and a
// world for weir.
func plainBroker(t *testing.T, opts server.Options) (*killed, *broker.Broker) {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", -1, true, true
	opts.JetStream, opts.StoreDir, opts.JetStreamMaxMemory = true, filepath.Join(t.TempDir(), "store"), 64<<20
	srv, err := server.NewServer(&opts)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the broker does not start")
	}
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: srv.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return newKilled(t, fmt.Sprintf("broker: {url: %q, ack_wait: 2s}\n", srv.ClientURL()), "", simulator.Faults{}), b
}

// smallRooms is startService for a broker with little storage.
func smallRooms(ctx context.Context, lg zerolog.Logger, cfg *config.Config) (*service, error) {
	s := newService(lg, cfg)
	bc := brokerConfig(cfg)
	bc.Room = broker.Room{Events: 2 << 20, Outcomes: 2 << 20, Dead: 2 << 20, Contact: 1 << 20}
	var err error
	if s.broker, err = broker.Connect(ctx, lg, bc); err != nil {
		return nil, err
	}
	if s.ledger, err = ledger.Open(ctx, s.broker.JetStream(), ledger.Config{MaxBytes: 2 << 20}); err != nil {
		return nil, err
	}
	if err := s.broker.Provision(ctx); err != nil {
		return nil, err
	}
	if err := s.openRegister(ctx); err != nil {
		return nil, err
	}
	return s, s.arm()
}

// TestFault26AForeignStreamTakesAllStorage fills a broker's storage from outside
// while a request runs: nothing new is claimed, the answer is written down when
// there is room again, and everything goes on by itself.
func TestFault26AForeignStreamTakesAllStorage(t *testing.T) {
	t.Parallel()
	k, b := plainBroker(t, server.Options{JetStreamMaxStore: 40 << 20})
	k.room = 2 << 20
	asked, ask := first()
	answer := make(chan struct{})
	f := newFront(t, k.sim, func(_ http.ResponseWriter, p post) bool {
		if p.n == 1 {
			ask()
			<-answer
		}
		return false
	})
	s, _ := k.serving(t, k.patient(t, f), smallRooms)
	k.publish(t, b, 1)
	within(t, patience, "a request", asked)
	k.publish(t, b, 20)
	if _, err := b.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "FOREIGN", Subjects: []string{"foreign.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, bytes := range []int{500_000, 10_000, 1000, 1} {
		stuff(t, b, "FOREIGN", "foreign.", bytes, 100)
	}
	close(answer)
	await(t, patience, "weir to be short of storage", func() bool {
		err := s.hindered()
		return err != nil && strings.Contains(err.Error(), "storage")
	})
	contains(t, s.hindered().Error(), "raise its max_file_store")
	posts := len(f.all())
	if posts > 2 { // the second was on its way perhaps
		t.Errorf("create requests with a full store: got %d", posts)
	}
	stand(t, 3*time.Second)
	if now := len(f.all()); now != posts {
		t.Errorf("create requests with a full store: got %d more", now-posts)
	}
	if status := s.status(t.Context(), "acme"); status.State != "stopped" || !strings.Contains(status.Why, "storage") {
		t.Errorf("status: got %s, %q; want stopped, because of the storage", status.State, status.Why)
	}
	if err := b.JetStream().DeleteStream(t.Context(), "FOREIGN"); err != nil {
		t.Fatal(err)
	}
	k.settle(t, b)
	k.check(t, b, nil)
}

// TestFault51AnEntryOfANewerVersion has a newer version's entry in a real ledger: its
// event waits, and the others are called.
func TestFault51AnEntryOfANewerVersion(t *testing.T) {
	t.Parallel()
	k, b := ownBroker(t)
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(t.Context(), b.JetStream(), ledger.Config{}); err != nil {
		t.Fatal(err)
	}
	strange := consumer.Key("acme", "/crm", "lead-0")
	value := []byte(`{"v":2,"w":"x","state":"created","conversation":"c-1"}`)
	if _, err := b.JetStream().Publish(t.Context(), "$KV.WEIR_LEDGER.acme."+strange, value); err != nil {
		t.Fatal(err)
	}
	s, _ := k.serving(t, k.yaml, startService)
	k.publish(t, b, 10)
	var why error
	await(t, patience, "the others to be called", func() bool {
		ended := 0
		for entry, err := range s.ledger.Scan(t.Context(), "acme", time.Time{}) {
			if err != nil {
				why = err
			} else if entry.Intent.State == consumer.Ended {
				ended++
			}
		}
		return ended == len(k.keys)-1
	})
	if !errors.Is(why, consumer.ErrStrange) || !strings.Contains(why.Error(), "a newer Weir wrote it (format 2") {
		t.Errorf("the strange entry: got %v", why)
	}
	await(t, patience, "all but its event to be acknowledged", func() bool {
		n, err := unacked(t, b)
		return err == nil && n == 1
	})
	for _, c := range k.sim.Conversations() {
		if c.Intent == strange {
			t.Error("the event of a newer version's entry was called")
		}
	}
	m, err := b.JetStream().Stream(t.Context(), ledger.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := m.GetLastMsgForSubject(t.Context(), "$KV.WEIR_LEDGER.acme."+strange); err != nil || string(kept.Data) != string(value) {
		t.Errorf("its entry: got %s, %v; want it untouched", kept.Data, err)
	}
}
