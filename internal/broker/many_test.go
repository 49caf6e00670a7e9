package broker_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/internal/broker"
)

// Newer servers allow a stream 1,000 consumers unless it says otherwise, and a lane
// has two on WEIR_EVENTS. That number cannot be changed later.
func TestStreamsTakeTheConsumersOfManyLanes(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	for _, name := range []string{broker.StreamEvents, broker.StreamLater, broker.StreamOutcomes} {
		s, err := b.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().Config.MaxConsumers; n < 20_000 {
			t.Errorf("%s: max_consumers is %d", name, n)
		}
	}
}

// A stream that an older Weir made has no number of its own; the embedded server sets
// none either.
func TestTheEmbeddedServerAllowsManyConsumers(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	js := raw(t, e.URL(), e.Token())
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OLD", Subjects: []string{"old"}, Storage: jetstream.MemoryStorage, MaxConsumers: -1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1001 {
		_, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Name: fmt.Sprint("c", i), MemoryStorage: true, AckPolicy: jetstream.AckNonePolicy})
		if err != nil {
			t.Fatalf("consumer %d: %v", i+1, err)
		}
	}
}
