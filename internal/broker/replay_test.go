package broker_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	l := letter(1)
	l.Header["Weir-Replay"], l.Header["Nats-Rollup"] = []string{"99"}, []string{"all"}
	want := consumer.Replay{Expect: 3, By: "Zoë <zoe@example.com>", Reason: "asked\r\nWeir-Replay: 4 😀 100 %"}
	if err := b.Replay(t.Context(), l, want); err != nil {
		t.Fatal(err)
	}
	if err := b.Replay(t.Context(), l, want); !errors.Is(err, broker.ErrAsked) {
		t.Errorf("the same order again: got %v, want %v", err, broker.ErrAsked)
	}
	m := fetch(t, due, 1)[0]
	got := m.Origin()
	if got.Intent != key(1) || got.Replay == nil || !cmp.Equal(*got.Replay, want) {
		t.Errorf("origin: got %+v, %+v; want %+v", got, got.Replay, want)
	}
	diff := cmp.Diff(letter(1).Header, m.Header(), cmpopts.IgnoreMapEntries(func(name string, _ []string) bool {
		return strings.HasPrefix(name, "Weir-") || strings.HasPrefix(name, "Nats-Expected-") || name == nats.MsgIdHdr
	}))
	if diff != "" || string(m.Data()) != string(l.Data) {
		t.Errorf("event: got %q (-want +got header):\n%s", m.Data(), diff)
	}
	order := &broker.Order{Expect: 3, By: want.By, Reason: want.Reason}
	if got, err := b.Ordered(t.Context(), lane, key(1)); err != nil || !cmp.Equal(order, got) {
		t.Errorf("order that waits: got %+v (%v), want %+v", got, err, order)
	}
}

// TestReplayAfterReplay gives an order after the one before was done with, with
// and without an effect on the intent, and after it was trimmed: the broker
// still knows the ids of those orders.
func TestReplayAfterReplay(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	ctx := t.Context()
	r := consumer.Replay{Expect: 3, By: "ana", Reason: "again"}
	for i, trimmed := range []bool{false, true, false} {
		if err := b.Replay(ctx, letter(1), r); err != nil {
			t.Fatalf("order %d: got %v, want it given", i, err)
		}
		m := fetch(t, due, 1)[0]
		if got := m.Origin().Replay; got == nil || got.Expect != 3 {
			t.Errorf("order %d: got %+v, want one for step 3", i, got)
		}
		if err := m.Ack(ctx); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Ordered(ctx, lane, key(1)); err != nil || got != nil {
			t.Errorf("order %d after it was obeyed: got %+v (%v), want none", i, got, err)
		}
		if trimmed {
			if err := b.Trim(ctx, lane, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	// An order that waits does not keep one for a later step.
	for expect := 4; expect <= 5; expect++ {
		if err := b.Replay(ctx, letter(1), consumer.Replay{Expect: expect}); err != nil {
			t.Errorf("order for step %d: got %v, want it given", expect, err)
		}
	}
}

// TestReplaysAtOneTime has many people order the same at one time.
func TestReplaysAtOneTime(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	const people = 8
	var given, asked int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range people {
		wg.Go(func() {
			digest := strings.Repeat("0", i) // each with another event
			err := b.ReplayCorrected(context.WithoutCancel(t.Context()), letter(1), consumer.Replay{Expect: 3}, digest)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				given++
			case errors.Is(err, broker.ErrAsked):
				asked++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if given != 1 || asked != people-1 || messages(t, b, broker.StreamLater) != 1 {
		t.Errorf("got %d orders given and %d refused, %d messages; want 1, %d and 1", given, asked, messages(t, b, broker.StreamLater), people-1)
	}
}

func TestReplayCorrected(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	_, due := queues(t, b)
	l := letter(1)
	l.Header, l.Data = map[string][]string{"Content-Type": {"application/cloudevents+json"}}, []byte(`{"corrected":true}`)
	if err := b.ReplayCorrected(t.Context(), l, consumer.Replay{Expect: 3}, "abc"); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Ordered(t.Context(), lane, key(1)); err != nil || got == nil || got.Corrected != "abc" {
		t.Errorf("order: got %+v (%v), want one with the digest", got, err)
	}
	m := fetch(t, due, 1)[0]
	if got := m.Header()["Weir-Corrected"]; !cmp.Equal(got, []string{"abc"}) || string(m.Data()) != string(l.Data) {
		t.Errorf("got %q with digest %v, want the corrected event and abc", m.Data(), got)
	}
}
