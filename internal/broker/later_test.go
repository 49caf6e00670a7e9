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

// postponed is an event of the lane that waits until at.
func postponed(intent string, n int, at time.Time) consumer.Postponed {
	return consumer.Postponed{
		Lane: lane, Intent: intent, N: n, At: at,
		Header: map[string][]string{"Content-Type": {"application/cloudevents+json"}, "Nats-Msg-Id": {"theirs"}},
		Data:   []byte(`{"id":"1"}`),
	}
}

// arrives fetches one message of the due queue.
func arrives(t *testing.T, q consumer.Queue, wait time.Duration) consumer.Message {
	t.Helper()
	for end := time.Now().Add(wait); ; {
		got, err := q.Fetch(1, 500*time.Millisecond)
		if err != nil {
			t.Fatalf("fetch: %v", err)
		}
		if len(got) > 0 {
			return got[0]
		}
		if time.Now().After(end) {
			return nil
		}
	}
}

func TestH4APostponedEventComesAtItsTime(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	for range 2 { // a repeat after a lost answer is the same wait
		if err := b.Postpone(t.Context(), postponed(key(2), 3, time.Now().Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, b, broker.StreamLater); n != 1 {
		t.Errorf("messages: got %d, want 1", n)
	}
	if kept, err := b.Kept(t.Context(), lane, key(2)); err != nil || !kept {
		t.Errorf("kept before its time: got %v, %v, want true", kept, err)
	}
	at := time.Now().Add(1500 * time.Millisecond)
	if err := b.Postpone(t.Context(), postponed(key(1), 3, at)); err != nil {
		t.Fatal(err)
	}
	m := arrives(t, due, patience)
	if m == nil {
		t.Fatal("it did not come")
	}
	if early := time.Until(at); early > 50*time.Millisecond {
		t.Errorf("it came %v early", early)
	}
	o := m.Origin()
	if o.Intent != key(1) || o.Replay != nil || string(m.Data()) != `{"id":"1"}` || !cmp.Equal(m.Header()["Content-Type"], []string{"application/cloudevents+json"}) {
		t.Errorf("got %+v, %v, %s; want the event as it was", o, m.Header(), m.Data())
	}
	if kept, err := b.Kept(t.Context(), lane, key(1)); err != nil || !kept {
		t.Errorf("kept while it is worked on: got %v, %v, want true", kept, err)
	}
	if err := m.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := arrives(t, due, time.Second); m != nil {
		t.Error("it came twice")
	}
	if kept, err := b.Kept(t.Context(), lane, key(1)); err != nil || kept {
		t.Errorf("kept when it is done: got %v, %v, want false", kept, err)
	}
	// The same wait again is taken for the one that has fired.
	if err := b.Postpone(t.Context(), postponed(key(1), 3, time.Now().Add(time.Hour))); err == nil {
		t.Error("H7: a schedule that the broker dropped as a duplicate was taken for one that is there")
	}
}

func TestH4ALaterWaitTakesTheEarliersPlace(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	// The earlier one may come before it is replaced: then another event, with more
	// time.
	for n, wait := 0, time.Second; wait < patience; n, wait = n+1, 4*wait {
		first := time.Now().Add(wait)
		for i, at := range []time.Time{first, time.Now().Add(time.Hour)} {
			if err := b.Postpone(t.Context(), postponed(key(n), i+1, at)); err != nil {
				t.Fatal(err)
			}
		}
		if time.Now().After(first) {
			continue
		}
		for m := arrives(t, due, wait+2*time.Second); m != nil; m = arrives(t, due, 0) {
			if m.Origin().Intent == key(n) {
				t.Error("the earlier one came")
			}
		}
		return
	}
	t.Error("no event was replaced in time")
}

func TestH4RestoreBringsAnEventBack(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	header := map[string][]string{"Content-Type": {"application/cloudevents+json"}}
	if _, err := b.PublishEvent(t.Context(), lane, header, []byte(`{"id":"7"}`), "m1"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PublishEvent(t.Context(), "other", header, []byte(`{"id":"8"}`), "m2"); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(t.Context(), lane, key(7), 1); err != nil {
		t.Fatal(err)
	}
	m := arrives(t, due, patience)
	if m == nil || m.Origin().Intent != key(7) || string(m.Data()) != `{"id":"7"}` {
		t.Fatalf("got %v, want the event", m)
	}
	for _, sequence := range []uint64{2, 99} {
		if err := b.Restore(t.Context(), lane, key(7), sequence); !errors.Is(err, consumer.ErrGone) {
			t.Errorf("sequence %d, another lane's or none: got %v, want %v", sequence, err, consumer.ErrGone)
		}
	}
}

// What is postponed beyond the room is refused before anything is stored, and
// fits again when something has come due.
func TestH4NothingIsPostponedBeyondTheRoom(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{Room: broker.Room{Events: 1 << 20, Outcomes: 1 << 20, Dead: 1 << 20, Contact: 1 << 20, Later: 20 << 10}})
	_, due := queues(t, b)
	postpone := func(n, step int, at time.Time) error {
		p := postponed(key(n), step, at)
		p.Data = make([]byte, 4<<10)
		return b.Postpone(t.Context(), p)
	}
	n, err := 0, error(nil)
	for ; n < 100 && err == nil; n++ {
		err = postpone(n, 1, time.Now().Add(time.Hour))
	}
	if !errors.Is(err, broker.ErrFull) || n > 6 {
		t.Fatalf("postpone %d: got %v, want ErrFull", n, err)
	}
	if got := messages(t, b, broker.StreamLater); got != uint64(n-1) {
		t.Errorf("messages after the refusal: got %d, want %d", got, n-1)
	}
	// One of them comes soon instead.
	s, err := b.JetStream().Stream(t.Context(), broker.StreamLater)
	if err == nil {
		err = s.Purge(t.Context(), jetstream.WithPurgeSubject("weir.later."+lane+"."+key(0)))
	}
	if err == nil {
		err = postpone(0, 2, time.Now().Add(time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	m := arrives(t, due, patience)
	if m == nil {
		t.Fatal("it does not come")
	}
	if err := m.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Trim(t.Context(), lane, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := postpone(n, 1, time.Now().Add(time.Hour)); err != nil {
		t.Errorf("postpone with room again: got %v", err)
	}
}

// An order that waits for people to be awake is the order that it was, and counts as
// one that was given.
func TestH9AnOrderThatIsPutOff(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	order := consumer.Replay{Expect: 3, By: "ana", Reason: "näher dran", At: time.Date(2026, 11, 20, 21, 4, 5, 600, time.UTC)}
	p := postponed(key(1), 3, time.Now().Add(time.Hour))
	p.Replay, p.Header["Weir-Corrected"] = &order, []string{"digest"}
	if err := b.Postpone(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	want := &broker.Order{Expect: 3, By: "ana", Reason: "näher dran", Corrected: "digest"}
	got, err := b.Ordered(t.Context(), lane, key(1))
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("ordered: got %+v, %v, want %+v", got, err, want)
	}
	letter := consumer.Letter{Lane: lane, Intent: key(1), Data: p.Data}
	if err := b.Replay(t.Context(), letter, consumer.Replay{Expect: 3, By: "bob"}); !errors.Is(err, broker.ErrAsked) {
		t.Errorf("a second order: got %v, want %v", err, broker.ErrAsked)
	}
	p.At = time.Now().Add(time.Second) // put off anew, as after a crash
	if err := b.Postpone(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if n := messages(t, b, broker.StreamLater); n != 1 {
		t.Errorf("messages: got %d, want 1", n)
	}
	m := arrives(t, due, patience)
	if m == nil {
		t.Fatal("it did not come")
	}
	if o := m.Origin(); o.Intent != key(1) || !cmp.Equal(o.Replay, &order) {
		t.Errorf("got %+v, want the order", o)
	}
	if got, err := b.Ordered(t.Context(), lane, key(1)); err != nil || !cmp.Equal(got, want) {
		t.Errorf("ordered while it is worked on: got %+v, %v, want %+v", got, err, want)
	}
	if err := m.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Ordered(t.Context(), lane, key(1)); err != nil || got != nil {
		t.Errorf("ordered after it was obeyed: got %+v, %v, want nothing", got, err)
	}
}
