package broker_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/broker"
)

// What was appended to a lane is one of its events, once, and is had again by its
// sequence; another lane's is not.
func TestAppend(t *testing.T) {
	t.Parallel()
	b := fresh(t, broker.Config{LaneQuota: 2})
	events, _ := queues(t, b)
	header := map[string][]string{"ce-id": {"1"}, "Weir-Replay": {"3"}}
	for range 2 {
		if err := b.Append(t.Context(), lane, "id-1", header, []byte("one")); err != nil {
			t.Fatal(err)
		}
	}
	m := fetch(t, events, 1)[0]
	got, data, err := b.Event(t.Context(), lane, m.Origin().Sequence)
	if diff := cmp.Diff(map[string][]string{"ce-id": {"1"}}, got); err != nil || diff != "" || string(data) != "one" || m.Origin().Intent != "" {
		t.Errorf("got %s, %v; headers (-want +got):\n%s", data, err, diff)
	}
	for _, tt := range []struct {
		lane     string
		sequence uint64
	}{{lane, 2}, {lane, 0}, {"other", 1}} {
		if _, _, err := b.Event(t.Context(), tt.lane, tt.sequence); !errors.Is(err, consumer.ErrGone) {
			t.Errorf("%s %d: got %v, want it gone", tt.lane, tt.sequence, err)
		}
	}
	if err := b.Append(t.Context(), lane, "id-2", nil, []byte("two")); err != nil {
		t.Fatal(err)
	}
	if err := b.Append(t.Context(), lane, "id-3", nil, []byte("three")); !errors.Is(err, broker.ErrFull) {
		t.Errorf("beyond the lane's quota: got %v, want it full", err)
	}
}
