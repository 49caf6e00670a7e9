package main

import (
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// A person releases lanes from a machine whose clock differs from the broker's:
// the boundary is never earlier than it is by the broker's.
func TestH25AReleaseByAnotherClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, tt := range map[string]struct{ ahead, want time.Duration }{
		"agreed": {0, 0}, "behind": {-time.Hour, time.Hour}, "ahead": {time.Hour, 0},
	} {
		look := consumer.Sample{Sent: now, Received: now, Shown: now.Round(0).Add(-tt.ahead)}
		if got := onBrokersClock(now, look).Sub(now); got != tt.want {
			t.Errorf("%s: got a boundary %v later, want %v", name, got, tt.want)
		}
	}
}
