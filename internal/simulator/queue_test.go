package simulator_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirhq/weir/internal/simulator"
)

// TestQueue lets calls arrive at random and compares each start with a line of
// people before so many counters: in order of arrival, at the moment at which
// the first counter is free, and never at more counters than there are.
func TestQueue(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 1))
				cfg := simulator.AnyreachConfig{Limit: 1 + rng.IntN(8), Global: 6, Busy: rng.IntN(5), Seed: seed}
				counters := min(cfg.Limit, cfg.Global-cfg.Busy)
				var log bytes.Buffer
				cfg.Log = &log
				sim := newAnyreach(t, cfg)
				h := sim.Handler()
				for i := range 150 {
					ask(t, h, dial(i))
					ask(t, h, text(fmt.Sprint(i))) // takes no slot of calls
					// A third arrives in bursts; looks in between change nothing.
					if rng.IntN(3) > 0 {
						time.Sleep(time.Duration(rng.Int64N(int64(time.Minute))))
					}
					if rng.IntN(4) == 0 {
						listed(t, h, 1)
					}
				}
				time.Sleep(5 * time.Hour)
				sim.Report()
				checkQueue(t, sim, counters)
				checkLog(t, log.Bytes(), sim.Conversations())
			})
		})
	}
}

// checkQueue recomputes every start from the arrivals and lengths of calls that
// are all over.
func checkQueue(t *testing.T, sim *simulator.Simulator, counters int) {
	t.Helper()
	calls := slices.DeleteFunc(sim.Conversations(), func(c simulator.Conversation) bool { return c.Channel != "telephone" })
	free := make([]time.Time, counters) // when each counter is free again
	waited, highest := 0, 0
	for i, c := range calls {
		slices.SortFunc(free, time.Time.Compare)
		want := c.Created
		if free[0].After(want) {
			want = free[0]
		}
		if !c.Started.Equal(want) || !c.Ended {
			t.Fatalf("call %d, made at %v: got start %v and ended %t, want %v and true", i, c.Created, c.Started, c.Ended, want)
		}
		free[0] = c.Ends
		waiting, live := 0, 0
		for _, other := range calls[:i+1] {
			if other.Started.After(c.Created) {
				waiting++
			}
			if !other.Started.After(c.Started) && other.Ends.After(c.Started) {
				live++
			}
		}
		waited, highest = max(waited, waiting), max(highest, live)
	}
	r := sim.Report()
	got := [...]int{r.Highest, r.QueuedMost, r.Live, r.Queued, r.Full}
	if diff := cmp.Diff([...]int{highest, waited, 0, 0, 0}, got); diff != "" || highest > counters {
		t.Errorf("got more than %d at once, or highest, queued most, live, queued and full (-want +got):\n%s", counters, diff)
	}
	if waited == 0 {
		t.Error("got no call that waited, want some: the test shows nothing")
	}
}

// TestQueuedCall follows one call that finds no slot.
func TestQueuedCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newAnyreach(t, simulator.AnyreachConfig{Limit: 1})
		h := sim.Handler()
		status := func() any {
			w := serve(t, h, "GET", "/core/conversations/"+callID, nil)
			return decode[object](t, w.Body.Bytes())["status"]
		}
		ask(t, h, dial(1))
		if got := sim.Report(); got.QueuedMost != 0 {
			t.Errorf("got %d queued with a free slot, want none", got.QueuedMost)
		}
		if got := ask(t, h, with(dial(2), object{"id": callID})); got.Code != 202 {
			t.Errorf("got %d without a free slot, want 202", got.Code)
		}
		all := sim.Conversations()
		if !all[1].Started.IsZero() || !all[1].Ends.IsZero() {
			t.Errorf("got start %v and end %v of a queued call, want none", all[1].Started, all[1].Ends)
		}
		if r := sim.Report(); r.Live != 1 || r.Queued != 1 || r.QueuedMost != 1 {
			t.Errorf("got %+v, want one live and one queued", r)
		}
		time.Sleep(time.Until(all[0].Ends) - time.Microsecond)
		if got := status(); got != "triggered" || sim.Report().Queued != 1 {
			t.Errorf("got status %v and %d queued just before a slot is free, want triggered and 1", got, sim.Report().Queued)
		}
		time.Sleep(time.Until(all[0].Ends))
		if r := sim.Report(); r.Live != 1 || r.Queued != 0 || r.Highest != 1 {
			t.Errorf("got %+v when a slot is free, want the next call in it", r)
		}
		time.Sleep(500 * time.Millisecond)
		if got := status(); got != "ringing" {
			t.Errorf("got status %v half a second after the start, want ringing", got)
		}
		if got := sim.Conversations()[1]; !got.Started.Equal(all[0].Ends) {
			t.Errorf("got start %v, want %v", got.Started, all[0].Ends)
		}
	})
}

// TestBusyProviderDialsNothing leaves no slot of the provider's to this
// organization.
func TestBusyProviderDialsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := newAnyreach(t, simulator.AnyreachConfig{Global: 7, Busy: 7})
		ask(t, sim.Handler(), dial(1))
		time.Sleep(24 * time.Hour)
		if r := sim.Report(); r.Live != 0 || r.Queued != 1 || r.Limit != 10 {
			t.Errorf("got %+v, want one queued for ever", r)
		}
	})
}
