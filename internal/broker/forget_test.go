package broker_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// What is removed is gone, twice is no error, and a consumer that had it goes on
// behind it.
func TestErasedIsGone(t *testing.T) {
	t.Parallel()
	b, _ := withOutcomes(t, "", 1<<20)
	ctx := t.Context()
	events, due := queues(t, b)
	for _, body := range []string{"first", "theirs", "last"} {
		publish(t, b, body)
	}
	got := fetch(t, events, 3)
	ack(t, got[0])
	ack(t, got[2])
	for range 2 {
		if err := b.EraseEvent(ctx, 2); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the floor to pass what was removed", func() bool {
		floors, err := b.Floors(ctx, lane)
		return err == nil && floors["weir.events."+lane] == 3
	})
	var kept []string
	for k, err := range b.KeptEvents(ctx, lane) {
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, string(k.Data))
	}
	if diff := cmp.Diff([]string{"first", "last"}, kept); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}

	l := consumer.Letter{Lane: lane, Intent: key(1), State: consumer.Dead, N: 1, Data: []byte("theirs")}
	other := l
	other.Intent = key(2)
	for _, l := range []consumer.Letter{l, other} {
		if err := errors.Join(b.Keep(ctx, l), b.Replay(ctx, l, consumer.Replay{Expect: 1, By: "ana", Reason: "x"})); err != nil {
			t.Fatal(err)
		}
	}
	fetch(t, due, 2)
	want := broker.Erased{Postponed: 1, Letters: 1}
	for _, count := range []bool{true, false} {
		if n, err := b.EraseIntent(ctx, lane, key(1), count); err != nil || n != want {
			t.Errorf("count %v: got %+v, %v; want %+v", count, n, err, want)
		}
	}
	if n, err := b.EraseIntent(ctx, lane, key(1), true); err != nil || n != (broker.Erased{}) {
		t.Errorf("afterwards: got %+v, %v; want nothing", n, err)
	}
	if n, err := b.EraseIntent(ctx, lane, key(2), true); err != nil || n != want {
		t.Errorf("of another event: got %+v, %v; want %+v", n, err, want)
	}

	for n := range 2 {
		if err := b.KeepUndelivered(ctx, given(n)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := b.EraseUndelivered(ctx, lane, given(0).ID); err != nil {
			t.Fatal(err)
		}
	}
	if left := all(t, b, lane); len(left) != 1 || left[0].ID != given(1).ID {
		t.Errorf("undelivered: got %+v, want the other one", left)
	}
}

// Where no lane has an address for outcomes there is nothing to remove of them.
func TestNothingUndeliveredToErase(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	if _, err := b.JetStream().Stream(t.Context(), broker.StreamUndelivered); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatalf("the stream: got %v, want none", err)
	}
	if err := b.EraseUndelivered(t.Context(), lane, "x"); err != nil {
		t.Errorf("got %v, want nothing", err)
	}
}

// An order to forget is there until nothing is left of it, and one writer wins.
func TestOrdersToForget(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	o, err := b.StoreOblivion(ctx, broker.Oblivion{ID: "1", By: "ana", Reason: "asked", Events: map[string][]string{lane: {key(1), key(2)}}})
	if err != nil {
		t.Fatal(err)
	}
	stale := o
	o.Events = map[string][]string{lane: {key(2)}}
	if o, err = b.StoreOblivion(ctx, o); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StoreOblivion(ctx, stale); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("by a second command: got %v, want a conflict", err)
	}
	found, err := b.Oblivions(ctx)
	if err != nil || len(found) != 1 || found[0].By != "ana" || !cmp.Equal(found[0].Events, o.Events) || found[0].ID != "1" {
		t.Fatalf("got %+v, %v; want what is left", found, err)
	}
	found[0].Events = nil
	if _, err := b.StoreOblivion(ctx, found[0]); err != nil {
		t.Fatal(err)
	}
	if found, err := b.Oblivions(ctx); err != nil || len(found) != 0 {
		t.Errorf("got %+v, %v; want none", found, err)
	}
}

// A schedule that is removed does not fire, and those after it do.
func TestAnErasedScheduleDoesNotFire(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	_, due := queues(t, b)
	postpone := func(n int, body string, at time.Time) {
		t.Helper()
		if err := b.Postpone(ctx, consumer.Postponed{Lane: lane, Intent: key(n), N: 1, At: at, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	// It may come before it is removed: then another one, with more time.
	for n, wait := 0, 500*time.Millisecond; wait < patience; n, wait = n+1, 4*wait {
		at := time.Now().Add(wait)
		postpone(n, "theirs", at)
		if _, err := b.EraseIntent(ctx, lane, key(n), false); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(at) {
			continue
		}
		postpone(100, "another's", at.Add(wait))
		for {
			m := fetch(t, due, 1)[0]
			if m.Origin().Intent == key(n) {
				t.Errorf("got %s, want what was not removed", m.Data())
			}
			if m.Origin().Intent == key(100) {
				return
			}
		}
	}
	t.Error("none was removed in time")
}
