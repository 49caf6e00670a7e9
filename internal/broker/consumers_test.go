package broker_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// urgent gives the lane an event of high priority with this body.
func urgent(t *testing.T, b *broker.Broker, body string) {
	t.Helper()
	if _, err := b.PublishHigh(t.Context(), lane, nil, []byte(body), nuid.Next()); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

// waiting waits until so many events of a lane wait and none is worked on: what was
// confirmed to its publisher is counted a moment later.
func waiting(t *testing.T, b *broker.Broker, lane string, want uint64) {
	t.Helper()
	until(t, fmt.Sprintf("%d events of lane %s wait", want, lane), func() bool {
		pending, busy, err := b.Backlog(t.Context(), lane)
		if err != nil || busy != 0 || pending > want {
			t.Fatalf("backlog of lane %s: got %d pending, %d not done, %v; want %d and 0", lane, pending, busy, err, want)
		}
		return pending == want
	})
}

func ack(t *testing.T, m consumer.Message) {
	t.Helper()
	if err := m.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Each priority has a queue, an ack floor and a share of the trim of its own.
func TestHighPriorityStandsApart(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	qs := lanes(t, b)
	for i := range 3 {
		publish(t, b, fmt.Sprint("n", i)) // 1, 3, 5
		urgent(t, b, fmt.Sprint("h", i))  // 2, 4, 6
	}
	waiting(t, b, lane, 6)
	high, normal := fetch(t, qs.High, 3), fetch(t, qs.Events, 3)
	for i, m := range high {
		if o := m.Origin(); string(m.Data()) != fmt.Sprint("h", i) || !o.High || o.Intent != "" || normal[i].Origin().High {
			t.Errorf("got %q from %+v, and %+v", m.Data(), o, normal[i].Origin())
		}
	}
	for _, m := range normal {
		ack(t, m)
	}
	floors := func(events, high uint64) { // or one more: the next is another subject's
		t.Helper()
		got, err := b.Floors(t.Context(), lane)
		if err != nil || len(got) != 2 || got[both[0]]-events > 1 || got[both[1]]-high > 1 {
			t.Errorf("floors: got %v, %v; want %d and %d", got, err, events, high)
		}
	}
	floors(5, 0)
	trim := func(want ...string) {
		t.Helper()
		if err := b.Trim(t.Context(), lane, 0); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, bodies(t, b)); diff != "" {
			t.Errorf("after trim: -want +got\n%s", diff)
		}
	}
	trim("h0", "h1", "h2")
	ack(t, high[0])
	ack(t, high[2])
	floors(5, 2)
	trim("h1", "h2")
	if pending, busy, err := b.Backlog(t.Context(), lane); err != nil || pending != 0 || busy != 1 {
		t.Errorf("backlog: got %d pending, %d not done, %v; want 0 and 1", pending, busy, err)
	}
	if ran, err := b.Ran(t.Context()); err != nil || !slices.Equal(ran, []string{lane}) {
		t.Errorf("lanes that ran: got %v, %v", ran, err)
	}
}

// bodies returns those of all events.
func bodies(t *testing.T, b *broker.Broker) (all []string) {
	t.Helper()
	s, err := b.JetStream().Stream(t.Context(), broker.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	for seq := s.CachedInfo().State.FirstSeq; seq <= s.CachedInfo().State.LastSeq; seq++ {
		if m, err := s.GetMsg(t.Context(), seq); err == nil {
			all = append(all, string(m.Data))
		}
	}
	return all
}

// The names of lanes' consumers are no other lane's.
func TestConsumersOfLanesDoNotCollide(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	names := []string{"a", "a-high", "high", "due-a", "due", "high-a"}
	for i, name := range names {
		if _, err := b.Lane(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		for range i + 1 {
			if _, err := b.PublishHigh(t.Context(), name, nil, nil, nuid.Next()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, name := range names {
		waiting(t, b, name, uint64(i+1))
	}
	ran, err := b.Ran(t.Context())
	slices.Sort(ran)
	slices.Sort(names)
	if err != nil || !slices.Equal(ran, names) {
		t.Errorf("lanes that ran: got %v, %v; want %v", ran, err, names)
	}
}

// former makes the lane's consumers as an older Weir had them, and returns that of
// its events.
func former(t *testing.T, b *broker.Broker) jetstream.Consumer {
	t.Helper()
	lanes(t, b)
	for _, name := range []string{"weir-" + lane, "weir-" + lane + "_high"} {
		if err := b.JetStream().DeleteConsumer(t.Context(), broker.StreamEvents, name); err != nil {
			t.Fatal(err)
		}
	}
	c, err := b.JetStream().CreateConsumer(t.Context(), broker.StreamEvents, jetstream.ConsumerConfig{
		Durable: "weir-" + lane, FilterSubjects: both, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: time.Second, MaxDeliver: -1, MaxAckPending: 10_000, MaxWaiting: 512,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// delivered fetches n messages.
func delivered(t *testing.T, c jetstream.Consumer, n int) (all []jetstream.Msg) {
	t.Helper()
	if n == 0 {
		return nil
	}
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		all = append(all, m)
	}
	if len(all) != n {
		t.Fatalf("fetch: got %d messages, %v; want %d", len(all), batch.Error(), n)
	}
	return all
}

// An upgrade loses nothing, wherever the older consumer was: what it had not
// delivered, what was delivered and unanswered, and what was given back with a
// delay comes from one of the two queues or from both, and what was acknowledged
// moves the floors up to the end.
func TestUpgradeOfTheConsumerOfBothPriorities(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]int{"nothing delivered": 0, "some delivered": 7, "all delivered": 12} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fresh(t, broker.Config{AckWait: time.Second})
			for i := range 6 {
				publish(t, b, fmt.Sprint("n", i))
				urgent(t, b, fmt.Sprint("h", i))
			}
			missing := make(map[string]bool)
			for _, body := range bodies(t, b) {
				missing[body] = true
			}
			old := former(t, b)
			var done uint64 // all up to it are
			for _, m := range delivered(t, old, taken) {
				meta, err := m.Metadata()
				if err != nil {
					t.Fatal(err)
				}
				switch meta.Sequence.Stream % 5 {
				case 1, 2: // one of each priority
					err = m.DoubleAck(t.Context())
					delete(missing, string(m.Data()))
				case 3:
					err = m.NakWithDelay(300 * time.Millisecond)
				case 4:
					err = m.Nak()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if taken > 0 {
				done = 2
			}
			floors, err := b.Floors(t.Context(), lane)
			if diff := cmp.Diff(map[string]uint64{both[0]: done, both[1]: done}, floors); err != nil || diff != "" {
				t.Errorf("floors before: %v, -want +got\n%s", err, diff)
			}
			if pending, busy, err := b.Backlog(t.Context(), lane); err != nil || pending+busy != uint64(len(missing)) {
				t.Errorf("backlog before: got %d and %d, %v; want %d in all", pending, busy, err, len(missing))
			}

			qs := lanes(t, b)
			floors, err = b.Floors(t.Context(), lane)
			if err != nil || floors[both[0]] < done {
				t.Errorf("floors after: got %v, %v; want %d at least", floors, err, done)
			}
			deadline := time.Now().Add(time.Minute)
			left := uint64(1)
			for len(missing) > 0 || left > 0 {
				for _, q := range []consumer.Queue{qs.High, qs.Events} {
					got, err := q.Fetch(100, 0)
					if err != nil {
						t.Fatal(err)
					}
					for _, m := range got {
						delete(missing, string(m.Data()))
						ack(t, m)
					}
				}
				pending, busy, err := b.Backlog(t.Context(), lane)
				if err != nil {
					t.Fatal(err)
				}
				left = pending + busy
				if time.Now().After(deadline) {
					t.Fatalf("never delivered: %v; not done: %d", slices.Sorted(maps.Keys(missing)), left)
				}
			}
			floors, err = b.Floors(t.Context(), lane)
			if err != nil || floors[both[0]] < 11 || floors[both[1]] < 12 {
				t.Errorf("floors in the end: got %v, %v; want 11 and 12 at least", floors, err)
			}
			if err := b.Trim(t.Context(), lane, 0); err != nil || messages(t, b, broker.StreamEvents) != 0 {
				t.Errorf("trim: %v, %d events left", err, messages(t, b, broker.StreamEvents))
			}
		})
	}
}
