package broker_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/internal/broker"
)

// both are the subjects that weir-<lane> once took together.
var both = []string{"weir.events." + lane, "weir.events." + lane + ".high"}

// widen gives WEIR_EVENTS the subjects that it once had.
func widen(t *testing.T, b *broker.Broker) {
	t.Helper()
	cfg := config(t, b, broker.StreamEvents)
	cfg.Subjects = []string{"weir.events.>"}
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// stray publishes events as an older Weir confirmed them: on subjects that no lane
// reads, for a lane that nobody knows, and for one that is not configured any more
// and had done all but one.
func stray(t *testing.T, b *broker.Broker) {
	t.Helper()
	widen(t, b)
	for _, subject := range []string{
		"weir.events." + lane + ".hihg", "weir.events." + lane + ".hihg", "weir.events.Acme", "weir.events." + lane,
		"weir.events.nobody", "weir.events.nobody.high",
		"weir.events.former", "weir.events.former.high", "weir.events.former", "weir.events.done",
	} {
		if _, err := b.JetStream().Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"former", "done"} {
		qs, err := b.Lane(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		ack(t, fetch(t, qs.Events, 1)[0])
		if name == "former" {
			ack(t, fetch(t, qs.High, 1)[0])
		}
	}
}

// A publish to a subject that no lane reads is not confirmed, also where the stream
// is an older Weir's, which keeps what it has.
func TestASubjectThatNoLaneReadsIsNotConfirmed(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	b := connect(t, e, broker.Config{})
	refused := func() {
		t.Helper()
		for _, subject := range []string{"weir.events.acme.hihg", "weir.events.acme.high.2", "weir.events.acme.low", "weir.events"} {
			_, err := b.JetStream().Publish(t.Context(), subject, nil, jetstream.WithRetryAttempts(0))
			if err == nil || !strings.Contains(err.Error(), nats.ErrNoResponders.Error()) && !strings.Contains(err.Error(), jetstream.ErrNoStreamResponse.Error()) {
				t.Errorf("publish to %s: got %v, want that nobody answers", subject, err)
			}
		}
	}
	refused()
	widen(t, b)
	if _, err := b.JetStream().Publish(t.Context(), "weir.events.acme.hihg", []byte("x")); err != nil {
		t.Fatal(err)
	}
	publish(t, b, "y")
	b = connect(t, e, broker.Config{})
	refused()
	if n := messages(t, b, broker.StreamEvents); n != 2 {
		t.Errorf("events after it was narrowed: got %d, want 2", n)
	}
	publish(t, b, "z")
	qs := lanes(t, b)
	fetch(t, qs.Events, 2)
}

func TestStraysAreFew(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		if _, err := b.PublishEvent(t.Context(), name, nil, nil, nuid.Next()); err != nil {
			t.Fatal(err)
		}
	}
	found, err := b.Strays(t.Context(), []string{"a"})
	if err != nil || len(found) != 1 || !strings.HasSuffix(found[0].Fact, ": b (1), c (1), d (1), e (1), f (1) and 1 others") {
		t.Errorf("got %+v, %v", found, err)
	}
	if found, err = b.Strays(t.Context(), []string{"a", "b", "c", "d", "e", "f", "g"}); err != nil || len(found) != 0 {
		t.Errorf("all lanes known: got %+v, %v", found, err)
	}
}
