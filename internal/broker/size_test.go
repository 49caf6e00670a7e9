package broker

import (
	"strings"
	"testing"
)

func TestFirstSize(t *testing.T) {
	t.Parallel()
	for free, want := range map[int64]int64{400 << 20: 300 << 20, 1 << 30: 768 << 20, 1 << 40: fullStore} {
		if got, err := firstSize(free, 0, lanesRoom); err != nil || got != want {
			t.Errorf("size with %d bytes free: got %d, %v; want %d", free, got, err, want)
		}
	}
	// What the message asks for must be enough.
	if _, err := firstSize(341<<20, 0, lanesRoom); err == nil || !strings.Contains(err.Error(), "has 341 MiB free, and 342 MiB are needed") {
		t.Errorf("size with 341 MiB free: got %v, want an error that says what is needed", err)
	}
	if _, err := firstSize(342<<20, 0, lanesRoom); err != nil {
		t.Errorf("size with 342 MiB free: got %v", err)
	}
}

// On a disk that is full by now, a store is given the size that it had.
func TestFirstSizeOfAnExistingStore(t *testing.T) {
	t.Parallel()
	for _, former := range []int64{leastStore, 1 << 30, 1<<30 + 7, fullStore} {
		streams, ledger := (&Embedded{endpoint: endpoint{MaxStore: former}}).Room()
		for _, contact := range []int64{0, streams.Contact} { // an older Weir had no such stream
			reserved, others := streams.Events+streams.Outcomes+streams.Dead+ledger+lanesRoom+contact, lanesRoom+contact
			got, err := firstSize(1<<20, reserved, others)
			if again, _ := (&Embedded{endpoint: endpoint{MaxStore: got}}).Room(); err != nil || got < reserved || again != streams {
				t.Errorf("size of a store of %d: got %d, %v, and rooms %+v; want %+v", former, got, err, again, streams)
			}
		}
	}
	if got, err := firstSize(1<<20, leastStore, lanesRoom); err != nil || got < leastStore {
		t.Errorf("size of a store that reserves %d: got %d, %v", leastStore, got, err)
	}
}
