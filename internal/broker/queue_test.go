package broker_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// quick is below the second that the client waits where the broker says
// nothing.
const quick = 900 * time.Millisecond

func TestFetchWithoutWait(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	empty, partial := time.Hour, time.Hour
	for end := time.Now().Add(patience); max(empty, partial) > quick && time.Now().Before(end); { // the best: the machine may be busy
		began := time.Now()
		none(t, events, 0)
		empty = min(empty, time.Since(began))

		for n := range 3 {
			publish(t, b, fmt.Sprint(n))
		}
		until(t, "the consumer sees the messages", func() bool {
			pending, _, err := b.Backlog(t.Context(), lane)
			return err == nil && pending == 3
		})
		began = time.Now()
		got, err := events.Fetch(10, 0)
		partial = min(partial, time.Since(began))
		if err != nil || len(got) != 3 {
			t.Fatalf("fetch: got %d messages, %v; want 3", len(got), err)
		}
		for n, m := range got {
			if string(m.Data()) != fmt.Sprint(n) {
				t.Errorf("message %d: got %q", n, m.Data())
			}
			if err := m.Ack(t.Context()); err != nil {
				t.Errorf("ack: %v", err)
			}
		}
	}
	if empty > quick || partial > quick {
		t.Errorf("fetch without wait: took %v with nothing there, %v with less than was asked for; want less than %v", empty, partial, quick)
	}
	if got, err := events.Fetch(0, 0); err != nil || len(got) != 0 {
		t.Errorf("fetch of none: got %v, %v", got, err)
	}
}

func TestFetchWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	type result struct {
		got []consumer.Message
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		for r.err = jetstream.ErrNoHeartbeat; errors.Is(r.err, jetstream.ErrNoHeartbeat); { // a machine that stands still
			r.got, r.err = events.Fetch(5, patience)
		}
		done <- r
	}()
	publish(t, b, "late")
	if r := <-done; r.err != nil || len(r.got) != 1 || string(r.got[0].Data()) != "late" {
		t.Fatalf("fetch: got %v, %v; want the one message that came", r.got, r.err)
	}
	none(t, events, 50*time.Millisecond)

	for range 7 {
		publish(t, b, "more")
	}
	fetch(t, events, 7)
}

func TestPriorityAndOtherLanes(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	qs := lanes(t, b)
	for _, subject := range []string{"weir.events.acme-sales", "weir.events.acme-sales.high", "weir.events.acme", "weir.events.acme-sales2", "weir.events.acme-sales2.high"} {
		if _, err := b.JetStream().Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []consumer.Queue{qs.Events, qs.High} {
		fetch(t, q, 1)
		none(t, q, 0)
	}
}

func TestNakMayBeRepeated(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	publish(t, b, "x")
	m := fetch(t, events, 1)[0]
	if err := m.Nak(time.Hour); err != nil {
		t.Fatal(err)
	}
	none(t, events, 100*time.Millisecond)
	began := time.Now()
	if err := m.Nak(300 * time.Millisecond); err != nil { // another delay
		t.Fatal(err)
	}
	m = fetch(t, events, 1)[0]
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("redelivery after a second Nak: took %v, want about 300 ms", took)
	}
	for _, delay := range []time.Duration{1000 * time.Hour, 0} { // none at all
		if err := m.Nak(delay); err != nil {
			t.Fatal(err)
		}
	}
	m = fetch(t, events, 1)[0]
	if err := m.Nak(time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := m.Ack(t.Context()); err != nil { // done all the same
		t.Errorf("ack after a Nak: got %v", err)
	}
	if _, busy, err := b.Backlog(t.Context(), lane); err != nil || busy != 0 {
		t.Errorf("after the ack: got %d not done, %v; want 0", busy, err)
	}
}

func TestAckWaitAndProgress(t *testing.T) {
	t.Parallel()
	const wait = 600 * time.Millisecond
	b := fresh(t, broker.Config{AckWait: wait})
	events, _ := queues(t, b)
	publish(t, b, "x")
	m := fetch(t, events, 1)[0]
	// Every 200 ms it is said that the message is worked on, for 1.2 s. One that
	// comes again when AckWait may have gone by without a word is the machine's doing.
	const silence = wait - 100*time.Millisecond
	var gap time.Duration // the longest that the broker may have waited for the last word
	said := time.Now()
	for began, end := said, said.Add(patience); time.Since(began) < 2*wait && time.Now().Before(end); {
		got, err := events.Fetch(1, 200*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) > 0 {
			if since := time.Since(said); since < silence && gap < silence {
				t.Fatalf("it came again %v after it was said that it is worked on", since)
			}
			m, began = got[0], time.Now()
		}
		before := said
		said = time.Now()
		if err := errors.Join(m.Progress(), b.JetStream().Conn().Flush()); err != nil {
			t.Fatal(err)
		}
		gap = time.Since(before)
	}
	again := fetch(t, events, 1)[0]
	if again.Origin().Sequence != m.Origin().Sequence {
		t.Errorf("redelivery: got sequence %d, want %d", again.Origin().Sequence, m.Origin().Sequence)
	}
	if err := again.Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	none(t, events, time.Second)
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, due := queues(t, b)
	began := time.Now()
	forged := nats.Header{"Weir-Replay": {"3"}, "Weir-By": {"mallory"}, "Ce-Id": {"1", "2"}}
	for _, subject := range []string{"weir.events." + lane, "weir.due." + lane + "." + key(1)} {
		if _, err := b.JetStream().PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: forged, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	m := fetch(t, events, 1)[0]
	got := m.Origin()
	if got.Stream != broker.StreamEvents || got.Sequence != 1 || got.Intent != "" || got.Replay != nil {
		t.Errorf("origin of an event: got %+v; want no intent and no replay, whatever its headers say", got)
	}
	if got.Published.Before(began.Add(-time.Minute)) || got.StreamAge.After(got.Published) || got.StreamAge.IsZero() {
		t.Errorf("origin of an event: got published %v, stream age %v", got.Published, got.StreamAge)
	}
	m.Header()["Ce-Id"][0] = "changed"
	if diff := cmp.Diff([]string{"1", "2"}, m.Header()["Ce-Id"]); diff != "" {
		t.Errorf("header is not a copy (-want +got):\n%s", diff)
	}
	own := fetch(t, due, 1)[0].Origin()
	want := &consumer.Replay{Expect: 3, By: "mallory"}
	if own.Intent != key(1) || !cmp.Equal(own.Replay, want) {
		t.Errorf("origin of a due message: got %+v, %+v; want intent %s, %+v", own, own.Replay, key(1), want)
	}
}

func TestAScheduleIsDelivered(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	m := nats.NewMsg("weir.later." + lane + "." + key(1))
	m.Header.Set("Nats-Schedule", "@at "+time.Now().Add(300*time.Millisecond).UTC().Format(time.RFC3339Nano))
	m.Header.Set("Nats-Schedule-Target", "weir.due."+lane+"."+key(1))
	if _, err := b.JetStream().PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := fetch(t, due, 1)[0].Origin(); got.Intent != key(1) || got.Replay != nil {
		t.Errorf("fired schedule: got %+v; want intent %s and no replay", got, key(1))
	}
}

func TestARemovedConsumerIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	publish(t, b, "x")
	if err := b.JetStream().DeleteConsumer(t.Context(), broker.StreamEvents, "weir-"+lane); err != nil {
		t.Fatal(err)
	}
	if got, err := events.Fetch(1, 0); err == nil {
		t.Fatalf("fetch from a removed consumer: got %v, want an error", got)
	}
	fetch(t, events, 1)
}

func TestADeadBrokerIsNoticed(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	b := connect(t, e, broker.Config{})
	events, _ := queues(t, b)
	publish(t, b, "x")
	m := fetch(t, events, 1)[0]
	if err := e.Shutdown(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := events.Fetch(1, time.Minute)
	if took := time.Since(began); err == nil || took > 30*time.Second {
		t.Errorf("fetch: got %v after %v; want an error within seconds", err, took)
	}
	if err := m.Nak(0); err == nil {
		t.Error("nak: got no error")
	}
	began = time.Now()
	if err := m.Ack(t.Context()); err == nil {
		t.Error("ack: got no error")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("ack: took %v, want at most about 4 s", took)
	}
}

func TestLaneKeepsItsPlace(t *testing.T) {
	t.Parallel()
	e := embed(t, broker.EmbeddedConfig{})
	b := connect(t, e, broker.Config{AckWait: time.Minute})
	events, _ := queues(t, b)
	publish(t, b, "first")
	publish(t, b, "second")
	if err := fetch(t, events, 1)[0].Ack(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := connect(t, e, broker.Config{AckWait: 30 * time.Second}) // another version of the configuration
	events, _ = queues(t, other)
	if got := fetch(t, events, 1)[0]; string(got.Data()) != "second" {
		t.Errorf("after a reconnect: got %q, want the second event", got.Data())
	}
	c, err := b.JetStream().Consumer(t.Context(), broker.StreamEvents, "weir-"+lane)
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.CachedInfo().Config
	if cfg.AckWait != 30*time.Second || cfg.MaxDeliver != -1 || len(cfg.BackOff) != 0 || cfg.MaxAckPending != 10_000 || cfg.MaxWaiting != 512 || cfg.AckPolicy != jetstream.AckExplicitPolicy {
		t.Errorf("consumer: got %+v", cfg)
	}
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	if _, _, err := b.Backlog(t.Context(), lane); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("backlog of a lane that never ran: got %v", err)
	}
	events, _ := queues(t, b)
	for range 5 {
		publish(t, b, "x")
	}
	if err := b.Replay(t.Context(), consumer.Letter{Lane: lane, Intent: key(1)}, consumer.Replay{}); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, events, 2)[0].Nak(time.Hour); err != nil {
		t.Fatal(err)
	}
	until(t, "4 are pending and 2 not done", func() bool {
		pending, busy, err := b.Backlog(t.Context(), lane)
		return err == nil && pending == 4 && busy == 2
	})
}

func TestNamesThatReachTooFar(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	for _, bad := range []string{"", ">", "*", "a.b", "A", strings.Repeat("a", 33)} {
		if _, err := b.Lane(t.Context(), bad); err == nil {
			t.Errorf("lane %q: got no error", bad)
		}
		if err := b.Discard(t.Context(), bad, key(1)); err == nil {
			t.Errorf("discard in lane %q: got no error", bad)
		}
		if err := b.Pause(t.Context(), bad, "ann", ""); err == nil {
			t.Errorf("pause of lane %q: got no error", bad)
		}
	}
	for _, bad := range []string{"", ">", "*", "a.b"} {
		if err := b.Discard(t.Context(), lane, bad); err == nil {
			t.Errorf("discard of intent %q: got no error", bad)
		}
	}
}
