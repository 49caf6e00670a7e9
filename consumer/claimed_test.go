package consumer_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// While the ledger takes claims and no answers, a lane goes on no further than with
// the batches in flight and as many more: that many events, and not one more, would be
// in doubt after a crash. When the ledger takes answers again, all are called.
func TestNoMoreIsClaimedThanMayBeInDoubt(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, 5} {
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 5000
				const leads = 600
				for i := range leads {
					w.lead(fmt.Sprintf("%04d", i))
				}
				p := w.start(t, &process{}, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = batch })
				await(t, w, func() bool { return len(w.made) >= 20*batch }) // the window is open
				w.do(func() {
					w.storeErr = func(in consumer.Intent) (bool, error) {
						if in.State == consumer.Created {
							return false, errors.New("no answer of the disk")
						}
						return true, nil
					}
				})
				most := 0
				for range 100 {
					time.Sleep(100 * time.Millisecond)
					w.do(func() { most = max(most, w.started()) })
				}
				if want := 16 * batch; most > want { // 2 * mostFlying
					t.Errorf("claimed and not recorded: got %d, want %d at most", most, want)
				} else if most <= 8*batch {
					t.Errorf("claimed and not recorded: got %d: what is being written down held up the requests", most)
				}
				w.do(func() { w.storeErr = nil })
				await(t, w, func() bool { return len(w.made) == leads })
				p.stop(t)
			})
		})
	}
}

// started counts the entries that are. The caller holds w.mu.
func (w *world) started() (n int) {
	for _, e := range w.entries {
		if e.intent.State == consumer.Started {
			n++
		}
	}
	return n
}
