package consumer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// tally counts the fetches of a queue that do not wait.
type tally struct {
	consumer.Queue
	mu      sync.Mutex
	fetches int
}

func (q *tally) Fetch(n int, wait time.Duration) ([]consumer.Message, error) {
	if wait <= 0 {
		q.mu.Lock()
		q.fetches++
		q.mu.Unlock()
	}
	return q.Queue.Fetch(n, wait)
}

// slowLedger needs some time for what an answer means, and notes how many events are
// claimed and not recorded meanwhile.
type slowLedger struct {
	*process
	slow       time.Duration
	mu         sync.Mutex
	open, most int
}

func (l *slowLedger) Store(ctx context.Context, in consumer.Intent, revision uint64) (uint64, error) {
	if in.State == consumer.Created {
		time.Sleep(l.slow)
	}
	rev, err := l.process.Store(ctx, in, revision)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
	case in.State == consumer.Started:
		l.open++
		l.most = max(l.most, l.open)
	case in.State == consumer.Created:
		l.open--
	}
	return rev, err
}

// One fetch brings the events of all slots that are free, and a queue in which
// nothing is is not asked again before each of them. Each request still has one item.
func TestABacklogIsFetchedInBursts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1000
		for i := range 200 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		var high, events, due tally
		p := w.start(t, &process{}, func(c *consumer.Config) {
			ln := &c.Accounts[0].Lanes[0]
			ln.Batch = 1
			high.Queue, events.Queue, due.Queue = ln.High, ln.Events, ln.Due
			ln.High, ln.Events, ln.Due = &high, &events, &due
		})
		time.Sleep(15 * time.Second)
		w.do(func() {
			if len(w.posts) != 200 || len(w.made) != 200 {
				t.Errorf("got %d requests for %d conversations, want 200 of one item each", len(w.posts), len(w.made))
			}
		})
		p.stop(t)
		if events.fetches > 100 {
			t.Errorf("got %d fetches of 200 events, want several events by each", events.fetches)
		}
		if high.fetches > 10 || due.fetches > 10 {
			t.Errorf("got %d and %d fetches of empty queues, want few", high.fetches, due.fetches)
		}
	})
}

// What was claimed and is not recorded, a crash leaves in doubt: it is bounded however
// long the ledger takes.
func TestWhatIsNotRecordedIsBounded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.limit = 1000
		for i := range 200 {
			w.lead(fmt.Sprintf("%04d", i))
		}
		l := &slowLedger{slow: 5 * time.Second}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			l.process = c.Ledger.(*process)
			c.Ledger = l
			c.Accounts[0].Lanes[0].Batch = 1
		})
		time.Sleep(3 * time.Minute)
		p.stop(t)
		if l.most != 2*8 { // the window, and as many whose answers are being written down
			t.Errorf("got %d events claimed and not recorded, want two windows of 8", l.most)
		}
		if got := w.kinds()["created"]; got != 200 {
			t.Errorf("created: got %d, want 200", got)
		}
	})
}

// farLedger needs a second for each read, however many there are at once. The first
// reads of some entries fail.
type farLedger struct {
	*process
	mu         sync.Mutex
	fails      map[string]bool
	began      time.Time // of the first read
	open, most int       // reads at one time
}

func (l *farLedger) Load(ctx context.Context, lane, key string) (consumer.Intent, uint64, error) {
	l.mu.Lock()
	if l.began.IsZero() {
		l.began = time.Now()
	}
	failed := l.fails[key]
	delete(l.fails, key)
	l.open++
	l.most = max(l.most, l.open)
	l.mu.Unlock()
	time.Sleep(time.Second)
	l.mu.Lock()
	l.open--
	l.mu.Unlock()
	if failed {
		return consumer.Intent{}, 0, errSilent
	}
	return l.process.Load(ctx, lane, key)
}

// The entries of a batch are read at one time. For each of which that failed a second
// passes, and the others are sent.
func TestTheEntriesOfABatchAreReadAtOneTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail int
		took time.Duration // from the first read to the request
	}{
		"all are read": {0, time.Second},
		"two fail":     {2, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.limit = 1000
				l := &farLedger{fails: make(map[string]bool)}
				for i := range 5 {
					if key := w.lead(fmt.Sprintf("%04d", i)); i < tt.fail {
						l.fails[key] = true
					}
				}
				p := w.start(t, &process{}, func(c *consumer.Config) {
					l.process = c.Ledger.(*process)
					c.Ledger = l
					c.Accounts[0].Lanes[0].Batch = 5
				})
				for w.posted() == 0 {
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(l.began).Round(time.Second); took != tt.took {
					t.Errorf("from the first read to the request: got %v, want %v", took, tt.took)
				}
				w.do(func() {
					if got := len(w.posts[0].Items); got != 5-tt.fail {
						t.Errorf("items of the request: got %d, want %d", got, 5-tt.fail)
					}
				})
				p.stop(t)
			})
		})
	}
}

// However many batches there are, the broker is not asked for more entries at one time
// than it answers: what finds no reader reads its own, one after the other.
func TestReadsAtOneTimeAreBounded(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const events, readers = 800, 512
		w.limit = 1000
		for i := range events {
			w.lead(fmt.Sprintf("%04d", i))
		}
		l := &farLedger{}
		p := w.start(t, &process{}, func(c *consumer.Config) {
			l.process = c.Ledger.(*process)
			c.Ledger = l
			c.Accounts[0].Lanes[0].Batch = events
		})
		time.Sleep(time.Minute)
		p.stop(t)
		if l.most != readers+1 { // and the batch's own
			t.Errorf("reads at one time: got %d, want %d", l.most, readers+1)
		}
		if got := w.called(); got != events {
			t.Errorf("called: got %d, want %d", got, events)
		}
	})
}

// Of events that cannot be judged now one slot a second comes free, and whoever
// withdraws one of their batch does not wait for the others.
func TestAFalteringBatchIsNotLocked(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		const events = 20
		w.limit = 100
		var keys []string
		for i := range events {
			keys = append(keys, w.living(fmt.Sprintf("%04d", i), time.Time{}, time.Time{}, time.Now().Add(time.Hour)))
		}
		p := &process{}
		w.clocked(t, p, 2*time.Minute, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = events })
		time.Sleep(500 * time.Millisecond)
		if s := status(t, p); s.Used != events || s.Clock == "" {
			t.Errorf("while the events are given back: got %d slots, clock %q; want those of all, and what is wrong", s.Used, s.Clock)
		}
		began := time.Now()
		for i, key := range keys {
			r := command(t, p, consumer.Command{Verb: consumer.VerbCancel, Intent: key, Source: "/crm", ID: fmt.Sprintf("%04d", i), By: "ana", Reason: "asked"})
			if r.State != consumer.Cancelled {
				t.Errorf("cancel: got %+v", r)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("to cancel them took %v", took)
		}
		time.Sleep(9 * time.Second)
		if s := status(t, p); s.Used != events-9 {
			t.Errorf("9 s later: got %d slots, want %d", s.Used, events-9)
		}
		time.Sleep(5 * time.Minute)
		p.stop(t)
		if w.called() != 0 || w.unacked() != 0 {
			t.Errorf("got %d calls and %d messages left; want none", w.called(), w.unacked())
		}
	})
}
