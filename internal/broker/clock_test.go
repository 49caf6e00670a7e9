package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// The broker's clock is looked at when the lease is taken, and again while it is
// renewed: its own renewals tell.
func TestH25TheLeaseLooksAtTheBrokersClock(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{})
	looks := make(chan consumer.Sample, 100)
	l, err := b.Lease(t.Context(), broker.LeaseConfig{TTL: 5 * time.Second, Holder: "a", Observe: func(s consumer.Sample) { looks <- s }})
	if err != nil {
		t.Fatal(err)
	}
	if len(looks) != 1 {
		t.Fatalf("when it is taken: got %d looks, want one", len(looks))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for last := (consumer.Sample{}); ; {
		select {
		case s := <-looks:
			if !s.Sent.After(last.Sent) || s.Received.Before(s.Sent) || s.Off() != 0 || s.Shown.Before(s.Sent.Add(-time.Millisecond)) || s.Shown.After(s.Received.Add(time.Millisecond)) {
				t.Errorf("got %+v after %+v, want one of the same machine's clock, within the round trip", s, last)
			}
			if !last.Sent.IsZero() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
				return
			}
			last = s
		case <-time.After(patience):
			t.Fatal("no look")
		}
	}
}
