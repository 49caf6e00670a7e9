package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// unsent reads what a lane may still send: the bodies of its events, the intents of
// what is postponed or due.
func unsent(t *testing.T, b *broker.Broker) (all []string) {
	t.Helper()
	for f, err := range b.Unsent(t.Context(), lane) {
		if err != nil {
			t.Fatal(err)
		}
		words := string(f.Data)
		if f.Intent != "" {
			words = f.Intent
		}
		if f.Order != nil {
			words += fmt.Sprint(" ordered after ", f.Order.Expect)
		}
		all = append(all, words)
	}
	return all
}

// TestUnsent reads what may still be sent of a lane: neither what is done, nor what
// is another lane's.
func TestUnsent(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	if got := unsent(t, b); got != nil {
		t.Errorf("of a lane that never ran: got %q, want nothing", got)
	}
	events, due := queues(t, b)
	for i := range 3 {
		publish(t, b, fmt.Sprint("event ", i))
	}
	if err := fetch(t, events, 1)[0].Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	js := b.JetStream()
	for _, subject := range []string{"weir.events." + lane + ".high", "weir.events.other", "weir.due.other." + key(1), "weir.later.other." + key(1)} {
		if _, err := js.Publish(t.Context(), subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Replay(t.Context(), letter(1), consumer.Replay{Expect: 3, By: "ana", Reason: "again"}); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, due, 1)[0].Ack(t.Context()); err != nil { // obeyed
		t.Fatal(err)
	}
	if err := b.Replay(t.Context(), letter(2), consumer.Replay{Expect: 4, By: "ana", Reason: "again"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Postpone(t.Context(), postponed(key(3), 1, time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	want := []string{"weir.events." + lane + ".high", "event 1", "event 2", key(2) + " ordered after 4", key(3)}
	if diff := cmp.Diff(want, unsent(t, b)); diff != "" {
		t.Errorf("may still be sent (-want +got):\n%s", diff)
	}
	for range b.Unsent(t.Context(), lane) {
		break // whoever has enough
	}
	for _, err := range b.Unsent(t.Context(), "no lane") {
		if err == nil {
			t.Error("got an event of what is no lane's name")
		}
	}
}
