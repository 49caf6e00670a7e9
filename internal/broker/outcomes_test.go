package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// tell publishes an outcome and returns its sequence.
func tell(t *testing.T, js jetstream.JetStream, lane, kind, body string) uint64 {
	t.Helper()
	ack, err := js.Publish(t.Context(), "weir.outcomes."+lane+"."+kind, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

// withOutcomes is a broker with a room for outcomes that are given up, and a raw
// connection to it. domain may be empty.
func withOutcomes(t *testing.T, domain string, room int64) (*broker.Broker, jetstream.JetStream) {
	t.Helper()
	url := plain(t, &server.Options{JetStream: true, StoreDir: t.TempDir(), JetStreamDomain: domain})
	const each = 1 << 20
	b, err := broker.Connect(t.Context(), zerolog.Nop(), broker.Config{
		URL: url, Domain: domain, Room: broker.Room{Events: each, Outcomes: each, Dead: each, Contact: each, Undelivered: room},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	if err := b.Provision(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b, raw(t, url, "")
}

// A lane's outcomes are read in their order, and those of no other lane, also in a
// domain of JetStream.
func TestNextOutcome(t *testing.T) {
	t.Parallel()
	for _, domain := range []string{"", "hub"} {
		b, js := withOutcomes(t, domain, 1<<20)
		ctx := t.Context()
		created, last, err := b.OutcomesEnd(ctx)
		if err != nil || last != 0 || created.IsZero() {
			t.Fatalf("domain %q: the end of an empty stream is %v, %d, %v", domain, created, last, err)
		}
		if o, err := b.NextOutcome(ctx, lane, 0); o != nil || err != nil {
			t.Errorf("domain %q: the first of none is %v, %v", domain, o, err)
		}
		first := tell(t, js, lane, "created", "one")
		tell(t, js, lane+"x", "created", "another lane's")
		tell(t, js, "x"+lane, "created", "another lane's")
		third := tell(t, js, lane, "ended", "two")
		var got []string
		for next := uint64(0); ; {
			o, err := b.NextOutcome(ctx, lane, next)
			if err != nil {
				t.Fatal(err)
			}
			if o == nil {
				break
			}
			if o.Published.IsZero() {
				t.Error("an outcome without its time")
			}
			got = append(got, fmt.Sprint(o.Sequence, o.Kind, string(o.Body)))
			next = o.Sequence + 1
		}
		if want := []string{fmt.Sprint(first, "created", "one"), fmt.Sprint(third, "ended", "two")}; !slices.Equal(got, want) {
			t.Errorf("domain %q: got %v, want %v", domain, got, want)
		}
		if again, last, err := b.OutcomesEnd(ctx); err != nil || last != third || !again.Equal(created) {
			t.Errorf("domain %q: the end is %v, %d, %v; want %v, %d", domain, again, last, err, created, third)
		}
		if _, err := b.NextOutcome(ctx, "a.b", 1); err == nil {
			t.Error("a lane that is no token was accepted")
		}
	}
}

// What waits for a lane is counted by kind, and nothing is left behind by it.
func TestOutcomesBehind(t *testing.T) {
	t.Parallel()
	b, js := withOutcomes(t, "", 1<<20)
	ctx := t.Context()
	for range 3 {
		tell(t, js, lane, "created", "{}")
		tell(t, js, lane, "ended", "{}")
		tell(t, js, "other", "created", "{}")
	}
	for _, c := range []struct {
		kinds []string
		after uint64
		want  uint64
	}{
		{nil, 0, 6}, {nil, 1, 5}, {nil, 9, 0}, {nil, 1000, 0},
		{[]string{"created"}, 0, 3}, {[]string{"created", "ended"}, 2, 4}, {[]string{"doubt"}, 0, 0},
	} {
		if got, err := b.OutcomesBehind(ctx, lane, c.kinds, c.after); err != nil || got != c.want {
			t.Errorf("%v behind %d: %d, %v; want %d", c.kinds, c.after, got, err, c.want)
		}
	}
	s, err := js.Stream(ctx, broker.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left behind", n)
	}
}

// News of a lane's outcomes come, and of no other's.
func TestNewOutcomes(t *testing.T) {
	t.Parallel()
	b, js := withOutcomes(t, "", 1<<20)
	news, stop := b.NewOutcomes(lane)
	defer stop()
	others, stopOthers := b.NewOutcomes("other")
	defer stopOthers()
	until(t, "news", func() bool { // the subscription is under way
		for range 3 {
			tell(t, js, lane, "created", "{}")
		}
		select {
		case <-news:
			return true
		default:
			return false
		}
	})
	select {
	case <-others:
		t.Error("news of another lane")
	default:
	}
}

// The place of a delivery is written by revision, and does not meet the lanes' other
// keys.
func TestDelivery(t *testing.T) {
	t.Parallel()
	b, _ := withOutcomes(t, "hub", 1<<20)
	ctx := t.Context()
	if data, revision, err := b.Delivery(ctx, lane); data != nil || revision != 0 || err != nil {
		t.Errorf("the place of a lane that has none: %s, %d, %v", data, revision, err)
	}
	first, err := b.StoreDelivery(ctx, lane, []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.StoreDelivery(ctx, lane, []byte("stranger"), 0); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("a second first one: got %v, want a conflict", err)
	}
	second, err := b.StoreDelivery(ctx, lane, []byte("two"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.StoreDelivery(ctx, lane, []byte("late"), first); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("a late one: got %v, want a conflict", err)
	}
	if data, revision, err := b.Delivery(ctx, lane); string(data) != "two" || revision != second || err != nil {
		t.Errorf("got %s, %d, %v; want two, %d", data, revision, err, second)
	}
	if lanes, err := b.Deliveries(ctx); err != nil || !slices.Equal(lanes, []string{lane}) {
		t.Errorf("lanes that deliver: %v, %v", lanes, err)
	}
	gates, err := b.Gates(ctx)
	if err != nil || len(gates) != 0 {
		t.Errorf("gates: %v, %v", gates, err)
	}
}

func given(n int) broker.Undelivered {
	at := time.Date(2026, 11, 21, 3, 4, 5, 678_901_234, time.UTC)
	return broker.Undelivered{
		Lane: lane, ID: fmt.Sprintf("outcome-%02d", n), Kind: "created", Intent: key(n), EventID: "ü " + fmt.Sprint(n), Source: "/crm\r\nX: y",
		Published: at, First: at.Add(time.Minute), Last: at.Add(time.Hour), Tries: 3, Reason: "status 422 “no”", Body: []byte("{}"),
	}
}

// all are the copies of a lane, without their sequences.
func all(t *testing.T, b *broker.Broker, lane string) (list []broker.Undelivered) {
	t.Helper()
	for u, err := range b.UndeliveredOutcomes(t.Context(), lane) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, u)
	}
	return list
}

// A copy is kept once, is as it was, and goes when it is taken away; an order and a
// removal that come in between are not undone.
func TestUndeliveredOutcomes(t *testing.T) {
	t.Parallel()
	b, _ := withOutcomes(t, "", 1<<20)
	ctx := t.Context()
	for range 2 {
		for n := range 3 {
			if err := b.KeepUndelivered(ctx, given(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := all(t, b, lane)
	if len(list) != 3 || len(all(t, b, "")) != 3 || len(all(t, b, "other")) != 0 {
		t.Fatalf("kept: %+v", list)
	}
	for n, u := range list {
		want := given(n)
		want.Sequence = u.Sequence
		if diff := cmp.Diff(want, u); diff != "" {
			t.Errorf("copy (-want +got):\n%s", diff)
		}
	}
	if u, _, err := b.OrderedUndelivered(ctx, lane, 0); u != nil || err != nil {
		t.Errorf("ordered by nobody: %v, %v", u, err)
	}
	if err := b.OrderUndelivered(ctx, list[1], "ann"); err != nil {
		t.Fatal(err)
	}
	if err := b.OrderUndelivered(ctx, list[1], "bob"); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("a second order of the same copy: got %v, want a conflict", err)
	}
	u, next, err := b.OrderedUndelivered(ctx, lane, 0)
	if err != nil || u == nil || u.By != "ann" || u.ID != list[1].ID || next != u.Sequence+1 {
		t.Fatalf("ordered: %+v, %d, %v", u, next, err)
	}
	if other, _, err := b.OrderedUndelivered(ctx, lane, next); other != nil || err != nil {
		t.Errorf("ordered once, and there twice: %v, %v", other, err)
	}
	noted := *u
	noted.By, noted.Reason = "", "again"
	if err := b.KeepUndelivered(ctx, noted); err != nil {
		t.Fatal(err)
	}
	if err := b.KeepUndelivered(ctx, noted); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("over a copy that is newer: got %v, want a conflict", err)
	}
	if err := b.DiscardUndelivered(ctx, lane, u.ID, u.Sequence); err != nil {
		t.Fatal(err)
	}
	if n, err := b.CountUndelivered(ctx, lane); n != 3 || err != nil {
		t.Errorf("a newer copy was removed: %d, %v", n, err)
	}
	newest := all(t, b, lane)[2]
	if err := b.DiscardUndelivered(ctx, lane, newest.ID, newest.Sequence); err != nil {
		t.Fatal(err)
	}
	newest.By = ""
	if err := b.KeepUndelivered(ctx, newest); !errors.Is(err, consumer.ErrConflict) {
		t.Errorf("what was removed is back: got %v, want a conflict", err)
	}
	if n, err := b.CountUndelivered(ctx, lane); n != 2 || err != nil {
		t.Errorf("%d copies, %v; want 2", n, err)
	}
}

// A full stream says so, to an order too.
func TestUndeliveredOutcomesAreFull(t *testing.T) {
	t.Parallel()
	b, _ := withOutcomes(t, "", 64<<10)
	ctx := t.Context()
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = b.KeepUndelivered(ctx, given(n%100*1000+n))
	}
	if !errors.Is(err, broker.ErrFull) {
		t.Fatalf("after %d: got %v, want ErrFull", n, err)
	}
	list := all(t, b, lane)
	for err = nil; err == nil; list = list[1:] { // what is left of the room is less than a copy
		err = b.OrderUndelivered(ctx, list[0], strings.Repeat("a", 200))
	}
	if !errors.Is(err, broker.ErrFull) {
		t.Errorf("an order: %v, want ErrFull", err)
	}
}

// What a stranger wrote into the stream is an error of its own, and the rest is there.
func TestUndeliveredOutcomesOfStrangers(t *testing.T) {
	t.Parallel()
	b, js := withOutcomes(t, "", 1<<20)
	ctx := t.Context()
	for _, subject := range []string{"weir.undelivered." + lane + ".strange", "weir.undelivered." + lane, "weir.undelivered." + lane + ".a.b"} {
		if _, err := js.Publish(ctx, subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.KeepUndelivered(ctx, given(1)); err != nil {
		t.Fatal(err)
	}
	good, bad := 0, 0
	for _, err := range b.UndeliveredOutcomes(ctx, "") {
		if err != nil {
			bad++
		} else {
			good++
		}
	}
	if good != 1 || bad != 1 {
		t.Errorf("%d can be read and %d not, want 1 and 1", good, bad)
	}
	if u, _, err := b.OrderedUndelivered(ctx, lane, 0); u != nil || err != nil {
		t.Errorf("ordered: %v, %v", u, err)
	}
}
