package main

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// ended writes n entries whose conversation is over.
func ended(t *testing.T, s *service, from, n int) {
	t.Helper()
	for i := from; i < from+n; i++ {
		in := consumer.Intent{Lane: "acme", Key: consumer.Key("acme", "/crm", fmt.Sprint("e", i)), State: consumer.Ended, N: 1, Claims: 1, Digest: "d", Source: "/crm", ID: fmt.Sprint("e", i)}
		if _, err := s.ledger.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// Entries are pruned under a guard that takes each missing one for a loss. A weir
// that dies before, within or after it, as a copy of its store shows, is no loss
// either.
func TestH20PruningIsNoLoss(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, stop := gated(t, dir)
	ended(t, s, 0, 600)
	ctx := t.Context()
	var copies []string
	allow := func(ctx context.Context, most int, remove func() error) error {
		return s.guard.Remove(ctx, most, func() error {
			copies = append(copies, copyDir(t, dir)) // noted, and nothing removed
			err := remove()
			copies = append(copies, copyDir(t, dir)) // removed, and the mark is the one before
			return err
		})
	}
	n, err := s.ledger.Prune(ctx, "acme", time.Now().Add(time.Minute), allow)
	if err != nil || n != 599 || counted(t, s) != 1 {
		t.Errorf("got %d removed, %d left, %v; want all but the newest", n, counted(t, s), err)
	}
	ended(t, s, 600, 5)
	const day = 24 * time.Hour
	if err := s.prune(ctx, "acme", time.Now().Add(89*day)); err != nil || counted(t, s) != 6 {
		t.Errorf("after 89 days: got %d left, %v; want all 6", counted(t, s), err)
	}
	if err := s.prune(ctx, "acme", time.Now().Add(91*day)); err != nil || counted(t, s) != 1 {
		t.Errorf("after 91 days: got %d left, %v; want the newest", counted(t, s), err)
	}
	if found, err := s.guard.Scrub(ctx); err != nil || len(found) > 0 {
		t.Errorf("the scrub found %v, %v", found, err)
	}
	stop()
	if len(copies) != 6 {
		t.Errorf("got %d copies, want two of each of three batches", len(copies))
	}
	for i, dir := range append(copies, dir) {
		s, stop := gated(t, dir)
		if why := whyHeld(t, s); why != "" {
			t.Errorf("start %d: held because of %q", i, why)
		}
		ended(t, s, 1000, 3) // what is new is counted from there
		stop()
		if s, stop := gated(t, dir); whyHeld(t, s) != "" {
			t.Errorf("start %d: then held because of %q", i, whyHeld(t, s))
		} else {
			stop()
		}
	}
}

// counted returns how many entries there are.
func counted(t *testing.T, s *service) (n int) {
	t.Helper()
	for _, err := range s.ledger.Scan(t.Context(), "acme", time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
