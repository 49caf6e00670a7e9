package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// freely lets everything be removed.
func freely(_ context.Context, _ int, remove func() error) error { return remove() }

// What nothing can happen to any more is removed, and nothing else.
func TestH20OnlyWhatIsOverIsPruned(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	states := consumer.States()[1:]
	for n, state := range append(states, consumer.Waiting) { // the newest entry always stays
		in := intent(n)
		in.State = state
		if _, err := l.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
	}
	n, err := l.Prune(t.Context(), lane, time.Now().Add(time.Minute), freely)
	if n != 4 || err != nil {
		t.Errorf("got %d removed, %v; want 4", n, err)
	}
	for n, state := range states {
		want := state
		switch state {
		case consumer.Ended, consumer.Cancelled, consumer.Expired, consumer.Suppressed:
			want = consumer.Absent
		}
		if got, _, err := l.Load(t.Context(), lane, key(n)); err != nil || got.State != want {
			t.Errorf("%s: got %q, %v; want %q", state, got.State, err, want)
		}
	}
}

// An entry that is written between the look and the removal stays.
func TestH20AnEntryThatChangedIsNotPruned(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	revisions := make([]uint64, 3)
	for n := range revisions {
		in := intent(n)
		in.State = consumer.Ended
		var err error
		if revisions[n], err = l.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
	}
	changed := intent(0)
	changed.State, changed.N = consumer.Ended, 3
	n, err := l.Prune(t.Context(), lane, time.Now().Add(time.Minute), func(ctx context.Context, most int, remove func() error) error {
		if most != 2 {
			t.Errorf("allowed %d, want 2", most)
		}
		if _, err := l.Store(ctx, changed, revisions[0]); err != nil {
			t.Error(err)
		}
		return remove()
	})
	if err != nil {
		t.Fatal(n, err)
	}
	for n, want := range []consumer.State{consumer.Ended, consumer.Absent, consumer.Ended} {
		if got, _, err := l.Load(t.Context(), lane, key(n)); err != nil || got.State != want {
			t.Errorf("entry %d: got %q, %v; want %q", n, got.State, err, want)
		}
	}
}

// Young entries stay, and nothing is removed without leave.
func TestH20NothingIsPrunedTooSoon(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	for n := range 3 {
		in := intent(n)
		in.State = consumer.Ended
		if _, err := l.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
	}
	no := errors.New("no")
	refuse := func(context.Context, int, func() error) error { return no }
	if n, err := l.Prune(t.Context(), lane, time.Now().Add(-time.Minute), refuse); n != 0 || err != nil {
		t.Errorf("young: got %d, %v", n, err)
	}
	if n, err := l.Prune(t.Context(), lane, time.Now().Add(time.Minute), refuse); n != 0 || !errors.Is(err, no) {
		t.Errorf("without leave: got %d, %v", n, err)
	}
	if got, _, err := l.Load(t.Context(), lane, key(0)); err != nil || got.State != consumer.Ended {
		t.Errorf("got %q, %v", got.State, err)
	}
}
