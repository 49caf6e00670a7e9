package owner_test

import (
	"strings"
	"testing"
	"time"
)

// TestRestartOfAll kills all replicas and starts one: what the dead ones said of
// the state is worth nothing.
func TestRestartOfAll(t *testing.T) {
	bubble(t, func(w *world) {
		for _, h := range w.replicas("a", "b") {
			h.kill()
		}
		w.set(func() { w.wait = func() time.Duration { return 3 * time.Second } })
		w.start("c", 1) // check tells if it is too early
		w.within(3*w.ttl, "the new one has all", w.settled)
	})
}

// TestRestartOfAllAtOnce is the same by asking them to end.
func TestRestartOfAllAtOnce(t *testing.T) {
	bubble(t, func(w *world) {
		for _, h := range w.replicas("a", "b") {
			h.leave()
			<-h.done
		}
		w.set(func() { w.wait = func() time.Duration { return 3 * time.Second } })
		w.start("c", 1)
		w.within(5*time.Second, "the new one has all", w.settled)
	})
}

// TestLateRenewalOfTheDead lets the last renewal of a dead replica arrive when all
// of its time are gone: it is no sign of life.
func TestLateRenewalOfTheDead(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.replicas("a")[0]
		w.store.set(func() { w.store.delay = 3 * time.Second })
		sent := make(chan struct{}, 10)
		w.store.fates(func(key string, data []byte) fate {
			if kind(key, data) == "renew" {
				sent <- struct{}{}
				return late
			}
			return served
		})
		<-sent
		w.store.fates(nil)
		a.kill()
		time.Sleep(time.Second)
		w.set(func() { w.wait = func() time.Duration { return 3 * time.Second } })
		w.start("b", 1) // check tells if it is too early
		w.within(4*w.ttl, "the new one has all", w.settled)
	})
}

// TestPutBack puts an old copy back under running replicas: nobody acts on what it
// says, and the state is looked at anew before anything else is done.
func TestPutBack(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("a", "b", "c")
		old := w.store.backup()
		time.Sleep(10 * time.Second)
		w.set(func() { w.wait = func() time.Duration { return 3 * time.Second } })
		w.store.leave()
		time.Sleep(w.ttl)
		w.set(func() { w.age++ })
		w.store.restore(old)
		w.store.back()
		time.Sleep(2*w.ttl + 8*time.Second)
		w.within(w.ttl, "the duties are shared out again", w.settled)
	})
}

// TestPutBackWhileRunning does it without an outage: two may hold for as long as
// the old owner has not looked, at most 4/5 of the TTL.
func TestPutBackWhileRunning(t *testing.T) {
	storm(t, func(w *world) {
		names := []string{"a", "b", "c", "d"}[:1+w.rng.IntN(4)]
		w.replicas(names...)
		old := w.store.backup()
		time.Sleep(w.between(2*time.Second, 40*time.Second)) // each lease is renewed: all lapse
		if w.rng.IntN(2) == 0 {
			w.start("e", w.rate(), duties[w.rng.IntN(6)])
			time.Sleep(w.between(0, 5*time.Second))
		}
		if w.rng.IntN(3) == 0 {
			w.hosts[0].leave()
			time.Sleep(w.between(0, time.Second))
		}
		w.set(func() { w.lenient = time.Now().Add(w.ttl) })
		if w.rng.IntN(2) == 0 {
			w.set(func() { w.age++ })
		} else { // the newest writes alone
			old = w.store.backup()
			time.Sleep(w.between(0, 500*time.Millisecond))
		}
		w.store.restore(old)
		w.start("new", w.rate())
		w.calm()
	})
}

// TestVanishedKeys takes the keys of a replica that cannot reach the broker out of
// the store: it acts for a while yet.
func TestVanishedKeys(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.start("a", 0.9, duties...)
		w.within(time.Second, "the only one has all", w.settled)
		w.start("b", 1.1)
		time.Sleep(2 * w.ttl)
		for w.lease("a").revision < w.lease("b").revision {
			time.Sleep(time.Millisecond)
		}
		// The other one's looks begin below what is taken out.
		w.store.fates(func(key string, data []byte) fate {
			if kind(key, data) == "renew" {
				return lost
			}
			return served
		})
		time.Sleep(600 * time.Millisecond)
		a.cut.Store(true)
		w.store.fates(nil)
		w.store.mu.Lock()
		for _, key := range []string{"own.duty." + first, "own.duty.a1", "own.duty.a2", "own.duty.a3"} {
			delete(w.store.keys, key)
		}
		w.store.mu.Unlock()
		w.dropLease("a")
		w.within(40*time.Second, "the other one has all", func() bool { return w.hasAll("b") })
	})
}

// TestOldCopyBeforeTheLapse puts a copy back that says that the other one has all,
// while no lease can be renewed: it does not act on it.
func TestOldCopyBeforeTheLapse(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("b")
		old := w.store.backup()
		w.start("a", 1, duties...)
		w.within(2*w.ttl, "the new one has all", func() bool { return w.hasAll("a") })
		time.Sleep(w.ttl)
		w.store.fates(func(key string, data []byte) fate {
			if kind(key, data) == "renew" {
				return lost
			}
			return served
		})
		w.store.restore(old)
		time.Sleep(2 * w.ttl) // check tells if both hold
	})
}

// TestLeaseIsBackBeforeALook lets a lease come back into force whose owner cannot
// look at the keys yet: somebody else has a duty of it.
func TestLeaseIsBackBeforeALook(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.replicas("a")[0]
		w.store.leave()
		b := w.start("b", 1, "a1")
		time.Sleep(w.ttl)
		free := strings.Replace(string(w.store.backup().keys["own.duty.a1"].data), "}", `,"free":true}`, 1)
		w.store.put("own.duty.a1", free)
		a.blind.Store(true)
		w.store.back()
		w.within(2*w.ttl, "the other one has what is free", func() bool { return w.holder("a1") == b })
		a.blind.Store(false)
		w.within(4*w.ttl, "the duties are shared out again", w.settled)
	})
}

// TestOtherRecordAtTheSameRevision replaces a record by another one, as a store
// does that was put back and written to again.
func TestOtherRecordAtTheSameRevision(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("a")
		w.store.set(func() {
			r := w.store.keys["own.duty.a1"]
			r.data = []byte(`{"v":1,"replica":"OTHER","ttl":5000000000,"epoch":9}`)
			w.store.keys["own.duty.a1"] = r
		})
		w.within(40*time.Second, "the old term has ended", func() bool { return w.begun("a1") == 2 })
	})
}

// lease returns the record of a replica's lease.
func (w *world) lease(name string) keyRecord {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.store.keys[w.leaseKey(name)]
}

// leaseKey returns the key of a replica's lease. The caller holds the store's mu.
func (w *world) leaseKey(name string) string {
	for key, r := range w.store.keys {
		if kind(key, r.data) == "renew" && strings.Contains(string(r.data), `"holder":"`+name+`"`) {
			return key
		}
	}
	return ""
}

func (w *world) dropLease(name string) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	delete(w.store.keys, w.leaseKey(name))
}
