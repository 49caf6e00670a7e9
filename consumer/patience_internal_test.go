package consumer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The lengths that are ranked are those of the newest calls.
func TestLengthsAreRanked(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	a := &account{cfg: AccountConfig{MaxCall: time.Hour}}
	var all []time.Duration
	for range 5 * mostLengths {
		length := time.Duration(1+r.IntN(90)) * time.Second // some of them twice
		a.measured(Conversation{Duration: length})
		all = append(all, length)
		age := time.Duration(r.IntN(90)) * time.Second
		var longer []time.Duration
		for _, length := range all[max(0, len(all)-mostLengths):] {
			if length > age {
				longer = append(longer, length)
			}
		}
		slices.Sort(longer)
		const wait = 10 * time.Second
		want := wait
		if len(longer) >= fewest {
			want = min(max(longer[len(longer)/7]-age, wait/4), 2*wait)
		}
		if got := a.likely(age, wait); got != want {
			t.Fatalf("after %d calls, at %v: got %v, want %v", len(all), age, got, want)
		}
	}
}
