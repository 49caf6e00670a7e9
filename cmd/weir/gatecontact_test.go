package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/internal/broker"
)

// A do-not-contact list that was lost looks like one that is empty: nobody on it
// must be called for that.
func TestTheLanesAreHeldWhereTheDoNotContactListIsLost(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s, stop := gated(t, dir)
	if err := s.broker.StoreContact(t.Context(), "b.somebody", []byte("{}"), 0, 0); err != nil {
		t.Fatal(err)
	}
	stop()
	s, stop = gated(t, dir)
	if why := whyHeld(t, s); why != "" {
		t.Fatalf("held although nothing is lost: %s", why)
	}
	if err := s.broker.JetStream().DeleteStream(t.Context(), broker.StreamContact); err != nil {
		t.Fatal(err)
	}
	stop()
	s, _ = gated(t, dir)
	if why := whyHeld(t, s); !strings.Contains(why, broker.StreamContact) {
		t.Errorf("held because of %q, want the list's stream", why)
	}
}
