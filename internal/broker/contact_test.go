package broker_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

func TestContactKeys(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	if data, revision, err := b.Contact(t.Context(), "b.none"); data != nil || revision != 0 || err != nil {
		t.Errorf("a key that is not there: got %q, %d, %v", data, revision, err)
	}
	for i, want := range []string{"one", "two"} {
		_, revision, err := b.Contact(t.Context(), "b.a")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.StoreContact(t.Context(), "b.a", []byte(want), revision, 0); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		if data, _, err := b.Contact(t.Context(), "b.a"); string(data) != want || err != nil {
			t.Errorf("read: got %q, %v; want %q", data, err, want)
		}
		if err := b.StoreContact(t.Context(), "b.a", []byte("late"), revision, 0); !errors.Is(err, consumer.ErrConflict) {
			t.Errorf("write of an old revision: got %v, want %v", err, consumer.ErrConflict)
		}
	}
	if err := b.StoreContact(t.Context(), "c.x", []byte("three"), 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	var keys []string
	if err := b.Contacts(t.Context(), "b.", func(key string, _ []byte) error { keys = append(keys, key); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b.a"}; !slices.Equal(keys, want) {
		t.Errorf("keys: got %v, want %v", keys, want)
	}
}

// What runs out is gone, and may be written anew.
func TestContactRunsOut(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	if err := b.StoreContact(t.Context(), "c.x", []byte("old"), 0, time.Second); err != nil {
		t.Fatal(err)
	}
	until(t, "the record ran out", func() bool {
		data, revision, err := b.Contact(context.WithoutCancel(t.Context()), "c.x")
		return err == nil && data == nil && revision == 0
	})
	if err := b.StoreContact(t.Context(), "c.x", []byte("new"), 0, time.Hour); err != nil {
		t.Errorf("write anew: %v", err)
	}
}

// A stranger's tool cannot empty the list; a key that it removes is seen.
func TestContactCannotBeEmptied(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	if err := b.StoreContact(t.Context(), "b.a", []byte("one"), 0, 0); err != nil {
		t.Fatal(err)
	}
	s, err := b.JetStream().Stream(t.Context(), broker.StreamContact)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err == nil {
		t.Error("purge: got no error")
	}
	cfg := s.CachedInfo().Config
	cfg.DenyPurge = false
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err == nil {
		t.Error("allow to purge: got no error")
	}
	m := nats.NewMsg("$KV.WEIR_CONTACT.b.a")
	m.Header.Set("KV-Operation", "DEL")
	if _, err := b.JetStream().PublishMsg(t.Context(), m, jetstream.WithRetryAttempts(0)); err != nil {
		t.Fatal(err)
	}
	if data, revision, err := b.Contact(t.Context(), "b.a"); data != nil || revision == 0 || err != nil {
		t.Errorf("a key that somebody removed: got %q, %d, %v; want a revision and no data", data, revision, err)
	}
}
