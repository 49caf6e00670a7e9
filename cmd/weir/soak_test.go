//go:build soak

package main

import (
	"testing"
	"time"

	"github.com/weirhq/weir/internal/simulator"
)

// TestSoakKill9 kills weir a hundred times, at a provider that hides answers,
// cuts them, and drops what it made from its results.
func TestSoakKill9(t *testing.T) {
	killAlone(t, simulator.Faults{
		Shuffle: .5, Accepted500: .02, Cut: .02, Reset: .02, DropResult: .02,
		Refuse503: .02, HTML502: .02, ResetEarly: .02, Slow: .02, SlowFor: 300 * time.Millisecond,
	}, 100, 1000)
}
