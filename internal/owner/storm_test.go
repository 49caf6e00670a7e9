package owner_test

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// seeds is how many worlds each storm has, from is the first.
var (
	seeds = flag.Uint64("seeds", 4, "worlds of each storm")
	from  = flag.Uint64("from", 0, "the first of them")
)

// storm runs one test in many worlds.
func storm(t *testing.T, f func(w *world)) {
	for seed := *from; seed < *from+*seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, seed)
				f(w)
				w.end()
			})
		})
	}
}

func TestStorm(t *testing.T) { storm(t, func(w *world) { w.storm(false) }) }

// TestStormPutBack puts old copies of the store back, and empties it, after an
// outage in which every lease has run out.
func TestStormPutBack(t *testing.T) { storm(t, func(w *world) { w.storm(true) }) }

func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)))
}

func (w *world) rate() float64 { return []float64{0.9, 0.9, 1, 1.1, 1.1}[w.rng.IntN(5)] }

// storm lets everything happen for a while, then nothing more, and looks whether
// each duty finds its replica.
func (w *world) storm(putBack bool) {
	w.set(func() { w.drain = func() time.Duration { return 40 * time.Millisecond } })
	w.set(func() { w.wait = func() time.Duration { return 300 * time.Millisecond } })
	w.store.markers = w.rng.IntN(2) == 0
	born := 0
	start := func() {
		born++
		var prefers []string
		if w.rng.IntN(6) == 0 {
			prefers = duties[:1+w.rng.IntN(2)]
		}
		w.start(fmt.Sprintf("r%d", born), w.rate(), prefers...)
	}
	for range 1 + w.rng.IntN(4) {
		start()
	}
	var copies []backup
	for range 20 + w.rng.IntN(30) {
		time.Sleep(w.between(0, 2*time.Second))
		if len(copies) < 40 {
			copies = append(copies, w.store.backup())
		}
		w.mu.Lock()
		living := w.living()
		w.mu.Unlock()
		var h *host
		if len(living) > 0 {
			h = living[w.rng.IntN(len(living))]
		}
		switch n := w.rng.IntN(20); {
		case n < 3 && len(living) < 6 || h == nil:
			start()
		case n < 5:
			h.leave()
		case n < 7:
			h.kill()
		case n < 11:
			h.stop()
			time.AfterFunc(w.between(0, 3*w.ttl), h.resume)
		case n < 13:
			w.note("the broker is away")
			w.store.leave()
			time.Sleep(w.between(0, 2*w.ttl))
			w.note("the broker is back")
			w.store.back()
		case n < 14:
			w.note("the broker's clock leaps")
			w.store.leap(w.between(-time.Hour, 2*time.Hour))
		case n < 17:
			p := w.rng.Float64() * 0.2
			w.note("trouble %.2f", p)
			w.store.chances(chances{lost: p, unheard: p, late: p, twice: p, refused: p / 2, mistaken: p / 2, read: p})
		case n < 18:
			w.store.chances(chances{})
		case putBack:
			w.putBack(copies)
			copies = nil
		}
	}
	w.calm()
}

// calm ends all faults, and after a while each duty is where it belongs and stays.
func (w *world) calm() {
	w.note("calm")
	w.store.back()
	w.store.chances(chances{})
	w.mu.Lock()
	hosts := w.living()
	w.mu.Unlock()
	stay := 0
	for _, h := range hosts {
		h.resume()
		if !h.leaving.Load() {
			stay++
		}
	}
	if stay == 0 {
		w.start("last", 1)
	}
	time.Sleep(4*w.ttl + 5*time.Second)
	for range 20 {
		time.Sleep(50 * time.Millisecond)
		if text := w.unsettled(); text != "" {
			w.fail("it has not settled: %s", text)
		}
	}
}

// putBack puts an older copy of the store back.
func (w *world) putBack(copies []backup) {
	w.note("the broker is away, to be put back")
	w.store.leave()
	time.Sleep(w.ttl)
	b := backup{seq: uint64(w.rng.IntN(2)) * w.store.backup().seq}
	if len(copies) > 0 && w.rng.IntN(4) != 0 {
		b = copies[w.rng.IntN(len(copies))]
	}
	w.store.restore(b)
	w.note("put back to %d", b.seq)
	w.store.back()
}
