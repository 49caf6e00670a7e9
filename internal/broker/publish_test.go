package broker_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

func TestPublishOutcome(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	e := event.New()
	e.SetID("outcome-1")
	e.SetSource("/weir/" + lane)
	e.SetType("weir.conversation.created")
	if err := e.SetData(event.ApplicationJSON, map[string]any{"reason": "…"}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // stored once
		if err := b.Publish(t.Context(), lane, "created", e); err != nil {
			t.Fatal(err)
		}
	}
	if n := messages(t, b, broker.StreamOutcomes); n != 1 {
		t.Errorf("outcomes stored: got %d, want 1", n)
	}
	s, err := b.JetStream().Stream(t.Context(), broker.StreamOutcomes)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), "weir.outcomes."+lane+".created")
	if err != nil {
		t.Fatal(err)
	}
	var got event.Event
	if err := got.UnmarshalJSON(m.Data); err != nil || got.ID() != "outcome-1" || got.Type() != e.Type() {
		t.Errorf("outcome: got %v, %v", got, err)
	}
	contentType := ""
	for name, values := range m.Header {
		if strings.EqualFold(name, "content-type") {
			contentType = values[0]
		}
	}
	if !strings.HasPrefix(contentType, "application/cloudevents+json") {
		t.Errorf("content type: got %q", contentType)
	}
	if err := b.Publish(t.Context(), lane, "a.b", e); err == nil {
		t.Error("a kind with a dot: got no error")
	}
}

func TestPublishEvent(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	events, _ := queues(t, b)
	header := map[string][]string{
		"ce-id": {"1"}, "Content-Type": {"application/json"}, "bad name": {"x"}, "": {"x"},
		"nats-rollup": {"all"}, "Nats-TTL": {"1s"}, "WEIR-Replay": {"1"},
	}
	for n, want := range []broker.Placed{{Sequence: 1}, {Sequence: 1, Duplicate: true}} {
		got, err := b.PublishEvent(t.Context(), lane, header, []byte("x"), "id")
		if err != nil || got != want {
			t.Fatalf("publish %d: got %+v, %v; want %+v", n, got, err, want)
		}
	}
	m := fetch(t, events, 1)[0]
	for name := range m.Header() {
		switch name {
		case "ce-id", "Content-Type", nats.MsgIdHdr, nats.ExpectedStreamHdr:
		default:
			t.Errorf("header %s came through", name)
		}
	}
	if len(header) != 7 {
		t.Error("the caller's header was changed")
	}
	if _, err := b.PublishEvent(t.Context(), lane, nil, make([]byte, 2<<20), ""); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("an event above max_payload: got %v, want ErrMaxPayload at once", err)
	}
}

// A lane that is full is refused, and the others are not.
func TestLaneQuota(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{LaneQuota: 3})
	ctx := t.Context()
	for range 3 {
		publish(t, b, "x")
	}
	if _, err := b.PublishEvent(ctx, lane, nil, []byte("x"), ""); !errors.Is(err, broker.ErrFull) || !strings.Contains(err.Error(), broker.StreamEvents) {
		t.Errorf("publish to a full lane: got %v, want ErrFull", err)
	}
	if _, err := b.PublishEvent(ctx, "other", nil, []byte("x"), nuid.Next()); err != nil {
		t.Errorf("publish to another lane: got %v", err)
	}
	if n := messages(t, b, broker.StreamEvents); n != 4 {
		t.Errorf("events stored: got %d, want 4: nothing may be dropped", n)
	}
}

// An event is found where it lies, for its own lane and intent alone.
func TestQueued(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	ctx := t.Context()
	if _, err := b.PublishEvent(ctx, lane, nil, []byte("without an id"), ""); err != nil {
		t.Fatal(err)
	}
	at, err := b.PublishEvent(ctx, lane, nil, []byte("x"), key(1)+".0123abcd")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Queued(ctx, lane, key(1), at.Sequence); err != nil || got.Since.IsZero() {
		t.Errorf("the event: got %v, %v; want its time", got, err)
	}
	for name, err := range map[string]error{
		"another intent": gone(b.Queued(ctx, lane, key(2), at.Sequence)),
		"another lane":   gone(b.Queued(ctx, "acme", key(1), at.Sequence)),
		"another place":  gone(b.Queued(ctx, lane, key(1), 1)),
		"no such place":  gone(b.Queued(ctx, lane, key(1), 99)),
		"no place":       gone(b.Queued(ctx, lane, key(1), 0)),
	} {
		if !errors.Is(err, consumer.ErrGone) {
			t.Errorf("%s: got %v, want ErrGone", name, err)
		}
	}
}

func gone(_ broker.Found, err error) error { return err }

// An id that another lane's publisher used takes no event from this one: the broker
// compares ids within the whole stream.
func TestAnIDOfAnotherLaneTakesNothing(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	for _, to := range []string{"squatter", lane} {
		placed, err := b.PublishEvent(t.Context(), to, nil, []byte("{}"), "id-1")
		if err != nil || placed.Duplicate {
			t.Errorf("lane %s: got %+v and %v, want it stored", to, placed, err)
		}
	}
	if placed, err := b.PublishHigh(t.Context(), "squatter", nil, []byte("{}"), "id-1"); err != nil || !placed.Duplicate {
		t.Errorf("once more: got %+v and %v, want a duplicate", placed, err)
	}
	if n := messages(t, b, broker.StreamEvents); n != 2 {
		t.Errorf("events stored: got %d, want 2", n)
	}
}
