package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/ledger"
)

// TestFault24AWriteToALedgerThatWentBackDoesNotCount has the broker lose what was
// stored while the process runs on: an entry that seems to be absent was there, and
// its claim must not be used.
func TestFault24AWriteToALedgerThatWentBackDoesNotCount(t *testing.T) {
	t.Parallel()
	url, _ := start(t, t.TempDir(), "")
	js := connect(t, url)
	var lost [][2]uint64
	l := open(t, js, ledger.Config{Lost: func(sequence, before uint64) { lost = append(lost, [2]uint64{sequence, before}) }})
	for n := range 3 {
		if _, err := l.Store(t.Context(), intent(n), 0); err != nil {
			t.Fatal(err)
		}
	}
	s, err := js.Stream(t.Context(), ledger.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), ledger.Stream); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the broker to make the stream anew: it removes the old one's files behind its answer", func(ctx context.Context) bool {
		_, err := js.CreateStream(ctx, s.CachedInfo().Config)
		return err == nil
	})
	if _, err := l.Store(t.Context(), intent(0), 0); !errors.Is(err, consumer.ErrConflict) {
		t.Fatalf("a write to a ledger that went back: got %v, want a conflict", err)
	}
	for n := 1; n < 5; n++ { // until its sequences are above those of before
		if _, err := l.Store(t.Context(), intent(n), 0); err == nil || errors.Is(err, consumer.ErrConflict) {
			t.Fatalf("a write before anybody has looked: got %v, want an error", err)
		}
	}
	in, revision, err := l.Load(t.Context(), lane, key(0))
	if err != nil || in.State != consumer.Started || revision != 1 {
		t.Errorf("got %s at %d, %v; want the entry, to be read again", in.State, revision, err)
	}
	if in, _, err := l.Load(t.Context(), lane, key(1)); err != nil || in.State != consumer.Absent {
		t.Errorf("got %s, %v; want nothing written", in.State, err)
	}
	if len(lost) != 1 || lost[0] != [2]uint64{1, 3} {
		t.Errorf("told %v, want once that 1 comes after 3", lost)
	}
	l.Accept()
	if _, err := l.Store(t.Context(), intent(1), 0); err != nil {
		t.Errorf("after it was accepted: %v", err)
	}
}

// TestWritesAtOnceAreInNoOrder stores many entries at once: their answers may come
// in any order.
func TestWritesAtOnceAreInNoOrder(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	errs := make(chan error, 200)
	for n := range cap(errs) {
		go func() {
			_, err := l.Store(t.Context(), intent(n), 0)
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
