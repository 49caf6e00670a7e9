package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/internal/ledger"
)

// scan returns the revision of each entry by key.
func scan(t *testing.T, l *ledger.Ledger, since time.Time) map[string]uint64 {
	t.Helper()
	got := map[string]uint64{}
	for e, err := range l.Scan(t.Context(), lane, since) {
		if err != nil {
			t.Fatalf("scan: %v", err)
		}
		if e.Intent.Lane != lane || e.Intent.State == consumer.Absent || got[e.Intent.Key] >= e.Revision {
			t.Fatalf("scan: got %+v after revision %d", e, got[e.Intent.Key])
		}
		got[e.Intent.Key] = e.Revision
	}
	return got
}

func TestScanOfAnEmptyLaneEnds(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	if got := scan(t, l, time.Time{}); len(got) != 0 {
		t.Errorf("scan of an empty ledger: got %v", got)
	}
	for n := range 300 { // of another lane: so many that the bulk path is taken
		in := intent(n)
		in.Lane = "acme-sales-2"
		if _, err := l.Store(t.Context(), in, 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, since := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
		if got := scan(t, l, since); len(got) != 0 {
			t.Errorf("scan of an empty lane since %v: got %v", since, got)
		}
	}
}

func TestScanFindsEachEntryOnce(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	want := map[string]uint64{}
	for _, size := range []int{3, 700, 1300} { // one by one, and in bulk
		for n := len(want); n < size; n++ {
			revision, err := l.Store(t.Context(), intent(n), 0)
			if err != nil {
				t.Fatal(err)
			}
			want[key(n)] = revision
		}
		put(t, js, consumer.Key(lane, "removed", fmt.Sprint(size)), nats.Header{"KV-Operation": {"DEL"}})
		if got := scan(t, l, time.Time{}); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("scan of %d entries: got %d, or other revisions", len(want), len(got))
		}
	}
	s, err := js.Stream(t.Context(), ledger.Stream)
	if err != nil {
		t.Fatal(err)
	}
	for info := range s.ListConsumers(t.Context()).Info() {
		t.Errorf("the scan left consumer %s behind", info.Name)
	}
}

func TestScanSince(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	s, err := js.Stream(t.Context(), ledger.Stream)
	if err != nil {
		t.Fatal(err)
	}
	var written []time.Time
	for n := range 600 {
		in := intent(n)
		if n%3 == 0 { // between those of other lanes
			in.Lane = "other"
		}
		revision, err := l.Store(t.Context(), in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n%3 != 0 {
			m, err := s.GetMsg(t.Context(), revision)
			if err != nil {
				t.Fatal(err)
			}
			written = append(written, m.Time)
		}
	}
	for _, i := range []int{0, 1, 77, 200, 398, 399} {
		if got, want := len(scan(t, l, written[i])), len(written)-i; got != want {
			t.Errorf("scan since the write of entry %d: got %d entries, want %d", i, got, want)
		}
		if got, want := len(scan(t, l, written[i].Add(1))), len(written)-i-1; got != want {
			t.Errorf("scan since just after entry %d: got %d entries, want %d", i, got, want)
		}
	}
}

// An entry that is rewritten while the scan runs moves behind the scan's first
// end, and must not be missed.
func TestScanMissesNothingThatMoves(t *testing.T) {
	t.Parallel()
	for _, size := range []int{20, 900} {
		l, _ := fresh(t)
		revisions := make([]uint64, size)
		for n := range revisions {
			var err error
			if revisions[n], err = l.Store(t.Context(), intent(n), 0); err != nil {
				t.Fatal(err)
			}
		}
		seen, moved := map[string]bool{}, false
		for e, err := range l.Scan(t.Context(), lane, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			seen[e.Intent.Key] = true
			for n := size / 2; n < size && !moved; n++ {
				if _, err := l.Store(t.Context(), intent(n), revisions[n]); err != nil {
					t.Fatal(err)
				}
			}
			moved = true
		}
		if len(seen) != size {
			t.Errorf("scan: got %d of %d entries", len(seen), size)
		}
	}
}

func TestScanGoesOnAfterAnUnreadableEntry(t *testing.T) {
	t.Parallel()
	l, js := fresh(t)
	for n := range 3 {
		if _, err := l.Store(t.Context(), intent(n), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(t.Context(), subject(key(1)), []byte(`{"v":9}`)); err != nil {
		t.Fatal(err)
	}
	entries, bad := 0, 0
	for _, err := range l.Scan(t.Context(), lane, time.Time{}) {
		if err != nil {
			bad++
		} else {
			entries++
		}
	}
	if entries != 2 || bad != 1 {
		t.Errorf("scan: got %d entries and %d errors, want 2 and 1", entries, bad)
	}
}

func TestScanStops(t *testing.T) {
	t.Parallel()
	l, _ := fresh(t)
	for n := range 400 {
		if _, err := l.Store(t.Context(), intent(n), 0); err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	for range l.Scan(t.Context(), lane, time.Time{}) {
		if count++; count == 5 {
			break
		}
	}
	if count != 5 {
		t.Errorf("scan: got %d entries, want 5", count)
	}
	for _, err := range l.Scan(t.Context(), "not.a.lane", time.Time{}) {
		if err == nil {
			t.Error("scan of a lane that cannot be: got an entry")
		}
	}
}
