package consumer_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/consumer"
	"github.com/weirhq/weir/ratelimiter"
)

// TestStorm runs many small worlds in which everything goes wrong by chance:
// answers are lost, ledger writes fail with or without effect, credentials are
// refused for a while, processes are killed at any act and others take over.
// Whatever happens: nobody is called twice, the limit holds, and in the calm
// that follows every event comes to its end and every slot is free again.
//
// A failing seed prints its history.
func TestStorm(t *testing.T) {
	t.Parallel()
	eachSeed(t, func(t *testing.T, w *world, seed uint64) {
		storm(t, w, rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2)))
	})
}

// seeds is how many worlds each storm has; the gate has thousands, without the
// race detector. from is the first, to see one of them again.
var (
	seeds = flag.Uint64("seeds", 60, "worlds of each storm")
	from  = flag.Uint64("from", 0, "the first world of each storm")
)

// eachSeed plays a world for each seed.
func eachSeed(t *testing.T, play func(t *testing.T, w *world, seed uint64)) {
	t.Helper()
	for seed := *from; seed < *from+*seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.told, w.began = true, time.Now()
				play(t, w, seed)
				if t.Failed() {
					t.Logf("history:\n%s", strings.Join(w.history, "\n"))
				}
			})
		})
	}
}

// storm plays one world. r is the story's, fate that of the broker and the
// provider, under w.mu.
func storm(t *testing.T, w *world, r, fate *rand.Rand) {
	stormOf(t, w, r, fate, func(c *consumer.Config) { c.Accounts[0].Lanes[0].Batch = 1 + w.limit/2 })
}

// stormOf is storm with a configuration of its own.
func stormOf(t *testing.T, w *world, r, fate *rand.Rand, change func(*consumer.Config)) {
	w.limit = 1 + r.IntN(6)
	calm := time.Now().Add(20 * time.Minute)
	w.answer = func(w *world, b consumer.Batch) consumer.Answer {
		if time.Now().After(calm) {
			return w.accept(b)
		}
		return w.moody(b, fate)
	}
	w.storeErr = func(consumer.Intent) (bool, error) {
		if time.Now().After(calm) || fate.IntN(12) > 0 {
			return true, nil
		}
		return fate.IntN(2) == 0, errors.New("the broker does not answer")
	}
	events := 10 + r.IntN(30)
	good := 0
	edit := func(c *consumer.Config) {
		c.PullWait = time.Minute
		c.Accounts[0].Breaker = ratelimiter.BreakerConfig{Failures: 2 + r.IntN(3), Open: 5 * time.Second}
		change(c)
	}
	p := w.start(t, &process{dieAt: 1 + r.IntN(60), dieLate: r.IntN(2) == 0}, edit)
	for i := range events {
		if r.IntN(8) == 0 {
			w.leadWith(fmt.Sprintf("b%03d", i), map[string]any{"id": i})
		} else {
			w.leadWith(fmt.Sprintf("%04d", i), map[string]any{
				"id": fmt.Sprint(i), "phone": fmt.Sprintf("+1415555%04d", i),
				"channel": []string{"telephone", "email", "text"}[i%3],
			})
			good++
		}
		time.Sleep(time.Duration(r.IntN(20)) * time.Second)
		if dead := false; i%10 == 9 {
			w.do(func() { dead = p.dead })
			if dead { // the others see it after a while
				p.cancel()
				p = w.start(t, &process{dieAt: 1 + r.IntN(80), dieLate: r.IntN(2) == 0}, edit)
			}
		}
	}
	p.cancel()
	w.do(func() { p.dead = true })
	p = w.start(t, &process{}, edit)
	time.Sleep(time.Until(calm) + 90*time.Minute)
	if s := status(t, p); s.Used != 0 {
		t.Errorf("slots in use after the calm: got %d, want 0 (%s: %s)", s.Used, s.State, s.Why)
	}
	p.stop(t)
	w.judge(t, events, good)
}

// moody answers as badly as a provider may. The caller holds w.mu.
func (w *world) moody(b consumer.Batch, r *rand.Rand) consumer.Answer {
	switch r.IntN(9) {
	case 0: // accepted, and the answer is lost
		if w.alive()+len(b.Items) <= w.limit {
			for _, it := range b.Items {
				w.create(it)
			}
		}
		a := all(b, consumer.VerdictDoubt, "cut")
		a.Status = []int{-1, 500, 200}[r.IntN(3)]
		return a
	case 1:
		a := all(b, consumer.VerdictUnsent, "connection refused")
		return a
	case 2:
		a := all(b, consumer.VerdictFull, "full")
		a.Status, a.Full = 429, true
		if r.IntN(3) == 0 {
			a.Header = map[string][]string{"Retry-After": {[]string{"7", "7", "400"}[r.IntN(3)]}}
		}
		return a
	case 3:
		if len(b.Items) > 1 { // some are created, others must go alone
			a := w.accept(b)
			if a.Status == 200 {
				last := b.Items[len(b.Items)-1].Intent
				delete(w.live, w.made[last][len(w.made[last])-1])
				w.made[last] = w.made[last][:len(w.made[last])-1]
				a.Results[len(b.Items)-1] = consumer.Result{Verdict: consumer.VerdictFull, Alone: true, Reason: "?"}
			}
			return a
		}
		return w.accept(b)
	default:
		return w.accept(b)
	}
}

// judge holds the books against the provider's.
func (w *world) judge(t *testing.T, events, good int) {
	t.Helper()
	if d := w.doubled(); len(d) > 0 {
		t.Errorf("doubled: %v", d)
	}
	if w.highest > w.limit {
		t.Errorf("highest slots in use: got %d, limit %d", w.highest, w.limit)
	}
	if n := w.unacked(); n != 0 {
		t.Errorf("messages left: %d", n)
	}
	if len(w.entries) != events {
		t.Errorf("entries: got %d, want %d", len(w.entries), events)
	}
	settled := 0
	for _, s := range w.entries {
		switch in := s.intent; in.State {
		case consumer.Ended:
			settled++
			if len(w.made[in.Key]) != 1 {
				t.Errorf("%s is ended with %d conversations", in.ID, len(w.made[in.Key]))
			}
		case consumer.Doubt:
			settled++
			if _, kept := w.letters[in.Key]; !kept {
				t.Errorf("%s is in doubt and its event is gone", in.ID)
			}
		case consumer.Dead:
			if len(w.made[in.Key]) > 0 {
				t.Errorf("%s is dead and was called", in.ID)
			}
		default:
			t.Errorf("%s is %s in the end", in.ID, in.State)
		}
	}
	if settled != good {
		t.Errorf("good leads settled: got %d, want %d", settled, good)
	}
}
