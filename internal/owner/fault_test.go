package owner_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// kind says what a write is.
func kind(key string, data []byte) string {
	switch {
	case strings.HasPrefix(key, "own.replica.") && data == nil:
		return "remove"
	case strings.HasPrefix(key, "own.replica."):
		return "renew"
	case strings.Contains(string(data), `"free":true`):
		return "free"
	case strings.Contains(string(data), `"ready":true`):
		return "ready"
	default:
		return "take"
	}
}

// TestOneWriteGoesWrong lets each kind of write go wrong in each way, while one
// replica starts, another joins, and the first one leaves.
func TestOneWriteGoesWrong(t *testing.T) {
	names := map[fate]string{lost: "lost", unheard: "unheard", late: "late", twice: "twice", refused: "refused", mistaken: "mistaken"}
	for _, what := range []string{"take", "free", "ready", "renew", "remove"} {
		for f, name := range names {
			t.Run(what+"/"+name, func(t *testing.T) {
				bubble(t, func(w *world) {
					var left atomic.Int32
					spoil := func(n int32) {
						left.Store(n)
						w.store.fates(func(key string, data []byte) fate {
							if kind(key, data) == what && left.Add(-1) >= 0 {
								return f
							}
							return served
						})
					}
					spoil(2)
					w.start("a", 1)
					w.within(3*w.ttl, "the only one has all", w.settled)
					spoil(2)
					w.start("b", 1, duties...)
					time.Sleep(time.Second)
					w.within(3*w.ttl, "the new one has all", w.settled)
					spoil(2)
					w.start("c", 1)
					w.anyOwner("a1").leave()
					w.within(3*w.ttl, "the others have all", w.settled)
					spoil(2)
					w.anyOwner("a1").kill()
					time.Sleep(100 * time.Millisecond)
					w.within(3*w.ttl, "the last one has all", w.settled)
				})
			})
		}
	}
}

// anyOwner returns who has a duty, and anybody if nobody has it.
func (w *world) anyOwner(duty string) *host {
	if h := w.holder(duty); h != nil {
		return h
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.living()[0]
}

// TestStoppedOwner stops an owner for longer than its lease, with a renewal on its
// way.
func TestStoppedOwner(t *testing.T) {
	bubble(t, func(w *world) {
		a, _ := w.owner("a1", w.replicas("a", "b", "c"))
		w.store.fates(func(key string, data []byte) fate {
			if strings.Contains(string(data), `"holder":"`+a.name+`"`) {
				return late
			}
			return served
		})
		time.Sleep(1500 * time.Millisecond)
		a.stop()
		time.Sleep(500 * time.Millisecond)
		w.store.fates(nil)
		w.within(2*w.ttl+time.Second, "another one has it", func() bool { h := w.holder("a1"); return h != nil && h != a })
		time.Sleep(time.Second)
		a.resume()
		time.Sleep(w.ttl)
		w.within(2*w.ttl, "and the stopped one takes part again", w.settled)
	})
}

// TestStopBetweenRemovalAndTaking stops the one that takes over when it has
// removed the dead one's lease.
func TestStopBetweenRemovalAndTaking(t *testing.T) {
	bubble(t, func(w *world) {
		all := w.replicas("a", "b", "c")
		dead := w.holder("a1")
		var stopped atomic.Pointer[host]
		w.store.fates(func(key string, data []byte) fate {
			if kind(key, data) == "remove" && stopped.Load() == nil {
				for _, h := range all { // one of both is the one that removes
					if h != dead && stopped.CompareAndSwap(nil, h) {
						time.AfterFunc(0, func() {
							for _, h := range all {
								if h != dead {
									h.stop()
								}
							}
						})
					}
				}
			}
			return served
		})
		dead.kill()
		w.within(2*w.ttl, "the lease is removed", func() bool { return stopped.Load() != nil })
		d := w.start("d", 0.9)
		time.Sleep(3 * w.ttl)
		if h := w.holder("a1"); h != d {
			w.fail("the new one does not have it: %s", w.unsettled())
		}
		for _, h := range all {
			h.resume()
		}
		time.Sleep(4 * w.ttl)
		if !w.settled() {
			w.fail("%s", w.unsettled())
		}
	})
}

// TestClocksApart cuts an owner with a slow clock off from the broker, while the
// one that waits has a fast one.
func TestClocksApart(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.start("a", 0.9)
		w.within(time.Second, "the only one has all", w.settled)
		b := w.start("b", 1.1)
		time.Sleep(2 * w.ttl)
		for range 5 {
			slow := w.holder("a1")
			if slow != a {
				a, b = b, a
			}
			before := w.begun("a1")
			a.cut.Store(true)
			w.within(2*w.ttl, "the other one has it", func() bool { return w.holder("a1") == b })
			a.cut.Store(false)
			time.Sleep(3 * w.ttl)
			if w.begun("a1") == before {
				w.fail("nobody took over")
			}
		}
	})
}

// TestSlowClockCutOff is the same with the owner always the slow one.
func TestSlowClockCutOff(t *testing.T) {
	for shift := range 10 {
		t.Run(fmt.Sprint(shift), func(t *testing.T) {
			bubble(t, func(w *world) {
				a := w.start("a", 0.9, duties...)
				w.within(time.Second, "the only one has all", w.settled)
				b := w.start("b", 1.1)
				time.Sleep(2*w.ttl + time.Duration(shift)*100*time.Millisecond)
				a.cut.Store(true)
				w.within(2*w.ttl, "the other one has all", func() bool { return w.holder("a1") == b && w.hasAll("b") })
			})
		})
	}
}

// TestSlowClockCutOffBeforeHandOver cuts the slow owner off while all is to be
// given to the other one.
func TestSlowClockCutOffBeforeHandOver(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.start("a", 0.9)
		w.within(time.Second, "the only one has all", w.settled)
		time.Sleep(w.ttl)
		w.start("b", 1.1, duties...)
		time.Sleep(300 * time.Millisecond)
		a.cut.Store(true)
		w.within(2*w.ttl, "the other one has all", func() bool { return w.hasAll("b") })
	})
}

// TestLeaveAfterAnUnheardRenewal asks one to end whose last renewal was stored
// without its knowing: the lease is given back all the same.
func TestLeaveAfterAnUnheardRenewal(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.replicas("a")[0]
		sent := make(chan struct{}, 1)
		w.store.fates(func(key string, data []byte) fate {
			if kind(key, data) != "renew" {
				return served
			}
			select {
			case sent <- struct{}{}:
			default:
			}
			return unheard
		})
		<-sent
		a.leave()
		<-a.done
		if r := w.lease("a"); r.revision != 0 {
			t.Errorf("the lease is there yet: %s", r.data)
		}
	})
}

// hasAll reports whether one replica has all.
func (w *world) hasAll(name string) bool {
	had := w.holders()
	for _, d := range duties {
		if had[d] != name {
			return false
		}
	}
	return true
}

// TestDelayedTake lets a take arrive when its sender is dead and another one has
// the duty.
func TestDelayedTake(t *testing.T) {
	bubble(t, func(w *world) {
		w.store.fates(func(key string, data []byte) fate {
			if kind(key, data) == "take" {
				return late
			}
			return served
		})
		a := w.start("a", 1)
		time.Sleep(2500 * time.Millisecond)
		a.kill()
		w.store.fates(nil)
		w.start("b", 1)
		w.within(4*w.ttl, "the second one has all", w.settled)
		time.Sleep(6 * w.ttl)
		if !w.settled() {
			w.fail("%s", w.unsettled())
		}
	})
}

// TestLapseAlone removes the lease of the only replica: accounts go on without
// being ended, under a new epoch, the first duty is begun anew.
func TestLapseAlone(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("a")
		w.dropLeases()
		time.Sleep(2 * time.Second)
		if h := w.holder("a1"); h != nil {
			w.fail("it holds without a lease")
		}
		w.within(2*w.ttl, "it has all again", w.settled)
		if got := w.begun(first); got != 2 {
			t.Errorf("the first duty was begun %d times, want 2", got)
		}
		if got := w.begun("a1"); got != 1 {
			t.Errorf("an account was begun %d times, want once", got)
		}
		if got := w.run("a1", 0).term.Epoch(); got != 2 {
			t.Errorf("epoch %d, want 2", got)
		}
	})
}

// TestLapseTaken removes the lease of one of two while it is stopped: the other
// one takes what it had, and what it did is ended.
func TestLapseTaken(t *testing.T) {
	bubble(t, func(w *world) {
		a, b := w.owner("a1", w.replicas("a", "b"))
		a.stop()
		w.within(2*w.ttl, "the other one has it", func() bool { return w.holder("a1") == b })
		a.resume()
		time.Sleep(time.Second)
		if w.holder("a1") != b || !returned(w, "a1", a) {
			w.fail("the stopped one goes on: %s", w.unsettled())
		}
	})
}

func returned(w *world, duty string, h *host) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.runs[duty] {
		if r.h == h && !r.returned.Load() {
			return false
		}
	}
	return true
}

// dropLeases takes all leases out of the store, without a trace.
func (w *world) dropLeases() {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for key := range w.store.keys {
		if strings.HasPrefix(key, "own.replica.") {
			delete(w.store.keys, key)
		}
	}
}

// TestHeldAcrossALapse lets a lease be lost and another one taken in the middle of
// a question.
func TestHeldAcrossALapse(t *testing.T) {
	bubble(t, func(w *world) {
		a := w.replicas("a")[0]
		r := w.run("a1", 0)
		between := func() {
			w.dropLeases()
			time.Sleep(3 * time.Second)
		}
		a.between.Store(&between)
		if r.held() {
			t.Error("the term is held by a lease that was taken after it")
		}
	})
}

// TestEndedTermIsNotHeld asks a term that was given up.
func TestEndedTermIsNotHeld(t *testing.T) {
	bubble(t, func(w *world) {
		w.replicas("a")
		r := w.run("a1", 0)
		w.start("b", 1, duties...)
		w.within(2*w.ttl, "the other one has all", func() bool { return w.hasAll("b") })
		if r.held() {
			t.Error("a term is held whose Do has returned")
		}
	})
}

// TestNewerRecords writes records of a newer format: nobody concludes anything
// from them.
func TestNewerRecords(t *testing.T) {
	bubble(t, func(w *world) {
		w.store.put("own.duty.a2", `{"v":2,"keeper":"x"}`)
		w.store.put("own.replica.NEWER", `{"v":2,"id":"NEWER","duties":["a1","a3"],"first":["a1","a3"]}`)
		w.store.put("own.duty.a4", `{`)
		w.start("a", 1)
		time.Sleep(6 * w.ttl)
		had := w.holders()
		for _, d := range duties {
			if want := d != "a2" && d != "a4"; (had[d] == "a") != want {
				t.Errorf("%s is held by %q", d, had[d])
			}
		}
	})
}
