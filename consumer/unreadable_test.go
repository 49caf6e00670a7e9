package consumer_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// newer is a ledger some of whose entries a newer version wrote.
type newer struct {
	*process
	keys  map[string]bool
	fresh string      // the one that was written just now
	left  atomic.Bool // the newer version is gone, and its entries with it
}

func (n *newer) mine(key string) bool { return n.keys[key] && !n.left.Load() }

func (n *newer) Load(ctx context.Context, lane, key string) (consumer.Intent, uint64, error) {
	if n.mine(key) {
		return consumer.Intent{}, 0, fmt.Errorf("%w: a newer Weir wrote it", consumer.ErrStrange)
	}
	return n.process.Load(ctx, lane, key)
}

func (n *newer) Scan(ctx context.Context, lane string, since time.Time) iter.Seq2[consumer.Entry, error] {
	return func(yield func(consumer.Entry, error) bool) {
		for key := range n.keys {
			e := consumer.Entry{Intent: consumer.Intent{Lane: lane, Key: key}, Revision: 7, Written: time.Now()}
			if key != n.fresh {
				e.Written = time.Now().Add(-time.Hour) // its conversation is over
			}
			if n.mine(key) && !yield(e, consumer.ErrStrange) {
				return
			}
		}
		n.process.Scan(ctx, lane, since)(yield)
	}
}

// TestFault51AnEntryOfANewerVersionWaits has an entry that this version cannot read:
// its event waits, a slot is held for the conversation that it may have, and the
// others go on, as they do among many such entries. When they can be read their
// events are called.
func TestFault51AnEntryOfANewerVersionWaits(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		strange := w.lead("0000")
		keys := map[string]bool{strange: true}
		for i := range 50 {
			keys[w.lead(fmt.Sprintf("%04d", 1000+i))] = true
		}
		for i := range 20 {
			w.lead(fmt.Sprintf("%04d", i+1))
		}
		p := &process{}
		old := &newer{process: p, keys: keys, fresh: strange}
		w.start(t, p, func(c *consumer.Config) { c.Ledger = old })
		time.Sleep(time.Second)
		if s := status(t, p); s.Limit-s.Used > w.limit-1 {
			t.Errorf("slots: got %d of %d in use, want one for the entry that cannot be read", s.Used, s.Limit)
		}
		time.Sleep(9 * time.Minute) // 20 calls of 20 s on two slots, and probes
		if ended := w.stands(consumer.Ended); ended != 20 || len(w.made[strange]) != 0 {
			t.Errorf("got %d ended, %d calls for the strange one; want 20, none", ended, len(w.made[strange]))
		}
		if w.highest > w.limit-1 {
			t.Errorf("calls at one time: got %d, want %d at most", w.highest, w.limit-1)
		}
		if s := status(t, p); s.State != "running" || !strings.Contains(s.Why, "newer Weir") {
			t.Errorf("status: got %s %q, want that it says so", s.State, s.Why)
		}
		old.left.Store(true)
		time.Sleep(30 * time.Minute)
		p.stop(t)
		if got := w.state(strange); got != consumer.Ended || w.unacked() != 0 {
			t.Errorf("when it can be read: got %s, %d messages left; want ended, 0", got, w.unacked())
		}
	})
}
