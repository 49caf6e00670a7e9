package consumer

import (
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// The age of a claim is measured on a clock that a test cannot turn, so this
// one asks about a claim of the past.
func TestAnOldClaimMayNotStart(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{ClaimAge: 5 * time.Second, Fence: func() error { return nil }}}
	ln := newLane(&account{e: e, lg: zerolog.Nop(), pools: make(map[string]*pool)}, LaneConfig{Name: "l"})
	if err := ln.mayStart(BootTime() - 4*time.Second); err != nil {
		t.Errorf("4 s after the claim: got %v, want permission", err)
	}
	if err := ln.mayStart(BootTime() - 6*time.Second); !errors.Is(err, errTooOld) {
		t.Errorf("6 s after the claim: got %v, want %v", err, errTooOld)
	}
}
