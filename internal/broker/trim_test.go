package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nuid"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

func TestTrim(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{LaneQuota: 20})
	ctx := t.Context()
	events, due := queues(t, b)
	for n := range 8 {
		publish(t, b, fmt.Sprint(n))
	}
	if _, err := b.PublishEvent(ctx, "other", nil, []byte("x"), nuid.Next()); err != nil {
		t.Fatal(err)
	}
	held := fetch(t, events, 5)
	for n, m := range held {
		if n == 3 { // in doubt, say: not done
			continue
		}
		if err := m.Ack(ctx); err != nil {
			t.Fatal(err)
		}
	}
	trim := func(keep time.Duration, want uint64) {
		t.Helper()
		if err := b.Trim(ctx, lane, keep); err != nil {
			t.Fatal(err)
		}
		if got := messages(t, b, broker.StreamEvents); got != want {
			t.Errorf("events after trim of what is older than %v: got %d, want %d", keep, got, want)
		}
	}
	trim(time.Hour, 9) // too young, and the quota is not half used
	trim(0, 6)         // the three before the one that is not done
	trim(0, 6)
	for range 5 {
		publish(t, b, "more")
	}
	if err := held[3].Ack(ctx); err != nil {
		t.Fatal(err)
	}
	trim(time.Hour, 9) // half of the quota is used
	for _, m := range fetch(t, events, 8) {
		if s := string(m.Data()); s == "0" || s == "4" {
			t.Errorf("got %q, which was done", s)
		}
	}

	if err := b.Replay(ctx, consumer.Letter{Lane: lane, Intent: key(1)}, consumer.Replay{}); err != nil {
		t.Fatal(err)
	}
	if err := fetch(t, due, 1)[0].Ack(ctx); err != nil {
		t.Fatal(err)
	}
	trim(time.Hour, 9)
	if got := messages(t, b, broker.StreamLater); got != 0 {
		t.Errorf("replays after trim: got %d, want 0", got)
	}
}
