package consumer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
)

// callLength draws as long as real calls last: 45 % ring out after some 25 s, 25 %
// are short, 30 % long; 71 s on average.
func callLength(r *rand.Rand) time.Duration {
	kind, normal := r.Float64(), r.NormFloat64()
	seconds := 25 + 2*normal
	if kind >= .45 {
		mean, cv := 60.0, 0.4
		if kind >= .7 {
			mean, cv = 150, 0.66
		}
		variance := math.Log(1 + cv*cv)
		seconds = math.Exp(math.Log(mean) - variance/2 + math.Sqrt(variance)*normal)
	}
	return time.Duration(min(max(seconds, 1), 600) * float64(time.Second))
}

// TestLooksPerCall counts what it costs to find the ends of calls, and what the
// slots lose by it, with and without webhooks.
func TestLooksPerCall(t *testing.T) {
	t.Parallel()
	type result struct{ looks, late float64 }
	got := make(map[string]result)
	for _, name := range []string{"no webhooks", "webhooks", "webhooks, one in ten lost", "webhooks, half of them lost"} {
		bubble(t, func(t *testing.T, w *world) {
			r := rand.New(rand.NewPCG(7, 7))
			w.limit = 10
			w.lengths = func() time.Duration { return callLength(r) }
			for i := range 1000 {
				w.lead(fmt.Sprintf("%04d", i))
			}
			p := w.start(t, &process{}, func(c *consumer.Config) {
				c.Accounts[0].MeanCall, c.Accounts[0].MaxCall = 75*time.Second, time.Hour
				c.Accounts[0].Lanes[0].Batch = 1
			})
			lost := map[string]float64{"no webhooks": 1, "webhooks, one in ten lost": .1, "webhooks, half of them lost": .5}[name]
			stop := w.webhooks(t, p, func(string) []time.Duration {
				if r.Float64() < lost {
					return nil
				}
				return []time.Duration{200 * time.Millisecond}
			})
			time.Sleep(90 * time.Minute)
			stop()
			w.do(func() {
				calls, busy := float64(len(w.posts)), 0.0
				for id, length := range w.lasts {
					began := w.live[id].Add(-length)
					busy += min(length, time.Since(began)).Seconds()
				}
				got[name] = result{float64(w.gets) / calls, (10*90*60 - busy) / calls}
			})
			p.stop(t)
			if w.highest > w.limit {
				t.Errorf("%s: highest %d, limit %d", name, w.highest, w.limit)
			}
		})
		t.Logf("%-28s %.1f looks a call, a slot stands idle for %.1f s", name, got[name].looks, got[name].late)
	}
	without, all := got["no webhooks"], got["webhooks"]
	if all.looks > without.looks/2 || all.late > without.late/2 {
		t.Errorf("webhooks: got %+v, want less than half of %+v", all, without)
	}
	// The order of goroutines is chance: the ratio was 1.0 to 1.26 in seven runs.
	for _, name := range []string{"webhooks, one in ten lost", "webhooks, half of them lost"} {
		if r := got[name]; r.looks > without.looks || r.late > 1.6*without.late {
			t.Errorf("%s: got %+v, want hardly more than without webhooks: %+v", name, r, without)
		}
	}
}
