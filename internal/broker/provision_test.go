package broker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

func TestProvisionTwice(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	connect(t, e, broker.Config{})
	b := connect(t, e, broker.Config{})
	for name, want := range map[string]jetstream.DiscardPolicy{
		broker.StreamEvents: jetstream.DiscardNew, broker.StreamOutcomes: jetstream.DiscardOld,
		broker.StreamDead: jetstream.DiscardNew, broker.StreamLater: jetstream.DiscardOld, broker.StreamLanes: jetstream.DiscardNew,
		broker.StreamContact: jetstream.DiscardNew,
	} {
		s, err := b.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Errorf("stream %s: %v", name, err)
			continue
		}
		if cfg := s.CachedInfo().Config; cfg.Discard != want || cfg.Storage != jetstream.FileStorage || cfg.Retention != jetstream.LimitsPolicy {
			t.Errorf("stream %s: got %+v", name, cfg)
		}
	}
	if _, err := b.JetStream().KeyValue(t.Context(), "WEIR_LANES"); err != nil {
		t.Errorf("the bucket is no key-value bucket to others: %v", err)
	}
}

func TestProvisionNamesWhatBreaksAPromise(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	js := raw(t, e.URL(), e.Token())
	for _, cfg := range []jetstream.StreamConfig{
		{Name: broker.StreamEvents, Subjects: []string{"weir.events.>"}, Retention: jetstream.WorkQueuePolicy, MaxAge: time.Hour},
		{Name: broker.StreamDead, Subjects: []string{"weir.dead.>"}, Storage: jetstream.MemoryStorage, Duplicates: time.Minute},
		{Name: broker.StreamLater, Subjects: []string{"weir.later.>", "weir.due.>"}, MaxMsgs: 5},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token(), Room: broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	err = b.Provision(t.Context())
	if err == nil {
		t.Fatal("provision: got no error")
	}
	for _, want := range []string{
		"stream WEIR_EVENTS: retention is WorkQueue, must be Limits", "discard is DiscardOld, must be DiscardNew", "max_age is 1h0m0s, must be 0s",
		"stream WEIR_DEAD: subjects is [weir.dead.>], must be [weir.dead.> weir.doubt.>]", "storage is Memory, must be File",
		"duplicate_window is 1m0s, must be 24h0m0s", "stream WEIR_LATER: max_msgs is 5, must be unlimited", "allow_msg_schedules is false, must be true",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("provision: got\n%v\nwant it to say %q", err, want)
		}
	}
}

func TestRoomChanges(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	small := broker.Config{Room: broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}, LaneQuota: 100}
	b := connect(t, e, small)
	for range 20 {
		if _, err := b.PublishEvent(t.Context(), lane, nil, make([]byte, 25<<10), nuid.Next()); err != nil {
			t.Fatal(err)
		}
	}
	large := small
	large.Room.Events, large.LaneQuota = 8<<20, 1000
	b = connect(t, e, large)
	if got := config(t, b, broker.StreamEvents); got.MaxBytes != 8<<20 || got.MaxMsgsPerSubject != 1000 {
		t.Errorf("room raised: got %d bytes, %d messages a lane", got.MaxBytes, got.MaxMsgsPerSubject)
	}
	for _, cfg := range []broker.Config{
		{Room: broker.Room{Events: 512 << 10, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}, LaneQuota: 1000},
		{Room: large.Room, LaneQuota: 20},
	} {
		b := connect(t, e, cfg)
		if got := config(t, b, broker.StreamEvents); got.MaxBytes != 8<<20 || got.MaxMsgsPerSubject != 1000 {
			t.Errorf("room below what is in use: got %d bytes, %d messages a lane; want that both stay", got.MaxBytes, got.MaxMsgsPerSubject)
		}
	}
	connect(t, e, small) // enough for what is in use
	if n := messages(t, b, broker.StreamEvents); n != 20 {
		t.Errorf("events after all this: got %d, want 20", n)
	}
}

// TestOutcomesAreKeptAsLongAsTheyAreToBe changes for how long, of a stream that is there.
func TestOutcomesAreKeptAsLongAsTheyAreToBe(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	b := connect(t, e, broker.Config{})
	if got, want := config(t, b, broker.StreamOutcomes).MaxAge, 30*24*time.Hour; got != want {
		t.Errorf("by default: got %v, want %v", got, want)
	}
	for _, keep := range []time.Duration{48 * time.Hour, 60 * 24 * time.Hour} {
		b = connect(t, e, broker.Config{KeepOutcomes: keep})
		if got := config(t, b, broker.StreamOutcomes).MaxAge; got != keep {
			t.Errorf("changed: got %v, want %v", got, keep)
		}
	}
	if got := config(t, b, broker.StreamEvents).MaxAge; got != 0 {
		t.Errorf("events: got a max_age of %v, want none", got)
	}
}

// TestNoDirectGets turns them off where an older Weir had allowed them: a copy that
// lags behind would say that an event is gone.
func TestNoDirectGets(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	b := connect(t, e, broker.Config{})
	for _, stream := range []string{broker.StreamEvents, broker.StreamOutcomes} {
		cfg := config(t, b, stream)
		cfg.AllowDirect = true
		if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, e, broker.Config{})
	for s := range b.JetStream().ListStreams(t.Context()).Info() {
		if s.Config.AllowDirect {
			t.Errorf("stream %s: got direct gets allowed, want them off", s.Config.Name)
		}
	}
}

func config(t *testing.T, b *broker.Broker, stream string) jetstream.StreamConfig {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}

func TestRoomAboveTheStore(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{MaxStore: 256 << 20})
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: e.URL(), Token: e.Token()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = b.Provision(ctx)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("provision: got %v, want an error at once", err)
	}
	for _, want := range []string{"its room needs 2048 MiB", "free disk space", "max_file_store"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("provision: got\n%v\nwant it to say %q", err, want)
		}
	}
}

// A stream without a room of its own needs some storage too.
func TestNoStorageLeft(t *testing.T) {
	t.Parallel()
	url := plain(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 3 << 20})
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: url, Room: broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	err = b.Provision(t.Context())
	for _, want := range []string{
		"stream WEIR_LATER: the broker's storage is used up beside the 3 MiB of this account's streams: free disk space",
		"stream KV_WEIR_LANES: its room needs 16 MiB",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("provision: got\n%v\nwant it to say %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "-1") {
		t.Errorf("provision: got\n%v\nwant no room of -1", err)
	}
}

func TestRoomAboveTheAccountsLimit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(`
		no_auth_user: u
		accounts: {A: {users: [{user: u, password: p}], jetstream: {max_file: 10M}}}
	`), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.JetStream, opts.StoreDir = true, t.TempDir()
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: plain(t, opts), Room: broker.Room{Events: 6 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	const want = "stream KV_WEIR_LANES: it needs 16 MiB, and of the account's 9 MiB 1 are free: raise the account's storage limit"
	if err := b.Provision(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("provision: got\n%v\nwant it to say %q", err, want)
	}
}

// plain starts a server that is not Weir's own.
func plain(t *testing.T, opts *server.Options) string {
	t.Helper()
	return started(t, opts).ClientURL()
}

func started(t *testing.T, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs = "127.0.0.1", -1, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("broker is not ready")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func TestNoJetStream(t *testing.T) {
	t.Parallel()
	url := plain(t, &server.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := broker.Connect(ctx, zerolog.Nop(), broker.Config{URL: url}); !errors.Is(err, broker.ErrNoJetStream) || ctx.Err() != nil {
		t.Errorf("connect: got %v, %v; want ErrNoJetStream at once", err, ctx.Err())
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	url := plain(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamDomain: "hub"})
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{URL: url, Domain: "hub", Room: broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, due := queues(t, b)
	publish(t, b, "x")
	m := fetch(t, events, 1)[0]
	if m.Origin().Sequence != 1 || m.Ack(t.Context()) != nil {
		t.Errorf("origin: got %+v", m.Origin())
	}
	if err := b.Keep(t.Context(), letter(1)); err != nil {
		t.Error(err)
	}
	if err := b.Replay(t.Context(), letter(1), consumer.Replay{}); err != nil {
		t.Error(err)
	}
	fetch(t, due, 1)
	if err := b.Pause(t.Context(), lane, "ann", ""); err != nil {
		t.Error(err)
	}
	if revision, err := b.WriteKey(t.Context(), "own.duty.x", []byte("{}"), 0, time.Second); err != nil || revision == 0 {
		t.Errorf("write a key: got %v", err)
	}
}
